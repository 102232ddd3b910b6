//! A policy as a signed document: COSE_Sign1 over the policy's deterministic CBOR (RFC 8949 section 4.2).
//!
//! Map keys are small integers in ascending order, lengths are definite, so that one policy has one encoding;
//! a document in any other encoding is refused even when its signature verifies.

use std::collections::BTreeMap;

use countersign_model::registry::Profile;
use countersign_model::time::Day;
use minicbor::{Decode, Encode};

use super::keys::{self, KeyChangeError, KeyStep};
use super::{Alpn, DocumentSigning, Item, Lines, Policy, Storage, TlsUse, Use};
use crate::cose::{self, CoseError, DocumentKeys, DocumentVerifier, VerifiedDocument};
use crate::second::SecondAlgorithm;
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
    maker: String,
    #[n(3)]
    expires: String,
    #[n(4)]
    profile: String,
    #[n(5)]
    withdraws: Vec<u64>,
    #[n(6)]
    uses: Vec<UseEntry>,
    #[n(7)]
    signatures: Vec<Entry>,
    #[n(8)]
    second: Vec<Entry>,
    #[n(9)]
    aead: Vec<Entry>,
}

#[derive(Encode, Decode)]
#[cbor(array)]
struct UseEntry {
    #[n(0)]
    name: String,
    #[n(1)]
    versions: Vec<Entry>,
    #[n(2)]
    groups: Vec<Entry>,
    #[n(3)]
    suites: Vec<Entry>,
    #[n(4)]
    signatures: Vec<Entry>,
    #[n(5)]
    alpn_required: bool,
    #[n(6)]
    tickets: u8,
}

/// An item; what it does not say is not in the map.
#[derive(Encode, Decode)]
#[cbor(map)]
struct Entry {
    #[n(1)]
    name: String,
    #[n(2)]
    until: Option<String>,
    #[n(3)]
    because: Option<String>,
}

fn entries(items: &[Item]) -> Vec<Entry> {
    let entry = |item: &Item| Entry {
        name: item.name.clone(),
        until: item.until.map(|day| day.to_string()),
        because: item.because.clone(),
    };
    items.iter().map(entry).collect()
}

fn items(entries: Vec<Entry>) -> Result<Vec<Item>, SignedPolicyError> {
    let item = |entry: Entry| {
        let until = entry.until.as_deref().map(day).transpose()?;
        Ok(Item { name: entry.name, until, because: entry.because })
    };
    entries.into_iter().map(item).collect()
}

fn day(text: &str) -> Result<Day, SignedPolicyError> {
    text.parse().map_err(|_| SignedPolicyError::Payload)
}

fn encode(policy: &Policy) -> Result<Vec<u8>, SignedPolicyError> {
    let uses = policy
        .uses
        .iter()
        .map(|(use_, tls)| UseEntry {
            name: use_.as_str().to_owned(),
            versions: entries(&tls.versions),
            groups: entries(&tls.groups),
            suites: entries(&tls.suites),
            signatures: entries(&tls.signatures),
            alpn_required: tls.alpn == Alpn::Required,
            tickets: tls.tickets,
        })
        .collect();
    let document = Document {
        version: policy.version,
        maker: policy.maker.clone().ok_or(SignedPolicyError::NoMaker)?,
        expires: policy.expires.to_string(),
        profile: policy.profile.to_string(),
        withdraws: policy.withdraws.clone(),
        uses,
        signatures: entries(&policy.document_signing.signatures),
        second: entries(&policy.document_signing.second),
        aead: entries(&policy.storage.aead),
    };
    Ok(minicbor::to_vec(&document).expect("encoding into a vector cannot fail"))
}

pub(super) fn decode(payload: &[u8]) -> Result<Policy, SignedPolicyError> {
    let document: Document = minicbor::decode(payload).map_err(|_| SignedPolicyError::Payload)?;
    if document.uses.len() > MAX_USES {
        return Err(SignedPolicyError::Payload);
    }
    let short = |text: &str| text.chars().take(64).collect::<String>();
    let mut uses = BTreeMap::new();
    for entry in document.uses {
        let use_ = Use::ALL
            .into_iter()
            .find(|use_| use_.as_str() == entry.name)
            .ok_or_else(|| SignedPolicyError::UnknownUse(short(&entry.name)))?;
        let tls = TlsUse {
            versions: items(entry.versions)?,
            groups: items(entry.groups)?,
            suites: items(entry.suites)?,
            signatures: items(entry.signatures)?,
            alpn: if entry.alpn_required { Alpn::Required } else { Alpn::IfOffered },
            tickets: entry.tickets,
        };
        uses.insert(use_, tls);
    }
    let profile: Profile = document
        .profile
        .parse()
        .map_err(|_| SignedPolicyError::UnknownProfile(short(&document.profile)))?;
    let policy = Policy {
        version: document.version,
        maker: Some(document.maker),
        expires: day(&document.expires)?,
        profile,
        withdraws: document.withdraws,
        uses,
        document_signing: DocumentSigning {
            signatures: items(document.signatures)?,
            second: items(document.second)?,
        },
        storage: Storage { aead: items(document.aead)? },
        lines: Lines::default(),
    };
    if encode(&policy)? == payload { Ok(policy) } else { Err(SignedPolicyError::NotDeterministic) }
}

/// Signs a policy with the policy key.
///
/// # Errors
/// [`SignedPolicyError::NoMaker`] when it does not say whose devices it is for, [`SignedPolicyError::Cose`] when the
/// key's holder cannot sign.
//= specs/house.md#house-policy
//# A policy MUST name its maker before it is signed.
pub fn sign(policy: &Policy, key: &KeyHandle) -> Result<Vec<u8>, SignedPolicyError> {
    Ok(cose::sign1(key, POLICY_CONTENT_TYPE, &encode(policy)?)?)
}

//= specs/en-303-645.md#5.5-3
//# A change of algorithms is a security-relevant change and MUST be authenticated like one.
/// Verifies a signed policy under the policy key's SubjectPublicKeyInfo, or under a successor of that key which the document
/// itself leads to.
///
/// It says who wrote the policy; whether it may replace the one in force is decided in `countersign-protocol`.
///
/// # Errors
/// [`SignedPolicyError`].
//= specs/house.md#house-policy
//# A policy MUST be refused when its signature does not verify.
pub fn verify(document: &[u8], policy_spki_der: &[u8]) -> Result<Policy, SignedPolicyError> {
    let verifier = DocumentVerifier::new(policy_spki_der.to_vec());
    Ok(verify_document(document, &verifier)?.0)
}

/// Policy, document, and the keys after the verifier's own that led to it, where every signature that the verifier or the policy
/// itself needs is there and good. Which of the statements needed a second one is not asked.
//= specs/house.md#house-policy
//# A policy that names a second signature, or that follows one in force which does, MUST be refused without it.
pub(super) fn verify_document(
    document: &[u8],
    verifier: &DocumentVerifier,
) -> Result<(Policy, VerifiedDocument, Vec<KeyStep>), SignedPolicyError> {
    let (statements, document) = keys::split(document)?;
    let (verified, way) = match statements.is_empty() {
        true => (cose::verify(verifier, POLICY_CONTENT_TYPE, &document)?, Vec::new()),
        false => {
            // For whom the statements must be is known when the policy is; nothing is believed before both are.
            let maker = keys::maker(&statements)?;
            let way = keys::follow(verifier.classical_spki_der(), &maker, &statements)?;
            let second = way.iter().rev().find_map(|step| step.next_second_spki_der.clone());
            let verifier = match way.last() {
                Some(step) => verifier.of_keys(step.spki_der.clone(), second),
                None => verifier.clone(),
            };
            let verified = cose::verify(&verifier, POLICY_CONTENT_TYPE, &document)?;
            if decode(verified.payload())?.maker != Some(maker) {
                return Err(KeyChangeError::Maker.into());
            }
            (verified, way)
        }
    };
    let policy = decode(verified.payload())?;
    // Also past an item's `until`: whoever sets the clock takes no signature away.
    let named = &policy.document_signing.second;
    if !named.is_empty() {
        let key = verified.second_spki_der().ok_or(CoseError::SecondMissing)?;
        let algorithm = SecondAlgorithm::of_spki(key).map_or("", SecondAlgorithm::name);
        if named.iter().all(|item| item.name != algorithm) {
            return Err(SignedPolicyError::SecondAlgorithm(algorithm));
        }
    }
    Ok((policy, verified, way))
}

/// Signs a policy with one key or two (see [`cose::sign`]).
///
/// # Errors
/// As [`sign`].
pub fn sign_document(policy: &Policy, keys: &DocumentKeys) -> Result<Vec<u8>, SignedPolicyError> {
    Ok(cose::sign(keys, POLICY_CONTENT_TYPE, &encode(policy)?)?)
}

/// Why a signed policy was not made or not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignedPolicyError {
    /// The signature around it.
    #[error("signed policy: {0}")]
    Cose(#[from] CoseError),
    /// The statements about policy keys that lead to it.
    #[error("signed policy: {0}")]
    Keys(KeyChangeError),
    /// Not a policy inside.
    #[error("signed policy: its content is not a policy")]
    Payload,
    /// A use that this build does not know.
    #[error("signed policy: the use {0:?} is unknown to this build: update it first")]
    UnknownUse(String),
    /// A profile that this build does not know.
    #[error("signed policy: the profile {0:?} is unknown to this build: update it first")]
    UnknownProfile(String),
    /// Nobody's devices.
    #[error(
        "the policy names no maker: write maker = \"…\" with the organisation of the ceremony plan"
    )]
    NoMaker,
    /// Its second signature is of another algorithm than those that it names.
    #[error(
        "signed policy: its second signature is {0}, which is not in its document-signing.second: \
         name it there"
    )]
    SecondAlgorithm(&'static str),
    /// Signed, and yet not the one encoding.
    #[error("signed policy: its content is not in deterministic encoding")]
    NotDeterministic,
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::signature::SignatureAlgorithm;

    fn made() -> Policy {
        let mut policy = Policy { version: 7, maker: Some("Example".into()), ..Policy::built_in() };
        policy.withdraws = vec![2, 5];
        policy.profile = Profile::Bsi;
        let group = &mut policy.uses.get_mut(&Use::Est).unwrap().groups[1];
        group.until = Day::end_of(2031);
        group.because = Some("peers that have nothing else".into());
        policy.storage.aead[0].until = Day::end_of(2040);
        policy
    }

    //= specs/house.md#house-policy
    //= type=test
    //# A policy MUST be refused when its signature does not verify.
    #[test]
    fn a_policy_goes_there_and_back() {
        let key = KeyHandle::ephemeral(SignatureAlgorithm::EcdsaP256Sha256).unwrap();
        let policy = made();
        let document = sign(&policy, &key).unwrap();
        assert_eq!(verify(&document, key.spki_der()).unwrap(), policy);
        let other = KeyHandle::ephemeral(SignatureAlgorithm::EcdsaP256Sha256).unwrap();
        assert!(verify(&document, other.spki_der()).is_err());
    }

    //= specs/house.md#house-policy
    //= type=test
    //# A policy MUST name its maker before it is signed.
    #[test]
    fn nobodys_policy_is_not_signed() {
        let key = KeyHandle::ephemeral(SignatureAlgorithm::EcdsaP256Sha256).unwrap();
        assert_eq!(sign(&Policy::built_in(), &key), Err(SignedPolicyError::NoMaker));
    }

    /// RFC 8949 section 4.2.1: shortest lengths, definite lengths, keys in ascending order, nothing twice.
    #[test]
    fn another_encoding_of_the_same_policy_is_refused() {
        let key = KeyHandle::ephemeral(SignatureAlgorithm::EcdsaP256Sha256).unwrap();
        let payload = encode(&made()).unwrap();
        assert_eq!(&payload[..3], [0xa9, 1, 7], "a map of nine, its first key and value");
        let verified = |payload: &[u8]| {
            let document = cose::sign1(&key, POLICY_CONTENT_TYPE, payload).unwrap();
            verify(&document, key.spki_der())
        };
        assert!(verified(&payload).is_ok());
        let trailing = [&payload[..], &[0]].concat();
        let longer_integer = [&payload[..2], &[0x18, 7], &payload[3..]].concat();
        let indefinite = [&[0xbf], &payload[1..], &[0xff]].concat();
        let longer_length = [&[0xb8, 9], &payload[1..]].concat();
        let twice = [&[0xaa, 1, 7], &payload[1..]].concat();
        let unknown_key = [&[0xaa], &payload[1..], &[0x18, 99, 0]].concat();
        for other in [trailing, longer_integer, indefinite, longer_length, twice, unknown_key] {
            let refused = verified(&other).unwrap_err();
            assert_eq!(refused, SignedPolicyError::NotDeterministic, "{}", hex::encode(&other));
        }
    }
}
