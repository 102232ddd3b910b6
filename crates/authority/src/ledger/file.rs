//! The file: appending under a lock in groups, finding the end after a crash, verifying from the start.
//!
//! ```text
//!  append ─► queue ─► whoever holds the tail writes all that wait, waits once for the disk, answers each
//!                                 └─► at most CHECKPOINT_DELAY later: ledger/checkpoint, signed
//! ```

mod error;
mod folder;
mod shared;
mod tail;

use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use countersign_model::time::Timestamp;
use serde_json::Value;

pub use self::error::LedgerError;
use self::folder::Folder;
use self::shared::{Shared, Waiting, held};
pub(crate) use self::tail::Lines;
use self::tail::{Place, Position, Tail, sync_folder};
use super::audit::{Audited, Auditor, Fault};
use super::checkpoint::{Checkpoint, SignedCheckpoint, cosigners};
use super::entry::{Entry, Kind};
use super::note::{Note, NoteError, VerifierKey};
use super::signer::LedgerSigner;

/// How long an entry may be without a checkpoint, while this process lives. A checkpoint costs two waits for the disk;
/// a quarter of a second keeps them off the path of a certificate.
pub const CHECKPOINT_DELAY: Duration = Duration::from_millis(250);
/// The ledger's file, open for appending. Other processes may have it open too.
pub struct Ledger {
    shared: Arc<Shared>,
    keeper: Option<JoinHandle<()>>,
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
    /// The root of the tree over them, hexadecimal.
    pub root: String,
}

impl LedgerSummary {
    fn of(at: &Position) -> Self {
        Self {
            entries: at.tree.size(),
            head: hex::encode(at.chain),
            root: at.tree.root().to_string(),
        }
    }
}

impl Ledger {
    /// Opens or creates the ledger, verifies what was not verified before, and sets a torn tail aside. A new ledger,
    /// and one from before there were checkpoints, gets the key of its checkpoints recorded.
    ///
    /// # Errors
    /// [`LedgerError::Fault`] names what is wrong; [`LedgerError::Checkpoint`] when the checkpoint is not ours.
    pub fn open(
        path: &Path,
        signer: LedgerSigner,
        now: Timestamp,
    ) -> Result<(Self, Option<TornTail>), LedgerError> {
        let failed = |source| LedgerError::Io { path: path.to_owned(), source };
        let created = !path.exists();
        let file =
            OpenOptions::new().read(true).append(true).create(true).open(path).map_err(failed)?;
        if created {
            file.sync_all().map_err(failed)?;
            sync_folder(path).map_err(failed)?;
        }
        let folder = Folder::beside(path);
        folder.make()?;
        let tail = Tail { file, at: Position::default(), signed: None, kept: None };
        let shared = Arc::new(Shared {
            log: path.to_owned(),
            folder,
            signer,
            tail: Mutex::new(tail),
            queue: Mutex::default(),
            due: Mutex::default(),
            bell: Condvar::new(),
        });
        let torn = shared.locked(|tail, place| shared.begin(tail, place, now))?;
        let keeping = shared.clone();
        let keeper = std::thread::Builder::new()
            .name("ledger-keeper".to_owned())
            .spawn(move || keeping.keep())
            .map_err(failed)?;
        Ok((Self { shared, keeper: Some(keeper) }, torn))
    }

    /// Appends an entry and waits until it is on the disk, together with those that others append at the same time.
    ///
    /// # Errors
    /// [`LedgerError`]; then no entry was added, or its torn remains are set aside at the next append.
    pub fn append(&self, kind: Kind, body: Value, at: Timestamp) -> Result<Entry, LedgerError> {
        let mut written = self.append_all(vec![(kind, body)], at)?;
        written.pop().ok_or(LedgerError::TooLong(0))
    }

    /// Appends entries in their order and waits until all are on the disk, once for each group.
    ///
    /// # Errors
    /// As [`Ledger::append`], for the first that was not added.
    //= specs/house.md#house-ledger
    //# The ledger MUST only be appended to.
    pub fn append_all(
        &self,
        wishes: Vec<(Kind, Value)>,
        at: Timestamp,
    ) -> Result<Vec<Entry>, LedgerError> {
        let answers: Vec<_> = wishes.iter().map(|_| Arc::new(Mutex::new(None))).collect();
        let waiting = wishes.into_iter().zip(&answers).map(|((kind, body), answer)| Waiting {
            wish: (kind, body, at),
            answer: answer.clone(),
        });
        held(&self.shared.queue).extend(waiting);
        let mut written = Vec::with_capacity(answers.len());
        for answer in &answers {
            written.push(loop {
                let mut tail = held(&self.shared.tail);
                if let Some(answered) = held(answer).take() {
                    break answered;
                }
                self.shared.write_group(&mut tail);
            }?);
        }
        Ok(written)
    }

    /// Verifies the file from its first byte, against every checkpoint that is at hand.
    ///
    /// # Errors
    /// [`LedgerError::Fault`] names what is wrong.
    pub fn verify(&self) -> Result<LedgerSummary, LedgerError> {
        let audited = self.audit(Vec::new(), |_| ())?;
        Ok(LedgerSummary {
            entries: audited.frontier.size(),
            head: hex::encode(audited.chain),
            root: audited.frontier.root().to_string(),
        })
    }

    /// The same, against these verified checkpoints too; `each` sees every entry.
    ///
    /// # Errors
    /// As [`Ledger::verify`].
    pub fn audit(
        &self,
        mut also: Vec<Checkpoint>,
        mut each: impl FnMut(Entry),
    ) -> Result<Audited, LedgerError> {
        let (shared, key) = (&self.shared, self.verifier());
        let place = shared.place();
        // What stands there now never changes; whoever appends need not wait until it is read.
        let end = shared.locked(|tail, place| {
            let ours = [shared.folder.checkpoint(key)?, shared.folder.cosigned(key)?];
            also.extend(ours.into_iter().flatten().map(|signed| signed.checkpoint().clone()));
            Ok(tail.file.metadata().map_err(|source| place.failed(source))?.len())
        })?;
        match walk(&place, end, Auditor::new(also.clone()), &mut each) {
            Err(LedgerError::Fault { fault: Fault::Forked { .. }, .. }) => {
                // Once more with every earlier checkpoint, to say where.
                also.extend(shared.folder.history(key));
                walk(&place, end, Auditor::new(also), &mut |_| ())
            }
            other => other,
        }
    }

    /// How many entries there are and the hashes over them, from what this process has verified and what was appended
    /// since.
    ///
    /// # Errors
    /// As [`Ledger::append`].
    pub fn summary(&self, now: Timestamp) -> Result<LedgerSummary, LedgerError> {
        self.shared.locked(|tail, place| {
            tail.repair(place, now)?;
            Ok(LedgerSummary::of(&tail.at))
        })
    }

    /// Every entry, verified on the way.
    ///
    /// # Errors
    /// As [`Ledger::verify`].
    pub fn entries(&self) -> Result<Vec<Entry>, LedgerError> {
        let mut entries = Vec::new();
        self.audit(Vec::new(), |entry| entries.push(entry))?;
        Ok(entries)
    }

    /// The checkpoint over all entries, signed and on the disk.
    ///
    /// # Errors
    /// As [`Ledger::append`].
    pub fn checkpoint(&self, now: Timestamp) -> Result<SignedCheckpoint, LedgerError> {
        let shared = &self.shared;
        shared.locked(|tail, place| {
            tail.repair(place, now)?;
            tail.sign(place)?;
            let path = shared.folder.checkpoint_file();
            let there = shared.folder.checkpoint(shared.signer.verifier())?;
            there.ok_or(LedgerError::Checkpoint { path, what: NoteError::Form })
        })
    }

    /// The last checkpoint that witnesses cosigned, if there is one.
    ///
    /// # Errors
    /// [`LedgerError::Checkpoint`].
    pub fn cosigned(&self) -> Result<Option<SignedCheckpoint>, LedgerError> {
        self.shared.folder.cosigned(self.shared.signer.verifier())
    }

    /// Takes over the cosignatures of these witnesses on one of our checkpoints; how many of them are on it now.
    ///
    /// # Errors
    /// [`LedgerError::Checkpoint`] when none of them cosigned, or an older one than what is kept is offered;
    /// [`LedgerError::Fault`] when it is not a checkpoint of this ledger.
    pub fn add_cosignatures(
        &self,
        cosigned: &SignedCheckpoint,
        witnesses: &[VerifierKey],
    ) -> Result<usize, LedgerError> {
        self.audit(vec![cosigned.checkpoint().clone()], |_| ())?;
        let path = self.shared.folder.path.join("cosigned");
        let refused = |what| LedgerError::Checkpoint { path: path.clone(), what };
        let offered = cosigned.checkpoint().size;
        let mut whole = match self.cosigned()? {
            Some(kept) if kept.checkpoint().size > offered => {
                let kept = kept.checkpoint().size;
                return Err(refused(NoteError::Older { offered, kept }));
            }
            Some(kept) if kept.checkpoint().size == offered => kept,
            _ => cosigned.clone(),
        };
        if whole.take_cosignatures(cosigned, witnesses).map_err(refused)? == 0 {
            return Err(refused(NoteError::Unsigned("any of these witnesses".to_owned())));
        }
        let count = cosigners(&whole, witnesses).map_err(refused)?.len();
        self.shared.folder.put_cosigned(&whole)?;
        Ok(count)
    }

    /// The key under which strangers verify checkpoints.
    #[must_use]
    pub fn verifier(&self) -> &VerifierKey {
        self.shared.signer.verifier()
    }

    /// Signs a text of the authority that is no checkpoint, such as a request or a transcript.
    pub(crate) fn sign_note(&self, text: String) -> Result<Note, NoteError> {
        self.shared.signer.sign_note(text)
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.shared.log
    }
}

/// The last checkpoint beside a ledger's file, and the last that was cosigned, verified.
pub(super) fn kept_checkpoints(
    log: &Path,
    key: &VerifierKey,
) -> Result<[Option<SignedCheckpoint>; 2], LedgerError> {
    let folder = Folder::beside(log);
    Ok([folder.checkpoint(key)?, folder.cosigned(key)?])
}

/// Every earlier checkpoint beside a ledger's file that verifies.
pub(super) fn kept_history(log: &Path, key: &VerifierKey) -> Vec<Checkpoint> {
    Folder::beside(log).history(key)
}

/// Reads the file up to `end`, line by line.
fn walk(
    place: &Place<'_>,
    end: u64,
    mut auditor: Auditor,
    each: &mut impl FnMut(Entry),
) -> Result<Audited, LedgerError> {
    let mut file = File::open(place.log).map_err(|source| place.failed(source))?;
    let mut lines = Lines::between(&mut file, 0, end).map_err(|source| place.failed(source))?;
    while let Some(line) = lines.next().map_err(|source| place.failed(source))? {
        let taken = match line.strip_suffix(b"\n") {
            Some(line) => auditor.take(line),
            None => Err(auditor.line_fault("is torn")),
        };
        each(taken.map_err(|fault| place.fault(fault))?);
    }
    auditor.finish().map_err(|fault| place.fault(fault))
}

impl Drop for Ledger {
    fn drop(&mut self) {
        held(&self.shared.due).ended = true;
        self.shared.bell.notify_all();
        if let Some(keeper) = self.keeper.take() {
            let _ = keeper.join();
        }
    }
}

#[cfg(test)]
mod tests;
