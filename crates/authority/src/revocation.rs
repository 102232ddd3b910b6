//! Taking back: of one certificate or of a subject with all of its certificates; and letting a subject come again.
//! [`many`] takes back by the batch, the issuing CA or the key.

pub mod many;

use countersign_crypto::certificate::Certificate;
use serde_json::json;

use self::many::Hit;
use crate::authority::Authority;
use crate::error::AuthorityError;
use crate::ledger::Kind;
use crate::registration::{Event, Reason, State, after};
use crate::store::{CertificateRecord, CertificateStatus, Turn};
use crate::subject::{Purpose, Subject};

/// What is revoked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// A subject: every certificate of it that counts, its factory identity excepted unless it is retired.
    Subject(Subject),
    /// One certificate, by serial number in hexadecimal.
    Serial(String),
}

/// `serial:HEX`, `kind:name`, or a thing's bare name.
impl std::str::FromStr for Target {
    type Err = crate::subject::InvalidSubject;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.strip_prefix("serial:") {
            Some(serial) => Ok(Self::Serial(serial.to_ascii_lowercase())),
            None => text.parse().map(Self::Subject),
        }
    }
}

/// What a revocation did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revoked {
    /// Whose certificates.
    pub subject: Subject,
    /// The subject's state now.
    pub state: State,
    /// The serials that count no more from now on, hexadecimal.
    pub serials: Vec<String>,
}

impl Authority {
    /// Revokes. In the ledger and the database when this returns; gateways in this process hear of it at once, others
    /// within [`crate::registry::POLL`].
    ///
    /// One certificate that a newer one has replaced is revoked without consequence for its subject; the last one
    /// suspends it. Doing it again is fine and changes nothing.
    ///
    /// # Errors
    /// [`AuthorityError::Unknown`] for a target that nobody knows.
    pub async fn revoke(&self, target: &Target, reason: Reason) -> Result<Revoked, AuthorityError> {
        let core = &self.core;
        let mut turn = core.store.exclusive().await?;
        let (subject, doomed, suspends) = find(&mut turn, target, reason).await?;
        let known = turn.subject(&subject).await?;
        let known = known.ok_or_else(|| AuthorityError::Unknown(subject.to_string()))?;
        let state = if suspends { after(Some(known.state), reason.event())? } else { known.state };
        let serials: Vec<String> =
            doomed.iter().map(|record| record.certificate.serial_hex()).collect();
        let nothing_new = serials.is_empty() && state == known.state;
        if !nothing_new {
            core.record(
                Kind::Revoked,
                json!({
                    "subject": subject.to_string(), "state": state.as_str(), "reason": reason.as_str(),
                    "serials": serials,
                }),
            )
            .await?;
            for serial in &serials {
                turn.mark_revoked(serial).await?;
                turn.put_revocation(core.now(), &subject, serial, reason).await?;
            }
            turn.put_subject(&subject, state, &known.grants, core.now()).await?;
            turn.commit().await?;
            core.notify();
        }
        Ok(Revoked { subject, state, serials })
    }

    /// Whom [`Authority::revoke`] would hit. Nothing is changed.
    ///
    /// # Errors
    /// [`AuthorityError::Unknown`] for a target that nobody knows.
    pub async fn count(&self, target: &Target, reason: Reason) -> Result<Hit, AuthorityError> {
        let mut turn = self.core.store.exclusive().await?;
        let (subject, doomed, suspends) = find(&mut turn, target, reason).await?;
        let known = turn.subject(&subject).await?;
        let known = known.ok_or_else(|| AuthorityError::Unknown(subject.to_string()))?;
        let leaves = suspends && after(Some(known.state), reason.event())? != known.state;
        Ok(Hit { subjects: u64::from(leaves), certificates: doomed.len() as u64 })
    }

    /// Lets a suspended subject enrol again. What was revoked stays revoked.
    ///
    /// # Errors
    /// [`AuthorityError::Refused`] for a subject that is not suspended, or retired.
    pub async fn reinstate(&self, subject: &Subject) -> Result<State, AuthorityError> {
        let core = &self.core;
        let mut turn = core.store.exclusive().await?;
        let known = turn.subject(subject).await?;
        let known = known.ok_or_else(|| AuthorityError::Unknown(subject.to_string()))?;
        let state = after(Some(known.state), Event::Reinstate)?;
        if state != known.state {
            core.record(Kind::Reinstated, json!({"subject": subject.to_string()})).await?;
            turn.put_subject(subject, state, &known.grants, core.now()).await?;
            turn.commit().await?;
            core.notify();
        }
        Ok(state)
    }

    /// The certificate of that serial, if it was issued here.
    ///
    /// # Errors
    /// [`AuthorityError::Store`].
    pub async fn certificate(&self, serial: &str) -> Result<Option<Certificate>, AuthorityError> {
        let mut turn = self.core.store.exclusive().await?;
        Ok(turn.certificate(serial).await?.map(|record| record.certificate))
    }
}

/// Whose certificates, which of them, and whether the subject itself is suspended by it.
async fn find(
    turn: &mut Turn,
    target: &Target,
    reason: Reason,
) -> Result<(Subject, Vec<CertificateRecord>, bool), AuthorityError> {
    let active = |record: &CertificateRecord| record.status == CertificateStatus::Active;
    match target {
        Target::Subject(subject) => {
            let mut doomed = Vec::new();
            for purpose in Purpose::ALL {
                // The factory identity is how it comes back after re-instatement; a retired thing never does.
                if purpose == Purpose::FactoryIdentity && reason.event() != Event::Retire {
                    continue;
                }
                doomed.extend(
                    turn.certificates_of(subject, purpose).await?.into_iter().filter(active),
                );
            }
            Ok((subject.clone(), doomed, true))
        }
        Target::Serial(serial) => {
            let found = turn.certificate(serial).await?;
            let found = found.ok_or_else(|| AuthorityError::Unknown(format!("serial {serial}")))?;
            let newest = turn.certificates_of(&found.subject, found.purpose).await?;
            // Certificates come newest first.
            let replaced = newest
                .iter()
                .take_while(|record| record.certificate != found.certificate)
                .any(active);
            let subject = found.subject.clone();
            let was_active = active(&found);
            Ok((
                subject,
                if was_active { vec![found] } else { Vec::new() },
                was_active && !replaced,
            ))
        }
    }
}

#[cfg(test)]
mod tests;
