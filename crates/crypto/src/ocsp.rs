//! The Online Certificate Status Protocol (RFC 6960), the responder's half: requests read, answers signed.
//!
//! The messages are declared after the standard's ASN.1 module and read by the `der` crate's derived decoders. The responder is
//! the issuing CA itself, by its key handle.

mod asn1;

use der::asn1::{BitString, GeneralizedTime, Null, OctetString};
use der::{Any, DateTime, Decode as _, Encode as _};
use x509_cert::ext::Extension;

use countersign_model::time::Timestamp;

use self::asn1::{
    BasicResponse, CertId, CertStatus, OCSP_BASIC, OCSP_NONCE, ResponderId, Response,
    ResponseBytes, ResponseData, RevokedInfo, SHA1, SHA256, SingleResponse,
};
use crate::certificate::Certificate;
use crate::crl::CrlError;
use crate::provider;
use crate::signature::{KeyHandle, signature_identifier};

/// The longest request that is looked at, in bytes of DER: one with all the certificates that are answered has under 3 KiB.
pub const MAX_REQUEST: usize = 8 * 1024;

/// The most certificates of one request. The lightweight profile (RFC 5019) asks about one.
pub const MAX_CERTIFICATES: usize = 16;

/// The longest nonce, in octets (RFC 9654 section 2.1 asks for 32 and lets servers take more).
const MAX_NONCE: usize = 128;

/// What somebody asks.
#[derive(Debug, Clone)]
pub struct Request {
    asked: Vec<Asked>,
    nonce: Option<Vec<u8>>,
}

/// One certificate that is asked about.
#[derive(Debug, Clone)]
pub struct Asked {
    id: CertId,
}

impl Asked {
    /// Its serial number without sign octets, lower-case hexadecimal.
    #[must_use]
    pub fn serial_hex(&self) -> String {
        let octets = self.id.serial_number.as_bytes();
        let zeros = octets.iter().take_while(|octet| **octet == 0).count();
        hex::encode(&octets[zeros..])
    }

    /// Whether it is asked about as one of `issuer`'s: name and key agree. The hashes name the issuer and prove nothing.
    #[must_use]
    pub fn is_of(&self, issuer: &Certificate) -> bool {
        let hash = |bytes: &[u8]| match self.id.hash_algorithm.oid {
            SHA1 => provider::sha1_name(bytes).map(|hash| hash.to_vec()),
            SHA256 => Some(provider::sha256(bytes).to_vec()),
            _ => None,
        };
        let tbs = issuer.x509().tbs_certificate();
        let name = tbs.subject().to_der().ok().and_then(|name| hash(&name));
        let key = tbs.subject_public_key_info().subject_public_key.as_bytes().and_then(hash);
        name.as_deref() == Some(self.id.issuer_name_hash.as_bytes())
            && key.as_deref() == Some(self.id.issuer_key_hash.as_bytes())
    }
}

impl Request {
    /// Reads a request. Its signature, if it has one, is not looked at: everybody may ask.
    ///
    /// # Errors
    /// [`Malformed`]; any input is safe.
    pub fn from_der(der: &[u8]) -> Result<Self, Malformed> {
        if der.len() > MAX_REQUEST {
            return Err(Malformed);
        }
        let request = asn1::Request::from_der(der).map_err(|_| Malformed)?.tbs_request;
        let count = request.request_list.len();
        if count == 0 || count > MAX_CERTIFICATES || request.version != 0 {
            return Err(Malformed);
        }
        let mut nonce = None;
        for extension in request.request_extensions.into_iter().flatten() {
            if extension.extn_id == OCSP_NONCE {
                let inner = OctetString::from_der(extension.extn_value.as_bytes());
                let octets = inner.map_err(|_| Malformed)?.into_bytes().to_vec();
                if octets.is_empty() || octets.len() > MAX_NONCE {
                    return Err(Malformed);
                }
                nonce = Some(octets);
            } else if extension.critical {
                return Err(Malformed);
            }
        }
        let asked = request.request_list.into_iter().map(|one| Asked { id: one.req_cert });
        Ok(Self { asked: asked.collect(), nonce })
    }

    /// What is asked about, 1 to [`MAX_CERTIFICATES`].
    #[must_use]
    pub fn asked(&self) -> &[Asked] {
        &self.asked
    }

    /// Whether the answer is for this request alone.
    #[must_use]
    pub fn has_nonce(&self) -> bool {
        self.nonce.is_some()
    }
}

/// It is no request that is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this is no OCSP request that is answered here")]
pub struct Malformed;

/// What is known of a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// It was issued here and counts.
    Good,
    /// It counts no more.
    Revoked {
        /// Since when.
        at: Timestamp,
        /// CRLReason (RFC 5280 section 5.3.1).
        reason: Option<u8>,
    },
    /// It was not issued here.
    Unknown,
}

/// Answers that bear no signature (RFC 6960 section 4.2.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// The request cannot be read.
    MalformedRequest = 1,
    /// The responder has a fault.
    InternalError = 2,
    /// The responder is too busy.
    TryLater = 3,
    /// This responder does not speak for that issuer (RFC 5019 section 2.2.3).
    Unauthorized = 6,
}

/// An answer that bears no signature.
#[must_use]
pub fn failure(failure: Failure) -> Vec<u8> {
    // SEQUENCE of one ENUMERATED.
    vec![0x30, 3, 0x0a, 1, failure as u8]
}

/// Signs the answer to `request` as `issuer`, whose key it must be: one status for each certificate, in order.
///
/// # Errors
/// [`CrlError`] for a key that is not the issuer's or does not sign, or statuses that do not fit the request.
pub fn answer(
    request: &Request,
    statuses: &[Status],
    issuer: &Certificate,
    key: &KeyHandle,
    now: Timestamp,
    until: Timestamp,
) -> Result<Vec<u8>, CrlError> {
    if key.spki_der() != issuer.spki_der() || statuses.len() != request.asked.len() {
        return Err(CrlError("the key is not the issuer's, or an answer is missing"));
    }
    let mut responses = Vec::with_capacity(statuses.len());
    for (asked, status) in request.asked.iter().zip(statuses) {
        responses.push(SingleResponse {
            cert_id: asked.id.clone(),
            cert_status: match *status {
                Status::Good => CertStatus::Good(Null),
                Status::Unknown => CertStatus::Unknown(Null),
                Status::Revoked { at, reason } => CertStatus::Revoked(RevokedInfo {
                    revocation_time: time(at)?,
                    revocation_reason: reason.map(asn1::reason).transpose()?,
                }),
            },
            this_update: time(now)?,
            next_update: Some(time(until)?),
            single_extensions: None,
        });
    }
    let nonce = match &request.nonce {
        Some(nonce) => Some(vec![Extension {
            extn_id: OCSP_NONCE,
            critical: false,
            extn_value: OctetString::new(OctetString::new(nonce.clone())?.to_der()?)?,
        }]),
        None => None,
    };
    let data = ResponseData {
        version: 0,
        responder_id: ResponderId::ByName(issuer.x509().tbs_certificate().subject().clone()),
        produced_at: time(now)?,
        responses,
        response_extensions: nonce,
    };
    let signature = key.sign(&data.to_der()?).map_err(|_| CrlError("the key does not sign"))?;
    let basic = BasicResponse {
        tbs_response_data: data,
        signature_algorithm: signature_identifier(key.algorithm()),
        signature: BitString::from_bytes(&signature)?,
        certs: None::<Vec<Any>>,
    };
    let response = OctetString::new(basic.to_der()?)?;
    let bytes = ResponseBytes { response_type: OCSP_BASIC, response };
    Ok(Response { response_status: asn1::SUCCESSFUL, response_bytes: Some(bytes) }.to_der()?)
}

fn time(at: Timestamp) -> Result<GeneralizedTime, CrlError> {
    let at = DateTime::from_unix_duration(std::time::Duration::from_secs(at.as_secs()))?;
    Ok(GeneralizedTime::from_date_time(at))
}

#[cfg(test)]
mod tests;
