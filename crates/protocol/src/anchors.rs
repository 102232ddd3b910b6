//! The maker's roots on their way to devices: who is given which statements, what a device comes to trust, and who has acknowledged.
//!
//! ```text
//!  RootLine ─► Telling: statements after the root that the device named ─► TrustedRoots::take ─► stored ─► the newest root's SHA-256
//!                 ▲                                                                                            │
//!                 └──────────── the gateway notes it; Acknowledgements before the root is activated ◄──────────┘
//! ```
//!
//! A device adds roots and takes none away, and only those to which a chain of signatures leads from one that it trusts
//! already. Nothing waits for it: a device that hears of no roll goes on by the cross-certificates.

use crate::fleet::{Record, Registration};
use crate::hex;
use countersign_crypto::anchors::{self, Anchor, AnchorError, MAX_STATEMENTS};
use countersign_crypto::certificate::Certificate;
use countersign_model::time::Timestamp;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// The longest chain in one message, in bytes: below the largest packet that a device takes. A longer way is gone in pieces.
pub const MAX_CHAIN: usize = 64 * 1024;

/// SHA-256 of a root as reports and records write it.
#[must_use]
pub fn name(root: &Certificate) -> String {
    hex::write(&root.fingerprint())
}

/// The maker's roots as a device trusts them: those of its factory, for life, and those that statements led to.
#[derive(Debug, Clone)]
pub struct TrustedRoots {
    factory: Vec<Certificate>,
    learned: Vec<Anchor>,
}

impl TrustedRoots {
    /// Of a device: what the factory gave, and what it has stored since, in the order in which it came.
    #[must_use]
    pub const fn new(factory: Vec<Certificate>, learned: Vec<Anchor>) -> Self {
        Self { factory, learned }
    }

    /// Each of them once.
    #[must_use]
    pub fn all(&self) -> Vec<Certificate> {
        let mut all = self.factory.clone();
        for anchor in &self.learned {
            if !all.contains(&anchor.root) {
                all.push(anchor.root.clone());
            }
        }
        all
    }

    /// The newest: the last that statements led to, else the first of the factory, which lists the one that signs first.
    #[must_use]
    pub fn newest(&self) -> Option<&Certificate> {
        self.learned.last().map(|anchor| &anchor.root).or_else(|| self.factory.first())
    }

    /// What is to be stored.
    #[must_use]
    pub fn learned(&self) -> &[Anchor] {
        &self.learned
    }

    /// Follows a chain of statements that came, whoever sent it, and tells how many roots it led to. What was trusted stays so.
    ///
    /// # Errors
    /// [`ChainRefused`]; then nothing of the chain was taken.
    //= specs/house.md#house-anchors
    //# A device MUST come to trust a root only by statements that lead to it from a root that it trusts.
    //= specs/house.md#house-anchors
    //# The number of roots that a device takes MUST be bounded.
    pub fn take(&mut self, chain: &[u8]) -> Result<usize, ChainRefused> {
        // 1. Read.
        if chain.len() > MAX_CHAIN {
            return Err(ChainRefused::TooLong(chain.len()));
        }
        let statements = anchors::from_bytes(chain)?;
        // 2. From where: once a root was followed to, from there, so that nothing leads beside it; before, from the newest of
        //    the factory's that says of itself where it stands.
        let placed = || self.factory.iter().filter_map(|root| anchors::placed(root, &statements));
        let from = match self.learned.last() {
            Some(newest) => newest.clone(),
            None => placed().max_by_key(|one| one.position).ok_or(ChainRefused::NotOurs)?,
        };
        // 3. Along the signatures, all the way or not at all.
        let way = anchors::follow(&from, &statements)?;
        if self.learned.len() + way.len() > MAX_STATEMENTS {
            return Err(ChainRefused::Full);
        }
        let taken = way.len();
        self.learned.extend(way);
        Ok(taken)
    }
}

/// Why a device did not take a chain.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChainRefused {
    /// Over [`MAX_CHAIN`].
    #[error("{0} bytes are more than the {MAX_CHAIN} of a chain of roots")]
    TooLong(usize),
    /// None of its statements is by a root that is trusted.
    #[error("no statement is by a root that this device trusts")]
    NotOurs,
    /// There is no room for so many roots.
    #[error("more than {MAX_STATEMENTS} roots came after those of the factory")]
    Full,
    /// It does not lead on.
    #[error(transparent)]
    Chain(#[from] AnchorError),
}

/// The maker's roots from the first to the newest, as the authority has stated them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RootLine {
    statements: Vec<Vec<u8>>,
    /// One more than there are statements, or none at all.
    names: Vec<String>,
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
        Ok(Self { statements, names })
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

/// Which session of a device is given what. Each is given the statements after one place once, so that a device that cannot
/// follow, or says so again and again, costs a bounded number of messages.
#[derive(Debug, Clone)]
pub struct Telling<K> {
    line: RootLine,
    heard: BTreeMap<K, Heard>,
}

#[derive(Debug, Clone)]
struct Heard {
    root: String,
    /// From which place on it was told last.
    told: Option<usize>,
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
        self.heard.values_mut().for_each(|heard| heard.told = None);
        let all: Vec<K> = self.heard.keys().copied().collect();
        all.into_iter().filter_map(|session| Some((session, self.due(session)?))).collect()
    }

    /// A session's device has named the newest root that it trusts; what it is to be given for that.
    pub fn hear(&mut self, session: K, root: &str) -> Option<Vec<u8>> {
        let heard =
            self.heard.entry(session).or_insert_with(|| Heard { root: String::new(), told: None });
        root.clone_into(&mut heard.root);
        self.due(session)
    }

    /// The session is over.
    pub fn forget(&mut self, session: K) {
        self.heard.remove(&session);
    }

    fn due(&mut self, session: K) -> Option<Vec<u8>> {
        let heard = self.heard.get_mut(&session)?;
        let place = self.line.place(&heard.root)?;
        if heard.told.is_some_and(|told| told >= place) {
            return None;
        }
        let chain = self.line.after(place)?;
        heard.told = Some(place);
        Some(chain)
    }
}

/// Whom a root has reached, by what the gateway noted.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct Acknowledgements {
    /// Devices that said that they trust it, or a later one.
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
        let admitted: BTreeSet<&str> =
            registered.iter().filter(|one| one.admitted).map(|one| one.subject.as_str()).collect();
        let mut all = Self::default();
        for record in records {
            let subject = record.subject.as_str();
            let name = subject.strip_prefix("thing:").filter(|_| admitted.contains(subject));
            let Some(name) = name else { continue };
            if record.root.as_ref().is_some_and(|root| wanted.contains(root)) {
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
