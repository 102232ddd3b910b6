//! The proof that the policy key signed a policy.

use super::signed::{self, POLICY_CONTENT_TYPE, SignedPolicyError};
use super::{DEFAULT_TOML, Policy};
use crate::cose::{self, DocumentVerifier};
use crate::digest;
use crate::second::SecondAlgorithm;

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
/// let forged = VerifiedPolicy { policy: Policy::built_in(), digest: todo!() };
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedPolicy {
    policy: Policy,
    digest: PolicyDigest,
    second: Option<Vec<u8>>,
}

impl VerifiedPolicy {
    /// Verifies a signed policy under the policy key's SubjectPublicKeyInfo, DER. It says who wrote it; whether it may replace
    /// the one in force is decided in `countersign-protocol`.
    ///
    /// # Errors
    /// [`SignedPolicyError`]: cut short, changed, another key's, another kind of document, not in its one encoding.
    //= specs/house.md#house-policy
    //# A policy MUST be refused when its signature does not verify.
    pub fn verify(document: &[u8], policy_spki_der: &[u8]) -> Result<Self, SignedPolicyError> {
        let verifier = DocumentVerifier::new(policy_spki_der.to_vec());
        let document = cose::verify(&verifier, POLICY_CONTENT_TYPE, document)?;
        let policy = signed::decode(document.payload())?;
        let second = document.second_spki_der().map(<[u8]>::to_vec);
        // Where the provider cannot verify what is asked for, the policy does not compile, and that says more.
        let offered = SecondAlgorithm::offered();
        let asked = &policy.document_signing.second;
        if asked.iter().any(|item| offered.iter().any(|algorithm| algorithm.name() == item.name)) {
            let made_with = second.as_deref().and_then(SecondAlgorithm::of_spki);
            signed::demand_second(&policy, made_with)?;
        }
        let digest = PolicyDigest(digest::sha256(document.payload()));
        Ok(Self { policy, digest, second })
    }

    /// The second key whose signature verified beside the policy key's, SubjectPublicKeyInfo DER. The policy key vouches for
    /// it; whether the next policy needs its signature, the policy in force says.
    #[must_use]
    pub fn second_spki_der(&self) -> Option<&[u8]> {
        self.second.as_deref()
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

    //= specs/house.md#house-policy
    //= type=test
    //# A policy that asks for a second signature MUST bear one itself.
    #[test]
    fn a_policy_that_asks_for_a_second_signature_bears_it_and_introduces_its_key() {
        use crate::cose::DocumentKeys;
        use crate::second::SecondKey;
        let first = KeyHandle::ephemeral(SignatureAlgorithm::EcdsaP256Sha256).unwrap();
        let alone = DocumentKeys::new(first.clone());
        for &algorithm in SecondAlgorithm::offered() {
            let second = SecondKey::ephemeral(algorithm).unwrap();
            let both = alone.clone().with_second(second.clone());
            let plain = Policy { maker: Some("Example".into()), ..Policy::built_in() };
            let mut asking = plain.clone();
            asking.document_signing.second = vec![algorithm.name().into()];
            for policy in [&plain, &asking] {
                let document = signed::sign_document(policy, &both).unwrap();
                let verified = VerifiedPolicy::verify(&document, first.spki_der()).unwrap();
                assert_eq!(verified.second_spki_der(), Some(second.spki_der()));
                assert_eq!(verified.into_policy(), *policy);
            }
            let refused = SignedPolicyError::Second(algorithm.name().to_owned());
            assert_eq!(signed::sign_document(&asking, &alone), Err(refused.clone()));
            let payload = signed::encode(&asking).unwrap();
            let bare = cose::sign(&alone, POLICY_CONTENT_TYPE, &payload).unwrap();
            assert_eq!(VerifiedPolicy::verify(&bare, first.spki_der()), Err(refused));
            let document = signed::sign_document(&plain, &alone).unwrap();
            let verified = VerifiedPolicy::verify(&document, first.spki_der()).unwrap();
            assert_eq!(verified.second_spki_der(), None);
        }
    }
}
