//! What operators are for, and what each may call. One table, read by the permit and by the description.

use std::fmt;
use std::str::FromStr;

use super::call::Call;

/// What an operator is there for. One each: who needs two has two certificates, and the ledger says which was used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// Runs the authority; the first one comes from the ceremony.
    Administrator,
    /// Keeps a part of the root's powers, and sees whether the authority is well.
    Custodian,
    /// Stands at a factory line.
    Station,
    /// Looks at everything and changes nothing.
    Auditor,
    /// Answers owners: who is registered, in which state.
    Support,
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 5] =
        [Self::Administrator, Self::Custodian, Self::Station, Self::Auditor, Self::Support];

    /// The word for it in database, ledger and answers.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Administrator => "administrator",
            Self::Custodian => "custodian",
            Self::Station => "station",
            Self::Auditor => "auditor",
            Self::Support => "support",
        }
    }

    /// The role of that word.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.as_str() == word)
    }

    /// The table: whether whoever has this role may make that call.
    #[must_use]
    pub const fn may(self, call: Call) -> bool {
        match (self, call) {
            // What the interface is, is no secret among operators.
            (_, Call::Describe) | (Self::Administrator, _) => true,
            (Self::Custodian, Call::ReadStatus | Call::VerifyLedger | Call::ReadExpiry) => true,
            (
                Self::Auditor,
                Call::ReadStatus | Call::ListSubjects | Call::VerifyLedger | Call::ReadExpiry,
            ) => true,
            (Self::Support, Call::ReadStatus | Call::ListSubjects) => true,
            (Self::Custodian | Self::Auditor | Self::Support | Self::Station, _) => false,
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The words of [`Role::as_str`].
impl FromStr for Role {
    type Err = UnknownRole;
    fn from_str(text: &str) -> Result<Self, UnknownRole> {
        Self::from_word(text).ok_or_else(|| UnknownRole(text.to_owned()))
    }
}

/// A word that is no role.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no role: use administrator, custodian, station, auditor or support")]
pub struct UnknownRole(String);
