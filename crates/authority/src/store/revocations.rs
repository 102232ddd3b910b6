//! Revocations, in the order in which they took effect.

use countersign_model::time::Timestamp;
use sqlx::Row as _;

use super::{Store, StoreError, Turn, signed, subjects, unsigned};
use crate::registration::Reason;
use crate::subject::Subject;

/// One certificate that counts no more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RevocationRecord {
    /// Its place; later ones are greater, with gaps.
    pub seq: u64,
    /// When.
    pub at: Timestamp,
    /// Whose it was.
    pub subject: Subject,
    /// The serial, lower-case hexadecimal.
    pub serial: String,
    /// Why.
    pub reason: Reason,
}

impl Store {
    /// Every revocation after `seq`, in order; all of them for 0.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn revocations_since(&self, seq: u64) -> Result<Vec<RevocationRecord>, StoreError> {
        let rows = sqlx::query(
            "SELECT seq, at, kind, name, serial, reason FROM revocations WHERE seq > $1 ORDER BY seq",
        )
        .bind(signed(seq))
        .fetch_all(&self.pool)
        .await
        .map_err(|error| self.failed(error))?;
        rows.iter()
            .map(|row| {
                Some(RevocationRecord {
                    seq: unsigned(row.get("seq")),
                    at: Timestamp(unsigned(row.get("at"))),
                    subject: subjects::subject(row)?,
                    serial: row.get("serial"),
                    reason: Reason::from_word(row.get("reason"))?,
                })
            })
            .map(|record| record.ok_or_else(|| self.damaged_row()))
            .collect()
    }
}

impl Turn {
    /// Records that a certificate counts no more.
    pub(crate) async fn put_revocation(
        &mut self,
        at: Timestamp,
        subject: &Subject,
        serial: &str,
        reason: Reason,
    ) -> Result<(), StoreError> {
        let seq = self.next_generation().await?;
        let done = sqlx::query(
            "INSERT INTO revocations (seq, at, kind, name, serial, reason) VALUES ($1, $2, $3, $4, $5, $6)",
        )
        .bind(seq)
        .bind(signed(at.0))
        .bind(subject.kind())
        .bind(subject.name())
        .bind(serial)
        .bind(reason.as_str())
        .execute(self.connection())
        .await;
        self.done(done).map(|_| ())
    }
}
