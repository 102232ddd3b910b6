//! The device's own record of who changed who may what: bounded, and chained so that nothing can be taken out of its middle.
//!
//! ```text
//!  base ─► entry 17 ─► entry 18 ─► … ─► entry 80 ─► head        each arrow: SHA-256 over what came before and the entry
//!   └ stands for entries 1 to 16, which made room
//! ```
//! An owner's controller keeps the number and the head that it saw last: what it reads later must have grown out of that.
//! After a reset the numbers and the chain go on, and nothing of the former home is left but the head of its record.
//!
//! ```
//! use countersign_model::time::Timestamp;
//! use countersign_protocol::journal::{Journal, Note, What};
//! let mut journal = Journal::default();
//! journal.append(Timestamp(5), "setup code", Note::new(What::Paired).of("ada".parse()?));
//! let seen = journal.head();
//! journal.append(Timestamp(9), "person:ada", Note::new(What::Unshared).of("sam".parse()?));
//! assert!(journal.grew_from(&seen).is_ok());
//! # Ok::<(), countersign_model::id::InvalidId>(())
//! ```

use crate::hex;
use countersign_crypto::digest::sha256;
use countersign_model::id::PersonName;
use countersign_model::role::Role;
use countersign_model::time::Timestamp;
use minicbor::Encoder;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// Entries that are kept: a household changes rights some times a year; this is a decade in about 20 kB.
pub const MAX_ENTRIES: usize = 128;
/// Longest name of who did it, and longest detail, in bytes.
const MAX_WORDS: usize = 96;
/// What the hashes are for.
const DOMAIN: &[u8] = b"countersign-history/1";

/// The record. Its JSON is the value of the built-in property `history`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(try_from = "Stored", into = "Stored")]
pub struct Journal {
    /// Number and link of the last entry that made room; 0 and zeros when none has.
    base: Head,
    head: Head,
    entries: VecDeque<Entry>,
}

/// The end of the chain: how many entries there ever were, and the hash over them all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Head {
    /// The number of the last entry; the first has 1.
    pub number: u64,
    /// The hash over all up to it.
    #[serde(serialize_with = "to_hex", deserialize_with = "from_hex")]
    pub link: [u8; 32],
}

/// One change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    number: u64,
    at: Timestamp,
    by: String,
    #[serde(flatten)]
    note: Note,
}

/// What changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    what: What,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    person: Option<PersonName>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    role: Option<Role>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
}

/// The kinds of change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum What {
    /// The device came into a home.
    Paired,
    /// Somebody was invited.
    Invited,
    /// Who was invited joined.
    Joined,
    /// An invitation ended unused.
    InvitationEnded,
    /// Somebody of the home got a role.
    RoleGiven,
    /// Somebody's role became another one.
    RoleChanged,
    /// Somebody has no role any more.
    Unshared,
    /// The network's credentials were replaced.
    NetworkReplaced,
    /// Another crypto policy is in force.
    PolicyReplaced,
    /// The device forgot its home.
    Reset,
}

impl What {
    /// The word in documents.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Paired => "paired",
            Self::Invited => "invited",
            Self::Joined => "joined",
            Self::InvitationEnded => "invitation-ended",
            Self::RoleGiven => "role-given",
            Self::RoleChanged => "role-changed",
            Self::Unshared => "unshared",
            Self::NetworkReplaced => "network-replaced",
            Self::PolicyReplaced => "policy-replaced",
            Self::Reset => "reset",
        }
    }
}

/// A record that is not what it says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum JournalError {
    /// An entry was changed, left out, added or moved.
    #[error(
        "the record's entries do not lead to its head: entry {0} was changed, left out or moved"
    )]
    Broken(u64),
    /// More entries than a device keeps.
    #[error("the record has more than {MAX_ENTRIES} entries")]
    TooMany,
    /// It does not continue what was seen before.
    #[error(
        "the record does not continue what was seen before (entry {0}): it was rewritten, or another device answers"
    )]
    Rewritten(u64),
    /// It is shorter than what was seen before.
    #[error("the record ends at entry {1}, but entry {0} was seen before: the end was cut off")]
    Shorter(u64, u64),
}

/// How a record continues what was seen before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Grown {
    /// By so many entries, all of them there.
    By(u64),
    /// The entry that was seen last has made room meanwhile: what lies between cannot be checked any more.
    Gap,
}

impl Note {
    /// A change of this kind.
    #[must_use]
    pub const fn new(what: What) -> Self {
        Self { what, person: None, role: None, detail: None }
    }

    /// Of this person's rights.
    #[must_use]
    pub fn of(mut self, person: PersonName) -> Self {
        self.person = Some(person);
        self
    }

    /// To this role.
    #[must_use]
    pub const fn to(mut self, role: Role) -> Self {
        self.role = Some(role);
        self
    }

    /// With a few more words, never a secret; a longer text is cut.
    #[must_use]
    pub fn detail(mut self, text: &str) -> Self {
        self.detail = Some(cut(text));
        self
    }

    /// What kind of change.
    #[must_use]
    pub const fn what(&self) -> What {
        self.what
    }

    /// Whose rights.
    #[must_use]
    pub const fn person(&self) -> Option<&PersonName> {
        self.person.as_ref()
    }

    /// To which role.
    #[must_use]
    pub const fn role(&self) -> Option<Role> {
        self.role
    }

    /// More words.
    #[must_use]
    pub fn words(&self) -> Option<&str> {
        self.detail.as_deref()
    }
}

impl Entry {
    /// Its number.
    #[must_use]
    pub const fn number(&self) -> u64 {
        self.number
    }

    /// When, by the device's clock.
    #[must_use]
    pub const fn at(&self) -> Timestamp {
        self.at
    }

    /// Who did it.
    #[must_use]
    pub fn by(&self) -> &str {
        &self.by
    }

    /// What changed.
    #[must_use]
    pub const fn note(&self) -> &Note {
        &self.note
    }

    fn link(&self, before: &[u8; 32]) -> [u8; 32] {
        let mut bytes = DOMAIN.to_vec();
        bytes.extend_from_slice(before);
        self.write(&mut Encoder::new(&mut bytes)).expect("writing to a vector cannot fail");
        sha256(&bytes)
    }

    /// One form for one entry.
    fn write(
        &self,
        to: &mut Encoder<&mut Vec<u8>>,
    ) -> Result<(), minicbor::encode::Error<std::convert::Infallible>> {
        let Note { what, person, role, detail } = &self.note;
        to.array(7)?.u64(self.number)?.u64(self.at.as_millis())?.str(&self.by)?;
        to.str(what.as_str())?;
        for text in
            [person.as_ref().map(PersonName::as_str), role.map(Role::as_str), detail.as_deref()]
        {
            match text {
                Some(text) => to.str(text)?,
                None => to.null()?,
            };
        }
        Ok(())
    }
}

impl Journal {
    /// Adds an entry; the oldest makes room.
    //= specs/house.md#house-sharing
    //# The record of changes MUST be chained, and what made room MUST stay covered by its head.
    pub fn append(&mut self, at: Timestamp, by: &str, note: Note) {
        let entry = Entry { number: self.head.number + 1, at, by: cut(by), note };
        self.head = Head { number: entry.number, link: entry.link(&self.head.link) };
        self.entries.push_back(entry);
        while self.entries.len() > MAX_ENTRIES {
            self.drop_oldest();
        }
    }

    /// What is left after a reset: the last entry, which says so, and the chain.
    #[must_use]
    pub fn forgotten(mut self) -> Self {
        while self.entries.len() > 1 {
            self.drop_oldest();
        }
        if self.entries.front().is_some_and(|entry| entry.note.what != What::Reset) {
            self.drop_oldest();
        }
        self
    }

    /// The end of the chain.
    #[must_use]
    pub const fn head(&self) -> Head {
        self.head
    }

    /// What is kept, oldest first.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter()
    }

    /// Whether this continues the record whose end was `seen`.
    ///
    /// # Errors
    /// [`JournalError::Rewritten`], [`JournalError::Shorter`].
    pub fn grew_from(&self, seen: &Head) -> Result<Grown, JournalError> {
        if seen.number > self.head.number {
            return Err(JournalError::Shorter(seen.number, self.head.number));
        }
        if seen.number < self.base.number {
            return Ok(Grown::Gap);
        }
        let at = self.links().find(|head| head.number == seen.number);
        match at {
            Some(head) if head == *seen => Ok(Grown::By(self.head.number - seen.number)),
            _ => Err(JournalError::Rewritten(seen.number)),
        }
    }

    fn links(&self) -> impl Iterator<Item = Head> {
        let rest = self.entries.iter().scan(self.base.link, |link, entry| {
            *link = entry.link(link);
            Some(Head { number: entry.number, link: *link })
        });
        std::iter::once(self.base).chain(rest)
    }

    fn drop_oldest(&mut self) {
        if let Some(oldest) = self.entries.pop_front() {
            self.base = Head { number: oldest.number, link: oldest.link(&self.base.link) };
        }
    }
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    base: Head,
    head: Head,
    entries: VecDeque<Entry>,
}

impl From<Journal> for Stored {
    fn from(Journal { base, head, entries }: Journal) -> Self {
        Self { base, head, entries }
    }
}

impl TryFrom<Stored> for Journal {
    type Error = JournalError;
    //= specs/house.md#house-sharing
    //# A changed, removed or moved entry of the record MUST be found by whoever reads it.
    fn try_from(Stored { base, head, entries }: Stored) -> Result<Self, JournalError> {
        if entries.len() > MAX_ENTRIES {
            return Err(JournalError::TooMany);
        }
        let journal = Self { base, head, entries };
        let mut expected = base.number;
        for entry in &journal.entries {
            expected = expected.wrapping_add(1);
            if entry.number != expected {
                return Err(JournalError::Broken(entry.number));
            }
        }
        match journal.links().last() {
            Some(last) if last == journal.head => Ok(journal),
            _ => Err(JournalError::Broken(journal.head.number)),
        }
    }
}

fn cut(text: &str) -> String {
    let mut end = text.len().min(MAX_WORDS);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].to_owned()
}

fn to_hex<S: serde::Serializer>(link: &[u8; 32], to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(&hex::write(link))
}

fn from_hex<'de, D: serde::Deserializer<'de>>(from: D) -> Result<[u8; 32], D::Error> {
    let text = String::deserialize(from)?;
    hex::read(&text).ok_or_else(|| serde::de::Error::custom("not 64 hexadecimal digits"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    fn grown(count: usize) -> Journal {
        let mut journal = Journal::default();
        for n in 0..count {
            let person = format!("p{n}").parse().unwrap();
            let note = Note::new(What::RoleGiven).of(person).to(Role::Viewer).detail("x");
            journal.append(Timestamp(n as u64), "person:ada", note);
        }
        journal
    }

    //= specs/house.md#house-sharing
    //= type=test
    //# The record of changes MUST be chained, and what made room MUST stay covered by its head.
    #[test]
    fn the_oldest_make_room_and_the_chain_holds() {
        let mut journal = grown(MAX_ENTRIES);
        let early = journal.head();
        assert_eq!(journal.grew_from(&Head::default()), Ok(Grown::By(MAX_ENTRIES as u64)));
        for _ in 0..MAX_ENTRIES {
            journal.append(Timestamp(1), "person:ada", Note::new(What::NetworkReplaced));
        }
        assert_eq!(journal.entries().count(), MAX_ENTRIES);
        assert_eq!(journal.grew_from(&early), Ok(Grown::By(MAX_ENTRIES as u64)));
        assert_eq!(journal.grew_from(&Head::default()), Ok(Grown::Gap));
        let read: Journal = serde_json::from_value(json!(journal)).unwrap();
        assert_eq!(read, journal);
        // Another past, another cut.
        let other = Head { link: [1; 32], ..early };
        assert_eq!(journal.grew_from(&other), Err(JournalError::Rewritten(early.number)));
        let later = Head { number: 1_000, link: [0; 32] };
        assert!(matches!(journal.grew_from(&later), Err(JournalError::Shorter(1_000, _))));
    }

    #[test]
    fn a_reset_leaves_no_name_and_no_new_beginning() {
        let mut journal = grown(5);
        journal.append(Timestamp(9), "an owner", Note::new(What::Reset));
        let head = journal.head();
        let journal = journal.forgotten();
        let left: Vec<_> = journal.entries().collect();
        assert_eq!((left.len(), left[0].number(), journal.head()), (1, 6, head));
        assert!(!json!(journal).to_string().contains("ada"));
        assert_eq!(grown(5).forgotten().entries().count(), 0);
        assert_eq!(serde_json::from_value::<Journal>(json!(journal)).unwrap(), journal);
    }

    /// Every way to change one value of the served form.
    fn tampered(whole: &Value, at: usize) -> Value {
        let mut changed = whole.clone();
        let entries = changed["entries"].as_array_mut().unwrap();
        let count = entries.len();
        let one = at / 8 % count;
        match at % 8 {
            0 => drop(entries.remove(one)),
            1 => entries.swap(one, (one + 1) % count),
            2 => entries[one]["at"] = json!(77_777),
            3 => entries[one]["by"] = json!("person:eve"),
            4 => entries[one]["role"] = json!("owner"),
            5 => entries[one]["person"] = Value::Null,
            6 => entries[one]["what"] = json!("unshared"),
            _ => {
                let copy = entries[one].clone();
                entries.insert(one, copy);
            }
        }
        changed
    }

    proptest! {
        //= specs/house.md#house-sharing
        //= type=test
        //# A changed, removed or moved entry of the record MUST be found by whoever reads it.
        #[test]
        fn whatever_is_changed_is_found(count in 2..40_usize, at in 0..400_usize) {
            let whole = json!(grown(count));
            prop_assert!(serde_json::from_value::<Journal>(whole.clone()).is_ok());
            prop_assert!(serde_json::from_value::<Journal>(tampered(&whole, at)).is_err());
        }
    }
}
