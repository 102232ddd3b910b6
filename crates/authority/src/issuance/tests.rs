//! Order, retries, duplicates, two at once.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;
use std::time::Duration;

use countersign_crypto::signature::SignatureAlgorithm;

use super::*;
use crate::registration::Refusal;
use crate::testing::{TestClock, open_at, ready};

fn key() -> KeyHandle {
    KeyHandle::ephemeral(SignatureAlgorithm::EcdsaP256Sha256).unwrap()
}

fn ask(name: &str, key: &KeyHandle) -> Ask {
    Ask {
        subject: Subject::Thing(name.parse().unwrap()),
        purpose: Purpose::Operation,
        claim: Claim::Local,
        spki_der: key.spki_der().to_vec(),
        request_sha256: String::new(),
        grants: None,
        server: ServerNames::default(),
        key_label: String::new(),
    }
}

#[tokio::test]
async fn the_intent_is_in_the_ledger_before_what_was_issued() {
    let folder = tempfile::tempdir().unwrap();
    let authority = ready(folder.path()).await;
    let issued = issue(&authority.core, ask("plug-1", &key())).await.unwrap();
    let leaf = issued.chain.leaf();
    let entries = authority.ledger_entries().await.unwrap();
    let [.., intent, done] = &entries[..] else { panic!("two entries") };
    assert_eq!((intent.kind, done.kind), (Kind::IssuanceIntent, Kind::Issued));
    for entry in [intent, done] {
        assert_eq!(entry.body["serial"], leaf.serial_hex());
    }
    let tbs = sha256(issue::tbs(leaf.der()).unwrap());
    assert_eq!(intent.body["tbs_sha256"], hex::encode(tbs));
    assert_eq!(done.body["certificate_sha256"], hex::encode(leaf.fingerprint()));
}

//= specs/house.md#house-issuance
//= type=test
//# A public key that is known under another name MUST be refused.
#[tokio::test]
async fn one_key_is_one_subjects_and_one_purposes() {
    let folder = tempfile::tempdir().unwrap();
    let authority = ready(folder.path()).await;
    let shared = key();
    issue(&authority.core, ask("plug-1", &shared)).await.unwrap();
    let refused = issue(&authority.core, ask("plug-2", &shared)).await.unwrap_err();
    assert!(matches!(refused, AuthorityError::Refused(Refusal::DuplicateKey)), "{refused}");
    let service = Subject::Service("plug-1".parse().unwrap());
    let other = Ask { subject: service, purpose: Purpose::Service, ..ask("plug-1", &shared) };
    let refused = issue(&authority.core, other).await.unwrap_err();
    assert!(matches!(refused, AuthorityError::Refused(Refusal::DuplicateKey)), "{refused}");
    // The subject that was refused is not known for it.
    let subjects = authority.subjects().await.unwrap();
    assert!(!subjects.iter().any(|one| one.subject.name() == "plug-2"));
}

#[tokio::test]
async fn a_purpose_is_for_its_own_kind_of_subject() {
    let folder = tempfile::tempdir().unwrap();
    let authority = ready(folder.path()).await;
    for (purpose, claim) in [
        (Purpose::Service, Claim::Local),
        (Purpose::Operator, Claim::Local),
        (Purpose::Server, Claim::Local),
        (Purpose::FactoryIdentity, Claim::Local),
        (Purpose::Operation, Claim::Factory),
    ] {
        let wrong = Ask { purpose, claim, ..ask("plug-1", &key()) };
        let refused = issue(&authority.core, wrong).await.unwrap_err();
        assert!(
            matches!(refused, AuthorityError::Refused(Refusal::Purpose)),
            "{purpose} {refused}"
        );
    }
}

/// The same key gets the same certificate until a third of its life is left, then a new one.
#[tokio::test]
async fn a_key_is_certified_anew_only_when_it_is_time() {
    let folder = tempfile::tempdir().unwrap();
    ready(folder.path()).await;
    let clock = Arc::new(TestClock::default());
    let authority = open_at(folder.path(), clock.clone()).await;
    let key = key();
    let first = issue(&authority.core, ask("plug-1", &key)).await.unwrap();
    clock.forward(Duration::from_secs(19 * 86_400));
    let second = issue(&authority.core, ask("plug-1", &key)).await.unwrap();
    assert_eq!((first.fresh, second.fresh, &first.chain), (true, false, &second.chain));
    clock.forward(Duration::from_secs(2 * 86_400));
    let third = issue(&authority.core, ask("plug-1", &key)).await.unwrap();
    assert!(third.fresh && third.chain != first.chain);
}

/// Two handles on one folder, as two processes have: every certificate once, no serial twice, one whole ledger.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_handles_issue_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let one = ready(folder.path()).await;
    let two = open_at(folder.path(), Arc::new(TestClock::default())).await;
    let contested = key();
    let mut running = tokio::task::JoinSet::new();
    for number in 0..12 {
        for authority in [one.clone(), two.clone()] {
            let key = if number == 0 { contested.clone() } else { key() };
            running.spawn(async move {
                issue(&authority.core, ask(&format!("plug-{number}"), &key)).await.unwrap()
            });
        }
    }
    let issued = running.join_all().await;
    let fresh: Vec<_> = issued.iter().filter(|one| one.fresh).collect();
    assert_eq!((issued.len(), fresh.len()), (24, 23), "the contested key is certified once");
    let serials: std::collections::HashSet<_> =
        fresh.iter().map(|one| one.chain.leaf().serial_hex()).collect();
    assert_eq!(serials.len(), 23);
    let entries = one.ledger_entries().await.unwrap();
    let recorded = entries.iter().filter(|entry| entry.kind == Kind::Issued).count();
    assert_eq!(recorded, 23 + 1, "and the operator of the ceremony");
}

/// The ledger cannot be written: nothing is signed, nothing is stored.
//= specs/house.md#house-issuance
//= type=test
//# The intent to issue MUST be on disk before the certificate is signed.
#[tokio::test]
async fn without_a_ledger_nothing_is_issued() {
    let folder = tempfile::tempdir().unwrap();
    let authority = ready(folder.path()).await;
    let before = authority.core.store.count_good(authority.core.now()).await.unwrap();
    let ledger = authority.layout().ledger();
    let text = std::fs::read_to_string(&ledger).unwrap();
    std::fs::write(&ledger, format!("{text}not an entry\n")).unwrap();
    let refused = issue(&authority.core, ask("plug-1", &key())).await.unwrap_err();
    assert!(matches!(refused, AuthorityError::Ledger(_)), "{refused}");
    assert_eq!(authority.core.store.count_good(authority.core.now()).await.unwrap(), before);
    std::fs::write(&ledger, text).unwrap();
    issue(&authority.core, ask("plug-1", &key())).await.unwrap();
}

/// Callers at the same time share the waits for the disk; what one is refused for is nobody else's answer.
#[tokio::test]
async fn who_asks_at_the_same_time_shares_a_turn() {
    let folder = tempfile::tempdir().unwrap();
    let authority = ready(folder.path()).await;
    let (shared, again) = (key(), key());
    let mut asks: Vec<_> = (0..20).map(|number| ask(&format!("plug-{number}"), &key())).collect();
    asks.extend([ask("plug-a", &shared), ask("plug-b", &shared)]);
    asks.extend([ask("plug-c", &again), ask("plug-c", &again), ask("Plug-c", &key())]);
    let before = authority.core.store.generation().await.unwrap();
    let mut running = tokio::task::JoinSet::new();
    for (number, ask) in asks.into_iter().enumerate() {
        let authority = authority.clone();
        running.spawn(async move { (number, issue(&authority.core, ask).await) });
    }
    let mut answers = running.join_all().await;
    answers.sort_by_key(|(number, _)| *number);
    let mut answers: Vec<_> = answers.into_iter().map(|(_, answer)| answer).collect();
    let lookalike = answers.pop().unwrap().unwrap_err();
    assert!(matches!(lookalike, AuthorityError::Refused(Refusal::Lookalike { .. })), "{lookalike}");
    let both: Vec<_> = answers.drain(22..).map(Result::unwrap).collect();
    assert_eq!(both[0].chain, both[1].chain);
    assert_eq!(both.iter().filter(|one| one.fresh).count(), 1);
    let duplicate = answers.pop().unwrap().unwrap_err();
    assert!(matches!(duplicate, AuthorityError::Refused(Refusal::DuplicateKey)), "{duplicate}");
    assert!(answers.into_iter().all(|answer| answer.unwrap().fresh));
    // A key, a subject and a certificate each, and one number for each of them.
    assert_eq!(authority.core.store.generation().await.unwrap() - before, 22 * 3);
    // The first came alone, then all those that could together: their intents stand in a row.
    let entries = authority.ledger_entries().await.unwrap();
    let kinds: Vec<_> = entries.iter().map(|entry| entry.kind).collect();
    let in_a_row = kinds.split(|kind| *kind != Kind::IssuanceIntent).map(<[_]>::len).max();
    assert_eq!(in_a_row, Some(21), "{kinds:?}");
}
