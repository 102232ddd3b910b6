//! Every kind is recorded, no secret is; what leaves can be verified by strangers.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use countersign_crypto::csr;
use countersign_crypto::keystore::key_from_pem;
use countersign_crypto::policy::Policy;
use countersign_crypto::signature::{KeyHandle, SignatureAlgorithm};

use super::*;
use crate::enrol::{EnrolNames, EnrolProfile, EnrolRequest};
use crate::ledger::offline::{audit_lines, audit_tiles, read_checkpoint};
use crate::registration::Reason;
use crate::revocation::Target;
use crate::testing::{in_force, ready};

async fn service(authority: &Authority, out: &Path, grants: &[&str], force: bool) {
    let grants = grants.iter().map(|grant| grant.parse().unwrap()).collect();
    let request = EnrolRequest {
        profile: EnrolProfile::Service(grants),
        names: EnrolNames::One("backend".to_owned()),
        out: out.to_owned(),
        force,
    };
    authority.enrol(&request, |_, _| {}).await.unwrap();
}

/// A whole life in one folder; the setup codes that came up in it.
async fn life(authority: &Authority, out: &Path) -> Vec<String> {
    service(authority, out, &["subscribe things/+/properties/#"], false).await;
    service(authority, out, &["subscribe things/+/events/#"], true).await;
    let mut codes = Vec::new();
    for name in ["plug-000001", "plug-000002"] {
        let key = KeyHandle::ephemeral(SignatureAlgorithm::EcdsaP256Sha256).unwrap();
        let request = csr::request(&key, name).unwrap();
        let made = authority.manufacture(&request).await.unwrap();
        codes.push(made.label.code().compact().to_string());
        codes.push(made.label.code().printed().to_string());
    }
    in_force(authority, &Policy::built_in()).await;
    let backend: Target = "service:backend".parse().unwrap();
    authority.revoke(&backend, Reason::KeyCompromise).await.unwrap();
    let Target::Subject(subject) = backend else { panic!("a subject") };
    authority.reinstate(&subject).await.unwrap();
    codes
}

//= specs/house.md#house-ledger
//= type=test
//# What leaves the authority MUST be in the ledger before it leaves.
#[tokio::test]
async fn every_step_of_a_life_is_an_entry() {
    let folder = tempfile::tempdir().unwrap();
    let authority = ready(folder.path()).await;
    life(&authority, &folder.path().join("out")).await;
    authority.export_ledger(ExportForm::JsonLines, &folder.path().join("l.jsonl")).await.unwrap();
    let entries = authority.ledger_entries().await.unwrap();
    let has = |kind: Kind| entries.iter().any(|entry| entry.kind == kind);
    for kind in [
        Kind::LedgerKey,
        Kind::CeremonyBegun,
        Kind::CeremonyStep,
        Kind::CeremonyFinished,
        Kind::IssuanceIntent,
        Kind::Issued,
        Kind::FactoryIdentity,
        Kind::GrantsChanged,
        Kind::PolicySigned,
        Kind::Revoked,
        Kind::Reinstated,
        Kind::Exported,
    ] {
        assert!(has(kind), "{kind:?} is missing");
    }
    assert_eq!(entries[0].kind, Kind::LedgerKey, "the key of the checkpoints comes first");
    let grants: Vec<_> =
        entries.iter().filter(|entry| entry.kind == Kind::GrantsChanged).map(|e| &e.body).collect();
    assert_eq!(grants.len(), 2, "{grants:?}");
    let exported: BTreeSet<_> = entries
        .iter()
        .filter(|entry| entry.kind == Kind::Exported)
        .map(|entry| entry.body["what"].as_str().unwrap())
        .collect();
    assert_eq!(exported, BTreeSet::from(["ledger", "private key"]));
}

/// Every form in which a secret could have slipped in.
fn forms(secret: &[u8]) -> Vec<Vec<u8>> {
    vec![
        secret.to_vec(),
        hex::encode(secret).into_bytes(),
        hex::encode_upper(secret).into_bytes(),
        STANDARD.encode(secret).trim_end_matches('=').as_bytes().to_vec(),
        URL_SAFE_NO_PAD.encode(secret).into_bytes(),
    ]
}

fn holds(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

//= specs/house.md#house-ledger
//= type=test
//# A secret MUST NOT be in the ledger.
#[tokio::test]
async fn no_secret_of_a_whole_life_is_in_it() {
    let folder = tempfile::tempdir().unwrap();
    let (data, out) = (folder.path().join("data"), folder.path().join("out"));
    let authority = ready(&data).await;
    let codes = life(&authority, &out).await;
    let mut secrets: Vec<(String, Vec<u8>)> =
        codes.into_iter().map(|code| ("setup code".to_owned(), code.into_bytes())).collect();
    // The sealing key, every sealed key, and every private key that was written for somebody, whole and as bare scalar.
    secrets.push(("seal.key".to_owned(), std::fs::read(data.join("seal.key")).unwrap()));
    let in_token = crate::testing::config(&data).token().is_some();
    // A token gives no key out, so there is none to look for.
    let sealed = if in_token { "authority/ledger-key" } else { "authority/keys" };
    for file in std::fs::read_dir(data.join(sealed)).unwrap() {
        let path = file.unwrap().path();
        secrets.push((path.display().to_string(), std::fs::read(&path).unwrap()));
    }
    for path in [out.join("backend.key"), data.join("operators/admin.key")] {
        let pem = std::fs::read_to_string(&path).unwrap();
        key_from_pem(pem.as_bytes()).unwrap();
        let base64: String = pem.lines().filter(|line| !line.starts_with("---")).collect();
        let pkcs8 = STANDARD.decode(base64).unwrap();
        // RFC 5915: the private key of P-256 is the octet string of 32 bytes behind these.
        let scalar = pkcs8.windows(2).position(|two| two == [0x04, 0x20]).unwrap() + 2;
        secrets.push((path.display().to_string(), pkcs8[scalar..scalar + 32].to_vec()));
        secrets.push((path.display().to_string(), pkcs8));
    }
    let keys = if in_token { 1 } else { 6 };
    assert!(secrets.len() >= 4 + 1 + keys + 4, "{}", secrets.len());
    drop(authority);
    let mut places = vec![data.join("authority/ledger.log")];
    let beside = std::fs::read_dir(data.join("authority/ledger")).unwrap();
    places.extend(beside.map(|file| file.unwrap().path()));
    assert!(places.len() >= 4, "{places:?}");
    for place in places {
        let text = std::fs::read(&place).unwrap();
        for (name, secret) in &secrets {
            assert!(secret.len() >= 8);
            for form in forms(secret) {
                assert!(!holds(&text, &form), "{name} is in {}", place.display());
            }
        }
    }
}

#[tokio::test]
async fn what_was_exported_verifies_without_the_authority() {
    let folder = tempfile::tempdir().unwrap();
    let (data, out) = (folder.path().join("data"), folder.path().join("out"));
    let authority = ready(&data).await;
    life(&authority, &out).await;
    let key = authority.ledger_key();
    let (lines, tiles) = (folder.path().join("ledger.jsonl"), folder.path().join("tiles"));
    let signed = authority.export_ledger(ExportForm::JsonLines, &lines).await.unwrap();
    let (audited, torn) =
        audit_lines(&lines, vec![signed.checkpoint().clone()], false, |_| ()).unwrap();
    assert_eq!((audited.agreed, torn), (signed.checkpoint().size, 0));
    // Twice: the second time only what changed is written.
    authority.export_ledger(ExportForm::Tiles, &tiles).await.unwrap();
    let signed = authority.export_ledger(ExportForm::Tiles, &tiles).await.unwrap();
    let read = read_checkpoint(&tiles.join("checkpoint"), &key).unwrap();
    assert_eq!(read, signed);
    let mut kinds = Vec::new();
    audit_tiles(&tiles, read.checkpoint(), Vec::new(), |leaf, _| kinds.push(leaf.kind)).unwrap();
    assert_eq!(kinds.len() as u64, signed.checkpoint().size);
    assert_eq!(kinds.last(), Some(&Kind::Exported));
}
