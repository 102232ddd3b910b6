#![allow(clippy::unwrap_used)]

use super::*;
use crate::testing::{open, ready};
use countersign_crypto::policy::{self, SignedPolicyError};

fn version(authority: &Authority, version: u64, second: &[&str]) -> Policy {
    let mut policy = Policy::built_in();
    (policy.version, policy.maker) = (version, authority.maker().ok());
    policy.document_signing.second = second.iter().map(|name| (*name).into()).collect();
    policy
}

async fn recorded(authority: &Authority, kind: Kind) -> Vec<serde_json::Value> {
    let entries = authority.ledger_entries().await.unwrap();
    entries.into_iter().filter(|entry| entry.kind == kind).map(|entry| entry.body).collect()
}

//= specs/en-303-645.md#5.5-8
//= type=test
//# Generation MUST leave a record.
#[tokio::test]
async fn the_second_key_is_made_once_and_recorded() {
    let folder = tempfile::tempdir().unwrap();
    let authority = ready(folder.path()).await;
    let Some(key) = authority.second_policy_verification_key().await.unwrap() else {
        return in_a_token(&authority).await;
    };
    assert_eq!(SecondAlgorithm::of_spki(&key), Some(ALGORITHM));
    drop(authority);
    let authority = open(folder.path()).await;
    assert_eq!(authority.second_policy_verification_key().await.unwrap(), Some(key.clone()));
    let entries = recorded(&authority, Kind::SecondPolicyKey).await;
    assert_eq!(entries.len(), 1);
    assert_eq!(entries[0]["spki_sha256"], hex::encode(sha256(&key)));
}

/// A token has no such keys: that is said when a policy wants one, and is no error before.
async fn in_a_token(authority: &Authority) {
    let wants = version(authority, 2, &["ML-DSA-65"]);
    let refused = authority.sign_policy(&wants).await.unwrap_err().to_string();
    assert!(refused.contains("document-signing.second"), "{refused}");
    assert!(recorded(authority, Kind::PolicySigned).await.is_empty());
    authority.sign_policy(&version(authority, 2, &[])).await.unwrap();
}

#[tokio::test]
async fn from_the_first_policy_that_names_it_on_every_policy_bears_both() {
    let folder = tempfile::tempdir().unwrap();
    let authority = ready(folder.path()).await;
    let Some(second) = authority.second_policy_verification_key().await.unwrap() else {
        return;
    };
    let first = authority.policy_verification_key().unwrap();
    for (number, named, doubly) in
        [(2, &[][..], false), (3, &["ML-DSA-65"], true), (4, &[], true), (5, &[], true)]
    {
        let signed = authority.sign_policy(&version(&authority, number, named)).await.unwrap();
        let verified = VerifiedPolicy::verify(&signed.document, &first).unwrap();
        assert_eq!(verified.second_spki_der(), doubly.then_some(&second[..]), "{number}");
        authority.publish_policy(&signed.document).await.unwrap();
    }
    // Another algorithm than the key's is refused before anything is signed.
    let other = version(&authority, 6, &["ML-DSA-87"]);
    let refused = authority.sign_policy(&other).await.unwrap_err().to_string();
    assert!(refused.contains("is ML-DSA-65: name that"), "{refused}");
    assert_eq!(recorded(&authority, Kind::PolicyRefused).await.len(), 1);
}

//= specs/house.md#house-policy
//= type=test
//# A document that needs two signatures MUST be refused when either is missing or does not verify.
#[tokio::test]
async fn a_second_signature_that_was_stripped_or_exchanged_is_not_published() {
    let folder = tempfile::tempdir().unwrap();
    let authority = ready(folder.path()).await;
    if authority.second_policy_verification_key().await.unwrap().is_none() {
        return;
    }
    let classical = authority.authorities().unwrap().policy().clone();
    let other = SecondKey::ephemeral(ALGORITHM).unwrap();
    let exchanged = DocumentKeys::new(classical.clone()).with_second(other);
    for (number, named) in [(2, &["ML-DSA-65"][..]), (3, &[])] {
        let policy = version(&authority, number, named);
        let good = authority.sign_policy(&policy).await.unwrap().document;
        let stripped = policy::sign(&policy, &classical).unwrap();
        let exchanged = policy::sign_document(&policy, &exchanged).unwrap();
        for (bad, wrong) in
            [(stripped, CoseError::SecondMissing), (exchanged, CoseError::SecondKey)]
        {
            let refused = authority.publish_policy(&bad).await.unwrap_err().to_string();
            assert!(refused.contains(&wrong.to_string()), "{refused}");
        }
        authority.publish_policy(&good).await.unwrap();
    }
    let stripped = policy::sign(&version(&authority, 4, &["ML-DSA-65"]), &classical).unwrap();
    assert_eq!(
        VerifiedPolicy::verify(&stripped, classical.spki_der()).unwrap_err(),
        SignedPolicyError::Cose(CoseError::SecondMissing)
    );
}
