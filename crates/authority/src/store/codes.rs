//! Codes for one enrolment.

use countersign_model::grant::Grant;
use countersign_model::time::Timestamp;
use sqlx::Row as _;

use super::{StoreError, Turn, signed, subjects, unsigned};
use crate::subject::Subject;

/// What is kept of a code.
#[derive(Debug, Clone)]
pub(crate) struct CodeRow {
    pub(crate) subject: Subject,
    pub(crate) grants: Vec<Grant>,
    pub(crate) ends: Timestamp,
    pub(crate) guesses: u64,
    /// The request that it admitted; empty before.
    pub(crate) request_sha256: String,
}

impl Turn {
    pub(crate) async fn put_code(
        &mut self,
        code_sha256: &str,
        subject: &Subject,
        grants: &[Grant],
        now: Timestamp,
        ends: Timestamp,
    ) -> Result<(), StoreError> {
        let grants: Vec<String> = grants.iter().map(ToString::to_string).collect();
        let done = sqlx::query(
            "INSERT INTO enrolment_codes (code_sha256, kind, name, grants, created_at, ends_at, guesses, request_sha256)
             VALUES ($1, $2, $3, $4, $5, $6, 0, '')",
        )
        .bind(code_sha256)
        .bind(subject.kind())
        .bind(subject.name())
        .bind(serde_json::to_string(&grants).expect("strings serialise"))
        .bind(signed(now.0))
        .bind(signed(ends.0))
        .execute(self.connection())
        .await;
        self.done(done).map(|_| ())
    }

    pub(crate) async fn code(&mut self, code_sha256: &str) -> Result<Option<CodeRow>, StoreError> {
        let row = sqlx::query("SELECT * FROM enrolment_codes WHERE code_sha256 = $1")
            .bind(code_sha256)
            .fetch_optional(self.connection())
            .await;
        let Some(row) = self.done(row)? else { return Ok(None) };
        let read = || {
            let grants: Vec<String> = serde_json::from_str(row.get("grants")).ok()?;
            Some(CodeRow {
                subject: subjects::subject(&row)?,
                grants: grants.iter().map(|one| one.parse().ok()).collect::<Option<_>>()?,
                ends: Timestamp(unsigned(row.get("ends_at"))),
                guesses: unsigned(row.get("guesses")),
                request_sha256: row.get("request_sha256"),
            })
        };
        read().map(Some).ok_or_else(|| self.damaged("an enrolment code's row"))
    }

    /// Counts a wrong code for that name; how many of its codes became void by it.
    pub(crate) async fn count_guess(&mut self, name: &str, most: u64) -> Result<u64, StoreError> {
        let done = sqlx::query("UPDATE enrolment_codes SET guesses = guesses + 1 WHERE name = $1")
            .bind(name)
            .execute(self.connection())
            .await;
        self.done(done)?;
        let row = sqlx::query(
            "SELECT COUNT(*) AS void FROM enrolment_codes WHERE name = $1 AND guesses = $2",
        )
        .bind(name)
        .bind(signed(most))
        .fetch_one(self.connection())
        .await;
        Ok(unsigned(self.done(row)?.get("void")))
    }

    pub(crate) async fn use_code(
        &mut self,
        code_sha256: &str,
        request_sha256: &str,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let done = sqlx::query(
            "UPDATE enrolment_codes SET used_at = $1, request_sha256 = $2 WHERE code_sha256 = $3",
        )
        .bind(signed(now.0))
        .bind(request_sha256)
        .bind(code_sha256)
        .execute(self.connection())
        .await;
        self.done(done).map(|_| ())
    }
}
