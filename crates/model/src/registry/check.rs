//! Whether a registry is whole.

use super::{Entry, Kind, Profile, Registry, Status};

/// Longest id or property, in characters.
const MAX_WORD: usize = 64;

/// Why files are no registry.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("registry, {file}: {detail}")]
pub struct RegistryError {
    /// The file, by its kind or `sources` or `profiles`.
    pub file: String,
    /// What is wrong, and where.
    pub detail: String,
}

impl RegistryError {
    pub(super) fn new(file: &str, detail: impl Into<String>) -> Self {
        Self { file: file.to_owned(), detail: detail.into() }
    }

    pub(super) fn twice(kind: Kind, what: &str) -> Self {
        Self::new(kind.as_str(), format!("{what} stands twice: merge the two entries"))
    }
}

impl Registry {
    pub(super) fn check(&self) -> Result<(), RegistryError> {
        for profile in Profile::ALL {
            let fault = |detail: String| Err(RegistryError::new("profiles", detail));
            let Some(data) = self.profiles.get(&profile) else {
                return fault(format!("profile {profile} is missing"));
            };
            if data.sources.is_empty() {
                return fault(format!("profile {profile} reads no source"));
            }
            if let Some(key) = data.sources.iter().find(|key| !self.sources.contains_key(*key)) {
                return fault(format!("profile {profile}: {key} is no source"));
            }
        }
        if let Some(floor) = self.floors.iter().find(|f| !self.sources.contains_key(&f.source)) {
            return Err(RegistryError::new("profiles", format!("{} is no source", floor.source)));
        }
        self.entries.iter().try_for_each(|((kind, _), entry)| {
            self.check_entry(*kind, entry).map_err(|detail| {
                RegistryError::new(kind.as_str(), format!("{}: {detail}", entry.id))
            })
        })
    }

    fn check_entry(&self, kind: Kind, entry: &Entry) -> Result<(), String> {
        let word = |word: &str| {
            !word.trim().is_empty()
                && word.chars().count() <= MAX_WORD
                && !word.chars().any(char::is_control)
        };
        if !word(&entry.id) || !entry.properties.iter().all(|property| word(property)) {
            return Err(format!("an id and a property have 1 to {MAX_WORD} printable characters"));
        }
        for statement in &entry.statements {
            if !self.sources.contains_key(&statement.source) {
                return Err(format!("{} is no source", statement.source));
            }
            if let (Some(from), Some(until)) = (statement.from, statement.until)
                && from > until
            {
                return Err(format!("{}: ends before it begins", statement.source));
            }
            // "Legacy" without an end or a condition would be "acceptable" under another name.
            if statement.status == Status::Legacy
                && statement.until.is_none()
                && statement.condition.is_none()
            {
                return Err(format!("{}: legacy needs an end or a condition", statement.source));
            }
        }
        if let Some(part) = entry.parts.iter().find(|part| self.entry(kind, part).is_none()) {
            return Err(format!("its part {part} is not in the registry"));
        }
        Ok(())
    }
}
