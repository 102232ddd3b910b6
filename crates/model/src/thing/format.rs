//! Patterns and formats of texts, as far as a device can check them.

use std::net::{Ipv4Addr, Ipv6Addr};
use time::format_description::well_known::Rfc3339;
use time::macros::format_description;
use time::{Date, OffsetDateTime};

/// Longest pattern, in bytes.
pub const MAX_PATTERN: usize = 256;
/// Largest compiled pattern, in bytes. A match takes time in proportion to it and to the text, never more.
const MAX_COMPILED: usize = 64 * 1024;
/// Deepest nesting of a pattern.
const MAX_NESTING: u32 = 16;

/// A regular expression. It matches anywhere in a text unless it says `^` or `$`, as in JSON Schema.
#[derive(Debug, Clone)]
pub(super) struct Pattern {
    text: String,
    compiled: regex_lite::Regex,
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Pattern {
    /// Of ECMA 262's expressions those that need no backtracking: no back-references and no looking around.
    pub(super) fn new(text: &str) -> Result<Self, String> {
        if text.len() > MAX_PATTERN {
            return Err(format!("has {} bytes, at most {MAX_PATTERN} are checked", text.len()));
        }
        let compiled = regex_lite::RegexBuilder::new(text)
            .size_limit(MAX_COMPILED)
            .nest_limit(MAX_NESTING)
            .build()
            .map_err(|error| format!("cannot be checked ({error}): use plain expressions, without back-references and look-around"))?;
        Ok(Self { text: text.to_owned(), compiled })
    }

    pub(super) fn matches(&self, text: &str) -> bool {
        self.compiled.is_match(text)
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }
}

/// A named format (JSON Schema validation, draft 7, section 7.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    DateTime,
    Date,
    Ipv4,
    Ipv6,
    Uri,
    Uuid,
}

impl Format {
    pub(super) const ALL: [Self; 6] =
        [Self::DateTime, Self::Date, Self::Ipv4, Self::Ipv6, Self::Uri, Self::Uuid];

    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::DateTime => "date-time",
            Self::Date => "date",
            Self::Ipv4 => "ipv4",
            Self::Ipv6 => "ipv6",
            Self::Uri => "uri",
            Self::Uuid => "uuid",
        }
    }

    pub(super) fn fits(self, text: &str) -> bool {
        match self {
            Self::DateTime => OffsetDateTime::parse(text, &Rfc3339).is_ok(),
            Self::Date => Date::parse(text, format_description!("[year]-[month]-[day]")).is_ok(),
            Self::Ipv4 => text.parse::<Ipv4Addr>().is_ok(),
            Self::Ipv6 => text.parse::<Ipv6Addr>().is_ok(),
            Self::Uri => is_uri(text),
            Self::Uuid => {
                let groups: Vec<&str> = text.split('-').collect();
                groups.iter().map(|group| group.len()).eq([8, 4, 4, 4, 12])
                    && groups.iter().all(|group| group.chars().all(|c| c.is_ascii_hexdigit()))
            }
        }
    }
}

/// Whether it has a scheme and none but the characters of RFC 3986 (section 2), which is what a reader of ours needs.
pub(super) fn is_uri(text: &str) -> bool {
    let Some((scheme, rest)) = text.split_once(':') else { return false };
    let mut scheme = scheme.chars();
    scheme.next().is_some_and(|first| first.is_ascii_alphabetic())
        && scheme.all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'))
        && !rest.is_empty()
        && is_uri_reference(rest)
}

/// Whether it has none but the characters of RFC 3986, or braces as in a URI template (RFC 6570).
pub(super) fn is_uri_reference(text: &str) -> bool {
    // Other letters too, as in an IRI (RFC 3987).
    text.chars().all(|c| c.is_alphanumeric() || "-._~:/?#[]@!$&'()*+,;=%{}".contains(c))
}

/// Whether it looks like a language tag (BCP 47): letters, then parts of 1 to 8 letters and digits.
pub(super) fn is_language(text: &str) -> bool {
    let mut parts = text.split('-');
    let primary = parts.next().unwrap_or_default();
    (1..=8).contains(&primary.len())
        && primary.chars().all(|c| c.is_ascii_alphabetic())
        && parts.all(|part| {
            (1..=8).contains(&part.len()) && part.chars().all(|c| c.is_ascii_alphanumeric())
        })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn formats_tell_right_from_wrong() {
        for (format, right, wrong) in [
            (Format::DateTime, "2026-02-28T12:00:00Z", "2026-02-30T12:00:00Z"),
            (Format::Date, "2028-02-29", "2027-02-29"),
            (Format::Ipv4, "192.168.1.20", "192.168.1.256"),
            (Format::Ipv6, "2001:db8::1", "2001:db8:::1"),
            (Format::Uri, "urn:uuid:x", "no scheme"),
            (
                Format::Uuid,
                "0804d572-cce8-422a-bb7c-4412fcd56f06",
                "0804d572cce8422abb7c4412fcd56f06",
            ),
        ] {
            assert!(format.fits(right), "{right}");
            assert!(!format.fits(wrong) && !format.fits(""), "{wrong}");
        }
    }

    #[test]
    fn patterns_are_bounded_in_size_and_time() {
        let pattern = Pattern::new("^[a-z]{2}$").unwrap();
        assert!(pattern.matches("ab") && !pattern.matches("abc"));
        for refused in ["(a)\\1", "(?=a)", "(", &"a".repeat(MAX_PATTERN + 1), "((a{99}){99}){99}"] {
            assert!(Pattern::new(refused).is_err(), "{refused}");
        }
        // Where others go back and forth for ever.
        let text = format!("{}!", "a".repeat(10_000));
        assert!(!Pattern::new("^(a+)+$").unwrap().matches(&text));
    }
}
