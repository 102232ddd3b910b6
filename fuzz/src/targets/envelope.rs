//! A backup, as it comes back from wherever it was kept: the header, the pieces, and a genuine file that was meddled with.

use std::io::{Read as _, Write as _};
use std::sync::OnceLock;

use countersign_crypto::envelope::{EnvelopeError, Opener, RecipientKey, Sealer};

const PURPOSE: &str = "fuzz";

fn genuine() -> &'static (RecipientKey, Vec<u8>) {
    static GENUINE: OnceLock<(RecipientKey, Vec<u8>)> = OnceLock::new();
    GENUINE.get_or_init(|| {
        let key = RecipientKey::generate().expect("the provider seals to recipients");
        let recipients = [key.recipient().clone()];
        let mut sealer = Sealer::new(Vec::new(), &recipients, PURPOSE).expect("one recipient");
        sealer.write_all(b"what was sealed").expect("memory");
        (key, sealer.finish().expect("memory"))
    })
}

fn open(key: &RecipientKey, file: &[u8]) -> Result<(), EnvelopeError> {
    let mut opener = Opener::new(file, key, PURPOSE)?;
    opener.read_to_end(&mut Vec::new())?;
    opener.finish()
}

/// Only the genuine file opens: neither something else, nor it with other octets in it, nor a part of it.
pub fn target(data: &[u8]) {
    let (key, whole) = genuine();
    assert!(open(key, data).is_err() || data == whole, "octets that nobody sealed were opened");
    let at = data.first().map_or(0, |first| usize::from(*first) * whole.len() / 256);
    let mut changed = whole.clone();
    for (octet, with) in changed[at..].iter_mut().zip(data) {
        *octet ^= with;
    }
    assert_eq!(open(key, &changed).is_ok(), changed == *whole, "changed from {at} on");
    assert!(open(key, &whole[..at]).is_err(), "cut at {at}");
}
