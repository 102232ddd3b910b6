//! The ledger, as the authority answers for it: checkpoints, cosignatures, exports.

use std::path::Path;

use countersign_crypto::file;
use serde_json::json;

use crate::authority::Authority;
use crate::error::AuthorityError;
use crate::ledger::checkpoint::SignedCheckpoint;
use crate::ledger::note::VerifierKey;
use crate::ledger::{Entry, Kind, Ledger, LedgerError, offline};

/// How the ledger leaves the authority.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExportForm {
    /// One file, an entry a line.
    JsonLines,
    /// A folder of tiles (C2SP tlog-tiles).
    Tiles,
}

impl ExportForm {
    const fn as_str(self) -> &'static str {
        match self {
            Self::JsonLines => "jsonl",
            Self::Tiles => "tiles",
        }
    }
}

impl Authority {
    /// Under which key strangers verify checkpoints.
    #[must_use]
    pub fn ledger_key(&self) -> VerifierKey {
        self.core.ledger.verifier().clone()
    }

    /// The checkpoint over all entries.
    ///
    /// # Errors
    /// [`AuthorityError::Ledger`].
    pub async fn ledger_checkpoint(&self) -> Result<SignedCheckpoint, AuthorityError> {
        let now = self.core.now();
        self.with_ledger(move |ledger| ledger.checkpoint(now)).await
    }

    /// The last checkpoint that witnesses cosigned.
    ///
    /// # Errors
    /// [`AuthorityError::Ledger`].
    pub async fn ledger_cosigned(&self) -> Result<Option<SignedCheckpoint>, AuthorityError> {
        self.with_ledger(Ledger::cosigned).await
    }

    /// Takes over the cosignatures of these witnesses; how many of them are on that checkpoint now.
    ///
    /// # Errors
    /// [`AuthorityError::Ledger`] when it is not a checkpoint of this ledger, or not cosigned by any of them.
    pub async fn add_cosignatures(
        &self,
        cosigned: SignedCheckpoint,
        witnesses: Vec<VerifierKey>,
    ) -> Result<usize, AuthorityError> {
        self.with_ledger(move |ledger| ledger.add_cosignatures(&cosigned, &witnesses)).await
    }

    /// Writes the ledger for others, after an entry that says so; the checkpoint over all that was written.
    ///
    /// # Errors
    /// [`AuthorityError::Ledger`], [`AuthorityError::Io`].
    //= specs/house.md#house-ledger
    //# What leaves the authority MUST be in the ledger before it leaves.
    pub async fn export_ledger(
        &self,
        form: ExportForm,
        to: &Path,
    ) -> Result<SignedCheckpoint, AuthorityError> {
        self.core.record(Kind::Exported, json!({"what": "ledger", "form": form.as_str()})).await?;
        let signed = self.ledger_checkpoint().await?;
        let mut entries = self.ledger_entries().await?;
        entries.truncate(usize::try_from(signed.checkpoint().size).unwrap_or(usize::MAX));
        match form {
            ExportForm::Tiles => {
                offline::write_tiles(to, &entries, &signed, self.core.ledger.verifier())?;
            }
            ExportForm::JsonLines => {
                file::write_atomic(to, &lines(&entries), file::PUBLIC)
                    .map_err(AuthorityError::io(to))?;
            }
        }
        Ok(signed)
    }

    async fn with_ledger<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Ledger) -> Result<T, LedgerError> + Send + 'static,
    ) -> Result<T, AuthorityError> {
        let ledger = self.core.ledger.clone();
        let worked = tokio::task::spawn_blocking(move || work(&ledger)).await;
        Ok(worked.map_err(|_| AuthorityError::Worker)??)
    }
}

/// Entries as they stand in the ledger's file.
fn lines(entries: &[Entry]) -> Vec<u8> {
    let mut text = Vec::new();
    for entry in entries {
        text.extend_from_slice(&entry.line());
        text.push(b'\n');
    }
    text
}

#[cfg(test)]
mod tests;
