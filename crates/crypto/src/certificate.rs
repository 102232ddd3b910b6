//! X.509 certificates as facts, and the names that the product puts into them.
//!
//! Identity is a URI in subjectAltName, `urn:countersign:<kind>:<name>`: the name is signed by the issuer, free
//! of directory syntax, and cannot be mistaken for a host's. See `docs/decisions/` for why kind and issuer must agree.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use countersign_model::time::{Timestamp, Validity};
use der::asn1::{ObjectIdentifier, OctetString};
use der::{Decode as _, Encode as _};
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::ext::pkix::{
    AuthorityKeyIdentifier, BasicConstraints, ExtendedKeyUsage, KeyUsage, SubjectAltName,
    SubjectKeyIdentifier,
};

use crate::digest::sha256;
use crate::signature::{self, SignatureAlgorithm, SignatureError};

/// Largest certificate that is parsed, in bytes: classical ones have under 1 KiB, ML-DSA-65 ones about 6 KiB.
pub const MAX_CERTIFICATE: usize = 16 * 1024;
/// Most certificates in one chain file.
pub const MAX_CHAIN: usize = 8;

/// What a certificate is for. Each kind has one issuing CA, or a home's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum IdentityKind {
    /// Factory identity of a device (IEEE 802.1AR).
    IdevId,
    /// Operational identity of a device, its LDevID.
    Thing,
    /// A service that connects to the gateway.
    Service,
    /// Somebody who operates the authority.
    Operator,
    /// A server of the maker: gateway, EST, administration.
    Server,
    /// A person of a home.
    Person,
}

impl IdentityKind {
    /// Every kind.
    pub const ALL: [Self; 6] =
        [Self::IdevId, Self::Thing, Self::Service, Self::Operator, Self::Server, Self::Person];

    /// The word in the URI.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::IdevId => "idevid",
            Self::Thing => "thing",
            Self::Service => "service",
            Self::Operator => "operator",
            Self::Server => "server",
            Self::Person => "person",
        }
    }
}

impl fmt::Display for IdentityKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The name in a certificate: `urn:countersign:<kind>:<name>`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IdentityName {
    kind: IdentityKind,
    name: String,
}

/// A string that is no identity name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no identity name: urn:countersign:<kind>:<name> with a kind of idevid, thing, service, operator, server, person and a name of A-Z a-z 0-9 . _ -"
)]
pub struct InvalidName(String);

impl IdentityName {
    const PREFIX: &'static str = "urn:countersign:";

    /// A name of that kind.
    ///
    /// # Errors
    /// [`InvalidName`] outside the alphabet of [`countersign_model::id`].
    pub fn new(kind: IdentityKind, name: &str) -> Result<Self, InvalidName> {
        countersign_model::id::ThingId::from_str(name)
            .map_err(|_| InvalidName(format!("{}{kind}:{name}", Self::PREFIX)))?;
        Ok(Self { kind, name: name.to_owned() })
    }

    /// The kind.
    #[must_use]
    pub fn kind(&self) -> IdentityKind {
        self.kind
    }

    /// The name within its kind.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl fmt::Display for IdentityName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}:{}", Self::PREFIX, self.kind, self.name)
    }
}

impl FromStr for IdentityName {
    type Err = InvalidName;
    fn from_str(uri: &str) -> Result<Self, InvalidName> {
        let invalid = || InvalidName(uri.chars().take(128).collect());
        let (kind, name) = uri
            .strip_prefix(Self::PREFIX)
            .and_then(|rest| rest.split_once(':'))
            .ok_or_else(invalid)?;
        let kind =
            IdentityKind::ALL.into_iter().find(|k| k.as_str() == kind).ok_or_else(invalid)?;
        Self::new(kind, name)
    }
}

/// One parsed certificate: its exact DER and the facts in it. Parsing verifies nothing.
#[derive(Clone)]
pub struct Certificate {
    der: Vec<u8>,
    parsed: x509_cert::Certificate,
}

impl PartialEq for Certificate {
    fn eq(&self, other: &Self) -> bool {
        self.der == other.der
    }
}

impl Eq for Certificate {}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Certificate({}, serial {})",
            self.subject_cn().unwrap_or_default(),
            self.serial_hex()
        )
    }
}

impl Certificate {
    /// Parses one certificate, exactly.
    ///
    /// # Errors
    /// [`CertificateError`] for anything that is not one DER certificate of at most [`MAX_CERTIFICATE`] bytes.
    pub fn from_der(der: &[u8]) -> Result<Self, CertificateError> {
        if der.len() > MAX_CERTIFICATE {
            return Err(CertificateError::TooLarge(der.len()));
        }
        let parsed = x509_cert::Certificate::from_der(der)
            .map_err(|error| CertificateError::Der(error.to_string()))?;
        Ok(Self { der: der.to_vec(), parsed })
    }

    /// The exact bytes.
    #[must_use]
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// The to-be-signed part's exact bytes.
    ///
    /// # Errors
    /// [`CertificateError::Der`] when the outer structure cannot be re-read.
    pub fn tbs_der(&self) -> Result<Vec<u8>, CertificateError> {
        let tbs = crate::issue::tbs(&self.der).map_err(|e| CertificateError::Der(e.to_string()))?;
        Ok(tbs.to_vec())
    }

    /// PEM text, RFC 7468.
    #[must_use]
    pub fn to_pem(&self) -> String {
        der::pem::encode_string("CERTIFICATE", der::pem::LineEnding::LF, &self.der)
            .expect("a certificate of bounded size encodes")
    }

    /// The parsed form, for lints.
    #[must_use]
    pub fn x509(&self) -> &x509_cert::Certificate {
        &self.parsed
    }

    /// The subject's common name, if it has one.
    #[must_use]
    pub fn subject_cn(&self) -> Option<String> {
        name_part(self.parsed.tbs_certificate().subject(), COMMON_NAME)
    }

    /// The subject's organisation, if it has one.
    #[must_use]
    pub fn subject_organisation(&self) -> Option<String> {
        name_part(self.parsed.tbs_certificate().subject(), ORGANISATION)
    }

    /// The issuer's common name, if it has one.
    #[must_use]
    pub fn issuer_cn(&self) -> Option<String> {
        name_part(self.parsed.tbs_certificate().issuer(), COMMON_NAME)
    }

    /// The serial number's bytes, big-endian, as encoded.
    #[must_use]
    pub fn serial(&self) -> &[u8] {
        self.parsed.tbs_certificate().serial_number().as_bytes()
    }

    /// The serial number in lower-case hexadecimal, without a leading zero byte.
    #[must_use]
    pub fn serial_hex(&self) -> String {
        let bytes = self.serial();
        hex::encode(bytes.strip_prefix(&[0]).filter(|rest| !rest.is_empty()).unwrap_or(bytes))
    }

    /// From when to when it is valid.
    #[must_use]
    pub fn validity(&self) -> Validity {
        let validity = self.parsed.tbs_certificate().validity();
        let at =
            |time: x509_cert::time::Time| Timestamp::from_secs(time.to_unix_duration().as_secs());
        Validity { not_before: at(validity.not_before), not_after: at(validity.not_after) }
    }

    /// The public key, SubjectPublicKeyInfo DER.
    #[must_use]
    pub fn spki_der(&self) -> Vec<u8> {
        self.parsed
            .tbs_certificate()
            .subject_public_key_info()
            .to_der()
            .expect("what was parsed from DER encodes again")
    }

    /// SHA-256 of the public key, in hexadecimal.
    #[must_use]
    pub fn spki_sha256(&self) -> String {
        hex::encode(sha256(&self.spki_der()))
    }

    /// SHA-256 of the whole certificate.
    #[must_use]
    pub fn fingerprint(&self) -> [u8; 32] {
        sha256(&self.der)
    }

    /// The identity name in subjectAltName; `None` when there is none, or more than one.
    #[must_use]
    pub fn name(&self) -> Option<IdentityName> {
        let mut uris = self.alternative_names().into_iter().filter_map(|name| match name {
            GeneralName::UniformResourceIdentifier(uri) => Some(uri.as_str().to_owned()),
            _ => None,
        });
        let only = uris.next()?;
        if uris.next().is_some() {
            return None;
        }
        only.parse().ok()
    }

    /// The dNSName entries of subjectAltName.
    #[must_use]
    pub fn dns_names(&self) -> Vec<String> {
        self.alternative_names()
            .into_iter()
            .filter_map(|name| match name {
                GeneralName::DnsName(dns) => Some(dns.as_str().to_owned()),
                _ => None,
            })
            .collect()
    }

    /// The iPAddress entries of subjectAltName.
    #[must_use]
    pub fn ip_addresses(&self) -> Vec<IpAddr> {
        self.alternative_names()
            .into_iter()
            .filter_map(|name| match name {
                GeneralName::IpAddress(bytes) => match bytes.as_bytes().len() {
                    4 => <[u8; 4]>::try_from(bytes.as_bytes()).ok().map(IpAddr::from),
                    16 => <[u8; 16]>::try_from(bytes.as_bytes()).ok().map(IpAddr::from),
                    _ => None,
                },
                _ => None,
            })
            .collect()
    }

    fn alternative_names(&self) -> Vec<GeneralName> {
        self.extension::<SubjectAltName>().map(|(_, names)| names.0).unwrap_or_default()
    }

    /// Whether basicConstraints says that this is a CA.
    #[must_use]
    pub fn is_ca(&self) -> bool {
        self.extension::<BasicConstraints>().is_some_and(|(_, constraints)| constraints.ca)
    }

    /// Key usage with its criticality.
    #[must_use]
    pub fn key_usage(&self) -> Option<(bool, KeyUsage)> {
        self.extension()
    }

    /// Basic constraints with their criticality.
    #[must_use]
    pub fn basic_constraints(&self) -> Option<(bool, BasicConstraints)> {
        self.extension()
    }

    /// The extended key usages' object identifiers.
    #[must_use]
    pub fn extended_key_usage(&self) -> Vec<ObjectIdentifier> {
        self.extension::<ExtendedKeyUsage>().map(|(_, usages)| usages.0).unwrap_or_default()
    }

    /// Subject key identifier.
    #[must_use]
    pub fn subject_key_id(&self) -> Option<Vec<u8>> {
        self.extension::<SubjectKeyIdentifier>().map(|(_, id)| octets(&id.0))
    }

    /// Authority key identifier.
    #[must_use]
    pub fn authority_key_id(&self) -> Option<Vec<u8>> {
        self.extension::<AuthorityKeyIdentifier>()
            .and_then(|(_, id)| id.key_identifier.map(|id| octets(&id)))
    }

    /// Whether an extension of that object identifier is there.
    #[must_use]
    pub fn has_extension(&self, oid: ObjectIdentifier) -> bool {
        self.parsed
            .tbs_certificate()
            .extensions()
            .is_some_and(|all| all.iter().any(|extension| extension.extn_id == oid))
    }

    fn extension<T>(&self) -> Option<(bool, T)>
    where
        T: for<'a> der::Decode<'a, Error = der::Error> + der::oid::AssociatedOid,
    {
        self.parsed.tbs_certificate().get_extension::<T>().ok().flatten()
    }

    /// The algorithm of the public key; `None` when the product does not use such keys.
    #[must_use]
    pub fn key_algorithm(&self) -> Option<SignatureAlgorithm> {
        SignatureAlgorithm::of_spki(&self.spki_der())
    }

    /// The algorithm of its issuer's signature; `None` when the product does not use such signatures.
    ///
    /// The object identifier names a hash only (RFC 5758 section 3.2); the curve is the one that the product pairs with it.
    #[must_use]
    pub fn signature_algorithm(&self) -> Option<SignatureAlgorithm> {
        SignatureAlgorithm::of_signature(self.parsed.signature_algorithm().oid)
    }

    /// Checks this certificate's signature under `issuer`'s key. Not a path validation: that is TLS' work.
    ///
    /// # Errors
    /// [`SignatureError`] when it does not verify.
    pub fn verify_signed_by(&self, issuer: &Self) -> Result<(), SignatureError> {
        let algorithm = issuer.key_algorithm().ok_or(SignatureError::Key)?;
        let tbs = self.tbs_der().map_err(|_| SignatureError::Invalid)?;
        let signature = self.parsed.signature().as_bytes().ok_or(SignatureError::Invalid)?;
        signature::verify(algorithm, &issuer.spki_der(), &tbs, signature)
    }
}

fn octets(value: &OctetString) -> Vec<u8> {
    value.as_bytes().to_vec()
}

const COMMON_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.3");
const ORGANISATION: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.10");

fn name_part(name: &x509_cert::name::Name, part: ObjectIdentifier) -> Option<String> {
    use der::asn1::{PrintableStringRef, Utf8StringRef};
    name.iter_rdn().flat_map(|rdn| rdn.iter()).find(|attribute| attribute.oid == part).and_then(
        |attribute| {
            let value = &attribute.value;
            value
                .decode_as::<Utf8StringRef<'_>>()
                .map(|text| text.as_str().to_owned())
                .or_else(|_| {
                    value.decode_as::<PrintableStringRef<'_>>().map(|text| text.as_str().to_owned())
                })
                .ok()
        },
    )
}

/// A leaf and what leads from it towards, but without, the root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateChain(Vec<Certificate>);

impl CertificateChain {
    /// Leaf first.
    ///
    /// # Errors
    /// [`CertificateError::ChainLength`] unless there are 1 to [`MAX_CHAIN`].
    pub fn new(certificates: Vec<Certificate>) -> Result<Self, CertificateError> {
        if certificates.is_empty() || certificates.len() > MAX_CHAIN {
            return Err(CertificateError::ChainLength(certificates.len()));
        }
        Ok(Self(certificates))
    }

    /// Reads PEM, leaf first.
    ///
    /// # Errors
    /// [`CertificateError`].
    pub fn from_pem(pem: &[u8]) -> Result<Self, CertificateError> {
        Self::new(certificates_from_pem(pem)?)
    }

    /// Writes PEM, leaf first.
    #[must_use]
    pub fn to_pem(&self) -> String {
        self.0.iter().map(Certificate::to_pem).collect()
    }

    /// The end entity.
    #[must_use]
    pub fn leaf(&self) -> &Certificate {
        &self.0[0]
    }

    /// Leaf first.
    #[must_use]
    pub fn certificates(&self) -> &[Certificate] {
        &self.0
    }
}

/// Every certificate of a PEM file, in its order; other PEM blocks are refused.
///
/// # Errors
/// [`CertificateError::Pem`] for text that is no PEM or holds something else.
pub fn certificates_from_pem(pem: &[u8]) -> Result<Vec<Certificate>, CertificateError> {
    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject as _;
    let mut found = Vec::new();
    for item in CertificateDer::pem_slice_iter(pem) {
        let der = item.map_err(|error| CertificateError::Pem(error.to_string()))?;
        if found.len() == MAX_CHAIN {
            return Err(CertificateError::ChainLength(MAX_CHAIN + 1));
        }
        found.push(Certificate::from_der(&der)?);
    }
    if found.is_empty() {
        return Err(CertificateError::Pem("no CERTIFICATE block in it".to_owned()));
    }
    Ok(found)
}

/// Why bytes are no certificate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// Over [`MAX_CERTIFICATE`].
    #[error("a certificate of {0} bytes is over the limit of {MAX_CERTIFICATE}")]
    TooLarge(usize),
    /// Not DER of a certificate.
    #[error("not a DER certificate: {0}")]
    Der(String),
    /// Not PEM of certificates.
    #[error("not PEM certificates: {0}")]
    Pem(String),
    /// None, or too many.
    #[error("a chain has 1 to {MAX_CHAIN} certificates, not {0}")]
    ChainLength(usize),
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn names_read_back_and_nothing_else_does() {
        for kind in IdentityKind::ALL {
            let name = IdentityName::new(kind, "plug-000001").unwrap();
            assert_eq!(name.to_string().parse::<IdentityName>().unwrap(), name);
        }
        for bad in
            ["", "urn:countersign:thing:", "urn:countersign:root:x", "urn:countersign:thing:a/b"]
        {
            assert!(bad.parse::<IdentityName>().is_err(), "{bad}");
        }
    }

    #[test]
    fn garbage_is_an_error() {
        assert!(Certificate::from_der(b"\x30\x82\xff\xff").is_err());
        assert!(matches!(
            Certificate::from_der(&vec![0; MAX_CERTIFICATE + 1]),
            Err(CertificateError::TooLarge(_))
        ));
        assert!(certificates_from_pem(b"hello").is_err());
    }
}
