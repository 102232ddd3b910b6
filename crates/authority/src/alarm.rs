//! What must not happen, and somebody must hear of: keys that others have or know, clones, serial numbers that come twice.
//!
//! An alarm is a ledger entry the first time, a line in the log each time, and is counted in the database; `authority alarms` lists
//! them. Whether a clone's subject is revoked as well is the configuration's (`on_clone`).

use countersign_model::time::Timestamp;
use serde_json::json;

use crate::authority::{Authority, Core};
use crate::error::AuthorityError;
use crate::ledger::Kind;
use crate::registration::{Reason, Refusal};
use crate::revocation::Target;
use crate::subject::Subject;

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum AlarmKind {
    /// A public key that is another's was to be certified: a clone, or a weak generator.
    DuplicateKey,
    /// A key was to be certified whose private key is known, or that is an authority's own.
    BadKey,
    /// A key came back that was revoked.
    RevokedKey,
    /// Somebody came with a certificate whose successor is in use already: one identity in two places.
    Clone,
    /// A serial number came a second time: the random source has failed.
    SerialCollision,
}

impl AlarmKind {
    /// Every kind.
    pub const ALL: [Self; 5] =
        [Self::DuplicateKey, Self::BadKey, Self::RevokedKey, Self::Clone, Self::SerialCollision];

    /// The word in database, ledger and answers.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::DuplicateKey => "duplicate-key",
            Self::BadKey => "bad-key",
            Self::RevokedKey => "revoked-key",
            Self::Clone => "clone",
            Self::SerialCollision => "serial-collision",
        }
    }

    /// Which refusals raise an alarm.
    fn of(error: &AuthorityError) -> Option<Self> {
        match error {
            AuthorityError::Refused(Refusal::DuplicateKey) => Some(Self::DuplicateKey),
            AuthorityError::Refused(Refusal::BadKey(_)) => Some(Self::BadKey),
            AuthorityError::Refused(Refusal::RevokedKey) => Some(Self::RevokedKey),
            AuthorityError::Refused(Refusal::Superseded) => Some(Self::Clone),
            AuthorityError::SerialCollision => Some(Self::SerialCollision),
            _ => None,
        }
    }
}

/// One alarm, as often as it was raised.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct AlarmRecord {
    /// What happened.
    pub kind: String,
    /// Who asked.
    pub subject: String,
    /// The key's hash, or the certificate's serial number.
    pub evidence: String,
    /// The first time.
    pub first_at: Timestamp,
    /// The last time.
    pub last_at: Timestamp,
    /// How often.
    pub count: u64,
}

impl Authority {
    /// Every alarm, the newest first.
    ///
    /// # Errors
    /// [`AuthorityError::Store`].
    pub async fn alarms(&self) -> Result<Vec<AlarmRecord>, AuthorityError> {
        Ok(self.core.store.alarms().await?)
    }
}

impl Core {
    /// Raises the alarm that a refusal deserves, if it deserves one. That it could not be recorded is no reason to answer otherwise.
    //= specs/house.md#house-issuance
    //# A duplicate, weak or revoked key, a clone and a serial collision MUST raise an alarm.
    pub(crate) async fn watch(&self, subject: &Subject, evidence: &str, error: &AuthorityError) {
        let Some(kind) = AlarmKind::of(error) else { return };
        if let Err(error) = self.raise(kind, subject, evidence).await {
            tracing::error!(%error, kind = kind.as_str(), "an alarm could not be recorded");
        }
    }

    async fn raise(
        &self,
        kind: AlarmKind,
        subject: &Subject,
        evidence: &str,
    ) -> Result<(), AuthorityError> {
        let word = kind.as_str();
        let mut turn = self.store.exclusive().await?;
        let subject = subject.to_string();
        tracing::error!(target: "countersign::audit", alarm = word, subject, evidence, "alarm");
        let count = turn.put_alarm(word, &subject, evidence, self.now()).await?;
        if count == 1 {
            let body = json!({"alarm": word, "subject": subject, "evidence": evidence});
            self.record(Kind::Alarm, body).await?;
        }
        Ok(turn.commit().await?)
    }
}

impl Authority {
    /// What the configuration says of clones, where a refusal is one.
    pub(crate) async fn answer_clone(&self, subject: &Subject, error: &AuthorityError) {
        if AlarmKind::of(error) == Some(AlarmKind::Clone) && self.core.config.revokes_clones() {
            let target = Target::Subject(subject.clone());
            if let Err(error) = self.revoke(&target, Reason::KeyCompromise).await {
                tracing::error!(%error, %subject, "a cloned subject could not be revoked");
            }
        }
    }
}

#[cfg(test)]
mod tests;
