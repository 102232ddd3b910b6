//! Names. Each kind of name is its own type, so that one cannot stand where another is meant.
//!
//! Shape: 1 to 64 bytes of `A-Z a-z 0-9 . _ -`, beginning with a letter or digit. The alphabet is safe as
//! a file name, an MQTT topic level, a DNS label's part and a certificate's common name.

use std::fmt;

/// The longest name, in bytes: a certificate's common name ends there (RFC 5280 appendix A.1, `ub-common-name`).
pub const MAX_LEN: usize = 64;

/// Why a string is not a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidId {
    /// Empty, or longer than [`MAX_LEN`].
    #[error("a name has 1 to {MAX_LEN} bytes, this one has {0}")]
    Length(usize),
    /// A character outside the alphabet, or a first character that is not a letter or digit.
    #[error(
        "a name holds only A-Z a-z 0-9 . _ - and begins with a letter or digit; {0:?} is not allowed there"
    )]
    Character(char),
}

fn check(text: &str) -> Result<(), InvalidId> {
    if text.is_empty() || text.len() > MAX_LEN {
        return Err(InvalidId::Length(text.len()));
    }
    for (index, character) in text.chars().enumerate() {
        let inner = matches!(character, '.' | '_' | '-');
        if !(character.is_ascii_alphanumeric() || (inner && index > 0)) {
            return Err(InvalidId::Character(character));
        }
    }
    Ok(())
}

macro_rules! make_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl std::str::FromStr for $name {
            type Err = InvalidId;
            fn from_str(text: &str) -> Result<Self, InvalidId> {
                check(text)?;
                Ok(Self(text.to_owned()))
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidId;
            fn try_from(text: String) -> Result<Self, InvalidId> {
                check(&text)?;
                Ok(Self(text))
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), self.0)
            }
        }
    };
}

make_id!(
    /// A device: the serial on its label, its certificates' subject and its level in MQTT topics.
    ThingId
);
make_id!(
    /// A maker's backend or integration that connects to the gateway with a service certificate.
    ServiceName
);
make_id!(
    /// A person of a home: owner, member or viewer.
    PersonName
);
make_id!(
    /// Somebody who operates the authority: administrator, custodian, station, auditor, support.
    OperatorName
);
make_id!(
    /// A property, action or event of a Thing Description.
    AffordanceName
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_safe_everywhere_they_stand() {
        for good in ["a", "plug-000001", "A.b_c-9", &"x".repeat(MAX_LEN)] {
            assert!(good.parse::<ThingId>().is_ok(), "{good}");
        }
        for bad in ["", "..", "-a", "a/b", "a+", "#", "ä", "a b", "a\0", &"x".repeat(MAX_LEN + 1)]
        {
            assert!(bad.parse::<ThingId>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn deserialising_checks_too() {
        assert!(serde_json::from_str::<ThingId>("\"../x\"").is_err());
    }
}
