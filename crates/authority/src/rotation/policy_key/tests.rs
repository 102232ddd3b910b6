//! Rolls of the policy key, killed before every step; who holds which key can verify what is published all the time.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use countersign_crypto::cose::DocumentVerifier;
use countersign_crypto::policy::SignedPolicyError;
use countersign_crypto::policy::keys::KeyChangeError;

use super::*;
use crate::testing::{open, ready};

fn go_on(_: PolicyKeyStep) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

/// What `serve` does with what was published.
fn put_in_force(authority: &Authority) -> u64 {
    let path = authority.layout().policy_next();
    let document = std::fs::read(&path).unwrap();
    authority.show_policy(&document).unwrap();
    std::fs::remove_file(path).unwrap();
    let (verified, _) = authority.authorities().unwrap().verify_policy(&document).unwrap();
    verified.policy().version
}

async fn began(folder: &std::path::Path) -> Authority {
    let authority = ready(folder).await;
    let first = authority.first_policy().await.unwrap();
    authority.show_policy(&first.document).unwrap();
    authority
}

async fn rolled(authority: &Authority) -> u64 {
    authority.prepare_policy_key(None, false, go_on).await.unwrap();
    authority.activate_policy_key(go_on).await.unwrap();
    put_in_force(authority)
}

/// A roll of one key or both up to that step, and no further.
async fn killed_before(stop: PolicyKeyStep, authority: Authority, second: bool) {
    let until = |step| match step == stop {
        true => ControlFlow::Break(()),
        false => ControlFlow::Continue(()),
    };
    let stopped = |rolled| matches!(rolled, PolicyKeyRolled::Stopped(_));
    if stopped(authority.prepare_policy_key(None, second, until).await.unwrap())
        || stopped(authority.activate_policy_key(until).await.unwrap())
    {
        return;
    }
    put_in_force(&authority);
    assert!(stopped(authority.retire_policy_key(until).await.unwrap()), "{stop:?}");
}

/// The same commands again bring it to its end.
async fn carried_on(authority: &Authority, second: bool) {
    authority.prepare_policy_key(None, second, go_on).await.unwrap();
    authority.activate_policy_key(go_on).await.unwrap();
    if authority.layout().policy_next().exists() {
        put_in_force(authority);
    }
    authority.retire_policy_key(go_on).await.unwrap();
}

async fn states(authority: &Authority) -> Vec<(String, KeyState, bool)> {
    let status = authority.policy_key_status().await.unwrap();
    status.into_iter().map(|one| (one.label, one.state, one.in_force)).collect()
}

fn in_force(authority: &Authority) -> Vec<u8> {
    std::fs::read(authority.layout().policy()).unwrap()
}

//= specs/house.md#house-policy
//= type=test
//# A device that slept through changes of the policy key MUST be able to take the newest policy by the key that it holds.
#[tokio::test]
async fn whoever_holds_any_key_of_the_line_verifies_what_is_published_after_two_rolls() {
    let folder = tempfile::tempdir().unwrap();
    let authority = began(folder.path()).await;
    let first = authority.policy_verification_key().unwrap();
    let old = in_force(&authority);
    assert_eq!(rolled(&authority).await, 2);
    let second = authority.policy_verification_key().unwrap();
    assert_eq!(rolled(&authority).await, 3);
    let third = authority.policy_verification_key().unwrap();
    assert!(first != second && second != third && first != third);
    let document = in_force(&authority);
    for (held, steps) in [(&first, 2), (&second, 1), (&third, 0)] {
        let verified = VerifiedPolicy::verify(&document, held).unwrap();
        assert_eq!((verified.policy().version, verified.way().len()), (3, steps));
    }
    // The same content as before, but for the version.
    let mut before = VerifiedPolicy::verify(&old, &first).unwrap().into_policy();
    before.version = 3;
    let after = VerifiedPolicy::verify(&document, &third).unwrap().into_policy();
    assert_eq!(before, after);
    // What people are given is the key in force; the authority knows its own older policies.
    assert_eq!(std::fs::read(authority.layout().policy_key()).unwrap(), third);
    assert_eq!(authority.authorities().unwrap().verify_policy(&old).unwrap().1, first);
    assert_eq!(authority.authorities().unwrap().first_policy_key(), first);
    // Every later policy carries the statements as well.
    let mut policy = after;
    policy.version = 4;
    let fourth = authority.sign_policy(&policy).await.unwrap();
    assert_eq!(VerifiedPolicy::verify(&fourth.document, &first).unwrap().way().len(), 2);
    authority.publish_policy(&fourth.document).await.unwrap();
    // Keys go when a policy by their successor is in force, and nothing is missed.
    let retired = authority.retire_policy_key(go_on).await.unwrap();
    assert!(
        matches!(retired, PolicyKeyRolled::Done { label: Some(label), .. } if label == "policy-2")
    );
    for label in [POLICY, "policy-2"] {
        assert!(authority.core.keys.load(label).unwrap().is_none(), "{label}");
    }
    drop(authority);
    let again = open(folder.path()).await;
    use KeyState::{Active, Destroyed};
    let expected =
        [("policy", Destroyed, false), ("policy-2", Destroyed, false), ("policy-3", Active, true)];
    let expected = expected.map(|(label, state, in_force)| (label.to_owned(), state, in_force));
    assert_eq!(states(&again).await, expected);
    assert_eq!(put_in_force(&again), 4);
    again.policy_findings().unwrap();
    // A foreign file beside the keys is refused by its name.
    let file = policy_keys_file(&again.layout().authority());
    std::fs::write(&file, keys::to_bytes(&[])).unwrap();
    drop(again);
    let refused = open(folder.path()).await.authorities().unwrap_err().to_string();
    assert!(refused.contains("policy-keys.cose"), "{refused}");
}

//= specs/house.md#house-policy
//= type=test
//# A crash at any point of a change of the policy key MUST leave a key that can sign the next policy, and every device able to follow.
#[tokio::test]
async fn a_roll_that_is_killed_before_any_step_is_carried_on() {
    for stop in PolicyKeyStep::ALL {
        let folder = tempfile::tempdir().unwrap();
        let authority = began(folder.path()).await;
        let first = authority.policy_verification_key().unwrap();
        killed_before(stop, authority, false).await;

        // Whoever comes next can sign, and every device can follow.
        let authority = open(folder.path()).await;
        let (verified, _) =
            authority.authorities().unwrap().verify_policy(&in_force(&authority)).unwrap();
        let mut policy = verified.into_policy();
        policy.version = authority.highest_version().await.unwrap() + 1;
        let signed = authority.sign_policy(&policy).await.unwrap();
        assert!(VerifiedPolicy::verify(&signed.document, &first).is_ok(), "{stop:?}");
        carried_on(&authority, false).await;
        let document = in_force(&authority);
        assert!(VerifiedPolicy::verify(&document, &first).is_ok(), "{stop:?}");
        let newest = authority.policy_verification_key().unwrap();
        assert_eq!(VerifiedPolicy::verify(&document, &newest).unwrap().way(), []);
        let states = states(&authority).await;
        let (last, others) = states.split_last().unwrap();
        assert_eq!((last.1, last.2), (KeyState::Active, true), "{stop:?}");
        assert!(others.iter().all(|one| one.1 == KeyState::Destroyed), "{stop:?} {states:?}");
        authority.verify_ledger().await.unwrap();
    }
}

#[tokio::test]
async fn the_old_key_signs_nothing_after_and_stays_until_its_successor_is_in_force() {
    let folder = tempfile::tempdir().unwrap();
    let authority = began(folder.path()).await;
    let first = authority.policy_verification_key().unwrap();
    let (verified, _) =
        authority.authorities().unwrap().verify_policy(&in_force(&authority)).unwrap();
    let mut policy = verified.into_policy();
    policy.version = 2;
    let by_old = authority.sign_policy(&policy).await.unwrap().document;
    // A policy that waits is not overtaken.
    authority.publish_policy(&by_old).await.unwrap();
    authority.prepare_policy_key(None, false, go_on).await.unwrap();
    let error = authority.activate_policy_key(go_on).await.unwrap_err().to_string();
    assert!(error.contains("not in force yet"), "{error}");
    assert_eq!(put_in_force(&authority), 2);
    policy.version = 3;
    let by_old = authority.sign_policy(&policy).await.unwrap().document;
    authority.activate_policy_key(go_on).await.unwrap();
    // Signed before and not published: not any more.
    let refused = authority.publish_policy(&by_old).await.unwrap_err().to_string();
    assert!(refused.contains("policy key of now"), "{refused}");
    assert!(matches!(authority.retire_policy_key(go_on).await.unwrap(), PolicyKeyRolled::Awaited));
    assert!(authority.core.keys.load(POLICY).unwrap().is_some());
    assert_eq!(put_in_force(&authority), 4);
    authority.retire_policy_key(go_on).await.unwrap();
    assert!(authority.core.keys.load(POLICY).unwrap().is_none());
    // A public half is nobody else's key, before and after.
    for key in [first, authority.policy_verification_key().unwrap()] {
        let ours = authority.authorities().unwrap().policy_keys().contains(&key);
        assert!(ours);
    }
    let steps: Vec<_> = authority.ledger_entries().await.unwrap();
    let steps: Vec<_> = steps
        .iter()
        .filter(|entry| entry.kind == Kind::PolicyKeyRolled)
        .map(|entry| (entry.body["label"].as_str().unwrap(), entry.body["step"].as_str().unwrap()))
        .collect();
    assert_eq!(steps, [("policy-2", "prepared"), ("policy-2", "activated"), ("policy", "retired")]);
}

#[tokio::test]
async fn a_key_is_changed_only_so_often_and_by_an_algorithm_that_the_policy_allows() {
    let folder = tempfile::tempdir().unwrap();
    let authority = began(folder.path()).await;
    let first = authority.policy_verification_key().unwrap();
    let other = SignatureAlgorithm::EcdsaP384Sha384;
    let prepared = authority.prepare_policy_key(Some(other), false, go_on).await;
    match Signatures::of_documents(&authority.core.policy_in_force().unwrap()).lasts(other) {
        Lasts::Ended => assert!(prepared.unwrap_err().to_string().contains("document-signing")),
        _ => {
            prepared.unwrap();
            let wrong = SignatureAlgorithm::EcdsaP256Sha256;
            let refused =
                authority.prepare_policy_key(Some(wrong), false, go_on).await.unwrap_err();
            assert!(refused.to_string().contains("carry that roll on"), "{refused}");
        }
    }
    for _ in 0..MAX_KEY_CHANGES {
        rolled(&authority).await;
    }
    let refused = authority.prepare_policy_key(None, false, go_on).await.unwrap_err().to_string();
    assert!(refused.contains("as often as a device follows"), "{refused}");
    let document = in_force(&authority);
    assert_eq!(VerifiedPolicy::verify(&document, &first).unwrap().way().len(), MAX_KEY_CHANGES);
    assert!(document.len() < 16 * 1024, "{}", document.len());
}

//= specs/house.md#house-policy
//= type=test
//# A change of the policy key MUST bear a second signature where the policy in force asks its successor for one.
#[tokio::test]
async fn the_change_bears_two_signatures_once_policies_do() {
    let folder = tempfile::tempdir().unwrap();
    let authority = began(folder.path()).await;
    let Some(second) = authority.second_policy_verification_key().await.unwrap() else {
        return;
    };
    let first = authority.policy_verification_key().unwrap();
    rolled(&authority).await;
    let (verified, _) =
        authority.authorities().unwrap().verify_policy(&in_force(&authority)).unwrap();
    let mut policy = verified.into_policy();
    policy.version = 3;
    policy.document_signing.second = vec!["ML-DSA-65".into()];
    let signed = authority.sign_policy(&policy).await.unwrap();
    authority.publish_policy(&signed.document).await.unwrap();
    put_in_force(&authority);
    rolled(&authority).await;
    let document = in_force(&authority);
    let verified = VerifiedPolicy::verify(&document, &first).unwrap();
    let seconds: Vec<_> = verified.way().iter().map(|step| step.second_spki_der.clone()).collect();
    assert_eq!(seconds, [None, Some(second)]);
    assert!(document.len() < 80 * 1024, "{}", document.len());
}

//= specs/house.md#house-policy
//= type=test
//# A new key of second signatures MUST be believed only by the signatures of the second key before it and of the policy key, and by its own.
//= specs/house.md#house-policy
//= type=test
//# A crash at any point of a change of the policy key MUST leave a key that can sign the next policy, and every device able to follow.
#[tokio::test]
async fn the_second_key_rolls_with_the_first_killed_before_any_step() {
    for stop in PolicyKeyStep::ALL {
        let folder = tempfile::tempdir().unwrap();
        let authority = began(folder.path()).await;
        let Some(old) = authority.second_policy_verification_key().await.unwrap() else {
            // A token holds none: that is said, and the roll without it goes on.
            let refused = authority.prepare_policy_key(None, true, go_on).await.unwrap_err();
            assert!(refused.to_string().contains("token"), "{refused}");
            rolled(&authority).await;
            return;
        };
        let first = authority.policy_verification_key().unwrap();
        let (verified, _) =
            authority.authorities().unwrap().verify_policy(&in_force(&authority)).unwrap();
        let mut policy = verified.into_policy();
        policy.version = 2;
        policy.document_signing.second = vec!["ML-DSA-65".into()];
        let signed = authority.sign_policy(&policy).await.unwrap();
        authority.publish_policy(&signed.document).await.unwrap();
        put_in_force(&authority);

        killed_before(stop, authority, true).await;

        // Whoever comes next signs twice, for whoever holds the first two keys.
        let authority = open(folder.path()).await;
        let trust = DocumentVerifier::new(first).needing_second(old.clone());
        policy.version = authority.highest_version().await.unwrap() + 1;
        let signed = authority.sign_policy(&policy).await.unwrap();
        assert!(VerifiedPolicy::verify_document(&signed.document, &trust).is_ok(), "{stop:?}");
        carried_on(&authority, true).await;
        let document = in_force(&authority);
        let verified = VerifiedPolicy::verify_document(&document, &trust).unwrap();
        let newest = authority.second_policy_verification_key().await.unwrap().unwrap();
        assert_eq!(verified.second_spki_der(), Some(newest.as_slice()), "{stop:?}");
        assert_ne!(newest, old);
        assert_eq!(authority.first_second_policy_key().await.unwrap(), Some(old), "{stop:?}");
        let file = std::fs::read(authority.layout().second_policy_key()).unwrap();
        assert_eq!(file, newest, "{stop:?}");
        // The one before is gone, and the one of now is needed.
        assert!(authority.core.keys.load_second(&second_label(0)).unwrap().is_none());
        let status = authority.policy_key_status().await.unwrap();
        let seconds: Vec<_> = status.iter().map(|one| one.second_key_sha256.clone()).collect();
        assert_eq!(seconds.last(), Some(&Some(PolicyKeyId::of(&newest).to_string())));
        authority.verify_ledger().await.unwrap();
        let (label, _) = authority.authorities().unwrap().second_policy_key();
        authority.core.keys.destroy(&label).unwrap();
        policy.version = authority.highest_version().await.unwrap() + 1;
        let refused = authority.sign_policy(&policy).await.unwrap_err().to_string();
        assert!(refused.contains("restore it from backup"), "{refused}");
    }
}

#[tokio::test]
async fn statements_leave_room_for_a_policy() {
    let folder = tempfile::tempdir().unwrap();
    let authority = began(folder.path()).await;
    if authority.second_policy_verification_key().await.unwrap().is_none() {
        return;
    }
    let refused = loop {
        match authority.prepare_policy_key(None, true, go_on).await {
            Ok(_) => {}
            Err(error) => break error.to_string(),
        }
        authority.activate_policy_key(go_on).await.unwrap();
        put_in_force(&authority);
        // What people are given is the key of now, also where no policy bore a second signature yet.
        let newest = authority.second_policy_verification_key().await.unwrap();
        assert!(std::fs::read(authority.layout().second_policy_key()).ok() == newest);
    };
    assert!(refused.contains("no room"), "{refused}");
    let status = authority.policy_key_status().await.unwrap();
    assert_eq!(status.len(), 6, "five changes of both keys");
    // Without the second one there is room.
    rolled(&authority).await;
    assert!(in_force(&authority).len() < 80 * 1024);
}

/// A statement that was cut or changed on the disk ends the start with the file's name.
#[test]
fn statements_in_a_file_are_read_in_one_form() {
    assert_eq!(keys::from_bytes(b"garbage"), Err(KeyChangeError::Form));
    let refused: SignedPolicyError = KeyChangeError::Unknown.into();
    assert!(refused.to_string().contains("trusted here"));
}
