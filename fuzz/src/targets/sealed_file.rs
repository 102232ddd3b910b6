//! A sealed file, as found on a disk that somebody else wrote to.

use countersign_crypto::random::Random;
use countersign_crypto::seal::{self, SealKey};

/// The purpose under which the corpus was sealed.
pub const PURPOSE: &str = "fuzz";
const GENUINE: &[u8] = include_bytes!("../../fixtures/sealed.bin");

struct Fixed;

impl Random for Fixed {
    fn fill(&mut self, out: &mut [u8]) {
        out.fill(0x5a);
    }
}

/// The key of the corpus: the same each time, of no worth.
pub fn key() -> SealKey {
    SealKey::generate(&mut Fixed)
}

/// Only the genuine bytes open, and only for their purpose.
pub fn target(data: &[u8]) {
    let key = key();
    if seal::open(&key, PURPOSE, data).is_ok() {
        assert_eq!(data, GENUINE, "bytes that nobody sealed were opened");
    }
    assert!(seal::open(&key, "another purpose", data).is_err());
}
