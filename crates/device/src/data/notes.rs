//! The device's record writes itself: what a change of state did to who may what is read off the two states, so that no
//! code can make such a change and forget to say so.

use super::record::{Home, Record};
use countersign_model::id::PersonName;
use countersign_model::role::Role;
use countersign_model::state::DeviceState;
use countersign_model::time::Timestamp;
use countersign_protocol::journal::{Note, What};
use countersign_protocol::permit::device::{AccessList, Voucher};
use std::sync::Arc;

/// Who pairs: whoever holds the label.
const BY_LABEL: &str = "the setup code";
/// Who replaces policies: whoever holds the policy key.
const BY_POLICY_KEY: &str = "the policy key";
/// Who resets. No name: the record outlives the home.
const BY_SOMEBODY: &str = "an owner, or somebody at the device";

/// Adds to `next` what it changes of `before`.
pub(super) fn add(before: &Record, next: &mut Record, at: Timestamp, by: &str) {
    let mut notes = Vec::new();
    match (&before.home, &next.home) {
        (None, Some(home)) => {
            let owners = home.access.persons().filter(|(_, role)| *role == Role::Owner);
            let owners =
                owners.map(|(person, role)| Note::new(What::Paired).of(person.clone()).to(role));
            notes.extend(owners.map(|note| (BY_LABEL, note)));
        }
        (Some(old), Some(new)) => {
            notes.extend(people(&old.access, &new.access).into_iter().map(|note| (by, note)));
            if !same_network(old, new) {
                notes.push((by, Note::new(What::NetworkReplaced)));
            }
        }
        (_, None) => {}
    }
    let version =
        |record: &Record| record.policy.as_ref().map(|policy| policy.slots.active.version);
    if let Some(now) = version(next).filter(|now| Some(*now) != version(before)) {
        let note = Note::new(What::PolicyReplaced).detail(&format!("version {now}"));
        notes.push((BY_POLICY_KEY, note));
    }
    if next.phase == DeviceState::Resetting && before.phase != DeviceState::Resetting {
        notes.push((BY_SOMEBODY, Note::new(What::Reset)));
    }
    for (by, note) in notes {
        next.journal.append(at, by, note);
    }
    // Nobody's anchor stays when they are gone.
    let listed: Vec<[u8; 32]> = next.home.iter().flat_map(|home| home.access.anchors()).collect();
    next.guests.retain(|anchor| listed.contains(&anchor.fingerprint()));
}

fn people(before: &AccessList, after: &AccessList) -> Vec<Note> {
    let mut notes = Vec::new();
    for (person, role) in after.persons() {
        let note = |what| Note::new(what).of(person.clone()).to(role);
        match (before.role_of(person), voucher(before, person), voucher(after, person)) {
            (Some(old), was, is) if was == is => {
                if old != role {
                    notes.push(note(What::RoleChanged).detail(&format!("was {old}")));
                }
            }
            (_, _, Some(Voucher::Own(_))) => notes.push(note(What::Joined)),
            (_, _, _) => notes.push(note(What::RoleGiven)),
        }
    }
    let gone = before.persons().filter(|(person, _)| after.role_of(person).is_none());
    notes.extend(gone.map(|(person, role)| {
        Note::new(What::Unshared).of(person.clone()).detail(&format!("was {role}"))
    }));
    notes
}

fn voucher(list: &AccessList, person: &PersonName) -> Option<Voucher> {
    list.voucher_of(person)
}

/// Whether the credentials are the very same: a secret is not compared, it is replaced.
fn same_network(before: &Home, after: &Home) -> bool {
    match (&before.network, &after.network) {
        (None, None) => true,
        (Some(before), Some(after)) => Arc::ptr_eq(before, after),
        _ => false,
    }
}
