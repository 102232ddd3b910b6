//! The end of the file: what was verified so far, what a crash tore, what is appended.

use std::fs::File;
use std::io::{self, BufRead as _, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::Path;

use countersign_crypto::digest::sha256;
use countersign_model::time::Timestamp;
use serde_json::{Value, json};

use super::folder::Folder;
use super::{LedgerError, TornTail};
use crate::ledger::audit::Fault;
use crate::ledger::checkpoint::Checkpoint;
use crate::ledger::entry::{Entry, Kind, MAX_LINE, Read};
use crate::ledger::merkle::{Frontier, Hash};
use crate::ledger::signer::LedgerSigner;

/// Everything before `offset` is verified.
#[derive(Debug, Clone, Default)]
pub(super) struct Position {
    pub(super) offset: u64,
    pub(super) chain: [u8; 32],
    pub(super) tree: Frontier,
    /// Which entry says under which key the checkpoints are signed.
    pub(super) key_at: Option<u64>,
}

/// One entry to be: kind, body, time.
pub(super) type Wish = (Kind, Value, Timestamp);

/// The open file and how far this process has read.
pub(super) struct Tail {
    pub(super) file: File,
    pub(super) at: Position,
    /// The last checkpoint: the tree must have been this.
    pub(super) signed: Option<Checkpoint>,
    /// Up to which byte the state beside the file says that it was verified.
    pub(super) kept: Option<u64>,
}

impl Tail {
    /// Catches up; what was torn is set aside, and that this was done is an entry.
    pub(super) fn repair(
        &mut self,
        place: &Place<'_>,
        now: Timestamp,
    ) -> Result<Option<TornTail>, LedgerError> {
        let torn = self.catch_up(place, true)?;
        if let Some(torn) = &torn {
            let name = torn.file.file_name().map(|name| name.to_string_lossy().into_owned());
            let body = json!({"set_aside": name, "bytes": torn.bytes});
            self.write_one(place, (Kind::LedgerRepaired, body, now))?;
        }
        Ok(torn)
    }

    /// Writes one entry at the end. The lock is held.
    pub(super) fn write_one(
        &mut self,
        place: &Place<'_>,
        wish: Wish,
    ) -> Result<Entry, LedgerError> {
        let mut written = self.write(place, vec![wish])?;
        written.pop().unwrap_or(Err(LedgerError::TooLong(0)))
    }

    /// Writes entries at the end and waits once until they are on the disk; one that is too long is left out. The lock
    /// is held.
    pub(super) fn write(
        &mut self,
        place: &Place<'_>,
        wishes: Vec<Wish>,
    ) -> Result<Vec<Result<Entry, LedgerError>>, LedgerError> {
        let (mut at, mut text, mut made) = (self.at.clone(), Vec::new(), Vec::new());
        for (kind, body, when) in wishes {
            let entry = Entry::following(&at.chain, at.tree.size(), when, kind, body);
            let line = entry.line();
            if line.len() >= MAX_LINE {
                made.push(Err(LedgerError::TooLong(line.len())));
                continue;
            }
            text.extend_from_slice(&line);
            text.push(b'\n');
            at.take(&entry, line.len() + 1, place.signer);
            made.push(Ok(entry));
        }
        let written = self.file.write_all(&text).and_then(|()| self.file.sync_data());
        if let Err(source) = written {
            // Nobody was told of these entries; what cannot be undone here is set aside at the next append.
            let _ = self.file.set_len(self.at.offset);
            return Err(place.failed(source));
        }
        self.at = at;
        Ok(made)
    }

    /// Reads what others appended since, and leaves a torn end as it is. The lock is held.
    pub(super) fn follow(&mut self, place: &Place<'_>) -> Result<(), LedgerError> {
        self.catch_up(place, false).map(drop)
    }

    /// Reads what others appended since; repairs a torn end where that is asked. The lock is held.
    //= specs/house.md#house-ledger
    //# An entry that was cut short by a crash MUST be told apart from one that was changed.
    fn catch_up(&mut self, place: &Place<'_>, mend: bool) -> Result<Option<TornTail>, LedgerError> {
        let failed = |source| place.failed(source);
        let length = self.file.metadata().map_err(failed)?.len();
        if length < self.at.offset {
            return Err(LedgerError::Shrunk { path: place.log.to_owned() });
        }
        if length > self.at.offset || self.at.offset == 0 {
            let signed = place.folder.checkpoint(place.signer.verifier())?;
            self.signed = signed.map(|signed| signed.checkpoint().clone());
        }
        let reader = &mut self.file.try_clone().map_err(failed)?;
        let mut lines = Lines::between(reader, self.at.offset, length).map_err(failed)?;
        while let Some(line) = lines.next().map_err(failed)? {
            let whole = line.strip_suffix(b"\n");
            let next = self.at.tree.size();
            match (Entry::read(whole.unwrap_or(line), &self.at.chain, next), whole) {
                (Ok(Read { entry, .. }), Some(_)) => {
                    self.at.take(&entry, line.len(), place.signer);
                }
                (Ok(_), None) if !mend => return Ok(None),
                (Ok(Read { entry, .. }), None) => {
                    // The entry is whole, only its line end is missing: nothing is lost.
                    self.file.write_all(b"\n").map_err(failed)?;
                    self.file.sync_data().map_err(failed)?;
                    self.at.take(&entry, line.len() + 1, place.signer);
                }
                (Err(_), None) if line.len() <= MAX_LINE => {
                    self.nothing_signed_is_missing(place)?;
                    if !mend {
                        return Ok(None);
                    }
                    return self.set_aside(place.log, line).map(Some).map_err(failed);
                }
                (Err(what), _) => return Err(place.fault(Fault::Line { line: next + 1, what })),
            }
            self.agrees(place)?;
        }
        self.nothing_signed_is_missing(place)?;
        Ok(None)
    }

    /// Where the tree has the size of the checkpoint, it is the tree of the checkpoint.
    fn agrees(&self, place: &Place<'_>) -> Result<(), LedgerError> {
        match &self.signed {
            Some(signed)
                if signed.size == self.at.tree.size() && signed.root != self.at.tree.root() =>
            {
                Err(place.fault(Fault::Forked { agreed: 0, signed: signed.size }))
            }
            _ => Ok(()),
        }
    }

    //= specs/house.md#house-ledger
    //# Entries that are missing at the end MUST be found against a checkpoint.
    fn nothing_signed_is_missing(&self, place: &Place<'_>) -> Result<(), LedgerError> {
        let entries = self.at.tree.size();
        match &self.signed {
            Some(signed) if signed.size > entries => {
                Err(place.fault(Fault::Truncated { entries, signed: signed.size }))
            }
            _ => Ok(()),
        }
    }

    fn set_aside(&mut self, path: &Path, torn: &[u8]) -> io::Result<TornTail> {
        let digest = hex::encode(&sha256(torn)[..4]);
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(format!(".torn-{}-{digest}", self.at.offset));
        let aside = path.with_file_name(name);
        let mut copy = File::create(&aside)?;
        copy.write_all(torn)?;
        copy.sync_all()?;
        sync_folder(path)?;
        self.file.set_len(self.at.offset)?;
        self.file.sync_all()?;
        Ok(TornTail { file: aside, bytes: torn.len() as u64 })
    }

    /// What the keeper does: a checkpoint over what is there, and how far was verified.
    pub(super) fn settle(&mut self, place: &Place<'_>) -> Result<(), LedgerError> {
        self.follow(place)?;
        self.sign(place)?;
        self.keep(place)
    }

    /// Keeps how far was verified, unless that is kept already.
    pub(super) fn keep(&mut self, place: &Place<'_>) -> Result<(), LedgerError> {
        if self.kept != Some(self.at.offset) && place.folder.put_state(&self.file, &self.at)? {
            self.kept = Some(self.at.offset);
        }
        Ok(())
    }

    /// Signs what is there, unless that was done. The lock is held, and everything is caught up with.
    //= specs/house.md#house-ledger
    //# A checkpoint MUST be on the disk within a bounded time after the entries that it covers.
    pub(super) fn sign(&mut self, place: &Place<'_>) -> Result<(), LedgerError> {
        let size = self.at.tree.size();
        if self.signed.as_ref().is_some_and(|signed| signed.size >= size) {
            return Ok(());
        }
        // Another process may have signed since.
        let there = place.folder.checkpoint(place.signer.verifier())?;
        self.signed = there.map(|signed| signed.checkpoint().clone());
        self.nothing_signed_is_missing(place)?;
        self.agrees(place)?;
        if self.signed.as_ref().is_none_or(|signed| signed.size < size) {
            let path = place.folder.checkpoint_file();
            let signed = place.signer.sign(&self.at.tree);
            let signed = signed.map_err(|what| LedgerError::Checkpoint { path, what })?;
            place.folder.put_checkpoint(&signed)?;
            self.signed = Some(signed.checkpoint().clone());
        }
        Ok(())
    }
}

impl Position {
    fn take(&mut self, entry: &Entry, bytes: usize, signer: &LedgerSigner) {
        let mut leaf = [0; 32];
        let read = hex::decode_to_slice(&entry.chain, &mut self.chain)
            .and_then(|()| hex::decode_to_slice(&entry.leaf, &mut leaf));
        if read.is_err() {
            unreachable!("an entry's hashes are 64 hexadecimal digits: made or verified here");
        }
        self.offset += bytes as u64;
        self.tree.push(Hash(leaf));
        let ours = || entry.body["key"].as_str() == Some(&signer.verifier().to_string());
        if entry.kind == Kind::LedgerKey && ours() {
            self.key_at = Some(entry.index);
        }
    }
}

/// Where a ledger lies, and who signs it.
pub(super) struct Place<'a> {
    pub(super) log: &'a Path,
    pub(super) folder: &'a Folder,
    pub(super) signer: &'a LedgerSigner,
}

impl Place<'_> {
    pub(super) fn failed(&self, source: io::Error) -> LedgerError {
        LedgerError::Io { path: self.log.to_owned(), source }
    }

    pub(super) fn fault(&self, fault: Fault) -> LedgerError {
        LedgerError::Fault { path: self.log.to_owned(), fault }
    }
}

/// A file's lines with their ends, one at a time, never more than a line in memory.
pub(crate) struct Lines<'a> {
    reader: io::BufReader<io::Take<&'a mut File>>,
    line: Vec<u8>,
}

impl<'a> Lines<'a> {
    /// From one byte up to another.
    pub(crate) fn between(file: &'a mut File, offset: u64, end: u64) -> io::Result<Self> {
        file.seek(SeekFrom::Start(offset))?;
        let part = file.take(end.saturating_sub(offset));
        Ok(Self { reader: io::BufReader::new(part), line: Vec::new() })
    }

    /// The next line; a longer one than an entry can be is cut, and then no entry.
    pub(crate) fn next(&mut self) -> io::Result<Option<&[u8]>> {
        self.line.clear();
        let bound = MAX_LINE as u64 + 1;
        let read = self.reader.by_ref().take(bound).read_until(b'\n', &mut self.line)?;
        Ok((read > 0).then_some(self.line.as_slice()))
    }
}

pub(super) fn sync_folder(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => File::open(folder)?.sync_all(),
        _ => Ok(()),
    }
}
