//! What a stranger or a witness is handed: checkpoints, proofs, requests to cosign, keys, tiles of entries.

use countersign_authority::ledger::Entry;
use countersign_authority::ledger::checkpoint::SignedCheckpoint;
use countersign_authority::ledger::note::{Note, VerifierKey};
use countersign_authority::ledger::receipt::Receipt;
use countersign_authority::ledger::tiles;
use countersign_authority::ledger::witness::Growth;

/// The key of the corpus. Its private half was thrown away, so a changed checkpoint cannot verify.
const KEY: &str = include_str!("../../fixtures/ledger.key");
const GENUINE: &[u8] = include_bytes!("../../fixtures/ledger.checkpoint");

//= specs/house.md#house-ledger
//= type=test
//# A checkpoint MUST NOT be believed before its log's signature was verified.
/// What was read is written and read again as the same; only what the log signed is believed, and only its own entries.
pub fn target(data: &[u8]) {
    let key: VerifierKey = KEY.trim_end().parse().expect("the fixture is a key");
    let genuine = SignedCheckpoint::verify(GENUINE, &key).expect("the fixture is signed");
    if let Ok(note) = Note::parse(data) {
        let again = Note::parse(note.to_string().as_bytes());
        assert_eq!(again, Ok(note), "the written note says something else");
    }
    if let Ok(signed) = SignedCheckpoint::verify(data, &key) {
        assert_eq!(signed.checkpoint(), genuine.checkpoint(), "nobody signed this checkpoint");
        assert_eq!(signed.cosigned_by(&key).ok().flatten(), None, "a log is no witness");
    }
    if let Ok(growth) = Growth::parse(data) {
        if data.starts_with(b"old ") {
            let again = Growth::parse(growth.to_string().as_bytes());
            assert_eq!(again.as_ref(), Ok(&growth), "the written request says something else");
        }
        if let Ok(grown) = growth.verify(None, &key) {
            assert_eq!(grown.checkpoint().checkpoint(), genuine.checkpoint());
        }
    }
    if let Ok(receipt) = Receipt::parse(data) {
        let again = Receipt::parse(receipt.to_string().as_bytes());
        assert_eq!(again.as_ref(), Ok(&receipt), "the written proof says something else");
        if let Ok(proven) = receipt.verify(Some(&genuine), &key) {
            assert!(proven.entry().index < genuine.checkpoint().size);
            assert_eq!(proven.entry().data(), receipt.leaf, "proven is what was hashed");
        }
    }
    if let Ok(text) = std::str::from_utf8(data)
        && let Ok(read) = text.parse::<VerifierKey>()
    {
        assert_eq!(read.to_string().parse().as_ref(), Ok(&read), "the written key is another");
    }
    if let Ok(leaf) = Entry::of_leaf_data(data, 0) {
        assert_eq!(leaf.data(), data, "the written entry says something else");
    }
    let width = u64::from(data.first().copied().unwrap_or_default());
    let content = data.get(1..).unwrap_or_default();
    if let Some(entries) = tiles::unbundle(content, width) {
        let owned: Vec<Vec<u8>> = entries.iter().map(|entry| entry.to_vec()).collect();
        assert_eq!(tiles::bundle(&owned).as_deref(), Some(content), "the written bundle differs");
    }
}
