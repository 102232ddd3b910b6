//! Rolls of the root, killed before every step; who trusts which root can verify a server all the time.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;

use countersign_crypto::csr;
use countersign_crypto::signature::KeyHandle;
use countersign_model::id::ServiceName;

use super::*;
use crate::profile::ServerNames;
use crate::rotation::{Retirement, RollStep};
use crate::testing::{open, openssl, ready};
use crate::{CeremonyPlan, IssuingCa};

const P256: SignatureAlgorithm = SignatureAlgorithm::EcdsaP256Sha256;

fn go_on(_: RootStep) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

async fn rolled(authority: &Authority) {
    let access = RootAccess::default();
    assert!(matches!(
        authority.prepare_root(None, &access, go_on).await.unwrap(),
        RootRolled::Done(Some(_))
    ));
    tokio::time::sleep(PUBLICATION).await;
    assert!(matches!(
        authority.activate_root(&Reached::nobody_to_reach(), go_on).await.unwrap(),
        RootRolled::Done(Some(_))
    ));
    for ca in IssuingCa::ALL {
        let go_on = |_: RollStep| ControlFlow::Continue(());
        authority.prepare_ca(ca, None, go_on).await.unwrap();
        tokio::time::sleep(PUBLICATION).await;
        authority.activate_ca(ca, go_on).await.unwrap();
    }
}

/// What a server shows now is verified by OpenSSL for whoever trusts that one root and nothing else.
async fn server_is_believed(authority: &Authority, folder: &Path, root: &Certificate) {
    let names = ServerNames { dns: vec!["localhost".to_owned()], ips: Vec::new() };
    let name: ServiceName = "platform".parse().unwrap();
    let identity = authority.server_identity(&name, &names).await.unwrap();
    let (chain, anchor) = (folder.join("shown.pem"), folder.join("anchor.pem"));
    std::fs::write(&chain, identity.chain().to_pem()).unwrap();
    std::fs::write(&anchor, root.to_pem()).unwrap();
    let (chain, anchor) = (chain.to_str().unwrap(), anchor.to_str().unwrap());
    let said = openssl(&[
        "verify",
        "-x509_strict",
        "-purpose",
        "sslserver",
        "-CAfile",
        anchor,
        "-untrusted",
        chain,
        chain,
    ]);
    assert!(said.contains(": OK"), "{said}");
}

//= specs/house.md#house-anchors
//= type=test
//# A server MUST show a chain that leads to every root of its maker which clients may hold.
//= specs/house.md#house-anchors
//= type=test
//# A root's certificate MUST stay an anchor when its key is destroyed, unless it was withdrawn or compromised.
#[tokio::test]
async fn whoever_holds_any_root_believes_the_server_through_two_rolls() {
    let folder = tempfile::tempdir().unwrap();
    let room = tempfile::tempdir().unwrap();
    let authority = ready(folder.path()).await;
    let first = authority.authorities().unwrap().root().clone();
    let key = KeyHandle::ephemeral(P256).unwrap();
    let made = authority.manufacture(&csr::request(&key, "plug-000001").unwrap()).await.unwrap();
    rolled(&authority).await;
    let second = authority.authorities().unwrap().root().clone();
    rolled(&authority).await;
    let third = authority.authorities().unwrap().root().clone();
    assert_eq!(third.subject_cn().as_deref(), Some("Example Manufacturer Root G3"));
    for root in [&first, &second, &third] {
        server_is_believed(&authority, room.path(), root).await;
    }
    // The statements lead whoever slept from the first to the third.
    let held = Anchor { position: 0, root: first.clone() };
    let way = anchors::follow(&held, &authority.statements().unwrap()).unwrap();
    let way: Vec<_> = way.into_iter().map(|anchor| anchor.root).collect();
    assert_eq!(way, [second.clone(), third.clone()]);
    // A device of the first root: its identity is below what its label names, and may be issued again.
    assert!(made.label.root().matches_sha256(&first.fingerprint()));
    assert_eq!(made.roots[0], first);
    let idevid = made.chain.certificates().last().unwrap();
    assert_eq!(authority.authorities().unwrap().root_of(idevid), Some(&first));
    // A new one carries all of them, and its label the one that its identity is below.
    let key = KeyHandle::ephemeral(P256).unwrap();
    let made = authority.manufacture(&csr::request(&key, "plug-000002").unwrap()).await.unwrap();
    assert!(made.label.root().matches_sha256(&third.fingerprint()));
    assert_eq!(made.roots.len(), 3);
    // People are given all, the one that signs first.
    let pem = std::fs::read(folder.path().join("roots.pem")).unwrap();
    let given = countersign_crypto::certificate::certificates_from_pem(&pem).unwrap();
    assert_eq!(given, [third, second, first]);
}

#[tokio::test]
async fn a_root_is_retired_when_nothing_issues_below_it_and_stays_an_anchor() {
    let folder = tempfile::tempdir().unwrap();
    let room = tempfile::tempdir().unwrap();
    let authority = ready(folder.path()).await;
    let first = authority.authorities().unwrap().root().clone();
    let access = RootAccess::default();
    authority.prepare_root(Some(P256), &access, go_on).await.unwrap();
    assert!(matches!(
        authority.activate_root(&Reached::nobody_to_reach(), go_on).await.unwrap(),
        RootRolled::NotBefore(_) | RootRolled::Done(_)
    ));
    tokio::time::sleep(PUBLICATION).await;
    authority.activate_root(&Reached::nobody_to_reach(), go_on).await.unwrap();
    let needed = authority.retire_root(go_on).await.unwrap();
    let all = ["idevid-ca", "ldevid-ca", "service-ca"].map(str::to_owned);
    assert_eq!(needed, RootRolled::Needed(all.into()));
    for ca in IssuingCa::ALL {
        let go_on = |_: RollStep| ControlFlow::Continue(());
        authority.prepare_ca(ca, None, go_on).await.unwrap();
        tokio::time::sleep(PUBLICATION).await;
        authority.activate_ca(ca, go_on).await.unwrap();
    }
    let retired = authority.retire_root(go_on).await.unwrap();
    assert_eq!(retired, RootRolled::Done(Some(ROOT.to_owned())));
    assert!(authority.core.keys.load(ROOT).unwrap().is_none(), "the key is gone");
    let states: Vec<_> =
        authority.root_status().await.unwrap().iter().map(|one| one.state).collect();
    assert_eq!(states, [KeyState::Destroyed, KeyState::Active]);
    // After a restart too.
    drop(authority);
    let authority = open(folder.path()).await;
    server_is_believed(&authority, room.path(), &first).await;
    let go_on = |_: RollStep| ControlFlow::Continue(());
    authority.retire_ca(IssuingCa::Operation, Retirement::AtOnce, go_on).await.unwrap();
    authority.verify_ledger().await.unwrap();
}

//= specs/house.md#house-anchors
//= type=test
//# A crash at any point of a root's roll MUST leave every device and every client able to connect.
#[tokio::test]
async fn a_roll_killed_before_every_step_is_carried_on() {
    let folder = tempfile::tempdir().unwrap();
    let room = tempfile::tempdir().unwrap();
    let first = ready(folder.path()).await.authorities().unwrap().root().clone();
    let access = RootAccess::default();
    for stop in RootStep::ALL.into_iter().filter(|step| *step <= RootStep::Retire) {
        let authority = open(folder.path()).await;
        let stopping = |step: RootStep| {
            if step == stop { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        let ended = authority.prepare_root(None, &access, stopping).await.unwrap();
        if ended == RootRolled::Stopped(stop) {
            server_is_believed(&authority, room.path(), &first).await;
            continue;
        }
        tokio::time::sleep(PUBLICATION).await;
        let ended = authority.activate_root(&Reached::nobody_to_reach(), stopping).await.unwrap();
        if ended == RootRolled::Stopped(stop) {
            server_is_believed(&authority, room.path(), &first).await;
            continue;
        }
        assert_eq!(stop, RootStep::Retire);
        let ended = authority.retire_root(stopping).await.unwrap();
        assert!(matches!(ended, RootRolled::Needed(_)), "{ended:?}");
        server_is_believed(&authority, room.path(), &first).await;
    }
    let authority = open(folder.path()).await;
    assert_eq!(authority.root_status().await.unwrap().len(), 2, "one roll, however often");
    assert_eq!(authority.statements().unwrap().len(), 1);
    let plan = CeremonyPlan::example();
    assert_eq!(
        authority.authorities().unwrap().root().key_algorithm(),
        Some(plan.root_algorithm())
    );
}

/// Of two old roots the younger one is still needed: the other is gone by its key and by the record.
#[tokio::test]
async fn a_root_that_is_still_needed_keeps_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let authority = ready(folder.path()).await;
    rolled(&authority).await;
    authority.prepare_root(None, &RootAccess::default(), go_on).await.unwrap();
    tokio::time::sleep(PUBLICATION).await;
    authority.activate_root(&Reached::nobody_to_reach(), go_on).await.unwrap();
    let needed = authority.retire_root(go_on).await.unwrap();
    assert!(matches!(&needed, RootRolled::Needed(by) if by.len() == 3), "{needed:?}");
    assert!(authority.core.keys.load(ROOT).unwrap().is_none(), "the key is gone");
    let states: Vec<_> =
        authority.root_status().await.unwrap().iter().map(|one| one.state).collect();
    assert_eq!(states, [KeyState::Destroyed, KeyState::Deactivated, KeyState::Active]);
    let told = authority.ledger_entries().await.unwrap();
    let told = told.iter().filter(|entry| entry.body["step"] == "retired").count();
    authority.retire_root(go_on).await.unwrap();
    let again = authority.ledger_entries().await.unwrap();
    let again = again.iter().filter(|entry| entry.body["step"] == "retired").count();
    assert_eq!(again, told, "retired once");
}

/// Killed between a step's commit and the file that people are given.
#[tokio::test]
async fn a_step_that_was_done_publishes_the_roots() {
    let folder = tempfile::tempdir().unwrap();
    let authority = ready(folder.path()).await;
    let path = authority.layout().roots();
    let before = std::fs::read(&path).unwrap();
    let access = RootAccess::default();
    authority.prepare_root(None, &access, go_on).await.unwrap();
    let prepared = std::fs::read(&path).unwrap();
    std::fs::write(&path, &before).unwrap();
    let again = authority.prepare_root(None, &access, go_on).await.unwrap();
    assert_eq!(again, RootRolled::Done(Some("root-2".to_owned())));
    assert_eq!(std::fs::read(&path).unwrap(), prepared);
    tokio::time::sleep(PUBLICATION).await;
    authority.activate_root(&Reached::nobody_to_reach(), go_on).await.unwrap();
    let activated = std::fs::read(&path).unwrap();
    std::fs::write(&path, &prepared).unwrap();
    assert_eq!(
        authority.activate_root(&Reached::nobody_to_reach(), go_on).await.unwrap(),
        RootRolled::Done(None)
    );
    assert_eq!(std::fs::read(&path).unwrap(), activated);
}

/// NIST SP 800-57 states, every transition, and what of a root stays where its key does not.
#[test]
fn every_state_of_a_root_is_as_reviewed() {
    let mut table = String::new();
    for state in KeyState::ALL {
        table.push_str(&format!("{state}: an anchor {}\n", is_anchor(state)));
        for event in KeyEvent::ALL {
            let next = after_root(state, event).map_or("-", KeyState::as_str);
            table.push_str(&format!("    {:12} {next}\n", format!("{event:?}")));
        }
    }
    insta::assert_snapshot!(table);
}

//= specs/house.md#house-anchors
//= type=test
//# A root MUST NOT be activated while more devices that were seen lately have not acknowledged it than somebody allowed.
#[tokio::test]
async fn a_root_waits_for_whoever_is_awake_and_for_nobody_who_sleeps() {
    let folder = tempfile::tempdir().unwrap();
    let authority = ready(folder.path()).await;
    let stated = authority.stated_roots().await.unwrap();
    let (first, none) = (stated.first, stated.statements.len());
    assert_eq!((&first, none), (authority.authorities().unwrap().root(), 0));
    // What a killed run stated is told when it is carried on.
    let access = RootAccess::default();
    let stopping = |step: RootStep| match step {
        RootStep::Publish => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    };
    authority.prepare_root(None, &access, stopping).await.unwrap();
    assert_eq!(authority.statements().unwrap().len(), 1);
    assert_eq!(authority.stated_roots().await.unwrap().statements.len(), 0);
    authority.prepare_root(None, &access, go_on).await.unwrap();
    let told = authority.stated_roots().await.unwrap();
    assert_eq!((told.statements, told.withdrawal), (authority.statements().unwrap(), None));
    let prepared = authority.prepared_root().await.unwrap().unwrap();
    assert_eq!(prepared.label, "root-2");

    tokio::time::sleep(PUBLICATION).await;
    let missing = vec!["plug-1".to_owned(), "plug-2".to_owned()];
    let mut reached = Reached { acknowledged: 3, missing, asleep: 7, without: 1 };
    let waits = authority.activate_root(&reached, go_on).await.unwrap();
    assert_eq!(waits, RootRolled::Unacknowledged(reached.missing.clone()));
    assert_eq!(authority.authorities().unwrap().root(), &first);
    reached.without = 2;
    let done = authority.activate_root(&reached, go_on).await.unwrap();
    assert_eq!(done, RootRolled::Done(Some("root-2".to_owned())));
    assert_eq!(authority.prepared_root().await.unwrap(), None);
    let told = authority.ledger_entries().await.unwrap();
    let told = told.iter().rfind(|entry| entry.body["step"] == "activated").unwrap();
    assert_eq!(told.body["what"]["missing"], 2);
    assert_eq!(told.body["what"]["allowed_missing"], 2);
}

mod withdrawals;
