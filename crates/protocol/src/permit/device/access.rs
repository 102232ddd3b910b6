//! Who has which role at this device, and by whose certificate it knows them.

use super::judge::ConfigurePermit;
use super::subject::Subject;
use crate::hex;
use crate::invitation::Joining;
use countersign_model::id::{PersonName, ServiceName};
use countersign_model::role::Role;
use countersign_model::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Most persons at one device: a household and its guests.
pub const MAX_PERSONS: usize = 64;

/// What a service may do, at most: command. Configuration is for owners, who are persons.
const SERVICE_ROLE: Role = Role::Member;

/// Person to role. There is always an owner.
///
/// As JSON: a list of `{"person": …, "role": …}`, which is also the value of the built-in property `access`. Who joined by
/// an invitation has `"anchor"` too: the SHA-256, in hexadecimal, of the certificate that vouches for them alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<Entry>", into = "Vec<Entry>")]
pub struct AccessList {
    persons: BTreeMap<PersonName, Standing>,
}

/// Whose certificate a person shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Voucher {
    /// One of the home's own authority, which the first owner's controller holds.
    Home,
    /// One of the person's own authority, with this SHA-256; it vouches for nobody else here.
    Own([u8; 32]),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Standing {
    role: Role,
    voucher: Voucher,
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    person: PersonName,
    role: Role,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    anchor: Option<String>,
}

/// Why a change of the access list is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AccessError {
    /// Nobody could configure the device any more.
    #[error("the last owner cannot be removed: name another owner first, or reset the device")]
    LastOwner,
    /// More than [`MAX_PERSONS`].
    #[error("at most {MAX_PERSONS} persons can have a role at one device")]
    TooMany,
    /// A person stands twice on the list.
    #[error("a person stands twice on the list")]
    Twice,
    /// Somebody of that name has a role already.
    #[error(
        "somebody of that name has a role already: change that role, unshare, or take another name"
    )]
    Taken,
    /// A list names an anchor that nobody joined with.
    #[error(
        "an anchor on the list is not the one that this person joined with: people join by invitation"
    )]
    Anchor,
}

impl AccessList {
    /// The list of a device that was just paired.
    #[must_use]
    pub fn first_owner(owner: PersonName) -> Self {
        let standing = Standing { role: Role::Owner, voucher: Voucher::Home };
        Self { persons: BTreeMap::from([(owner, standing)]) }
    }

    /// The persons and their roles.
    pub fn persons(&self) -> impl Iterator<Item = (&PersonName, Role)> {
        self.persons.iter().map(|(name, standing)| (name, standing.role))
    }

    /// The role of a person.
    #[must_use]
    pub fn role_of(&self, person: &PersonName) -> Option<Role> {
        self.persons.get(person).map(|standing| standing.role)
    }

    /// Whose certificate this person has to show; `None` for somebody who is not on the list.
    #[must_use]
    pub fn voucher_of(&self, person: &PersonName) -> Option<Voucher> {
        self.persons.get(person).map(|standing| standing.voucher)
    }

    /// The people's own anchors, by their SHA-256.
    pub fn anchors(&self) -> impl Iterator<Item = [u8; 32]> {
        self.persons.values().filter_map(|standing| match standing.voucher {
            Voucher::Own(anchor) => Some(anchor),
            Voucher::Home => None,
        })
    }

    /// The subject behind a certificate with this name that `voucher` signed; [`Subject::Anonymous`] when the list does not
    /// know the name, or knows it by somebody else's signature.
    //= specs/house.md#house-sharing
    //# A person who joined MUST be recognised by the anchor that they joined with and by no other.
    #[must_use]
    pub fn person(&self, name: &PersonName, voucher: Voucher, until: Timestamp) -> Subject {
        match self.persons.get(name) {
            Some(standing) if standing.voucher == voucher => {
                Subject::Person { name: name.clone(), role: standing.role, until }
            }
            _ => Subject::Anonymous,
        }
    }

    /// The subject behind a stamped command of the gateway.
    #[must_use]
    pub const fn service(name: ServiceName, until: Timestamp) -> Subject {
        Subject::Service { name, role: SERVICE_ROLE, until }
    }

    /// Gives a person a role, or another one. Who is new is known by the home's certificates.
    ///
    /// # Errors
    /// [`AccessError::LastOwner`] when the only owner would become less, [`AccessError::TooMany`].
    pub fn share(
        &mut self,
        _permit: &ConfigurePermit,
        person: PersonName,
        role: Role,
    ) -> Result<(), AccessError> {
        let mut changed = self.persons.clone();
        changed.entry(person).or_insert(Standing { role, voucher: Voucher::Home }).role = role;
        self.accept(changed)
    }

    /// Lets in who was invited, proved the code and brought an anchor.
    ///
    /// # Errors
    /// [`AccessError::Taken`] when somebody has got that name meanwhile; [`AccessError::TooMany`].
    pub fn join(&mut self, joining: &Joining) -> Result<(), AccessError> {
        if self.persons.contains_key(joining.person()) {
            return Err(AccessError::Taken);
        }
        let mut changed = self.persons.clone();
        let voucher = Voucher::Own(joining.anchor_sha256());
        changed.insert(joining.person().clone(), Standing { role: joining.role(), voucher });
        self.accept(changed)
    }

    /// Takes a person's role away. Its open sessions are to be judged again.
    ///
    /// # Errors
    /// [`AccessError::LastOwner`].
    pub fn unshare(
        &mut self,
        _permit: &ConfigurePermit,
        person: &PersonName,
    ) -> Result<(), AccessError> {
        let mut changed = self.persons.clone();
        changed.remove(person);
        self.accept(changed)
    }

    /// Replaces the whole list, as a write of the property `access` does. Who stays keeps their anchor; an anchor cannot
    /// come in this way.
    ///
    /// # Errors
    /// [`AccessError::LastOwner`] when the one who asks would lock every owner out; [`AccessError::Anchor`].
    pub fn replace(&mut self, _permit: &ConfigurePermit, list: Self) -> Result<(), AccessError> {
        let mut changed = list.persons;
        for (person, standing) in &mut changed {
            let kept = self.voucher_of(person).unwrap_or(Voucher::Home);
            if standing.voucher != Voucher::Home && standing.voucher != kept {
                return Err(AccessError::Anchor);
            }
            standing.voucher = kept;
        }
        self.accept(changed)
    }

    fn accept(&mut self, changed: BTreeMap<PersonName, Standing>) -> Result<(), AccessError> {
        self.persons = checked(changed)?;
        Ok(())
    }
}

//= specs/house.md#house-sharing
//# A change that would leave a device without an owner MUST be refused, whoever asks.
fn checked(
    persons: BTreeMap<PersonName, Standing>,
) -> Result<BTreeMap<PersonName, Standing>, AccessError> {
    if persons.len() > MAX_PERSONS {
        return Err(AccessError::TooMany);
    }
    if !persons.values().any(|standing| standing.role == Role::Owner) {
        return Err(AccessError::LastOwner);
    }
    Ok(persons)
}

impl TryFrom<Vec<Entry>> for AccessList {
    type Error = AccessError;
    fn try_from(entries: Vec<Entry>) -> Result<Self, AccessError> {
        let mut persons = BTreeMap::new();
        if entries.len() > MAX_PERSONS {
            return Err(AccessError::TooMany);
        }
        for Entry { person, role, anchor } in entries {
            let voucher = match anchor {
                Some(text) => Voucher::Own(hex::read(&text).ok_or(AccessError::Anchor)?),
                None => Voucher::Home,
            };
            if persons.insert(person, Standing { role, voucher }).is_some() {
                return Err(AccessError::Twice);
            }
        }
        Ok(Self { persons: checked(persons)? })
    }
}

impl From<AccessList> for Vec<Entry> {
    fn from(list: AccessList) -> Self {
        let entry = |(person, Standing { role, voucher })| {
            let anchor = match voucher {
                Voucher::Own(anchor) => Some(hex::write(&anchor)),
                Voucher::Home => None,
            };
            Entry { person, role, anchor }
        };
        list.persons.into_iter().map(entry).collect()
    }
}
