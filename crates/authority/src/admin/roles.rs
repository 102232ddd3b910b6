//! Who has which role: given at this machine, by whoever may open the data folder.

use countersign_model::id::OperatorName;
use serde_json::json;

use super::Role;
use crate::authority::Authority;
use crate::error::AuthorityError;
use crate::ledger::Kind;
use crate::subject::Subject;

impl Authority {
    /// Gives an operator its role in place of the one it had; what it had, if anything. In force at the next call.
    ///
    /// # Errors
    /// [`AuthorityError::Unknown`] for an operator whom nobody knows.
    pub async fn assign_role(
        &self,
        name: &OperatorName,
        role: Role,
    ) -> Result<Option<Role>, AuthorityError> {
        let core = &self.core;
        let mut turn = core.store.exclusive().await?;
        let subject = Subject::Operator(name.clone());
        if turn.subject(&subject).await?.is_none() {
            return Err(AuthorityError::Unknown(subject.to_string()));
        }
        let before = turn.role(name).await?;
        if before != Some(role) {
            let was = before.map(Role::as_str);
            let body = json!({"operator": name.as_str(), "role": role.as_str(), "before": was});
            core.record(Kind::RoleAssigned, body).await?;
            turn.put_role(name, role).await?;
            turn.commit().await?;
            core.notify();
        }
        Ok(before)
    }
}
