//! What a certificate says, read into plain fields for linters and reports. Facts only: no judgement here.

use std::net::IpAddr;

use countersign_model::time::Timestamp;
use der::{Decode as _, Encode as _, Reader as _};
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::ext::pkix::{
    AuthorityKeyIdentifier, BasicConstraints, ExtendedKeyUsage, KeyUsage, SubjectAltName,
    SubjectKeyIdentifier,
};
use x509_cert::time::Time;

use super::name::name_der;
use crate::certificate::Certificate;
use crate::signature::SignatureAlgorithm;

/// How an instant is encoded (RFC 5280 section 4.1.2.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimeForm {
    /// UTCTime, for years to 2049.
    Utc,
    /// GeneralizedTime, from 2050.
    Generalized,
}

/// One extension: which, and whether it must be understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExtensionFact {
    /// Dotted object identifier.
    pub oid: String,
    /// The critical flag.
    pub critical: bool,
}

/// What a certificate says. Fields are public: facts carry no proof, [`Facts::of`] is just a reading.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// 1, 2 or 3.
    pub version: u8,
    /// The content octets of the serial's INTEGER, sign octet included.
    pub serial: Vec<u8>,
    /// Dotted object identifier of the algorithm inside the to-be-signed part.
    pub signature_oid: String,
    /// The same outside it.
    pub outer_signature_oid: String,
    /// DER of the issuer's name.
    pub issuer: Vec<u8>,
    /// DER of the subject's name.
    pub subject: Vec<u8>,
    /// The subject's common name, if it has exactly one attribute of that kind.
    pub common_name: Option<String>,
    /// notBefore.
    pub not_before: (Timestamp, TimeForm),
    /// notAfter.
    pub not_after: (Timestamp, TimeForm),
    /// The subject's key, if it is one of ours.
    pub key: Option<SignatureAlgorithm>,
    /// The subject's key, DER.
    pub spki: Vec<u8>,
    /// Every extension in order.
    pub extensions: Vec<ExtensionFact>,
    /// cA and pathLenConstraint, if the extension is there.
    pub basic_constraints: Option<(bool, Option<u8>)>,
    /// Names of the keyUsage bits set; `None` without the extension.
    pub key_usage: Option<Vec<&'static str>>,
    /// Dotted object identifiers of the extended key usages.
    pub extended_key_usage: Option<Vec<String>>,
    /// authorityKeyIdentifier's keyIdentifier.
    pub authority_key_identifier: Option<Vec<u8>>,
    /// subjectKeyIdentifier.
    pub subject_key_identifier: Option<Vec<u8>>,
    /// subjectAltName URIs.
    pub uris: Vec<String>,
    /// subjectAltName dNSNames.
    pub dns: Vec<String>,
    /// subjectAltName iPAddresses.
    pub ips: Vec<IpAddr>,
    /// subjectAltName entries of any other kind.
    pub other_names: usize,
}

/// The certificate cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the certificate's {0} cannot be read")]
pub struct MalformedCertificate(pub &'static str);

impl Facts {
    /// Object identifier of keyUsage.
    pub const KEY_USAGE: &'static str = "2.5.29.15";
    /// Object identifier of basicConstraints.
    pub const BASIC_CONSTRAINTS: &'static str = "2.5.29.19";
    /// Object identifier of subjectAltName.
    pub const SUBJECT_ALT_NAME: &'static str = "2.5.29.17";
    /// Object identifier of cRLDistributionPoints.
    pub const CRL_DISTRIBUTION_POINTS: &'static str = "2.5.29.31";
    /// Object identifier of authorityInfoAccess.
    pub const AUTHORITY_INFO_ACCESS: &'static str = "1.3.6.1.5.5.7.1.1";
    /// id-kp-serverAuth.
    pub const SERVER_AUTH: &'static str = "1.3.6.1.5.5.7.3.1";
    /// id-kp-clientAuth.
    pub const CLIENT_AUTH: &'static str = "1.3.6.1.5.5.7.3.2";
    /// ecdsa-with-SHA256.
    pub const ECDSA_SHA256: &'static str = "1.2.840.10045.4.3.2";
    /// ecdsa-with-SHA384.
    pub const ECDSA_SHA384: &'static str = "1.2.840.10045.4.3.3";

    /// Reads a certificate.
    ///
    /// # Errors
    /// Names the part that does not parse.
    pub fn of(certificate: &Certificate) -> Result<Self, MalformedCertificate> {
        let parsed = certificate.x509();
        let tbs = parsed.tbs_certificate();
        let mut facts = Self {
            version: tbs.version() as u8 + 1,
            serial: serial_octets(certificate.der()).ok_or(MalformedCertificate("serial"))?,
            signature_oid: tbs.signature().oid.to_string(),
            outer_signature_oid: parsed.signature_algorithm().oid.to_string(),
            issuer: name_der(tbs.issuer()),
            subject: name_der(tbs.subject()),
            common_name: common_name(tbs.subject()),
            not_before: instant(tbs.validity().not_before),
            not_after: instant(tbs.validity().not_after),
            key: None,
            spki: tbs
                .subject_public_key_info()
                .to_der()
                .map_err(|_| MalformedCertificate("public key"))?,
            extensions: Vec::new(),
            basic_constraints: None,
            key_usage: None,
            extended_key_usage: None,
            authority_key_identifier: None,
            subject_key_identifier: None,
            uris: Vec::new(),
            dns: Vec::new(),
            ips: Vec::new(),
            other_names: 0,
        };
        facts.key = SignatureAlgorithm::of_spki(&facts.spki);
        for extension in tbs.extensions().into_iter().flatten() {
            facts.extensions.push(ExtensionFact {
                oid: extension.extn_id.to_string(),
                critical: extension.critical,
            });
        }
        facts.read_extensions(tbs)?;
        Ok(facts)
    }

    /// The extension of that object identifier.
    #[must_use]
    pub fn extension(&self, oid: &str) -> Option<&ExtensionFact> {
        self.extensions.iter().find(|extension| extension.oid == oid)
    }

    /// Whether the certificate is that of a CA.
    #[must_use]
    pub fn is_ca(&self) -> bool {
        self.basic_constraints.is_some_and(|(ca, _)| ca)
    }

    fn read_extensions(
        &mut self,
        tbs: &x509_cert::TbsCertificate,
    ) -> Result<(), MalformedCertificate> {
        let bad = |part| move |_| MalformedCertificate(part);
        self.basic_constraints = tbs
            .get_extension::<BasicConstraints>()
            .map_err(bad("basicConstraints"))?
            .map(|(_, constraints)| (constraints.ca, constraints.path_len_constraint));
        self.key_usage = tbs
            .get_extension::<KeyUsage>()
            .map_err(bad("keyUsage"))?
            .map(|(_, usage)| usage_names(usage));
        self.extended_key_usage = tbs
            .get_extension::<ExtendedKeyUsage>()
            .map_err(bad("extKeyUsage"))?
            .map(|(_, usages)| usages.0.iter().map(ToString::to_string).collect());
        self.authority_key_identifier = tbs
            .get_extension::<AuthorityKeyIdentifier>()
            .map_err(bad("authorityKeyIdentifier"))?
            .and_then(|(_, identifier)| identifier.key_identifier)
            .map(|octets| octets.as_bytes().to_vec());
        self.subject_key_identifier = tbs
            .get_extension::<SubjectKeyIdentifier>()
            .map_err(bad("subjectKeyIdentifier"))?
            .map(|(_, identifier)| identifier.0.as_bytes().to_vec());
        let names = tbs.get_extension::<SubjectAltName>().map_err(bad("subjectAltName"))?;
        for name in names.map(|(_, names)| names.0).unwrap_or_default() {
            self.read_name(&name);
        }
        Ok(())
    }

    fn read_name(&mut self, name: &GeneralName) {
        match name {
            GeneralName::UniformResourceIdentifier(uri) => self.uris.push(uri.to_string()),
            GeneralName::DnsName(dns) => self.dns.push(dns.to_string()),
            GeneralName::IpAddress(octets) => {
                let octets = octets.as_bytes();
                let v4 = <[u8; 4]>::try_from(octets).map(IpAddr::from);
                match v4.or_else(|_| <[u8; 16]>::try_from(octets).map(IpAddr::from)) {
                    Ok(ip) => self.ips.push(ip),
                    Err(_) => self.other_names += 1,
                }
            }
            _ => self.other_names += 1,
        }
    }
}

fn common_name(name: &x509_cert::name::Name) -> Option<String> {
    let is_common_name = |oid: &der::asn1::ObjectIdentifier| oid.to_string() == "2.5.4.3";
    let mut found = name.iter().filter(|attribute| is_common_name(&attribute.oid));
    let (Some(one), None) = (found.next(), found.next()) else { return None };
    std::str::from_utf8(one.value.value()).ok().map(str::to_owned)
}

fn instant(time: Time) -> (Timestamp, TimeForm) {
    let form = match time {
        Time::UtcTime(_) => TimeForm::Utc,
        Time::GeneralTime(_) => TimeForm::Generalized,
    };
    (Timestamp::from_secs(time.to_unix_duration().as_secs()), form)
}

fn usage_names(usage: KeyUsage) -> Vec<&'static str> {
    [
        (usage.digital_signature(), "digitalSignature"),
        (usage.non_repudiation(), "nonRepudiation"),
        (usage.key_encipherment(), "keyEncipherment"),
        (usage.data_encipherment(), "dataEncipherment"),
        (usage.key_agreement(), "keyAgreement"),
        (usage.key_cert_sign(), "keyCertSign"),
        (usage.crl_sign(), "cRLSign"),
        (usage.encipher_only(), "encipherOnly"),
        (usage.decipher_only(), "decipherOnly"),
    ]
    .into_iter()
    .filter_map(|(set, name)| set.then_some(name))
    .collect()
}

/// The serial's content octets, sign octet included: the parser strips it, a linter wants it.
fn serial_octets(certificate_der: &[u8]) -> Option<Vec<u8>> {
    let mut reader = der::SliceReader::new(super::tbs(certificate_der).ok()?).ok()?;
    der::Header::decode(&mut reader).ok()?;
    if der::Tag::peek(&reader).ok()? != der::Tag::Integer {
        reader.tlv_bytes().ok()?; // version
    }
    let mut serial = der::SliceReader::new(reader.tlv_bytes().ok()?).ok()?;
    let header = der::Header::decode(&mut serial).ok()?;
    serial.read_slice(header.length()).ok().map(<[u8]>::to_vec)
}
