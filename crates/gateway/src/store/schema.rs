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
], &[
    "CREATE TABLE seen (
        subject TEXT PRIMARY KEY, first_at BIGINT NOT NULL, last_at BIGINT NOT NULL,
        serial TEXT NOT NULL, key_algorithm TEXT, signature_algorithm TEXT, not_after BIGINT NOT NULL,
        policy_version BIGINT, policy_at BIGINT)",
    "CREATE TABLE offers (
        subject TEXT NOT NULL, offer TEXT NOT NULL, suite TEXT NOT NULL, grp TEXT NOT NULL,
        first_at BIGINT NOT NULL, last_at BIGINT NOT NULL, PRIMARY KEY (subject, offer))",
], &[
    "CREATE TABLE anchors (subject TEXT PRIMARY KEY, root TEXT NOT NULL, at BIGINT NOT NULL)",
], &[
    "ALTER TABLE anchors ADD COLUMN floor BIGINT",
]];

/// The first version with the tables of `store/fleet.rs`.
pub(super) const WITH_FLEET: i64 = 2;

/// The first version with the table of acknowledged roots.
pub(super) const WITH_ANCHORS: i64 = 3;

/// The first version that notes from which place on a device trusts roots.
pub(super) const WITH_FLOORS: i64 = 4;

/// The file's version; 0 for one without tables.
pub(super) async fn version(connection: &mut SqliteConnection) -> Result<i64, sqlx::Error> {
    let named = "SELECT name FROM sqlite_master WHERE type = 'table' AND name = 'schema_version'";
    if sqlx::query(named).fetch_optional(&mut *connection).await?.is_none() {
        return Ok(0);
    }
    let newest = "SELECT COALESCE(MAX(version), 0) FROM schema_version";
    sqlx::query(newest).fetch_one(&mut *connection).await?.try_get(0)
}

/// The file's version, unless it is beyond this program.
pub(super) async fn not_newer(
    connection: &mut SqliteConnection,
    path: &Path,
) -> Result<i64, StoreError> {
    let found = version(connection).await.map_err(|error| sorted(path, error))?;
    let known = i64::try_from(VERSIONS.len()).unwrap_or(i64::MAX);
    if found > known {
        return Err(StoreError::Newer { path: path.to_owned(), found, known });
    }
    Ok(found)
}

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
    let found = not_newer(connection, path).await?;
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
