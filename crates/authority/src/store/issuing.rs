//! The issuing CAs: which generations there are, and where each stands.

use countersign_model::time::Timestamp;
use sqlx::Row as _;
use sqlx::any::AnyRow;

use super::{PolicyKeyRow, RootRow, Store, StoreError, Turn, signed, unsigned};
use crate::authorities::IssuingCa;
use crate::rotation::KeyState;
use crate::subject::Purpose;

/// One generation of an issuing CA. The first has no row before the CA is rolled for the first time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct IssuingRow {
    /// Of its key in the keystore and its certificate's file.
    pub(crate) label: String,
    pub(crate) ca: IssuingCa,
    pub(crate) state: KeyState,
    /// Since when it stands there.
    pub(crate) since: Timestamp,
}

/// Every generation, oldest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Issuing {
    /// The number of the newest change; 0 before the first.
    pub(crate) version: u64,
    pub(crate) rows: Vec<IssuingRow>,
    /// Every root, oldest first; none before the first roll of the root.
    pub(crate) roots: Vec<RootRow>,
    /// Every policy key, oldest first; none before the first roll of it.
    pub(crate) policy_keys: Vec<PolicyKeyRow>,
}

const ALL: &str = "SELECT label, ca, state, since, changed FROM issuing_authorities ORDER BY seq";

impl Store {
    /// Every generation that is recorded.
    pub(crate) async fn issuing(&self) -> Result<Issuing, StoreError> {
        let rows =
            sqlx::query(ALL).fetch_all(&self.pool).await.map_err(|error| self.failed(error))?;
        let roots = sqlx::query(super::roots::ALL).fetch_all(&self.pool).await;
        let roots = roots.map_err(|error| self.failed(error))?;
        let keys = sqlx::query(super::policy_keys::ALL).fetch_all(&self.pool).await;
        let keys = keys.map_err(|error| self.failed(error))?;
        read(&rows, &roots, &keys).ok_or_else(|| self.damaged_row())
    }
}

impl Turn {
    /// Every generation that is recorded, as this turn sees it.
    pub(crate) async fn issuing(&mut self) -> Result<Issuing, StoreError> {
        let rows = sqlx::query(ALL).fetch_all(self.connection()).await;
        let rows = self.done(rows)?;
        let roots = sqlx::query(super::roots::ALL).fetch_all(self.connection()).await;
        let roots = self.done(roots)?;
        let keys = sqlx::query(super::policy_keys::ALL).fetch_all(self.connection()).await;
        let keys = self.done(keys)?;
        read(&rows, &roots, &keys).ok_or_else(|| self.damaged("an issuing authority's row"))
    }

    /// Records a generation, or where a known one stands now.
    pub(crate) async fn put_issuing(&mut self, row: &IssuingRow) -> Result<(), StoreError> {
        let changed = self.next_generation().await?;
        let done = sqlx::query(
            "INSERT INTO issuing_authorities (label, ca, state, since, seq, changed)
             VALUES ($1, $2, $3, $4, $5, $5)
             ON CONFLICT (label) DO UPDATE SET
                state = excluded.state, since = excluded.since, changed = excluded.changed",
        )
        .bind(row.label.as_str())
        .bind(row.ca.label())
        .bind(row.state.as_str())
        .bind(signed(row.since.0))
        .bind(changed)
        .execute(self.connection())
        .await;
        self.done(done).map(|_| ())
    }

    /// What a generation issued and still counts: how much of it, how much of that without a successor that was issued
    /// by another generation not later than `settled`, and when the last of these ends.
    pub(crate) async fn outstanding(
        &mut self,
        label: &str,
        now: Timestamp,
        settled: Timestamp,
    ) -> Result<Outstanding, StoreError> {
        let row = sqlx::query(
            "SELECT COUNT(*) AS good, COALESCE(SUM(alone), 0) AS alone,
                COALESCE(MAX(CASE WHEN alone = 1 THEN not_after END), 0) AS last
             FROM (SELECT old.not_after AS not_after, CASE WHEN EXISTS (
                    SELECT 1 FROM certificates new
                    WHERE new.kind = old.kind AND new.name = old.name AND new.purpose = old.purpose
                        AND new.changed > old.changed AND new.issuer <> old.issuer
                        AND new.status = 'active' AND new.not_after >= $2 AND new.issued_at <= $3
                ) THEN 0 ELSE 1 END AS alone
                FROM certificates old
                WHERE old.issuer = $1 AND old.status = 'active' AND old.not_after >= $2) counted",
        )
        .bind(label)
        .bind(signed(now.0))
        .bind(signed(settled.0))
        .fetch_one(self.connection())
        .await;
        let row = self.done(row)?;
        Ok(Outstanding {
            good: unsigned(row.get("good")),
            alone: unsigned(row.get("alone")),
            last: Timestamp(unsigned(row.get("last"))),
        })
    }

    /// Servers with a certificate of that generation that counts, and none of another one that was issued later.
    pub(crate) async fn servers_without_successor(
        &mut self,
        label: &str,
        now: Timestamp,
    ) -> Result<Vec<String>, StoreError> {
        let rows = sqlx::query(
            "SELECT DISTINCT old.name AS name FROM certificates old
             WHERE old.issuer = $1 AND old.purpose = $3 AND old.status = 'active' AND old.not_after >= $2
                AND NOT EXISTS (
                    SELECT 1 FROM certificates new
                    WHERE new.kind = old.kind AND new.name = old.name AND new.purpose = old.purpose
                        AND new.changed > old.changed AND new.issuer <> old.issuer
                        AND new.status = 'active' AND new.not_after >= $2)
             ORDER BY name",
        )
        .bind(label)
        .bind(signed(now.0))
        .bind(Purpose::Server.as_str())
        .fetch_all(self.connection())
        .await;
        Ok(self.done(rows)?.iter().map(|row| row.get("name")).collect())
    }

    /// Serial numbers of what a generation issued and still counts.
    pub(crate) async fn issued_by(
        &mut self,
        label: &str,
        now: Timestamp,
    ) -> Result<Vec<String>, StoreError> {
        let rows = sqlx::query(
            "SELECT serial FROM certificates
             WHERE issuer = $1 AND status = 'active' AND not_after >= $2 ORDER BY serial",
        )
        .bind(label)
        .bind(signed(now.0))
        .fetch_all(self.connection())
        .await;
        Ok(self.done(rows)?.iter().map(|row| row.get("serial")).collect())
    }
}

/// What a generation issued and still counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
pub struct Outstanding {
    /// Certificates that count.
    pub good: u64,
    /// Those among them whose subject has no successor yet.
    pub alone: u64,
    /// When the last of these ends.
    pub last: Timestamp,
}

fn read(rows: &[AnyRow], roots: &[AnyRow], keys: &[AnyRow]) -> Option<Issuing> {
    let version = rows.iter().map(|row| unsigned(row.get("changed"))).max().unwrap_or(0);
    let one = |row: &AnyRow| {
        let ca: String = row.get("ca");
        Some(IssuingRow {
            label: row.get("label"),
            ca: IssuingCa::ALL.into_iter().find(|one| one.label() == ca)?,
            state: KeyState::from_word(row.get("state"))?,
            since: Timestamp(unsigned(row.get("since"))),
        })
    };
    let (newest, roots) = super::roots::read(roots)?;
    let (newest_key, policy_keys) = super::policy_keys::read(keys)?;
    let rows = rows.iter().map(one).collect::<Option<_>>()?;
    let version = version.max(newest).max(newest_key);
    Some(Issuing { version, rows, roots, policy_keys })
}
