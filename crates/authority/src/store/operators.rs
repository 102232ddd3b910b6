//! Which role each operator has. Without a row, an operator may call nothing.

use countersign_model::id::OperatorName;
use sqlx::Row as _;
use sqlx::any::AnyRow;

use super::{Store, StoreError, Turn, signed};
use crate::admin::Role;

impl Store {
    /// Roles that were given after `generation`; all of them for 0.
    pub(crate) async fn roles_since(
        &self,
        generation: u64,
    ) -> Result<Vec<(OperatorName, Role)>, StoreError> {
        let rows = sqlx::query("SELECT name, role FROM operators WHERE changed > $1")
            .bind(signed(generation))
            .fetch_all(&self.pool)
            .await
            .map_err(|error| self.failed(error))?;
        rows.iter().map(|row| read(row).ok_or_else(|| self.damaged_row())).collect()
    }
}

impl Turn {
    /// The operator's role.
    pub(crate) async fn role(&mut self, name: &OperatorName) -> Result<Option<Role>, StoreError> {
        let row = sqlx::query("SELECT name, role FROM operators WHERE name = $1")
            .bind(name.as_str())
            .fetch_optional(self.connection())
            .await;
        let Some(row) = self.done(row)? else { return Ok(None) };
        read(&row).map(|(_, role)| Some(role)).ok_or_else(|| self.damaged("an operator's row"))
    }

    /// Gives the operator that role.
    pub(crate) async fn put_role(
        &mut self,
        name: &OperatorName,
        role: Role,
    ) -> Result<(), StoreError> {
        let changed = self.next_generation().await?;
        let done = sqlx::query(
            "INSERT INTO operators (name, role, changed) VALUES ($1, $2, $3)
             ON CONFLICT (name) DO UPDATE SET role = excluded.role, changed = excluded.changed",
        )
        .bind(name.as_str())
        .bind(role.as_str())
        .bind(changed)
        .execute(self.connection())
        .await;
        self.done(done).map(|_| ())
    }
}

fn read(row: &AnyRow) -> Option<(OperatorName, Role)> {
    let name: String = row.get("name");
    Some((name.parse().ok()?, Role::from_word(row.get("role"))?))
}
