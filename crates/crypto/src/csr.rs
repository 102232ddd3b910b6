//! PKCS#10 requests (RFC 2986): making them, and believing them only after proof of possession.

use der::asn1::ObjectIdentifier;
use der::{Decode as _, Encode as _, Reader as _};
use rcgen::{CertificateParams, DistinguishedName, DnType};
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::request::{CertReq, ExtensionReq};

use crate::digest::sha256;
use crate::issue::{IssueError, spki_is_canonical};
use crate::signature::{self, KeyHandle, SignatureAlgorithm};

/// The longest request that is looked at, in bytes of DER. One with a P-384 key and a few names has under 1 KiB.
pub const MAX_REQUEST: usize = 16 * 1024;

/// The most names that a request may ask for.
const MAX_NAMES: usize = 16;

const ECDSA_SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.2");
const ECDSA_SHA384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.3");
const ID_EC_PUBLIC_KEY: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const SECP256R1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const SECP384R1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");

/// A request for `common_name`, signed by the key that it asks to be certified. DER.
///
/// # Errors
/// When the name cannot be encoded or the key does not sign.
pub fn request(key: &KeyHandle, common_name: &str) -> Result<Vec<u8>, IssueError> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    let signer = crate::issue::signing_adapter(key)?;
    Ok(params.serialize_request(&signer)?.der().to_vec())
}

/// A request whose sender holds the private key. Made by [`verify`] only.
///
/// ```compile_fail
/// # use countersign_crypto::csr::VerifiedCsr;
/// let forged = VerifiedCsr { common_name: None, spki_der: vec![], dns: vec![], uris: vec![], other_names: 0, sha256: [0; 32] };
/// ```
#[derive(Debug, Clone)]
pub struct VerifiedCsr {
    common_name: Option<String>,
    spki_der: Vec<u8>,
    dns: Vec<String>,
    uris: Vec<String>,
    other_names: usize,
    sha256: [u8; 32],
}

impl VerifiedCsr {
    /// The subject's common name; `None` when the subject is empty.
    #[must_use]
    pub fn common_name(&self) -> Option<&str> {
        self.common_name.as_deref()
    }

    /// The public key whose possession was proven, DER, in its one canonical encoding.
    #[must_use]
    pub fn spki_der(&self) -> &[u8] {
        &self.spki_der
    }

    /// The dNSNames asked for.
    #[must_use]
    pub fn dns(&self) -> &[String] {
        &self.dns
    }

    /// The URIs asked for.
    #[must_use]
    pub fn uris(&self) -> &[String] {
        &self.uris
    }

    /// How many names of other kinds were asked for.
    #[must_use]
    pub fn other_names(&self) -> usize {
        self.other_names
    }

    /// SHA-256 of the request as it came.
    #[must_use]
    pub fn sha256(&self) -> [u8; 32] {
        self.sha256
    }
}

/// Reads a DER request and verifies that its sender holds the private key (RFC 2986 section 4.2, note 2).
///
/// # Errors
/// [`CsrError`] says what the requester can mend. Any input is safe.
//= specs/house.md#house-est
//# An enrolment request MUST prove possession of the new key.
pub fn verify(request_der: &[u8]) -> Result<VerifiedCsr, CsrError> {
    if request_der.len() > MAX_REQUEST {
        return Err(CsrError::TooLong(request_der.len()));
    }
    let request = CertReq::from_der(request_der).map_err(|_| CsrError::Malformed)?;
    let spki_der = request.info.public_key.to_der().map_err(|_| CsrError::Malformed)?;
    let algorithm = SignatureAlgorithm::of_spki(&spki_der).ok_or(CsrError::Key)?;
    if !spki_is_canonical(&spki_der) {
        return Err(CsrError::Key);
    }
    let expected = match algorithm {
        SignatureAlgorithm::EcdsaP256Sha256 => ECDSA_SHA256,
        SignatureAlgorithm::EcdsaP384Sha384 => ECDSA_SHA384,
    };
    if request.algorithm.oid != expected || request.algorithm.parameters.is_some() {
        return Err(CsrError::Algorithm(algorithm));
    }
    let signed = first_element(request_der).ok_or(CsrError::Malformed)?;
    let proof = request.signature.as_bytes().ok_or(CsrError::Malformed)?;
    signature::verify(algorithm, &spki_der, signed, proof).map_err(|_| CsrError::Possession)?;
    let Names { dns, uris, others } = names(&request)?;
    let common_name = common_name(&request)?;
    let sha256 = sha256(request_der);
    Ok(VerifiedCsr { common_name, spki_der, dns, uris, other_names: others, sha256 })
}

/// The CSR attributes that EST announces (RFC 7030 section 4.5.2): an EC key on the algorithm's curve, and the hash. DER.
#[must_use]
pub fn attributes(algorithm: SignatureAlgorithm) -> Vec<u8> {
    let (curve, signature) = match algorithm {
        SignatureAlgorithm::EcdsaP256Sha256 => (SECP256R1, ECDSA_SHA256),
        SignatureAlgorithm::EcdsaP384Sha384 => (SECP384R1, ECDSA_SHA384),
    };
    let tlv = |tag: u8, content: Vec<u8>| {
        let length = u8::try_from(content.len()).expect("object identifiers here are short");
        [vec![tag, length], content].concat()
    };
    let oid = |oid: ObjectIdentifier| tlv(0x06, oid.as_bytes().to_vec());
    let key = tlv(0x30, [oid(ID_EC_PUBLIC_KEY), tlv(0x31, oid(curve))].concat());
    tlv(0x30, [key, oid(signature)].concat())
}

/// The algorithm that CSR attributes ask for, by the curve that they name (RFC 7030 section 4.5.2); `None` when they
/// name none of ours, or are not to be read: then the client decides.
#[must_use]
pub fn wanted(attributes_der: &[u8]) -> Option<SignatureAlgorithm> {
    if attributes_der.len() > MAX_REQUEST {
        return None;
    }
    let all = Vec::<der::asn1::Any>::from_der(attributes_der).ok()?;
    all.iter().find_map(|one| {
        // An object identifier alone names a signature; the curve stands as the value of an attribute.
        let attribute: x509_cert::attr::Attribute = one.decode_as().ok()?;
        let curve: ObjectIdentifier = attribute.values.get(0)?.decode_as().ok()?;
        let named = |known: &SignatureAlgorithm| curve == signature::curve(*known);
        let ours = SignatureAlgorithm::ALL.into_iter().find(named);
        ours.filter(|_| attribute.oid == ID_EC_PUBLIC_KEY)
    })
}

fn common_name(request: &CertReq) -> Result<Option<String>, CsrError> {
    let mut found = request.info.subject.iter().filter(|one| one.oid.to_string() == "2.5.4.3");
    let Some(one) = found.next() else { return Ok(None) };
    if found.next().is_some() {
        return Err(CsrError::Subject);
    }
    let text = std::str::from_utf8(one.value.value()).map_err(|_| CsrError::Subject)?;
    Ok(Some(text.to_owned()))
}

#[derive(Default)]
struct Names {
    dns: Vec<String>,
    uris: Vec<String>,
    others: usize,
}

fn names(request: &CertReq) -> Result<Names, CsrError> {
    let mut found = Names::default();
    let asked = request
        .info
        .attributes
        .iter()
        .filter(|one| one.oid == <ExtensionReq as x509_cert::der::oid::AssociatedOid>::OID);
    for value in asked.flat_map(|attribute| attribute.values.iter()) {
        let extensions: ExtensionReq = value.decode_as().map_err(|_| CsrError::Malformed)?;
        for extension in extensions.0 {
            if extension.extn_id != <SubjectAltName as x509_cert::der::oid::AssociatedOid>::OID {
                continue; // the profile decides about all other extensions
            }
            let names = SubjectAltName::from_der(extension.extn_value.as_bytes())
                .map_err(|_| CsrError::Malformed)?;
            for name in names.0 {
                match name {
                    GeneralName::DnsName(name) => found.dns.push(name.to_string()),
                    GeneralName::UniformResourceIdentifier(uri) => found.uris.push(uri.to_string()),
                    _ => found.others += 1,
                }
            }
        }
    }
    if found.dns.len() + found.uris.len() + found.others > MAX_NAMES {
        return Err(CsrError::Malformed);
    }
    Ok(found)
}

/// The bytes of the first element inside the outer sequence, exactly as sent: what was signed.
fn first_element(der_bytes: &[u8]) -> Option<&[u8]> {
    let mut reader = der::SliceReader::new(der_bytes).ok()?;
    der::Header::decode(&mut reader).ok()?;
    reader.tlv_bytes().ok()
}

/// Why a request was not believed; always the requester's to mend.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CsrError {
    /// Over [`MAX_REQUEST`].
    #[error("the request has {0} bytes; at most {MAX_REQUEST} are read")]
    TooLong(usize),
    /// Not DER of a PKCS#10 request.
    #[error("the request is not a DER-encoded PKCS#10 certification request")]
    Malformed,
    /// A key of another kind.
    #[error("the request's key is not an uncompressed EC key on P-256 or P-384")]
    Key,
    /// A signature algorithm that does not go with the key.
    #[error("a request with this key must be signed with {0}")]
    Algorithm(SignatureAlgorithm),
    /// The signature does not verify under the request's own key.
    #[error("the request is not signed by the key that it names")]
    Possession,
    /// The subject is not one readable common name.
    #[error("the request's subject must have at most one common name, in UTF-8 or ASCII")]
    Subject,
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_is_announced_is_what_is_read() {
        for algorithm in SignatureAlgorithm::ALL {
            assert_eq!(wanted(&attributes(algorithm)), Some(algorithm));
        }
        let good = attributes(SignatureAlgorithm::EcdsaP384Sha384);
        for end in 0..good.len() {
            assert_eq!(wanted(&good[..end]), None);
        }
        // A signature alone (RFC 7030 section 4.5.2 allows it), nothing at all, and too much.
        assert_eq!(wanted(&[0x30, 0x00]), None);
        assert_eq!(wanted(&vec![0x30; MAX_REQUEST + 1]), None);
    }

    #[test]
    fn what_was_requested_is_what_is_verified() {
        for algorithm in SignatureAlgorithm::ALL {
            let key = KeyHandle::ephemeral(algorithm).unwrap();
            let csr = verify(&request(&key, "plug-000001").unwrap()).unwrap();
            assert_eq!(csr.common_name(), Some("plug-000001"));
            assert_eq!(csr.spki_der(), key.spki_der());
            assert!(csr.dns().is_empty() && csr.other_names() == 0);
        }
    }

    /// Every single-bit change either breaks the encoding or the proof.
    //= specs/house.md#house-est
    //= type=test
    //# An enrolment request MUST prove possession of the new key.
    #[test]
    fn no_flipped_bit_is_believed() {
        let key = KeyHandle::ephemeral(SignatureAlgorithm::EcdsaP256Sha256).unwrap();
        let good = request(&key, "plug-000001").unwrap();
        for index in 0..good.len() {
            for bit in 0..8 {
                let mut bad = good.clone();
                bad[index] ^= 1 << bit;
                assert!(verify(&bad).is_err(), "octet {index}, bit {bit}");
            }
        }
    }

    #[test]
    fn hostile_bytes_are_refused() {
        let key = KeyHandle::ephemeral(SignatureAlgorithm::EcdsaP256Sha256).unwrap();
        let good = request(&key, "x").unwrap();
        for end in 0..good.len() {
            assert!(verify(&good[..end]).is_err());
        }
        assert_eq!(verify(&[&good[..], &[0]].concat()).unwrap_err(), CsrError::Malformed);
        assert_eq!(
            verify(&vec![0x30; MAX_REQUEST + 1]).unwrap_err(),
            CsrError::TooLong(MAX_REQUEST + 1)
        );
        assert!(verify(&[0x30, 0x84, 0xff, 0xff, 0xff, 0xff]).is_err());
    }

    #[test]
    fn attributes_name_curve_and_hash() {
        let p256 = hex::encode(attributes(SignatureAlgorithm::EcdsaP256Sha256));
        assert_eq!(p256, "3021301506072a8648ce3d0201310a06082a8648ce3d03010706082a8648ce3d040302");
    }
}
