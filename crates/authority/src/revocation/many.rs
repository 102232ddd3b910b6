//! Revoking many certificates by one order: a batch, everything below an issuing CA, everything with a key.
//!
//! ```text
//!  order ──► ledger: one entry, with its size ──► database: order, subjects out of service, key barred   one commit
//!                                                      │
//!                                          some thousand certificates a turn, until none is left
//! ```
//!
//! From that commit on the order is carried out: a killed program leaves it to whoever opens the data folder next, or to
//! `serve`, which looks for orders that nobody works on.

use std::time::Duration;

use countersign_model::id::ThingId;
use serde_json::json;

use crate::authorities::{IssuingCa, generations};
use crate::authority::Authority;
use crate::error::AuthorityError;
use crate::ledger::Kind;
use crate::registration::Reason;
use crate::rotation::{KeyState, PUBLICATION, Retirement, Rolled};
use crate::store::OrderRecord;

/// How many certificates are revoked in one turn of the database: well below a second of it.
const STEP: u64 = 5_000;

/// How long nobody must have worked on an order before somebody else does.
pub const ABANDONED: Duration = Duration::from_secs(10);

/// Many certificates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Many {
    /// Every device of a batch, with all of its certificates that count; the factory identities only when for ever.
    Batch(String),
    /// Everything that a generation of an issuing CA issued, by its label; the CA is retired with it.
    Issuer(String),
    /// Everything with that public key (SHA-256 of its SubjectPublicKeyInfo, hexadecimal). The key never comes back.
    Key(String),
}

impl Many {
    /// The value after the colon.
    #[must_use]
    pub fn value(&self) -> &str {
        match self {
            Self::Batch(value) | Self::Issuer(value) | Self::Key(value) => value,
        }
    }
}

/// `batch:NAME`, `issuer:LABEL` or `key:HEX`.
impl std::fmt::Display for Many {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let kind = match self {
            Self::Batch(_) => "batch",
            Self::Issuer(_) => "issuer",
            Self::Key(_) => "key",
        };
        write!(f, "{kind}:{}", self.value())
    }
}

/// A text that names none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not batch:NAME, issuer:LABEL or key: and 64 hexadecimal digits")]
pub struct InvalidMany(String);

impl std::str::FromStr for Many {
    type Err = InvalidMany;
    fn from_str(text: &str) -> Result<Self, InvalidMany> {
        let invalid = || InvalidMany(text.to_owned());
        let (kind, value) = text.split_once(':').ok_or_else(invalid)?;
        // The longest name of anything here has 64 characters.
        if value.is_empty() || value.len() > 64 || value.chars().any(char::is_control) {
            return Err(invalid());
        }
        match kind {
            "batch" => Ok(Self::Batch(value.to_owned())),
            "issuer" => Ok(Self::Issuer(value.to_ascii_lowercase())),
            "key" if hex::decode(value).is_ok_and(|hash| hash.len() == 32) => {
                Ok(Self::Key(value.to_ascii_lowercase()))
            }
            _ => Err(invalid()),
        }
    }
}

/// How many are hit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
pub struct Hit {
    /// Subjects.
    pub subjects: u64,
    /// Certificates that count until then.
    pub certificates: u64,
}

impl Authority {
    /// Whom an order would hit. Nothing is changed.
    ///
    /// # Errors
    /// [`AuthorityError::Unknown`] for an issuing CA that there is not.
    pub async fn count_many(&self, target: &Many, reason: Reason) -> Result<Hit, AuthorityError> {
        let mut turn = self.core.store.exclusive().await?;
        if let Many::Issuer(label) = target {
            let rows = generations(&turn.issuing().await?);
            if !rows.iter().any(|row| row.label == *label) {
                return Err(AuthorityError::Unknown(format!("issuing CA {label}")));
            }
        }
        Ok(turn.hit(target, reason).await?)
    }

    /// Gives the order and carries it out; `progress` hears how many of how many are done. An order about the same
    /// target that a kill left is carried on, not given again.
    ///
    /// An issuing CA that issues gets a successor first, so that its subjects can come back; it is retired with what it issued.
    ///
    /// # Errors
    /// [`AuthorityError`]; once the order is written, asking again carries on.
    //= specs/house.md#house-revocation
    //# An order to revoke many certificates MUST be carried to its end, whoever is killed.
    pub async fn revoke_many(
        &self,
        target: &Many,
        reason: Reason,
        mut progress: impl FnMut(u64, u64) + Send,
    ) -> Result<Hit, AuthorityError> {
        let core = &self.core;
        // 1. Somebody issues in the place of a CA that goes.
        if let Many::Issuer(label) = target {
            self.step_aside(label).await?;
        }
        // 2. The order: ledger, then one commit.
        let mut turn = core.store.exclusive().await?;
        let hit = turn.hit(target, reason).await?;
        let order = match turn.open_order(target).await? {
            Some(order) => {
                drop(turn);
                order
            }
            None => {
                let now = core.now();
                let body = json!({
                    "target": target.to_string(), "reason": reason.as_str(),
                    "subjects": hit.subjects, "certificates": hit.certificates,
                });
                core.record(Kind::Revoked, body).await?;
                let order = turn.give_order(now, target, reason, hit.certificates).await?;
                turn.commit().await?;
                core.notify();
                order
            }
        };
        // 3. The certificates.
        self.carry_out(&order, &mut progress).await?;
        Ok(hit)
    }

    /// Notes which batch a thing is of, so that the batch can be revoked as a whole.
    ///
    /// # Errors
    /// [`AuthorityError::Configuration`] for a label that is none.
    pub async fn label_batch(&self, things: &[ThingId], batch: &str) -> Result<(), AuthorityError> {
        if format!("batch:{batch}").parse::<Many>().is_err() {
            let detail = format!("{batch:?} is no label: use 1 to 64 printable characters");
            return Err(AuthorityError::Configuration { file: "batch".to_owned(), detail });
        }
        let mut turn = self.core.store.exclusive().await?;
        for thing in things {
            turn.put_batch(thing.as_str(), batch).await?;
        }
        Ok(turn.commit().await?)
    }

    /// Carries on the orders that a killed program left; how many were. One that fails keeps neither the others nor whoever
    /// opens the data folder: it is an alarm, and stands until it is carried out.
    ///
    /// # Errors
    /// [`AuthorityError::Store`] where the orders cannot be read.
    //= specs/house.md#house-revocation
    //# An order to revoke that fails MUST NOT keep the authority from working, and MUST raise an alarm.
    pub async fn carry_on_orders(&self, idle: Duration) -> Result<u64, AuthorityError> {
        let idle = u64::try_from(idle.as_millis()).unwrap_or(u64::MAX);
        let before = countersign_model::time::Timestamp(self.core.now().0.saturating_sub(idle));
        let left = self.core.store.left_orders(before).await?;
        let mut carried = 0;
        for order in &left {
            tracing::warn!(target = %order.target, "an order to revoke that was left is carried on");
            match self.carry_out(order, &mut |_, _| {}).await {
                Ok(()) => carried += 1,
                Err(error) => self.core.order_stuck(order, &error).await,
            }
        }
        Ok(carried)
    }

    async fn carry_out(
        &self,
        order: &OrderRecord,
        progress: &mut (dyn FnMut(u64, u64) + Send),
    ) -> Result<(), AuthorityError> {
        let core = &self.core;
        let mut done = order.done;
        loop {
            let mut turn = core.store.exclusive().await?;
            let step = turn.step_order(order, STEP, core.now()).await?;
            turn.commit().await?;
            core.notify();
            done += step;
            progress(done, order.certificates);
            if step < STEP {
                break;
            }
        }
        // A CA goes with what it issued. The order is carried out when it is gone, and not before: one that still issues, as
        // after a restore without the root, is emptied until it has a successor.
        if let Many::Issuer(label) = &order.target {
            let go_on = |_| std::ops::ControlFlow::Continue(());
            if let Some(ca) = IssuingCa::ALL.into_iter().find(|ca| label.starts_with(ca.label())) {
                self.retire_generation(ca, label, Retirement::AtOnce, go_on).await?;
            }
            let mut turn = core.store.exclusive().await?;
            let rows = generations(&turn.issuing().await?);
            if !rows.iter().any(|row| row.label == *label && row.state.verifies()) {
                turn.finish_order(order).await?;
                turn.commit().await?;
            }
        }
        Ok(())
    }

    /// A generation that issues is replaced by its successor.
    pub(crate) async fn step_aside(&self, label: &str) -> Result<(), AuthorityError> {
        let rows = generations(&self.core.store.issuing().await?);
        let row = rows.into_iter().find(|row| row.label == label);
        let row = row.ok_or_else(|| AuthorityError::Unknown(format!("issuing CA {label}")))?;
        if row.state != KeyState::Active {
            return Ok(());
        }
        let go_on = |_| std::ops::ControlFlow::Continue(());
        self.prepare_ca(row.ca, None, go_on).await?;
        loop {
            match self.activate_ca(row.ca, go_on).await? {
                Rolled::NotBefore(_) => tokio::time::sleep(PUBLICATION / 4).await,
                _ => return Ok(()),
            }
        }
    }
}
