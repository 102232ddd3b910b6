//! Revocations, in the order in which they took effect.

use countersign_model::time::Timestamp;
use sqlx::Row as _;

use super::{Store, StoreError, Turn, signed, subjects, unsigned};
use crate::registration::Reason;
use crate::revocation::many::Many;
use crate::status::Form;
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

/// Where the lists of one scope are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CrlPlace {
    /// This list's number.
    pub(crate) number: u64,
    /// The base of the deltas.
    pub(crate) base_number: u64,
    /// What the base knew.
    pub(crate) base_seq: u64,
}

/// How a certificate stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    Counts,
    Revoked { at: Timestamp, reason: Reason },
}

/// How long one base serves deltas.
const BASE_MILLIS: u64 = 24 * 3600 * 1000;

impl Store {
    /// How a certificate of that issuer stands; `None` for one that it did not issue.
    pub(crate) async fn standing(
        &self,
        serial: &str,
        issuer: &str,
    ) -> Result<Option<Standing>, StoreError> {
        let row = sqlx::query(
            "SELECT c.status AS status, r.at AS at, r.reason AS reason FROM certificates c
             LEFT JOIN revocations r ON r.serial = c.serial
             WHERE c.serial = $1 AND c.issuer = $2 ORDER BY r.seq LIMIT 1",
        )
        .bind(serial)
        .bind(issuer)
        .fetch_optional(&self.pool)
        .await
        .map_err(|error| self.failed(error))?;
        let Some(row) = row else { return Ok(None) };
        if row.get::<String, _>("status") == "active" {
            return Ok(Some(Standing::Counts));
        }
        let at = Timestamp(unsigned(row.get::<Option<i64>, _>("at").unwrap_or_default()));
        let reason = row.get::<Option<String>, _>("reason").unwrap_or_default();
        let reason = Reason::from_word(&reason).unwrap_or(Reason::Unspecified);
        Ok(Some(Standing::Revoked { at, reason }))
    }
}

impl Turn {
    /// Takes the next number of a scope's lists. A complete list becomes the base of deltas when the one before has served.
    pub(crate) async fn next_list(
        &mut self,
        issuer: &str,
        shard: Option<u16>,
        form: Form,
        now: Timestamp,
    ) -> Result<CrlPlace, StoreError> {
        let shard = shard.map_or(-1, i64::from);
        let row = sqlx::query("SELECT * FROM crls WHERE issuer = $1 AND shard = $2")
            .bind(issuer)
            .bind(shard)
            .fetch_optional(self.connection())
            .await;
        let row = self.done(row)?;
        let seen = sqlx::query("SELECT value FROM counters WHERE name = 'generation'")
            .fetch_one(self.connection())
            .await;
        let seen = unsigned(self.done(seen)?.get("value"));
        let number = row.as_ref().map_or(0, |row| unsigned(row.get("number"))) + 1;
        let base = row.as_ref().map(|row| {
            let at = unsigned(row.get("base_at"));
            (unsigned(row.get("base_number")), unsigned(row.get("base_seq")), at)
        });
        // The first list of a scope is its base, even where a delta is asked for: there is nothing before it.
        let (base_number, base_seq, base_at) = match base {
            Some(base) if form == Form::Delta || now.0 < base.2 + BASE_MILLIS => base,
            _ => (number, seen, now.0),
        };
        let done = sqlx::query(
            "INSERT INTO crls (issuer, shard, number, base_number, base_seq, base_at)
             VALUES ($1, $2, $3, $4, $5, $6)
             ON CONFLICT (issuer, shard) DO UPDATE SET number = excluded.number,
                base_number = excluded.base_number, base_seq = excluded.base_seq, base_at = excluded.base_at",
        )
        .bind(issuer)
        .bind(shard)
        .bind(signed(number))
        .bind(signed(base_number))
        .bind(signed(base_seq))
        .bind(signed(base_at))
        .execute(self.connection())
        .await;
        self.done(done)?;
        Ok(CrlPlace { number, base_number, base_seq })
    }

    /// What stands on an issuer's list: serials in a range, revoked after `since`, not expired before `end`.
    pub(crate) async fn listed(
        &mut self,
        issuer: &str,
        range: (&str, &str),
        since: u64,
        end: Timestamp,
    ) -> Result<Vec<(String, Timestamp, Reason)>, StoreError> {
        let rows = sqlx::query(
            "SELECT c.serial AS serial, r.at AS at, r.reason AS reason
             FROM certificates c JOIN revocations r ON r.serial = c.serial
             WHERE c.issuer = $1 AND c.status = 'revoked' AND c.not_after >= $2
                AND c.serial >= $4 AND c.serial < $5
                AND r.seq = (SELECT MIN(f.seq) FROM revocations f WHERE f.serial = c.serial AND f.seq > $3)
             ORDER BY c.serial",
        )
        .bind(issuer)
        .bind(signed(end.0))
        .bind(signed(since))
        .bind(range.0)
        .bind(range.1)
        .fetch_all(self.connection())
        .await;
        let rows = self.done(rows)?;
        rows.iter()
            .map(|row| {
                let reason = Reason::from_word(row.get("reason"))?;
                Some((row.get("serial"), Timestamp(unsigned(row.get("at"))), reason))
            })
            .map(|row| row.ok_or_else(|| self.damaged("a revocation's row")))
            .collect()
    }

    /// Why an order about that target was given, if one was.
    pub(crate) async fn order_reason(
        &mut self,
        target: &Many,
    ) -> Result<Option<Reason>, StoreError> {
        let row = sqlx::query(
            "SELECT reason FROM revocation_orders WHERE target = $1 ORDER BY id LIMIT 1",
        )
        .bind(target.to_string())
        .fetch_optional(self.connection())
        .await;
        Ok(self.done(row)?.and_then(|row| Reason::from_word(row.get("reason"))))
    }
}
