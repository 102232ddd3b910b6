//! Alarms, counted.

use std::collections::BTreeMap;

use countersign_model::time::Timestamp;
use sqlx::Row as _;
use sqlx::any::AnyRow;

use super::{Store, StoreError, Turn, signed, unsigned};
use crate::alarm::{AlarmKind, AlarmRecord};

/// The most alarms in one answer; the newest come first.
const MAX_LISTED: i64 = 10_000;

impl Store {
    /// Every alarm, the newest first.
    pub(crate) async fn alarms(&self) -> Result<Vec<AlarmRecord>, StoreError> {
        let rows = sqlx::query("SELECT * FROM alarms ORDER BY last_at DESC LIMIT $1")
            .bind(MAX_LISTED)
            .fetch_all(&self.pool)
            .await
            .map_err(|error| self.failed(error))?;
        let read = |row: &AnyRow| AlarmRecord {
            kind: row.get("kind"),
            subject: row.get("subject"),
            evidence: row.get("evidence"),
            first_at: Timestamp(unsigned(row.get("first_at"))),
            last_at: Timestamp(unsigned(row.get("last_at"))),
            count: unsigned(row.get("count")),
        };
        Ok(rows.iter().map(read).collect())
    }

    /// How often each kind was raised.
    pub(crate) async fn alarm_counts(&self) -> Result<BTreeMap<&'static str, u64>, StoreError> {
        // A sum of whole numbers is a number of another type for PostgreSQL.
        let sql = "SELECT kind, CAST(SUM(count) AS BIGINT) AS raised FROM alarms GROUP BY kind";
        let rows = sqlx::query(sql).fetch_all(&self.pool).await;
        let rows = rows.map_err(|error| self.failed(error))?;
        let known = |row: &AnyRow| {
            let word: String = row.get("kind");
            let kind = AlarmKind::ALL.into_iter().find(|kind| kind.as_str() == word)?;
            Some((kind.as_str(), unsigned(row.get("raised"))))
        };
        Ok(rows.iter().filter_map(known).collect())
    }
}

impl Turn {
    /// The evidence of the alarms of one kind about one subject, as many as are asked for.
    pub(crate) async fn alarms_about(
        &mut self,
        kind: &str,
        subject: &str,
        most: usize,
    ) -> Result<Vec<String>, StoreError> {
        let rows = sqlx::query(
            "SELECT evidence FROM alarms WHERE kind = $1 AND subject = $2 ORDER BY evidence LIMIT $3",
        )
        .bind(kind)
        .bind(subject)
        .bind(i64::try_from(most).unwrap_or(i64::MAX))
        .fetch_all(self.connection())
        .await;
        Ok(self.done(rows)?.iter().map(|row| row.get("evidence")).collect())
    }

    /// Counts an alarm; how often it was raised now.
    pub(crate) async fn put_alarm(
        &mut self,
        kind: &str,
        subject: &str,
        evidence: &str,
        now: Timestamp,
    ) -> Result<u64, StoreError> {
        let row = sqlx::query(
            "INSERT INTO alarms (kind, subject, evidence, first_at, last_at, count)
             VALUES ($1, $2, $3, $4, $4, 1)
             ON CONFLICT (kind, subject, evidence) DO UPDATE SET
                last_at = excluded.last_at, count = alarms.count + 1
             RETURNING count",
        )
        .bind(kind)
        .bind(subject)
        .bind(evidence)
        .bind(signed(now.0))
        .fetch_one(self.connection())
        .await;
        Ok(unsigned(self.done(row)?.get("count")))
    }

    /// Notes that a certificate was used to renew by: from then on what it replaced speaks for nobody.
    pub(crate) async fn mark_used(
        &mut self,
        serial: &str,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let done = sqlx::query(
            "UPDATE certificates SET used_at = $1 WHERE serial = $2 AND used_at IS NULL",
        )
        .bind(signed(now.0))
        .bind(serial)
        .execute(self.connection())
        .await;
        self.done(done).map(|_| ())
    }

    /// Whether a later certificate of the same subject and purpose, with another key, has been used already.
    pub(crate) async fn is_superseded(&mut self, serial: &str) -> Result<bool, StoreError> {
        let row = sqlx::query(
            "SELECT 1 FROM certificates old JOIN certificates new
                ON new.kind = old.kind AND new.name = old.name AND new.purpose = old.purpose
             WHERE old.serial = $1 AND new.issued_at > old.issued_at AND new.used_at IS NOT NULL
                AND new.spki_sha256 <> old.spki_sha256 LIMIT 1",
        )
        .bind(serial)
        .fetch_optional(self.connection())
        .await;
        Ok(self.done(row)?.is_some())
    }
}
