//! What goes wrong with the ledger's files.

use std::io;
use std::path::PathBuf;

use crate::ledger::audit::Fault;
use crate::ledger::note::NoteError;

/// Why the ledger was not read or not written; always the environment's fault.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// The file system's.
    #[error("{}: {source}: free space or mend the permissions, then try again", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// What is there is not what was written.
    #[error("{}: {fault}: stop, keep the file as evidence, and restore it from a backup", path.display())]
    Fault {
        /// The file.
        path: PathBuf,
        /// What is wrong, and where.
        fault: Fault,
    },
    /// A checkpoint that is not this ledger's.
    #[error("{}: {what}: stop, keep the file as evidence, and restore it from a backup", path.display())]
    Checkpoint {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: NoteError,
    },
    /// Entries vanished while the file was open.
    #[error("{}: became shorter while in use: stop, and restore it from a backup", path.display())]
    Shrunk {
        /// The file.
        path: PathBuf,
    },
    /// An entry over [`crate::ledger::MAX_LINE`]: a fault in this program.
    #[error("a ledger entry of {0} bytes is too long")]
    TooLong(usize),
}

impl LedgerError {
    /// Whether it says that the ledger is not what it was, and not only that it could not be read.
    #[must_use]
    pub fn is_finding(&self) -> bool {
        matches!(self, Self::Fault { .. } | Self::Checkpoint { .. } | Self::Shrunk { .. })
    }

    /// The same for another caller of the same group.
    pub(super) fn again(&self) -> Self {
        match self {
            Self::Io { path, source } => {
                let source = io::Error::new(source.kind(), source.to_string());
                Self::Io { path: path.clone(), source }
            }
            Self::Fault { path, fault } => Self::Fault { path: path.clone(), fault: fault.clone() },
            Self::Checkpoint { path, what } => {
                Self::Checkpoint { path: path.clone(), what: what.clone() }
            }
            Self::Shrunk { path } => Self::Shrunk { path: path.clone() },
            Self::TooLong(bytes) => Self::TooLong(*bytes),
        }
    }
}
