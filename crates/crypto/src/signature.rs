//! Signature algorithms by name, key handles that sign, and verification.
//!
//! A [`KeyHandle`] signs and never yields its key: the key may sit in this process, in a token or in a TPM.

use std::sync::Arc;

use der::Decode as _;
use der::asn1::{Any, BitStringRef, ObjectIdentifier, UintRef};
use x509_cert::spki::{AlgorithmIdentifierOwned, SubjectPublicKeyInfo, SubjectPublicKeyInfoRef};

use crate::provider::{self, SoftwareKey};
use crate::secret::{Secret, Strength};

/// A signature algorithm of the product: curve and hash together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SignatureAlgorithm {
    /// ECDSA on P-256 with SHA-256 (FIPS 186-5).
    EcdsaP256Sha256,
    /// ECDSA on P-384 with SHA-384 (FIPS 186-5).
    EcdsaP384Sha384,
}

impl SignatureAlgorithm {
    /// Every algorithm.
    pub const ALL: [Self; 2] = [Self::EcdsaP256Sha256, Self::EcdsaP384Sha384];

    /// The TLS SignatureScheme name, which is also the name in policies and files.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::EcdsaP256Sha256 => "ecdsa_secp256r1_sha256",
            Self::EcdsaP384Sha384 => "ecdsa_secp384r1_sha384",
        }
    }

    /// The algorithm of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.name() == name)
    }

    /// The key's curve by its name in FIPS 186-5.
    #[must_use]
    pub const fn curve_name(self) -> &'static str {
        match self {
            Self::EcdsaP256Sha256 => "P-256",
            Self::EcdsaP384Sha384 => "P-384",
        }
    }

    /// The key's length, in bits.
    #[must_use]
    pub const fn key_bits(self) -> u32 {
        match self {
            Self::EcdsaP256Sha256 => 256,
            Self::EcdsaP384Sha384 => 384,
        }
    }

    /// The name of its signatures in certificates (RFC 5758 section 3.2).
    #[must_use]
    pub const fn x509_name(self) -> &'static str {
        match self {
            Self::EcdsaP256Sha256 => "ecdsa-with-SHA256",
            Self::EcdsaP384Sha384 => "ecdsa-with-SHA384",
        }
    }

    /// Security strength of the key (NIST SP 800-57 part 1, table 2).
    #[must_use]
    pub const fn strength(self) -> Strength {
        match self {
            Self::EcdsaP256Sha256 => Strength(128),
            Self::EcdsaP384Sha384 => Strength(192),
        }
    }

    /// Bytes of one field element, half of a fixed-length signature (RFC 9053 section 2.1).
    #[must_use]
    pub const fn scalar_len(self) -> usize {
        match self {
            Self::EcdsaP256Sha256 => 32,
            Self::EcdsaP384Sha384 => 48,
        }
    }

    /// The algorithm that a SubjectPublicKeyInfo's curve goes with; `None` for any other key.
    #[must_use]
    pub fn of_spki(spki_der: &[u8]) -> Option<Self> {
        point(spki_der).ok().map(|(algorithm, _)| algorithm)
    }

    /// The algorithm that a certificate's signatureAlgorithm names; `None` for any other.
    #[must_use]
    pub(crate) fn of_signature(oid: ObjectIdentifier) -> Option<Self> {
        match oid {
            ECDSA_WITH_SHA256 => Some(Self::EcdsaP256Sha256),
            ECDSA_WITH_SHA384 => Some(Self::EcdsaP384Sha384),
            _ => None,
        }
    }
}

impl std::fmt::Display for SignatureAlgorithm {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

const ID_EC_PUBLIC_KEY: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const SECP256R1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const ECDSA_WITH_SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.2");
const ECDSA_WITH_SHA384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.3");
const SECP384R1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");

/// How X.509 names signatures of an algorithm (RFC 5758 section 3.2: without parameters).
pub(crate) fn signature_identifier(algorithm: SignatureAlgorithm) -> AlgorithmIdentifierOwned {
    let oid = match algorithm {
        SignatureAlgorithm::EcdsaP256Sha256 => ECDSA_WITH_SHA256,
        SignatureAlgorithm::EcdsaP384Sha384 => ECDSA_WITH_SHA384,
    };
    AlgorithmIdentifierOwned { oid, parameters: None }
}

/// Curve and uncompressed point of a SubjectPublicKeyInfo.
fn point(spki_der: &[u8]) -> Result<(SignatureAlgorithm, Vec<u8>), SignatureError> {
    let spki = SubjectPublicKeyInfoRef::try_from(spki_der).map_err(|_| SignatureError::Key)?;
    if spki.algorithm.oid != ID_EC_PUBLIC_KEY {
        return Err(SignatureError::Key);
    }
    let curve: ObjectIdentifier = spki
        .algorithm
        .parameters
        .and_then(|parameters| parameters.decode_as().ok())
        .ok_or(SignatureError::Key)?;
    let algorithm = match curve {
        SECP256R1 => SignatureAlgorithm::EcdsaP256Sha256,
        SECP384R1 => SignatureAlgorithm::EcdsaP384Sha384,
        _ => return Err(SignatureError::Key),
    };
    let bits: BitStringRef<'_> = spki.subject_public_key;
    let point = bits.as_bytes().ok_or(SignatureError::Key)?;
    // RFC 5480 section 2.2: uncompressed points only; the IoT profile takes no others.
    if point.len() != 1 + 2 * algorithm.scalar_len() || point[0] != 4 {
        return Err(SignatureError::Key);
    }
    Ok((algorithm, point.to_vec()))
}

/// The curve of an algorithm's keys.
pub(crate) const fn curve(algorithm: SignatureAlgorithm) -> ObjectIdentifier {
    match algorithm {
        SignatureAlgorithm::EcdsaP256Sha256 => SECP256R1,
        SignatureAlgorithm::EcdsaP384Sha384 => SECP384R1,
    }
}

/// The SubjectPublicKeyInfo of an uncompressed point (RFC 5480 section 2); `None` where curve and point are no key that
/// is used here.
pub(crate) fn spki(curve: ObjectIdentifier, uncompressed: &[u8]) -> Option<Vec<u8>> {
    use der::Encode as _;
    let algorithm =
        AlgorithmIdentifierOwned { oid: ID_EC_PUBLIC_KEY, parameters: Some(Any::from(curve)) };
    let subject_public_key = der::asn1::BitString::from_bytes(uncompressed).ok()?;
    let spki = SubjectPublicKeyInfo { algorithm, subject_public_key }.to_der().ok()?;
    point(&spki).is_ok().then_some(spki)
}

/// What a holder of private keys does, whatever holds them.
pub trait Signer: Send + Sync {
    /// The algorithm of every signature.
    fn algorithm(&self) -> SignatureAlgorithm;
    /// The public key as SubjectPublicKeyInfo, DER.
    fn spki_der(&self) -> &[u8];
    /// An ASN.1 ECDSA-Sig-Value over `message` (RFC 3279 section 2.2.3).
    ///
    /// # Errors
    /// When the key's holder cannot sign: a token that is gone, a broken platform.
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignatureError>;
}

/// A private key that can be used and not seen. Copies of the handle use the same key.
#[derive(Clone)]
//= specs/house.md#house-secrets
//= type=implication
//# A private key MUST be used through a handle that signs and does not yield it.
pub struct KeyHandle(Arc<dyn Signer>);

impl KeyHandle {
    /// Wraps a signer of any backend.
    #[must_use]
    pub fn new(signer: Arc<dyn Signer>) -> Self {
        Self(signer)
    }

    /// A key in this process's memory from PKCS#8.
    ///
    /// # Errors
    /// [`SignatureError::Key`] when the bytes are no key of that algorithm.
    pub fn from_pkcs8(
        algorithm: SignatureAlgorithm,
        pkcs8: &Secret,
    ) -> Result<Self, SignatureError> {
        let key = pkcs8
            .expose(|bytes| SoftwareKey::from_pkcs8(algorithm, bytes))
            .map_err(|_| SignatureError::Key)?;
        Ok(Self(Arc::new(InMemory { algorithm, key })))
    }

    /// A fresh key that lives in this process only.
    ///
    /// # Errors
    /// [`SignatureError::Backend`] on a broken platform.
    pub fn ephemeral(algorithm: SignatureAlgorithm) -> Result<Self, SignatureError> {
        Self::from_pkcs8(algorithm, &generate_pkcs8(algorithm)?)
    }

    /// The algorithm of every signature.
    #[must_use]
    pub fn algorithm(&self) -> SignatureAlgorithm {
        self.0.algorithm()
    }

    /// The public key as SubjectPublicKeyInfo, DER.
    #[must_use]
    pub fn spki_der(&self) -> &[u8] {
        self.0.spki_der()
    }

    /// An ASN.1 signature over `message`.
    ///
    /// # Errors
    /// When the key's holder cannot sign.
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignatureError> {
        self.0.sign(message)
    }
}

impl std::fmt::Debug for KeyHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "KeyHandle({})", self.algorithm())
    }
}

/// A new private key as PKCS#8, for a keystore to seal or a file to hold.
///
/// # Errors
/// [`SignatureError::Backend`] on a broken platform.
pub fn generate_pkcs8(algorithm: SignatureAlgorithm) -> Result<Secret, SignatureError> {
    SoftwareKey::generate(algorithm).map_err(|_| SignatureError::Backend)
}

struct InMemory {
    algorithm: SignatureAlgorithm,
    key: SoftwareKey,
}

impl Signer for InMemory {
    fn algorithm(&self) -> SignatureAlgorithm {
        self.algorithm
    }
    fn spki_der(&self) -> &[u8] {
        self.key.spki_der()
    }
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignatureError> {
        self.key.sign(message).map_err(|_| SignatureError::Backend)
    }
}

/// Verifies an ASN.1 signature over `message` under a SubjectPublicKeyInfo.
///
/// # Errors
/// [`SignatureError::Key`] for a key of another algorithm, [`SignatureError::Invalid`] for a signature that does not verify.
pub fn verify(
    algorithm: SignatureAlgorithm,
    spki_der: &[u8],
    message: &[u8],
    signature: &[u8],
) -> Result<(), SignatureError> {
    let (of_key, point) = point(spki_der)?;
    if of_key != algorithm {
        return Err(SignatureError::Key);
    }
    provider::verify(algorithm, &point, message, signature).map_err(|_| SignatureError::Invalid)
}

#[derive(der::Sequence)]
struct EcdsaSigValue<'a> {
    r: UintRef<'a>,
    s: UintRef<'a>,
}

/// ASN.1 to the fixed form r ‖ s that COSE uses (RFC 9053 section 2.1).
pub(crate) fn to_fixed(
    algorithm: SignatureAlgorithm,
    asn1: &[u8],
) -> Result<Vec<u8>, SignatureError> {
    let value = EcdsaSigValue::from_der(asn1).map_err(|_| SignatureError::Invalid)?;
    let width = algorithm.scalar_len();
    let mut out = vec![0; 2 * width];
    for (half, number) in [value.r.as_bytes(), value.s.as_bytes()].into_iter().enumerate() {
        let end = (half + 1) * width;
        let start = end.checked_sub(number.len()).filter(|start| *start >= half * width);
        out[start.ok_or(SignatureError::Invalid)?..end].copy_from_slice(number);
    }
    Ok(out)
}

/// The fixed form r ‖ s to ASN.1.
pub(crate) fn from_fixed(
    algorithm: SignatureAlgorithm,
    fixed: &[u8],
) -> Result<Vec<u8>, SignatureError> {
    use der::Encode as _;
    let width = algorithm.scalar_len();
    if fixed.len() != 2 * width {
        return Err(SignatureError::Invalid);
    }
    let (r, s) = fixed.split_at(width);
    let number = |bytes| UintRef::new(bytes).map_err(|_| SignatureError::Invalid);
    EcdsaSigValue { r: number(r)?, s: number(s)? }.to_der().map_err(|_| SignatureError::Invalid)
}

/// Why something was not signed or not verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// Not a key of the expected algorithm.
    #[error("the key is not of the expected algorithm")]
    Key,
    /// The signature does not verify.
    #[error("the signature does not verify")]
    Invalid,
    /// The key's holder failed.
    #[error("the key's holder could not sign: check the token, or the platform's random source")]
    Backend,
    /// The provider of this build has no such algorithm.
    #[error("{0} is not offered by this build's cryptographic provider")]
    NotOffered(&'static str),
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn signatures_verify_under_their_own_key_only() {
        for algorithm in SignatureAlgorithm::ALL {
            let key = KeyHandle::ephemeral(algorithm).unwrap();
            let other = KeyHandle::ephemeral(algorithm).unwrap();
            let signature = key.sign(b"message").unwrap();
            assert_eq!(verify(algorithm, key.spki_der(), b"message", &signature), Ok(()));
            for (spki, message) in [(other.spki_der(), "message"), (key.spki_der(), "massage")] {
                let refused = verify(algorithm, spki, message.as_bytes(), &signature);
                assert_eq!(refused, Err(SignatureError::Invalid));
            }
        }
    }

    #[test]
    fn fixed_form_goes_there_and_back() {
        for algorithm in SignatureAlgorithm::ALL {
            let key = KeyHandle::ephemeral(algorithm).unwrap();
            for round in 0..64_u8 {
                let signature = key.sign(&[round]).unwrap();
                let fixed = to_fixed(algorithm, &signature).unwrap();
                assert_eq!(fixed.len(), 2 * algorithm.scalar_len());
                assert_eq!(from_fixed(algorithm, &fixed).unwrap(), signature);
            }
        }
    }

    #[test]
    fn a_key_of_another_curve_is_no_key() {
        let p384 = KeyHandle::ephemeral(SignatureAlgorithm::EcdsaP384Sha384).unwrap();
        let refused = verify(SignatureAlgorithm::EcdsaP256Sha256, p384.spki_der(), b"", b"");
        assert_eq!(refused, Err(SignatureError::Key));
        assert_eq!(SignatureAlgorithm::of_spki(b"garbage"), None);
    }
}
