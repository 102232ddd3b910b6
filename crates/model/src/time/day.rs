//! Calendar days, in which catalogues and policies count.

use super::Timestamp;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

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
    pub fn of(at: Timestamp) -> Self {
        let secs = i64::try_from(at.as_secs()).unwrap_or(i64::MAX);
        time::OffsetDateTime::from_unix_timestamp(secs)
            .ok()
            .and_then(|at| Self::of_date(at.date()))
            .unwrap_or(Self { year: 9999, month: 12, day: 31 })
    }

    /// The day after; the last day of 9999 has none and stays.
    #[must_use]
    pub fn next(self) -> Self {
        self.date().and_then(time::Date::next_day).and_then(Self::of_date).unwrap_or(self)
    }

    /// The day before; 1970-01-01 has none and stays.
    #[must_use]
    pub fn previous(self) -> Self {
        self.date().and_then(time::Date::previous_day).and_then(Self::of_date).unwrap_or(self)
    }

    /// Its first instant.
    #[must_use]
    pub fn start(self) -> Timestamp {
        let secs = self.date().map_or(0, |date| date.midnight().assume_utc().unix_timestamp());
        Timestamp::from_secs(u64::try_from(secs).unwrap_or(0))
    }

    /// Its last whole second, as [`super::Validity`] and certificates end.
    #[must_use]
    pub fn end(self) -> Timestamp {
        Timestamp::from_secs(self.start().as_secs() + 86_399)
    }

    fn date(self) -> Option<time::Date> {
        let month = time::Month::try_from(self.month).ok()?;
        time::Date::from_calendar_date(i32::from(self.year), month, self.day).ok()
    }

    fn of_date(date: time::Date) -> Option<Self> {
        Self::new(u16::try_from(date.year()).ok()?, date.month().into(), date.day())
    }

    /// The same day some years later; 29 February becomes 28 February where the year has none.
    #[must_use]
    pub fn plus_years(self, years: u16) -> Self {
        let year = self.year.saturating_add(years).min(9999);
        Self::new(year, self.month, self.day).unwrap_or(Self { year, month: 2, day: 28 })
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

impl FromStr for Day {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let parsed = || {
            let mut parts = text.split('-');
            let (year, month, day) = (parts.next()?, parts.next()?, parts.next()?);
            let digits = |part: &str, len| {
                part.len() == len && part.bytes().all(|byte| byte.is_ascii_digit())
            };
            let shaped = digits(year, 4) && digits(month, 2) && digits(day, 2);
            (shaped && parts.next().is_none()).then_some(())?;
            Self::new(year.parse().ok()?, month.parse().ok()?, day.parse().ok()?)
        };
        parsed().ok_or_else(|| {
            format!("{text:?} is no day: write year-month-day such as \"2031-12-31\"")
        })
    }
}

impl TryFrom<String> for Day {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn days_follow_each_other_and_hold_their_instants() {
        let new_year = Day::new(2032, 1, 1).unwrap();
        let eve = Day::end_of(2031).unwrap();
        assert_eq!(eve.next(), new_year);
        assert_eq!(Day::new(2028, 2, 28).unwrap().next(), Day::new(2028, 2, 29).unwrap());
        assert_eq!(eve.end().to_rfc3339(), "2031-12-31T23:59:59Z");
        assert_eq!(new_year.start().to_rfc3339(), "2032-01-01T00:00:00Z");
        assert_eq!((Day::of(eve.end()), Day::of(new_year.start())), (eve, new_year));
        let last = Day::end_of(9999).unwrap();
        assert_eq!((last.next(), new_year.previous()), (last, eve));
        let leap = Day::new(2028, 2, 29).unwrap();
        assert_eq!(leap.plus_years(5), Day::new(2033, 2, 28).unwrap());
        assert_eq!(Day::default().previous(), Day::default());
    }
}
