//! Signed documents: COSE_Sign1 (RFC 9052 section 4.2) with the algorithm in the protected header, or COSE_Sign
//! (section 4.1) with a second, post-quantum signature beside the classical one.
//!
//! The content type names what the document is, so that a signature over one kind is never taken for another.

mod document;

use coset::{
    CborSerializable as _, CoseSign, CoseSign1, CoseSign1Builder, Header, HeaderBuilder,
    RegisteredLabel, TaggedCborSerializable as _, iana,
};

pub use document::{DocumentKeys, DocumentVerifier, VerifiedDocument, sign, verify};

use crate::signature::{self, KeyHandle, SignatureAlgorithm, SignatureError};

/// Largest signed document, in bytes.
pub const MAX_DOCUMENT: usize = 256 * 1024;

fn algorithm_id(algorithm: SignatureAlgorithm) -> iana::Algorithm {
    match algorithm {
        SignatureAlgorithm::EcdsaP256Sha256 => iana::Algorithm::ES256,
        SignatureAlgorithm::EcdsaP384Sha384 => iana::Algorithm::ES384,
    }
}

/// Signs `payload` as a document of type `content_type`, such as `application/countersign-policy+cbor`.
///
/// # Errors
/// [`CoseError::Signature`] when the key's holder cannot sign.
pub fn sign1(key: &KeyHandle, content_type: &str, payload: &[u8]) -> Result<Vec<u8>, CoseError> {
    let algorithm = key.algorithm();
    let protected = HeaderBuilder::new()
        .algorithm(algorithm_id(algorithm))
        .content_type(content_type.to_owned())
        .build();
    CoseSign1Builder::new()
        .protected(protected)
        .payload(payload.to_vec())
        .try_create_signature(&[], |message| signature::to_fixed(algorithm, &key.sign(message)?))?
        .build()
        .to_tagged_vec()
        .map_err(|_| CoseError::Form)
}

/// Verifies a document of type `content_type` under `spki_der` and returns its payload.
///
/// # Errors
/// [`CoseError`]: too large, not COSE_Sign1, another type, another algorithm, a signature that does not verify.
pub fn verify1(document: &[u8], content_type: &str, spki_der: &[u8]) -> Result<Vec<u8>, CoseError> {
    if document.len() > MAX_DOCUMENT {
        return Err(CoseError::TooLarge(document.len()));
    }
    let sign1 = CoseSign1::from_tagged_slice(document)
        .or_else(|_| CoseSign1::from_slice(document))
        .map_err(|_| CoseError::Form)?;
    let algorithm = SignatureAlgorithm::of_spki(spki_der).ok_or(SignatureError::Key)?;
    let header = &sign1.protected.header;
    let expected = HeaderBuilder::new()
        .algorithm(algorithm_id(algorithm))
        .content_type(content_type.to_owned())
        .build();
    check_content_type(header, &expected)?;
    if *header != expected || sign1.unprotected != Header::default() {
        return Err(CoseError::Header);
    }
    sign1.verify_signature(&[], |fixed, message| {
        verify_fixed(algorithm, spki_der, message, fixed)
    })?;
    sign1.payload.ok_or(CoseError::Form)
}

/// The payload of a document that nobody verified: to learn which key it wants, never to believe it.
///
/// # Errors
/// [`CoseError::TooLarge`], [`CoseError::Form`].
pub fn unverified_payload(document: &[u8]) -> Result<Vec<u8>, CoseError> {
    if document.len() > MAX_DOCUMENT {
        return Err(CoseError::TooLarge(document.len()));
    }
    let payload = match CoseSign1::from_tagged_slice(document) {
        Ok(signed) => signed.payload,
        Err(_) => CoseSign::from_tagged_slice(document).map_err(|_| CoseError::Form)?.payload,
    };
    payload.ok_or(CoseError::Form)
}

fn verify_fixed(
    algorithm: SignatureAlgorithm,
    spki_der: &[u8],
    message: &[u8],
    fixed: &[u8],
) -> Result<(), SignatureError> {
    let asn1 = signature::from_fixed(algorithm, fixed)?;
    signature::verify(algorithm, spki_der, message, &asn1)
}

fn check_content_type(header: &Header, expected: &Header) -> Result<(), CoseError> {
    if header.content_type == expected.content_type {
        return Ok(());
    }
    Err(CoseError::ContentType(match &header.content_type {
        Some(RegisteredLabel::Text(other)) => other.chars().take(80).collect(),
        _ => "none".to_owned(),
    }))
}

/// Why a signed document was not made or not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CoseError {
    /// Over [`MAX_DOCUMENT`].
    #[error("a signed document of {0} bytes is over the limit of {MAX_DOCUMENT}")]
    TooLarge(usize),
    /// Not COSE_Sign1 or COSE_Sign with a payload, in its one encoding.
    #[error("not a COSE_Sign1 or COSE_Sign document: it was cut short, or is another file")]
    Form,
    /// Another kind of document.
    #[error("the document is of type {0}, not the one that is wanted here")]
    ContentType(String),
    /// Algorithm or header fields that were not asked for.
    #[error("the document's header names another algorithm, or fields that are not understood")]
    Header,
    /// The signature.
    #[error("the document's signature: {0}")]
    Signature(#[from] SignatureError),
    /// One signature where two are needed.
    #[error(
        "the document bears one signature where two are needed: it must be signed with the post-quantum key as well"
    )]
    SecondMissing,
    /// The second signature, when the first is good.
    #[error("the document's second signature: {0}")]
    Second(SignatureError),
    /// The second signature is by another key than the one that is trusted.
    #[error("the document's second signature is by another key than the one that is trusted here")]
    SecondKey,
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod vectors;
