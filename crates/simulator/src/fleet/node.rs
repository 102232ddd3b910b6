//! Memory, disk and clock of whoever holds slots; a crash loses the first and keeps what was written to the second.

use countersign_crypto::policy::PolicyDigest;
use countersign_model::time::{Day, Timestamp};
use countersign_protocol::policy::{
    PolicyFloor, PolicySlots, PolicyTrust, PreparedPolicy, Refusal, Side, StoredPolicy, StoredSlots,
};
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

/// Where a process is killed in the course of one change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Crash {
    Never,
    /// Decided, and nothing written.
    BeforeDocument,
    /// The document is written, the slots are not.
    BeforeSlots,
    /// Both are written; nothing was done about it yet.
    BeforeActing,
}

/// Which document, on which day.
type Question = (Rc<[u8]>, Day);

/// What `prepare` and `restore` said of each document on each day: they are pure, so once is enough.
pub struct Library {
    trust: PolicyTrust,
    pub floor: PolicyFloor,
    built_in: HashMap<Day, PreparedPolicy>,
    prepared: HashMap<Question, Result<PreparedPolicy, Refusal>>,
    restored: HashMap<Question, Option<PreparedPolicy>>,
}

impl Library {
    pub fn new(trust: PolicyTrust) -> Self {
        Self {
            trust,
            floor: PolicyFloor::of_build(),
            built_in: HashMap::new(),
            prepared: HashMap::new(),
            restored: HashMap::new(),
        }
    }

    pub fn prepare(&mut self, document: &Rc<[u8]>, day: Day) -> Result<PreparedPolicy, Refusal> {
        let trust = &self.trust;
        let key = (document.clone(), day);
        self.prepared
            .entry(key)
            .or_insert_with(|| PreparedPolicy::prepare(document, trust, day))
            .clone()
    }

    pub fn restore(&mut self, document: &Rc<[u8]>, day: Day) -> Option<PreparedPolicy> {
        let trust = &self.trust;
        let key = (document.clone(), day);
        self.restored
            .entry(key)
            .or_insert_with(|| PreparedPolicy::restore(document, trust, day).ok())
            .clone()
    }

    pub fn built_in(&mut self, day: Day) -> PreparedPolicy {
        self.built_in.entry(day).or_insert_with(|| PreparedPolicy::built_in(day)).clone()
    }
}

/// Slots in memory and on disk.
pub struct Node {
    pub side: Side,
    pub slots: PolicySlots,
    stored: StoredSlots,
    documents: BTreeMap<PolicyDigest, Rc<[u8]>>,
    /// Added to true time, in milliseconds: a clock that is wrong.
    pub skew: i64,
    /// The highest version that the disk ever named.
    pub highest: u64,
    /// The highest version that was ever proven on disk.
    pub proven: u64,
}

impl Node {
    pub fn new(side: Side, slots: PolicySlots, document: Option<Rc<[u8]>>) -> Self {
        let digest = slots.active().digest();
        let (highest, stored) = (slots.highest(), slots.stored());
        let documents = document.into_iter().map(|document| (digest, document)).collect();
        Self { side, slots, stored, documents, skew: 0, highest, proven: highest }
    }

    /// What its clock shows.
    pub fn clock(&self, now: Timestamp) -> Timestamp {
        Timestamp(now.0.saturating_add_signed(self.skew))
    }

    pub fn document(&self, digest: PolicyDigest) -> Option<Rc<[u8]>> {
        self.documents.get(&digest).cloned()
    }

    pub fn stored(&self) -> &StoredSlots {
        &self.stored
    }

    /// Writes a change and takes it over, as shells do; `false`: killed on the way, and back from the disk.
    pub fn commit(
        &mut self,
        changed: PolicySlots,
        document: Option<Rc<[u8]>>,
        crash: Crash,
        library: &mut Library,
        now: Timestamp,
    ) -> bool {
        if crash == Crash::BeforeDocument {
            return self.restart(library, now);
        }
        if let (Some(candidate), Some(document)) = (changed.candidate(), document) {
            self.documents.insert(candidate.digest(), document);
        }
        if crash == Crash::BeforeSlots {
            return self.restart(library, now);
        }
        self.stored = changed.stored();
        self.highest = self.highest.max(self.stored.highest.version);
        if self.stored.proven {
            // A return makes the policy before proven again; that is no step back for what was proven before it.
            self.proven = self.proven.max(self.stored.active.version);
        }
        if crash == Crash::BeforeActing {
            return self.restart(library, now);
        }
        let wanted: Vec<_> = self.stored.documents().map(|policy| policy.digest).collect();
        self.documents.retain(|digest, _| wanted.contains(digest));
        self.slots = changed;
        true
    }

    /// Back from the disk. Always `false`.
    pub fn restart(&mut self, library: &mut Library, now: Timestamp) -> bool {
        let clock = self.clock(now);
        let day = Day::of(clock);
        let built_in = library.built_in(day);
        let documents = &self.documents;
        let find = |wanted: &StoredPolicy| library.restore(documents.get(&wanted.digest)?, day);
        let resumed = PolicySlots::resume(self.side, self.stored.clone(), find, built_in, clock);
        self.slots = resumed.expect("no crash may cost the policy in force");
        false
    }
}
