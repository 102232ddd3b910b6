//! The factory: stations with their quotas, batches, and one item a serial.

use std::collections::HashMap;

use countersign_model::time::Timestamp;
use sqlx::Row as _;
use sqlx::any::AnyRow;

use super::{Store, StoreError, Turn, signed, unsigned};
use crate::factory::ItemState;

/// A station of the factory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StationRecord {
    /// Its name.
    pub name: String,
    /// The key that its manifests are signed with, SubjectPublicKeyInfo DER in hexadecimal; empty for one that never
    /// works away from the authority.
    pub spki: String,
    /// Whether it may take identities.
    pub open: bool,
    /// How many identities it may take in all its life.
    pub quota: u64,
    /// When it became known.
    pub created_at: Timestamp,
}

/// A batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchRecord {
    /// Its name.
    pub name: String,
    /// The station that it is for.
    pub station: String,
    /// What is made.
    pub product: String,
    /// How many identities at most.
    pub quota: u64,
    /// What must not change from run to run, as canonical text.
    pub plan: String,
    /// The last authorisation under which a station may hand its identities out away from here, base64; empty before.
    pub authorisation: String,
    /// How many records of the station's manifest were reconciled.
    pub records: u64,
    /// The hash of the last of them, hexadecimal.
    pub head: String,
    /// When it began.
    pub created_at: Timestamp,
}

/// One serial of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ItemRecord {
    /// The serial.
    pub serial: String,
    /// Its batch.
    pub batch: String,
    /// The station.
    pub station: String,
    /// Where it stands.
    pub state: ItemState,
    /// SHA-256 of its public key, hexadecimal; empty before it is issued.
    pub spki_sha256: String,
    /// SHA-256 of its setup code's verifier, hexadecimal; empty before it is issued.
    pub verifier_sha256: String,
    /// Why it was refused or scrapped.
    pub note: String,
}

/// What a certificate of a batch is recorded under.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchItem {
    /// The batch.
    pub batch: String,
    /// The station.
    pub station: String,
    /// SHA-256 of the setup code's verifier, hexadecimal.
    pub verifier_sha256: String,
}

const STATION: &str = "SELECT name, spki, state, quota, created_at FROM stations";
const BATCH: &str = "SELECT name, station, product, quota, plan, authorisation, records, head, created_at FROM batches";
const ITEM: &str =
    "SELECT serial, batch, station, state, spki_sha256, verifier_sha256, note FROM factory_items";

impl Store {
    /// Every station, by name.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn stations(&self) -> Result<Vec<StationRecord>, StoreError> {
        let rows = sqlx::query(sqlx::AssertSqlSafe(format!("{STATION} ORDER BY name")))
            .fetch_all(&self.pool)
            .await
            .map_err(|error| self.failed(error))?;
        Ok(rows.iter().map(station).collect())
    }

    /// Every batch, by name.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn batches(&self) -> Result<Vec<BatchRecord>, StoreError> {
        let rows = sqlx::query(sqlx::AssertSqlSafe(format!("{BATCH} ORDER BY name")))
            .fetch_all(&self.pool)
            .await
            .map_err(|error| self.failed(error))?;
        Ok(rows.iter().map(batch).collect())
    }

    /// Every item of a batch, by serial.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn items(&self, batch: &str) -> Result<Vec<ItemRecord>, StoreError> {
        let query = format!("{ITEM} WHERE batch = $1 ORDER BY serial");
        let rows = sqlx::query(sqlx::AssertSqlSafe(query))
            .bind(batch)
            .fetch_all(&self.pool)
            .await
            .map_err(|error| self.failed(error))?;
        rows.iter().map(|row| item(row).ok_or_else(|| self.damaged_row())).collect()
    }

    /// By serial, the label of the CA that issued the factory identity; of everything in a batch that has one.
    pub(crate) async fn issuers(&self, batch: &str) -> Result<HashMap<String, String>, StoreError> {
        let rows = sqlx::query(
            "SELECT f.serial AS serial, c.issuer AS issuer FROM factory_items f
             JOIN certificates c ON c.kind = 'thing' AND c.name = f.serial AND c.purpose = 'idevid'
             WHERE f.batch = $1 ORDER BY c.changed",
        );
        let rows = rows.bind(batch).fetch_all(&self.pool).await;
        let rows = rows.map_err(|error| self.failed(error))?;
        Ok(rows.iter().map(|row| (row.get("serial"), row.get("issuer"))).collect())
    }
}

impl Turn {
    /// The station of that name.
    pub(crate) async fn station(
        &mut self,
        name: &str,
    ) -> Result<Option<StationRecord>, StoreError> {
        let row = sqlx::query(sqlx::AssertSqlSafe(format!("{STATION} WHERE name = $1")))
            .bind(name)
            .fetch_optional(self.connection())
            .await;
        Ok(self.done(row)?.as_ref().map(station))
    }

    /// Writes a station.
    pub(crate) async fn put_station(&mut self, record: &StationRecord) -> Result<(), StoreError> {
        let changed = self.next_generation().await?;
        let done = sqlx::query(
            "INSERT INTO stations (name, spki, state, quota, created_at, changed)
             VALUES ($1, $2, $3, $4, $5, $6)
             ON CONFLICT (name) DO UPDATE SET spki = excluded.spki, state = excluded.state,
                quota = excluded.quota, changed = excluded.changed",
        )
        .bind(record.name.as_str())
        .bind(record.spki.as_str())
        .bind(if record.open { "open" } else { "closed" })
        .bind(signed(record.quota))
        .bind(signed(record.created_at.0))
        .bind(changed)
        .execute(self.connection())
        .await;
        self.done(done).map(|_| ())
    }

    /// The batch of that name.
    pub(crate) async fn factory_batch(
        &mut self,
        name: &str,
    ) -> Result<Option<BatchRecord>, StoreError> {
        let row = sqlx::query(sqlx::AssertSqlSafe(format!("{BATCH} WHERE name = $1")))
            .bind(name)
            .fetch_optional(self.connection())
            .await;
        Ok(self.done(row)?.as_ref().map(batch))
    }

    /// Writes a batch.
    pub(crate) async fn put_factory_batch(
        &mut self,
        record: &BatchRecord,
    ) -> Result<(), StoreError> {
        let changed = self.next_generation().await?;
        let done = sqlx::query(
            "INSERT INTO batches (name, station, product, quota, plan, authorisation, records, head, created_at, changed)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
             ON CONFLICT (name) DO UPDATE SET quota = excluded.quota, authorisation = excluded.authorisation,
                records = excluded.records, head = excluded.head, changed = excluded.changed",
        )
        .bind(record.name.as_str())
        .bind(record.station.as_str())
        .bind(record.product.as_str())
        .bind(signed(record.quota))
        .bind(record.plan.as_str())
        .bind(record.authorisation.as_str())
        .bind(signed(record.records))
        .bind(record.head.as_str())
        .bind(signed(record.created_at.0))
        .bind(changed)
        .execute(self.connection())
        .await;
        self.done(done).map(|_| ())
    }

    /// How many identities a station has taken, in all batches.
    pub(crate) async fn used_by_station(&mut self, name: &str) -> Result<u64, StoreError> {
        let query =
            "SELECT COUNT(*) AS count FROM factory_items WHERE station = $1 AND state <> 'refused'";
        let row = sqlx::query(query).bind(name).fetch_one(self.connection()).await;
        Ok(unsigned(self.done(row)?.get("count")))
    }

    /// How many identities a batch has taken.
    pub(crate) async fn used_by_batch(&mut self, name: &str) -> Result<u64, StoreError> {
        let query =
            "SELECT COUNT(*) AS count FROM factory_items WHERE batch = $1 AND state <> 'refused'";
        let row = sqlx::query(query).bind(name).fetch_one(self.connection()).await;
        Ok(unsigned(self.done(row)?.get("count")))
    }

    /// The item of that serial, in whatever batch.
    pub(crate) async fn item(&mut self, serial: &str) -> Result<Option<ItemRecord>, StoreError> {
        let row = sqlx::query(sqlx::AssertSqlSafe(format!("{ITEM} WHERE serial = $1")))
            .bind(serial)
            .fetch_optional(self.connection())
            .await;
        let Some(row) = self.done(row)? else { return Ok(None) };
        item(&row).map(Some).ok_or_else(|| self.damaged("an item's row"))
    }

    /// Every item of a batch, as this turn sees it.
    pub(crate) async fn items(&mut self, batch: &str) -> Result<Vec<ItemRecord>, StoreError> {
        let query = format!("{ITEM} WHERE batch = $1 ORDER BY serial");
        let rows =
            sqlx::query(sqlx::AssertSqlSafe(query)).bind(batch).fetch_all(self.connection()).await;
        let rows = self.done(rows)?;
        rows.iter().map(|row| item(row).ok_or_else(|| self.damaged("an item's row"))).collect()
    }

    /// Writes an item.
    pub(crate) async fn put_item(&mut self, record: &ItemRecord) -> Result<(), StoreError> {
        self.put_items(std::slice::from_ref(record)).await
    }

    /// Writes items, none of them twice.
    pub(crate) async fn put_items(&mut self, records: &[ItemRecord]) -> Result<(), StoreError> {
        let insert = "INSERT INTO factory_items (serial, batch, station, state, spki_sha256, verifier_sha256, note)";
        let then =
            "ON CONFLICT (serial) DO UPDATE SET batch = excluded.batch, station = excluded.station,
            state = excluded.state, spki_sha256 = excluded.spki_sha256,
            verifier_sha256 = excluded.verifier_sha256, note = excluded.note";
        self.put_rows((insert, 7, then), records, |statement, record| {
            statement
                .bind(record.serial.clone())
                .bind(record.batch.clone())
                .bind(record.station.clone())
                .bind(record.state.as_str())
                .bind(record.spki_sha256.clone())
                .bind(record.verifier_sha256.clone())
                .bind(record.note.clone())
        })
        .await
    }
}

impl BatchItem {
    /// The item of a serial whose certificate is issued.
    pub(crate) fn issued(self, serial: &str, spki_sha256: &str) -> ItemRecord {
        ItemRecord {
            serial: serial.to_owned(),
            batch: self.batch,
            station: self.station,
            state: ItemState::Issued,
            spki_sha256: spki_sha256.to_owned(),
            verifier_sha256: self.verifier_sha256,
            note: String::new(),
        }
    }
}

fn station(row: &AnyRow) -> StationRecord {
    StationRecord {
        name: row.get("name"),
        spki: row.get("spki"),
        open: row.get::<String, _>("state") == "open",
        quota: unsigned(row.get("quota")),
        created_at: Timestamp(unsigned(row.get("created_at"))),
    }
}

fn batch(row: &AnyRow) -> BatchRecord {
    BatchRecord {
        name: row.get("name"),
        station: row.get("station"),
        product: row.get("product"),
        quota: unsigned(row.get("quota")),
        plan: row.get("plan"),
        authorisation: row.get("authorisation"),
        records: unsigned(row.get("records")),
        head: row.get("head"),
        created_at: Timestamp(unsigned(row.get("created_at"))),
    }
}

fn item(row: &AnyRow) -> Option<ItemRecord> {
    Some(ItemRecord {
        serial: row.get("serial"),
        batch: row.get("batch"),
        station: row.get("station"),
        state: ItemState::from_word(row.get("state"))?,
        spki_sha256: row.get("spki_sha256"),
        verifier_sha256: row.get("verifier_sha256"),
        note: row.get("note"),
    })
}
