//! The second signature of documents: post-quantum, beside the classical one, never in its place.
//!
//! A key of this kind signs documents ([`crate::cose`]) and nothing else. It has a type of its own, so that it
//! cannot come into a certificate or a handshake, where the profiles do not want it yet.

use std::sync::Arc;

use der::asn1::ObjectIdentifier;
use x509_cert::spki::SubjectPublicKeyInfoRef;

use crate::provider::{self, SecondSoftwareKey};
use crate::secret::{Secret, Strength};
use crate::signature::SignatureError;

/// An algorithm for second signatures: ML-DSA (FIPS 204), pure, with an empty context.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SecondAlgorithm {
    /// Security category 2.
    MlDsa44,
    /// Security category 3.
    MlDsa65,
    /// Security category 5.
    MlDsa87,
}

impl SecondAlgorithm {
    /// Every algorithm, whether or not this build's provider offers it.
    pub const ALL: [Self; 3] = [Self::MlDsa44, Self::MlDsa65, Self::MlDsa87];

    /// What an authority makes its second policy key for: security category 3.
    pub const FOR_POLICIES: Self = Self::MlDsa65;

    /// The name in policies, files and the IANA registry "COSE Algorithms".
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::MlDsa44 => "ML-DSA-44",
            Self::MlDsa65 => "ML-DSA-65",
            Self::MlDsa87 => "ML-DSA-87",
        }
    }

    /// The algorithm of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.name() == name)
    }

    /// What the provider of this build offers.
    #[must_use]
    pub fn offered() -> &'static [Self] {
        provider::SECOND
    }

    /// Security strength: the symmetric primitive that the category is measured by (FIPS 204, table 1).
    #[must_use]
    pub const fn strength(self) -> Strength {
        match self {
            Self::MlDsa44 => Strength(128),
            Self::MlDsa65 => Strength(192),
            Self::MlDsa87 => Strength(256),
        }
    }

    /// Bytes of a public key and of a signature (FIPS 204, table 2).
    #[must_use]
    pub const fn sizes(self) -> (usize, usize) {
        match self {
            Self::MlDsa44 => (1312, 2420),
            Self::MlDsa65 => (1952, 3309),
            Self::MlDsa87 => (2592, 4627),
        }
    }

    /// The object identifier of keys and signatures (RFC 9881 section 2).
    #[must_use]
    pub const fn oid(self) -> ObjectIdentifier {
        match self {
            Self::MlDsa44 => ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.3.17"),
            Self::MlDsa65 => ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.3.18"),
            Self::MlDsa87 => ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.3.19"),
        }
    }

    /// The algorithm of a SubjectPublicKeyInfo; `None` for any other key.
    #[must_use]
    pub fn of_spki(spki_der: &[u8]) -> Option<Self> {
        public_key(spki_der).map(|(algorithm, _)| algorithm)
    }
}

impl std::fmt::Display for SecondAlgorithm {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// Algorithm and raw public key of a SubjectPublicKeyInfo (RFC 9881 section 4: no parameters).
fn public_key(spki_der: &[u8]) -> Option<(SecondAlgorithm, Vec<u8>)> {
    let spki = SubjectPublicKeyInfoRef::try_from(spki_der).ok()?;
    let algorithm =
        SecondAlgorithm::ALL.into_iter().find(|known| known.oid() == spki.algorithm.oid)?;
    let key = spki.subject_public_key.as_bytes()?;
    let fits = spki.algorithm.parameters.is_none() && key.len() == algorithm.sizes().0;
    fits.then(|| (algorithm, key.to_vec()))
}

/// A private key for second signatures that can be used and not seen. Copies of the handle use the same key.
#[derive(Clone)]
pub struct SecondKey(Arc<InMemory>);

struct InMemory {
    algorithm: SecondAlgorithm,
    key: SecondSoftwareKey,
}

impl SecondKey {
    /// A key in this process's memory from PKCS#8.
    ///
    /// # Errors
    /// [`SignatureError::Key`] when the bytes are no key of that algorithm.
    pub fn from_pkcs8(algorithm: SecondAlgorithm, pkcs8: &Secret) -> Result<Self, SignatureError> {
        let key = pkcs8
            .expose(|bytes| SecondSoftwareKey::from_pkcs8(algorithm, bytes))
            .map_err(|_| SignatureError::Key)?;
        if SecondAlgorithm::of_spki(key.spki_der()) != Some(algorithm) {
            return Err(SignatureError::Key);
        }
        Ok(Self(Arc::new(InMemory { algorithm, key })))
    }

    /// A fresh key that lives in this process only.
    ///
    /// # Errors
    /// [`SignatureError::NotOffered`] when the provider has no such algorithm, [`SignatureError::Backend`] on a
    /// broken platform.
    pub fn ephemeral(algorithm: SecondAlgorithm) -> Result<Self, SignatureError> {
        Self::from_pkcs8(algorithm, &generate_pkcs8(algorithm)?)
    }

    /// The algorithm of every signature.
    #[must_use]
    pub fn algorithm(&self) -> SecondAlgorithm {
        self.0.algorithm
    }

    /// The public key as SubjectPublicKeyInfo, DER.
    #[must_use]
    pub fn spki_der(&self) -> &[u8] {
        self.0.key.spki_der()
    }

    /// A signature over `message`, of the algorithm's fixed length.
    ///
    /// # Errors
    /// [`SignatureError::Backend`] on a broken platform.
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignatureError> {
        self.0.key.sign(message).map_err(|_| SignatureError::Backend)
    }
}

impl std::fmt::Debug for SecondKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SecondKey({})", self.algorithm())
    }
}

/// A new private key as PKCS#8 (RFC 9881 section 6, the seed), for a keystore to seal.
///
/// # Errors
/// As [`SecondKey::ephemeral`].
pub fn generate_pkcs8(algorithm: SecondAlgorithm) -> Result<Secret, SignatureError> {
    if !SecondAlgorithm::offered().contains(&algorithm) {
        return Err(SignatureError::NotOffered(algorithm.name()));
    }
    SecondSoftwareKey::generate(algorithm).map_err(|_| SignatureError::Backend)
}

/// Verifies a signature over `message` under a SubjectPublicKeyInfo.
///
/// # Errors
/// [`SignatureError::Key`] for no such key, [`SignatureError::NotOffered`] when the provider cannot verify its
/// algorithm, [`SignatureError::Invalid`] for a signature that does not verify.
pub fn verify(spki_der: &[u8], message: &[u8], signature: &[u8]) -> Result<(), SignatureError> {
    let (algorithm, key) = public_key(spki_der).ok_or(SignatureError::Key)?;
    if !SecondAlgorithm::offered().contains(&algorithm) {
        return Err(SignatureError::NotOffered(algorithm.name()));
    }
    if signature.len() != algorithm.sizes().1 {
        return Err(SignatureError::Invalid);
    }
    provider::verify_second(algorithm, &key, message, signature)
        .map_err(|_| SignatureError::Invalid)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::signature::KeyHandle;

    #[test]
    fn signatures_verify_under_their_own_key_only() {
        for &algorithm in SecondAlgorithm::offered() {
            let key = SecondKey::ephemeral(algorithm).unwrap();
            let other = SecondKey::ephemeral(algorithm).unwrap();
            let signature = key.sign(b"message").unwrap();
            assert_eq!(signature.len(), algorithm.sizes().1);
            assert_eq!(verify(key.spki_der(), b"message", &signature), Ok(()));
            for (spki, message) in [(other.spki_der(), "message"), (key.spki_der(), "massage")] {
                let refused = verify(spki, message.as_bytes(), &signature);
                assert_eq!(refused, Err(SignatureError::Invalid));
            }
            let cut = verify(key.spki_der(), b"message", &signature[1..]);
            assert_eq!(cut, Err(SignatureError::Invalid));
        }
    }

    #[test]
    fn a_key_is_known_by_its_identifier_and_its_length() {
        for &algorithm in SecondAlgorithm::offered() {
            let key = SecondKey::ephemeral(algorithm).unwrap();
            assert_eq!(SecondAlgorithm::of_spki(key.spki_der()), Some(algorithm));
            let cut = &key.spki_der()[..key.spki_der().len() - 1];
            assert_eq!(SecondAlgorithm::of_spki(cut), None);
        }
        let classical =
            KeyHandle::ephemeral(crate::signature::SignatureAlgorithm::EcdsaP256Sha256).unwrap();
        assert_eq!(verify(classical.spki_der(), b"", b""), Err(SignatureError::Key));
    }

    #[test]
    fn what_the_provider_does_not_offer_is_said_by_name() {
        for algorithm in SecondAlgorithm::ALL {
            if !SecondAlgorithm::offered().contains(&algorithm) {
                let refused = SecondKey::ephemeral(algorithm).unwrap_err();
                assert_eq!(refused, SignatureError::NotOffered(algorithm.name()));
            }
        }
    }
}
