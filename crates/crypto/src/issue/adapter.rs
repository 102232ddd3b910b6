//! Our key handles as the encoder's keys: the only place where the two meet.

use rcgen::{PublicKeyData, SigningKey};
use x509_cert::spki::SubjectPublicKeyInfoRef;

use super::IssueError;
use crate::signature::{KeyHandle, SignatureAlgorithm};

fn encoder_algorithm(algorithm: SignatureAlgorithm) -> &'static rcgen::SignatureAlgorithm {
    match algorithm {
        SignatureAlgorithm::EcdsaP256Sha256 => &rcgen::PKCS_ECDSA_P256_SHA256,
        SignatureAlgorithm::EcdsaP384Sha384 => &rcgen::PKCS_ECDSA_P384_SHA384,
    }
}

/// A subject's public key.
pub(crate) struct SubjectKey {
    algorithm: SignatureAlgorithm,
    point: Vec<u8>,
}

impl SubjectKey {
    pub(crate) fn from_spki(spki_der: &[u8]) -> Result<Self, IssueError> {
        let algorithm = SignatureAlgorithm::of_spki(spki_der).ok_or(IssueError::SubjectKey)?;
        let spki =
            SubjectPublicKeyInfoRef::try_from(spki_der).map_err(|_| IssueError::SubjectKey)?;
        let point = spki.subject_public_key.as_bytes().ok_or(IssueError::SubjectKey)?.to_vec();
        let key = Self { algorithm, point };
        // One key has one encoding here, so that its hash names it.
        if key.subject_public_key_info() != spki_der {
            return Err(IssueError::SubjectKey);
        }
        Ok(key)
    }
}

impl PublicKeyData for SubjectKey {
    fn der_bytes(&self) -> &[u8] {
        &self.point
    }
    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        encoder_algorithm(self.algorithm)
    }
}

/// A key handle that signs for the encoder.
pub(crate) struct SigningAdapter {
    key: KeyHandle,
    public: SubjectKey,
}

impl SigningAdapter {
    pub(crate) fn new(key: KeyHandle) -> Result<Self, IssueError> {
        let public = SubjectKey::from_spki(key.spki_der())?;
        Ok(Self { key, public })
    }
}

impl PublicKeyData for SigningAdapter {
    fn der_bytes(&self) -> &[u8] {
        self.public.der_bytes()
    }
    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        self.public.algorithm()
    }
}

impl SigningKey for SigningAdapter {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        self.key.sign(message).map_err(|_| rcgen::Error::RemoteKeyError)
    }
}

/// Signs nothing: what a draft stands under until it is linted.
pub(crate) struct Unsigned(pub(crate) SignatureAlgorithm);

impl Unsigned {
    /// An ECDSA-Sig-Value of two zeros, which is no signature under any key (FIPS 186-5 section 6.4.2 step 1).
    const SIGNATURE: [u8; 8] = [0x30, 6, 2, 1, 0, 2, 1, 0];
}

impl PublicKeyData for Unsigned {
    fn der_bytes(&self) -> &[u8] {
        &[]
    }
    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        encoder_algorithm(self.0)
    }
}

impl SigningKey for Unsigned {
    fn sign(&self, _: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        Ok(Self::SIGNATURE.to_vec())
    }
}
