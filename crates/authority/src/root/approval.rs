//! A custodian's approval: COSE_Sign1 by their own key over one request, with their shares for whoever asked.
//!
//! Payload: JSON with the SHA-256 of the request's text, the name, the time, and the wrapped shares, which are empty where the root is in no
//! file.

use countersign_crypto::cose;
use countersign_crypto::custody::{CustodianKey, Vault, WrapKey};
use countersign_model::time::Timestamp;
use serde::{Deserialize, Serialize};

use super::custody::Custodian;
use super::request::RootRequest;
use crate::error::AuthorityError;

/// The content type, so that a signature over an approval is never taken for another.
const TYPE: &str = "application/countersign-root-approval+json";
/// The largest approval, in bytes: the shares of the largest custody are 20 times 33.
pub const MAX_APPROVAL: usize = 8 * 1024;
const FORM: &str = "countersign root approval 1";

/// What a custodian signed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Approval {
    form: String,
    /// SHA-256 of the request's text, hexadecimal.
    pub request_sha256: String,
    /// Who approves.
    pub name: String,
    /// When, by their clock.
    pub at: Timestamp,
    /// Shares, wrapped to the request's reply key, hexadecimal.
    shares: String,
}

impl Approval {
    /// Reads an approval under a custodian's key; `None` when it is not theirs.
    pub(super) fn verify(document: &[u8], by: &Custodian) -> Option<Self> {
        if document.len() > MAX_APPROVAL {
            return None;
        }
        let payload = cose::verify1(document, TYPE, &by.spki_der).ok()?;
        let read: Self = serde_json::from_slice(&payload).ok()?;
        (read.form == FORM && read.name == by.name.as_str()).then_some(read)
    }

    /// The wrapped shares.
    pub(super) fn shares(&self) -> Option<Vec<u8>> {
        hex::decode(&self.shares).ok()
    }
}

/// What shares are wrapped for.
pub(super) fn reply_purpose(request_sha256: &str) -> String {
    format!("root shares for request {request_sha256}")
}

/// Approves a request as the custodian whose key this is. Whoever calls this has shown the request to them.
///
/// # Errors
/// [`AuthorityError::Configuration`] when the request does not name them, or names others' shares as theirs.
pub fn approve(
    request: &RootRequest,
    key: &CustodianKey,
    now: Timestamp,
) -> Result<Vec<u8>, AuthorityError> {
    let refused =
        |detail: String| AuthorityError::Configuration { file: "request".to_owned(), detail };
    let name = key.name();
    let place = request
        .place_of(name)
        .ok_or_else(|| refused(format!("{name:?} is not among the custodians that it names")))?;
    let request_sha256 = hex::encode(request.digest());
    let shares = match request.reply_key() {
        None => Vec::new(),
        Some(to) => {
            let spki = request.root_spki_der();
            Vault::open_parts(spki, request.shares(), place, key.wrap())
                .map_err(|error| refused(format!("the shares for {name:?}: {error}")))?
                .wrap_to(to, &reply_purpose(&request_sha256))
                .map_err(|error| refused(error.to_string()))?
        }
    };
    let approval = Approval {
        form: FORM.to_owned(),
        request_sha256,
        name: name.to_owned(),
        at: now,
        shares: hex::encode(shares),
    };
    let payload = serde_json::to_vec(&approval).expect("text and numbers are JSON");
    cose::sign1(key.signing(), TYPE, &payload).map_err(|error| refused(error.to_string()))
}

/// Opens the shares of an approval with the reply key of its request.
pub(super) fn opened(
    approval: &Approval,
    place: u8,
    reply: &WrapKey,
) -> Option<countersign_crypto::custody::Parts> {
    let wrapped = approval.shares()?;
    let purpose = reply_purpose(&approval.request_sha256);
    countersign_crypto::custody::Parts::unwrap_from(&wrapped, place, reply, &purpose).ok()
}
