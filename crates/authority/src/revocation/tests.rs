//! What revoking does, and how fast others hear of it.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::{Duration, Instant};

use super::*;
use crate::enrol::{EnrolNames, EnrolProfile, EnrolRequest};
use crate::testing::{open, ready};

async fn enrol(authority: &Authority, out: &std::path::Path, force: bool) -> String {
    let names = EnrolNames::One("plug-1".to_owned());
    let wanted = EnrolRequest { profile: EnrolProfile::Device, names, out: out.to_owned(), force };
    authority.enrol(&wanted, |_, _| {}).await.unwrap().pop().unwrap().serial
}

#[tokio::test]
async fn an_older_certificate_goes_alone_and_the_last_one_takes_its_subject_along() {
    let folder = tempfile::tempdir().unwrap();
    let authority = ready(folder.path()).await;
    let out = folder.path().join("out");
    let old = enrol(&authority, &out, false).await;
    let new = enrol(&authority, &out, true).await;
    let done = authority.revoke(&Target::Serial(old.clone()), Reason::Superseded).await.unwrap();
    assert_eq!((done.state, &done.serials[..]), (State::Active, &[old.clone()][..]));
    let entries = authority.ledger_entries().await.unwrap().len();
    // Once more: nothing happens, and nothing is written.
    let again = authority.revoke(&Target::Serial(old), Reason::Superseded).await.unwrap();
    assert_eq!((again.state, again.serials.len()), (State::Active, 0));
    assert_eq!(authority.ledger_entries().await.unwrap().len(), entries);
    let done = authority.revoke(&Target::Serial(new.clone()), Reason::KeyCompromise).await.unwrap();
    assert_eq!((done.state, done.serials), (State::Suspended, vec![new]));
    let unknown = authority.revoke(&Target::Serial("00".to_owned()), Reason::Superseded).await;
    assert!(matches!(unknown, Err(AuthorityError::Unknown(_))));
}

/// Another process' view of the same folder: within a second, and the newcomer knows it from the start.
#[tokio::test(flavor = "multi_thread")]
async fn another_process_hears_of_it_within_a_second() {
    let folder = tempfile::tempdir().unwrap();
    let authority = ready(folder.path()).await;
    let serial = enrol(&authority, &folder.path().join("out"), false).await;
    let gateway = open(folder.path()).await.registry();
    let mut changed = gateway.changed();
    assert!(gateway.revoked(&serial).is_none());
    let begun = Instant::now();
    authority.revoke(&"plug-1".parse().unwrap(), Reason::Suspended).await.unwrap();
    while gateway.revoked(&serial).is_none() {
        tokio::time::timeout(Duration::from_secs(1), changed.changed()).await.unwrap().unwrap();
    }
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    let late = open(folder.path()).await.registry();
    assert_eq!(late.denylist(), gateway.denylist());
    assert_eq!(late.denylist().len(), 1);
    let subject = "plug-1".parse().unwrap();
    assert_eq!(late.subject(&subject).unwrap().state, State::Suspended);
}

#[test]
fn targets_are_read() {
    assert_eq!("serial:AB01".parse(), Ok(Target::Serial("ab01".to_owned())));
    assert_eq!(
        "plug-1".parse::<Target>().unwrap(),
        Target::Subject("thing:plug-1".parse().unwrap())
    );
    assert!("gadget:x".parse::<Target>().is_err());
}
