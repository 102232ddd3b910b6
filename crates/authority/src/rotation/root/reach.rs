//! What devices are told of a roll, and whom it has reached before the next root signs.

use countersign_crypto::certificate::Certificate;
use serde_json::{Value, json};

use super::{RootStatus, roots};
use crate::authorities::{self, ROOT, certificate_file};
use crate::authority::Authority;
use crate::error::AuthorityError;
use crate::rotation::KeyState;

/// What the authority has stated about its roots.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatedRoots {
    /// The first root.
    pub first: Certificate,
    /// The statements that lead on from it.
    pub statements: Vec<Vec<u8>>,
    /// The newest withdrawal.
    pub withdrawal: Option<Vec<u8>>,
}

/// Whom the next root has reached, by the gateway's records.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reached {
    /// How many devices acknowledged it.
    pub acknowledged: u64,
    /// Devices that were seen lately and have not.
    pub missing: Vec<String>,
    /// How many others have not: nobody waits for them, since they come back by what the roots signed.
    pub asleep: u64,
    /// How many of the missing may be left to come back so too; somebody said so.
    pub without: u64,
}

impl Reached {
    /// Nobody is connected to any gateway of this authority.
    #[must_use]
    pub fn nobody_to_reach() -> Self {
        Self::default()
    }

    //= specs/house.md#house-anchors
    //# A root MUST NOT be activated while more devices that were seen lately have not acknowledged it than somebody allowed.
    pub(super) fn is_enough(&self) -> bool {
        u64::try_from(self.missing.len()).is_ok_and(|missing| missing <= self.without)
    }

    /// For the ledger.
    pub(super) fn facts(&self) -> Value {
        json!({
            "acknowledged": self.acknowledged,
            "missing": self.missing.len(),
            "asleep": self.asleep,
            "allowed_missing": self.without,
        })
    }
}

impl Authority {
    /// What devices are told, as far as it is recorded: what a killed run stated is told when it is carried on.
    ///
    /// # Errors
    /// [`AuthorityError`].
    pub async fn stated_roots(&self) -> Result<StatedRoots, AuthorityError> {
        let core = &self.core;
        core.authorities()?;
        let recorded = roots(core.store.issuing().await?.roots);
        let newest = recorded.iter().map(|row| row.position).max().unwrap_or(0);
        let mut statements = self.statements()?;
        statements.truncate(usize::try_from(newest).unwrap_or(usize::MAX));
        let first = authorities::read(&certificate_file(&core.layout.authority(), ROOT))?;
        let withdrawal = self.stated_withdrawal(&recorded)?;
        Ok(StatedRoots { first, statements, withdrawal })
    }

    /// The root that is prepared and signs nothing yet.
    ///
    /// # Errors
    /// [`AuthorityError`].
    pub async fn prepared_root(&self) -> Result<Option<RootStatus>, AuthorityError> {
        let all = self.root_status().await?;
        Ok(all.into_iter().find(|one| one.state == KeyState::PreActivation))
    }
}
