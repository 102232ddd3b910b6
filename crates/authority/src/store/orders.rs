//! Orders to revoke many certificates: what was ordered, how far it is, and the steps that carry it out.
//!
//! The sets are worked on by the database itself, some thousand certificates a turn, so that other writers get theirs.

use countersign_model::time::Timestamp;
use sqlx::Row as _;
use sqlx::any::AnyRow;

use super::{Store, StoreError, Turn, signed, unsigned};
use crate::registration::{Event, Reason, State, after};
use crate::revocation::many::{Hit, Many};

/// An order that was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrderRecord {
    /// Its number; later ones are greater, with gaps.
    pub id: u64,
    /// When it was given.
    pub at: Timestamp,
    /// What it is about.
    pub target: Many,
    /// Why.
    pub reason: Reason,
    /// How many certificates counted when it was given.
    pub certificates: u64,
    /// How many of them count no more.
    pub done: u64,
    /// Whether nothing is left to do.
    pub finished: bool,
    /// When the last step was taken.
    pub touched: Timestamp,
}

/// Which certificates are meant, whether or not they count. `$1` is the target's own value, `$2` whether factory identities
/// are among them.
fn all_meant(target: &Many) -> &'static str {
    match target {
        Many::Batch(_) => {
            "FROM subjects s JOIN certificates c ON c.kind = s.kind AND c.name = s.name
             WHERE s.batch = $1 AND (c.purpose <> 'idevid' OR $2 = 1)"
        }
        Many::Issuer(_) => "FROM certificates c WHERE c.issuer = $1 AND $2 = $2",
        Many::Key(_) => "FROM certificates c WHERE c.spki_sha256 = $1 AND $2 = $2",
    }
}

/// Those of them that count.
fn meant(target: &Many) -> String {
    format!("{} AND c.status = 'active'", all_meant(target))
}

/// Factory identities are how subjects come back; only what is for ever takes them along.
fn with_factory(reason: Reason) -> i64 {
    i64::from(reason.event() == Event::Retire)
}

impl Store {
    /// Orders that are not carried out, and nobody took a step of since `before`; oldest first.
    pub(crate) async fn left_orders(
        &self,
        before: Timestamp,
    ) -> Result<Vec<OrderRecord>, StoreError> {
        let rows = sqlx::query(
            "SELECT * FROM revocation_orders WHERE finished = 0 AND touched <= $1 ORDER BY id",
        )
        .bind(signed(before.0))
        .fetch_all(&self.pool)
        .await
        .map_err(|error| self.failed(error))?;
        rows.iter().map(|row| read(row).ok_or_else(|| self.damaged_row())).collect()
    }
}

impl Store {
    /// Serial numbers of everything that an order about a target may have taken back.
    pub(crate) async fn serials_of(&self, target: &Many) -> Result<Vec<String>, StoreError> {
        let sql = format!("SELECT c.serial AS serial {}", all_meant(target));
        let rows = sqlx::query(sqlx::AssertSqlSafe(sql)).bind(target.value()).bind(1_i64);
        let rows = rows.fetch_all(&self.pool).await.map_err(|error| self.failed(error))?;
        Ok(rows.iter().map(|row| row.get("serial")).collect())
    }
}

impl Turn {
    /// How many a target hits now.
    pub(crate) async fn hit(&mut self, target: &Many, reason: Reason) -> Result<Hit, StoreError> {
        if let Many::Batch(batch) = target {
            self.adopt_batch(batch).await?;
        }
        let sql = format!(
            "SELECT COUNT(*) AS certificates, COUNT(DISTINCT c.kind || ':' || c.name) AS subjects {}",
            meant(target)
        );
        let row = sqlx::query(sqlx::AssertSqlSafe(sql))
            .bind(target.value())
            .bind(with_factory(reason))
            .fetch_one(self.connection())
            .await;
        let row = self.done(row)?;
        let mut hit = Hit {
            subjects: unsigned(row.get("subjects")),
            certificates: unsigned(row.get("certificates")),
        };
        if let Many::Batch(batch) = target {
            let row = sqlx::query("SELECT COUNT(*) AS subjects FROM subjects WHERE batch = $1")
                .bind(batch.as_str())
                .fetch_one(self.connection())
                .await;
            hit.subjects = unsigned(self.done(row)?.get("subjects"));
        }
        Ok(hit)
    }

    /// The order about this target that is not carried out, if there is one.
    pub(crate) async fn open_order(
        &mut self,
        target: &Many,
    ) -> Result<Option<OrderRecord>, StoreError> {
        let row = sqlx::query("SELECT * FROM revocation_orders WHERE target = $1 AND finished = 0")
            .bind(target.to_string())
            .fetch_optional(self.connection())
            .await;
        let Some(row) = self.done(row)? else { return Ok(None) };
        read(&row).map(Some).ok_or_else(|| self.damaged("an order's row"))
    }

    /// Gives an order: what takes effect at once, and the row by which it is carried out.
    pub(crate) async fn give_order(
        &mut self,
        at: Timestamp,
        target: &Many,
        reason: Reason,
        certificates: u64,
    ) -> Result<OrderRecord, StoreError> {
        match target {
            Many::Batch(batch) => self.suspend_batch(batch, reason).await?,
            Many::Key(key) => {
                self.bar_key(key, reason, at).await?;
                for subject in self.holders_of(key).await? {
                    let Some(known) = self.subject(&subject).await? else { continue };
                    if self.has_another_key(&subject, key).await? {
                        continue;
                    }
                    // Who is retired stays so.
                    let Ok(state) = after(Some(known.state), reason.event()) else { continue };
                    if state != known.state {
                        self.put_subject(&subject, state, &known.grants, at).await?;
                    }
                }
            }
            Many::Issuer(_) => {}
        }
        self.put_order(at, target, reason, certificates).await
    }

    /// Writes an order down; from the commit on it is carried out, whoever is killed.
    pub(crate) async fn put_order(
        &mut self,
        at: Timestamp,
        target: &Many,
        reason: Reason,
        certificates: u64,
    ) -> Result<OrderRecord, StoreError> {
        let id = self.next_generation().await?;
        let done = sqlx::query(
            "INSERT INTO revocation_orders (id, at, target, reason, certificates, done, finished, touched)
             VALUES ($1, $2, $3, $4, $5, 0, 0, $2)",
        )
        .bind(id)
        .bind(signed(at.0))
        .bind(target.to_string())
        .bind(reason.as_str())
        .bind(signed(certificates))
        .execute(self.connection())
        .await;
        self.done(done)?;
        Ok(OrderRecord {
            id: unsigned(id),
            at,
            target: target.clone(),
            reason,
            certificates,
            done: 0,
            finished: false,
            touched: at,
        })
    }

    /// Takes every subject of a batch out of service at once, by the table of states.
    pub(crate) async fn suspend_batch(
        &mut self,
        batch: &str,
        reason: Reason,
    ) -> Result<(), StoreError> {
        let changed = self.next_generation().await?;
        for state in State::ALL {
            let Ok(next) = after(Some(state), reason.event()) else { continue };
            let done = sqlx::query(
                "UPDATE subjects SET state = $1, changed = $2
                 WHERE batch = $3 AND state = $4 AND changed <> $2 AND state <> $1",
            )
            .bind(next.as_str())
            .bind(changed)
            .bind(batch)
            .bind(state.as_str())
            .execute(self.connection())
            .await;
            self.done(done)?;
        }
        Ok(())
    }

    /// Revokes up to `most` certificates of an order; how many there were. None is left when it is fewer: then the order is
    /// carried out, but for one about an issuing CA, see [`Turn::finish_order`].
    pub(crate) async fn step_order(
        &mut self,
        order: &OrderRecord,
        most: u64,
        now: Timestamp,
    ) -> Result<u64, StoreError> {
        // 1. A number for each, in one piece.
        let row = sqlx::query(
            "UPDATE counters SET value = value + $1 WHERE name = 'generation' RETURNING value",
        )
        .bind(signed(most + 1))
        .fetch_one(self.connection())
        .await;
        let last: i64 = self.done(row)?.get("value");
        let base = last - signed(most) - 1;
        // 2. The denylist's entries.
        let sql = format!(
            "INSERT INTO revocations (seq, at, kind, name, serial, reason)
             SELECT $3 + ROW_NUMBER() OVER (), $4, kind, name, serial, $5
             FROM (SELECT c.kind AS kind, c.name AS name, c.serial AS serial {} LIMIT $6) chosen",
            meant(&order.target)
        );
        let done = sqlx::query(sqlx::AssertSqlSafe(sql))
            .bind(order.target.value())
            .bind(with_factory(order.reason))
            .bind(base)
            .bind(signed(order.at.0))
            .bind(order.reason.as_str())
            .bind(signed(most))
            .execute(self.connection())
            .await;
        let count = self.done(done)?.rows_affected();
        // 3. The certificates themselves.
        let done = sqlx::query(
            "UPDATE certificates SET status = 'revoked', changed = $1
             WHERE serial IN (SELECT serial FROM revocations WHERE seq > $2 AND seq < $1)",
        )
        .bind(last)
        .bind(base)
        .execute(self.connection())
        .await;
        self.done(done)?;
        // 4. How far the order is.
        let done = sqlx::query(
            "UPDATE revocation_orders SET done = done + $1, finished = $2, touched = $3 WHERE id = $4",
        )
        .bind(signed(count))
        .bind(i64::from(count < most && !matches!(order.target, Many::Issuer(_))))
        .bind(signed(now.0))
        .bind(signed(order.id))
        .execute(self.connection())
        .await;
        self.done(done)?;
        Ok(count)
    }

    /// Nothing is left to do for an order about an issuing CA: the CA is retired too.
    pub(crate) async fn finish_order(&mut self, order: &OrderRecord) -> Result<(), StoreError> {
        let done = sqlx::query("UPDATE revocation_orders SET finished = 1 WHERE id = $1")
            .bind(signed(order.id))
            .execute(self.connection())
            .await;
        self.done(done).map(drop)
    }

    /// Bars a key for ever, whether or not anybody was certified with it.
    pub(crate) async fn bar_key(
        &mut self,
        spki_sha256: &str,
        reason: Reason,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let done = sqlx::query(
            "INSERT INTO barred_keys (spki_sha256, reason, at) VALUES ($1, $2, $3)
             ON CONFLICT (spki_sha256) DO NOTHING",
        )
        .bind(spki_sha256)
        .bind(reason.as_str())
        .bind(signed(now.0))
        .execute(self.connection())
        .await;
        self.done(done).map(|_| ())
    }

    /// Whether a key was barred.
    #[cfg(test)]
    pub(crate) async fn is_barred(&mut self, spki_sha256: &str) -> Result<bool, StoreError> {
        let row = sqlx::query("SELECT 1 FROM barred_keys WHERE spki_sha256 = $1")
            .bind(spki_sha256)
            .fetch_optional(self.connection())
            .await;
        Ok(self.done(row)?.is_some())
    }

    /// What the factory made of a batch is labelled with it, so that it is found by the label alone.
    async fn adopt_batch(&mut self, batch: &str) -> Result<(), StoreError> {
        let done = sqlx::query(
            "UPDATE subjects SET batch = $1 WHERE kind = 'thing' AND batch IS NULL
                AND name IN (SELECT serial FROM factory_items WHERE batch = $1)",
        )
        .bind(batch)
        .execute(self.connection())
        .await;
        self.done(done).map(|_| ())
    }

    /// Notes of which batch a thing is.
    pub(crate) async fn put_batch(&mut self, thing: &str, batch: &str) -> Result<(), StoreError> {
        let done = sqlx::query("UPDATE subjects SET batch = $1 WHERE kind = 'thing' AND name = $2")
            .bind(batch)
            .bind(thing)
            .execute(self.connection())
            .await;
        self.done(done).map(|_| ())
    }
}

fn read(row: &AnyRow) -> Option<OrderRecord> {
    Some(OrderRecord {
        id: unsigned(row.get("id")),
        at: Timestamp(unsigned(row.get("at"))),
        target: row.get::<String, _>("target").parse().ok()?,
        reason: Reason::from_word(row.get("reason"))?,
        certificates: unsigned(row.get("certificates")),
        done: unsigned(row.get("done")),
        finished: row.get::<i64, _>("finished") != 0,
        touched: Timestamp(unsigned(row.get("touched"))),
    })
}
