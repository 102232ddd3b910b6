//! The small types that the tables are made of.

use serde::{Deserialize, Serialize};
use std::fmt;

pub use crate::time::Day;

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
