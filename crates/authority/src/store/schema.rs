//! The tables, and how an older file becomes the present one.

use sqlx::Row as _;

use super::{StoreError, Turn};

/// One entry a version; never changed once released, only followed by another.
const MIGRATIONS: [&[&str]; 9] =
    [FIRST, ISSUING, FACTORY, OPERATORS, ROOTS, REVOKING, BELONGS, POLICY_KEYS, WITHDRAWN];

/// Since when a root is withdrawn; 0 for one that is not.
const WITHDRAWN: &[&str] = &["ALTER TABLE roots ADD COLUMN withdrawn BIGINT NOT NULL DEFAULT 0"];

/// The policy keys, from the first roll on.
const POLICY_KEYS: &[&str] = &["CREATE TABLE policy_keys (
        label TEXT PRIMARY KEY, position BIGINT NOT NULL UNIQUE, state TEXT NOT NULL, since BIGINT NOT NULL,
        changed BIGINT NOT NULL)"];

/// Whose the database is: the key of the ledger beside it.
const BELONGS: &[&str] = &["CREATE TABLE belongs (ledger TEXT PRIMARY KEY)"];

/// The factory: stations, batches, and one item a serial.
const FACTORY: &[&str] = &[
    "CREATE TABLE stations (
        name TEXT PRIMARY KEY, spki TEXT NOT NULL, state TEXT NOT NULL, quota BIGINT NOT NULL,
        created_at BIGINT NOT NULL, changed BIGINT NOT NULL)",
    "CREATE TABLE batches (
        name TEXT PRIMARY KEY, station TEXT NOT NULL, product TEXT NOT NULL, quota BIGINT NOT NULL, plan TEXT NOT NULL,
        authorisation TEXT NOT NULL, records BIGINT NOT NULL, head TEXT NOT NULL,
        created_at BIGINT NOT NULL, changed BIGINT NOT NULL)",
    "CREATE TABLE factory_items (
        serial TEXT PRIMARY KEY, batch TEXT NOT NULL, station TEXT NOT NULL, state TEXT NOT NULL,
        spki_sha256 TEXT NOT NULL, verifier_sha256 TEXT NOT NULL, note TEXT NOT NULL)",
    "CREATE INDEX factory_items_batch ON factory_items (batch, state)",
    "CREATE INDEX factory_items_station ON factory_items (station, state)",
];

/// Roles of operators. Whoever was one before there were roles could do everything, and still can.
const OPERATORS: &[&str] = &[
    "CREATE TABLE operators (name TEXT PRIMARY KEY, role TEXT NOT NULL, changed BIGINT NOT NULL)",
    "INSERT INTO operators (name, role, changed)
        SELECT name, 'administrator', changed FROM subjects WHERE kind = 'operator'",
];

/// The roots, from the first roll on.
const ROOTS: &[&str] = &["CREATE TABLE roots (
        label TEXT PRIMARY KEY, position BIGINT NOT NULL UNIQUE, state TEXT NOT NULL, since BIGINT NOT NULL,
        changed BIGINT NOT NULL)"];

/// Revoking many at once; what is wrong with keys and certificates; codes for one enrolment.
const REVOKING: &[&str] = &[
    "ALTER TABLE subjects ADD COLUMN batch TEXT",
    "CREATE INDEX subjects_batch ON subjects (batch)",
    "CREATE INDEX certificates_key ON certificates (spki_sha256)",
    "ALTER TABLE certificates ADD COLUMN used_at BIGINT",
    "CREATE TABLE revocation_orders (
        id BIGINT PRIMARY KEY, at BIGINT NOT NULL, target TEXT NOT NULL, reason TEXT NOT NULL,
        certificates BIGINT NOT NULL, done BIGINT NOT NULL, finished BIGINT NOT NULL, touched BIGINT NOT NULL)",
    "CREATE TABLE barred_keys (spki_sha256 TEXT PRIMARY KEY, reason TEXT NOT NULL, at BIGINT NOT NULL)",
    "CREATE TABLE alarms (
        kind TEXT NOT NULL, subject TEXT NOT NULL, evidence TEXT NOT NULL, first_at BIGINT NOT NULL,
        last_at BIGINT NOT NULL, count BIGINT NOT NULL, PRIMARY KEY (kind, subject, evidence))",
    "CREATE TABLE enrolment_codes (
        code_sha256 TEXT PRIMARY KEY, kind TEXT NOT NULL, name TEXT NOT NULL, grants TEXT NOT NULL,
        created_at BIGINT NOT NULL, ends_at BIGINT NOT NULL, guesses BIGINT NOT NULL, used_at BIGINT,
        request_sha256 TEXT NOT NULL)",
    "CREATE INDEX enrolment_codes_name ON enrolment_codes (name)",
    "CREATE INDEX revocations_serial ON revocations (serial)",
    "CREATE TABLE crls (
        issuer TEXT NOT NULL, shard BIGINT NOT NULL, number BIGINT NOT NULL, base_number BIGINT NOT NULL,
        base_seq BIGINT NOT NULL, base_at BIGINT NOT NULL, PRIMARY KEY (issuer, shard))",
];

/// The issuing CAs' generations, from the first roll on.
const ISSUING: &[&str] = &[
    "CREATE TABLE issuing_authorities (
        label TEXT PRIMARY KEY, ca TEXT NOT NULL, state TEXT NOT NULL, since BIGINT NOT NULL,
        seq BIGINT NOT NULL, changed BIGINT NOT NULL)",
    "CREATE INDEX certificates_issuer ON certificates (issuer, status)",
];

const FIRST: &[&str] = &[
    "CREATE TABLE counters (name TEXT PRIMARY KEY, value BIGINT NOT NULL)",
    "INSERT INTO counters (name, value) VALUES ('generation', 0)",
    "CREATE TABLE subjects (
        kind TEXT NOT NULL, name TEXT NOT NULL, folded TEXT NOT NULL, state TEXT NOT NULL,
        grants TEXT NOT NULL, created_at BIGINT NOT NULL, changed BIGINT NOT NULL,
        PRIMARY KEY (kind, name), UNIQUE (kind, folded))",
    "CREATE INDEX subjects_changed ON subjects (changed)",
    "CREATE TABLE subject_keys (
        spki_sha256 TEXT PRIMARY KEY, kind TEXT NOT NULL, name TEXT NOT NULL, purpose TEXT NOT NULL,
        changed BIGINT NOT NULL)",
    "CREATE INDEX subject_keys_changed ON subject_keys (changed)",
    "CREATE TABLE certificates (
        serial TEXT PRIMARY KEY, kind TEXT NOT NULL, name TEXT NOT NULL, purpose TEXT NOT NULL,
        issuer TEXT NOT NULL, not_before BIGINT NOT NULL, not_after BIGINT NOT NULL, der TEXT NOT NULL,
        spki_sha256 TEXT NOT NULL, request_sha256 TEXT NOT NULL, key_label TEXT NOT NULL,
        status TEXT NOT NULL, issued_at BIGINT NOT NULL, changed BIGINT NOT NULL)",
    "CREATE INDEX certificates_subject ON certificates (kind, name, purpose, changed)",
    "CREATE TABLE revocations (
        seq BIGINT PRIMARY KEY, at BIGINT NOT NULL, kind TEXT NOT NULL, name TEXT NOT NULL,
        serial TEXT NOT NULL, reason TEXT NOT NULL)",
];

/// The present schema.
pub(super) const VERSIONS: i64 = MIGRATIONS.len() as i64;

/// Brings the file to the present schema.
pub(super) async fn migrate(turn: &mut Turn) -> Result<(), StoreError> {
    migrate_to(turn, VERSIONS).await
}

/// Brings the file to an earlier schema, or to the present one; what is beyond stays.
pub(super) async fn migrate_to(turn: &mut Turn, wanted: i64) -> Result<(), StoreError> {
    let made = sqlx::query("CREATE TABLE IF NOT EXISTS schema_version (version BIGINT NOT NULL)")
        .execute(turn.connection())
        .await;
    turn.done(made)?;
    let row = sqlx::query("SELECT COALESCE(MAX(version), 0) AS version FROM schema_version")
        .fetch_one(turn.connection())
        .await;
    let found: i64 = turn.done(row)?.get("version");
    if found > VERSIONS {
        return Err(StoreError::Newer { place: turn.place.clone(), found, known: VERSIONS });
    }
    for (version, statements) in (1..).zip(MIGRATIONS) {
        if version <= found || version > wanted {
            continue;
        }
        for statement in statements {
            let done = sqlx::query(*statement).execute(turn.connection()).await;
            turn.done(done)?;
        }
        let done = sqlx::query("INSERT INTO schema_version (version) VALUES ($1)")
            .bind(version)
            .execute(turn.connection())
            .await;
        turn.done(done)?;
    }
    Ok(())
}
