//! What people read of a request is all that they approve.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use super::*;
use crate::ledger::note::SignatureType;
use crate::testing::note_key;

/// A request of one act with a value of its own in every field.
fn raw() -> Raw {
    let act = Act {
        what: ActKind::NextRoot,
        label: "root-2".to_owned(),
        common_name: "Example Root G2".to_owned(),
        organisation: "Example Manufacturer".to_owned(),
        country: "DE".to_owned(),
        serial: "1".repeat(32),
        not_before: "2026-01-02T00:00:00Z".to_owned(),
        not_after: "2056-03-04T00:00:00Z".to_owned(),
        key_algorithm: "ecdsa_secp384r1_sha384".to_owned(),
        key_sha256: "2".repeat(64),
        certificate_sha256: Some("3".repeat(64)),
        position: Some(7431),
    };
    Raw {
        form: FORM.to_owned(),
        purpose: "the next root".to_owned(),
        id: "4444".to_owned(),
        root_key_sha256: hex::encode(sha256(b"root")),
        custodians: vec!["alice".to_owned(), "bob".to_owned()],
        custodians_needed: 2,
        custody_sha256: "5".repeat(64),
        made_at: "2026-05-06T00:00:00Z".to_owned(),
        expires_at: "2026-05-13T00:00:00Z".to_owned(),
        root_key: STANDARD.encode(b"root"),
        reply_key: String::new(),
        sign: vec![act],
        share: Vec::new(),
    }
}

/// One text of an act.
type Text = fn(&mut Act) -> &mut String;

fn parse(raw: &Raw) -> Result<RootRequest, RequestError> {
    let key = note_key();
    let verifier = VerifierKey::new("authority", SignatureType::Plain, &key).unwrap();
    let note = Note::sign(toml::to_string(raw).unwrap(), &verifier, &key)?;
    RootRequest::parse(note.to_string().as_bytes())
}

//= specs/house.md#house-custody
//= type=test
//# A certificate of the root MUST say what its custodians approved, word by word.
#[test]
fn people_are_told_every_field_that_is_signed() {
    let raw = raw();
    let told = parse(&raw).unwrap().to_string();
    let mut fields: Vec<&str> = raw.told().into_iter().map(|(_, text)| text).collect();
    // It says under whose custody, and is no word of what is signed.
    fields.retain(|field| *field != raw.custody_sha256);
    fields.extend(["7431", "this is the next root", "2 of alice, bob"]);
    for field in fields {
        assert!(told.contains(field), "{field} is missing: {told}");
    }
}

#[test]
fn a_text_that_a_terminal_obeys_is_refused() {
    let good = raw();
    parse(&good).unwrap();
    for bad in ["a\u{1b}[2Kb", "a\nb", "a\u{9b}2Kb", "a\u{7f}", "a\u{202e}b", "a\u{2066}b"] {
        let name = |name: &str| bad.replace('a', name);
        let purpose = Raw { purpose: name("x"), ..good.clone() };
        assert_eq!(parse(&purpose), Err(RequestError::Field("purpose")), "{bad:?}");
        let mut custodians = good.clone();
        custodians.custodians[1] = name("bob");
        assert_eq!(parse(&custodians), Err(RequestError::Field("custodians")), "{bad:?}");
        let fields: [(&str, Text); 6] = [
            ("label", |act| &mut act.label),
            ("common_name", |act| &mut act.common_name),
            ("organisation", |act| &mut act.organisation),
            ("country", |act| &mut act.country),
            ("key_algorithm", |act| &mut act.key_algorithm),
            ("key_sha256", |act| &mut act.key_sha256),
        ];
        for (field, of) in fields {
            let mut changed = good.clone();
            *of(&mut changed.sign[0]) = name("x");
            assert_eq!(parse(&changed), Err(RequestError::Field(field)), "{bad:?}");
        }
        let mut changed = good.clone();
        changed.sign[0].certificate_sha256 = Some(name("x"));
        assert_eq!(parse(&changed), Err(RequestError::Field("certificate_sha256")), "{bad:?}");
    }
}
