//! Where a serial of a batch stands, and what may happen to it. The whole table stands in a snapshot.

use std::fmt;

/// Where a serial of a batch stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ItemState {
    /// It counts against the quotas; nothing was issued for it yet.
    Reserved,
    /// It got no identity, and gave its place in the quotas back.
    Refused,
    /// It has an identity, and nobody said yet what became of it. After its batch's manifest it is unaccounted.
    Issued,
    /// A device with it left the factory.
    Shipped,
    /// It will never leave the factory, and is revoked.
    Scrapped,
}

impl ItemState {
    /// Every state.
    pub const ALL: [Self; 5] =
        [Self::Reserved, Self::Refused, Self::Issued, Self::Shipped, Self::Scrapped];

    /// The word in database, ledger, manifest and answers.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Reserved => "reserved",
            Self::Refused => "refused",
            Self::Issued => "issued",
            Self::Shipped => "shipped",
            Self::Scrapped => "scrapped",
        }
    }

    /// The state of that word.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == word)
    }

    /// Where it stands after a station said `outcome`; `None` where that cannot be.
    #[must_use]
    pub fn after(self, outcome: Outcome) -> Option<Self> {
        match (self, outcome) {
            (Self::Issued, Outcome::Issued) => Some(Self::Issued),
            (Self::Issued, Outcome::Shipped) => Some(Self::Shipped),
            // What was shipped may come back broken.
            (Self::Issued | Self::Shipped, Outcome::Scrapped) => Some(Self::Scrapped),
            // Everything else is said twice, or of an identity that is not there.
            _ => None,
        }
    }
}

impl fmt::Display for ItemState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a station says became of an identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// It was put into a device.
    Issued,
    /// The device left the factory.
    Shipped,
    /// The device, or the identity alone, was destroyed.
    Scrapped,
}

impl Outcome {
    /// Every outcome; the place is its number in a manifest.
    pub const ALL: [Self; 3] = [Self::Issued, Self::Shipped, Self::Scrapped];

    /// The word in commands and answers.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Issued => "issued",
            Self::Shipped => "shipped",
            Self::Scrapped => "scrapped",
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The table as people read it. A changed line here is a changed rule.
    #[test]
    fn every_transition_is_as_reviewed() {
        let mut table = String::new();
        for state in ItemState::ALL {
            for outcome in Outcome::ALL {
                let next = state.after(outcome).map_or("refused", ItemState::as_str);
                table.push_str(&format!("{:9} {:9} {next}\n", state.as_str(), outcome.as_str()));
            }
        }
        insta::assert_snapshot!(table, @r"
        reserved  issued    refused
        reserved  shipped   refused
        reserved  scrapped  refused
        refused   issued    refused
        refused   shipped   refused
        refused   scrapped  refused
        issued    issued    issued
        issued    shipped   shipped
        issued    scrapped  scrapped
        shipped   issued    refused
        shipped   shipped   refused
        shipped   scrapped  scrapped
        scrapped  issued    refused
        scrapped  shipped   refused
        scrapped  scrapped  refused
        ");
    }
}
