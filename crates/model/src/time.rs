//! Instants. Product code gets them as arguments; only shells read a clock.

mod day;

use serde::{Deserialize, Serialize};
use std::time::Duration;

pub use day::Day;

/// Milliseconds since 1970-01-01T00:00:00Z.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// From whole seconds since 1970.
    #[must_use]
    pub const fn from_secs(secs: u64) -> Self {
        Self(secs.saturating_mul(1000))
    }

    /// Whole seconds since 1970, rounded down.
    #[must_use]
    pub const fn as_secs(self) -> u64 {
        self.0 / 1000
    }

    /// Milliseconds since 1970.
    #[must_use]
    pub const fn as_millis(self) -> u64 {
        self.0
    }

    /// This instant and `by` more; stays at the end of time rather than wrapping.
    #[must_use]
    pub fn plus(self, by: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(by.as_millis()).unwrap_or(u64::MAX)))
    }

    /// How long after `earlier` this is; zero if it is before.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }

    /// RFC 3339 text in UTC with milliseconds, for people and documents.
    #[must_use]
    pub fn to_rfc3339(self) -> String {
        let nanos = i128::from(self.0) * 1_000_000;
        time::OffsetDateTime::from_unix_timestamp_nanos(nanos)
            .ok()
            .and_then(|at| at.format(&time::format_description::well_known::Rfc3339).ok())
            .unwrap_or_else(|| format!("{} ms after 1970", self.0))
    }

    /// Reads what [`Timestamp::to_rfc3339`] writes; `None` for any other text.
    #[must_use]
    pub fn from_rfc3339(text: &str) -> Option<Self> {
        let format = &time::format_description::well_known::Rfc3339;
        let at = time::OffsetDateTime::parse(text, format).ok()?;
        let read = Self(u64::try_from(at.unix_timestamp_nanos() / 1_000_000).ok()?);
        (read.to_rfc3339() == text).then_some(read)
    }
}

/// From `not_before` to `not_after`, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Validity {
    /// First instant.
    pub not_before: Timestamp,
    /// Last instant; [`Validity::FOREVER`] where a document has no end.
    pub not_after: Timestamp,
}

impl Validity {
    /// 9999-12-31T23:59:59Z, "no well-defined expiration" (RFC 5280 section 4.1.2.5).
    pub const FOREVER: Timestamp = Timestamp::from_secs(253_402_300_799);

    /// Whether `now` lies inside.
    #[must_use]
    pub fn contains(&self, now: Timestamp) -> bool {
        self.not_before <= now && now <= self.not_after
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ends_are_inside() {
        let day = Validity { not_before: Timestamp(10), not_after: Timestamp(20) };
        assert!(day.contains(Timestamp(10)) && day.contains(Timestamp(20)));
        assert!(!day.contains(Timestamp(9)) && !day.contains(Timestamp(21)));
    }

    #[test]
    fn forever_is_the_last_second_of_9999() {
        assert_eq!(Validity::FOREVER.to_rfc3339(), "9999-12-31T23:59:59Z");
        for at in [Timestamp(0), Timestamp(1_795_000_000_123), Validity::FOREVER] {
            assert_eq!(Timestamp::from_rfc3339(&at.to_rfc3339()), Some(at));
        }
        for text in ["", "2026", "2026-01-01T00:00:00+01:00", "1969-12-31T23:59:59Z"] {
            assert_eq!(Timestamp::from_rfc3339(text), None, "{text}");
        }
    }
}
