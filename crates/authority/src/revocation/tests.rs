//! What revoking does, and how fast others hear of it.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::{Duration, Instant};

use countersign_model::time::Timestamp;

use super::many::{Hit, Many};
use super::*;
use crate::enrol::{EnrolNames, EnrolProfile, EnrolRequest};
use crate::testing::{config, open, ready};

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

async fn enrol_many(authority: &Authority, out: &std::path::Path, count: u32) {
    let names = EnrolNames::Many { prefix: "plug-".to_owned(), count };
    let wanted =
        EnrolRequest { profile: EnrolProfile::Device, names, out: out.to_owned(), force: false };
    authority.enrol(&wanted, |_, _| {}).await.unwrap();
}

async fn in_batch(authority: &Authority, names: &[&str]) {
    let things: Vec<_> = names.iter().map(|name| name.parse().unwrap()).collect();
    authority.label_batch(&things, "2026-11-A").await.unwrap();
}

#[tokio::test]
async fn a_batch_goes_by_one_order_and_nobody_else_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let authority = ready(folder.path()).await;
    enrol_many(&authority, &folder.path().join("out"), 4).await;
    in_batch(&authority, &["plug-000001", "plug-000002", "plug-000003"]).await;
    let batch: Many = "batch:2026-11-A".parse().unwrap();
    let entries = authority.ledger_entries().await.unwrap().len();
    let counted = authority.count_many(&batch, Reason::KeyCompromise).await.unwrap();
    assert_eq!(counted, Hit { subjects: 3, certificates: 3 });
    assert_eq!(authority.ledger_entries().await.unwrap().len(), entries, "counting writes nothing");
    let mut heard = Vec::new();
    let hit = authority
        .revoke_many(&batch, Reason::KeyCompromise, |done, total| heard.push((done, total)))
        .await
        .unwrap();
    assert_eq!((hit, heard), (counted, vec![(3, 3)]));
    assert_eq!(authority.ledger_entries().await.unwrap().len(), entries + 1, "one entry");
    let states: Vec<_> = authority.subjects().await.unwrap();
    let state = |name: &str| {
        states.iter().find(|one| one.subject.name() == name).map(|one| one.state).unwrap()
    };
    assert_eq!(state("plug-000001"), State::Suspended);
    assert_eq!(state("plug-000004"), State::Active);
    assert_eq!(authority.core.store.revocations_since(0).await.unwrap().len(), 3);
    // Nobody is left to be hit.
    let again = authority.count_many(&batch, Reason::KeyCompromise).await.unwrap();
    assert_eq!(again.certificates, 0);
}

//= specs/house.md#house-revocation
//= type=test
//# An order to revoke many certificates MUST be carried to its end, whoever is killed.
#[tokio::test]
async fn an_order_that_was_left_is_carried_on_by_whoever_opens_next() {
    let folder = tempfile::tempdir().unwrap();
    let authority = ready(folder.path()).await;
    enrol_many(&authority, &folder.path().join("out"), 5).await;
    in_batch(&authority, &["plug-000001", "plug-000002", "plug-000003"]).await;
    let batch: Many = "batch:2026-11-A".parse().unwrap();
    // As a kill leaves it: the order stands, two of three are done.
    let mut turn = authority.core.store.exclusive().await.unwrap();
    turn.suspend_batch("2026-11-A", Reason::Superseded).await.unwrap();
    let now = authority.core.now();
    let order = turn.put_order(now, &batch, Reason::Superseded, 3).await.unwrap();
    assert_eq!(turn.step_order(&order, 2, now).await.unwrap(), 2);
    turn.commit().await.unwrap();
    assert_eq!(authority.carry_on_orders(Duration::from_secs(3600)).await.unwrap(), 0, "fresh");
    assert_eq!(authority.carry_on_orders(Duration::ZERO).await.unwrap(), 1);
    let revoked = authority.core.store.revocations_since(0).await.unwrap();
    assert_eq!(revoked.len(), 3);
    assert!(
        revoked.windows(2).all(|two| two[0].seq < two[1].seq && two[0].serial != two[1].serial)
    );
    assert_eq!(authority.carry_on_orders(Duration::ZERO).await.unwrap(), 0, "once");
}

#[tokio::test]
async fn an_issuing_authority_goes_with_its_leaves_and_another_issues() {
    let folder = tempfile::tempdir().unwrap();
    let authority = ready(folder.path()).await;
    enrol_many(&authority, &folder.path().join("out"), 3).await;
    let target: Many = "issuer:ldevid-ca".parse().unwrap();
    let hit = authority.revoke_many(&target, Reason::CaCompromise, |_, _| {}).await.unwrap();
    assert_eq!(hit, Hit { subjects: 3, certificates: 3 });
    let authorities = authority.authorities().unwrap();
    assert_eq!(authorities.label(crate::IssuingCa::Operation), "ldevid-ca-2");
    assert_eq!(authorities.verifiers(crate::IssuingCa::Operation).len(), 1, "the old one is out");
    assert!(authority.core.keys.load("ldevid-ca").unwrap().is_none(), "its key is destroyed");
    // The subjects are not to blame: they come back with a new key.
    enrol(&authority, &folder.path().join("new"), false).await;
    let unknown = authority.count_many(&"issuer:nobody".parse().unwrap(), Reason::Superseded).await;
    assert!(matches!(unknown, Err(AuthorityError::Unknown(_))));
}

//= specs/house.md#house-revocation
//= type=test
//# An order to revoke that fails MUST NOT keep the authority from working, and MUST raise an alarm.
#[tokio::test]
async fn an_order_that_fails_keeps_neither_the_others_nor_who_opens() {
    use crate::rotation::PUBLICATION;
    let folder = tempfile::tempdir().unwrap();
    // A token has no key files that could be damaged.
    if config(folder.path()).token().is_some() {
        return;
    }
    let authority = ready(folder.path()).await;
    enrol_many(&authority, &folder.path().join("out"), 2).await;
    let (ca, go_on) = (crate::IssuingCa::Operation, |_| std::ops::ControlFlow::Continue(()));
    authority.prepare_ca(ca, None, go_on).await.unwrap();
    tokio::time::sleep(PUBLICATION).await;
    authority.activate_ca(ca, go_on).await.unwrap();
    // Two orders that were left long ago. A CA's last list needs its key, which does not open.
    let then = Timestamp(authority.core.now().0 - 60_000);
    let mut turn = authority.core.store.exclusive().await.unwrap();
    let issuer: Many = "issuer:ldevid-ca".parse().unwrap();
    turn.give_order(then, &issuer, Reason::CaCompromise, 2).await.unwrap();
    let batch: Many = "batch:2026-11-A".parse().unwrap();
    let after = turn.give_order(then, &batch, Reason::Superseded, 0).await.unwrap();
    turn.commit().await.unwrap();
    let key = folder.path().join("authority/keys/ldevid-ca.key");
    let whole = std::fs::read(&key).unwrap();
    std::fs::write(&key, "#").unwrap();
    drop(authority);

    let authority = open(folder.path()).await;
    let left = authority.core.store.left_orders(authority.core.now()).await.unwrap();
    assert_eq!(left.iter().map(|one| &one.target).collect::<Vec<_>>(), [&issuer], "{after:?}");
    for _ in 0..2 {
        assert_eq!(authority.carry_on_orders(Duration::ZERO).await.unwrap(), 0);
    }
    let alarms = authority.alarms().await.unwrap();
    let told: Vec<_> = alarms.iter().map(|one| (&*one.kind, &*one.subject, one.count)).collect();
    assert_eq!(told, [("stuck-order", "issuer:ldevid-ca", 1)]);
    // The command about it tells the cause.
    let refused = authority.revoke_many(&issuer, Reason::CaCompromise, |_, _| {}).await;
    assert!(refused.unwrap_err().to_string().contains("ldevid-ca.key"));
    std::fs::write(&key, whole).unwrap();
    assert_eq!(authority.carry_on_orders(Duration::ZERO).await.unwrap(), 1);
    assert_eq!(authority.carry_on_orders(Duration::ZERO).await.unwrap(), 0, "carried out");
}

/// Killed between the last certificate and the CA itself.
//= specs/house.md#house-revocation
//= type=test
//# An order to revoke many certificates MUST be carried to its end, whoever is killed.
#[tokio::test]
async fn an_order_about_an_issuing_authority_ends_with_that_authority() {
    use crate::rotation::{KeyState, PUBLICATION};
    let folder = tempfile::tempdir().unwrap();
    let authority = ready(folder.path()).await;
    enrol_many(&authority, &folder.path().join("out"), 2).await;
    let (ca, go_on) = (crate::IssuingCa::Operation, |_| std::ops::ControlFlow::Continue(()));
    authority.prepare_ca(ca, None, go_on).await.unwrap();
    tokio::time::sleep(PUBLICATION).await;
    authority.activate_ca(ca, go_on).await.unwrap();
    let target: Many = "issuer:ldevid-ca".parse().unwrap();
    let mut turn = authority.core.store.exclusive().await.unwrap();
    let now = authority.core.now();
    let order = turn.give_order(now, &target, Reason::CaCompromise, 2).await.unwrap();
    assert_eq!(turn.step_order(&order, 5_000, now).await.unwrap(), 2);
    turn.commit().await.unwrap();
    assert_eq!(authority.carry_on_orders(Duration::ZERO).await.unwrap(), 1);
    assert!(authority.core.keys.load("ldevid-ca").unwrap().is_none(), "its key is destroyed");
    assert_eq!(authority.authorities().unwrap().verifiers(ca).len(), 1);
    assert_eq!(authority.carry_on_orders(Duration::ZERO).await.unwrap(), 0, "once");
    // One that was to issue goes too, and will not.
    authority.prepare_ca(ca, None, go_on).await.unwrap();
    let target: Many = "issuer:ldevid-ca-3".parse().unwrap();
    authority.revoke_many(&target, Reason::CaCompromise, |_, _| {}).await.unwrap();
    assert_eq!(authority.carry_on_orders(Duration::ZERO).await.unwrap(), 0, "carried out");
    let all = authority.rotation_status().await.unwrap();
    let state = all.iter().find(|one| one.label == "ldevid-ca-3").unwrap().state;
    assert_eq!(state, KeyState::Destroyed);
}

#[tokio::test]
async fn a_key_goes_wherever_it_is_certified_and_never_comes_back() {
    let folder = tempfile::tempdir().unwrap();
    let authority = ready(folder.path()).await;
    let out = folder.path().join("out");
    let serial = enrol(&authority, &out, false).await;
    let certificate = authority.certificate(&serial).await.unwrap().unwrap();
    let target: Many = format!("key:{}", certificate.spki_sha256()).parse().unwrap();
    let hit = authority.revoke_many(&target, Reason::KeyCompromise, |_, _| {}).await.unwrap();
    assert_eq!(hit, Hit { subjects: 1, certificates: 1 });
    let mut turn = authority.core.store.exclusive().await.unwrap();
    assert!(turn.is_barred(&certificate.spki_sha256()).await.unwrap());
    let subject = "plug-1".parse().unwrap();
    assert_eq!(turn.subject(&subject).await.unwrap().unwrap().state, State::Suspended);
}

#[test]
fn many_are_read() {
    assert_eq!("batch:A".parse(), Ok(Many::Batch("A".to_owned())));
    assert!(format!("key:{}", "AB".repeat(32)).parse::<Many>().is_ok());
    for wrong in ["", "batch:", "key:ab", "thing:plug-1", "batch:a\nb", "plug-1"] {
        assert!(wrong.parse::<Many>().is_err(), "{wrong:?}");
    }
}
