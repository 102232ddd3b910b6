//! Slots and documents on disk: documents first, then the slots as a whole, then what nobody names any more.

use crate::broker::message::Payload;
use countersign_crypto::file;
use countersign_crypto::policy::PolicyDigest;
use countersign_protocol::policy::StoredSlots;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

/// Largest `slots.json`, in bytes: twenty policies and a bounded history.
const MAX_SLOTS: usize = 256 * 1024;

/// The folder, and the documents in it that are in use.
#[derive(Debug)]
pub(super) struct Files {
    folder: PathBuf,
    documents: BTreeMap<PolicyDigest, Payload>,
    stored: Option<StoredSlots>,
}

impl Files {
    pub(super) fn open(folder: &Path) -> Result<Self, FileError> {
        file::private_folder(folder).map_err(FileError::Io)?;
        Ok(Self { folder: folder.to_owned(), documents: BTreeMap::new(), stored: None })
    }

    fn slots_file(&self) -> PathBuf {
        self.folder.join("slots.json")
    }

    fn document_file(&self, digest: PolicyDigest) -> PathBuf {
        self.folder.join(format!("{digest}.cose"))
    }

    /// What was stored; none in a new folder.
    //= specs/house.md#house-state
    //# A corrupt state file MUST be refused with its name and the mend.
    pub(super) fn slots(&mut self) -> Result<Option<StoredSlots>, FileError> {
        let path = self.slots_file();
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(FileError::Io(named(&path, &error))),
        };
        let corrupt = |why: String| FileError::Corrupt { path: path.clone(), why };
        if bytes.len() > MAX_SLOTS {
            return Err(corrupt(format!("{} bytes are over {MAX_SLOTS}", bytes.len())));
        }
        let stored: StoredSlots =
            serde_json::from_slice(&bytes).map_err(|error| corrupt(error.to_string()))?;
        self.stored = Some(stored.clone());
        Ok(Some(stored))
    }

    /// A document, from memory or disk; none where it is missing. Whoever uses it verifies it.
    pub(super) fn document(&mut self, digest: PolicyDigest) -> Option<Payload> {
        if let Some(known) = self.documents.get(&digest) {
            return Some(known.clone());
        }
        let bytes: Payload = std::fs::read(self.document_file(digest)).ok()?.into();
        self.documents.insert(digest, bytes.clone());
        Some(bytes)
    }

    /// Keeps a document.
    pub(super) fn keep(&mut self, digest: PolicyDigest, document: &[u8]) -> Result<(), FileError> {
        if self.document(digest).is_none_or(|known| *known != *document) {
            file::write_atomic(&self.document_file(digest), document, file::PUBLIC)
                .map_err(FileError::Io)?;
            self.documents.insert(digest, document.into());
        }
        Ok(())
    }

    /// Stores the slots, then removes the documents that they do not name.
    pub(super) fn store(&mut self, slots: &StoredSlots) -> Result<(), FileError> {
        if self.stored.as_ref() == Some(slots) {
            return Ok(());
        }
        let bytes = serde_json::to_vec_pretty(slots).expect("numbers, words and texts are JSON");
        file::write_keeping_previous(&self.slots_file(), &bytes, file::PUBLIC)
            .map_err(FileError::Io)?;
        self.stored = Some(slots.clone());
        let named: Vec<PolicyDigest> = slots.documents().map(|policy| policy.digest).collect();
        self.documents.retain(|digest, _| named.contains(digest));
        self.sweep(&named);
        Ok(())
    }

    /// A document too many does no harm, so that a failure here is none.
    fn sweep(&self, named: &[PolicyDigest]) {
        let Ok(entries) = std::fs::read_dir(&self.folder) else { return };
        for path in entries.flatten().map(|entry| entry.path()) {
            let digest = path.file_name().and_then(|name| name.to_str()?.strip_suffix(".cose"));
            let digest = digest.and_then(|text| text.parse().ok());
            if digest.is_some_and(|digest| !named.contains(&digest)) {
                let _ = std::fs::remove_file(path);
            }
        }
    }
}

fn named(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

/// Why the policies' files cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The file system.
    #[error("{0}")]
    Io(io::Error),
    /// Not what was written.
    #[error(
        "{path}: {why}: put {path}.prev in its place (what happened since the last change is lost)",
        path = .path.display()
    )]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
}
