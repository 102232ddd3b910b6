//! What must not happen, and somebody must hear of: keys that others have or know, clones, serial numbers that come twice.
//!
//! An alarm is a ledger entry the first time, a line in the log each time, and is counted in the database; `authority alarms` lists
//! them. Whether a clone's subject is revoked as well is the configuration's (`on_clone`).
//!
//! ```text
//!  enrolment refuses ───────────────┐
//!  a gateway sees one identity twice ┴─► alarm ─► ledger (the first time), database (counted) ─► clone? on_clone
//! ```

use std::sync::PoisonError;

use countersign_model::time::Timestamp;
use serde_json::{Value, json};

use crate::authority::{Authority, Core};
use crate::error::AuthorityError;
use crate::ledger::Kind;
use crate::registration::{Reason, Refusal};
use crate::revocation::Target;
use crate::store::OrderRecord;
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
    /// One identity in two places: somebody came with a certificate whose successor is in use already, or a gateway saw both.
    Clone,
    /// A serial number came a second time: the random source has failed.
    SerialCollision,
    /// An order to revoke many could not be carried on.
    StuckOrder,
}

impl AlarmKind {
    /// Every kind.
    pub const ALL: [Self; 6] = [
        Self::DuplicateKey,
        Self::BadKey,
        Self::RevokedKey,
        Self::Clone,
        Self::SerialCollision,
        Self::StuckOrder,
    ];

    /// The word in database, ledger and answers.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::DuplicateKey => "duplicate-key",
            Self::BadKey => "bad-key",
            Self::RevokedKey => "revoked-key",
            Self::Clone => "clone",
            Self::SerialCollision => "serial-collision",
            Self::StuckOrder => "stuck-order",
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
    /// Who asked, or what an order is about.
    pub subject: String,
    /// The key's hash, the certificate's serial number, or the two addresses of a clone; [`OTHERS`] past the bound.
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

//= specs/house.md#house-clones
//# What is remembered of clones MUST be bounded, and a device's alarm MUST be raised once an hour at most.
/// The most alarms of one kind about one subject that stand by themselves, in the list and in the ledger. Whoever makes more
/// is known well enough; further ones are counted as one.
pub(crate) const MAX_EACH: usize = 32;

/// The evidence of those.
pub const OTHERS: &str = "others";

impl Core {
    /// Raises the alarm that a refusal deserves, if it deserves one. That it could not be recorded is no reason to answer otherwise.
    //= specs/house.md#house-issuance
    //# A duplicate, weak or revoked key, a clone and a serial collision MUST raise an alarm.
    pub(crate) async fn watch(&self, subject: &Subject, evidence: &str, error: &AuthorityError) {
        let Some(kind) = AlarmKind::of(error) else { return };
        if let Err(error) = self.raise(kind, &subject.to_string(), evidence, Value::Null).await {
            tracing::error!(%error, kind = kind.as_str(), "an alarm could not be recorded");
        }
    }

    /// An order fails: told in the log each time, and as an alarm once while this process runs.
    pub(crate) async fn order_stuck(&self, order: &OrderRecord, error: &AuthorityError) {
        let target = order.target.to_string();
        tracing::error!(%error, target, order = order.id, "an order to revoke could not be carried on");
        if !self.stuck.lock().unwrap_or_else(PoisonError::into_inner).insert(order.id) {
            return;
        }
        let (evidence, detail) = (format!("order {}", order.id), json!(error.to_string()));
        if let Err(error) = self.raise(AlarmKind::StuckOrder, &target, &evidence, detail).await {
            tracing::error!(%error, "an alarm could not be recorded");
            self.stuck.lock().unwrap_or_else(PoisonError::into_inner).remove(&order.id);
        }
    }

    async fn raise(
        &self,
        kind: AlarmKind,
        subject: &str,
        evidence: &str,
        detail: Value,
    ) -> Result<(), AuthorityError> {
        let word = kind.as_str();
        let mut turn = self.store.exclusive().await?;
        tracing::error!(target: "countersign::audit", alarm = word, subject, evidence, "alarm");
        let known = turn.alarms_about(word, subject, MAX_EACH).await?;
        let alone = known.len() < MAX_EACH || known.iter().any(|one| one == evidence);
        let evidence = if alone { evidence } else { OTHERS };
        let count = turn.put_alarm(word, subject, evidence, self.now()).await?;
        if count == 1 {
            let mut body = json!({"alarm": word, "subject": subject, "evidence": evidence});
            if !detail.is_null() {
                body["detail"] = detail;
            }
            self.record(Kind::Alarm, body).await?;
        }
        Ok(turn.commit().await?)
    }
}

impl Authority {
    /// What the configuration says of clones, where a refusal is one.
    pub(crate) async fn answer_clone(&self, subject: &Subject, error: &AuthorityError) {
        if AlarmKind::of(error) == Some(AlarmKind::Clone)
            && let Err(error) = self.answer_found(subject).await
        {
            tracing::error!(%error, %subject, "a cloned subject could not be revoked");
        }
    }

    /// A gateway has seen the subject's identity in two places: an alarm, and what the configuration says of clones.
    /// `evidence` is what it is counted by, a line without a secret; `detail` stands in the ledger with the first.
    ///
    /// # Errors
    /// [`AuthorityError::Store`], [`AuthorityError::Ledger`] and what [`Authority::revoke`] answers. Telling it again is fine,
    /// and counts again.
    pub async fn clone_seen(
        &self,
        subject: &Subject,
        evidence: &str,
        detail: Value,
    ) -> Result<(), AuthorityError> {
        self.core.raise(AlarmKind::Clone, &subject.to_string(), evidence, detail).await?;
        self.answer_found(subject).await
    }

    async fn answer_found(&self, subject: &Subject) -> Result<(), AuthorityError> {
        if self.core.config.revokes_clones() {
            let target = Target::Subject(subject.clone());
            self.revoke(&target, Reason::KeyCompromise).await?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
