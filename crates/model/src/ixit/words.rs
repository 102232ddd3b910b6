//! The small types that the tables are made of.

use serde::{Deserialize, Serialize};
use std::fmt;

/// The id of a row, unique in its table: a label such as `ComMech-TLS` or a number.
///
/// Shape (held by [`Declaration::check`](super::Declaration::check), not by construction, so that a wrong
/// one can be reported with its place): 1 to 64 characters of `A-Z a-z 0-9 . _ -`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RowId(pub String);

impl RowId {
    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub(super) fn is_well_formed(&self) -> bool {
        (1..=64).contains(&self.0.len())
            && self.0.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
    }
}

impl From<&str> for RowId {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl From<String> for RowId {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl fmt::Display for RowId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for RowId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RowId({})", self.0)
    }
}

/// A field of the pro forma in its two forms: text for people, type for checks.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Twin<T> {
    /// What the pro forma's field says. Printed, never judged.
    pub text: String,
    /// What a check reads.
    pub typed: T,
}

impl<T> Twin<T> {
    /// Both forms together.
    pub fn new(text: impl Into<String>, typed: T) -> Self {
        Self { text: text.into(), typed }
    }
}

/// A 16-bit code point of the IANA TLS registries (version, suite, group, signature scheme); JSON `"0x1301"`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CodePoint(pub u16);

impl fmt::Display for CodePoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "0x{:04x}", self.0)
    }
}

impl fmt::Debug for CodePoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl From<CodePoint> for String {
    fn from(code: CodePoint) -> Self {
        code.to_string()
    }
}

impl TryFrom<String> for CodePoint {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        text.strip_prefix("0x")
            .filter(|digits| digits.len() == 4 && digits.bytes().all(|b| b.is_ascii_hexdigit()))
            .and_then(|digits| u16::from_str_radix(digits, 16).ok())
            .map(Self)
            .ok_or_else(|| {
                format!(
                    "{text:?} is no code point: write four hexadecimal digits such as \"0x1301\""
                )
            })
    }
}

/// A calendar day in UTC; JSON `"2031-12-31"`. Years 1970 to 9999.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Day {
    year: u16,
    month: u8,
    day: u8,
}

impl Day {
    /// The day, if the calendar has it.
    #[must_use]
    pub fn new(year: u16, month: u8, day: u8) -> Option<Self> {
        let known = time::Month::try_from(month).ok()?;
        time::Date::from_calendar_date(i32::from(year), known, day).ok()?;
        (1970..=9999).contains(&year).then_some(Self { year, month, day })
    }

    /// The last day of a year, as catalogues mean by "until 2031".
    #[must_use]
    pub fn end_of(year: u16) -> Option<Self> {
        Self::new(year, 12, 31)
    }

    /// The day that holds an instant.
    #[must_use]
    pub fn of(at: crate::time::Timestamp) -> Self {
        let secs = i64::try_from(at.as_secs()).unwrap_or(i64::MAX);
        time::OffsetDateTime::from_unix_timestamp(secs)
            .ok()
            .and_then(|at| Self::new(u16::try_from(at.year()).ok()?, at.month().into(), at.day()))
            .unwrap_or(Self { year: 9999, month: 12, day: 31 })
    }

    /// The year.
    #[must_use]
    pub const fn year(self) -> u16 {
        self.year
    }
}

impl Default for Day {
    fn default() -> Self {
        Self { year: 1970, month: 1, day: 1 }
    }
}

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}-{:02}", self.year, self.month, self.day)
    }
}

impl fmt::Debug for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl From<Day> for String {
    fn from(day: Day) -> Self {
        day.to_string()
    }
}

impl TryFrom<String> for Day {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        let parsed = || {
            let mut parts = text.split('-');
            let (year, month, day) = (parts.next()?, parts.next()?, parts.next()?);
            let shaped =
                year.len() == 4 && month.len() == 2 && day.len() == 2 && parts.next().is_none();
            shaped.then_some(())?;
            Self::new(year.parse().ok()?, month.parse().ok()?, day.parse().ok()?)
        };
        parsed().ok_or_else(|| {
            format!("{text:?} is no day: write year-month-day such as \"2031-12-31\"")
        })
    }
}
