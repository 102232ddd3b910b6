//! A signed crypto policy.

use countersign_crypto::policy;
use countersign_crypto::signature::{KeyHandle, SignatureAlgorithm};
use std::sync::OnceLock;

/// The key that signed the corpus. Its private half was thrown away, so a changed document cannot verify.
const SIGNER: &[u8] = include_bytes!("../../fixtures/policy.spki");
const GENUINE: &[u8] = include_bytes!("../../fixtures/policy.cose");
/// The first of three policy keys, all of them thrown away, and a policy by the last with the statements that lead to it.
const FIRST: &[u8] = include_bytes!("../../fixtures/policy-chain.spki");
const CHAINED: &[u8] = include_bytes!("../../fixtures/policy-chain.cose");

//= specs/en-303-645.md#5.5-3
//= type=test
//# A change of algorithms is a security-relevant change and MUST be authenticated like one.
/// Only the genuine document verifies. What a key signed as a policy's content is the policy's one encoding or refused.
pub fn target(data: &[u8]) {
    for (key, genuine) in [(SIGNER, GENUINE), (FIRST, CHAINED)] {
        if let Ok(read) = policy::verify(data, key) {
            assert_eq!(
                Ok(read),
                policy::verify(genuine, key),
                "a document that nobody signed verifies"
            );
        }
    }
    // The same bytes as content, under a key that is here.
    static KEY: OnceLock<KeyHandle> = OnceLock::new();
    let key = KEY.get_or_init(|| {
        KeyHandle::ephemeral(SignatureAlgorithm::EcdsaP256Sha256).expect("this machine makes keys")
    });
    let Ok(document) = countersign_crypto::cose::sign1(key, policy::POLICY_CONTENT_TYPE, data)
    else {
        return;
    };
    if let Ok(read) = policy::verify(&document, key.spki_der()) {
        let again = policy::sign(&read, key).expect("what was signed can be signed");
        let content =
            countersign_crypto::cose::verify1(&again, policy::POLICY_CONTENT_TYPE, key.spki_der());
        assert_eq!(content.as_deref(), Ok(data), "a policy with two encodings");
    }
}
