//! An entry is evidence of what it says, for whom it says it.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use countersign_model::ixit::LifePhase;
use countersign_model::time::Timestamp;
use serde_json::json;

use super::*;
use crate::ledger::checkpoint::SignedCheckpoint;
use crate::testing::ready;

fn ledger(entries: &[(Kind, Value)]) -> Vec<Entry> {
    let numbered = (0..).zip(entries);
    numbered
        .map(|(index, (kind, body))| {
            Entry::following(&[0; 32], index, Timestamp(index), *kind, body.clone())
        })
        .collect()
}

fn intent(serial: &str, name: &str) -> (Kind, Value) {
    let subject = format!("thing:{name}");
    let body = json!({"serial": serial, "subject": subject, "purpose": "ldevid"});
    (Kind::IssuanceIntent, body)
}

fn issued(serial: &str) -> (Kind, Value) {
    (Kind::Issued, json!({ "serial": serial }))
}

/// The indices of the entries that count for a phase of the operational key.
fn found(entries: &[Entry], phase: LifePhase, thing: &str) -> Vec<u64> {
    let thing = thing.parse().unwrap();
    let all = gather(built_in(), entries, Some(&thing));
    let of = all.iter().find(|one| one.parameter.as_str() == "SecParam-LDevIDKey").unwrap();
    let records = of.records.iter().filter(|record| record.phase == phase);
    records.map(|record| record.at.0).collect()
}

//= specs/en-303-645.md#5.5-8
//= type=test
//# The manufacturer MUST manage critical security parameters by secure processes over their entire life cycle.
#[test]
fn the_first_certificate_is_no_renewal_and_another_s_is_none_at_all() {
    let entries = ledger(&[
        intent("aa", "plug-1"),
        issued("aa"),
        intent("bb", "plug-2"),
        issued("bb"),
        intent("cc", "plug-2"),
        issued("cc"),
    ]);
    assert_eq!(found(&entries, LifePhase::Provisioning, "plug-1"), [1]);
    assert_eq!(found(&entries, LifePhase::Updates, "plug-1"), [] as [u64; 0]);
    assert_eq!(found(&entries, LifePhase::Updates, "plug-2"), [5]);
}

#[test]
fn an_intent_is_no_issuance() {
    let entries = ledger(&[intent("aa", "plug-1")]);
    assert_eq!(found(&entries, LifePhase::Generation, "plug-1"), [0]);
    assert_eq!(found(&entries, LifePhase::Provisioning, "plug-1"), [] as [u64; 0]);
    // Nor is an issuance that no intent announced anybody's.
    let entries = ledger(&[issued("aa")]);
    assert_eq!(found(&entries, LifePhase::Provisioning, "plug-1"), [] as [u64; 0]);
}

#[test]
fn a_process_that_is_one_for_all_is_shown_by_any_device() {
    let revoked = json!({"subject": "thing:plug-2", "state": "suspended", "serials": []});
    let entries = ledger(&[(Kind::Revoked, revoked)]);
    assert_eq!(found(&entries, LifePhase::ExpirationAndCompromise, "plug-1"), [0]);
}

#[test]
fn the_processes_ask_for_kinds_and_purposes_that_there_are() {
    use crate::subject::Purpose;
    let rules = built_in().iter().flat_map(|process| process.phase.values());
    for rule in rules.flat_map(|phase| &phase.record) {
        if let Rule::Ledger { kind, purpose, .. } = rule {
            let known = serde_json::from_value::<Kind>(json!(kind));
            assert!(known.is_ok(), "{kind}: the ledger has no such kind");
            let named = |purpose: &String| Purpose::ALL.iter().any(|one| one.as_str() == purpose);
            assert!(purpose.as_ref().is_none_or(named), "{purpose:?}: there is no such purpose");
        }
    }
}

#[tokio::test]
async fn a_report_stands_under_a_signed_checkpoint_that_covers_it() {
    let folder = tempfile::tempdir().unwrap();
    let authority = ready(folder.path()).await;
    let unknown = authority.evidence(Some("plug-9".parse().unwrap())).await.unwrap_err();
    assert!(unknown.to_string().contains("plug-9"), "{unknown}");
    let report = authority.evidence(None).await.unwrap();
    let signed =
        SignedCheckpoint::verify(report.checkpoint.as_bytes(), &authority.ledger_key()).unwrap();
    let entries = authority.ledger_entries().await.unwrap();
    assert_eq!(signed.checkpoint().size, entries.len() as u64);
    assert_eq!(report.evidence.len(), built_in().len());
}
