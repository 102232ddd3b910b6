//! Judging an item: the worst statement among a profile's sources, in force on a day.

use serde::Serialize;
use std::fmt;

use super::{Entry, Kind, Profile, Provenance, Registry, Source, Statement, Status};
use crate::time::Day;

/// How an item stands, best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Standing {
    /// Use it.
    Recommended,
    /// May be used.
    Acceptable,
    /// May be used where it is, until its end.
    Legacy,
    /// No source lists it, or one says that it does not.
    NotListed,
    /// Should not be used any more.
    Deprecated,
    /// Was allowed until a day that has passed.
    Ended,
    /// Must not be used.
    Disallowed,
}

impl Standing {
    /// The words for people.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Recommended => "recommended",
            Self::Acceptable => "acceptable",
            Self::Legacy => "legacy",
            Self::NotListed => "not listed",
            Self::Deprecated => "deprecated",
            Self::Ended => "ended",
            Self::Disallowed => "not allowed",
        }
    }

    /// Whether an item with it may be used.
    //= specs/house.md#house-registry
    //# What no source lists MUST NOT be taken for allowed.
    #[must_use]
    pub const fn is_allowed(self) -> bool {
        matches!(self, Self::Recommended | Self::Acceptable | Self::Legacy)
    }
}

impl fmt::Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl From<Status> for Standing {
    fn from(status: Status) -> Self {
        match status {
            Status::Recommended => Self::Recommended,
            Status::Acceptable => Self::Acceptable,
            Status::Legacy => Self::Legacy,
            Status::NotListed => Self::NotListed,
            Status::Deprecated => Self::Deprecated,
            Status::Disallowed => Self::Disallowed,
        }
    }
}

/// One statement as it counts on the day that was asked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Said<'r> {
    /// What it comes to on that day.
    pub standing: Standing,
    /// The statement.
    pub statement: &'r Statement,
    /// Its source.
    pub source: &'r Source,
}

impl fmt::Display for Said<'_> {
    /// `legacy until 2031-12-31 by TITLE, EDITION (STANDING; PROVENANCE; note)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let statement = self.statement;
        match (self.standing, statement.until) {
            (Standing::Ended, Some(until)) => write!(f, "ended on {until}")?,
            (standing, Some(until)) => write!(f, "{standing} until {until}")?,
            (standing, None) => write!(f, "{standing}")?,
        }
        let edition = statement.edition.as_ref().unwrap_or(&self.source.edition);
        write!(f, " by {}, {edition} (", self.source.title)?;
        if self.source.standing != "applicable" {
            write!(f, "{}; ", self.source.standing)?;
        }
        //= specs/house.md#house-registry
        //# A statement that was not read in its source MUST say so wherever it is shown.
        write!(f, "{}", statement.provenance)?;
        for more in statement.condition.iter().chain(&statement.note) {
            write!(f, "; {more}")?;
        }
        f.write_str(")")
    }
}

/// What a profile says about one item on one day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict<'r> {
    /// The item's id.
    pub id: String,
    /// The profile.
    pub profile: Profile,
    /// The worst of what is said.
    pub standing: Standing,
    /// Every statement that counts, worst first, and among equals the least well known first. Empty when all are silent.
    pub said: Vec<Said<'r>>,
}

impl<'r> Verdict<'r> {
    /// Whether it may be used. *Not listed* is never *allowed*.
    #[must_use]
    pub fn is_allowed(&self) -> bool {
        self.standing.is_allowed()
    }

    /// The statement that it rests on; none when every source is silent.
    #[must_use]
    pub fn worst(&self) -> Option<Said<'r>> {
        self.said.first().copied()
    }

    /// How well the statement that it rests on is known; none when every source is silent.
    #[must_use]
    pub fn provenance(&self) -> Option<Provenance> {
        self.worst().map(|said| said.statement.provenance)
    }

    /// Whether nothing but memory speaks.
    #[must_use]
    pub fn from_memory_only(&self) -> bool {
        self.said.iter().all(|said| said.statement.provenance == Provenance::Memory)
            && !self.said.is_empty()
    }
}

impl fmt::Display for Verdict<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.worst() {
            Some(said) => write!(f, "{said}"),
            None => write!(f, "not listed by any source of profile {}", self.profile),
        }
    }
}

impl Registry {
    /// The worst statement about an item among the profile's sources in force on `day`.
    ///
    /// A statement that has ended counts as *ended*, unless its source says something else about that day. What no source
    /// speaks of, and what the registry does not have, is *not listed*.
    //= specs/house.md#house-registry
    //# A verdict on an item MUST be the worst statement among the profile's sources in force on the day.
    #[must_use]
    pub fn verdict(&self, kind: Kind, id: &str, profile: Profile, day: Day) -> Verdict<'_> {
        let said = self.entry(kind, id).map_or_else(Vec::new, |e| self.said(e, profile, day));
        let standing = said.first().map_or(Standing::NotListed, |said| said.standing);
        Verdict { id: id.to_owned(), profile, standing, said }
    }

    /// The first day from `day` on, on which the item is not allowed, with the verdict of that day. None when it is allowed
    /// for as long as anybody has said.
    #[must_use]
    pub fn first_refusal(
        &self,
        kind: Kind,
        id: &str,
        profile: Profile,
        day: Day,
    ) -> Option<(Day, Verdict<'_>)> {
        let statements = self.entry(kind, id).map_or(&[][..], |entry| &entry.statements);
        // Verdicts change only where a statement begins or ends.
        let turns = statements
            .iter()
            .flat_map(|statement| [statement.from, statement.until.map(Day::next)])
            .flatten()
            .filter(|turn| *turn > day);
        let mut days: Vec<Day> = std::iter::once(day).chain(turns).collect();
        days.sort_unstable();
        days.into_iter()
            .map(|day| (day, self.verdict(kind, id, profile, day)))
            .find(|(_, verdict)| !verdict.is_allowed())
    }

    fn said<'r>(&'r self, entry: &'r Entry, profile: Profile, day: Day) -> Vec<Said<'r>> {
        let mut said = Vec::new();
        for key in &self.profile(profile).sources {
            let Some(source) = self.source(key) else { continue };
            let by_it = entry.statements.iter().filter(|s| s.source == *key);
            let begun: Vec<&Statement> =
                by_it.filter(|s| s.from.is_none_or(|from| from <= day)).collect();
            let in_force = |s: &Statement| s.until.is_none_or(|until| day <= until);
            if begun.iter().any(|s| in_force(s)) {
                said.extend(begun.into_iter().filter(|s| in_force(s)).map(|statement| Said {
                    standing: statement.status.into(),
                    statement,
                    source,
                }));
            } else if let Some(statement) = begun.into_iter().max_by_key(|s| s.until) {
                // A refusal that has ended is no permission.
                let standing = if statement.status == Status::Disallowed {
                    Standing::Disallowed
                } else {
                    Standing::Ended
                };
                said.push(Said { standing, statement, source });
            }
        }
        said.sort_by_key(|said| std::cmp::Reverse((said.standing, said.statement.provenance)));
        said
    }
}
