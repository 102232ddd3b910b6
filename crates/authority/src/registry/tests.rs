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

/// What is read while somebody looks comes page by page, and is seen all at once.
#[tokio::test]
async fn nobody_sees_a_part_of_what_is_being_read() {
    let folder = tempfile::tempdir().unwrap();
    let authority = ready(folder.path()).await;
    let registry = authority.registry();
    let mut changed = registry.changed();
    let mut all = registry.subject_count();
    for name in ["one", "two", "three", "four", "five", "six"] {
        let wanted = EnrolRequest {
            profile: EnrolProfile::Service(Vec::new()),
            names: EnrolNames::One(name.to_owned()),
            out: folder.path().join("out"),
            force: false,
        };
        authority.enrol(&wanted, |_, _| {}).await.unwrap();
        all += 1;
    }
    while registry.subject_count() < all {
        changed.changed().await.unwrap();
    }
    let shared = Arc::new(Shared {
        tables: RwLock::default(),
        wake: Notify::new(),
        heard: RwLock::new(Instant::now()),
    });
    let reading = Arc::clone(&shared);
    let watching = std::thread::spawn(move || {
        let began = Instant::now();
        loop {
            match reading.tables.read().unwrap().known.registered() {
                0 => assert!(began.elapsed() < Duration::from_secs(60), "nothing is heard of"),
                count => return count,
            }
        }
    });
    shared.refresh(&authority.core.store, Readers::Any).await.unwrap();
    assert_eq!(watching.join().unwrap(), all);
}
