//! Old roots withdrawn, killed before every step; who may be lost by it, and what everybody is given afterwards.

use std::ops::ControlFlow;

use countersign_crypto::anchors::Withdrawal;
use countersign_crypto::certificate::certificates_from_pem;

use super::*;

async fn withdraw(authority: &Authority) -> RootRolled {
    let reached = Reached::nobody_to_reach();
    authority.withdraw_roots(&reached, &RootAccess::default(), go_on).await.unwrap()
}

async fn server(authority: &Authority) {
    let names = ServerNames { dns: vec!["localhost".to_owned()], ips: Vec::new() };
    authority.server_identity(&"platform".parse().unwrap(), &names).await.unwrap();
}

fn roots_in(path: &Path) -> Vec<Certificate> {
    certificates_from_pem(&std::fs::read(path).unwrap()).unwrap()
}

//= specs/house.md#house-anchors
//= type=test
//# Roots MUST NOT be withdrawn while an issuing CA or a server in use can be verified by them alone.
//= specs/house.md#house-anchors
//= type=test
//# Roots MUST NOT be withdrawn while more devices that were seen lately have not acknowledged a later one than somebody allowed.
#[tokio::test]
async fn roots_are_withdrawn_when_nobody_is_lost_by_it() {
    let folder = tempfile::tempdir().unwrap();
    let authority = ready(folder.path()).await;
    server(&authority).await;
    assert_eq!(withdraw(&authority).await, RootRolled::Done(None), "there is one");
    let access = RootAccess::default();
    authority.prepare_root(Some(P256), &access, go_on).await.unwrap();
    assert_eq!(withdraw(&authority).await, RootRolled::Done(None), "it signs nothing yet");
    tokio::time::sleep(PUBLICATION).await;
    authority.activate_root(&Reached::nobody_to_reach(), go_on).await.unwrap();
    // 1. Issuing CAs in use.
    let all = ["idevid-ca", "ldevid-ca", "service-ca"].map(str::to_owned);
    assert_eq!(withdraw(&authority).await, RootRolled::Needed(all.into()));
    for ca in IssuingCa::ALL {
        let go_on = |_: RollStep| ControlFlow::Continue(());
        authority.prepare_ca(ca, None, go_on).await.unwrap();
        tokio::time::sleep(PUBLICATION).await;
        authority.activate_ca(ca, go_on).await.unwrap();
    }
    // 2. A server that shows what the old one issued.
    let serving = RootRolled::Serving(vec!["platform".to_owned()]);
    assert_eq!(withdraw(&authority).await, serving);
    server(&authority).await;
    // 3. Devices.
    let missing = vec!["plug-1".to_owned(), "plug-2".to_owned()];
    let mut reached = Reached { acknowledged: 3, missing, asleep: 7, without: 1 };
    let waits = authority.withdraw_roots(&reached, &access, go_on).await.unwrap();
    assert_eq!(waits, RootRolled::Unacknowledged(reached.missing.clone()));
    assert_eq!(authority.stated_roots().await.unwrap().withdrawal, None);
    assert!(authority.root_status().await.unwrap().iter().all(|one| one.withdrawn.is_none()));
    reached.without = 2;
    let done = authority.withdraw_roots(&reached, &access, go_on).await.unwrap();
    assert_eq!(done, RootRolled::Done(Some("root-2".to_owned())));
    let told = authority.ledger_entries().await.unwrap();
    let told = told.iter().rfind(|entry| entry.body["step"] == "withdrew").unwrap();
    assert_eq!(told.body["label"], "root-2");
    assert_eq!(told.body["what"]["roots"], json!(["root"]));
    assert_eq!(told.body["what"]["reached"]["allowed_missing"], 2);
    authority.verify_ledger().await.unwrap();
}

//= specs/house.md#house-anchors
//= type=test
//# A crash at any point of a withdrawal MUST leave every device able to connect.
//= specs/house.md#house-anchors
//= type=test
//# A new device MUST be given no withdrawn root but the one that its own identity hangs below.
//= specs/house.md#house-anchors
//= type=test
//# A root's certificate MUST stay an anchor when its key is destroyed, unless it was withdrawn or compromised.
#[tokio::test]
async fn a_withdrawal_killed_before_every_step_is_carried_on() {
    let folder = tempfile::tempdir().unwrap();
    let room = tempfile::tempdir().unwrap();
    let authority = ready(folder.path()).await;
    let key = KeyHandle::ephemeral(P256).unwrap();
    let old = authority.manufacture(&csr::request(&key, "plug-000001").unwrap()).await.unwrap();
    let first = old.roots[0].clone();
    drop(authority);
    let mut trusted = vec![first.clone()];
    // Twice: what the second root said stands until the third's word is recorded.
    for round in 2_u64..=3 {
        let authority = open(folder.path()).await;
        rolled(&authority).await;
        server(&authority).await;
        let newest = authority.authorities().unwrap().root().clone();
        trusted.push(newest.clone());
        let label = format!("root-{round}");
        let before = authority.stated_roots().await.unwrap();
        assert_eq!(before.withdrawal.is_some(), round == 3);
        let given = roots_in(&authority.layout().roots());
        drop(authority);
        for stop in [RootStep::Withdraw, RootStep::Forget] {
            let authority = open(folder.path()).await;
            let stopping = |step: RootStep| match step == stop {
                true => ControlFlow::Break(()),
                false => ControlFlow::Continue(()),
            };
            let (reached, access) = (Reached::nobody_to_reach(), RootAccess::default());
            let ended = authority.withdraw_roots(&reached, &access, stopping).await.unwrap();
            assert_eq!(ended, RootRolled::Stopped(stop));
            assert_eq!(authority.stated_roots().await.unwrap(), before, "nothing is told yet");
            assert_eq!(roots_in(&authority.layout().roots()), given);
            for root in &trusted {
                server_is_believed(&authority, room.path(), root).await;
            }
        }
        let authority = open(folder.path()).await;
        assert_eq!(withdraw(&authority).await, RootRolled::Done(Some(label)));
        let told = authority.stated_roots().await.unwrap();
        let word = Withdrawal::read(&told.withdrawal.unwrap()).unwrap();
        assert_eq!(word.by(&newest).unwrap().position, round - 1);
        // Killed between the commit and the files that people are given.
        std::fs::write(authority.layout().roots(), "").unwrap();
        assert_eq!(withdraw(&authority).await, RootRolled::Done(None));
        assert_eq!(roots_in(&authority.layout().roots()), std::slice::from_ref(&newest));
    }
    let authority = open(folder.path()).await;
    let authorities = authority.authorities().unwrap();
    let newest = authorities.root().clone();
    // Whoever slept through all of it still verifies a server, by the cross-certificates, and is told there.
    for root in &trusted {
        server_is_believed(&authority, room.path(), root).await;
    }
    // Nobody is handed an old root as an anchor any more; what hangs below one is still known.
    assert!(!authorities.all().contains(&first));
    let every: Vec<_> = trusted.iter().rev().cloned().collect();
    assert_eq!(roots_in(&authority.layout().device_roots()), every);
    assert_eq!(authorities.root_of(&old.chain.certificates()[1]), Some(&first));
    assert_eq!(authorities.roots_of(&old.chain), [first.clone(), newest.clone()]);
    let key = KeyHandle::ephemeral(P256).unwrap();
    let new = authority.manufacture(&csr::request(&key, "plug-000002").unwrap()).await.unwrap();
    assert_eq!(new.roots, std::slice::from_ref(&newest));
    assert!(new.label.root().matches_sha256(&newest.fingerprint()));
    let withdrawn: Vec<_> = authority.root_status().await.unwrap();
    let withdrawn: Vec<_> = withdrawn.iter().map(|one| one.withdrawn.is_some()).collect();
    assert_eq!(withdrawn, [true, true, false]);
    // Keys are destroyed as ever.
    let retired = authority.retire_root(go_on).await.unwrap();
    assert_eq!(retired, RootRolled::Done(Some("root-2".to_owned())));
    drop(authority);
    server_is_believed(&open(folder.path()).await, room.path(), &first).await;
}

#[tokio::test]
async fn a_withdrawal_that_was_changed_on_the_disk_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let authority = ready(folder.path()).await;
    rolled(&authority).await;
    withdraw(&authority).await;
    let path = folder.path().join("authority/ca/root-2.withdrawal.cose");
    let mut word = std::fs::read(&path).unwrap();
    let last = word.len() - 1;
    word[last] ^= 1;
    std::fs::write(&path, word).unwrap();
    let error = authority.stated_roots().await.unwrap_err().to_string();
    assert!(error.contains("root-2.withdrawal.cose"), "{error}");
}
