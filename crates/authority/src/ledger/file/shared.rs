//! What the callers and the keeper of one ledger share: the tail, the queue in front of it, and what is due.

use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use countersign_model::time::Timestamp;
use serde_json::json;

use super::folder::{Folder, TICK};
use super::tail::{Place, Tail, Wish};
use super::{CHECKPOINT_DELAY, LedgerError, TornTail};
use crate::ledger::entry::{Entry, Kind};
use crate::ledger::signer::LedgerSigner;

/// The most entries that are written in one group: 256 of the longest are 16 MiB in memory.
const MAX_GROUP: usize = 256;

pub(super) struct Shared {
    pub(super) log: PathBuf,
    pub(super) folder: Folder,
    pub(super) signer: LedgerSigner,
    pub(super) tail: Mutex<Tail>,
    pub(super) queue: Mutex<Vec<Waiting>>,
    pub(super) due: Mutex<Due>,
    pub(super) bell: Condvar,
}

/// An entry that waits for its group, and where its answer goes.
pub(super) struct Waiting {
    pub(super) wish: Wish,
    pub(super) answer: Arc<Mutex<Option<Result<Entry, LedgerError>>>>,
}

/// What the keeper has to do.
#[derive(Default)]
pub(super) struct Due {
    pub(super) since: Option<Instant>,
    pub(super) ended: bool,
}

pub(super) fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    pub(super) fn place(&self) -> Place<'_> {
        Place { log: &self.log, folder: &self.folder, signer: &self.signer }
    }

    /// Runs `work` while no other process, and no other handle in this one, appends.
    pub(super) fn locked<T>(
        &self,
        work: impl FnOnce(&mut Tail, &Place<'_>) -> Result<T, LedgerError>,
    ) -> Result<T, LedgerError> {
        self.locked_with(&mut held(&self.tail), work)
    }

    fn locked_with<T>(
        &self,
        tail: &mut Tail,
        work: impl FnOnce(&mut Tail, &Place<'_>) -> Result<T, LedgerError>,
    ) -> Result<T, LedgerError> {
        let place = self.place();
        tail.file.lock().map_err(|source| place.failed(source))?;
        let outcome = work(tail, &place);
        tail.file.unlock().map_err(|source| place.failed(source))?;
        outcome
    }

    /// The start: from where the last process left it if nothing was touched since, else from the first byte.
    pub(super) fn begin(
        &self,
        tail: &mut Tail,
        place: &Place<'_>,
        now: Timestamp,
    ) -> Result<Option<TornTail>, LedgerError> {
        let signed = self.folder.checkpoint(self.signer.verifier())?;
        if let Some(at) = self.folder.state(&tail.file, signed.as_ref()) {
            tail.kept = Some(at.offset);
            tail.at = at;
        }
        let unsigned = signed.is_none();
        tail.signed = signed.map(|signed| signed.checkpoint().clone());
        let torn = tail.repair(place, now)?;
        let entries = tail.at.tree.size();
        if tail.at.key_at.is_none() {
            let key = self.signer.verifier().to_string();
            let body = json!({"key": key, "entries_before": entries});
            tail.write_one(place, (Kind::LedgerKey, body, now))?;
        } else if unsigned {
            // Killed before the first one was written, or somebody took it away: in either case for all to see.
            let body = json!({"checkpoint": "missing", "entries": entries});
            tail.write_one(place, (Kind::LedgerRepaired, body, now))?;
        }
        tail.sign(place)?;
        self.folder.put_key(self.signer.verifier())?;
        Ok(torn)
    }

    /// Writes what waits, up to [`MAX_GROUP`], and answers each.
    pub(super) fn write_group(&self, tail: &mut Tail) {
        let group: Vec<Waiting> = {
            let mut queue = held(&self.queue);
            let count = queue.len().min(MAX_GROUP);
            queue.drain(..count).collect()
        };
        let Some(now) = group.iter().map(|one| one.wish.2).max() else { return };
        let (wishes, answers): (Vec<_>, Vec<_>) =
            group.into_iter().map(|one| (one.wish, one.answer)).unzip();
        let written = self.locked_with(tail, |tail, place| {
            tail.repair(place, now)?;
            tail.write(place, wishes)
        });
        match written {
            Ok(entries) => {
                for (entry, answer) in entries.into_iter().zip(&answers) {
                    *held(answer) = Some(entry);
                }
                held(&self.due).since.get_or_insert_with(Instant::now);
                self.bell.notify_all();
            }
            Err(error) => {
                for answer in &answers {
                    *held(answer) = Some(Err(error.again()));
                }
            }
        }
    }

    /// The keeper's life: a checkpoint when one is due, and the last one at the end.
    pub(super) fn keep(&self) {
        let mut due = held(&self.due);
        loop {
            let wait = due.since.map(|since| CHECKPOINT_DELAY.saturating_sub(since.elapsed()));
            match wait {
                _ if due.ended => break,
                Some(Duration::ZERO) => {
                    due.since = None;
                    drop(due);
                    self.tell(self.locked(Tail::settle));
                    due = held(&self.due);
                }
                Some(wait) => {
                    let waited = self.bell.wait_timeout(due, wait);
                    due = waited.unwrap_or_else(PoisonError::into_inner).0;
                }
                None => due = self.bell.wait(due).unwrap_or_else(PoisonError::into_inner),
            }
        }
        drop(due);
        let settled = {
            let tail = held(&self.tail);
            tail.kept == Some(tail.at.offset)
        };
        if !settled {
            std::thread::sleep(TICK);
            self.tell(self.locked(Tail::settle));
        }
    }

    fn tell(&self, outcome: Result<(), LedgerError>) {
        if let Err(error) = outcome {
            tracing::error!(%error, "the ledger's checkpoint was not written");
        }
    }
}
