//! The profiles: which catalogues count together.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// Which catalogues count.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum Profile {
    /// ECCG Agreed Cryptographic Mechanisms: the European default.
    #[default]
    Acm,
    /// BSI TR-02102.
    Bsi,
    /// NIST special publications.
    Nist,
    /// The IETF's profiles for the Internet of Things.
    IetfIot,
    /// NSA's Commercial National Security Algorithm Suite 2.0.
    Cnsa2,
}

impl Profile {
    /// Every profile.
    pub const ALL: [Self; 5] = [Self::Acm, Self::Bsi, Self::Nist, Self::IetfIot, Self::Cnsa2];

    /// The word in policies and on the command line.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Acm => "acm",
            Self::Bsi => "bsi",
            Self::Nist => "nist",
            Self::IetfIot => "ietf-iot",
            Self::Cnsa2 => "cnsa2",
        }
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Profile {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|profile| profile.as_str() == text).ok_or_else(|| {
            let all = Self::ALL.map(Self::as_str).join(", ");
            format!("{text:?} is no profile: use one of {all}")
        })
    }
}

/// What a profile reads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProfileData {
    /// For people.
    pub title: String,
    /// Keys of its sources.
    pub sources: Vec<String>,
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn profiles_have_one_word_each() {
        for profile in Profile::ALL {
            assert_eq!(profile.as_str().parse(), Ok(profile));
            assert_eq!(serde_json::to_value(profile).unwrap(), profile.as_str());
        }
        assert!("iso".parse::<Profile>().unwrap_err().contains("cnsa2"));
    }
}
