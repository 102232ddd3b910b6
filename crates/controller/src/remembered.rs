//! What a home's folder tells without being opened: names, for a shell that completes a command.
//!
//! No key is touched and nobody is asked. What a device said of itself is kept as it was served last, and is believed for
//! nothing: it only suggests names, and a name of another alphabet than [`AffordanceName`]'s is passed over.
//!
//! ```text
//!  DIR/things/ID.description   the Thing Description that the device served last, JSON (0600)
//!  DIR/things/ID.people        who was invited or given a role there from this home, JSON (0600)
//! ```

use crate::home::{Home, names, thing_ids, write};
use countersign_crypto::file;
use countersign_model::id::{AffordanceName, PersonName, ThingId};
use serde_json::Value;
use std::collections::BTreeSet;
use std::io::Read as _;
use std::path::{Path, PathBuf};

/// Largest description that is kept or read: a session takes no larger one either.
const MAX_DESCRIPTION: usize = 256 * 1024;
/// The most names of one kind that are suggested: nobody reads more.
const MAX_NAMES: usize = 256;
/// Longest title that stands beside a name, in characters.
const MAX_TITLE: usize = 60;

/// A home's folder, closed.
#[derive(Debug, Clone)]
pub struct Remembered {
    folder: PathBuf,
}

/// What somebody wants to do, and so which names fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// Read a property.
    Read,
    /// Set a property.
    Write,
    /// Observe a property.
    Observe,
    /// Invoke an action.
    Invoke,
    /// Wait for an event.
    Event,
}

/// A property, action or event that a device said it has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suggestion {
    /// Its name.
    pub name: AffordanceName,
    /// Its title as far as it is letters, digits and spaces; may be empty.
    pub title: String,
}

impl Remembered {
    /// What lies in `folder`. Where no home is, nothing is remembered.
    #[must_use]
    pub fn of(folder: &Path) -> Self {
        Self { folder: folder.to_owned() }
    }

    /// The paired things, sorted.
    #[must_use]
    pub fn things(&self) -> Vec<ThingId> {
        listed(thing_ids(&self.folder.join("things")))
    }

    /// Everybody with a certificate of this home, sorted.
    #[must_use]
    pub fn persons(&self) -> Vec<PersonName> {
        listed(names(&self.folder.join("persons"), "crt"))
    }

    /// Who may have a role at a thing, or an invitation to one: those of this home, and those whom it invited. Sorted.
    #[must_use]
    pub fn people_at(&self, thing: &ThingId) -> Vec<PersonName> {
        let invited = read_people(&people_file(&self.folder, thing));
        let all: BTreeSet<_> = self.persons().into_iter().chain(invited).collect();
        all.into_iter().take(MAX_NAMES).collect()
    }

    /// What `thing` said it has, sorted by name; nothing where it was never asked.
    #[must_use]
    pub fn affordances(&self, thing: &ThingId, wanted: Wanted) -> Vec<Suggestion> {
        self.description(thing)
            .map(|description| suggestions(&description, wanted))
            .unwrap_or_default()
    }

    /// The values of a property that are words of JSON: of a boolean, of an enumeration of numbers.
    #[must_use]
    pub fn values(&self, thing: &ThingId, property: &str) -> Vec<String> {
        let description = self.description(thing).unwrap_or_default();
        let schema = &description["properties"][property];
        if schema["type"] == "boolean" {
            return vec!["true".to_owned(), "false".to_owned()];
        }
        let plain = |value: &&Value| value.is_number() || value.is_boolean();
        let of = schema["enum"].as_array().into_iter().flatten().filter(plain);
        of.take(MAX_NAMES).map(ToString::to_string).collect()
    }

    fn description(&self, thing: &ThingId) -> Option<Value> {
        read_small(&description_file(&self.folder, thing))
    }
}

impl Home {
    /// Keeps what a thing said of itself. Nothing depends on it: what cannot be kept is let go.
    //= specs/house.md#house-completion
    //# What a device said of itself MUST be kept as a whole or not at all, bounded in size and for its user alone.
    pub fn saw_description(&self, thing: &ThingId, description: &Value) {
        let text = description.to_string();
        let path = description_file(self.folder(), thing);
        let new = || read_small::<Value>(&path).as_ref() != Some(description);
        if text.len() <= MAX_DESCRIPTION && self.thing(thing).is_ok() && new() {
            let _ = write(&path, text.as_bytes(), file::PRIVATE);
        }
    }

    /// Whether a thing's description is kept.
    #[must_use]
    pub fn has_description(&self, thing: &ThingId) -> bool {
        description_file(self.folder(), thing).exists()
    }

    /// Remembers who was invited or given a role at a thing.
    pub fn saw_person(&self, thing: &ThingId, person: &PersonName) {
        self.change_people(thing, |people| people.insert(person.clone()));
    }

    /// Forgets who has no role at a thing any more.
    pub fn lost_person(&self, thing: &ThingId, person: &PersonName) {
        self.change_people(thing, |people| people.remove(person));
    }

    fn change_people(
        &self,
        thing: &ThingId,
        change: impl FnOnce(&mut BTreeSet<PersonName>) -> bool,
    ) {
        let path = people_file(self.folder(), thing);
        let mut people = read_people(&path);
        if change(&mut people) && people.len() <= MAX_NAMES && self.thing(thing).is_ok() {
            let text = serde_json::json!(people).to_string();
            let _ = write(&path, text.as_bytes(), file::PRIVATE);
        }
    }

    /// A thing that was paired anew, or is forgotten, is another one.
    pub(crate) fn forget_what_was_seen(&self, thing: &ThingId) {
        for path in [description_file(self.folder(), thing), people_file(self.folder(), thing)] {
            let _ = std::fs::remove_file(path);
        }
    }
}

/// The names of a description that fit, sorted.
//= specs/house.md#house-completion
//# A name that a device gave MUST be suggested to a shell only when it is made of letters, digits, dots, hyphens and
//# underscores.
fn suggestions(description: &Value, wanted: Wanted) -> Vec<Suggestion> {
    let among = match wanted {
        Wanted::Read | Wanted::Write | Wanted::Observe => "properties",
        Wanted::Invoke => "actions",
        Wanted::Event => "events",
    };
    let fits = |about: &Value| match wanted {
        Wanted::Read => about["writeOnly"] != true,
        Wanted::Write => about["readOnly"] != true,
        Wanted::Observe => about["observable"] == true,
        Wanted::Invoke | Wanted::Event => true,
    };
    let all = description[among].as_object().into_iter().flatten();
    let mut found: Vec<_> = all
        .filter(|(_, about)| fits(about))
        .filter_map(|(name, about)| {
            Some(Suggestion { name: name.parse().ok()?, title: title(&about["title"]) })
        })
        .collect();
    found.sort_by(|a, b| a.name.cmp(&b.name));
    found.truncate(MAX_NAMES);
    found
}

/// What a shell shows beside a name, without anything that could steer it or the terminal.
fn title(text: &Value) -> String {
    let letters = text.as_str().unwrap_or_default().chars();
    let plain: String = letters
        .filter(|letter| letter.is_alphanumeric() || *letter == ' ')
        .take(MAX_TITLE)
        .collect();
    plain.trim().to_owned()
}

fn listed<T: Ord>(mut all: Vec<T>) -> Vec<T> {
    all.sort();
    all.truncate(MAX_NAMES);
    all
}

fn description_file(folder: &Path, thing: &ThingId) -> PathBuf {
    folder.join("things").join(format!("{thing}.description"))
}

fn people_file(folder: &Path, thing: &ThingId) -> PathBuf {
    folder.join("things").join(format!("{thing}.people"))
}

fn read_people(path: &Path) -> BTreeSet<PersonName> {
    read_small(path).unwrap_or_default()
}

/// A file of ours, if it is one: no pipe that would keep us waiting, no link, and not too large.
fn read_small<T: serde::de::DeserializeOwned>(path: &Path) -> Option<T> {
    let about = std::fs::symlink_metadata(path).ok()?;
    let fits = about.is_file() && about.len() <= MAX_DESCRIPTION as u64;
    let file = fits.then(|| std::fs::File::open(path)).and_then(Result::ok)?;
    let mut text = Vec::new();
    file.take(MAX_DESCRIPTION as u64).read_to_end(&mut text).ok()?;
    serde_json::from_slice(&text).ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
