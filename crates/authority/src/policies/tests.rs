#![allow(clippy::unwrap_used)]

use super::*;
use crate::ledger::Entry;
use crate::testing::ready;
use countersign_crypto::signature::{KeyHandle, SignatureAlgorithm};

async fn last(authority: &Authority) -> Entry {
    authority.ledger_entries().await.unwrap().pop().unwrap()
}

fn named(version: u64, maker: Option<String>) -> Policy {
    let mut policy = Policy::built_in();
    (policy.version, policy.maker) = (version, maker);
    policy
}

fn version(authority: &Authority, version: u64) -> Policy {
    named(version, authority.maker().ok())
}

//= specs/house.md#house-policy
//= type=test
//# A policy MUST be in the ledger before its signature is handed out.
#[tokio::test]
async fn a_policy_is_recorded_signed_and_published() {
    let folder = tempfile::tempdir().unwrap();
    let authority = ready(folder.path()).await;
    let first = authority.first_policy().await.unwrap();
    let entry = last(&authority).await;
    assert_eq!((entry.kind, entry.body["version"].as_u64()), (Kind::PolicySigned, Some(1)));
    assert_eq!(entry.body["document_sha256"], hash(&first.document));
    let key = authority.policy_verification_key().unwrap();
    assert_eq!(policy::verify(&first.document, &key).unwrap(), version(&authority, 1));

    let second = authority.sign_policy(&version(&authority, 2)).await.unwrap();
    authority.publish_policy(&second.document).await.unwrap();
    assert_eq!(last(&authority).await.kind, Kind::PolicyPublished);
    let next = std::fs::read(authority.layout().policy_next()).unwrap();
    assert_eq!(next, second.document);
    assert_eq!(std::fs::read(authority.layout().policy_version(2)).unwrap(), next);
}

//= specs/house.md#house-policy
//= type=test
//# A refused policy MUST be recorded with its reason.
#[tokio::test]
async fn what_is_not_signed_says_why_and_is_recorded() {
    let folder = tempfile::tempdir().unwrap();
    let authority = ready(folder.path()).await;
    authority.sign_policy(&version(&authority, 5)).await.unwrap();
    // The same again is no other one: whoever lost the file asks again.
    authority.sign_policy(&version(&authority, 5)).await.unwrap();
    let mut changed = version(&authority, 5);
    changed.expires = Day::end_of(2029).unwrap();
    let mut over = version(&authority, 6);
    over.expires = Day::end_of(2020).unwrap();
    let mut unknown = version(&authority, 6);
    unknown.uses.get_mut(&policy::Use::Est).unwrap().groups[0].name = "X25519Kyber".to_owned();
    for (bad, word) in [
        (version(&authority, 4), "version 5 was signed before"),
        (changed, "version 5 was signed before"),
        (over, "expires"),
        (unknown, "X25519Kyber"),
        (named(6, None), "maker"),
        (named(6, Some("Somebody".into())), "Somebody"),
    ] {
        let error = authority.sign_policy(&bad).await.unwrap_err();
        assert!(error.to_string().contains(word), "{error}");
        let entry = last(&authority).await;
        assert_eq!(entry.kind, Kind::PolicyRefused);
        assert!(entry.body["reason"].as_str().unwrap().contains(word), "{}", entry.body);
    }
}

#[tokio::test]
async fn what_is_not_published_says_why_and_is_recorded() {
    let folder = tempfile::tempdir().unwrap();
    let authority = ready(folder.path()).await;
    let first = authority.first_policy().await.unwrap();
    std::fs::create_dir_all(authority.layout().policy().parent().unwrap()).unwrap();
    std::fs::write(authority.layout().policy(), &first.document).unwrap();
    let good = authority.sign_policy(&version(&authority, 2)).await.unwrap().document;
    let stranger = KeyHandle::ephemeral(SignatureAlgorithm::EcdsaP256Sha256).unwrap();
    let foreign = policy::sign(&version(&authority, 3), &stranger).unwrap();
    let own = authority.authorities().unwrap().policy().clone();
    let unrecorded = policy::sign(&version(&authority, 3), &own).unwrap();
    let mut flipped = good.clone();
    flipped[good.len() / 2] ^= 1;
    for (bad, word) in [
        (&first.document[..], "in force already"),
        (&good[..good.len() - 1], "COSE"),
        (&flipped, ""),
        (&foreign, "signature"),
        (&unrecorded, "ledger"),
        (b"", "COSE"),
    ] {
        let error = authority.publish_policy(bad).await.unwrap_err().to_string();
        assert!(error.contains(word), "{word}: {error}");
        assert_eq!(last(&authority).await.kind, Kind::PolicyRefused);
    }
    assert!(!authority.layout().policy_next().exists());
    authority.publish_policy(&good).await.unwrap();
}

#[tokio::test]
async fn old_versions_do_not_pile_up() {
    let folder = tempfile::tempdir().unwrap();
    let authority = ready(folder.path()).await;
    for number in 1..=40 {
        let signed = authority.sign_policy(&version(&authority, number)).await.unwrap();
        authority.publish_policy(&signed.document).await.unwrap();
    }
    let kept = |number| authority.layout().policy_version(number).exists();
    assert!(kept(40) && kept(9) && !kept(8));
}
