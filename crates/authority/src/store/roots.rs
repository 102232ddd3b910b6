//! The maker's roots: which there are, and where each stands.

use countersign_model::time::Timestamp;
use sqlx::Row as _;
use sqlx::any::AnyRow;

use super::{StoreError, Turn, signed, unsigned};
use crate::rotation::KeyState;

/// One root. The first has no row before the root is rolled for the first time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RootRow {
    /// Of its key and its certificate's file.
    pub(crate) label: String,
    /// How many roots came before.
    pub(crate) position: u64,
    pub(crate) state: KeyState,
    /// Since when it stands there.
    pub(crate) since: Timestamp,
    /// Since when a later root withdraws it, which is apart from what became of its key.
    pub(crate) withdrawn: Option<Timestamp>,
}

pub(super) const ALL: &str =
    "SELECT label, position, state, since, withdrawn, changed FROM roots ORDER BY position";

impl Turn {
    /// Records a root, or where a known one stands now.
    pub(crate) async fn put_root(&mut self, row: &RootRow) -> Result<(), StoreError> {
        let changed = self.next_generation().await?;
        let done = sqlx::query(
            "INSERT INTO roots (label, position, state, since, changed, withdrawn) VALUES ($1, $2, $3, $4, $5, $6)
             ON CONFLICT (label) DO UPDATE SET state = excluded.state, since = excluded.since,
                changed = excluded.changed, withdrawn = excluded.withdrawn",
        )
        .bind(row.label.as_str())
        .bind(signed(row.position))
        .bind(row.state.as_str())
        .bind(signed(row.since.0))
        .bind(changed)
        .bind(signed(row.withdrawn.map_or(0, |at| at.0)))
        .execute(self.connection())
        .await;
        self.done(done).map(|_| ())
    }
}

/// Every root, oldest first, and the number of the newest change.
pub(super) fn read(rows: &[AnyRow]) -> Option<(u64, Vec<RootRow>)> {
    let version = rows.iter().map(|row| unsigned(row.get("changed"))).max().unwrap_or(0);
    let one = |row: &AnyRow| {
        Some(RootRow {
            label: row.get("label"),
            position: unsigned(row.get("position")),
            state: KeyState::from_word(row.get("state"))?,
            since: Timestamp(unsigned(row.get("since"))),
            withdrawn: Some(Timestamp(unsigned(row.get("withdrawn")))).filter(|at| at.0 > 0),
        })
    };
    Some((version, rows.iter().map(one).collect::<Option<_>>()?))
}
