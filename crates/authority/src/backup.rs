//! Backup and restore: everything that the authority is, in one file for the keys of people who keep it elsewhere.
//!
//! ```text
//!  make      writers' turn: picture of the database, checkpoint of the ledger, keys ─► tar ─► sealed to recipients
//!  restore   open ─► every hash ─► the ledger's signature ─► the ledger itself ─► database against ledger ─► a new folder
//! ```
//!
//! What may have been published after the backup is never said again in another way:
//!
//! | | |
//! |---|---|
//! | checkpoints | the key that signs them is not in the backup: a restored ledger has a new one, and so another name |
//! | serial numbers | 128 random bits each; those that are known stay known |
//! | generations, numbers of lists | every counter jumps by 2³² |
//! | revocations | taken over from the old ledger, where that is at hand (`--ledger`); else told of |
//! | certificates | unknown ones are refused by EST; a device comes back by its factory identity |

mod archive;
mod carried;
mod compare;
mod make;
mod restore;

use countersign_model::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

pub use self::make::{BackupMade, recipient_of};
pub use self::restore::{Pinned, Restored, Restoring};

/// What the files are sealed for.
pub(crate) const PURPOSE: &str = "authority backup";

/// The first line of what the ledger's key signs beside checkpoints, which have another form.
pub(crate) const SIGNED_WORDS: &str = "countersign-backup/1";

/// What a backup says of itself: the last but one file in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// When it was made, by the authority's clock.
    pub made_at: Timestamp,
    /// How many entries the ledger has.
    pub ledger_entries: u64,
    /// The root over them, hexadecimal.
    pub ledger_root: String,
    /// The schema of the database.
    pub schema: i64,
    /// The number of the database's newest change.
    pub generation: u64,
    /// How many rows it has.
    pub rows: u64,
    /// Whether the keys are in a token, and so not in the backup.
    pub token: bool,
    /// Every other file, with its length and SHA-256.
    pub files: BTreeMap<String, Held>,
}

/// A file in a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Held {
    /// Octets.
    pub bytes: u64,
    /// Hexadecimal.
    pub sha256: String,
}

/// What the ledger's key signs: that this manifest is of its authority.
pub(crate) fn signed_text(manifest: &[u8]) -> String {
    let hash = hex::encode(countersign_crypto::digest::sha256(manifest));
    format!("{SIGNED_WORDS}\n{hash}\n")
}

#[cfg(test)]
mod tests;
