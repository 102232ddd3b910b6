//! Reading a ledger from its first line against checkpoints, without files: what is wrong, and where.

use super::checkpoint::Checkpoint;
use super::entry::{Entry, Read};
use super::merkle::{Frontier, Hash};

/// Reads line after line and compares the tree with every checkpoint on the way.
#[derive(Debug, Clone, Default)]
pub struct Auditor {
    next: u64,
    chain: [u8; 32],
    frontier: Frontier,
    /// Still to come, the smallest last.
    marks: Vec<Checkpoint>,
    /// The largest size at which a checkpoint agreed.
    agreed: u64,
}

impl Auditor {
    /// Against these checkpoints, which somebody verified.
    #[must_use]
    pub fn new(mut checkpoints: Vec<Checkpoint>) -> Self {
        checkpoints.sort_by_key(|one| std::cmp::Reverse(one.size));
        let mut auditor = Self { marks: checkpoints, ..Self::default() };
        // The empty tree is the beginning of every tree.
        while auditor.marks.last().is_some_and(|mark| mark.size == 0) {
            auditor.marks.pop();
        }
        auditor
    }

    /// Takes the next line, without its end.
    ///
    /// # Errors
    /// [`Fault`] names the entry.
    //= specs/house.md#house-ledger
    //# A ledger that is not the one that a checkpoint was signed for MUST be found by verification.
    pub fn take(&mut self, line: &[u8]) -> Result<Entry, Fault> {
        let read = Entry::read(line, &self.chain, self.next);
        let Read { entry, leaf, chain } = read.map_err(|what| self.line_fault(what))?;
        self.chain = chain;
        self.push(leaf)?;
        Ok(entry)
    }

    /// Takes a leaf whose entry was read elsewhere.
    ///
    /// # Errors
    /// [`Fault::Forked`].
    pub fn push(&mut self, leaf: Hash) -> Result<(), Fault> {
        self.frontier.push(leaf);
        self.next += 1;
        while self.marks.last().is_some_and(|mark| mark.size == self.next) {
            let Some(mark) = self.marks.pop() else { break };
            if mark.root != self.frontier.root() {
                return Err(Fault::Forked { agreed: self.agreed, signed: mark.size });
            }
            self.agreed = self.next;
        }
        Ok(())
    }

    /// What is wrong with the line that comes now.
    #[must_use]
    pub fn line_fault(&self, what: &'static str) -> Fault {
        Fault::Line { line: self.next + 1, what }
    }

    /// Ends: nothing that was signed may be missing.
    ///
    /// # Errors
    /// [`Fault::Truncated`].
    //= specs/house.md#house-ledger
    //# Entries that are missing at the end MUST be found against a checkpoint.
    pub fn finish(self) -> Result<Audited, Fault> {
        match self.marks.first() {
            Some(mark) => Err(Fault::Truncated { entries: self.next, signed: mark.size }),
            None => Ok(Audited { frontier: self.frontier, chain: self.chain, agreed: self.agreed }),
        }
    }
}

/// A ledger that holds.
#[derive(Debug, Clone)]
pub struct Audited {
    /// The tree over all entries.
    pub frontier: Frontier,
    /// The running hash after the last line.
    pub chain: [u8; 32],
    /// The largest size that a checkpoint vouches for; 0 without one.
    pub agreed: u64,
}

/// What is wrong with a ledger.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// A line is not what was written.
    #[error("line {line} {what}")]
    Line {
        /// Counted from 1.
        line: u64,
        /// What is wrong with it.
        what: &'static str,
    },
    /// The entries fit each other and not the checkpoint: somebody wrote them anew.
    #[error("of lines {} to {signed} at least one was forged: they fit each other, and are not those that the checkpoint of {signed} entries was signed for", agreed + 1)]
    Forked {
        /// Up to here a checkpoint agrees.
        agreed: u64,
        /// The size of the checkpoint that does not.
        signed: u64,
    },
    /// The end is missing.
    #[error("ends after {entries} entries, and a checkpoint was signed for {signed}: lines {} to {signed} were cut off", entries + 1)]
    Truncated {
        /// What is there.
        entries: u64,
        /// What was.
        signed: u64,
    },
}

#[cfg(test)]
mod tests;
