//! The state on disk: sealed, replaced whole, with the last good one beside it.
//!
//! File: `b"CSDS"`, the length of what follows (u32, big-endian), the sealed bytes. The length tells a torn write
//! from a changed file: what is cut short is a power cut's work, and the previous state stands in; what is whole
//! but does not open was changed, and nothing is guessed.

use super::codec;
use super::notes;
use super::record::Record;
use crate::clock::DeviceClock;
use countersign_crypto::file;
use countersign_crypto::random::Random;
use countersign_crypto::seal::{self, SealError, SealKey};
use countersign_crypto::secret::Secret;
use countersign_crypto::tls::Clock as _;
use countersign_protocol::pairing::NetworkCredentials;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

/// What the sealed bytes are for.
const PURPOSE: &str = "device state";
/// First bytes of the file.
const MAGIC: &[u8; 4] = b"CSDS";
/// Bytes before the sealed ones.
const HEADER: usize = 8;

/// The state, in memory and on disk. Every change is on disk before anybody sees it.
pub struct Store {
    path: PathBuf,
    inside: Mutex<Inside>,
    recovered: bool,
    clock: OnceLock<Arc<DeviceClock>>,
}

struct Inside {
    record: Record,
    seal: SealKey,
    random: Box<dyn Random>,
}

impl Store {
    /// Reads the state at `path`; a new device has none and starts with the default.
    ///
    /// # Errors
    /// [`StoreError::Changed`] for a file that is whole but does not open, or torn with no good copy beside it.
    pub fn open(path: &Path, seal: SealKey, random: Box<dyn Random>) -> Result<Self, StoreError> {
        let (record, recovered) = match load(path, &seal)? {
            Found::Good(record) => (*record, false),
            found => match (load(&file::previous(path), &seal)?, found) {
                (Found::Good(record), _) => (*record, true),
                (Found::Nothing, Found::Nothing) => (Record::default(), false),
                _ => return Err(StoreError::Changed(path.to_owned())),
            },
        };
        let inside = Mutex::new(Inside { record, seal, random });
        Ok(Self { path: path.to_owned(), inside, recovered, clock: OnceLock::new() })
    }

    /// A store that ignores what is on disk, to replace a state that nobody can open any more.
    #[must_use]
    pub fn blank(path: &Path, seal: SealKey, random: Box<dyn Random>) -> Self {
        let inside = Mutex::new(Inside { record: Record::default(), seal, random });
        Self { path: path.to_owned(), inside, recovered: false, clock: OnceLock::new() }
    }

    /// Whether the file at `path` is whole and sealed with this key.
    #[must_use]
    pub fn opens(path: &Path, seal: &SealKey) -> bool {
        matches!(load(path, seal), Ok(Found::Good(_)))
    }

    /// Whether the current file was torn and the previous one stood in: the last change may be lost.
    #[must_use]
    pub const fn recovered(&self) -> bool {
        self.recovered
    }

    /// The state now.
    #[must_use]
    pub fn get(&self) -> Record {
        self.lock().record.clone()
    }

    /// Looks at the state without copying it.
    pub fn with<T>(&self, look: impl FnOnce(&Record) -> T) -> T {
        look(&self.lock().record)
    }

    /// From here on, the record of changes has the time from this clock; before, the highest time that is known.
    pub fn keep_time(&self, clock: Arc<DeviceClock>) {
        let _ = self.clock.set(clock);
    }

    /// Changes the state: the new one is durable when this returns, and unseen if it fails.
    ///
    /// # Errors
    /// [`StoreError::Io`] on a full or broken disk; the old state then stays, in memory and on disk.
    pub fn update<T>(&self, change: impl FnOnce(&mut Record) -> T) -> Result<T, StoreError> {
        self.update_by("the device", change)
    }

    /// As [`Store::update`], by somebody. What changes in who may what is added to the device's record in the same write.
    ///
    /// # Errors
    /// As [`Store::update`].
    //= specs/house.md#house-sharing
    //# A change of who may what MUST be stored together with its entry in the device's record, or not at all.
    pub fn update_by<T>(
        &self,
        by: &str,
        change: impl FnOnce(&mut Record) -> T,
    ) -> Result<T, StoreError> {
        let mut inside = self.lock();
        let mut next = inside.record.clone();
        let answer = change(&mut next);
        lock_network_key(&mut next);
        let at = self.clock.get().map_or(next.time_floor, |clock| clock.now());
        notes::add(&inside.record, &mut next, at, by);
        let bytes = inside.sealed(&self.path, &next)?;
        file::write_keeping_previous(&self.path, &bytes, file::PRIVATE).map_err(StoreError::Io)?;
        inside.record = next;
        Ok(answer)
    }

    /// Replaces the state by `fresh` and leaves no older copy: what was is gone from both files. It is sealed with `seal`
    /// from here on.
    ///
    /// # Errors
    /// As [`Store::update`].
    pub fn replace_for_good(&self, fresh: Record, seal: SealKey) -> Result<(), StoreError> {
        let mut inside = self.lock();
        inside.seal = seal;
        let bytes = inside.sealed(&self.path, &fresh)?;
        file::write_atomic(&self.path, &bytes, file::PRIVATE).map_err(StoreError::Io)?;
        file::write_atomic(&file::previous(&self.path), &bytes, file::PRIVATE)
            .map_err(StoreError::Io)?;
        inside.record = fresh;
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Inside> {
        // A change that panicked has not touched the record: `update` replaces it only at its end.
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// However a network key came in, it stays in memory of its own.
//= specs/house.md#house-secrets
//# A sealing key, a setup code's verifier and a network key MUST lie in locked memory where the machine gives it.
fn lock_network_key(record: &mut Record) {
    let network = record.home.as_mut().and_then(|home| home.network.as_mut());
    let open = network.filter(|network| !network.key.is_locked());
    // One that somebody else holds too came from the record, where it is locked already.
    if let Some(NetworkCredentials { key, .. }) = open.and_then(Arc::get_mut) {
        let nothing = Secret::new(Vec::new(), key.strength());
        *key = std::mem::replace(key, nothing).locked();
    }
}

impl Inside {
    fn sealed(&mut self, path: &Path, record: &Record) -> Result<Vec<u8>, StoreError> {
        let (seal, random) = (&self.seal, self.random.as_mut());
        let sealed = codec::encode(record)
            .expose(|plain| seal::seal(seal, PURPOSE, plain, random))
            .map_err(|error| StoreError::Seal(path.to_owned(), error))?;
        let length = u32::try_from(sealed.len()).map_err(|_| StoreError::TooLarge(sealed.len()))?;
        Ok([MAGIC.as_slice(), &length.to_be_bytes(), &sealed].concat())
    }
}

enum Found {
    Good(Box<Record>),
    Torn,
    Nothing,
}

fn load(path: &Path, key: &SealKey) -> Result<Found, StoreError> {
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::Nothing),
        Err(error) => {
            let text = format!("{}: {error}", path.display());
            return Err(StoreError::Io(io::Error::new(error.kind(), text)));
        }
    };
    // A file of zeros is what some file systems leave of a write that a power cut interrupted.
    if bytes.len() < HEADER || bytes.iter().all(|byte| *byte == 0) {
        return Ok(Found::Torn);
    }
    let changed = || StoreError::Changed(path.to_owned());
    let (header, sealed) = bytes.split_at(HEADER);
    let length = header.strip_prefix(MAGIC).and_then(|length| length.try_into().ok());
    let length = u32::from_be_bytes(length.ok_or_else(changed)?) as usize;
    if sealed.len() < length {
        return Ok(Found::Torn);
    }
    let plain = seal::open(key, PURPOSE, sealed).map_err(|_| changed())?;
    plain.expose(codec::decode).map(Box::new).map(Found::Good).map_err(|_| changed())
}

/// Why the state cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Changed, sealed by another key, or torn without a good copy.
    #[error(
        "{path}: the state was changed, or home.key belongs to another folder. Restore both from the same backup, or copy {path}.prev over it (what happened since the last change is lost), or run `countersign device reset`",
        path = .0.display()
    )]
    Changed(PathBuf),
    /// The file system refused.
    #[error("{0}")]
    Io(io::Error),
    /// The key that seals the home's data is none, or cannot be read.
    #[error(transparent)]
    HomeKey(SealError),
    /// Sealing failed.
    #[error("{path}: {1}", path = .0.display())]
    Seal(PathBuf, SealError),
    /// More than a file of this form can hold.
    #[error("the state grew to {0} bytes, which its file cannot hold")]
    TooLarge(usize),
}

#[cfg(test)]
mod tests;
