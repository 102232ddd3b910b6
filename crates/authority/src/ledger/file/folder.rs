//! What stands beside the ledger's file: checkpoint, verifier key, history of checkpoints, and how far was verified.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use countersign_crypto::digest::sha256;
use countersign_crypto::file;
use serde::{Deserialize, Serialize};

use super::LedgerError;
use super::tail::Position;
use crate::ledger::checkpoint::{Checkpoint, SignedCheckpoint};
use crate::ledger::merkle::{Frontier, Hash};
use crate::ledger::note::{MAX_NOTE, VerifierKey};

/// The largest state file: 64 hashes and some numbers.
const MAX_STATE: u64 = 16 * 1024;
/// The most of the history that is kept in one file, in bytes: some 30,000 checkpoints. There are two such files.
const MAX_HISTORY: u64 = 8 * 1024 * 1024;
/// A file system's clock may stand still for so long; a change within it would not show in the times.
pub(super) const TICK: Duration = Duration::from_millis(20);

/// `ledger/` beside `ledger.log`.
#[derive(Debug, Clone)]
pub(super) struct Folder {
    pub(super) path: PathBuf,
}

/// A file as the file system knows it: what was written by others since shows here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Identity {
    device: u64,
    inode: u64,
    length: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct State {
    file: Identity,
    next: u64,
    chain: String,
    subtrees: Vec<String>,
    key_at: Option<u64>,
}

impl Folder {
    pub(super) fn beside(log: &Path) -> Self {
        Self { path: log.with_extension("") }
    }

    pub(super) fn make(&self) -> Result<(), LedgerError> {
        file::private_folder(&self.path).map_err(|source| self.failed(&self.path, source))
    }

    pub(super) fn checkpoint_file(&self) -> PathBuf {
        self.path.join("checkpoint")
    }

    fn cosigned_file(&self) -> PathBuf {
        self.path.join("cosigned")
    }

    fn failed(&self, path: &Path, source: io::Error) -> LedgerError {
        LedgerError::Io { path: path.to_owned(), source }
    }

    /// The last checkpoint, verified.
    pub(super) fn checkpoint(
        &self,
        key: &VerifierKey,
    ) -> Result<Option<SignedCheckpoint>, LedgerError> {
        self.read_checkpoint(self.checkpoint_file(), key)
    }

    /// The last checkpoint that witnesses cosigned, verified.
    pub(super) fn cosigned(
        &self,
        key: &VerifierKey,
    ) -> Result<Option<SignedCheckpoint>, LedgerError> {
        self.read_checkpoint(self.cosigned_file(), key)
    }

    fn read_checkpoint(
        &self,
        path: PathBuf,
        key: &VerifierKey,
    ) -> Result<Option<SignedCheckpoint>, LedgerError> {
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(self.failed(&path, source)),
        };
        let verified = SignedCheckpoint::verify(&bytes, key);
        verified.map(Some).map_err(|what| LedgerError::Checkpoint { path, what })
    }

    /// Replaces the checkpoint, and adds it to the history.
    pub(super) fn put_checkpoint(&self, signed: &SignedCheckpoint) -> Result<(), LedgerError> {
        let text = signed.note().to_string();
        let path = self.checkpoint_file();
        file::write_atomic(&path, text.as_bytes(), file::PUBLIC)
            .map_err(|source| self.failed(&path, source))?;
        // The history narrows down where a forged entry stands; it is no proof, and is not waited for.
        let path = self.path.join("history");
        if fs::metadata(&path).is_ok_and(|history| history.len() >= MAX_HISTORY) {
            let old = fs::rename(&path, file::previous(&path));
            old.map_err(|source| self.failed(&path, source))?;
        }
        let line = serde_json::to_string(&text).unwrap_or_default() + "\n";
        let added = OpenOptions::new()
            .append(true)
            .create(true)
            .open(&path)
            .and_then(|mut history| history.write_all(line.as_bytes()));
        added.map_err(|source| self.failed(&path, source))
    }

    pub(super) fn put_cosigned(&self, signed: &SignedCheckpoint) -> Result<(), LedgerError> {
        let path = self.cosigned_file();
        file::write_keeping_previous(&path, signed.note().to_string().as_bytes(), file::PUBLIC)
            .map_err(|source| self.failed(&path, source))
    }

    /// The key under which strangers verify, as a file to hand out.
    pub(super) fn put_key(&self, key: &VerifierKey) -> Result<(), LedgerError> {
        let path = self.path.join("key");
        let text = format!("{key}\n");
        if fs::read_to_string(&path).is_ok_and(|there| there == text) {
            return Ok(());
        }
        file::write_atomic(&path, text.as_bytes(), file::PUBLIC)
            .map_err(|source| self.failed(&path, source))
    }

    /// Every earlier checkpoint that verifies. A line that does not was torn or tampered with, and says nothing.
    pub(super) fn history(&self, key: &VerifierKey) -> Vec<Checkpoint> {
        use io::Read as _;
        let (path, mut text) = (self.path.join("history"), String::new());
        for path in [file::previous(&path), path] {
            let mut part = String::new();
            let read = File::open(path).map(|file| file.take(2 * MAX_HISTORY));
            if read.and_then(|mut read| read.read_to_string(&mut part)).is_ok() {
                text += &part;
            }
        }
        text.lines()
            .filter_map(|line| serde_json::from_str::<String>(line).ok())
            .filter(|note| note.len() <= MAX_NOTE)
            .filter_map(|note| SignedCheckpoint::verify(note.as_bytes(), key).ok())
            .map(|signed| signed.checkpoint().clone())
            .collect()
    }

    /// Keeps how far the file was verified, so that the next start need not read it all: only while the file is at rest.
    /// Says whether it did.
    pub(super) fn put_state(&self, log: &File, at: &Position) -> Result<bool, LedgerError> {
        let path = self.path.join("state");
        let metadata = log.metadata().map_err(|source| self.failed(&path, source))?;
        let identity = Identity::of(&metadata);
        if !at_rest(&metadata) || identity.length != at.offset {
            return Ok(false);
        }
        let state = State {
            file: identity,
            next: at.tree.size(),
            chain: hex::encode(at.chain),
            subtrees: at.tree.subtrees().iter().map(Hash::to_string).collect(),
            key_at: at.key_at,
        };
        let text = serde_json::to_string(&state).unwrap_or_default();
        let text = format!("{}\n{text}\n", hex::encode(sha256(text.as_bytes())));
        file::write_atomic(&path, text.as_bytes(), file::PRIVATE)
            .map(|()| true)
            .map_err(|source| self.failed(&path, source))
    }

    /// How far the file was verified, if it is the very file of then and its checkpoint says the same. Whatever else
    /// is found here counts for nothing: the file is then verified from its first byte.
    pub(super) fn state(&self, log: &File, signed: Option<&SignedCheckpoint>) -> Option<Position> {
        use io::Read as _;
        let mut text = String::new();
        File::open(self.path.join("state")).ok()?.take(MAX_STATE).read_to_string(&mut text).ok()?;
        let (sum, state) = text.strip_suffix('\n')?.split_once('\n')?;
        if sum != hex::encode(sha256(state.as_bytes())) {
            return None;
        }
        let state: State = serde_json::from_str(state).ok()?;
        let subtrees: Option<Vec<Hash>> =
            state.subtrees.iter().map(|hash| unhex(hash).map(Hash)).collect();
        let tree = Frontier::from_parts(state.next, subtrees?)?;
        let head = signed?.checkpoint();
        let same = state.file == Identity::of(&log.metadata().ok()?)
            && (head.size, head.root) == (tree.size(), tree.root());
        same.then_some(Position {
            offset: state.file.length,
            chain: unhex(&state.chain)?,
            tree,
            key_at: state.key_at,
        })
    }
}

fn unhex(text: &str) -> Option<[u8; 32]> {
    let mut out = [0; 32];
    hex::decode_to_slice(text, &mut out).ok().map(|()| out)
}

/// Whether a later change would show in the file's times.
fn at_rest(metadata: &Metadata) -> bool {
    let age = metadata.modified().ok().and_then(|at| SystemTime::now().duration_since(at).ok());
    age.is_some_and(|age| age >= TICK)
}

impl Identity {
    fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            length: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}
