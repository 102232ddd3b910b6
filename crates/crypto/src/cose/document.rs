//! A document under one signature or under two, and who believes it.
//!
//! ```text
//! COSE_Sign1 [ {alg, content type}, payload, classical ]
//! COSE_Sign  [ {content type, second key}, payload, [ {alg} classical ], [ {alg} second ] ]
//! ```
//!
//! Both signatures cover the header that holds the second public key. Whoever trusts the classical key alone
//! thereby learns the second key while the classical one is still sound, and may need both from then on.

use coset::cbor::value::Value;
use coset::{
    CoseSign, CoseSignBuilder, CoseSignature, CoseSignatureBuilder, Header, HeaderBuilder, Label,
    TaggedCborSerializable as _, iana,
};

use super::{
    CoseError, MAX_DOCUMENT, algorithm_id, check_content_type, sign1, verify_fixed, verify1,
};
use crate::second::{self, SecondAlgorithm, SecondKey};
use crate::signature::{self, KeyHandle, SignatureAlgorithm, SignatureError};

/// Header parameter of the second public key, a SubjectPublicKeyInfo in DER. RFC 9052 section 11.1 leaves
/// integers below -65536 to private use.
const SECOND_KEY: i64 = -70_001;

/// What signs documents: a classical key, and a post-quantum one when both are wanted.
#[derive(Debug, Clone)]
pub struct DocumentKeys {
    classical: KeyHandle,
    second: Option<SecondKey>,
}

impl DocumentKeys {
    /// Documents under one signature.
    #[must_use]
    pub fn new(classical: KeyHandle) -> Self {
        Self { classical, second: None }
    }

    /// Documents under two.
    #[must_use]
    pub fn with_second(self, second: SecondKey) -> Self {
        Self { second: Some(second), ..self }
    }

    /// The classical key.
    #[must_use]
    pub fn classical(&self) -> &KeyHandle {
        &self.classical
    }

    /// The post-quantum key.
    #[must_use]
    pub fn second(&self) -> Option<&SecondKey> {
        self.second.as_ref()
    }

    /// Who believes exactly what these keys sign.
    #[must_use]
    pub fn verifier(&self) -> DocumentVerifier {
        let verifier = DocumentVerifier::new(self.classical.spki_der().to_vec());
        match &self.second {
            Some(second) => verifier.needing_second(second.spki_der().to_vec()),
            None => verifier,
        }
    }
}

/// Under which public keys a document is believed, and whether it needs two signatures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DocumentVerifier {
    classical: Vec<u8>,
    second: Option<Vec<u8>>,
}

impl DocumentVerifier {
    /// Believes what the classical key signed (SubjectPublicKeyInfo, DER). A second signature is checked when
    /// there is one, and not needed.
    #[must_use]
    pub fn new(classical_spki_der: Vec<u8>) -> Self {
        Self { classical: classical_spki_der, second: None }
    }

    /// Needs a second signature, and under this key (SubjectPublicKeyInfo, DER).
    #[must_use]
    pub fn needing_second(self, second_spki_der: Vec<u8>) -> Self {
        Self { second: Some(second_spki_der), ..self }
    }

    /// The same needs, under other keys: the classical one, and the second one where that is needed and another is given.
    #[must_use]
    pub(crate) fn of_keys(&self, classical_spki_der: Vec<u8>, second: Option<Vec<u8>>) -> Self {
        let needed = self.second.clone();
        let second = needed.map(|needed| second.unwrap_or(needed));
        Self { classical: classical_spki_der, second }
    }

    /// The classical key, SubjectPublicKeyInfo DER.
    pub(crate) fn classical_spki_der(&self) -> &[u8] {
        &self.classical
    }

    /// Whether two signatures are needed.
    #[must_use]
    pub fn needs_second(&self) -> bool {
        self.second.is_some()
    }
}

/// A document whose signatures verified: all that were needed, and all that could be checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedDocument {
    payload: Vec<u8>,
    second: Option<Vec<u8>>,
}

impl VerifiedDocument {
    /// What was signed.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        &self.payload
    }

    /// What was signed, without a copy.
    #[must_use]
    pub fn into_payload(self) -> Vec<u8> {
        self.payload
    }

    /// The second key whose signature verified, SubjectPublicKeyInfo DER. The next document may be asked for
    /// a signature under it.
    #[must_use]
    pub fn second_spki_der(&self) -> Option<&[u8]> {
        self.second.as_deref()
    }
}

/// The IANA "COSE Algorithms" values of ML-DSA (RFC 9964 section 3.1).
fn second_id(algorithm: SecondAlgorithm) -> iana::Algorithm {
    match algorithm {
        SecondAlgorithm::MlDsa44 => iana::Algorithm::ML_DSA_44,
        SecondAlgorithm::MlDsa65 => iana::Algorithm::ML_DSA_65,
        SecondAlgorithm::MlDsa87 => iana::Algorithm::ML_DSA_87,
    }
}

fn body_header(content_type: &str, second_spki_der: &[u8]) -> Header {
    HeaderBuilder::new()
        .content_type(content_type.to_owned())
        .value(SECOND_KEY, Value::Bytes(second_spki_der.to_vec()))
        .build()
}

fn unsigned(algorithm: iana::Algorithm) -> CoseSignature {
    CoseSignatureBuilder::new().protected(HeaderBuilder::new().algorithm(algorithm).build()).build()
}

/// Signs `payload` as a document of type `content_type`, such as `application/countersign-policy+cbor`.
///
/// # Errors
/// [`CoseError::Signature`] or [`CoseError::Second`] when a key's holder cannot sign, [`CoseError::TooLarge`].
pub fn sign(keys: &DocumentKeys, content_type: &str, payload: &[u8]) -> Result<Vec<u8>, CoseError> {
    let document = match &keys.second {
        None => sign1(&keys.classical, content_type, payload)?,
        Some(second) => sign_both(&keys.classical, second, content_type, payload)?,
    };
    if document.len() > MAX_DOCUMENT {
        return Err(CoseError::TooLarge(document.len()));
    }
    Ok(document)
}

fn sign_both(
    classical: &KeyHandle,
    second: &SecondKey,
    content_type: &str,
    payload: &[u8],
) -> Result<Vec<u8>, CoseError> {
    let algorithm = classical.algorithm();
    CoseSignBuilder::new()
        .protected(body_header(content_type, second.spki_der()))
        .payload(payload.to_vec())
        .try_add_created_signature(unsigned(algorithm_id(algorithm)), &[], |message| {
            signature::to_fixed(algorithm, &classical.sign(message)?)
        })?
        .try_add_created_signature(unsigned(second_id(second.algorithm())), &[], |message| {
            second.sign(message).map_err(CoseError::Second)
        })?
        .build()
        .to_tagged_vec()
        .map_err(|_| CoseError::Form)
}

/// Verifies a document of type `content_type`.
///
/// # Errors
/// [`CoseError`]: too large, not in its form, another type, another algorithm, a signature that is missing or
/// does not verify, a second key that is not the trusted one.
//= specs/house.md#house-policy
//# A document that needs two signatures MUST be refused when either is missing or does not verify.
pub fn verify(
    verifier: &DocumentVerifier,
    content_type: &str,
    document: &[u8],
) -> Result<VerifiedDocument, CoseError> {
    if document.len() > MAX_DOCUMENT {
        return Err(CoseError::TooLarge(document.len()));
    }
    let Ok(signed) = CoseSign::from_tagged_slice(document) else {
        let payload = verify1(document, content_type, &verifier.classical)?;
        if verifier.needs_second() {
            return Err(CoseError::SecondMissing);
        }
        return Ok(VerifiedDocument { payload, second: None });
    };
    verify_both(verifier, content_type, signed, document)
}

fn verify_both(
    verifier: &DocumentVerifier,
    content_type: &str,
    signed: CoseSign,
    document: &[u8],
) -> Result<VerifiedDocument, CoseError> {
    // 1. The one form: two signatures, nothing unprotected, nothing that is not understood.
    let carried = second_key(&signed.protected.header).ok_or(CoseError::Header)?;
    let expected = body_header(content_type, &carried);
    check_content_type(&signed.protected.header, &expected)?;
    if signed.protected.header != expected || signed.unprotected != Header::default() {
        return Err(CoseError::Header);
    }
    if signed.clone().to_tagged_vec().map_err(|_| CoseError::Form)? != document {
        return Err(CoseError::Form);
    }
    let second_present = match signed.signatures.len() {
        1 => false,
        2 => true,
        _ => return Err(CoseError::Form),
    };
    // 2. The classical signature, which vouches for the second key.
    let classical = SignatureAlgorithm::of_spki(&verifier.classical).ok_or(SignatureError::Key)?;
    check_alg(&signed.signatures[0], algorithm_id(classical))?;
    signed.verify_signature(0, &[], |fixed, message| {
        verify_fixed(classical, &verifier.classical, message, fixed)
    })?;
    // 3. The second signature: never optional in this form, whatever the verifier needs.
    if !second_present {
        return Err(CoseError::SecondMissing);
    }
    if verifier.second.as_ref().is_some_and(|trusted| *trusted != carried) {
        return Err(CoseError::SecondKey);
    }
    let algorithm =
        SecondAlgorithm::of_spki(&carried).ok_or(CoseError::Second(SignatureError::Key))?;
    check_alg(&signed.signatures[1], second_id(algorithm))?;
    let checked = signed.verify_signature(1, &[], |signature, message| {
        second::verify(&carried, message, signature)
    });
    let second = match checked {
        Ok(()) => Some(carried),
        // A provider without the algorithm believes the classical signature, where that is enough.
        Err(SignatureError::NotOffered(_)) if !verifier.needs_second() => None,
        Err(error) => return Err(CoseError::Second(error)),
    };
    Ok(VerifiedDocument { payload: signed.payload.ok_or(CoseError::Form)?, second })
}

fn second_key(header: &Header) -> Option<Vec<u8>> {
    header.rest.iter().find_map(|(label, value)| match (label, value) {
        (Label::Int(SECOND_KEY), Value::Bytes(bytes)) => Some(bytes.clone()),
        _ => None,
    })
}

fn check_alg(signature: &CoseSignature, algorithm: iana::Algorithm) -> Result<(), CoseError> {
    let expected = HeaderBuilder::new().algorithm(algorithm).build();
    let fits = signature.protected.header == expected && signature.unprotected == Header::default();
    if fits { Ok(()) } else { Err(CoseError::Header) }
}
