//! The file: appending under a lock, finding the end after a crash, verifying from the start.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead as _, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use countersign_crypto::digest::sha256;
use countersign_model::time::Timestamp;
use serde_json::{Value, json};

use super::entry::{Entry, Kind, MAX_LINE};

/// The ledger's file, open for appending. Other processes may have it open too.
pub struct Ledger {
    path: PathBuf,
    inner: Mutex<Tail>,
}

/// How far this process has read: everything before `offset` is verified.
struct Tail {
    file: File,
    offset: u64,
    next: u64,
    chain: [u8; 32],
}

/// A tail that a crash left half-written, now in a file of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TornTail {
    /// Where it was put.
    pub file: PathBuf,
    /// How long it is.
    pub bytes: u64,
}

/// What a verified ledger holds.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct LedgerSummary {
    /// How many entries.
    pub entries: u64,
    /// The running hash after the last of them, hexadecimal.
    pub head: String,
}

impl Ledger {
    /// Opens or creates the ledger, verifies it whole, and sets a torn tail aside.
    ///
    /// # Errors
    /// [`LedgerError::Line`] names the first line that is wrong.
    pub fn open(path: &Path, now: Timestamp) -> Result<(Self, Option<TornTail>), LedgerError> {
        let failed = |source| LedgerError::Io { path: path.to_owned(), source };
        let created = !path.exists();
        let file =
            OpenOptions::new().read(true).append(true).create(true).open(path).map_err(failed)?;
        if created {
            file.sync_all().map_err(failed)?;
            sync_folder(path).map_err(failed)?;
        }
        let tail = Tail { file, offset: 0, next: 0, chain: [0; 32] };
        let ledger = Self { path: path.to_owned(), inner: Mutex::new(tail) };
        let torn = ledger.locked(|tail| tail.repair(path, now))?;
        Ok((ledger, torn))
    }

    /// Appends an entry and waits until it is on the disk.
    ///
    /// # Errors
    /// [`LedgerError`]; then no entry was added, or its torn remains are set aside at the next append.
    //= specs/house.md#house-ledger
    //# The ledger MUST only be appended to.
    pub fn append(&self, kind: Kind, body: Value, at: Timestamp) -> Result<Entry, LedgerError> {
        self.locked(|tail| {
            tail.repair(&self.path, at)?;
            tail.write(&self.path, kind, body, at)
        })
    }

    /// Verifies the file from its first byte.
    ///
    /// # Errors
    /// [`LedgerError::Line`] names the first line that is wrong.
    pub fn verify(&self) -> Result<LedgerSummary, LedgerError> {
        let mut count = 0;
        let head = self.walk(|_| count += 1)?;
        Ok(LedgerSummary { entries: count, head: hex::encode(head) })
    }

    /// How many entries there are and the running hash after the last, from what this process has verified and what
    /// was appended since.
    ///
    /// # Errors
    /// As [`Ledger::append`].
    pub fn summary(&self, now: Timestamp) -> Result<LedgerSummary, LedgerError> {
        self.locked(|tail| {
            tail.repair(&self.path, now)?;
            Ok(LedgerSummary { entries: tail.next, head: hex::encode(tail.chain) })
        })
    }

    /// Every entry, verified on the way.
    ///
    /// # Errors
    /// As [`Ledger::verify`].
    pub fn entries(&self) -> Result<Vec<Entry>, LedgerError> {
        let mut entries = Vec::new();
        self.walk(|entry| entries.push(entry))?;
        Ok(entries)
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads the whole file, line by line, while nobody appends.
    fn walk(&self, mut each: impl FnMut(Entry)) -> Result<[u8; 32], LedgerError> {
        let failed = |source| LedgerError::Io { path: self.path.clone(), source };
        self.locked(|tail| {
            let mut lines = Lines::from(&mut tail.file, 0).map_err(failed)?;
            let (mut chain, mut next) = ([0; 32], 0);
            while let Some(line) = lines.next().map_err(failed)? {
                let whole = line.strip_suffix(b"\n").ok_or("is torn");
                let read = whole.and_then(|line| Entry::read(line, &chain, next));
                let (entry, after) = read.map_err(|what| self.bad_line(next, what))?;
                (chain, next) = (after, next + 1);
                each(entry);
            }
            Ok(chain)
        })
    }

    fn bad_line(&self, index: u64, what: &'static str) -> LedgerError {
        LedgerError::Line { path: self.path.clone(), line: index + 1, what }
    }

    /// Runs `work` while no other process, and no other handle in this one, appends.
    fn locked<T>(
        &self,
        work: impl FnOnce(&mut Tail) -> Result<T, LedgerError>,
    ) -> Result<T, LedgerError> {
        let mut tail = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let failed = |source| LedgerError::Io { path: self.path.clone(), source };
        tail.file.lock().map_err(failed)?;
        let outcome = work(&mut tail);
        tail.file.unlock().map_err(failed)?;
        outcome
    }
}

impl Tail {
    /// Catches up; what was torn is set aside, and that this was done is an entry.
    fn repair(&mut self, path: &Path, now: Timestamp) -> Result<Option<TornTail>, LedgerError> {
        let torn = self.catch_up(path)?;
        if let Some(torn) = &torn {
            let name = torn.file.file_name().map(|name| name.to_string_lossy().into_owned());
            let body = json!({"set_aside": name, "bytes": torn.bytes});
            self.write(path, Kind::LedgerRepaired, body, now)?;
        }
        Ok(torn)
    }

    /// Writes one entry at the end. The lock is held.
    fn write(
        &mut self,
        path: &Path,
        kind: Kind,
        body: Value,
        at: Timestamp,
    ) -> Result<Entry, LedgerError> {
        let entry = Entry::following(&self.chain, self.next, at, kind, body);
        let mut line = entry.line();
        if line.len() >= MAX_LINE {
            return Err(LedgerError::TooLong(line.len()));
        }
        line.push(b'\n');
        let failed = |source| LedgerError::Io { path: path.to_owned(), source };
        self.file.write_all(&line).map_err(failed)?;
        self.file.sync_data().map_err(failed)?;
        self.take(&entry, line.len());
        Ok(entry)
    }

    /// Reads what others appended since; repairs a torn end. The lock is held.
    //= specs/house.md#house-ledger
    //# An entry that was cut short by a crash MUST be told apart from one that was changed.
    fn catch_up(&mut self, path: &Path) -> Result<Option<TornTail>, LedgerError> {
        let failed = |source| LedgerError::Io { path: path.to_owned(), source };
        let length = self.file.metadata().map_err(failed)?.len();
        if length < self.offset {
            return Err(LedgerError::Shrunk { path: path.to_owned() });
        }
        let reader = &mut self.file.try_clone().map_err(failed)?;
        let mut lines = Lines::from(reader, self.offset).map_err(failed)?;
        while let Some(line) = lines.next().map_err(failed)? {
            let whole = line.strip_suffix(b"\n");
            match (Entry::read(whole.unwrap_or(line), &self.chain, self.next), whole) {
                (Ok((entry, _)), Some(_)) => self.take(&entry, line.len()),
                (Ok((entry, _)), None) => {
                    // The entry is whole, only its line end is missing: nothing is lost.
                    self.file.write_all(b"\n").map_err(failed)?;
                    self.file.sync_data().map_err(failed)?;
                    self.take(&entry, line.len() + 1);
                }
                (Err(_), None) if line.len() <= MAX_LINE => {
                    return self.set_aside(path, line).map(Some).map_err(failed);
                }
                (Err(what), _) => {
                    let line = self.next + 1;
                    return Err(LedgerError::Line { path: path.to_owned(), line, what });
                }
            }
        }
        Ok(None)
    }

    fn take(&mut self, entry: &Entry, bytes: usize) {
        self.offset += bytes as u64;
        self.next = entry.index + 1;
        if hex::decode_to_slice(&entry.chain, &mut self.chain).is_err() {
            unreachable!("an entry's chain is 64 hexadecimal digits: made or verified here");
        }
    }

    fn set_aside(&mut self, path: &Path, torn: &[u8]) -> io::Result<TornTail> {
        let digest = hex::encode(&sha256(torn)[..4]);
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(format!(".torn-{}-{digest}", self.offset));
        let aside = path.with_file_name(name);
        let mut copy = File::create(&aside)?;
        copy.write_all(torn)?;
        copy.sync_all()?;
        sync_folder(path)?;
        self.file.set_len(self.offset)?;
        self.file.sync_all()?;
        Ok(TornTail { file: aside, bytes: torn.len() as u64 })
    }
}

/// The file's lines with their ends, one at a time, never more than a line in memory.
struct Lines<'a> {
    reader: io::BufReader<&'a mut File>,
    line: Vec<u8>,
}

impl<'a> Lines<'a> {
    fn from(file: &'a mut File, offset: u64) -> io::Result<Self> {
        file.seek(SeekFrom::Start(offset))?;
        Ok(Self { reader: io::BufReader::new(file), line: Vec::new() })
    }

    /// The next line; a longer one than an entry can be is cut, and then no entry.
    fn next(&mut self) -> io::Result<Option<&[u8]>> {
        self.line.clear();
        let bound = MAX_LINE as u64 + 1;
        let read = self.reader.by_ref().take(bound).read_until(b'\n', &mut self.line)?;
        Ok((read > 0).then_some(self.line.as_slice()))
    }
}

fn sync_folder(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => File::open(folder)?.sync_all(),
        _ => Ok(()),
    }
}

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
    /// A line is not what was written.
    #[error("{}: line {line} {what}: stop, keep the file as evidence, and restore it from a backup", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: u64,
        /// What is wrong with it.
        what: &'static str,
    },
    /// Entries vanished while the file was open.
    #[error("{}: became shorter while in use: stop, and restore it from a backup", path.display())]
    Shrunk {
        /// The file.
        path: PathBuf,
    },
    /// An entry over [`super::MAX_LINE`]: a fault in this program.
    #[error("a ledger entry of {0} bytes is too long")]
    TooLong(usize),
}

#[cfg(test)]
mod tests;
