//! Signed documents: COSE_Sign1 (RFC 9052 section 4.2) with the algorithm in the protected header.
//!
//! The content type names what the document is, so that a signature over one kind is never taken for another.

use coset::{
    CborSerializable as _, CoseSign1, CoseSign1Builder, Header, HeaderBuilder, RegisteredLabel,
    TaggedCborSerializable as _, iana,
};

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
    if header.content_type != expected.content_type {
        return Err(CoseError::ContentType(match &header.content_type {
            Some(RegisteredLabel::Text(other)) => other.chars().take(80).collect(),
            _ => "none".to_owned(),
        }));
    }
    if *header != expected || sign1.unprotected != Header::default() {
        return Err(CoseError::Header);
    }
    sign1.verify_signature(&[], |fixed, message| {
        let asn1 = signature::from_fixed(algorithm, fixed)?;
        signature::verify(algorithm, spki_der, message, &asn1)
    })?;
    sign1.payload.ok_or(CoseError::Form)
}

/// Why a signed document was not made or not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CoseError {
    /// Over [`MAX_DOCUMENT`].
    #[error("a signed document of {0} bytes is over the limit of {MAX_DOCUMENT}")]
    TooLarge(usize),
    /// Not COSE_Sign1 with a payload.
    #[error("not a COSE_Sign1 document: it was cut short, or is another file")]
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
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const TYPE: &str = "application/countersign-test";

    #[test]
    fn verifies_for_its_key_and_type_only() {
        for algorithm in SignatureAlgorithm::ALL {
            let key = KeyHandle::ephemeral(algorithm).unwrap();
            let other = KeyHandle::ephemeral(algorithm).unwrap();
            let document = sign1(&key, TYPE, b"payload").unwrap();
            assert_eq!(verify1(&document, TYPE, key.spki_der()).unwrap(), b"payload");
            assert!(verify1(&document, TYPE, other.spki_der()).is_err());
            assert!(matches!(
                verify1(&document, "application/other", key.spki_der()),
                Err(CoseError::ContentType(_))
            ));
        }
    }

    #[test]
    fn every_flipped_bit_and_cut_is_found() {
        let key = KeyHandle::ephemeral(SignatureAlgorithm::EcdsaP256Sha256).unwrap();
        let document = sign1(&key, TYPE, b"payload").unwrap();
        for index in 0..document.len() {
            let mut changed = document.clone();
            changed[index] ^= 1;
            let believed = verify1(&changed, TYPE, key.spki_der());
            assert!(believed.is_err(), "byte {index}");
            assert!(verify1(&document[..index], TYPE, key.spki_der()).is_err());
        }
    }
}
