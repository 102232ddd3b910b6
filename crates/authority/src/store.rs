//! What the authority knows: subjects, their keys, certificates, revocations. SQLite in `authority.db`, or PostgreSQL
//! where the configuration says so; [`place`] has what differs.
//!
//! The SQL is the part that SQLite and PostgreSQL share; binary values are hexadecimal or base64 text. Every change
//! carries a *generation*, a number that only grows, so that other processes see what is new by asking for more.
//! Two processes may work on one database: writers take turns by [`Store::exclusive`].

mod alarms;
mod certificates;
mod checked;
mod codes;
mod factory;
mod group;
mod issuing;
mod operators;
mod orders;
mod picture;
pub mod place;
mod policy_keys;
mod revocations;
mod roots;
mod schema;
mod subjects;

use sqlx::{Any, AnyConnection, AnyPool, Row as _, Transaction};

pub use self::certificates::{CertificateRecord, CertificateStatus};
use self::checked::InUse;
pub use self::factory::{BatchItem, BatchRecord, ItemRecord, StationRecord};
pub(crate) use self::group::{Asking, Group};
pub use self::issuing::Outstanding;
pub(crate) use self::issuing::{Issuing, IssuingRow};
pub use self::orders::OrderRecord;
pub(crate) use self::picture::Picture;
pub use self::place::{DatabaseConfig, Place};
pub(crate) use self::policy_keys::PolicyKeyRow;
pub use self::revocations::RevocationRecord;
pub(crate) use self::revocations::{CrlPlace, Standing};
pub(crate) use self::roots::RootRow;
pub use self::subjects::SubjectRecord;
pub(crate) use self::subjects::{PageMark, SubjectStanding};

/// The database.
#[derive(Clone)]
pub struct Store {
    pool: AnyPool,
    place: Place,
    /// Writers of this process queue here, in order; SQLite's own waiting is not fair.
    turn: std::sync::Arc<tokio::sync::Mutex<()>>,
    /// That this process has a file open, while it has.
    in_use: std::sync::Arc<Option<InUse>>,
}

/// A writer's turn. Nothing is stored unless [`Turn::commit`] returns.
pub struct Turn {
    transaction: Transaction<'static, Any>,
    place: Place,
    _turn: tokio::sync::OwnedMutexGuard<()>,
}

impl Store {
    /// Opens or creates the database and checks that it is whole; a file that was closed in order, not each time.
    ///
    /// # Errors
    /// [`StoreError`] names the place and the mend.
    pub async fn open(place: Place) -> Result<Self, StoreError> {
        let store = Self::connect(place).await?;
        let mut turn = store.exclusive().await?;
        schema::migrate(&mut turn).await?;
        turn.commit().await?;
        Ok(store)
    }

    /// The same without looking at its schema.
    async fn connect(place: Place) -> Result<Self, StoreError> {
        let in_use = InUse::enter(&place).await;
        let pool = place.connect(in_use.as_ref().is_none_or(InUse::needs_check)).await?;
        if let Some(in_use) = &in_use {
            in_use.passed().await;
        }
        Ok(Self { pool, place, turn: std::sync::Arc::default(), in_use: in_use.into() })
    }

    /// Checks that this is the database beside that ledger, by the ledger's key; a new database becomes that. `held`: the
    /// ceremony is over, and so the database cannot be new.
    ///
    /// # Errors
    /// [`StoreError::Address`] for one that belongs to another ledger, or is empty where it cannot be.
    //= specs/house.md#house-database
    //# A database that belongs to another ledger, or lost its content, MUST be refused.
    pub(crate) async fn belongs_to(&self, ledger: &str, held: bool) -> Result<(), StoreError> {
        let refused = |detail: String| StoreError::Address { place: self.place.clone(), detail };
        let mut turn = self.exclusive().await?;
        let row = sqlx::query("SELECT ledger FROM belongs").fetch_optional(turn.connection()).await;
        match turn.done(row)?.map(|row| row.get::<String, _>("ledger")) {
            Some(other) if other == ledger => return Ok(()),
            Some(other) => {
                return Err(refused(format!(
                    "belongs to the ledger {other}, and the one here is {ledger}: name this authority's own database"
                )));
            }
            None => {}
        }
        let row = sqlx::query("SELECT value FROM counters WHERE name = 'generation'")
            .fetch_one(turn.connection())
            .await;
        if held && turn.done(row)?.get::<i64, _>("value") == 0 {
            return Err(refused(
                "is empty, and the authority's ceremony is over: name the database that it used, or restore a backup"
                    .to_owned(),
            ));
        }
        let done = sqlx::query("INSERT INTO belongs (ledger) VALUES ($1)")
            .bind(ledger)
            .execute(turn.connection())
            .await;
        turn.done(done)?;
        turn.commit().await
    }

    /// Waits for this writer's turn.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn exclusive(&self) -> Result<Turn, StoreError> {
        let guard = self.turn.clone().lock_owned().await;
        let (begin, lock) = self.place.turn();
        let mut transaction =
            self.pool.begin_with(begin).await.map_err(|error| self.failed(error))?;
        if let Some(lock) = lock {
            let taken = sqlx::query("SELECT pg_advisory_xact_lock($1)").bind(lock);
            taken.execute(&mut *transaction).await.map_err(|error| self.failed(error))?;
        }
        Ok(Turn { transaction, place: self.place.clone(), _turn: guard })
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

    /// Closes every connection. The last one of all processes writes SQLite's journal back into the file.
    pub(crate) async fn close(&self) {
        self.pool.close().await;
        if let Some(in_use) = &*self.in_use {
            in_use.leave();
        }
    }

    fn failed(&self, error: sqlx::Error) -> StoreError {
        StoreError::from_sqlx(&self.place, error)
    }
}

impl Turn {
    /// Makes everything of this turn durable.
    ///
    /// # Errors
    /// [`StoreError`]; then nothing of it was stored.
    pub async fn commit(self) -> Result<(), StoreError> {
        let Self { transaction, place, _turn } = self;
        transaction.commit().await.map_err(|error| StoreError::from_sqlx(&place, error))
    }

    /// A number above all that were given out before.
    pub(crate) async fn next_generation(&mut self) -> Result<i64, StoreError> {
        self.next_generations(1).await
    }

    /// The first of so many numbers in a row, above all that were given out before.
    async fn next_generations(&mut self, count: usize) -> Result<i64, StoreError> {
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        let row = sqlx::query(
            "UPDATE counters SET value = value + $1 WHERE name = 'generation' RETURNING value",
        )
        .bind(count)
        .fetch_one(&mut *self.transaction)
        .await;
        Ok(self.done(row)?.get::<i64, _>("value") - count + 1)
    }

    fn connection(&mut self) -> &mut AnyConnection {
        &mut self.transaction
    }

    fn done<T>(&self, result: Result<T, sqlx::Error>) -> Result<T, StoreError> {
        result.map_err(|error| StoreError::from_sqlx(&self.place, error))
    }

    fn damaged(&self, what: &str) -> StoreError {
        StoreError::Corrupt { place: self.place.clone(), detail: what.to_owned() }
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
    /// It does not hold what was written.
    #[error("{place}: the database is damaged ({detail}): {}", place.mend_damage())]
    Corrupt {
        /// Where it is.
        place: Place,
        /// What was found.
        detail: String,
    },
    /// It was made by a later version.
    #[error(
        "{place}: the database has schema {found}, this program knows {known}: use the newer program"
    )]
    Newer {
        /// Where it is.
        place: Place,
        /// What it has.
        found: i64,
        /// What is known.
        known: i64,
    },
    /// It is not one to work with.
    #[error("{place}: {detail}")]
    Address {
        /// Where it is.
        place: Place,
        /// What is wrong, and the mend.
        detail: String,
    },
    /// Disk full, no permission, no server, another process that does not end its turn.
    #[error("{place}: {source}: {}", place.mend_absence())]
    Unavailable {
        /// Where it is.
        place: Place,
        /// The cause.
        source: sqlx::Error,
    },
}

impl StoreError {
    fn from_sqlx(place: &Place, error: sqlx::Error) -> Self {
        let place = place.clone();
        //= specs/house.md#house-state
        //# A corrupt state file MUST be refused with its name and the mend.
        if place.is_damage(&error) {
            Self::Corrupt { place, detail: error.to_string() }
        } else {
            Self::Unavailable { place, source: error }
        }
    }
}

#[cfg(test)]
mod tests;
