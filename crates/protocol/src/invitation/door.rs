//! The one invitation that may be open, and how it ends.

use super::offer::Offer;
use super::{MAX_LIFE, MIN_LIFE};
use crate::permit::device::{AccessList, ConfigurePermit, MAX_PERSONS, SubjectName};
use countersign_crypto::pake::PakeParams;
use countersign_crypto::secret::Secret;
use countersign_model::id::PersonName;
use countersign_model::role::Role;
use countersign_model::time::Timestamp;

/// Where the invited come in: open for at most one of them.
///
/// There is one at a time, so that nobody needs to say whom they want to be before they have proven anything.
#[derive(Debug, Default)]
pub struct Door {
    open: Option<Open>,
    opened: u64,
}

#[derive(Debug)]
pub(super) struct Open {
    /// Tells it from every other one of this run of the device.
    pub(super) number: u64,
    pub(super) person: PersonName,
    pub(super) role: Role,
    pub(super) by: SubjectName,
    pub(super) until: Timestamp,
    pub(super) guesses: u32,
    pub(super) params: PakeParams,
    pub(super) record: Secret,
}

/// How an invitation ended without having been used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// For whom it was.
    pub person: PersonName,
    /// As what.
    pub role: Role,
    /// Why it is over.
    pub why: Why,
}

/// Why an invitation is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// Its minutes are over.
    Expired,
    /// An owner took it back, made another one, or is no owner any more.
    Withdrawn,
    /// Too many wrong codes.
    Guessed,
    /// The code was right, and the person could not be stored.
    NotStored,
    /// The device was switched off.
    Restarted,
}

impl Why {
    /// The word in the device's record.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::Withdrawn => "withdrawn",
            Self::Guessed => "too many wrong codes",
            Self::NotStored => "the person could not be stored",
            Self::Restarted => "the device was restarted",
        }
    }
}

/// Why nobody is invited.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InviteError {
    /// Somebody of that name has a role.
    #[error(
        "{0} has a role here already: change that role, unshare first, or invite under another name"
    )]
    Taken(PersonName),
    /// The access list is full.
    #[error("at most {MAX_PERSONS} persons can have a role at one device")]
    TooMany,
    /// Outside the bounds.
    #[error("an invitation lasts {} seconds to {} minutes", MIN_LIFE.as_secs(), MAX_LIFE.as_secs() / 60)]
    Life,
}

impl Door {
    /// Opens it for the one of `offer`. What was open before is withdrawn, and given back for the record.
    ///
    /// # Errors
    /// [`InviteError`]; nothing changed then.
    pub fn open(
        &mut self,
        permit: &ConfigurePermit,
        offer: Offer,
        access: &AccessList,
        now: Timestamp,
    ) -> Result<Option<Ended>, InviteError> {
        if access.role_of(&offer.person).is_some() {
            return Err(InviteError::Taken(offer.person));
        }
        if access.persons().count() >= MAX_PERSONS {
            return Err(InviteError::TooMany);
        }
        if !(MIN_LIFE..=MAX_LIFE).contains(&offer.life) {
            return Err(InviteError::Life);
        }
        let before = self.withdraw();
        self.opened += 1;
        let Offer { person, role, life, params, record } = offer;
        let (number, by, until) = (self.opened, permit.by().clone(), now.plus(life));
        self.open = Some(Open { number, person, role, by, until, guesses: 0, params, record });
        Ok(before)
    }

    /// For whom it is open, as what and until when.
    #[must_use]
    pub fn invited(&self) -> Option<(&PersonName, Role, Timestamp)> {
        self.open.as_ref().map(|open| (&open.person, open.role, open.until))
    }

    /// Ends what is over at `now`, or whose maker is no owner on `access` any more.
    //= specs/house.md#house-sharing
    //# An invitation MUST work once, within its minutes, for one person and one role.
    pub fn look(&mut self, access: &AccessList, now: Timestamp) -> Option<Ended> {
        let open = self.open.as_ref()?;
        if now > open.until {
            return self.end(Why::Expired);
        }
        let owner = match &open.by {
            SubjectName::Person(name) => access.role_of(name) == Some(Role::Owner),
            _ => false,
        };
        if owner { None } else { self.end(Why::Withdrawn) }
    }

    /// Closes it.
    pub fn withdraw(&mut self) -> Option<Ended> {
        self.end(Why::Withdrawn)
    }

    pub(super) fn end(&mut self, why: Why) -> Option<Ended> {
        let Open { person, role, .. } = self.open.take()?;
        Some(Ended { person, role, why })
    }

    /// What is open at `now`, however many guesses it has seen.
    pub(super) fn at(&mut self, now: Timestamp) -> Option<&mut Open> {
        self.open.as_mut().filter(|open| now <= open.until)
    }

    /// The one of this number, over or not.
    pub(super) fn numbered(&self, number: u64) -> Option<&Open> {
        self.open.as_ref().filter(|open| open.number == number)
    }

    /// The same, if it is still the one that a conversation began with.
    pub(super) fn still(&mut self, number: u64, now: Timestamp) -> Option<&mut Open> {
        self.at(now).filter(|open| open.number == number)
    }

    /// Takes it out: from here on nobody else can use it.
    pub(super) fn take(&mut self, number: u64, now: Timestamp) -> Option<Open> {
        self.still(number, now)?;
        self.open.take()
    }
}
