//! A policy as a signed document: COSE_Sign1 over the policy's deterministic CBOR (RFC 8949 section 4.2).
//!
//! Map keys are single letters in ascending order, lengths are definite, so that one policy has one encoding;
//! a document in any other encoding is refused even when its signature verifies.

use std::collections::BTreeMap;

use minicbor::{Decode, Encode};

use super::{Alpn, DocumentSigning, Policy, Storage, TlsUse, Use};
use crate::cose::{self, CoseError};
use crate::signature::KeyHandle;

/// The content type in the protected header.
pub const POLICY_CONTENT_TYPE: &str = "application/countersign-policy+cbor";

/// Most uses that a document may list; today's have five.
const MAX_USES: usize = 32;

#[derive(Encode, Decode)]
#[cbor(map)]
struct Document {
    #[n(1)]
    version: u64,
    #[n(2)]
    expires: String,
    #[n(3)]
    uses: Vec<UseEntry>,
    #[n(4)]
    signatures: Vec<String>,
    #[n(5)]
    aead: Vec<String>,
}

#[derive(Encode, Decode)]
#[cbor(array)]
struct UseEntry {
    #[n(0)]
    name: String,
    #[n(1)]
    versions: Vec<String>,
    #[n(2)]
    groups: Vec<String>,
    #[n(3)]
    suites: Vec<String>,
    #[n(4)]
    signatures: Vec<String>,
    #[n(5)]
    alpn_required: bool,
    #[n(6)]
    tickets: u8,
}

fn encode(policy: &Policy) -> Vec<u8> {
    let uses = policy
        .uses
        .iter()
        .map(|(use_, tls)| UseEntry {
            name: use_.as_str().to_owned(),
            versions: tls.versions.clone(),
            groups: tls.groups.clone(),
            suites: tls.suites.clone(),
            signatures: tls.signatures.clone(),
            alpn_required: tls.alpn == Alpn::Required,
            tickets: tls.tickets,
        })
        .collect();
    let document = Document {
        version: policy.version,
        expires: policy.expires.clone(),
        uses,
        signatures: policy.document_signing.signatures.clone(),
        aead: policy.storage.aead.clone(),
    };
    minicbor::to_vec(&document).expect("encoding into a vector cannot fail")
}

fn decode(payload: &[u8]) -> Result<Policy, SignedPolicyError> {
    let document: Document = minicbor::decode(payload).map_err(|_| SignedPolicyError::Payload)?;
    if document.uses.len() > MAX_USES {
        return Err(SignedPolicyError::Payload);
    }
    let mut uses = BTreeMap::new();
    for entry in document.uses {
        let use_ = Use::ALL
            .into_iter()
            .find(|use_| use_.as_str() == entry.name)
            .ok_or_else(|| SignedPolicyError::UnknownUse(entry.name.chars().take(64).collect()))?;
        let alpn = if entry.alpn_required { Alpn::Required } else { Alpn::IfOffered };
        let UseEntry { versions, groups, suites, signatures, tickets, .. } = entry;
        uses.insert(use_, TlsUse { versions, groups, suites, signatures, alpn, tickets });
    }
    let policy = Policy {
        version: document.version,
        expires: document.expires,
        uses,
        document_signing: DocumentSigning { signatures: document.signatures },
        storage: Storage { aead: document.aead },
    };
    if encode(&policy) == payload { Ok(policy) } else { Err(SignedPolicyError::NotDeterministic) }
}

/// Signs a policy with the policy key.
///
/// # Errors
/// [`SignedPolicyError::Cose`] when the key's holder cannot sign.
pub fn sign(policy: &Policy, key: &KeyHandle) -> Result<Vec<u8>, SignedPolicyError> {
    Ok(cose::sign1(key, POLICY_CONTENT_TYPE, &encode(policy))?)
}

//= specs/en-303-645.md#5.5-3
//# A change of algorithms is a security-relevant change and MUST be authenticated like one.
/// Verifies a signed policy under the policy key's SubjectPublicKeyInfo.
///
/// It says who wrote the policy; whether it may replace the one in force is decided in `countersign-protocol`.
///
/// # Errors
/// [`SignedPolicyError`].
//= specs/house.md#house-policy
//# A policy MUST be refused when its signature does not verify.
pub fn verify(document: &[u8], policy_spki_der: &[u8]) -> Result<Policy, SignedPolicyError> {
    decode(&cose::verify1(document, POLICY_CONTENT_TYPE, policy_spki_der)?)
}

/// Why a signed policy was not made or not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignedPolicyError {
    /// The signature around it.
    #[error("signed policy: {0}")]
    Cose(#[from] CoseError),
    /// Not a policy inside.
    #[error("signed policy: its content is not a policy")]
    Payload,
    /// A use that this build does not know.
    #[error("signed policy: the use {0:?} is unknown to this build: update it first")]
    UnknownUse(String),
    /// Signed, and yet not the one encoding.
    #[error("signed policy: its content is not in deterministic encoding")]
    NotDeterministic,
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::signature::SignatureAlgorithm;

    //= specs/house.md#house-policy
    //= type=test
    //# A policy MUST be refused when its signature does not verify.
    #[test]
    fn a_policy_goes_there_and_back() {
        let key = KeyHandle::ephemeral(SignatureAlgorithm::EcdsaP256Sha256).unwrap();
        let policy = Policy::built_in();
        let document = sign(&policy, &key).unwrap();
        assert_eq!(verify(&document, key.spki_der()).unwrap(), policy);
        let other = KeyHandle::ephemeral(SignatureAlgorithm::EcdsaP256Sha256).unwrap();
        assert!(verify(&document, other.spki_der()).is_err());
    }

    #[test]
    fn another_encoding_of_the_same_policy_is_refused() {
        let key = KeyHandle::ephemeral(SignatureAlgorithm::EcdsaP256Sha256).unwrap();
        let mut payload = encode(&Policy::built_in());
        payload.push(0);
        let document = cose::sign1(&key, POLICY_CONTENT_TYPE, &payload).unwrap();
        assert_eq!(verify(&document, key.spki_der()), Err(SignedPolicyError::NotDeterministic));
    }
}
