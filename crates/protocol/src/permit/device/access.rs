//! Who has which role at this device.

use super::judge::ConfigurePermit;
use super::subject::Subject;
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
/// As JSON: a list of `{"person": …, "role": …}`, which is also the value of the built-in property `access`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<Entry>", into = "Vec<Entry>")]
pub struct AccessList {
    persons: BTreeMap<PersonName, Role>,
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    person: PersonName,
    role: Role,
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
}

impl AccessList {
    /// The list of a device that was just paired.
    #[must_use]
    pub fn first_owner(owner: PersonName) -> Self {
        Self { persons: BTreeMap::from([(owner, Role::Owner)]) }
    }

    /// The persons and their roles.
    pub fn persons(&self) -> impl Iterator<Item = (&PersonName, Role)> {
        self.persons.iter().map(|(name, role)| (name, *role))
    }

    /// The role of a person.
    #[must_use]
    pub fn role_of(&self, person: &PersonName) -> Option<Role> {
        self.persons.get(person).copied()
    }

    /// The subject behind a certificate of this home; [`Subject::Anonymous`] when the list does not know the name.
    #[must_use]
    pub fn person(&self, name: &PersonName, until: Timestamp) -> Subject {
        match self.role_of(name) {
            Some(role) => Subject::Person { name: name.clone(), role, until },
            None => Subject::Anonymous,
        }
    }

    /// The subject behind a stamped command of the gateway.
    #[must_use]
    pub const fn service(name: ServiceName, until: Timestamp) -> Subject {
        Subject::Service { name, role: SERVICE_ROLE, until }
    }

    /// Gives `person` a role, or another one.
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
        changed.insert(person, role);
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

    /// Replaces the whole list, as a write of the property `access` does.
    ///
    /// # Errors
    /// [`AccessError::LastOwner`] when the one who asks would lock every owner out.
    pub fn replace(&mut self, _permit: &ConfigurePermit, list: Self) -> Result<(), AccessError> {
        self.accept(list.persons)
    }

    fn accept(&mut self, changed: BTreeMap<PersonName, Role>) -> Result<(), AccessError> {
        self.persons = checked(changed)?;
        Ok(())
    }
}

fn checked(persons: BTreeMap<PersonName, Role>) -> Result<BTreeMap<PersonName, Role>, AccessError> {
    if persons.len() > MAX_PERSONS {
        return Err(AccessError::TooMany);
    }
    if !persons.values().any(|role| *role == Role::Owner) {
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
        for Entry { person, role } in entries {
            if persons.insert(person, role).is_some() {
                return Err(AccessError::Twice);
            }
        }
        Ok(Self { persons: checked(persons)? })
    }
}

impl From<AccessList> for Vec<Entry> {
    fn from(list: AccessList) -> Self {
        list.persons.into_iter().map(|(person, role)| Entry { person, role }).collect()
    }
}
