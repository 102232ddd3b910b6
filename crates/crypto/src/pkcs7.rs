//! Certs-only PKCS#7 (RFC 5652 SignedData without signers): how EST hands certificates over.
//!
//! The certificates are a SET: DER orders them by their bytes, so a reader must not expect the leaf first.

use cms::cert::CertificateChoices;
use cms::content_info::{CmsVersion, ContentInfo};
use cms::revocation::RevocationInfoChoices;
use cms::signed_data::{CertificateSet, EncapsulatedContentInfo, SignedData, SignerInfos};
use der::asn1::{ObjectIdentifier, SetOfVec};
use der::{Any, Decode as _, Encode as _};

use crate::certificate::Certificate;

/// The longest message that is parsed, in bytes: sixteen certificates of 16 KiB.
pub const MAX_MESSAGE: usize = 256 * 1024;

/// The most certificates in one message.
pub const MAX_CERTIFICATES: usize = 16;

const ID_DATA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.7.1");
const ID_SIGNED_DATA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.7.2");

/// A certs-only message, DER.
///
/// # Errors
/// [`Pkcs7Error::Count`] for none or too many certificates.
pub fn certs_only(certificates: &[Certificate]) -> Result<Vec<u8>, Pkcs7Error> {
    if certificates.is_empty() || certificates.len() > MAX_CERTIFICATES {
        return Err(Pkcs7Error::Count(certificates.len()));
    }
    let mut set = SetOfVec::new();
    for certificate in certificates {
        let parsed = x509_cert::Certificate::from_der(certificate.der())
            .map_err(|_| Pkcs7Error::Malformed)?;
        set.insert(CertificateChoices::Certificate(parsed)).map_err(|_| Pkcs7Error::Twice)?;
    }
    let signed_data = SignedData {
        version: CmsVersion::V1,
        digest_algorithms: SetOfVec::default(),
        encap_content_info: EncapsulatedContentInfo { econtent_type: ID_DATA, econtent: None },
        certificates: Some(CertificateSet(set)),
        // Present and empty, as other implementations write it.
        crls: Some(RevocationInfoChoices(SetOfVec::default())),
        signer_infos: SignerInfos(SetOfVec::default()),
    };
    let content = Any::encode_from(&signed_data).map_err(|_| Pkcs7Error::Malformed)?;
    ContentInfo { content_type: ID_SIGNED_DATA, content }
        .to_der()
        .map_err(|_| Pkcs7Error::Malformed)
}

/// The certificates of a certs-only message, in the message's order. Nothing about them is verified.
///
/// # Errors
/// [`Pkcs7Error`]; any input is safe.
pub fn parse_certs_only(message: &[u8]) -> Result<Vec<Certificate>, Pkcs7Error> {
    if message.len() > MAX_MESSAGE {
        return Err(Pkcs7Error::TooLong(message.len()));
    }
    let outer = ContentInfo::from_der(message).map_err(|_| Pkcs7Error::Malformed)?;
    if outer.content_type != ID_SIGNED_DATA {
        return Err(Pkcs7Error::Malformed);
    }
    let signed_data: SignedData = outer.content.decode_as().map_err(|_| Pkcs7Error::Malformed)?;
    let certificates = signed_data.certificates.ok_or(Pkcs7Error::Count(0))?.0;
    if certificates.is_empty() || certificates.len() > MAX_CERTIFICATES {
        return Err(Pkcs7Error::Count(certificates.len()));
    }
    certificates
        .iter()
        .map(|choice| match choice {
            CertificateChoices::Certificate(certificate) => certificate
                .to_der()
                .ok()
                .and_then(|der| Certificate::from_der(&der).ok())
                .ok_or(Pkcs7Error::Malformed),
            CertificateChoices::Other(_) => Err(Pkcs7Error::Malformed),
        })
        .collect()
}

/// Why a message was not made or not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Pkcs7Error {
    /// Over [`MAX_MESSAGE`].
    #[error("the PKCS#7 message has {0} bytes; at most {MAX_MESSAGE} are read")]
    TooLong(usize),
    /// No certificate, or over [`MAX_CERTIFICATES`].
    #[error("the PKCS#7 message has {0} certificates; 1 to {MAX_CERTIFICATES} are expected")]
    Count(usize),
    /// Not DER of a certs-only SignedData.
    #[error("this is not a DER-encoded certs-only PKCS#7 message")]
    Malformed,
    /// One certificate given twice.
    #[error("a certificate stands twice in the message")]
    Twice,
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::issue::tests::world;

    #[test]
    fn certificates_come_back() {
        let world = world();
        let given = vec![world.root.clone(), world.issuing.clone()];
        let mut back = parse_certs_only(&certs_only(&given).unwrap()).unwrap();
        back.sort_by_key(|one| one.der() != given[0].der());
        assert_eq!(back[0].der(), given[0].der());
        assert_eq!(back[1].der(), given[1].der());
    }

    #[test]
    fn hostile_messages_are_refused() {
        let good = certs_only(&[world().root]).unwrap();
        for end in 0..good.len() {
            assert!(parse_certs_only(&good[..end]).is_err());
        }
        assert_eq!(
            parse_certs_only(&vec![0; MAX_MESSAGE + 1]),
            Err(Pkcs7Error::TooLong(MAX_MESSAGE + 1))
        );
        assert_eq!(certs_only(&[]), Err(Pkcs7Error::Count(0)));
    }
}
