//! Identities, labels, and what must not be kept.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod batches;
mod kits;

use countersign_crypto::certificate::IdentityKind;
use countersign_crypto::signature::{KeyHandle, SignatureAlgorithm};
use countersign_model::time::Validity;

use super::*;
use crate::registration::State;
use crate::testing::{openssl_verify, ready};

fn device(name: &str) -> (KeyHandle, Vec<u8>) {
    let key = KeyHandle::ephemeral(SignatureAlgorithm::EcdsaP256Sha256).unwrap();
    let request = csr::request(&key, name).unwrap();
    (key, request)
}

//= specs/en-303-645.md#5.5-8
//= type=test
//# Provisioning MUST leave a record.
#[tokio::test]
async fn a_device_gets_an_identity_for_life_and_its_label_proves_it() {
    let folder = tempfile::tempdir().unwrap();
    let authority = ready(folder.path()).await;
    let (key, request) = device("plug-000001");
    let made = authority.manufacture(&request).await.unwrap();
    let leaf = made.chain.leaf();
    assert_eq!(leaf.spki_der(), key.spki_der());
    assert_eq!(leaf.validity().not_after, Validity::FOREVER);
    assert_eq!(leaf.name().unwrap().kind(), IdentityKind::IdevId);
    assert!(made.label.root().matches_sha256(&made.roots[0].fingerprint()));
    let chain = folder.path().join("idevid.crt");
    std::fs::write(&chain, made.chain.to_pem()).unwrap();
    openssl_verify(folder.path(), &chain, "sslserver");

    let code = made.label.code();
    let again = pake::derive(code, made.label.thing(), &made.params).unwrap().record();
    let same = again.to_secret().expose(|a| made.verifier.to_secret().expose(|b| a == b));
    assert!(same, "the label's code is the one that the verifier was made from");
    let subject = &authority.subjects().await.unwrap()[..];
    let thing = subject.iter().find(|one| one.subject.name() == "plug-000001").unwrap();
    assert_eq!(thing.state, State::Manufactured);
    let entries = authority.ledger_entries().await.unwrap();
    let last = entries.last().unwrap();
    assert_eq!(
        (last.kind, last.body["thing"].as_str()),
        (Kind::FactoryIdentity, Some("plug-000001"))
    );
}

//= specs/house.md#house-pairing
//= type=test
//# The device MUST store a verifier of the setup code and never the code.
/// The code is on the label and nowhere in the data folder, in none of its spellings.
#[tokio::test]
async fn the_authority_keeps_no_setup_code() {
    let folder = tempfile::tempdir().unwrap();
    let authority = ready(folder.path()).await;
    let made = authority.manufacture(&device("plug-000001").1).await.unwrap();
    let printed = made.label.code().printed();
    let compact = made.label.code().compact();
    let verifier = made.verifier.to_secret().expose(<[u8]>::to_vec);
    let needles =
        [printed.as_bytes(), compact.as_bytes(), compact[..12].as_bytes(), &verifier[..32]];
    let mut files = vec![folder.path().to_owned()];
    while let Some(path) = files.pop() {
        if path.is_dir() {
            files.extend(std::fs::read_dir(&path).unwrap().map(|one| one.unwrap().path()));
            continue;
        }
        let bytes = std::fs::read(&path).unwrap();
        for needle in needles {
            let found = bytes.windows(needle.len()).any(|window| window == needle);
            assert!(!found, "{}", path.display());
        }
    }
}

#[tokio::test]
async fn a_serial_and_a_key_are_used_once_and_a_retry_is_no_second_time() {
    let folder = tempfile::tempdir().unwrap();
    let authority = ready(folder.path()).await;
    let (key, request) = device("plug-000001");
    let first = authority.manufacture(&request).await.unwrap();
    let again = authority.manufacture(&request).await.unwrap();
    assert_eq!(first.chain, again.chain);
    let other_key = authority.manufacture(&device("plug-000001").1).await.unwrap_err();
    assert!(
        matches!(other_key, AuthorityError::Refused(Refusal::AlreadyManufactured)),
        "{other_key}"
    );
    let clone = csr::request(&key, "plug-000002").unwrap();
    let clone = authority.manufacture(&clone).await.unwrap_err();
    assert!(matches!(clone, AuthorityError::Refused(Refusal::DuplicateKey)), "{clone}");
    let upper = authority.manufacture(&device("PLUG-000003").1).await.unwrap_err();
    assert!(matches!(upper, AuthorityError::Refused(Refusal::UpperCase(_))), "{upper}");
}

#[tokio::test]
async fn a_label_is_a_picture_and_a_text() {
    let folder = tempfile::tempdir().unwrap();
    let authority = ready(folder.path()).await;
    let made = authority.manufacture(&device("plug-000001").1).await.unwrap();
    let files = LabelFiles::write(&made.label, folder.path()).unwrap();
    let text = std::fs::read_to_string(&files.text).unwrap();
    let (qr, printed) = text.trim().split_once('\n').unwrap();
    assert_eq!(Label::parse(qr).unwrap().thing().as_str(), "plug-000001");
    assert_eq!(SetupCode::parse(printed).unwrap().compact(), made.label.code().compact());
    let svg = std::fs::read_to_string(&files.svg).unwrap();
    assert_eq!(svg.matches("<svg").count(), svg.matches("</svg>").count());
    assert!(svg.contains(">plug-000001<") && svg.contains("<path"));
    for group in printed.split('-') {
        assert!(svg.contains(group), "{group}");
    }
}
