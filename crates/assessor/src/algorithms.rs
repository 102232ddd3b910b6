//! The algorithm registry: what catalogues say about versions, suites, groups and signature schemes.
//!
//! Lists age, so they are data (`data/algorithms.toml`): each statement names its source, whether it was
//! read there or only remembered, and the year in which it ends. Silence is *not listed*, never *allowed*.

use countersign_model::ixit::{CodePoint, Day};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::OnceLock;

//= specs/en-303-645.md#5.5-1
//# What counts as best practice MUST be data with a source and a date, so that it can age without a change of the code.
const DATA: &str = include_str!("../data/algorithms.toml");

/// Which catalogues count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Profile {
    /// ECCG Agreed Cryptographic Mechanisms: the European default.
    #[default]
    Acm,
    /// BSI TR-02102-2.
    Bsi,
    /// NIST.
    Nist,
}

impl Profile {
    /// Every profile.
    pub const ALL: [Self; 3] = [Self::Acm, Self::Bsi, Self::Nist];

    /// The word on the command line.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Acm => "acm",
            Self::Bsi => "bsi",
            Self::Nist => "nist",
        }
    }
}

/// What kind of code point.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Protocol version.
    Version,
    /// Cipher suite.
    Suite,
    /// Key-agreement group.
    Group,
    /// Signature scheme.
    Scheme,
}

impl Kind {
    /// The word for people.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Version => "version",
            Self::Suite => "suite",
            Self::Group => "group",
            Self::Scheme => "signature scheme",
        }
    }
}

/// What a source says, best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// Use it.
    Recommended,
    /// May be used.
    Acceptable,
    /// May be used until its end.
    Legacy,
    /// Should not be used any more.
    Deprecated,
    /// The source names it and does not list it as agreed.
    NotListed,
    /// Must not be used.
    Disallowed,
}

/// How well a statement is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Provenance {
    /// Read in the source.
    Verified,
    /// Read in a document that quotes the source.
    Secondary,
    /// Remembered only.
    Memory,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Statement {
    source: String,
    status: Status,
    until: Option<u16>,
    provenance: Provenance,
    #[serde(default)]
    note: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    kind: Kind,
    code: CodePoint,
    name: String,
    #[serde(default)]
    quantum_vulnerable: bool,
    #[serde(default)]
    no_confidentiality: bool,
    #[serde(default)]
    attacks: Vec<String>,
    statements: Vec<Statement>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Source {
    title: String,
    date: String,
    standing: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ProfileData {
    title: String,
    sources: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Registry {
    edition: String,
    profiles: BTreeMap<Profile, ProfileData>,
    sources: BTreeMap<String, Source>,
    entry: Vec<Entry>,
}

fn registry() -> &'static Registry {
    static REGISTRY: OnceLock<Registry> = OnceLock::new();
    REGISTRY.get_or_init(|| toml::from_str(DATA).expect("the built-in registry is read by a test"))
}

/// The registry's edition and the profile's title, for reports.
#[must_use]
pub fn describe(profile: Profile) -> String {
    let registry = registry();
    let title = registry.profiles.get(&profile).map_or("", |data| data.title.as_str());
    format!("{title} (registry of {})", registry.edition)
}

/// The name of a code point, with the code itself.
#[must_use]
pub fn name(kind: Kind, code: CodePoint) -> String {
    match entry(kind, code) {
        Some(entry) => format!("{} ({code})", entry.name),
        None => format!("{} {code}", kind.as_str()),
    }
}

fn entry(kind: Kind, code: CodePoint) -> Option<&'static Entry> {
    registry().entry.iter().find(|entry| entry.kind == kind && entry.code == code)
}

/// What a profile says about one item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// Best practice on both days.
    Listed {
        /// The statement.
        why: String,
    },
    /// Best practice today; the statement ends before the day asked about.
    Expires {
        /// Its last year.
        until: u16,
        /// The statement.
        why: String,
    },
    /// No source of the profile lists it, or only from memory.
    Unknown {
        /// Which of both.
        why: String,
    },
    /// A source of the profile says no.
    Rejected {
        /// The statement.
        why: String,
    },
}

/// Judges one item: the worst statement among the profile's sources, in force on `today` and on `end`.
#[must_use]
pub fn standing(profile: Profile, kind: Kind, code: CodePoint, today: Day, end: Day) -> Standing {
    let label = name(kind, code);
    let Some(entry) = entry(kind, code) else {
        return Standing::Unknown { why: format!("{label} is not in the registry") };
    };
    let registry = registry();
    let sources = registry.profiles.get(&profile).map_or(&[][..], |data| &data.sources);
    let mut relevant: Vec<&Statement> =
        entry.statements.iter().filter(|statement| sources.contains(&statement.source)).collect();
    relevant
        .sort_by_key(|statement| (ended(statement, today), statement.status, statement.provenance));
    let Some(worst) = relevant.last() else {
        return Standing::Unknown {
            why: format!(
                "{label} is not listed by {} of profile {}",
                sources.join(", "),
                profile.as_str()
            ),
        };
    };
    let why = told(&label, worst, registry);
    if worst.status == Status::Disallowed
        || worst.status == Status::Deprecated
        || ended(worst, today)
    {
        return Standing::Rejected { why };
    }
    if worst.status == Status::NotListed {
        return Standing::Unknown { why };
    }
    // One statement that was read carries the item; one that is only remembered does not.
    if !relevant.iter().any(|statement| statement.provenance < Provenance::Memory) {
        return Standing::Unknown { why: format!("{why}; known from memory only") };
    }
    let first_end =
        relevant.iter().filter(|statement| ended(statement, end)).filter_map(|s| s.until).min();
    match first_end {
        Some(until) => Standing::Expires { until, why },
        None => Standing::Listed { why },
    }
}

fn ended(statement: &Statement, day: Day) -> bool {
    statement.until.is_some_and(|until| day.year() > until)
}

fn told(label: &str, statement: &Statement, registry: &Registry) -> String {
    let status = match statement.status {
        Status::Recommended => "recommended",
        Status::Acceptable => "acceptable",
        Status::Legacy => "legacy",
        Status::Deprecated => "deprecated",
        Status::NotListed => "not listed",
        Status::Disallowed => "not allowed",
    };
    let until =
        statement.until.map_or_else(String::new, |until| format!(" until the end of {until}"));
    let source = registry.sources.get(&statement.source).map_or_else(
        || statement.source.clone(),
        |source| format!("{} ({}, {})", source.title, source.date, source.standing),
    );
    let note =
        if statement.note.is_empty() { String::new() } else { format!("; {}", statement.note) };
    format!("{label}: {status}{until} by {source}{note}")
}

/// Feasible attacks that are known on an item.
#[must_use]
pub fn attacks(kind: Kind, code: CodePoint) -> &'static [String] {
    entry(kind, code).map_or(&[], |entry| &entry.attacks)
}

/// Whether a suite leaves data readable.
#[must_use]
pub fn lacks_confidentiality(suite: CodePoint) -> bool {
    entry(Kind::Suite, suite).is_some_and(|entry| entry.no_confidentiality)
}

/// Whether a quantum computer would break the item; none when the registry does not know it.
#[must_use]
pub fn quantum_vulnerable(kind: Kind, code: CodePoint) -> Option<bool> {
    entry(kind, code).map(|entry| entry.quantum_vulnerable)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn day(year: u16) -> Day {
        Day::new(year, 6, 1).unwrap()
    }

    fn judged(profile: Profile, kind: Kind, code: u16, today: u16, end: u16) -> Standing {
        standing(profile, kind, CodePoint(code), day(today), day(end))
    }

    //= specs/en-303-645.md#5.5-1
    //= type=test
    //# What counts as best practice MUST be data with a source and a date, so that it can age without a change of the code.
    #[test]
    fn the_data_are_whole() {
        let registry = registry();
        let mut seen = BTreeSet::new();
        for entry in &registry.entry {
            assert!(seen.insert((entry.kind, entry.code)), "{} twice", entry.name);
            for statement in &entry.statements {
                assert!(
                    registry.sources.contains_key(&statement.source),
                    "{}: {}",
                    entry.name,
                    statement.source
                );
                assert_eq!(
                    statement.until.is_some(),
                    statement.status == Status::Legacy,
                    "{}",
                    entry.name
                );
            }
        }
        for profile in Profile::ALL {
            for source in &registry.profiles[&profile].sources {
                assert!(registry.sources.contains_key(source));
            }
        }
    }

    #[test]
    fn what_no_source_lists_is_unknown() {
        for profile in Profile::ALL {
            assert!(matches!(
                judged(profile, Kind::Group, 0x6399, 2026, 2026),
                Standing::Unknown { .. }
            ));
        }
        assert!(matches!(
            judged(Profile::Bsi, Kind::Group, 0x11ec, 2026, 2026),
            Standing::Unknown { .. }
        ));
        assert!(matches!(
            judged(Profile::Acm, Kind::Group, 0x001d, 2026, 2026),
            Standing::Unknown { .. }
        ));
    }

    #[test]
    fn memory_alone_carries_nothing() {
        let Standing::Unknown { why } = judged(Profile::Acm, Kind::Group, 23, 2026, 2026) else {
            panic!()
        };
        assert!(why.contains("memory"), "{why}");
    }

    #[test]
    fn a_statement_ends() {
        assert!(matches!(
            judged(Profile::Bsi, Kind::Group, 23, 2026, 2031),
            Standing::Listed { .. }
        ));
        assert!(matches!(
            judged(Profile::Bsi, Kind::Group, 23, 2026, 2032),
            Standing::Expires { until: 2031, .. }
        ));
        assert!(matches!(
            judged(Profile::Bsi, Kind::Group, 23, 2032, 2032),
            Standing::Rejected { .. }
        ));
    }

    #[test]
    fn old_versions_are_rejected_everywhere() {
        for profile in Profile::ALL {
            for version in [0x0300, 0x0301, 0x0302] {
                assert!(matches!(
                    judged(profile, Kind::Version, version, 2026, 2026),
                    Standing::Rejected { .. }
                ));
            }
        }
        assert!(!attacks(Kind::Version, CodePoint(0x0300)).is_empty());
    }
}
