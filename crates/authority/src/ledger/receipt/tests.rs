//! Proofs that travel.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use countersign_model::time::Timestamp;
use serde_json::json;

use super::*;
use crate::ledger::checkpoint::Checkpoint;
use crate::ledger::entry::Kind;
use crate::ledger::merkle::{inclusion_proof, root};
use crate::ledger::note::SignatureType;
use crate::testing::note_key;

fn made(index: u64) -> (Receipt, SignedCheckpoint, VerifierKey) {
    let with = note_key();
    let key = VerifierKey::new("log.example", SignatureType::Plain, &with).unwrap();
    let entries: Vec<Vec<u8>> = (0..11)
        .map(|number| {
            let body = json!({"number": number});
            Entry::following(&[0; 32], number, Timestamp(7), Kind::Issued, body).leaf_data()
        })
        .collect();
    let leaves: Vec<Hash> = entries.iter().map(|entry| Hash::leaf(entry)).collect();
    let head = Checkpoint { origin: "log.example".to_owned(), size: 11, root: root(&leaves) };
    let signed = SignedCheckpoint::sign(head, &key, &with).unwrap();
    let proof = inclusion_proof(&leaves, index).unwrap();
    let leaf = entries[usize::try_from(index).unwrap()].clone();
    (Receipt { leaf, index, proof, checkpoint: signed.note().to_string() }, signed, key)
}

//= specs/house.md#house-ledger
//= type=test
//# A stranger who holds a checkpoint and the ledger's public key MUST be able to verify a proof without the ledger.
#[test]
fn a_stranger_verifies_a_proof() {
    for index in 0..11 {
        let (receipt, signed, key) = made(index);
        let read = Receipt::parse(receipt.to_string().as_bytes()).unwrap();
        assert_eq!(read, receipt);
        for held in [None, Some(&signed)] {
            let proven = read.verify(held, &key).unwrap();
            assert_eq!(
                (proven.entry().index, &proven.entry().body["number"]),
                (index, &json!(index))
            );
            assert_eq!(proven.checkpoint(), &signed);
        }
    }
}

#[test]
fn a_proof_of_something_else_is_refused() {
    let (receipt, signed, key) = made(4);
    let (_, foreign, stranger) = made(4);
    let refused = |receipt: &Receipt| receipt.verify(None, &key).unwrap_err();
    let other = Receipt { leaf: made(5).0.leaf, ..receipt.clone() };
    assert!(matches!(refused(&other), ReceiptError::Entry(what) if what.contains("index")));
    let moved = Receipt { index: 5, leaf: made(5).0.leaf, ..receipt.clone() };
    assert!(matches!(refused(&moved), ReceiptError::Proof { index: 5, size: 11, .. }));
    let mut forged = receipt.clone();
    forged.leaf = String::from_utf8(forged.leaf).unwrap().replace("issued", "revoked").into_bytes();
    assert!(matches!(refused(&forged), ReceiptError::Proof { .. }));
    let mut spaced = receipt.clone();
    spaced.leaf.push(b' ');
    assert!(matches!(refused(&spaced), ReceiptError::Entry(_)));
    assert!(matches!(receipt.verify(None, &stranger), Err(ReceiptError::Note(_))));
    // Whoever holds a checkpoint believes that one, whatever the proof brings along.
    let unsigned = Receipt { checkpoint: "nothing".to_owned(), ..receipt.clone() };
    assert!(unsigned.verify(Some(&signed), &key).is_ok());
    assert_eq!(foreign.checkpoint().root, signed.checkpoint().root);
}

#[test]
fn what_is_no_proof_is_refused() {
    let good = made(4).0.to_string();
    for bad in [
        good.replacen("@v1", "@v2", 1),
        good.replacen("index 4", "index 04", 1),
        good.replacen("extra ", "extra", 1),
        good.replacen("\n\n", "\n", 1),
        good.replacen("\n\n", "\nAAAA\n\n", 1),
        String::new(),
    ] {
        assert_eq!(Receipt::parse(bad.as_bytes()), Err(NoteError::Form), "{bad}");
    }
    assert_eq!(Receipt::parse(&vec![b'\n'; MAX_RECEIPT + 1]), Err(NoteError::Form));
}
