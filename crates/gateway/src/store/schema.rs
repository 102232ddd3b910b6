//! The tables, version by version. A version that was released is never edited; a change is a new version.

use super::{StoreError, sorted};
use sqlx::{Connection, Row, SqliteConnection};
use std::path::Path;

/// The statements of each version, from 1 upwards.
const VERSIONS: &[&[&str]] = &[&[
    "CREATE TABLE sessions (
        id BIGINT PRIMARY KEY, subject TEXT NOT NULL, client_id TEXT NOT NULL, grants TEXT NOT NULL,
        expiry_secs BIGINT NOT NULL, offline_since BIGINT)",
    "CREATE TABLE subscriptions (
        session BIGINT NOT NULL, filter TEXT NOT NULL, qos BIGINT NOT NULL, no_local BIGINT NOT NULL,
        retain_as_published BIGINT NOT NULL, identifier BIGINT, PRIMARY KEY (session, filter))",
    "CREATE TABLE queue (
        session BIGINT NOT NULL, sequence BIGINT NOT NULL, topic TEXT NOT NULL, payload BYTEA NOT NULL,
        published_qos BIGINT NOT NULL, properties TEXT NOT NULL, expires_at BIGINT, origin TEXT NOT NULL,
        qos BIGINT NOT NULL, retain BIGINT NOT NULL, subscription_ids TEXT NOT NULL,
        packet_id BIGINT, released BIGINT NOT NULL, PRIMARY KEY (session, sequence))",
    "CREATE TABLE taken (
        session BIGINT NOT NULL, packet_id BIGINT NOT NULL, PRIMARY KEY (session, packet_id))",
    "CREATE TABLE retained (
        topic TEXT PRIMARY KEY, payload BYTEA NOT NULL, qos BIGINT NOT NULL, properties TEXT NOT NULL,
        expires_at BIGINT, origin TEXT NOT NULL)",
    "CREATE TABLE negotiations (
        subject TEXT NOT NULL, version TEXT NOT NULL, suite TEXT NOT NULL, grp TEXT NOT NULL,
        at BIGINT NOT NULL, PRIMARY KEY (subject, version, suite, grp))",
]];

/// Applies what is missing, each version in one transaction.
pub(super) async fn bring_up_to_date(
    connection: &mut SqliteConnection,
    path: &Path,
) -> Result<(), StoreError> {
    let failed = |error| sorted(path, error);
    sqlx::query("CREATE TABLE IF NOT EXISTS schema_version (version BIGINT NOT NULL)")
        .execute(&mut *connection)
        .await
        .map_err(failed)?;
    let row = sqlx::query("SELECT COALESCE(MAX(version), 0) FROM schema_version")
        .fetch_one(&mut *connection)
        .await
        .map_err(failed)?;
    let found: i64 = row.try_get(0).map_err(failed)?;
    let known = i64::try_from(VERSIONS.len()).unwrap_or(i64::MAX);
    if found > known {
        return Err(StoreError::Newer { path: path.to_owned(), found, known });
    }
    for (version, statements) in
        (1_i64..).zip(VERSIONS).skip_while(|(version, _)| *version <= found)
    {
        let mut transaction = connection.begin().await.map_err(failed)?;
        for statement in *statements {
            sqlx::query(*statement).execute(&mut *transaction).await.map_err(failed)?;
        }
        sqlx::query("INSERT INTO schema_version (version) VALUES ($1)")
            .bind(version)
            .execute(&mut *transaction)
            .await
            .map_err(failed)?;
        transaction.commit().await.map_err(failed)?;
    }
    Ok(())
}
