//! Subjects, names and keys, packed: each name stands once, and everything else is a number.
//!
//! ```text
//!  names    plug-1Backendplug-2…          one text
//!  entries  [at, length, kind, state]     16 octets each ◄── by a hash of the name, lower-cased ── who is it, is it a name
//!                                                        ◄── by a key's hash, 36 octets ───────── whose is the key
//! ```

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};

use countersign_model::grant::Grant;

use super::Registered;
use crate::registration::State;
use crate::subject::Subject;

/// SHA-256 of a SubjectPublicKeyInfo.
pub(crate) type KeyHash = [u8; 32];

/// No entry.
const NONE: u32 = u32::MAX;

/// Everybody. Nobody ever leaves it: a subject that goes is retired.
#[derive(Default)]
pub(super) struct Known {
    names: String,
    entries: Vec<Entry>,
    /// The newest entry of each hash; the others follow by `next`.
    by_name: HashMap<u64, u32>,
    hasher: RandomState,
    keys: HashMap<KeyHash, u32>,
    /// Of those who have some.
    grants: HashMap<u32, Vec<Grant>>,
    registered: usize,
}

struct Entry {
    /// Where its name begins.
    at: u64,
    /// Another entry whose name has the same hash.
    next: u32,
    /// A name has 64 octets at most.
    length: u8,
    kind: Kind,
    /// None for somebody of whom only a key is known yet.
    state: Option<State>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Thing,
    Service,
    Operator,
    Server,
}

impl Kind {
    const fn of(subject: &Subject) -> Self {
        match subject {
            Subject::Thing(_) => Self::Thing,
            Subject::Service(_) => Self::Service,
            Subject::Operator(_) => Self::Operator,
            Subject::Server(_) => Self::Server,
        }
    }

    /// The subject of this kind; none for a text that is no name, which no entry has.
    fn subject(self, name: &str) -> Option<Subject> {
        match self {
            Self::Thing => name.parse().map(Subject::Thing),
            Self::Service => name.parse().map(Subject::Service),
            Self::Operator => name.parse().map(Subject::Operator),
            Self::Server => name.parse().map(Subject::Server),
        }
        .ok()
    }
}

impl Known {
    /// Notes how a subject stands.
    pub(super) fn put(&mut self, subject: &Subject, state: State, grants: Vec<Grant>) {
        let number = self.number(subject);
        let Some(entry) = self.entries.get_mut(index(number)) else { return };
        self.registered += usize::from(entry.state.replace(state).is_none());
        match grants.is_empty() {
            true => drop(self.grants.remove(&number)),
            false => drop(self.grants.insert(number, grants)),
        }
    }

    /// Notes whose a key is.
    pub(super) fn put_key(&mut self, key: KeyHash, owner: &Subject) {
        let number = self.number(owner);
        self.keys.insert(key, number);
    }

    /// How a subject stands, if it is registered.
    pub(super) fn get(&self, subject: &Subject) -> Option<Registered> {
        let number = self.find(subject)?;
        let state = self.entries.get(index(number))?.state?;
        let grants = self.grants.get(&number).cloned().unwrap_or_default();
        Some(Registered { state, grants })
    }

    /// Whether a registered subject of any kind has that name, in upper or lower case.
    pub(super) fn is_name(&self, name: &str) -> bool {
        self.all_like(name).any(|(_, entry)| entry.state.is_some())
    }

    /// Whose a key is.
    pub(super) fn owner(&self, key: &KeyHash) -> Option<Subject> {
        let entry = self.entries.get(index(*self.keys.get(key)?))?;
        entry.kind.subject(self.name(entry))
    }

    /// How many are registered.
    pub(super) const fn registered(&self) -> usize {
        self.registered
    }

    /// The subject's number, a new one if it has none.
    fn number(&mut self, subject: &Subject) -> u32 {
        if let Some(number) = self.find(subject) {
            return number;
        }
        // There are fewer: each has 16 octets here.
        let number = u32::try_from(self.entries.len()).unwrap_or(NONE);
        let name = subject.name();
        let next = self.by_name.insert(self.hash(name), number).unwrap_or(NONE);
        self.entries.push(Entry {
            at: self.names.len() as u64,
            next,
            length: u8::try_from(name.len()).unwrap_or(u8::MAX),
            kind: Kind::of(subject),
            state: None,
        });
        self.names.push_str(name);
        number
    }

    fn find(&self, subject: &Subject) -> Option<u32> {
        let (kind, name) = (Kind::of(subject), subject.name());
        let same = |entry: &Entry| entry.kind == kind && self.name(entry) == name;
        self.all_like(name).find(|(_, entry)| same(entry)).map(|(number, _)| number)
    }

    /// Those whose name is this one in upper or lower case.
    fn all_like<'a>(&'a self, name: &'a str) -> impl Iterator<Item = (u32, &'a Entry)> + 'a {
        let first = self.by_name.get(&self.hash(name)).copied().unwrap_or(NONE);
        let entry = |number: u32| Some((number, self.entries.get(index(number))?));
        let chain = std::iter::successors(entry(first), move |(_, last)| entry(last.next));
        chain.filter(|(_, entry)| self.name(entry).eq_ignore_ascii_case(name))
    }

    fn name(&self, entry: &Entry) -> &str {
        let at = usize::try_from(entry.at).unwrap_or(usize::MAX);
        self.names.get(at..at.saturating_add(usize::from(entry.length))).unwrap_or_default()
    }

    fn hash(&self, name: &str) -> u64 {
        self.hasher.hash_one(name.to_ascii_lowercase())
    }
}

fn index(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashSet;

    #[test]
    fn an_entry_is_small() {
        assert_eq!(size_of::<Entry>(), 16);
    }

    fn subject() -> impl Strategy<Value = Subject> {
        ("(thing|service|operator|server)", "[abAB]{1,3}")
            .prop_map(|(kind, name)| Subject::from_parts(&kind, &name).unwrap().unwrap())
    }

    #[derive(Debug, Clone)]
    enum Change {
        Put(Subject, State, bool),
        Key(u8, Subject),
    }

    fn change() -> impl Strategy<Value = Change> {
        let state = prop::sample::select(State::ALL.to_vec());
        prop_oneof![
            (subject(), state, any::<bool>())
                .prop_map(|(who, how, may)| Change::Put(who, how, may)),
            (0_u8..8, subject()).prop_map(|(key, who)| Change::Key(key, who)),
        ]
    }

    proptest! {
        /// It answers as plain tables of whole subjects do.
        #[test]
        fn it_is_a_table(changes in proptest::collection::vec(change(), 0..80)) {
            let mut known = Known::default();
            let (mut subjects, mut keys) = (HashMap::new(), HashMap::new());
            let grant: Grant = "publish things/+/actions/+".parse().unwrap();
            for change in changes {
                match change {
                    Change::Put(who, state, may) => {
                        let grants = if may { vec![grant.clone()] } else { Vec::new() };
                        known.put(&who, state, grants.clone());
                        subjects.insert(who, Registered { state, grants });
                    }
                    Change::Key(key, who) => {
                        known.put_key([key; 32], &who);
                        keys.insert(key, who);
                    }
                }
            }
            let names: HashSet<String> =
                subjects.keys().map(|one: &Subject| one.name().to_ascii_lowercase()).collect();
            for kind in ["thing", "service", "operator", "server"] {
                for name in ["a", "A", "ab", "aB", "Ab", "bb", "bab", "BAB", "c"] {
                    let who = Subject::from_parts(kind, name).unwrap().unwrap();
                    prop_assert_eq!(known.get(&who), subjects.get(&who).cloned());
                    prop_assert_eq!(known.is_name(name), names.contains(&name.to_ascii_lowercase()));
                }
            }
            for key in 0..9 {
                prop_assert_eq!(known.owner(&[key; 32]), keys.get(&key).cloned());
            }
            prop_assert_eq!(known.registered(), subjects.len());
        }
    }
}
