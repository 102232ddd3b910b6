//! A request for the root's use: a text that people read, with the authority's signature beneath it (C2SP signed-note).
//!
//! The text is TOML. What is to be signed stands in it field by field; the certificate is made from these fields.

mod shown;

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use countersign_crypto::anchors::Anchor;
use countersign_crypto::certificate::Certificate;
use countersign_crypto::custody::{WrapPublic, WrappedPart};
use countersign_crypto::digest::sha256;
use countersign_crypto::issue::{CaTemplate, Serial};
use countersign_model::time::{Timestamp, Validity};
use serde::{Deserialize, Serialize};

use super::custody::Custody;
use crate::ceremony::CeremonyPlan;
use crate::ledger::note::{MAX_NOTE, Note, NoteError, VerifierKey};

/// The form's name, first in the text.
const FORM: &str = "countersign root request 1";
/// How long custodians have: a week with its travels.
pub const REQUEST_LIFE: Duration = Duration::from_secs(7 * 86_400);
/// The most signatures of one request: a ceremony asks for four.
const MAX_ACTS: usize = 16;

/// What kind of signature is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ActKind {
    /// The root signs its own certificate.
    RootCertificate,
    /// The root signs an issuing CA's certificate.
    IssuingCa,
    /// The root names its successor, to everybody who trusts it.
    NextRoot,
    /// The root says that none before it is an anchor any more.
    Withdrawal,
}

/// One signature by the root, word by word.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Act {
    /// What kind.
    pub what: ActKind,
    /// The label of the key that is certified, such as `ldevid-ca-2`.
    pub label: String,
    /// commonName of the certificate.
    pub common_name: String,
    /// organizationName.
    pub organisation: String,
    /// countryName.
    pub country: String,
    /// Serial number, hexadecimal.
    pub serial: String,
    /// First instant, RFC 3339.
    pub not_before: String,
    /// Last instant, RFC 3339.
    pub not_after: String,
    /// Algorithm of the certified key.
    pub key_algorithm: String,
    /// SHA-256 of the certified key's SubjectPublicKeyInfo, hexadecimal.
    pub key_sha256: String,
    /// For a next root and a withdrawal: SHA-256 of the root's certificate, hexadecimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate_sha256: Option<String>,
    /// For a next root and a withdrawal: its place in the chain of anchors.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub position: Option<u64>,
}

impl Act {
    /// A certificate that is to be made.
    pub(crate) fn certificate(
        what: ActKind,
        label: &str,
        template: &CaTemplate,
        key_algorithm: &str,
        spki_der: &[u8],
    ) -> Self {
        Self {
            what,
            label: label.to_owned(),
            common_name: template.common_name.clone(),
            organisation: template.organisation.clone(),
            country: template.country.clone(),
            serial: template.serial.hex(),
            not_before: template.validity.not_before.to_rfc3339(),
            not_after: template.validity.not_after.to_rfc3339(),
            key_algorithm: key_algorithm.to_owned(),
            key_sha256: hex::encode(sha256(spki_der)),
            certificate_sha256: None,
            position: None,
        }
    }

    /// A successor of the root that is to be named.
    pub(crate) fn next_root(
        label: &str,
        plan: &CeremonyPlan,
        next: &Certificate,
        position: u64,
    ) -> Self {
        Self::about_root(ActKind::NextRoot, label, plan, next, position)
    }

    /// That no root before this one, which is to sign it, is an anchor any more.
    pub(crate) fn withdrawal(label: &str, plan: &CeremonyPlan, first: &Anchor) -> Self {
        Self::about_root(ActKind::Withdrawal, label, plan, &first.root, first.position)
    }

    fn about_root(
        what: ActKind,
        label: &str,
        plan: &CeremonyPlan,
        next: &Certificate,
        position: u64,
    ) -> Self {
        let validity = next.validity();
        Self {
            what,
            label: label.to_owned(),
            common_name: next.subject_cn().unwrap_or_default(),
            organisation: plan.organisation().to_owned(),
            country: plan.country().to_owned(),
            serial: next.serial_hex(),
            not_before: validity.not_before.to_rfc3339(),
            not_after: validity.not_after.to_rfc3339(),
            key_algorithm: next.key_algorithm().map_or("unknown", |one| one.name()).to_owned(),
            key_sha256: next.spki_sha256(),
            certificate_sha256: Some(hex::encode(next.fingerprint())),
            position: Some(position),
        }
    }

    /// The certificate that these words make.
    pub(crate) fn template(&self) -> Result<CaTemplate, RequestError> {
        let at = |field: &'static str, text: &str| {
            Timestamp::from_rfc3339(text).ok_or(RequestError::Field(field))
        };
        Ok(CaTemplate {
            common_name: self.common_name.clone(),
            organisation: self.organisation.clone(),
            country: self.country.clone(),
            serial: Serial::from_hex(&self.serial).ok_or(RequestError::Field("serial"))?,
            validity: Validity {
                not_before: at("not_before", &self.not_before)?,
                not_after: at("not_after", &self.not_after)?,
            },
        })
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawShare {
    to: String,
    holder: u8,
    group: u8,
    sealed: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    form: String,
    purpose: String,
    id: String,
    root_key_sha256: String,
    custodians: Vec<String>,
    custodians_needed: usize,
    custody_sha256: String,
    made_at: String,
    expires_at: String,
    /// SubjectPublicKeyInfo of the root, base64: shares are bound to it.
    root_key: String,
    /// To whom opened shares are wrapped, base64; empty where the root is in no file.
    reply_key: String,
    sign: Vec<Act>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    share: Vec<RawShare>,
}

/// What a request is made of.
pub(crate) struct Ask<'a> {
    pub(crate) purpose: String,
    pub(crate) id: String,
    pub(crate) root_spki_der: &'a [u8],
    pub(crate) custody: &'a Custody,
    pub(crate) reply_key: Option<&'a WrapPublic>,
    pub(crate) shares: &'a [WrappedPart],
    pub(crate) acts: Vec<Act>,
    pub(crate) now: Timestamp,
}

/// A request, whole. Nobody's word until [`RootRequest::signed_by`] says so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RootRequest {
    raw: Raw,
    note: Note,
    made_at: Timestamp,
    expires_at: Timestamp,
    root_spki_der: Vec<u8>,
    reply_key: Option<WrapPublic>,
    shares: Vec<WrappedPart>,
}

impl RootRequest {
    pub(crate) fn make(
        ask: Ask<'_>,
        sign: impl FnOnce(String) -> Result<Note, NoteError>,
    ) -> Result<Self, RequestError> {
        let names: Vec<_> =
            ask.custody.custodians().iter().map(|one| one.name.to_string()).collect();
        let share = |part: &WrappedPart| RawShare {
            to: names.get(usize::from(part.holder)).cloned().unwrap_or_default(),
            holder: part.holder,
            group: part.group,
            sealed: STANDARD.encode(&part.wrapped),
        };
        let whole = Timestamp::from_secs(ask.now.as_secs());
        let raw = Raw {
            form: FORM.to_owned(),
            purpose: ask.purpose,
            id: ask.id,
            root_key_sha256: hex::encode(sha256(ask.root_spki_der)),
            custodians_needed: ask.custody.needed(),
            custody_sha256: ask.custody.digest(),
            made_at: whole.to_rfc3339(),
            expires_at: whole.plus(REQUEST_LIFE).to_rfc3339(),
            root_key: STANDARD.encode(ask.root_spki_der),
            reply_key: ask.reply_key.map(|key| STANDARD.encode(key.as_bytes())).unwrap_or_default(),
            sign: ask.acts,
            share: ask.shares.iter().map(share).collect(),
            custodians: names,
        };
        let text = toml::to_string(&raw).map_err(|_| RequestError::Form)?;
        let note = sign(text)?;
        Self::parse(note.to_string().as_bytes())
    }

    /// Reads a request.
    ///
    /// # Errors
    /// [`RequestError`].
    pub fn parse(bytes: &[u8]) -> Result<Self, RequestError> {
        if bytes.len() > MAX_NOTE {
            return Err(RequestError::Form);
        }
        let note = Note::parse(bytes)?;
        let raw: Raw = toml::from_str(note.text()).map_err(|_| RequestError::Form)?;
        // One form for one request, so that what people read is what is approved.
        let same = toml::to_string(&raw).is_ok_and(|text| text == note.text());
        if raw.form != FORM || !same || raw.sign.is_empty() || raw.sign.len() > MAX_ACTS {
            return Err(RequestError::Form);
        }
        // What a terminal obeys instead of showing it would tell people another request than the one that they approve.
        if let Some((field, _)) =
            raw.told().into_iter().find(|(_, text)| text.contains(shown::hides))
        {
            return Err(RequestError::Field(field));
        }
        for act in &raw.sign {
            act.template().map(drop)?;
        }
        let at = |field: &'static str, text: &str| {
            Timestamp::from_rfc3339(text).ok_or(RequestError::Field(field))
        };
        let base64 = |field: &'static str, text: &str| {
            STANDARD.decode(text).map_err(|_| RequestError::Field(field))
        };
        let root_spki_der = base64("root_key", &raw.root_key)?;
        if hex::encode(sha256(&root_spki_der)) != raw.root_key_sha256 {
            return Err(RequestError::Field("root_key_sha256"));
        }
        let reply_key = match base64("reply_key", &raw.reply_key)? {
            none if none.is_empty() => None,
            point => Some(WrapPublic::from_bytes(&point).ok_or(RequestError::Field("reply_key"))?),
        };
        let share = |one: &RawShare| {
            let wrapped = base64("share", &one.sealed)?;
            Ok(WrappedPart { group: one.group, holder: one.holder, wrapped })
        };
        let shares = raw.share.iter().map(share).collect::<Result<_, RequestError>>()?;
        let (made_at, expires_at) =
            (at("made_at", &raw.made_at)?, at("expires_at", &raw.expires_at)?);
        Ok(Self { raw, note, made_at, expires_at, root_spki_der, reply_key, shares })
    }

    /// Whether the authority of that verifier key asks. A custodian who has the key looks before they approve.
    ///
    /// # Errors
    /// [`RequestError::Note`] for a signature that claims the key and is not its own.
    pub fn signed_by(&self, key: &VerifierKey) -> Result<bool, RequestError> {
        Ok(self.note.signed_by(key)?)
    }

    /// The file's text.
    #[must_use]
    pub fn to_text(&self) -> String {
        self.note.to_string()
    }
    /// What an approval is over: SHA-256 of the text, signatures apart.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        sha256(self.note.text().as_bytes())
    }
    /// Its name among requests, hexadecimal.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.raw.id
    }
    /// What it is for, in words.
    #[must_use]
    pub fn purpose(&self) -> &str {
        &self.raw.purpose
    }
    /// What the root would sign.
    #[must_use]
    pub fn acts(&self) -> &[Act] {
        &self.raw.sign
    }
    /// When it was made.
    #[must_use]
    pub fn made_at(&self) -> Timestamp {
        self.made_at
    }
    /// Until when approvals count.
    #[must_use]
    pub fn expires_at(&self) -> Timestamp {
        self.expires_at
    }
    /// Of which root, SubjectPublicKeyInfo DER.
    #[must_use]
    pub fn root_spki_der(&self) -> &[u8] {
        &self.root_spki_der
    }
    /// Under which custody, [`Custody::digest`].
    #[must_use]
    pub fn custody(&self) -> &str {
        &self.raw.custody_sha256
    }
    /// To whom opened shares go.
    #[must_use]
    pub fn reply_key(&self) -> Option<&WrapPublic> {
        self.reply_key.as_ref()
    }
    /// Everybody's shares.
    #[must_use]
    pub fn shares(&self) -> &[WrappedPart] {
        &self.shares
    }
    /// A custodian's place among those that it names.
    #[must_use]
    pub fn place_of(&self, name: &str) -> Option<u8> {
        let at = self.raw.custodians.iter().position(|one| one == name)?;
        u8::try_from(at).ok()
    }
}

/// Why a text is no request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// Not the form.
    #[error("not a request for the root's use in the form of this program")]
    Form,
    /// A field.
    #[error("the request's field {0} cannot be read")]
    Field(&'static str),
    /// Not a signed note.
    #[error(transparent)]
    Note(#[from] NoteError),
}

#[cfg(test)]
mod tests;
