//! The algorithm registry as this tool reads it: by code point, for a day and for the end of support.
//!
//! Lists age, so they are data (`crates/model/registry/`): each statement names its source, whether it was
//! read there or only remembered, and when it ends. Silence is *not listed*, never *allowed*.

use countersign_model::ixit::{CodePoint, Day};
use countersign_model::registry::{self, Attack, Entry, Registry, Status};

pub use countersign_model::registry::Profile;

/// What kind of code point.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
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

    const fn registered(self) -> registry::Kind {
        match self {
            Self::Version => registry::Kind::Protocol,
            Self::Suite => registry::Kind::Suite,
            Self::Group => registry::Kind::Group,
            Self::Scheme => registry::Kind::Signature,
        }
    }
}

/// The registry's edition and the profile's title, for reports.
#[must_use]
pub fn describe(profile: Profile) -> String {
    let registry = Registry::built_in();
    format!("{} (registry of {})", registry.profile(profile).title, registry.edition())
}

/// The name of a code point, with the code itself.
#[must_use]
pub fn name(kind: Kind, code: CodePoint) -> String {
    match entry(kind, code) {
        Some(entry) => format!("{} ({code})", entry.id),
        None => format!("{} {code}", kind.as_str()),
    }
}

fn entry(kind: Kind, code: CodePoint) -> Option<&'static Entry> {
    Registry::built_in().by_code(kind.registered(), code)
}

/// What a profile says about one item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// Best practice on both days.
    Listed {
        /// The statement.
        why: String,
    },
    /// Best practice today, and no longer on the day asked about.
    Expires {
        /// The last day.
        until: Day,
        /// The statement.
        why: String,
    },
    /// No source of the profile lists it, or only from memory, or as legacy without saying until when.
    Unknown {
        /// Which of these.
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
    let registry = Registry::built_in();
    let verdict = registry.verdict(kind.registered(), &entry.id, profile, today);
    let why = format!("{label}: {verdict}");
    match verdict.standing {
        registry::Standing::Deprecated
        | registry::Standing::Ended
        | registry::Standing::Disallowed => return Standing::Rejected { why },
        registry::Standing::NotListed => return Standing::Unknown { why },
        registry::Standing::Recommended
        | registry::Standing::Acceptable
        | registry::Standing::Legacy => {}
    }
    // One statement that was read carries the item; one that is only remembered does not.
    if verdict.from_memory_only() {
        return Standing::Unknown { why: format!("{why}; known from memory only") };
    }
    let endless = |statement: &registry::Statement| {
        statement.status == Status::Legacy && statement.until.is_none()
    };
    if verdict.worst().is_some_and(|said| endless(said.statement)) {
        return Standing::Unknown { why: format!("{why}; until when is not said") };
    }
    match registry.first_refusal(kind.registered(), &entry.id, profile, today) {
        Some((day, _)) if day <= end => Standing::Expires { until: day.previous(), why },
        _ => Standing::Listed { why },
    }
}

/// Feasible attacks that are known on an item.
#[must_use]
pub fn attacks(kind: Kind, code: CodePoint) -> &'static [Attack] {
    entry(kind, code).map_or(&[], |entry| &entry.attacks)
}

/// Whether a suite leaves data readable.
#[must_use]
pub fn lacks_confidentiality(suite: CodePoint) -> bool {
    entry(Kind::Suite, suite).is_some_and(|entry| entry.has("no-confidentiality"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn day(year: u16) -> Day {
        Day::new(year, 6, 1).unwrap()
    }

    fn judged(profile: Profile, kind: Kind, code: u16, today: u16, end: u16) -> Standing {
        standing(profile, kind, CodePoint(code), day(today), day(end))
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
            Standing::Expires { until, .. } if until == Day::end_of(2031).unwrap()
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
