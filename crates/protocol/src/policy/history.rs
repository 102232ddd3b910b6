//! What happened to policies here: bounded, so that nobody can fill a device's storage by knocking.

use super::refusal::Word;
use countersign_model::time::Timestamp;
use serde::{Deserialize, Serialize};

/// Entries that are kept: a device's whole life of policies, and room for what was refused meanwhile.
pub const HISTORY: usize = 64;
/// Longest text of an entry, in characters: a sentence or two, not every fault of a hostile document.
const MAX_TEXT: usize = 400;
/// Longest name of a source, in characters: a host name.
const MAX_FROM: usize = 253;

/// One thing that happened, and how often.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recorded {
    /// When; of several times, the last.
    pub at: Timestamp,
    /// The policy's version, where its signature was verified.
    pub version: Option<u64>,
    /// From whom it came.
    pub from: String,
    /// What happened, for machines.
    pub word: Word,
    /// What happened, for people.
    pub text: String,
    /// How often.
    pub times: u32,
}

/// The newest [`HISTORY`] entries, oldest first. The same thing again counts up and moves to the end.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct History {
    entries: Vec<Recorded>,
}

impl History {
    /// Oldest first.
    #[must_use]
    pub fn entries(&self) -> &[Recorded] {
        &self.entries
    }

    //= specs/house.md#house-policy
    //# A refused policy MUST be recorded with its reason.
    pub(super) fn record(
        &mut self,
        at: Timestamp,
        version: Option<u64>,
        from: &str,
        word: Word,
        text: &str,
    ) {
        let short = |text: &str, most| text.chars().take(most).collect::<String>();
        let (from, text) = (short(from, MAX_FROM), short(text, MAX_TEXT));
        let same = self
            .entries
            .iter()
            .position(|entry| entry.word == word && entry.version == version && entry.from == from);
        let times = same.map_or(0, |index| self.entries.remove(index).times).saturating_add(1);
        if self.entries.len() >= HISTORY {
            self.entries.remove(0);
        }
        self.entries.push(Recorded { at, version, from, word, text, times });
    }

    /// From storage: what is over the bound is left out.
    pub(super) fn bounded(mut self) -> Self {
        let over = self.entries.len().saturating_sub(HISTORY);
        self.entries.drain(..over);
        self
    }
}
