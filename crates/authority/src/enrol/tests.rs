//! Credentials as files.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::os::unix::fs::PermissionsExt as _;

use countersign_crypto::certificate::CertificateChain;
use countersign_crypto::csr;

use super::*;
use crate::registration::{Reason, Refusal};
use crate::testing::{openssl, openssl_verify, ready};

fn request(profile: EnrolProfile, names: EnrolNames, out: &Path) -> EnrolRequest {
    EnrolRequest { profile, names, out: out.to_owned(), force: false }
}

fn one(name: &str) -> EnrolNames {
    EnrolNames::One(name.to_owned())
}

#[tokio::test]
async fn ordinary_tools_can_use_what_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let authority = ready(folder.path()).await;
    let out = folder.path().join("out");
    let grants: Vec<Grant> = vec!["subscribe things/+/properties/#".parse().unwrap()];
    let service = request(EnrolProfile::Service(grants.clone()), one("backend"), &out);
    let made = authority.enrol(&service, |_, _| {}).await.unwrap().pop().unwrap();
    assert_eq!(made.key, out.join("backend.key"));
    assert_eq!(std::fs::metadata(&made.key).unwrap().permissions().mode() & 0o777, 0o600);
    openssl_verify(&out, &made.certificate, "sslclient");
    // Key and certificate belong together, in OpenSSL's eyes too.
    let key = openssl(&["pkey", "-in", made.key.to_str().unwrap(), "-pubout"]);
    let certificate = made.certificate.to_str().unwrap();
    assert_eq!(key, openssl(&["x509", "-in", certificate, "-pubkey", "-noout"]));
    let subjects = authority.subjects().await.unwrap();
    let known = subjects.iter().find(|one| one.subject == made.subject).unwrap();
    assert_eq!(known.grants, grants);
    let (from, to) = (folder.path().join("roots.pem"), out.join("roots.pem"));
    assert_eq!(std::fs::read(from).unwrap(), std::fs::read(to).unwrap());
}

#[tokio::test]
async fn many_are_numbered_and_counted() {
    let folder = tempfile::tempdir().unwrap();
    let authority = ready(folder.path()).await;
    let names = EnrolNames::Many { prefix: "plug-".to_owned(), count: 3 };
    let wanted = request(EnrolProfile::Device, names, &folder.path().join("out"));
    let mut heard = Vec::new();
    let made = authority.enrol(&wanted, |done, total| heard.push((done, total))).await.unwrap();
    assert_eq!(heard, [(1, 3), (2, 3), (3, 3)]);
    assert_eq!(made[2].subject.name(), "plug-000003");
    openssl_verify(folder.path(), &made[2].certificate, "sslserver");
    for count in [0, MAX_COUNT + 1] {
        let names = EnrolNames::Many { prefix: "x-".to_owned(), count };
        let wanted = request(EnrolProfile::Device, names, folder.path());
        assert!(authority.enrol(&wanted, |_, _| {}).await.is_err());
    }
}

#[tokio::test]
async fn a_key_is_never_overwritten_without_force() {
    let folder = tempfile::tempdir().unwrap();
    let authority = ready(folder.path()).await;
    let mut wanted = request(EnrolProfile::Device, one("plug-1"), &folder.path().join("out"));
    let made = authority.enrol(&wanted, |_, _| {}).await.unwrap().pop().unwrap();
    let key = std::fs::read(&made.key).unwrap();
    let refused = authority.enrol(&wanted, |_, _| {}).await.unwrap_err();
    assert!(matches!(&refused, AuthorityError::Exists(path) if *path == made.key), "{refused}");
    assert_eq!(std::fs::read(&made.key).unwrap(), key);
    wanted.force = true;
    let anew = authority.enrol(&wanted, |_, _| {}).await.unwrap().pop().unwrap();
    assert_ne!(std::fs::read(&anew.key).unwrap(), key);
    let chain = CertificateChain::from_pem(&std::fs::read(&anew.certificate).unwrap()).unwrap();
    let now = key_from_pem(&std::fs::read(&anew.key).unwrap()).unwrap();
    assert_eq!(chain.leaf().spki_der(), now.spki_der());
}

/// Killed after the key was written, or after the certificate was issued and before its file: the next run ends the work
/// with the same key, and the authority answers with the same certificate.
#[tokio::test]
async fn an_interrupted_run_is_carried_on() {
    let folder = tempfile::tempdir().unwrap();
    let authority = ready(folder.path()).await;
    let wanted = request(EnrolProfile::Device, one("plug-1"), &folder.path().join("out"));
    let made = authority.enrol(&wanted, |_, _| {}).await.unwrap().pop().unwrap();
    let certificate = std::fs::read(&made.certificate).unwrap();
    std::fs::remove_file(&made.certificate).unwrap();
    let again = authority.enrol(&wanted, |_, _| {}).await.unwrap().pop().unwrap();
    assert_eq!(again, made);
    assert_eq!(std::fs::read(&made.certificate).unwrap(), certificate);
}

/// Killed in the middle of many: the same call makes the rest and leaves what is there.
#[tokio::test]
async fn an_interrupted_run_over_many_makes_the_rest() {
    let folder = tempfile::tempdir().unwrap();
    let authority = ready(folder.path()).await;
    let out = folder.path().join("out");
    let many = |count| {
        request(EnrolProfile::Device, EnrolNames::Many { prefix: "plug-".to_owned(), count }, &out)
    };
    let first = authority.enrol(&many(2), |_, _| {}).await.unwrap();
    let key = std::fs::read(&first[1].key).unwrap();
    let all = authority.enrol(&many(3), |_, _| {}).await.unwrap();
    assert_eq!((all.len(), &all[..2]), (3, &first[..]));
    assert_eq!(std::fs::read(&first[1].key).unwrap(), key);
    // What does not belong together, or counts no more, is in the way.
    authority.revoke(&"plug-000001".parse().unwrap(), Reason::Suspended).await.unwrap();
    let refused = authority.enrol(&many(3), |_, _| {}).await.unwrap_err();
    assert!(matches!(&refused, AuthorityError::Exists(path) if *path == first[0].key), "{refused}");
}

#[tokio::test]
async fn who_may_not_enrol_gets_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let authority = ready(folder.path()).await;
    let out = folder.path().join("out");
    let wanted = request(EnrolProfile::Device, one("plug-1"), &out);
    authority.enrol(&wanted, |_, _| {}).await.unwrap();
    authority.revoke(&"plug-1".parse().unwrap(), Reason::Suspended).await.unwrap();
    let elsewhere = folder.path().join("elsewhere");
    let wanted = request(EnrolProfile::Device, one("plug-1"), &elsewhere);
    let refused = authority.enrol(&wanted, |_, _| {}).await.unwrap_err();
    assert!(matches!(refused, AuthorityError::Refused(Refusal::Suspended)), "{refused}");
    assert!(!elsewhere.join("plug-1.key").exists());
    for name in ["Plug-1", "../plug", "", "plug 1"] {
        let wanted = request(EnrolProfile::Device, one(name), &elsewhere);
        assert!(authority.enrol(&wanted, |_, _| {}).await.is_err(), "{name}");
    }
}

/// More than go into one statement; one asks under another name, one with somebody's key, one twice.
#[tokio::test]
async fn requests_of_many_are_answered_in_their_order() {
    let folder = tempfile::tempdir().unwrap();
    let authority = ready(folder.path()).await;
    let asking = |thing: &str, name: &str, key: &KeyHandle| {
        let request = csr::request(key, name).unwrap();
        (thing.parse::<ThingId>().unwrap(), csr::verify(&request).unwrap())
    };
    let key = || KeyHandle::ephemeral(SignatureAlgorithm::EcdsaP256Sha256).unwrap();
    let shared = key();
    let mut requests =
        vec![asking("plug-a", "plug-b", &key()), asking("plug-c", "plug-c", &shared)];
    requests.extend([asking("plug-d", "plug-d", &shared), asking("plug-c", "plug-c", &shared)]);
    let names: Vec<_> = (0..140).map(|number| format!("plug-{number}")).collect();
    requests.extend(names.iter().map(|name| asking(name, name, &key())));
    let mut answers = authority.enrol_requests(requests.clone()).await.unwrap().into_iter();
    let mut refused = || answers.next().unwrap().unwrap_err().to_string();
    assert_eq!(refused(), Refusal::OtherSubject("plug-b".to_owned()).to_string());
    let first = answers.next().unwrap().unwrap();
    assert!(first.fresh && first.chain.leaf().subject_cn().as_deref() == Some("plug-c"));
    let mut refused = || answers.next().unwrap().unwrap_err().to_string();
    assert_eq!(refused(), Refusal::DuplicateKey.to_string());
    assert_eq!(refused(), Refusal::AlreadyManufactured.to_string());
    for (name, answer) in names.iter().zip(answers) {
        assert_eq!(answer.unwrap().chain.leaf().subject_cn().as_ref(), Some(name));
    }
    // Asked again, all of them get what they got, and nothing is written.
    let before = authority.core.store.generation().await.unwrap();
    let again = authority.enrol_requests(requests.split_off(4)).await.unwrap();
    assert_eq!(again.len(), 140);
    assert!(again.into_iter().all(|answer| !answer.unwrap().fresh));
    assert_eq!(authority.core.store.generation().await.unwrap(), before);
}
