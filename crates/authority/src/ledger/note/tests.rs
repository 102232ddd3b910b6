//! Notes that others published, and what is no note.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use countersign_crypto::random::{Random, SystemRandom};

use super::*;

/// The example of C2SP signed-note.
const FOO: &str = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k";
const FOO_NOTE: &str = "This is an example message.\n\n\
    — example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n";
/// The example of golang.org/x/mod/sumdb/note.
const NEUMANN: &str = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
const NEUMANN_NOTE: &str = "If you think cryptography is the answer to your problem,\n\
    then you don't know what your problem is.\n\n\
    — PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";

#[test]
fn published_notes_verify_under_their_keys_only() {
    for (key, note) in [(FOO, FOO_NOTE), (NEUMANN, NEUMANN_NOTE)] {
        let (key, read): (VerifierKey, _) =
            (key.parse().unwrap(), Note::parse(note.as_bytes()).unwrap());
        assert_eq!(read.signed_by(&key), Ok(true));
        assert_eq!(
            (read.to_string().as_str(), key.to_string().as_str()),
            (note, key.to_string().as_str())
        );
        let changed =
            Note::parse(note.replacen('I', "J", 1).replacen("This", "Thus", 1).as_bytes()).unwrap();
        assert_eq!(changed.signed_by(&key), Err(NoteError::Invalid(key.name().to_owned())));
    }
    let neumann: VerifierKey = NEUMANN.parse().unwrap();
    assert_eq!(neumann.to_string(), NEUMANN);
    assert_eq!(Note::parse(FOO_NOTE.as_bytes()).unwrap().signed_by(&neumann), Ok(false));
}

#[test]
fn what_we_sign_verifies() {
    let random: &mut dyn Random = &mut SystemRandom;
    let with = NoteKey::from_seed(&NoteKey::fresh_seed(random)).unwrap();
    let key = VerifierKey::new("ledger.example", SignatureType::Plain, &with).unwrap();
    let note = Note::sign("one\n\nthree\n".to_owned(), &key, &with).unwrap();
    let read = Note::parse(note.to_string().as_bytes()).unwrap();
    assert_eq!((read.text(), read.signed_by(&key)), ("one\n\nthree\n", Ok(true)));
    for bad in ["no line end", "", "tab\t\n"] {
        assert_eq!(Note::sign(bad.to_owned(), &key, &with).unwrap_err(), NoteError::Form);
    }
    for bad in ["", "two words", "a+b", "a\u{a0}b"] {
        assert_eq!(VerifierKey::new(bad, SignatureType::Plain, &with), Err(NoteError::Name));
    }
}

#[test]
fn what_is_no_note_is_refused() {
    let line = FOO_NOTE.lines().last().unwrap();
    for bad in [
        "text\n",
        "text\n\n",
        &format!("text\n{line}\n"),
        &format!("text\n\n{line}"),
        &format!("te\txt\n\n{line}\n"),
        &format!("text\n\n{line}\nmore\n"),
        "text\n\n— name AAAA\n",
        "text\n\n— name AAAAAAA\n",
        "text\n\n- name AAAAAAA=\n",
        &format!("text\n\n{}", format!("{line}\n").repeat(MAX_SIGNATURES + 1)),
    ] {
        assert_eq!(Note::parse(bad.as_bytes()), Err(NoteError::Form), "{bad:?}");
    }
    assert_eq!(Note::parse(b"te\xfft\n\n"), Err(NoteError::Form));
    assert_eq!(Note::parse(&vec![b'\n'; MAX_NOTE + 1]), Err(NoteError::Form));
    let many = format!("text\n\n{}", format!("{line}\n").repeat(MAX_SIGNATURES));
    assert_eq!(Note::parse(many.as_bytes()).unwrap().signatures().len(), MAX_SIGNATURES);
}

#[test]
fn a_key_whose_id_or_type_is_wrong_is_refused() {
    for (from, to, expected) in [
        ("530d903a", "530d903b", NoteError::Key),
        ("530d903a", "530D903A", NoteError::Key),
        ("+Aeky", "+Beky", NoteError::Type(0x05)),
        ("U2k", "U2", NoteError::Key),
        ("example.com/foo", "", NoteError::Name),
    ] {
        assert_eq!(FOO.replacen(from, to, 1).parse::<VerifierKey>(), Err(expected), "{to}");
    }
    assert_eq!("name".parse::<VerifierKey>(), Err(NoteError::Key));
}
