//! What a gateway reads from the view.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use countersign_crypto::certificate::CertificateChain;

use super::*;
use crate::enrol::{EnrolNames, EnrolProfile, EnrolRequest};
use crate::testing::ready;

#[tokio::test]
async fn names_keys_and_grants_are_answered_from_memory() {
    let folder = tempfile::tempdir().unwrap();
    let authority = ready(folder.path()).await;
    let registry = authority.registry();
    let mut changed = registry.changed();
    let grants: Vec<Grant> = vec!["publish things/+/actions/+".parse().unwrap()];
    let wanted = EnrolRequest {
        profile: EnrolProfile::Service(grants.clone()),
        names: EnrolNames::One("Backend".to_owned()),
        out: folder.path().join("out"),
        force: false,
    };
    let made = authority.enrol(&wanted, |_, _| {}).await.unwrap().pop().unwrap();
    while registry.subject(&made.subject).is_none() {
        changed.changed().await.unwrap();
    }
    assert_eq!(registry.subject(&made.subject).unwrap().grants, grants);
    assert!(registry.is_name("backend") && !registry.is_name("plug-1"));
    let chain = CertificateChain::from_pem(&std::fs::read(&made.certificate).unwrap()).unwrap();
    let spki = chain.leaf().spki_sha256();
    assert_eq!(registry.key_owner(&spki), Some(made.subject));
    assert_eq!(registry.key_owner("00"), None);
}

#[tokio::test]
async fn what_is_not_heard_of_stays_as_it_was_and_grows_old() {
    let folder = tempfile::tempdir().unwrap();
    let authority = ready(folder.path()).await;
    let registry = authority.registry();
    let known = registry.subject_count();
    assert!(known > 0);
    registry.stop();
    while registry.age() < POLL * 5 {
        tokio::time::sleep(POLL).await;
    }
    assert_eq!(registry.subject_count(), known);
}
