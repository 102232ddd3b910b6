//! The proof that the policy key signed a policy.

use super::signed::{self, SignedPolicyError};
use super::{DEFAULT_TOML, KeyStep, Policy};
use crate::cose::DocumentVerifier;
use crate::digest;

/// Which policy a policy is: the SHA-256 of its one encoding. A second signature over the same policy makes no other one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PolicyDigest([u8; 32]);

impl PolicyDigest {
    /// The digest of the policy that this build carries, which is never signed: that of its text.
    #[must_use]
    pub fn of_built_in() -> Self {
        Self(digest::sha256(DEFAULT_TOML.as_bytes()))
    }

    /// Its 32 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// Hexadecimal, in lower case: also a file's name.
impl std::fmt::Display for PolicyDigest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl std::str::FromStr for PolicyDigest {
    type Err = InvalidDigest;

    fn from_str(text: &str) -> Result<Self, InvalidDigest> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(text, &mut bytes).map_err(|_| InvalidDigest)?;
        Ok(Self(bytes))
    }
}

/// A text that names no policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not the digest of a policy: 64 hexadecimal digits")]
pub struct InvalidDigest;

impl std::fmt::Debug for PolicyDigest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PolicyDigest({self})")
    }
}

/// A policy whose signature by the policy key was verified. Made by [`VerifiedPolicy::verify`] only.
///
/// ```compile_fail,E0451
/// use countersign_crypto::policy::{Policy, VerifiedPolicy};
/// let forged = VerifiedPolicy { policy: Policy::built_in(), digest: todo!(), second: None, way: Vec::new() };
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedPolicy {
    policy: Policy,
    digest: PolicyDigest,
    second: Option<Vec<u8>>,
    way: Vec<KeyStep>,
}

impl VerifiedPolicy {
    /// Verifies a signed policy under the policy key's SubjectPublicKeyInfo, DER, or under a successor of that key which the
    /// document itself leads to. It says who wrote it; whether it may replace
    /// the one in force is decided in `countersign-protocol`.
    ///
    /// # Errors
    /// [`SignedPolicyError`]: cut short, changed, another key's, another kind of document, not in its one encoding; without the
    /// second signature that it names itself.
    //= specs/house.md#house-policy
    //# A policy MUST be refused when its signature does not verify.
    pub fn verify(document: &[u8], policy_spki_der: &[u8]) -> Result<Self, SignedPolicyError> {
        Self::verify_document(document, &DocumentVerifier::new(policy_spki_der.to_vec()))
    }

    /// Verifies a signed policy under one key or two.
    ///
    /// # Errors
    /// As [`VerifiedPolicy::verify`], and when a second signature is needed and missing, bad, or by another key.
    pub fn verify_document(
        document: &[u8],
        verifier: &DocumentVerifier,
    ) -> Result<Self, SignedPolicyError> {
        let (policy, document, way) = signed::verify_document(document, verifier)?;
        let digest = PolicyDigest(digest::sha256(document.payload()));
        let second = document.second_spki_der().map(<[u8]>::to_vec);
        Ok(Self { policy, digest, second, way })
    }

    /// The second key whose signature verified beside the first, SubjectPublicKeyInfo DER. Whether it is the maker's is for
    /// whoever knows the maker's to say.
    #[must_use]
    pub fn second_spki_der(&self) -> Option<&[u8]> {
        self.second.as_deref()
    }

    /// The successors of the verifier's key that led to the one which signed this policy, in order; none where that key signed
    /// it itself.
    #[must_use]
    pub fn way(&self) -> &[KeyStep] {
        &self.way
    }

    /// What was signed.
    #[must_use]
    pub const fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Which policy it is.
    #[must_use]
    pub const fn digest(&self) -> PolicyDigest {
        self.digest
    }

    /// What was signed, by move.
    #[must_use]
    pub fn into_policy(self) -> Policy {
        self.policy
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::signature::{KeyHandle, SignatureAlgorithm};

    //= specs/house.md#house-policy
    //= type=test
    //# A policy MUST be refused when its signature does not verify.
    #[test]
    fn two_signatures_over_one_policy_are_one_policy() {
        let key = KeyHandle::ephemeral(SignatureAlgorithm::EcdsaP256Sha256).unwrap();
        let mut policy = Policy::built_in();
        policy.maker = Some("Example".to_owned());
        let sign = |policy: &Policy| signed::sign(policy, &key).unwrap();
        let (first, second) = (sign(&policy), sign(&policy));
        assert_ne!(first, second, "ECDSA signatures differ each time");
        let verify = |document: &[u8]| VerifiedPolicy::verify(document, key.spki_der());
        assert_eq!(verify(&first).unwrap(), verify(&second).unwrap());
        policy.version += 1;
        let other = verify(&sign(&policy)).unwrap();
        assert_ne!(verify(&first).unwrap().digest(), other.digest());
        assert!(verify(&first[..first.len() - 1]).is_err());
    }

    #[test]
    fn a_policy_under_two_signatures_needs_both_and_introduces_its_second_key() {
        use crate::cose::{CoseError, DocumentKeys};
        use crate::second::{SecondAlgorithm, SecondKey};
        let policy = Policy { maker: Some("Example".into()), ..Policy::built_in() };
        for &algorithm in SecondAlgorithm::offered() {
            let first = KeyHandle::ephemeral(SignatureAlgorithm::EcdsaP256Sha256).unwrap();
            let second = SecondKey::ephemeral(algorithm).unwrap();
            let keys = DocumentKeys::new(first.clone()).with_second(second.clone());
            let document = signed::sign_document(&policy, &keys).unwrap();
            let stranger = DocumentVerifier::new(first.spki_der().to_vec());
            let verified = VerifiedPolicy::verify_document(&document, &stranger).unwrap();
            assert_eq!(verified.policy(), &policy);
            let introduced = verified.second_spki_der().unwrap().to_vec();
            assert_eq!(introduced, second.spki_der());
            let needing = stranger.needing_second(introduced);
            assert!(VerifiedPolicy::verify_document(&document, &needing).is_ok());
            let alone = signed::sign_document(&policy, &DocumentKeys::new(first)).unwrap();
            let refused = VerifiedPolicy::verify_document(&alone, &needing).unwrap_err();
            assert_eq!(refused, SignedPolicyError::Cose(CoseError::SecondMissing));
        }
    }
}
