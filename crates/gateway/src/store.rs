//! What the gateway keeps on disk: sessions, subscriptions, waiting and retained messages, and who was seen with what.
//!
//! One SQLite file in WAL mode with `synchronous=FULL`: when [`Store::apply`] returns, a power cut takes nothing back.
//! The statements keep to what SQLite and PostgreSQL share.

pub mod fleet;
mod read;
mod schema;
mod write;
pub(crate) mod writer;

use crate::broker::record::Snapshot;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection, Row, SqliteConnection};
use std::path::{Path, PathBuf};

/// The open file.
#[derive(Debug)]
pub struct Store {
    connection: SqliteConnection,
    path: PathBuf,
}

//= specs/house.md#house-state
//# A corrupt state file MUST be refused with its name and the mend.
/// Why the store cannot be used. All are the environment's: the disk, the file.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file is damaged or no database.
    #[error(
        "{} is damaged ({why}). Move it and its -wal and -shm files away and start again: devices and services reconnect \
         by themselves, but messages that waited in it are lost. Or put a backup in its place", path.display()
    )]
    Corrupt {
        /// Which file.
        path: PathBuf,
        /// What the database says.
        why: String,
    },
    /// A row holds what this program never wrote.
    #[error("{} holds a {what} that cannot be read: {why}. Put a backup in its place, or move the file away", path.display())]
    Row {
        /// Which file.
        path: PathBuf,
        /// Of which table.
        what: &'static str,
        /// What is wrong.
        why: String,
    },
    /// The file was written by a newer program.
    #[error("{} has schema version {found}, this program knows {known}: use the newer countersign", path.display())]
    Newer {
        /// Which file.
        path: PathBuf,
        /// Its version.
        found: i64,
        /// Ours.
        known: i64,
    },
    /// Any other failure of the disk or database.
    #[error("{}: {source}", path.display())]
    Database {
        /// Which file.
        path: PathBuf,
        /// The database's error.
        #[source]
        source: sqlx::Error,
    },
}

impl Store {
    /// Opens or creates the file, brings it to the current schema and reads what it holds.
    ///
    /// # Errors
    /// [`StoreError`]; a damaged file is left as it is.
    pub async fn open(path: &Path) -> Result<(Self, Snapshot), StoreError> {
        let failed = |error| sorted(path, error);
        let connection = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(std::time::Duration::from_secs(5))
            .connect()
            .await
            .map_err(failed)?;
        let mut store = Self { connection, path: path.to_owned() };
        let check = sqlx::query("PRAGMA quick_check(1)").fetch_one(&mut store.connection).await;
        let check: String = check.and_then(|row| row.try_get(0)).map_err(failed)?;
        if check != "ok" {
            return Err(StoreError::Corrupt { path: path.to_owned(), why: check });
        }
        schema::bring_up_to_date(&mut store.connection, path).await?;
        let snapshot = store.read().await?;
        Ok((store, snapshot))
    }

    /// Closes the file, so that it is whole by itself, without the journal beside it. Nothing is lost without this: the
    /// next start reads the journal.
    pub async fn close(self) {
        if let Err(error) = self.connection.close().await {
            tracing::warn!(%error, "the gateway's database could not be closed");
        }
    }

    fn failed(&self, error: sqlx::Error) -> StoreError {
        sorted(&self.path, error)
    }
}

/// SQLITE_CORRUPT and SQLITE_NOTADB mean the file; all else is passed on.
fn sorted(path: &Path, source: sqlx::Error) -> StoreError {
    let code = source.as_database_error().and_then(|error| error.code().map(|c| c.into_owned()));
    let primary = code.and_then(|code| code.parse::<u32>().ok()).map(|code| code & 0xff);
    match primary {
        Some(11 | 26) => StoreError::Corrupt { path: path.to_owned(), why: source.to_string() },
        _ => StoreError::Database { path: path.to_owned(), source },
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
