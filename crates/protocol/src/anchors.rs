//! The maker's roots on their way to devices: who is given which statements, what a device comes to trust, and who has acknowledged.
//!
//! ```text
//!  RootLine ─► Telling: statements after the root that the device named ─► TrustedRoots::take ─► stored ─► the newest root's SHA-256
//!                 ▲                                                                                            │
//!                 └──────────── the gateway notes it; Acknowledgements before the root is activated ◄──────────┘
//! ```
//!
//! A device adds only roots to which a chain of signatures leads from one that it trusts already, and lets go of old ones only by a later
//! one's word. Nothing waits for it: a device that hears of no roll goes on by the cross-certificates.

use crate::fleet::{Record, Registration};
use crate::hex;
use countersign_crypto::anchors::{self, Anchor, AnchorError, Told, Withdrawal};
use countersign_crypto::certificate::Certificate;
use countersign_model::time::Timestamp;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

mod trusted;

pub use trusted::{ChainRefused, Taken, TrustedRoots};

/// The longest chain in one message, in bytes: below the largest packet that a device takes. A longer way is gone in pieces.
pub const MAX_CHAIN: usize = 64 * 1024;

/// SHA-256 of a root as reports and records write it.
#[must_use]
pub fn name(root: &Certificate) -> String {
    hex::write(&root.fingerprint())
}

/// The maker's roots from the first to the newest, as the authority has stated them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RootLine {
    statements: Vec<Vec<u8>>,
    /// One more than there are statements, or none at all.
    names: Vec<String>,
    withdrawal: Option<Withdrawal>,
}

impl RootLine {
    /// The line of statements that begins with the maker's first root.
    ///
    /// # Errors
    /// [`AnchorError`] where they do not lead on from it.
    pub fn new(first: Certificate, statements: Vec<Vec<u8>>) -> Result<Self, AnchorError> {
        let held = Anchor { position: 0, root: first };
        let way = anchors::follow(&held, &statements)?;
        let names = std::iter::once(&held).chain(&way).map(|anchor| name(&anchor.root)).collect();
        Ok(Self { statements, names, withdrawal: None })
    }

    /// The same where one of its roots has withdrawn those before it.
    ///
    /// # Errors
    /// [`ChainRefused`] for a withdrawal by none of them, or a line that does not fit into one message with it.
    pub fn withdrawn(self, document: &[u8]) -> Result<Self, ChainRefused> {
        let withdrawal = Withdrawal::read(document)?;
        let place = usize::try_from(withdrawal.position()).ok();
        let statement = place.and_then(|place| self.statements.get(place.checked_sub(1)?));
        let next = statement.and_then(|one| anchors::stated(one)).ok_or(ChainRefused::Unplaced)?;
        withdrawal.by(&next)?;
        let line = Self { withdrawal: Some(withdrawal), ..self };
        match line.whole().map(|whole| whole.len()) {
            Some(length) if length > MAX_CHAIN => Err(ChainRefused::TooLong(length)),
            _ => Ok(line),
        }
    }

    /// The place from which on its roots are anchors; 0 where none was withdrawn.
    #[must_use]
    pub fn floor(&self) -> u64 {
        self.withdrawal.as_ref().map_or(0, Withdrawal::position)
    }

    /// Every statement and the withdrawal, for whoever has not let go yet: it shows where each root stands that such a device may hold.
    fn whole(&self) -> Option<Vec<u8>> {
        let withdrawal = Some(self.withdrawal.clone()?);
        Some(Told { statements: self.statements.clone(), withdrawal }.to_bytes())
    }

    /// How many roots came before that one; `None` for one that is none of them.
    #[must_use]
    pub fn place(&self, root: &str) -> Option<usize> {
        self.names.iter().position(|name| name == root)
    }

    /// The statements that come after the root at that place, as many as go into one message; none after the newest.
    #[must_use]
    pub fn after(&self, place: usize) -> Option<Vec<u8>> {
        self.piece(place, MAX_CHAIN)
    }

    fn piece(&self, place: usize, most: usize) -> Option<Vec<u8>> {
        let mut piece = Vec::new();
        for statement in self.statements.get(place..)? {
            piece.push(statement.clone());
            if anchors::to_bytes(&piece).len() > most {
                piece.pop();
                break;
            }
        }
        (!piece.is_empty()).then(|| anchors::to_bytes(&piece))
    }
}

/// Which session of a device is given what. Each is given the statements after one place once, and a withdrawal once, so that a
/// device that cannot follow, or says so again and again, costs a bounded number of messages.
#[derive(Debug, Clone)]
pub struct Telling<K> {
    line: RootLine,
    heard: BTreeMap<K, Heard>,
}

#[derive(Debug, Clone, Default)]
struct Heard {
    root: String,
    /// From which place on it trusts roots; `None` where its software knows of no withdrawals, and is given none.
    floor: Option<u64>,
    /// From which place on it was told last.
    told: Option<usize>,
    /// Whether it was given the withdrawal of the line.
    withdrawn: bool,
}

impl<K> Default for Telling<K> {
    fn default() -> Self {
        Self { line: RootLine::default(), heard: BTreeMap::new() }
    }
}

impl<K: Copy + Ord> Telling<K> {
    /// Whether that is the line already.
    #[must_use]
    pub fn is(&self, line: &RootLine) -> bool {
        self.line == *line
    }

    /// Another line, and who is to be given what of it. The same again is nothing new.
    pub fn replace(&mut self, line: RootLine) -> Vec<(K, Vec<u8>)> {
        if self.line == line {
            return Vec::new();
        }
        self.line = line;
        self.heard.values_mut().for_each(|heard| (heard.told, heard.withdrawn) = (None, false));
        let all: Vec<K> = self.heard.keys().copied().collect();
        all.into_iter().filter_map(|session| Some((session, self.due(session)?))).collect()
    }

    /// A session's device has named the newest root that it trusts, and from which place on it trusts any; what it is to be given
    /// for that.
    pub fn hear(&mut self, session: K, root: &str, floor: Option<u64>) -> Option<Vec<u8>> {
        let heard = self.heard.entry(session).or_default();
        root.clone_into(&mut heard.root);
        heard.floor = floor;
        self.due(session)
    }

    /// Whether a device says what nobody of the maker's can have made it say: that it trusts a root which is not of the line, or none
    /// up to a place to which no root was withdrawn. Somebody led it away who has a root's key, or the line is an older one.
    #[must_use]
    pub fn is_strange(&self, root: &str, floor: Option<u64>) -> bool {
        let none_yet = self.line.names.is_empty();
        let led_away = self.line.place(root).is_none();
        !none_yet && (led_away || floor.is_some_and(|floor| floor > self.line.floor()))
    }

    /// The session is over.
    pub fn forget(&mut self, session: K) {
        self.heard.remove(&session);
    }

    fn due(&mut self, session: K) -> Option<Vec<u8>> {
        let heard = self.heard.get_mut(&session)?;
        let place = self.line.place(&heard.root)?;
        //= specs/house.md#house-anchors
        //# Software that knows of no withdrawals MUST be given none.
        let holds_on = heard.floor.is_some_and(|floor| floor < self.line.floor());
        if holds_on && !heard.withdrawn {
            (heard.told, heard.withdrawn) = (Some(place), true);
            return self.line.whole();
        }
        if heard.told.is_some_and(|told| told >= place) {
            return None;
        }
        let chain = self.line.after(place)?;
        heard.told = Some(place);
        Some(chain)
    }
}

/// Whom a roll or a withdrawal has reached, by what the gateway noted.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct Acknowledgements {
    /// Devices that said that they trust the root, or a later one; or that they let go of those before it.
    pub acknowledged: usize,
    /// Devices that were seen lately and did not say so, by name.
    pub missing: Vec<String>,
    /// Devices that were not seen lately and did not say so: they come back by the chain of statements, or the cross-certificates.
    pub asleep: usize,
}

impl Acknowledgements {
    /// Counts the devices that may connect and were ever seen. `wanted` are the names of the root and of those after it.
    #[must_use]
    pub fn count(
        records: &[Record],
        registered: &[Registration],
        wanted: &[String],
        now: Timestamp,
        lately: Duration,
    ) -> Self {
        let has = |record: &Record| record.root.as_ref().is_some_and(|root| wanted.contains(root));
        Self::of(records, registered, has, now, lately)
    }

    /// The same for a withdrawal: who trusts roots from that place on, or from a later one.
    #[must_use]
    pub fn let_go(
        records: &[Record],
        registered: &[Registration],
        floor: u64,
        now: Timestamp,
        lately: Duration,
    ) -> Self {
        let has = |record: &Record| record.root_floor.is_some_and(|place| place >= floor);
        Self::of(records, registered, has, now, lately)
    }

    fn of(
        records: &[Record],
        registered: &[Registration],
        has: impl Fn(&Record) -> bool,
        now: Timestamp,
        lately: Duration,
    ) -> Self {
        let admitted: BTreeSet<&str> =
            registered.iter().filter(|one| one.admitted).map(|one| one.subject.as_str()).collect();
        let mut all = Self::default();
        for record in records {
            let subject = record.subject.as_str();
            let name = subject.strip_prefix("thing:").filter(|_| admitted.contains(subject));
            let Some(name) = name else { continue };
            if has(record) {
                all.acknowledged += 1;
            } else if now.since(record.last_seen) <= lately {
                all.missing.push(name.to_owned());
            } else {
                all.asleep += 1;
            }
        }
        all
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
