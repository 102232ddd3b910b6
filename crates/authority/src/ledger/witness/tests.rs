//! A witness that sees a log grow, stand still, shrink and fork.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use super::*;
use crate::ledger::merkle::{consistency_proof, root};
use crate::ledger::note::SignatureType;
use crate::testing::note_key;

struct Log {
    key: VerifierKey,
    with: NoteKey,
    leaves: Vec<Hash>,
}

impl Log {
    fn new(size: u64) -> Self {
        let with = note_key();
        let key = VerifierKey::new("log.example", SignatureType::Plain, &with).unwrap();
        let leaves = (0..size).map(|number| Hash::leaf(&number.to_be_bytes())).collect();
        Self { key, with, leaves }
    }

    fn growth(&self, old: u64, new: usize) -> Growth {
        let leaves = &self.leaves[..new];
        let head =
            Checkpoint { origin: "log.example".to_owned(), size: new as u64, root: root(leaves) };
        let signed = SignedCheckpoint::sign(head, &self.key, &self.with).unwrap();
        let proof = consistency_proof(leaves, old).unwrap();
        Growth { old, proof, checkpoint: signed.note().to_string() }
    }
}

//= specs/house.md#house-ledger
//= type=test
//# A witness MUST NOT cosign a checkpoint that did not grow out of the last one it saw.
#[test]
fn only_what_grew_is_cosigned() {
    let log = Log::new(20);
    let with = note_key();
    let witness = VerifierKey::new("w.example", SignatureType::Cosignature, &with).unwrap();
    let mut seen = Seen::default();
    for (old, new) in [(0, 5), (5, 5), (5, 13), (13, 20)] {
        let asked = Growth::parse(log.growth(old, new).to_string().as_bytes()).unwrap();
        let grown = asked.verify(seen.last(&log.key).unwrap().as_ref(), &log.key).unwrap();
        seen.remember(&grown);
        let cosigned = grown.cosign(&witness, &with, 1_700_000_000).unwrap();
        assert_eq!(cosigned.cosigned_by(&witness), Ok(Some(1_700_000_000)));
    }
    let last = seen.last(&log.key).unwrap().unwrap();
    assert_eq!(last.size, 20);
    // Taken away, proven from elsewhere, another history.
    let refused = log.growth(0, 13).verify(Some(&last), &log.key).unwrap_err();
    assert_eq!(refused, GrowthError::Smaller { last: 20, offered: 13 });
    let mut longer = Log { leaves: log.leaves.clone(), ..Log::new(0) };
    longer.key = log.key.clone();
    longer.with = log.with.clone();
    longer.leaves.push(Hash::leaf(b"more"));
    let refused = longer.growth(13, 21).verify(Some(&last), &log.key).unwrap_err();
    assert_eq!(refused, GrowthError::Old { last: 20, offered: 13 });
    longer.leaves[3] = Hash::leaf(b"forged");
    for size in [20, 21] {
        let refused = longer.growth(20, size).verify(Some(&last), &log.key).unwrap_err();
        assert!(matches!(refused, GrowthError::Fork { last: 20, .. }), "{refused}");
    }
}

#[test]
fn a_bare_checkpoint_is_the_first_or_the_same() {
    let log = Log::new(4);
    let bare = log.growth(0, 4).checkpoint;
    let asked = Growth::parse(bare.as_bytes()).unwrap();
    assert_eq!((asked.old, asked.proof.len()), (0, 0));
    let first = asked.verify(None, &log.key).unwrap();
    let last = first.checkpoint().checkpoint().clone();
    assert!(asked.verify(Some(&last), &log.key).is_ok());
    let stranger = Log::new(4);
    assert!(matches!(asked.verify(None, &stranger.key), Err(GrowthError::Note(_))));
}

#[test]
fn what_is_no_request_is_refused() {
    let log = Log::new(9);
    let good = log.growth(3, 9).to_string();
    assert_eq!(Growth::parse(good.as_bytes()).unwrap(), log.growth(3, 9));
    let endless = format!("old 1\n{}\n{good}", format!("{}\n", "A".repeat(43) + "=").repeat(64));
    for bad in [
        good.replacen("old 3", "old 03", 1),
        good.replacen("old 3", "old -3", 1),
        "old 3\n".to_owned(),
        endless,
    ] {
        assert_eq!(Growth::parse(bad.as_bytes()), Err(NoteError::Form), "{bad}");
    }
    assert_eq!(Growth::parse(b"\xff"), Err(NoteError::Form));
    assert_eq!(Growth::parse(&vec![b'a'; MAX_REQUEST + 1]), Err(NoteError::Form));
}
