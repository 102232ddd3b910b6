//! What a stranger does: an exported ledger as JSON Lines or as tiles, against a checkpoint and a public key.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use countersign_crypto::file;

use super::audit::{Audited, Auditor, Fault};
use super::checkpoint::{Checkpoint, SignedCheckpoint};
use super::entry::{Entry, Leaf, MAX_LINE};
use super::file::{LedgerError, Lines, kept_checkpoints, kept_history};
use super::merkle::Hash;
use super::note::VerifierKey;
use super::tiles::{self, Holds, MAX_BUNDLE, TileFault, WIDTH};

/// Verifies a file of JSON Lines, as `ledger.log` is one, up to where it ends now; `each` sees every entry. Reads
/// only. With `live`, a last line that a kill tore is no fault, as long as no checkpoint covers it: how many bytes it
/// has comes back, and the next start sets them aside.
///
/// # Errors
/// [`LedgerError::Fault`] names the first line that is wrong.
pub fn audit_lines(
    path: &Path,
    checkpoints: Vec<Checkpoint>,
    live: bool,
    mut each: impl FnMut(Entry),
) -> Result<(Audited, u64), LedgerError> {
    let failed = |source| LedgerError::Io { path: path.to_owned(), source };
    let named = |fault| LedgerError::Fault { path: path.to_owned(), fault };
    let mut opened = File::open(path).map_err(failed)?;
    // What stands there now never changes; whoever appends need not wait until it is read.
    opened.lock_shared().map_err(failed)?;
    let end = opened.metadata().map_err(failed)?.len();
    opened.unlock().map_err(failed)?;
    let mut lines = Lines::between(&mut opened, 0, end).map_err(failed)?;
    let mut auditor = Auditor::new(checkpoints);
    let mut torn = 0;
    while let Some(line) = lines.next().map_err(failed)? {
        let whole = line.strip_suffix(b"\n");
        match (auditor.take(whole.unwrap_or(line)), whole) {
            (Ok(entry), Some(_)) => each(entry),
            (Ok(entry), None) if live => each(entry),
            (Err(Fault::Line { .. }), None) if live && line.len() <= MAX_LINE => {
                torn = line.len() as u64;
            }
            (Ok(_), None) => return Err(named(auditor.line_fault("is torn"))),
            (Err(fault), _) => return Err(named(fault)),
        }
    }
    Ok((auditor.finish().map_err(named)?, torn))
}

/// What a data folder keeps beside its ledger.
#[derive(Debug, Clone)]
pub struct Beside {
    log: PathBuf,
}

impl Beside {
    /// Of that ledger.
    #[must_use]
    pub fn new(log: &Path) -> Self {
        Self { log: log.to_owned() }
    }

    /// The public key of its checkpoints; `None` in a folder from before there were checkpoints.
    ///
    /// # Errors
    /// [`LedgerError::Io`], [`LedgerError::Checkpoint`] when it is no key.
    pub fn key(&self) -> Result<Option<VerifierKey>, LedgerError> {
        let path = self.log.with_extension("").join("key");
        match fs::read_to_string(&path) {
            Ok(text) => {
                let key = text.trim_end().parse();
                key.map(Some).map_err(|what| LedgerError::Checkpoint { path, what })
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(LedgerError::Io { path, source }),
        }
    }

    /// The last checkpoint, and the last one that witnesses cosigned.
    ///
    /// # Errors
    /// [`LedgerError::Io`], [`LedgerError::Checkpoint`].
    pub fn checkpoints(
        &self,
        key: &VerifierKey,
    ) -> Result<[Option<SignedCheckpoint>; 2], LedgerError> {
        kept_checkpoints(&self.log, key)
    }

    /// Every earlier checkpoint that was kept and verifies: to say where a ledger went wrong.
    #[must_use]
    pub fn history(&self, key: &VerifierKey) -> Vec<Checkpoint> {
        kept_history(&self.log, key)
    }
}

/// Verifies a folder of tiles.
///
/// # Errors
/// [`TileFault`] names the tile and the entry.
pub fn audit_tiles(
    folder: &Path,
    signed: &Checkpoint,
    older: Vec<Checkpoint>,
    each: impl FnMut(Leaf, Hash),
) -> Result<Audited, TileFault> {
    let read = |path: &str| -> io::Result<Vec<u8>> {
        let mut content = Vec::new();
        let file = File::open(folder.join(path))?;
        file.take(MAX_BUNDLE as u64 + 1).read_to_end(&mut content)?;
        Ok(content)
    };
    tiles::verify(signed, older, read, each)
}

/// Writes the tiles of a ledger of these entries, its checkpoint and its key into a folder, whose partial tiles of
/// before are no longer needed.
///
/// # Errors
/// [`LedgerError::Io`].
pub fn write_tiles(
    folder: &Path,
    entries: &[Entry],
    signed: &SignedCheckpoint,
    key: &VerifierKey,
) -> Result<u64, LedgerError> {
    let mut written = 0;
    let mut write = |path: &str, content: &[u8]| -> Result<(), LedgerError> {
        let path: PathBuf = folder.join(path);
        let failed = |source| LedgerError::Io { path: path.clone(), source };
        if let Some(above) = path.parent() {
            fs::create_dir_all(above).map_err(failed)?;
        }
        // A full tile never changes.
        if fs::read(&path).is_ok_and(|there| there == content) {
            return Ok(());
        }
        file::write_atomic(&path, content, file::PUBLIC).map_err(failed)?;
        written += 1;
        Ok(())
    };
    let leaves: Vec<Vec<u8>> = entries.iter().map(Entry::leaf_data).collect();
    for (number, chunk) in (0..).zip(leaves.chunks(256)) {
        let name = tiles::path(Holds::Entries, number, (chunk.len() as u64).min(WIDTH));
        let content = tiles::bundle(chunk).ok_or(LedgerError::TooLong(u16::MAX.into()))?;
        write(&name, &content)?;
    }
    let hashes: Vec<Hash> = leaves.iter().map(|leaf| Hash::leaf(leaf)).collect();
    let mut outcome = Ok(());
    tiles::hash_tiles(&hashes, |path, content| {
        if outcome.is_ok() {
            outcome = write(path, content);
        }
    });
    outcome?;
    write("key", format!("{key}\n").as_bytes())?;
    // Last: whoever reads it finds the tiles that it needs.
    write("checkpoint", signed.note().to_string().as_bytes())?;
    Ok(written)
}

/// Reads and verifies a checkpoint's file.
///
/// # Errors
/// [`LedgerError::Io`], [`LedgerError::Checkpoint`].
pub fn read_checkpoint(path: &Path, key: &VerifierKey) -> Result<SignedCheckpoint, LedgerError> {
    let bytes = fs::read(path);
    let bytes = bytes.map_err(|source| LedgerError::Io { path: path.to_owned(), source })?;
    SignedCheckpoint::verify(&bytes, key)
        .map_err(|what| LedgerError::Checkpoint { path: path.to_owned(), what })
}
