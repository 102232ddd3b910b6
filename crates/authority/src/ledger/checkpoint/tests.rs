//! Signing, cosigning, and what is not believed.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use super::*;
use crate::testing::note_key;

/// The example of C2SP tlog-checkpoint and tlog-cosignature; its keys were not published.
const EXAMPLE: &str = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n\
    — example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n\
    — witness.example.com/w1 jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2oyin1nPZqhf5nNo0xUe+mbIUBkBIfZ+qnA==\n";

#[test]
fn the_published_example_reads_back() {
    let note = Note::parse(EXAMPLE.as_bytes()).unwrap();
    let head = Checkpoint::parse(note.text()).unwrap();
    assert_eq!((head.origin.as_str(), head.size), ("example.com/behind-the-sofa", 20_852_163));
    assert_eq!((head.text().as_str(), note.to_string().as_str()), (note.text(), EXAMPLE));
    // The time of the example's cosignature is that of its message in the specification.
    let time = note.signatures()[1].bytes().split_first_chunk::<8>().unwrap().0;
    assert_eq!(u64::from_be_bytes(*time), 1_679_315_147);
}

#[test]
fn what_is_no_checkpoint_is_refused() {
    let root = "CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=";
    for bad in [
        "",
        "\n",
        "o\n1\n",
        &format!("\n1\n{root}\n"),
        &format!("o\n01\n{root}\n"),
        &format!("o\n-1\n{root}\n"),
        &format!("o\n1\n{root}"),
        &format!("o\n1\n{root}\n\n"),
        &format!("o\n18446744073709551616\n{root}\n"),
        "o\n1\nCsUY\n",
    ] {
        assert_eq!(Checkpoint::parse(bad), Err(NoteError::Checkpoint), "{bad:?}");
    }
    assert!(Checkpoint::parse(&format!("o\n0\n{root}\nextension\n")).is_ok());
}

fn log() -> (VerifierKey, NoteKey) {
    let with = note_key();
    (VerifierKey::new("log.example", SignatureType::Plain, &with).unwrap(), with)
}

fn witness(name: &str) -> (VerifierKey, NoteKey) {
    let with = note_key();
    (VerifierKey::new(name, SignatureType::Cosignature, &with).unwrap(), with)
}

fn signed(key: &VerifierKey, with: &NoteKey) -> SignedCheckpoint {
    let head = Checkpoint { origin: key.name().to_owned(), size: 3, root: Hash([7; 32]) };
    SignedCheckpoint::sign(head, key, with).unwrap()
}

//= specs/house.md#house-ledger
//= type=test
//# A checkpoint MUST NOT be believed before its log's signature was verified.
#[test]
fn only_the_logs_own_key_counts() {
    let (key, with) = log();
    let text = signed(&key, &with).note().to_string();
    assert_eq!(SignedCheckpoint::verify(text.as_bytes(), &key).unwrap().checkpoint().size, 3);
    let (other, _) = log();
    let refused = SignedCheckpoint::verify(text.as_bytes(), &other).unwrap_err();
    assert_eq!(refused, NoteError::Unsigned("log.example".to_owned()));
    let forged = text.replacen("\n3\n", "\n4\n", 1);
    let refused = SignedCheckpoint::verify(forged.as_bytes(), &key).unwrap_err();
    assert_eq!(refused, NoteError::Invalid("log.example".to_owned()));
    let elsewhere = VerifierKey::new("other.example", SignatureType::Plain, &with).unwrap();
    let refused = SignedCheckpoint::verify(text.as_bytes(), &elsewhere).unwrap_err();
    assert!(matches!(refused, NoteError::Origin { .. }), "{refused}");
    // A witness's key is no log's.
    let (cosigner, _) = witness("log.example");
    assert_eq!(SignedCheckpoint::verify(text.as_bytes(), &cosigner), Err(NoteError::Type(4)));
}

//= specs/house.md#house-ledger
//= type=test
//# A witness MUST count once, however many of its cosignatures a checkpoint carries.
#[test]
fn cosignatures_count_by_witness() {
    let (key, with) = log();
    let (one, one_key) = witness("w1.example");
    let (two, _) = witness("w2.example");
    let mut checkpoint = signed(&key, &with);
    assert_eq!(checkpoint.cosigned_by(&one), Ok(None));
    checkpoint.cosign(&one, &one_key, 100).unwrap();
    checkpoint.cosign(&one, &one_key, 200).unwrap();
    let read = SignedCheckpoint::verify(checkpoint.note().to_string().as_bytes(), &key).unwrap();
    assert_eq!(read.cosigned_by(&one), Ok(Some(200)));
    // The same key under a second name is no second witness.
    let alias = VerifierKey::new("w3.example", SignatureType::Cosignature, &one_key).unwrap();
    checkpoint.cosign(&alias, &one_key, 300).unwrap();
    let asked = [one.clone(), two, alias, one.clone()];
    assert_eq!(cosigners(&checkpoint, &asked).unwrap(), [(&one, 200)]);
    assert_eq!(checkpoint.cosign(&key, &with, 1), Err(NoteError::Type(1)));
}

#[test]
fn a_forged_cosignature_is_an_error_and_not_a_no() {
    let (key, with) = log();
    let (one, one_key) = witness("w1.example");
    let mut checkpoint = signed(&key, &with);
    checkpoint.cosign(&one, &one_key, 100).unwrap();
    let line = checkpoint.note().signatures()[1].clone();
    // The cosignature of another checkpoint, and the same with another time.
    let mut other = signed(&log().0, &log().1);
    other.note.add(line.clone());
    let mut later = line.bytes().to_vec();
    later[7] += 1;
    let mut moved = signed(&key, &with);
    moved.note.add(NoteSignature::by(&one, later));
    let mut short = signed(&key, &with);
    short.note.add(NoteSignature::by(&one, line.bytes()[..40].to_vec()));
    for (case, bad) in [("moved", moved), ("short", short)] {
        let refused = bad.cosigned_by(&one);
        assert_eq!(refused, Err(NoteError::Invalid("w1.example".to_owned())), "{case}");
    }
    let mut kept = signed(&key, &with);
    assert_eq!(kept.take_cosignatures(&checkpoint, std::slice::from_ref(&one)), Ok(1));
    assert_eq!(kept, checkpoint);
}
