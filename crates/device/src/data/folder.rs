//! Where things lie, and that only one process touches them.

use super::home_key;
use super::store::{Store, StoreError};
use countersign_crypto::file;
use countersign_crypto::random::SystemRandom;
use countersign_crypto::seal::SealKey;
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};

/// A data folder held by this process until it is dropped.
#[derive(Debug)]
pub struct DataFolder {
    root: PathBuf,
    _lock: File,
}

impl DataFolder {
    /// Opens the folder (made when missing, mode 0700) and takes its lock.
    ///
    /// # Errors
    /// [`FolderError::InUse`] while another process runs on it.
    pub fn open(root: &Path) -> Result<Self, FolderError> {
        let at = |error| FolderError::Io(root.to_owned(), error);
        file::private_folder(root).map_err(at)?;
        let lock = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(root.join("device.lock"))
            .map_err(at)?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { root: root.to_owned(), _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(FolderError::InUse(root.to_owned())),
            Err(TryLockError::Error(error)) => Err(at(error)),
        }
    }

    /// The folder itself.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The state, opened with the folder's own keys.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn store(&self) -> Result<Store, StoreError> {
        let factory = SealKey::load(&self.seal_key()).map_err(StoreError::HomeKey)?;
        let seal = home_key::open(&self.root, &factory, &mut SystemRandom)?;
        Store::open(&self.state(), seal, Box::new(SystemRandom))
    }

    /// The key that seals what the factory wrote.
    #[must_use]
    pub fn seal_key(&self) -> PathBuf {
        self.root.join("seal.key")
    }

    /// What the factory wrote.
    #[must_use]
    pub fn factory(&self) -> PathBuf {
        self.root.join("factory")
    }

    /// The sealed state.
    #[must_use]
    pub fn state(&self) -> PathBuf {
        self.root.join("state.sealed")
    }

    /// The operational keys.
    #[must_use]
    pub fn keys(&self) -> PathBuf {
        self.root.join("keys")
    }
}

/// Why a data folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// Another device process holds it.
    #[error(
        "{}: another process runs on this folder (device.lock is held): end that one first, or use another --data",
        .0.display()
    )]
    InUse(PathBuf),
    /// The file system refused.
    #[error("{path}: {1}", path = .0.display())]
    Io(PathBuf, std::io::Error),
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn one_process_at_a_time() {
        let root = tempfile::tempdir().unwrap();
        let first = DataFolder::open(root.path()).unwrap();
        assert!(matches!(DataFolder::open(root.path()), Err(FolderError::InUse(_))));
        drop(first);
        DataFolder::open(root.path()).unwrap();
    }
}
