//! What the authority knows: subjects, their keys, certificates, revocations. SQLite in `authority.db`.
//!
//! The SQL is the part that SQLite and PostgreSQL share; binary values are hexadecimal or base64 text. Every change
//! carries a *generation*, a number that only grows, so that other processes see what is new by asking for more.
//! Two processes may work on one file: writers take turns by [`Store::exclusive`].

mod alarms;
mod certificates;
mod codes;
mod factory;
mod issuing;
mod operators;
mod orders;
mod picture;
mod revocations;
mod roots;
mod schema;
mod subjects;

use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{Row as _, Sqlite, SqliteConnection, Transaction};

pub use self::certificates::{CertificateRecord, CertificateStatus};
pub use self::factory::{BatchItem, BatchRecord, ItemRecord, StationRecord};
pub use self::issuing::Outstanding;
pub(crate) use self::issuing::{Issuing, IssuingRow};
pub use self::orders::OrderRecord;
pub(crate) use self::picture::Picture;
pub use self::revocations::RevocationRecord;
pub(crate) use self::revocations::{CrlPlace, Standing};
pub(crate) use self::roots::RootRow;
pub use self::subjects::SubjectRecord;

/// How long a writer waits for another process's turn to end. One turn is a signature and three disk syncs.
const BUSY: Duration = Duration::from_secs(20);

/// Connections per process: one writes, the others read.
const CONNECTIONS: u32 = 4;

/// The database.
#[derive(Clone)]
pub struct Store {
    pool: SqlitePool,
    path: PathBuf,
    /// Writers of this process queue here, in order; SQLite's own waiting is not fair.
    turn: std::sync::Arc<tokio::sync::Mutex<()>>,
}

/// A writer's turn. Nothing is stored unless [`Turn::commit`] returns.
pub struct Turn {
    transaction: Transaction<'static, Sqlite>,
    path: PathBuf,
    _turn: tokio::sync::OwnedMutexGuard<()>,
}

impl Store {
    /// Opens or creates the database and checks that it is whole.
    ///
    /// # Errors
    /// [`StoreError`] names the file and the mend.
    pub async fn open(path: &Path) -> Result<Self, StoreError> {
        let store = Self::connect(path).await?;
        let mut turn = store.exclusive().await?;
        schema::migrate(&mut turn).await?;
        turn.commit().await?;
        Ok(store)
    }

    /// The same without looking at its schema.
    async fn connect(path: &Path) -> Result<Self, StoreError> {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(BUSY);
        let pool = SqlitePoolOptions::new()
            .max_connections(CONNECTIONS)
            .connect_with(options)
            .await
            .map_err(|error| StoreError::from_sqlx(path, error))?;
        let store = Self { pool, path: path.to_owned(), turn: std::sync::Arc::default() };
        store.check().await?;
        Ok(store)
    }

    /// Waits for this writer's turn.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn exclusive(&self) -> Result<Turn, StoreError> {
        let guard = self.turn.clone().lock_owned().await;
        let transaction =
            self.pool.begin_with("BEGIN IMMEDIATE").await.map_err(|error| self.failed(error))?;
        Ok(Turn { transaction, path: self.path.clone(), _turn: guard })
    }

    /// The number of the newest change.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn generation(&self) -> Result<u64, StoreError> {
        let row = sqlx::query("SELECT value FROM counters WHERE name = 'generation'")
            .fetch_one(&self.pool)
            .await
            .map_err(|error| self.failed(error))?;
        Ok(unsigned(row.get("value")))
    }

    /// Closes every connection. The last one of all processes writes the journal back into the file.
    pub(crate) async fn close(&self) {
        self.pool.close().await;
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    async fn check(&self) -> Result<(), StoreError> {
        let row = sqlx::query("PRAGMA quick_check(1)")
            .fetch_one(&self.pool)
            .await
            .map_err(|error| self.failed(error))?;
        let verdict: String = row.get(0);
        if verdict == "ok" {
            Ok(())
        } else {
            Err(StoreError::Corrupt { path: self.path.clone(), detail: verdict })
        }
    }

    fn failed(&self, error: sqlx::Error) -> StoreError {
        StoreError::from_sqlx(&self.path, error)
    }
}

impl Turn {
    /// Makes everything of this turn durable.
    ///
    /// # Errors
    /// [`StoreError`]; then nothing of it was stored.
    pub async fn commit(self) -> Result<(), StoreError> {
        let Self { transaction, path, _turn } = self;
        transaction.commit().await.map_err(|error| StoreError::from_sqlx(&path, error))
    }

    /// A number above all that were given out before.
    pub(crate) async fn next_generation(&mut self) -> Result<i64, StoreError> {
        let row = sqlx::query(
            "UPDATE counters SET value = value + 1 WHERE name = 'generation' RETURNING value",
        )
        .fetch_one(&mut *self.transaction)
        .await;
        Ok(self.done(row)?.get("value"))
    }

    fn connection(&mut self) -> &mut SqliteConnection {
        &mut self.transaction
    }

    fn done<T>(&self, result: Result<T, sqlx::Error>) -> Result<T, StoreError> {
        result.map_err(|error| StoreError::from_sqlx(&self.path, error))
    }

    fn damaged(&self, what: &str) -> StoreError {
        StoreError::Corrupt { path: self.path.clone(), detail: what.to_owned() }
    }
}

/// Counts and instants are stored as signed 64-bit integers and never negative.
fn unsigned(value: i64) -> u64 {
    u64::try_from(value).unwrap_or_default()
}

fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// Why the database did not do what was asked; always the environment's fault.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file is not what was written.
    #[error(
        "{}: the database is damaged ({detail}): stop, move it aside together with its -wal and -shm files, and restore all three from a backup; ledger.log beside it tells what was issued since",
        path.display()
    )]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What was found.
        detail: String,
    },
    /// It was made by a later version.
    #[error("{}: the database has schema {found}, this program knows {known}: use the newer program", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// What it has.
        found: i64,
        /// What is known.
        known: i64,
    },
    /// Disk full, no permission, another process that does not end its turn.
    #[error("{}: {source}: free space, mend the permissions or end the process that holds it, then try again", path.display())]
    Unavailable {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: sqlx::Error,
    },
}

impl StoreError {
    fn from_sqlx(path: &Path, error: sqlx::Error) -> Self {
        // SQLITE_CORRUPT is 11 and SQLITE_NOTADB is 26, in the low octet of extended codes.
        let code = error
            .as_database_error()
            .and_then(|error| error.code())
            .and_then(|code| code.parse::<u32>().ok());
        match code.map(|code| code & 0xff) {
            //= specs/house.md#house-state
            //# A corrupt state file MUST be refused with its name and the mend.
            Some(11 | 26) => Self::Corrupt { path: path.to_owned(), detail: error.to_string() },
            _ => Self::Unavailable { path: path.to_owned(), source: error },
        }
    }
}

#[cfg(test)]
mod tests;
