//! Certificates being made: templates, to-be-signed bytes that can be linted, and the signature.
//!
//! ```text
//!  Template ──prepare──► Prepared (TBS under a signature that is none) ──sign, by move──► Certificate
//!                           │
//!                           └─ draft() and tbs(): what a linter reads before the real key is asked
//! ```
//!
//! The profile is that of constrained devices (draft-ietf-uta-tls13-iot-profile): end entities carry an
//! authority key identifier and no subject key identifier, a critical keyUsage of digitalSignature alone, the
//! extended key usages of their role, names in subjectAltName only, and no pointers to CRLs or responders.
//! Whoever calls [`sign`] compares [`tbs`] of the result with [`Prepared::tbs`]; the authority does.

mod adapter;
mod facts;
mod name;

use std::net::IpAddr;
use std::sync::Arc;

use countersign_model::time::Validity;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, DnValue,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyUsagePurpose, SanType, SerialNumber,
};

use self::adapter::{SigningAdapter, SubjectKey, Unsigned};
pub use self::facts::{ExtensionFact, Facts, MalformedCertificate, TimeForm};
use crate::certificate::{Certificate, IdentityName};
use crate::random::Random;
use crate::signature::{KeyHandle, SignatureAlgorithm, signature_identifier};

/// A working generator gives a zero octet this often in a row once in 2^256 times.
const FIRST_OCTET_TRIES: usize = 32;

/// A serial number: 128 unpredictable bits, positive when read as an unsigned integer.
///
/// RFC 5280 section 4.1.2.2 allows 20 octets; 16 with the sign octet make at most 17.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Serial([u8; 16]);

impl Serial {
    /// A fresh serial. The first octet is never zero, so that the encoding always has 16 significant octets.
    //= specs/house.md#house-issuance
    //# A certificate serial MUST be positive and carry 128 unpredictable bits.
    pub fn random(random: &mut dyn Random) -> Self {
        let mut bytes = [0; 16];
        for _ in 0..FIRST_OCTET_TRIES {
            random.fill(&mut bytes);
            if bytes[0] != 0 {
                return Self(bytes);
            }
        }
        // The generator is stuck at zero: whoever records the serial finds that it came before.
        bytes[0] = 1;
        Self(bytes)
    }

    /// From what [`Serial::hex`] wrote.
    #[must_use]
    pub fn from_hex(text: &str) -> Option<Self> {
        let bytes: [u8; 16] = hex::decode(text).ok()?.try_into().ok()?;
        (bytes[0] != 0).then_some(Self(bytes)).filter(|serial| serial.hex() == text)
    }

    /// The 16 octets, most significant first.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// Lower-case hexadecimal, 32 digits: the form in databases and ledgers.
    #[must_use]
    pub fn hex(&self) -> String {
        hex::encode(self.0)
    }
}

/// Extended key usages of an end entity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Eku {
    /// id-kp-serverAuth.
    pub server: bool,
    /// id-kp-clientAuth.
    pub client: bool,
}

/// What an end-entity certificate shall say.
#[derive(Debug, Clone)]
pub struct Template {
    /// The subject's one attribute.
    pub common_name: String,
    /// Becomes the subjectAltName URI.
    pub identity: IdentityName,
    /// subjectAltName dNSNames; lower case, no wildcards.
    pub dns: Vec<String>,
    /// subjectAltName iPAddresses.
    pub ips: Vec<IpAddr>,
    /// Extended key usages.
    pub eku: Eku,
    /// Whole seconds; [`Validity::FOREVER`] becomes 99991231235959Z.
    pub validity: Validity,
    /// Serial number.
    pub serial: Serial,
    /// The subject's SubjectPublicKeyInfo, DER; an EC key on P-256 or P-384, uncompressed.
    pub spki_der: Vec<u8>,
}

/// What a CA certificate shall say.
#[derive(Debug, Clone)]
pub struct CaTemplate {
    /// commonName.
    pub common_name: String,
    /// organizationName.
    pub organisation: String,
    /// countryName, two letters (ISO 3166-1 alpha-2).
    pub country: String,
    /// Whole seconds.
    pub validity: Validity,
    /// Serial number.
    pub serial: Serial,
}

/// A CA's certificate, read once for all the certificates below it.
#[derive(Clone)]
pub struct CaCertificate(Arc<ReadCa>);

struct ReadCa {
    certificate: Certificate,
    facts: Facts,
    /// Name and key identifier, as the encoder needs them.
    params: CertificateParams,
}

impl CaCertificate {
    /// Reads it.
    ///
    /// # Errors
    /// [`IssueError::Issuer`] for a certificate that is no CA's.
    pub fn new(certificate: Certificate) -> Result<Self, IssueError> {
        let params = name::issuer_params(&certificate)?;
        let facts = Facts::of(&certificate).map_err(|_| IssueError::Issuer("it does not parse"))?;
        Ok(Self(Arc::new(ReadCa { certificate, facts, params })))
    }

    /// The certificate.
    #[must_use]
    pub fn certificate(&self) -> &Certificate {
        &self.0.certificate
    }

    /// What it says.
    #[must_use]
    pub fn facts(&self) -> &Facts {
        &self.0.facts
    }
}

impl std::fmt::Debug for CaCertificate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.certificate().fmt(f)
    }
}

/// A certificate that lacks only the issuer's signature.
///
/// It is consumed by [`sign`], so that one linting allows one signature.
pub struct Prepared {
    issuer: CaCertificate,
    algorithm: SignatureAlgorithm,
    draft: Certificate,
    tbs: Vec<u8>,
}

impl Prepared {
    /// The certificate with a signature that no key makes: complete to read, worthless to every verifier.
    #[must_use]
    pub fn draft(&self) -> &Certificate {
        &self.draft
    }

    /// The bytes that the issuer will be asked to sign.
    #[must_use]
    pub fn tbs(&self) -> &[u8] {
        &self.tbs
    }

    /// What the issuing CA's certificate says.
    #[must_use]
    pub fn issuer(&self) -> &Facts {
        self.issuer.facts()
    }
}

impl std::fmt::Debug for Prepared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Prepared({} bytes to be signed)", self.tbs.len())
    }
}

/// Builds the to-be-signed bytes of an end-entity certificate under `issuer`, whose key signs with `algorithm`.
///
/// # Errors
/// [`IssueError::Template`] for contents that X.509 cannot carry, [`IssueError::Issuer`] for an issuer that is no CA.
pub fn prepare(
    template: &Template,
    issuer: &Certificate,
    algorithm: SignatureAlgorithm,
) -> Result<Prepared, IssueError> {
    prepare_below(template, &CaCertificate::new(issuer.clone())?, algorithm)
}

/// The same below a CA that was read already.
///
/// # Errors
/// As [`prepare`].
pub fn prepare_below(
    template: &Template,
    issuer: &CaCertificate,
    algorithm: SignatureAlgorithm,
) -> Result<Prepared, IssueError> {
    let mut params = base_params(&template.validity, template.serial)?;
    params.distinguished_name.push(DnType::CommonName, template.common_name.as_str());
    let ia5 = |text: &str| text.try_into().map_err(|_| IssueError::template("name", text));
    params.subject_alt_names.push(SanType::URI(ia5(&template.identity.to_string())?));
    for dns in &template.dns {
        params.subject_alt_names.push(SanType::DnsName(ia5(dns)?));
    }
    params.subject_alt_names.extend(template.ips.iter().copied().map(SanType::IpAddress));
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    for (wanted, usage) in [
        (template.eku.server, ExtendedKeyUsagePurpose::ServerAuth),
        (template.eku.client, ExtendedKeyUsagePurpose::ClientAuth),
    ] {
        if wanted {
            params.extended_key_usages.push(usage);
        }
    }
    params.is_ca = IsCa::NoCa;
    prepare_params(params, &template.spki_der, issuer, algorithm)
}

/// Asks the issuer's key for the signature over what was prepared, and puts the certificate together. The caller compares
/// it with what was linted.
///
/// # Errors
/// [`IssueError::Key`] when `issuer_key` is not the key of the issuer's certificate or cannot sign.
pub fn sign(prepared: Prepared, issuer_key: &KeyHandle) -> Result<Certificate, IssueError> {
    let spki = &prepared.issuer.facts().spki;
    if issuer_key.spki_der() != *spki || issuer_key.algorithm() != prepared.algorithm {
        return Err(IssueError::Key("the key is not that of the issuing CA's certificate"));
    }
    let signature = issuer_key
        .sign(&prepared.tbs)
        .map_err(|_| IssueError::Key("the key's holder refused to sign"))?;
    let der = certificate_der(&prepared.tbs, prepared.algorithm, &signature);
    Certificate::from_der(&der.map_err(|_| IssueError::Malformed)?)
        .map_err(|_| IssueError::Malformed)
}

/// Certificate ::= SEQUENCE { tbsCertificate, signatureAlgorithm, signature BIT STRING } (RFC 5280 section 4.1).
fn certificate_der(
    tbs: &[u8],
    algorithm: SignatureAlgorithm,
    signature: &[u8],
) -> Result<Vec<u8>, der::Error> {
    use der::Encode as _;
    let algorithm = signature_identifier(algorithm).to_der()?;
    let signature = der::asn1::BitStringRef::from_bytes(signature)?.to_der()?;
    let content = [tbs, &algorithm, &signature].concat();
    der::asn1::AnyRef::new(der::Tag::Sequence, &content)?.to_der()
}

/// A root: signed by its own key.
///
/// # Errors
/// As [`prepare`] and [`sign`].
pub fn self_signed_ca(template: &CaTemplate, key: &KeyHandle) -> Result<Certificate, IssueError> {
    let params = ca_params(template, BasicConstraints::Unconstrained, false)?;
    let signed = params.self_signed(&SigningAdapter::new(key.clone())?)?;
    Certificate::from_der(signed.der()).map_err(|_| IssueError::Malformed)
}

/// How many CAs may stand below a cross-certificate: those of the roots after it, and an issuing one.
const CROSS_PATH: u8 = 16;

/// An issuing CA below `issuer`; it may sign end entities and no further CA (pathLenConstraint 0).
///
/// # Errors
/// As [`prepare`].
pub fn prepare_ca(
    template: &CaTemplate,
    spki_der: &[u8],
    issuer: &Certificate,
    algorithm: SignatureAlgorithm,
) -> Result<Prepared, IssueError> {
    let params = ca_params(template, BasicConstraints::Constrained(0), true)?;
    prepare_params(params, spki_der, &CaCertificate::new(issuer.clone())?, algorithm)
}

/// A root's cross-certificate below the root before it: below it may stand the roots after it, crossed too, and the issuing CAs.
///
/// # Errors
/// As [`prepare`].
pub fn prepare_cross(
    template: &CaTemplate,
    spki_der: &[u8],
    issuer: &Certificate,
    algorithm: SignatureAlgorithm,
) -> Result<Prepared, IssueError> {
    let params = ca_params(template, BasicConstraints::Constrained(CROSS_PATH), true)?;
    prepare_params(params, spki_der, &CaCertificate::new(issuer.clone())?, algorithm)
}

/// [`prepare_ca`] and [`sign`] in one.
///
/// # Errors
/// As those.
pub fn ca_signed_by(
    template: &CaTemplate,
    spki_der: &[u8],
    issuer: &Certificate,
    issuer_key: &KeyHandle,
) -> Result<Certificate, IssueError> {
    sign(prepare_ca(template, spki_der, issuer, issuer_key.algorithm())?, issuer_key)
}

/// The to-be-signed bytes of a certificate, exactly as they stand in it.
///
/// # Errors
/// [`IssueError::Malformed`] when `certificate_der` is no DER sequence that begins with another.
pub fn tbs(certificate_der: &[u8]) -> Result<&[u8], IssueError> {
    use der::{Decode as _, Reader as _};
    let mut reader = der::SliceReader::new(certificate_der).map_err(|_| IssueError::Malformed)?;
    der::Header::decode(&mut reader).map_err(|_| IssueError::Malformed)?;
    reader.tlv_bytes().map_err(|_| IssueError::Malformed)
}

fn prepare_params(
    params: CertificateParams,
    spki_der: &[u8],
    issuer: &CaCertificate,
    algorithm: SignatureAlgorithm,
) -> Result<Prepared, IssueError> {
    let subject = SubjectKey::from_spki(spki_der)?;
    let unsigned = Issuer::from_params(&issuer.0.params, Unsigned(algorithm));
    let draft = params.signed_by(&subject, &unsigned)?;
    let draft = Certificate::from_der(draft.der()).map_err(|_| IssueError::Malformed)?;
    let tbs = tbs(draft.der())?.to_vec();
    Ok(Prepared { issuer: issuer.clone(), algorithm, draft, tbs })
}

fn base_params(validity: &Validity, serial: Serial) -> Result<CertificateParams, IssueError> {
    let mut params = CertificateParams::default();
    params.not_before = instant(validity.not_before)?;
    params.not_after = instant(validity.not_after)?;
    params.serial_number = Some(SerialNumber::from_slice(serial.as_bytes()));
    params.distinguished_name = DistinguishedName::new();
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}

fn ca_params(
    template: &CaTemplate,
    constraints: BasicConstraints,
    authority_key_identifier: bool,
) -> Result<CertificateParams, IssueError> {
    let mut params = base_params(&template.validity, template.serial)?;
    let country = template
        .country
        .as_str()
        .try_into()
        .map_err(|_| IssueError::template("country", &template.country))?;
    params.distinguished_name.push(DnType::CountryName, DnValue::PrintableString(country));
    params.distinguished_name.push(DnType::OrganizationName, template.organisation.as_str());
    params.distinguished_name.push(DnType::CommonName, template.common_name.as_str());
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.is_ca = IsCa::Ca(constraints);
    params.use_authority_key_identifier_extension = authority_key_identifier;
    params.key_identifier_method = KeyIdMethod::Sha256;
    Ok(params)
}

fn instant(at: countersign_model::time::Timestamp) -> Result<time::OffsetDateTime, IssueError> {
    i64::try_from(at.as_secs())
        .ok()
        .filter(|_| at <= Validity::FOREVER)
        .and_then(|seconds| time::OffsetDateTime::from_unix_timestamp(seconds).ok())
        .ok_or_else(|| IssueError::template("validity", &at.to_rfc3339()))
}

/// Why a certificate was not made.
#[derive(Debug, thiserror::Error)]
pub enum IssueError {
    /// The caller's: contents that a certificate cannot carry.
    #[error("the certificate's {field} cannot be encoded: {value:?}")]
    Template {
        /// Which part.
        field: &'static str,
        /// What it held.
        value: String,
    },
    /// The caller's: the issuer's certificate is not that of a CA of ours.
    #[error("the issuer's certificate cannot issue: {0}")]
    Issuer(&'static str),
    /// The environment's: the key does not fit or does not sign.
    #[error("the issuing key was not usable: {0}")]
    Key(&'static str),
    /// The subject's key is none that this profile takes.
    #[error("the subject's public key is not an uncompressed EC key on P-256 or P-384")]
    SubjectKey,
    /// What was encoded could not be read back: a fault in this program.
    #[error("the encoded certificate could not be read back")]
    Malformed,
    /// The encoder refused.
    #[error("the certificate could not be encoded: {0}")]
    Encoder(String),
}

impl IssueError {
    fn template(field: &'static str, value: &str) -> Self {
        Self::Template { field, value: value.to_owned() }
    }
}

impl From<rcgen::Error> for IssueError {
    fn from(error: rcgen::Error) -> Self {
        match error {
            rcgen::Error::RemoteKeyError => Self::Key("the key's holder refused to sign"),
            other => Self::Encoder(other.to_string()),
        }
    }
}

/// Whether a public key is encoded in the one way that this crate writes it, so that its hash names it.
pub(crate) fn spki_is_canonical(spki_der: &[u8]) -> bool {
    SubjectKey::from_spki(spki_der).is_ok()
}

/// A key handle that signs for the encoder.
pub(crate) fn signing_adapter(key: &KeyHandle) -> Result<SigningAdapter, IssueError> {
    SigningAdapter::new(key.clone())
}

#[cfg(test)]
pub(crate) mod tests;
