//! Subjects and the keys that belong to them.

use std::borrow::Cow;
use std::path::Path;
use std::sync::Arc;

use countersign_model::grant::Grant;
use countersign_model::time::Timestamp;
use sqlx::Row as _;
use sqlx::any::AnyRow;
use sqlx::sqlite::{SqliteConnectOptions, SqliteRow};
use sqlx::{Connection as _, SqliteConnection};

use super::place::BUSY;
use super::{Place, Store, StoreError, Turn, signed, unsigned};
use crate::registration::State;
use crate::registry::KeyHash;
use crate::subject::{Purpose, Subject};

/// What is known about a subject.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubjectRecord {
    /// Who.
    pub subject: Subject,
    /// Whether it may enrol.
    pub state: State,
    /// What a service may do at the gateway; empty for others.
    pub grants: Vec<Grant>,
    /// When it became known.
    pub created_at: Timestamp,
    /// The generation of its last change.
    pub changed: u64,
}

/// How a subject stands, as the live view keeps it.
pub(crate) struct SubjectStanding {
    pub(crate) subject: Subject,
    pub(crate) state: State,
    pub(crate) grants: Vec<Grant>,
}

/// Whose a public key is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KeyOwner {
    pub(crate) subject: Subject,
    pub(crate) purpose: String,
}

/// Rows that the database's thread may read before they are taken: on a busy machine each hand-over is a wait.
const ROWS_AHEAD: usize = 1 << 14;

/// Rows of one page, some hundred octets each. Few in tests, which all turn pages so.
const PAGE: i64 = if cfg!(test) { 2 } else { 5_000 };

/// Where a page ended.
pub(crate) struct PageMark {
    changed: i64,
    first: String,
    second: String,
}

impl PageMark {
    /// Before everything that changed after `generation`.
    pub(crate) fn after(generation: u64) -> Self {
        let changed = signed(generation).saturating_add(1);
        Self { changed, first: String::new(), second: String::new() }
    }
}

pub(super) const COLUMNS: &str =
    "SELECT kind, name, state, grants, created_at, changed FROM subjects";

impl Store {
    /// Every subject that changed after `generation`, oldest change first; all of them for 0.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn subjects_since(&self, generation: u64) -> Result<Vec<SubjectRecord>, StoreError> {
        let rows = sqlx::query(
            "SELECT kind, name, state, grants, created_at, changed FROM subjects WHERE changed > $1 ORDER BY changed",
        )
        .bind(signed(generation))
        .fetch_all(&self.pool)
        .await
        .map_err(|error| self.failed(error))?;
        rows.iter().map(|row| read(row).ok_or_else(|| self.damaged_row())).collect()
    }

    /// Every subject of a database that is only read: nothing in it is changed, brought up to date or locked, so that it
    /// may be in use or lie on a read-only disk.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn read_subjects(place: Place) -> Result<Vec<SubjectRecord>, StoreError> {
        let store = match &place {
            Place::File(path) => return read_ahead(&place, path).await,
            Place::Server(_) => Self {
                pool: place.read_only().await?,
                place,
                turn: Arc::default(),
                in_use: Arc::default(),
            },
        };
        let subjects = store.subjects_since(0).await;
        store.close().await;
        subjects
    }

    /// The next page of subjects, oldest change first; none when there is no more.
    pub(crate) async fn subjects_page(
        &self,
        mark: &mut PageMark,
    ) -> Result<Option<Vec<SubjectStanding>>, StoreError> {
        let rows = "SELECT changed, kind, name, state, grants FROM subjects
            WHERE (changed, kind, name) > ($1, $2, $3) ORDER BY changed, kind, name LIMIT $4";
        let page = self.page("changed, kind, name, state, grants", rows, mark).await?;
        let rows: Vec<(i64, &str, &str, &str, Cow<'_, str>)> = self.rows(&page)?;
        let Some(last) = rows.iter().map(|row| (row.0, row.1, row.2)).max() else {
            return Ok(None);
        };
        *mark = PageMark { changed: last.0, first: last.1.to_owned(), second: last.2.to_owned() };
        let standing = |(_, kind, name, state, grants): &(i64, &str, &str, &str, Cow<'_, str>)| {
            Some(SubjectStanding {
                subject: Subject::from_parts(kind, name).ok().flatten()?,
                state: State::from_word(state)?,
                grants: read_grants(grants)?,
            })
        };
        rows.iter().map(|row| standing(row).ok_or_else(|| self.damaged_row()).map(Some)).collect()
    }

    /// The next page of public keys (SHA-256) and whose they are, oldest change first; none when there is no more.
    pub(crate) async fn keys_page(
        &self,
        mark: &mut PageMark,
    ) -> Result<Option<Vec<(KeyHash, Subject)>>, StoreError> {
        let rows = "SELECT changed, spki_sha256, kind, name FROM subject_keys
            WHERE (changed, spki_sha256, CAST('' AS TEXT)) > ($1, $2, $3) ORDER BY changed, spki_sha256 LIMIT $4";
        let page = self.page("changed, spki_sha256, kind, name", rows, mark).await?;
        let rows: Vec<(i64, &str, &str, &str)> = self.rows(&page)?;
        let Some(last) = rows.iter().map(|row| (row.0, row.1)).max() else { return Ok(None) };
        *mark = PageMark { changed: last.0, first: last.1.to_owned(), second: String::new() };
        let owner = |(_, spki_sha256, kind, name): &(i64, &str, &str, &str)| {
            let mut hash = KeyHash::default();
            hex::decode_to_slice(spki_sha256, &mut hash).ok()?;
            Some((hash, Subject::from_parts(kind, name).ok().flatten()?))
        };
        rows.iter().map(|row| owner(row).ok_or_else(|| self.damaged_row()).map(Some)).collect()
    }

    /// Rows as one text of JSON: what the driver does for each row takes longer than the row.
    async fn page(&self, columns: &str, rows: &str, mark: &PageMark) -> Result<String, StoreError> {
        let row = sqlx::query(sqlx::AssertSqlSafe(self.place.as_one_text(columns, rows)))
            .bind(mark.changed)
            .bind(mark.first.as_str())
            .bind(mark.second.as_str())
            .bind(PAGE)
            .fetch_one(&self.pool)
            .await
            .map_err(|error| self.failed(error))?;
        Ok(row.get("page"))
    }

    fn rows<'a, T: serde::Deserialize<'a>>(&self, page: &'a str) -> Result<Vec<T>, StoreError> {
        serde_json::from_str(page).map_err(|_| self.damaged_row())
    }

    pub(super) fn damaged_row(&self) -> StoreError {
        damaged_row(&self.place)
    }
}

fn damaged_row(place: &Place) -> StoreError {
    let detail = "a row holds what was never written".to_owned();
    StoreError::Corrupt { place: place.clone(), detail }
}

/// Every subject in a file, with many rows read before they are taken.
async fn read_ahead(place: &Place, path: &Path) -> Result<Vec<SubjectRecord>, StoreError> {
    let failed = |error| StoreError::from_sqlx(place, error);
    let options = SqliteConnectOptions::new()
        .filename(path)
        .read_only(true)
        .busy_timeout(BUSY)
        .row_buffer_size(ROWS_AHEAD);
    let mut one = SqliteConnection::connect_with(&options).await.map_err(failed)?;
    let all = sqlx::AssertSqlSafe(format!("{COLUMNS} ORDER BY changed"));
    let rows: Vec<SqliteRow> = sqlx::query(all).fetch_all(&mut one).await.map_err(failed)?;
    one.close().await.map_err(failed)?;
    rows.iter().map(|row| read(row).ok_or_else(|| damaged_row(place))).collect()
}

impl Turn {
    /// What is known about `subject`.
    pub(crate) async fn subject(
        &mut self,
        subject: &Subject,
    ) -> Result<Option<SubjectRecord>, StoreError> {
        let row =
            sqlx::query(sqlx::AssertSqlSafe(format!("{COLUMNS} WHERE kind = $1 AND name = $2")))
                .bind(subject.kind())
                .bind(subject.name())
                .fetch_optional(self.connection())
                .await;
        let Some(row) = self.done(row)? else { return Ok(None) };
        read(&row).map(Some).ok_or_else(|| self.damaged("a subject's row"))
    }

    /// Writes a subject's state and grants; makes it known if it was not.
    pub(crate) async fn put_subject(
        &mut self,
        subject: &Subject,
        state: State,
        grants: &[Grant],
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let (subject, grants) = (subject.clone(), grants.to_vec());
        self.put_subjects(&[SubjectRecord { subject, state, grants, created_at: now, changed: 0 }])
            .await
    }

    /// The same for many, none of them twice. Of one that is known it leaves `created_at` as it was; `changed` is new.
    pub(crate) async fn put_subjects(
        &mut self,
        records: &[SubjectRecord],
    ) -> Result<(), StoreError> {
        let mut changed = self.next_generations(records.len()).await?..;
        let insert =
            "INSERT INTO subjects (kind, name, folded, state, grants, created_at, changed)";
        let then = "ON CONFLICT (kind, name) DO UPDATE SET
            state = excluded.state, grants = excluded.grants, changed = excluded.changed";
        self.put_rows((insert, 7, then), records, |statement, record| {
            let grants: Vec<String> = record.grants.iter().map(ToString::to_string).collect();
            statement
                .bind(record.subject.kind())
                .bind(record.subject.name().to_owned())
                .bind(record.subject.name().to_ascii_lowercase())
                .bind(record.state.as_str())
                .bind(serde_json::to_string(&grants).expect("strings serialise"))
                .bind(signed(record.created_at.0))
                .bind(changed.next())
        })
        .await
    }

    /// Gives keys to subjects. The primary key refuses a second owner.
    pub(crate) async fn put_keys(
        &mut self,
        keys: &[(String, Subject, Purpose)],
    ) -> Result<(), StoreError> {
        let mut changed = self.next_generations(keys.len()).await?..;
        let insert = "INSERT INTO subject_keys (spki_sha256, kind, name, purpose, changed)";
        self.put_rows((insert, 5, ""), keys, |statement, (spki_sha256, subject, purpose)| {
            statement
                .bind(spki_sha256.clone())
                .bind(subject.kind())
                .bind(subject.name().to_owned())
                .bind(purpose.as_str())
                .bind(changed.next())
        })
        .await
    }
}

pub(super) fn subject(row: &AnyRow) -> Option<Subject> {
    Subject::from_parts(row.get("kind"), row.get("name")).ok().flatten()
}

/// A row of a driver.
pub(super) trait Columns {
    fn text(&self, name: &str) -> String;
    fn number(&self, name: &str) -> u64;
}

impl Columns for AnyRow {
    fn text(&self, name: &str) -> String {
        self.get(name)
    }
    fn number(&self, name: &str) -> u64 {
        unsigned(self.get(name))
    }
}

impl Columns for SqliteRow {
    fn text(&self, name: &str) -> String {
        self.get(name)
    }
    fn number(&self, name: &str) -> u64 {
        unsigned(self.get(name))
    }
}

fn read_grants(text: &str) -> Option<Vec<Grant>> {
    let grants: Vec<String> = serde_json::from_str(text).ok()?;
    grants.iter().map(|grant| grant.parse().ok()).collect()
}

pub(super) fn read(row: &impl Columns) -> Option<SubjectRecord> {
    Some(SubjectRecord {
        subject: Subject::from_parts(&row.text("kind"), &row.text("name")).ok().flatten()?,
        state: State::from_word(&row.text("state"))?,
        grants: read_grants(&row.text("grants"))?,
        created_at: Timestamp(row.number("created_at")),
        changed: row.number("changed"),
    })
}
