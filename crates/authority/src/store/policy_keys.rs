//! The policy-signing keys: which there are, and where each stands.

use countersign_model::time::Timestamp;
use sqlx::Row as _;
use sqlx::any::AnyRow;

use super::{StoreError, Turn, signed, unsigned};
use crate::rotation::KeyState;

/// One policy key. The first has no row before it is rolled for the first time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PolicyKeyRow {
    /// Of its key in the keystore.
    pub(crate) label: String,
    /// How many policy keys came before.
    pub(crate) position: u64,
    pub(crate) state: KeyState,
    /// Since when it stands there.
    pub(crate) since: Timestamp,
}

pub(super) const ALL: &str =
    "SELECT label, position, state, since, changed FROM policy_keys ORDER BY position";

impl Turn {
    /// Records a policy key, or where a known one stands now.
    pub(crate) async fn put_policy_key(&mut self, row: &PolicyKeyRow) -> Result<(), StoreError> {
        let changed = self.next_generation().await?;
        let done = sqlx::query(
            "INSERT INTO policy_keys (label, position, state, since, changed) VALUES ($1, $2, $3, $4, $5)
             ON CONFLICT (label) DO UPDATE SET
                state = excluded.state, since = excluded.since, changed = excluded.changed",
        )
        .bind(row.label.as_str())
        .bind(signed(row.position))
        .bind(row.state.as_str())
        .bind(signed(row.since.0))
        .bind(changed)
        .execute(self.connection())
        .await;
        self.done(done).map(|_| ())
    }
}

/// Every policy key, oldest first, and the number of the newest change.
pub(super) fn read(rows: &[AnyRow]) -> Option<(u64, Vec<PolicyKeyRow>)> {
    let version = rows.iter().map(|row| unsigned(row.get("changed"))).max().unwrap_or(0);
    let one = |row: &AnyRow| {
        Some(PolicyKeyRow {
            label: row.get("label"),
            position: unsigned(row.get("position")),
            state: KeyState::from_word(row.get("state"))?,
            since: Timestamp(unsigned(row.get("since"))),
        })
    };
    Some((version, rows.iter().map(one).collect::<Option<_>>()?))
}
