//! Who was seen, and what they offered and agreed on: written in the writer's batches, read by `policy dry-run` while the
//! gateway serves or when it does not.

use super::read::{column, number, optional, parsed};
use super::{Store, StoreError, schema, sorted};
use countersign_crypto::tls::Offered;
use countersign_model::time::Timestamp;
use countersign_protocol::fleet::{Certificate, Negotiated, Offer, Record};
use sqlx::sqlite::{SqliteConnectOptions, SqliteRow};
use sqlx::{ConnectOptions, Connection, SqliteConnection};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

/// Kinds of offer that are kept of one subject, those made last. A device has one between two updates; a service has one a program.
pub const MAX_OFFERS: u8 = 8;

/// Rows that the database's thread may read before they are taken: on a busy machine each hand-over is a wait.
const ROWS_AHEAD: usize = 1 << 14;

/// Who came by, with what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sighting {
    /// `thing:NAME` or `service:NAME`.
    pub subject: String,
    /// The protocol version.
    pub version: String,
    /// The cipher suite that was agreed on.
    pub suite: String,
    /// The group that was agreed on.
    pub group: String,
    /// What it had offered; `None` where the acceptor does not know.
    pub offered: Option<Offered>,
    /// The certificate that it showed.
    pub certificate: Certificate,
    /// When.
    pub at: Timestamp,
}

/// Which policy a subject says that it holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldPolicy {
    /// `thing:NAME` or `service:NAME`.
    pub subject: String,
    /// The policy's version.
    pub version: u64,
    /// When it said so.
    pub at: Timestamp,
}

/// The newest root that a device says it trusts, and from which place on it trusts any.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldRoot {
    /// `thing:NAME`.
    pub subject: String,
    /// SHA-256 of the root, hexadecimal; `None` for one who is only known to be there.
    pub root: Option<String>,
    /// The place from which on it trusts roots; `None` where its software knows of no withdrawals.
    pub floor: Option<u64>,
    /// When.
    pub at: Timestamp,
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

impl Store {
    /// Notes who was seen.
    ///
    /// # Errors
    /// The database's; nothing is noted then.
    pub async fn note(&mut self, sightings: &[Sighting]) -> Result<(), StoreError> {
        let result = note_all(&mut self.connection, sightings).await;
        result.map_err(|error| self.failed(error))
    }

    /// Notes which policy a subject holds.
    ///
    /// # Errors
    /// The database's.
    pub async fn note_policy(&mut self, held: &HeldPolicy) -> Result<(), StoreError> {
        let done = sqlx::query(
            "INSERT INTO seen (subject, first_at, last_at, serial, not_after, policy_version, policy_at)
             VALUES ($1, $3, $3, '', 0, $2, $3)
             ON CONFLICT (subject) DO UPDATE SET policy_version = excluded.policy_version,
                 policy_at = excluded.policy_at",
        )
        .bind(held.subject.clone())
        .bind(signed(held.version))
        .bind(signed(held.at.0))
        .execute(&mut self.connection)
        .await;
        done.map(|_| ()).map_err(|error| self.failed(error))
    }

    /// Notes which root a device trusts, and that it was there.
    ///
    /// # Errors
    /// The database's; nothing is noted then.
    pub async fn note_root(&mut self, held: &HeldRoot) -> Result<(), StoreError> {
        let result = note_root(&mut self.connection, held).await;
        result.map_err(|error| self.failed(error))
    }

    /// Everybody who was ever seen, by subject.
    ///
    /// # Errors
    /// The database's; a row that cannot be read.
    pub async fn fleet(&mut self) -> Result<Vec<Record>, StoreError> {
        let version = schema::version(&mut self.connection).await;
        let version = version.map_err(|error| self.failed(error))?;
        let mut records = BTreeMap::new();
        if version == 0 {
            return Ok(Vec::new());
        }
        for row in self.rows("SELECT * FROM negotiations ORDER BY subject, at DESC").await? {
            let read = negotiated(&row).map_err(self.unreadable("negotiation"))?;
            add_negotiation(&mut records, read);
        }
        if version >= schema::WITH_FLEET {
            for row in self.rows("SELECT * FROM seen").await? {
                let read = seen(&row).map_err(self.unreadable("sighting"))?;
                add_sighting(&mut records, read);
            }
            for row in self.rows("SELECT * FROM offers ORDER BY subject, last_at DESC").await? {
                let (subject, offer) = offer(&row).map_err(self.unreadable("offer"))?;
                if let Some(record) = records.get_mut(&subject) {
                    record.offers.push(offer);
                }
            }
        }
        if version >= schema::WITH_ANCHORS {
            for row in self.rows("SELECT * FROM anchors").await? {
                let (subject, root, floor) =
                    anchor(&row, version).map_err(self.unreadable("root"))?;
                if let Some(record) = records.get_mut(&subject) {
                    (record.root, record.root_floor) = (Some(root), floor);
                }
            }
        }
        Ok(records.into_values().collect())
    }
}

/// Reads a gateway's file without changing it, while the gateway serves or when it does not; also one that an older
/// program wrote, which holds finished handshakes only.
///
/// # Errors
/// [`StoreError`].
pub async fn read_fleet(path: &Path) -> Result<Vec<Record>, StoreError> {
    let failed = |error| sorted(path, error);
    let connection = SqliteConnectOptions::new()
        .filename(path)
        .read_only(true)
        .busy_timeout(Duration::from_secs(5))
        .row_buffer_size(ROWS_AHEAD)
        .connect()
        .await
        .map_err(failed)?;
    let mut store = Store { connection, path: path.to_owned() };
    schema::not_newer(&mut store.connection, path).await?;
    // One view of the file, whatever the gateway writes meanwhile.
    sqlx::query("BEGIN").execute(&mut store.connection).await.map_err(failed)?;
    let records = store.fleet().await?;
    store.connection.close().await.map_err(failed)?;
    Ok(records)
}

async fn note_all(
    connection: &mut SqliteConnection,
    sightings: &[Sighting],
) -> Result<(), sqlx::Error> {
    let mut transaction = connection.begin().await?;
    for one in sightings {
        let at = signed(one.at.0);
        sqlx::query(
            "INSERT INTO negotiations (subject, version, suite, grp, at) VALUES ($1, $2, $3, $4, $5)
             ON CONFLICT (subject, version, suite, grp) DO UPDATE SET at = excluded.at",
        )
        .bind(one.subject.clone())
        .bind(one.version.clone())
        .bind(one.suite.clone())
        .bind(one.group.clone())
        .bind(at)
        .execute(&mut *transaction)
        .await?;
        let certificate = &one.certificate;
        sqlx::query(
            "INSERT INTO seen (subject, first_at, last_at, serial, key_algorithm, signature_algorithm, not_after)
             VALUES ($1, $2, $2, $3, $4, $5, $6)
             ON CONFLICT (subject) DO UPDATE SET last_at = excluded.last_at, serial = excluded.serial,
                 key_algorithm = excluded.key_algorithm,
                 signature_algorithm = excluded.signature_algorithm, not_after = excluded.not_after",
        )
        .bind(one.subject.clone())
        .bind(at)
        .bind(certificate.serial.clone())
        .bind(certificate.key.clone())
        .bind(certificate.signature.clone())
        .bind(signed(certificate.not_after.0))
        .execute(&mut *transaction)
        .await?;
        if let Some(offered) = &one.offered {
            note_offer(&mut transaction, one, &offered.to_string()).await?;
        }
    }
    transaction.commit().await
}

async fn note_root(connection: &mut SqliteConnection, held: &HeldRoot) -> Result<(), sqlx::Error> {
    let mut transaction = connection.begin().await?;
    sqlx::query(
        "UPDATE seen SET last_at = CASE WHEN last_at < $2 THEN $2 ELSE last_at END WHERE subject = $1",
    )
    .bind(held.subject.clone())
    .bind(signed(held.at.0))
    .execute(&mut *transaction)
    .await?;
    if let Some(root) = &held.root {
        sqlx::query(
            "INSERT INTO anchors (subject, root, at, floor) VALUES ($1, $2, $3, $4)
             ON CONFLICT (subject) DO UPDATE SET root = excluded.root, at = excluded.at,
                 floor = excluded.floor",
        )
        .bind(held.subject.clone())
        .bind(root.clone())
        .bind(signed(held.at.0))
        .bind(held.floor.map(signed))
        .execute(&mut *transaction)
        .await?;
    }
    transaction.commit().await
}

async fn note_offer(
    connection: &mut SqliteConnection,
    one: &Sighting,
    offer: &str,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO offers (subject, offer, suite, grp, first_at, last_at) VALUES ($1, $2, $3, $4, $5, $5)
         ON CONFLICT (subject, offer) DO UPDATE SET suite = excluded.suite, grp = excluded.grp,
             last_at = excluded.last_at",
    )
    .bind(one.subject.clone())
    .bind(offer.to_owned())
    .bind(one.suite.clone())
    .bind(one.group.clone())
    .bind(signed(one.at.0))
    .execute(&mut *connection)
    .await?;
    sqlx::query(
        "DELETE FROM offers WHERE subject = $1 AND offer NOT IN
             (SELECT offer FROM offers WHERE subject = $1 ORDER BY last_at DESC, offer LIMIT $2)",
    )
    .bind(one.subject.clone())
    .bind(i64::from(MAX_OFFERS))
    .execute(&mut *connection)
    .await?;
    Ok(())
}

type Why = String;

fn instant(row: &SqliteRow, name: &str) -> Result<Timestamp, Why> {
    number(row, name).map(Timestamp)
}

fn anchor(row: &SqliteRow, version: i64) -> Result<(String, String, Option<u64>), Why> {
    let floor = if version >= schema::WITH_FLOORS { optional(row, "floor")? } else { None };
    Ok((column(row, "subject")?, column(row, "root")?, floor))
}

fn negotiated(row: &SqliteRow) -> Result<(String, Negotiated), Why> {
    let one = Negotiated {
        version: column(row, "version")?,
        suite: column(row, "suite")?,
        group: column(row, "grp")?,
        at: instant(row, "at")?,
    };
    Ok((column(row, "subject")?, one))
}

fn add_negotiation(records: &mut BTreeMap<String, Record>, (subject, one): (String, Negotiated)) {
    let record = records.entry(subject).or_insert_with_key(|subject| Record {
        subject: subject.clone(),
        first_seen: one.at,
        last_seen: one.at,
        certificate: None,
        policy_version: None,
        root: None,
        root_floor: None,
        negotiated: Vec::new(),
        offers: Vec::new(),
    });
    record.first_seen = record.first_seen.min(one.at);
    record.last_seen = record.last_seen.max(one.at);
    record.negotiated.push(one);
}

fn seen(row: &SqliteRow) -> Result<Record, Why> {
    let serial: String = column(row, "serial")?;
    let certificate = Certificate {
        key: column(row, "key_algorithm")?,
        signature: column(row, "signature_algorithm")?,
        not_after: instant(row, "not_after")?,
        serial,
    };
    Ok(Record {
        subject: column(row, "subject")?,
        first_seen: instant(row, "first_at")?,
        last_seen: instant(row, "last_at")?,
        // A subject may have said which policy it holds before any certificate was noted.
        certificate: (!certificate.serial.is_empty()).then_some(certificate),
        policy_version: optional(row, "policy_version")?,
        root: None,
        root_floor: None,
        negotiated: Vec::new(),
        offers: Vec::new(),
    })
}

fn add_sighting(records: &mut BTreeMap<String, Record>, read: Record) {
    match records.get_mut(&read.subject) {
        Some(record) => {
            record.first_seen = record.first_seen.min(read.first_seen);
            record.last_seen = record.last_seen.max(read.last_seen);
            record.certificate = read.certificate;
            record.policy_version = read.policy_version;
        }
        None => {
            records.insert(read.subject.clone(), read);
        }
    }
}

fn offer(row: &SqliteRow) -> Result<(String, Offer), Why> {
    let one = Offer {
        offered: parsed(row, "offer")?,
        suite: column(row, "suite")?,
        group: column(row, "grp")?,
        first: instant(row, "first_at")?,
        last: instant(row, "last_at")?,
    };
    Ok((column(row, "subject")?, one))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
