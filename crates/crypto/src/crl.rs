//! Certificate revocation lists (RFC 5280 section 5), complete and delta, signed by the issuing CA's key handle.

use der::asn1::{BitString, Ia5String, ObjectIdentifier, OctetString, Uint};
use der::{DateTime, Decode as _, Encode as _, EncodePem as _};
use x509_cert::Version;
use x509_cert::crl::{CertificateList, RevokedCert, TbsCertList};
use x509_cert::ext::Extension;
use x509_cert::ext::pkix::AuthorityKeyIdentifier;
use x509_cert::ext::pkix::crl::dp::{DistributionPoint, IssuingDistributionPoint};
use x509_cert::ext::pkix::name::{DistributionPointName, GeneralName};
use x509_cert::serial_number::SerialNumber;
use x509_cert::time::Time;

use countersign_model::time::Timestamp;

use crate::certificate::Certificate;
use crate::signature::{KeyHandle, signature_identifier};

const AUTHORITY_KEY_IDENTIFIER: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.35");
const CRL_NUMBER: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.20");
const REASON_CODE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.21");
const DELTA_CRL_INDICATOR: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.27");
const ISSUING_DISTRIBUTION_POINT: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.28");
const FRESHEST_CRL: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.46");

/// One certificate that counts no more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its serial number, most significant octet first.
    pub serial: Vec<u8>,
    /// Since when.
    pub at: Timestamp,
    /// CRLReason (RFC 5280 section 5.3.1); left out where it says nothing.
    pub reason: Option<u8>,
}

/// What a list shall say.
#[derive(Debug, Clone)]
pub struct Contents {
    /// CRLNumber; greater than every one before it of the same issuer and scope.
    pub number: u64,
    /// For a delta: the complete list that it adds to.
    pub base: Option<u64>,
    /// thisUpdate.
    pub this_update: Timestamp,
    /// nextUpdate.
    pub next_update: Timestamp,
    /// The scope's address, where the list is for one shard of the serial numbers.
    pub distribution_point: Option<String>,
    /// Where the deltas are; in complete lists only.
    pub freshest: Option<String>,
    /// Whether it is about CA certificates; else it is about end entities.
    pub authorities: bool,
    /// The certificates, in any order.
    pub entries: Vec<Entry>,
}

/// A signed list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Crl {
    der: Vec<u8>,
    pem: String,
}

impl Crl {
    /// DER.
    #[must_use]
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// A list that was made here before.
    ///
    /// # Errors
    /// [`CrlError`] for what is no list.
    pub fn from_der(der: &[u8]) -> Result<Self, CrlError> {
        let list = CertificateList::<x509_cert::certificate::Rfc5280>::from_der(der)?;
        Ok(Self { der: der.to_vec(), pem: list.to_pem(der::pem::LineEnding::LF)? })
    }

    /// PEM, `X509 CRL`.
    #[must_use]
    pub fn pem(&self) -> &str {
        &self.pem
    }
}

/// The list cannot be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the revocation list cannot be made: {0}")]
pub struct CrlError(pub(crate) &'static str);

impl From<der::Error> for CrlError {
    fn from(_: der::Error) -> Self {
        Self("a part of it cannot be encoded")
    }
}

/// Signs a list as `issuer`, whose key it must be.
///
/// # Errors
/// [`CrlError`] for a key that is not the issuer's or does not sign, and for contents that cannot be encoded.
pub fn sign(contents: &Contents, issuer: &Certificate, key: &KeyHandle) -> Result<Crl, CrlError> {
    if key.spki_der() != issuer.spki_der() {
        return Err(CrlError("the key is not that of the issuer's certificate"));
    }
    let mut revoked = Vec::with_capacity(contents.entries.len());
    for entry in &contents.entries {
        let reason = match entry.reason {
            // ENUMERATED, one octet.
            Some(code) => Some(vec![extension(REASON_CODE, false, vec![0x0a, 1, code])?]),
            None => None,
        };
        revoked.push(RevokedCert {
            serial_number: SerialNumber::new(&entry.serial)?,
            revocation_date: time(entry.at)?,
            crl_entry_extensions: reason,
        });
    }
    let algorithm = signature_identifier(key.algorithm());
    let tbs = TbsCertList {
        version: Version::V2,
        signature: algorithm.clone(),
        issuer: issuer.x509().tbs_certificate().subject().clone(),
        this_update: time(contents.this_update)?,
        next_update: Some(time(contents.next_update)?),
        // RFC 5280 section 5.1.2.6: absent where there is none.
        revoked_certificates: (!revoked.is_empty()).then_some(revoked),
        crl_extensions: Some(extensions(contents, issuer)?),
    };
    let signature = key.sign(&tbs.to_der()?).map_err(|_| CrlError("the key does not sign"))?;
    let list: CertificateList = CertificateList {
        tbs_cert_list: tbs,
        signature_algorithm: algorithm,
        signature: BitString::from_bytes(&signature)?,
    };
    Ok(Crl { der: list.to_der()?, pem: list.to_pem(der::pem::LineEnding::LF)? })
}

fn extensions(contents: &Contents, issuer: &Certificate) -> Result<Vec<Extension>, CrlError> {
    let identifier = issuer.subject_key_id().ok_or(CrlError("the issuer has no key identifier"))?;
    let identifier = AuthorityKeyIdentifier {
        key_identifier: Some(OctetString::new(identifier)?),
        ..AuthorityKeyIdentifier::default()
    };
    let number = |number: u64| Uint::new(&number.to_be_bytes()).and_then(|number| number.to_der());
    let point = IssuingDistributionPoint {
        distribution_point: contents.distribution_point.as_deref().map(full_name).transpose()?,
        only_contains_user_certs: !contents.authorities,
        only_contains_ca_certs: contents.authorities,
        only_some_reasons: None,
        indirect_crl: false,
        only_contains_attribute_certs: false,
    };
    let mut all = vec![
        extension(AUTHORITY_KEY_IDENTIFIER, false, identifier.to_der()?)?,
        extension(CRL_NUMBER, false, number(contents.number)?)?,
        extension(ISSUING_DISTRIBUTION_POINT, true, point.to_der()?)?,
    ];
    if let Some(base) = contents.base {
        all.push(extension(DELTA_CRL_INDICATOR, true, number(base)?)?);
    } else if let Some(address) = &contents.freshest {
        let name = Some(full_name(address)?);
        let point =
            vec![DistributionPoint { distribution_point: name, reasons: None, crl_issuer: None }];
        all.push(extension(FRESHEST_CRL, false, point.to_der()?)?);
    }
    Ok(all)
}

fn full_name(address: &str) -> Result<DistributionPointName, CrlError> {
    let address = Ia5String::new(address)?;
    Ok(DistributionPointName::FullName(vec![GeneralName::UniformResourceIdentifier(address)]))
}

fn extension(id: ObjectIdentifier, critical: bool, value: Vec<u8>) -> Result<Extension, CrlError> {
    Ok(Extension { extn_id: id, critical, extn_value: OctetString::new(value)? })
}

/// UTCTime to 2049, GeneralizedTime from then on, in whole seconds (RFC 5280 section 5.1.2.4).
fn time(at: Timestamp) -> Result<Time, CrlError> {
    let at = DateTime::from_unix_duration(std::time::Duration::from_secs(at.as_secs()))?;
    Ok(Time::from(at))
}

#[cfg(test)]
mod tests;
