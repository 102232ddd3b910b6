//! May this subject have this certificate? The only place where an [`EnrolmentPermit`] is made.
//!
//! ```text
//!  who asks, and how it is proven            what is known about the subject
//!        (Claim)                                   (State)
//!           └──────────────► table ◄──────────────────┘
//!                              │ refuse, or the subject's next state
//!                              ▼
//!                       EnrolmentPermit ──► issuance
//! ```

mod table;

use countersign_crypto::certificate::Certificate;
use countersign_model::time::Timestamp;

pub use self::table::{Event, Reason, Refusal, State, after};
use crate::error::AuthorityError;
use crate::store::{CertificateStatus, Group, Turn};
use crate::subject::{Purpose, Subject};

/// How somebody proves that the subject may have a certificate. The peer certificates were verified by TLS against the
/// issuing CA of their kind, and their holders proved the keys.
#[derive(Debug, Clone)]
pub(crate) enum Claim {
    /// Whoever may open the data folder: the operator at this machine, or this program for itself.
    Local,
    /// A code that an operator gave for this enrolment.
    Code,
    /// The factory, when it makes the subject's first identity.
    Factory,
    /// The subject's factory identity.
    FactoryIdentity(Certificate),
    /// The subject's current certificate of the same purpose.
    Current(Certificate),
}

impl Claim {
    /// The event in the table.
    fn event(&self) -> Event {
        match self {
            Self::Local | Self::Code => Event::EnrolLocally,
            Self::Factory => Event::Manufacture,
            Self::FactoryIdentity(_) => Event::EnrolByFactoryIdentity,
            Self::Current(_) => Event::RenewByCurrent,
        }
    }

    /// The certificate that speaks for the subject, and what it must have been issued for.
    fn certificate(&self, asked: Purpose) -> Option<(&Certificate, Purpose)> {
        match self {
            Self::Local | Self::Code | Self::Factory => None,
            Self::FactoryIdentity(certificate) => Some((certificate, Purpose::FactoryIdentity)),
            Self::Current(certificate) => Some((certificate, asked)),
        }
    }
}

/// The right to one certificate for one subject, one purpose and one key. Made by this module only.
///
/// ```compile_fail
/// use countersign_authority::registration::EnrolmentPermit;
/// fn forge(subject: countersign_authority::subject::Subject) -> EnrolmentPermit {
///     EnrolmentPermit { subject, purpose: todo!(), spki_sha256: todo!(), next: todo!(), known_key: true }
/// }
/// ```
#[derive(Debug)]
pub struct EnrolmentPermit {
    subject: Subject,
    purpose: Purpose,
    spki_sha256: String,
    next: State,
    known_key: bool,
}

impl EnrolmentPermit {
    /// For whom.
    #[must_use]
    pub fn subject(&self) -> &Subject {
        &self.subject
    }

    /// For what.
    #[must_use]
    pub fn purpose(&self) -> Purpose {
        self.purpose
    }

    /// For which key: SHA-256 of its SubjectPublicKeyInfo, hexadecimal.
    #[must_use]
    pub fn spki_sha256(&self) -> &str {
        &self.spki_sha256
    }

    /// The subject's state once the certificate is recorded.
    #[must_use]
    pub fn next_state(&self) -> State {
        self.next
    }

    /// Whether the key is already this subject's for this purpose.
    #[must_use]
    pub(crate) fn known_key(&self) -> bool {
        self.known_key
    }
}

/// Judges a claim. What is known was read inside the writer's turn, so that it still holds when the certificate is recorded.
pub(crate) async fn permit(
    turn: &mut Turn,
    known: &Group,
    subject: &Subject,
    purpose: Purpose,
    spki_sha256: &str,
    claim: &Claim,
    now: Timestamp,
) -> Result<EnrolmentPermit, AuthorityError> {
    // 1. The purpose is one for such subjects.
    if !purpose.fits(subject) {
        return Err(Refusal::Purpose.into());
    }
    // 2. The name is unmistakable, whatever the case: no two subjects differ by that alone. QR codes keep no case, so a
    //    name that goes on a label has lower case only.
    if purpose == Purpose::FactoryIdentity && subject.name().bytes().any(|b| b.is_ascii_uppercase())
    {
        return Err(Refusal::UpperCase(subject.name().to_owned()).into());
    }
    if let Some(other) = known.lookalike(subject) {
        let (name, other) = (subject.name().to_owned(), other.to_owned());
        return Err(Refusal::Lookalike { name, other }.into());
    }
    // 3. The certificate that speaks for the subject was issued here, for it, and still counts.
    if let Some((certificate, proves)) = claim.certificate(purpose) {
        let record = turn.certificate(&certificate.serial_hex()).await?;
        let record = record.ok_or(Refusal::UnknownCertificate)?;
        if record.certificate != *certificate
            || record.subject != *subject
            || record.purpose != proves
        {
            return Err(Refusal::UnknownCertificate.into());
        }
        if !record.is_good(now) {
            return Err(Refusal::Revoked.into());
        }
        // What was replaced, and whose successor has spoken, speaks no more: its holder is a second one.
        let serial = certificate.serial_hex();
        if matches!(claim, Claim::Current(_)) {
            if turn.is_superseded(&serial).await? {
                return Err(Refusal::Superseded.into());
            }
            turn.mark_used(&serial, now).await?;
        }
    }
    //= specs/house.md#house-issuance
    //# A public key that is known under another name MUST be refused.
    // 4. One key, one subject, one purpose.
    let known_key = match known.key_owner(spki_sha256) {
        None => false,
        Some(owner) if owner.subject == *subject && owner.purpose == purpose.as_str() => true,
        Some(_) => return Err(Refusal::DuplicateKey.into()),
    };
    // A key that was barred, or whose certificate was revoked, may be known to others: it never comes back.
    if known.is_barred(spki_sha256) {
        return Err(Refusal::RevokedKey.into());
    }
    let mut earlier = known.certificates(subject, purpose, spki_sha256);
    let barred = earlier.any(|record| record.status == CertificateStatus::Revoked);
    if barred {
        return Err(Refusal::RevokedKey.into());
    }
    // 5. The subject's state admits it.
    let state = known.subject(subject).map(|record| record.state);
    let event = claim.event();
    if (event == Event::Manufacture) != (purpose == Purpose::FactoryIdentity) {
        return Err(Refusal::Purpose.into());
    }
    let next = match (after(state, event), state) {
        // The factory asks again with the key that it asked with before: it gets what it got.
        (Err(Refusal::AlreadyManufactured), Some(state)) if known_key => state,
        (judged, _) => judged?,
    };
    let (subject, spki_sha256) = (subject.clone(), spki_sha256.to_owned());
    Ok(EnrolmentPermit { subject, purpose, spki_sha256, next, known_key })
}
