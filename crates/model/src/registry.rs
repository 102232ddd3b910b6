//! The algorithm registry: what catalogues say about protocols, suites, groups, signatures and the rest.
//!
//! ```text
//! registry/*.toml ──parse, check──► Registry ──verdict(kind, id, profile, day)──► Verdict
//!   one file a kind: dated statements      │        the worst statement in force that day, who says so, and how well
//!   sources, profiles                      └──first_refusal──► until when the item is allowed as things are said now
//! ```
//!
//! Lists age, so they are data: no algorithm is named in this code. Each statement names its source and edition, from when
//! and until when it holds, and whether it was read there, in a document that quotes it, or only remembered; whoever
//! shows a verdict shows that too. Silence is *not listed*, and *not listed* is never *allowed*.
//!
//! ```
//! use countersign_model::registry::{Kind, Profile, Registry};
//! let registry = Registry::built_in();
//! let today = "2026-11-25".parse()?;
//! let unknown = registry.verdict(Kind::Group, "rot13", Profile::Acm, today);
//! assert!(!unknown.is_allowed());
//! # Ok::<(), String>(())
//! ```

mod check;
mod entry;
mod profile;
mod verdict;

use std::collections::BTreeMap;
use std::sync::OnceLock;

use serde::Deserialize;

use crate::ixit::CodePoint;
use crate::time::Day;

pub use check::RegistryError;
pub use entry::{
    Attack, CycloneDx, Entry, Floor, Iana, Kind, Provenance, Source, Statement, Status,
};
pub use profile::{Profile, ProfileData};
pub use verdict::{Said, Standing, Verdict};

/// Largest file of a registry, in bytes: eight times today's largest.
pub const MAX_FILE: usize = 512 * 1024;

/// The files that a registry is read from.
#[derive(Debug, Clone, Copy)]
pub struct Files<'a> {
    /// Who says so.
    pub sources: &'a str,
    /// Which of them count together.
    pub profiles: &'a str,
    /// The entries, one text a kind.
    pub entries: &'a [(Kind, &'a str)],
}

//= specs/en-303-645.md#5.5-1
//# What counts as best practice MUST be data with a source and a date, so that it can age without a change of the code.
/// The files of this build.
pub const BUILT_IN: Files<'static> = Files {
    sources: include_str!("../registry/sources.toml"),
    profiles: include_str!("../registry/profiles.toml"),
    entries: &[
        (Kind::Protocol, include_str!("../registry/protocols.toml")),
        (Kind::Suite, include_str!("../registry/suites.toml")),
        (Kind::Group, include_str!("../registry/groups.toml")),
        (Kind::Signature, include_str!("../registry/signatures.toml")),
        (Kind::Hash, include_str!("../registry/hashes.toml")),
        (Kind::Mac, include_str!("../registry/macs.toml")),
        (Kind::Cipher, include_str!("../registry/ciphers.toml")),
        (Kind::Kdf, include_str!("../registry/kdfs.toml")),
        (Kind::Drbg, include_str!("../registry/drbgs.toml")),
        (Kind::Radio, include_str!("../registry/radio.toml")),
    ],
};

/// A registry that was read and is whole.
#[derive(Debug, Clone)]
pub struct Registry {
    edition: Day,
    sources: BTreeMap<String, Source>,
    profiles: BTreeMap<Profile, ProfileData>,
    floors: Vec<Floor>,
    entries: BTreeMap<(Kind, String), Entry>,
    /// Ids by kind and other name.
    also: BTreeMap<(Kind, String), String>,
    /// Ids by the title of an IANA registry and code point.
    codes: BTreeMap<(String, CodePoint), String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SourcesFile {
    edition: Day,
    sources: BTreeMap<String, Source>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ProfilesFile {
    profiles: BTreeMap<Profile, ProfileData>,
    #[serde(default)]
    floors: Vec<Floor>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EntriesFile {
    #[serde(default)]
    entry: Vec<Entry>,
}

impl Registry {
    /// Reads a registry and checks that it is whole.
    ///
    /// # Errors
    /// [`RegistryError`] with the file and the place.
    pub fn parse(files: Files<'_>) -> Result<Self, RegistryError> {
        let SourcesFile { edition, sources } = read("sources", files.sources)?;
        let ProfilesFile { profiles, floors } = read("profiles", files.profiles)?;
        let (mut entries, mut also, mut codes) =
            (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        for (kind, text) in files.entries {
            let file: EntriesFile = read(kind.as_str(), text)?;
            for entry in file.entry {
                for (title, code) in entry.iana.iter().flat_map(Iana::each) {
                    if codes.insert((title.to_owned(), code), entry.id.clone()).is_some() {
                        return Err(RegistryError::twice(*kind, &code.to_string()));
                    }
                }
                for name in &entry.also {
                    if also.insert((*kind, name.clone()), entry.id.clone()).is_some() {
                        return Err(RegistryError::twice(*kind, name));
                    }
                }
                let key = (*kind, entry.id.clone());
                if let Some(earlier) = entries.insert(key, entry) {
                    return Err(RegistryError::twice(*kind, &earlier.id));
                }
            }
        }
        let registry = Self { edition, sources, profiles, floors, entries, also, codes };
        registry.check()?;
        Ok(registry)
    }

    /// The registry of this build.
    #[must_use]
    pub fn built_in() -> &'static Self {
        static BUILT: OnceLock<Registry> = OnceLock::new();
        BUILT.get_or_init(|| Self::parse(BUILT_IN).expect("a test reads the built-in registry"))
    }

    /// The day on which it was last gone through.
    #[must_use]
    pub fn edition(&self) -> Day {
        self.edition
    }

    /// The entry of that kind, by its id or another of its names.
    #[must_use]
    pub fn entry(&self, kind: Kind, name: &str) -> Option<&Entry> {
        let key = (kind, name.to_owned());
        self.entries.get(&key).or_else(|| self.entries.get(&(kind, self.also.get(&key)?.clone())))
    }

    /// The entry of that kind with that code point in [`Kind::iana`].
    #[must_use]
    pub fn by_code(&self, kind: Kind, code: CodePoint) -> Option<&Entry> {
        self.entry(kind, self.codes.get(&(kind.iana()?.to_owned(), code))?)
    }

    /// Every entry with its kind, in the order of kind and id.
    pub fn entries(&self) -> impl Iterator<Item = (Kind, &Entry)> {
        self.entries.iter().map(|((kind, _), entry)| (*kind, entry))
    }

    /// A source by its key.
    #[must_use]
    pub fn source(&self, key: &str) -> Option<&Source> {
        self.sources.get(key)
    }

    /// Which sources a profile reads.
    #[must_use]
    pub fn profile(&self, profile: Profile) -> &ProfileData {
        self.profiles.get(&profile).expect("a registry that is whole has every profile")
    }

    /// The least strengths of keys that sources ask for.
    #[must_use]
    pub fn floors(&self) -> &[Floor] {
        &self.floors
    }
}

fn read<T: serde::de::DeserializeOwned>(file: &str, text: &str) -> Result<T, RegistryError> {
    if text.len() > MAX_FILE {
        return Err(RegistryError::new(file, format!("{} bytes, over {MAX_FILE}", text.len())));
    }
    toml::from_str(text).map_err(|error| RegistryError::new(file, error.to_string()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
