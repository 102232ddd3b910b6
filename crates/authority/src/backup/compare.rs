//! The database against the ledger: what each says was issued and revoked. Reads nothing by itself.

use std::collections::{BTreeMap, BTreeSet};

use countersign_model::time::Timestamp;
use serde_json::Value;

use crate::ledger::{Entry, Kind};
use crate::registration::{Reason, State};
use crate::revocation::many::Many;
use crate::subject::Subject;

/// What the ledger tells.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// Serial numbers that were signed.
    issued: BTreeSet<String>,
    /// Serial numbers that were revoked, with whose and why.
    revoked: BTreeMap<String, (Subject, Reason)>,
    /// Subjects that were suspended or retired and not let in again since.
    barred: BTreeMap<String, (Subject, State)>,
    /// Serial numbers that went with their issuing CA.
    superseded: BTreeSet<String>,
    /// How many entries the backup knows.
    known: u64,
    /// For whom certificates were signed after the backup.
    holders: BTreeMap<String, Subject>,
    /// What the backup's orders were about: the ledger does not name each certificate that they took back.
    pub(super) targets: BTreeSet<String>,
    /// The orders since, in order.
    pub(super) orders: Vec<Order>,
    /// The policy key that began to sign after the backup, and so is not in it.
    policy_key: Option<String>,
}

/// An order to revoke many, as the ledger tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Order {
    pub(super) at: Timestamp,
    pub(super) target: Many,
    pub(super) reason: Reason,
}

impl Told {
    /// For a backup that was made at a ledger of so many entries.
    pub(super) fn to_backup_of(entries: u64) -> Self {
        Self { known: entries, ..Self::default() }
    }

    /// Takes the next entry, in order.
    pub(super) fn take(&mut self, entry: &Entry) {
        let body = &entry.body;
        let word = |name: &str| body[name].as_str().unwrap_or_default();
        match entry.kind {
            Kind::IssuanceIntent if entry.index >= self.known => {
                let holder = word("subject").parse().ok();
                self.holders.extend(holder.map(|holder| (word("serial").to_owned(), holder)));
            }
            Kind::Issued => self.issued.extend(body["serial"].as_str().map(str::to_owned)),
            // An order names its target and how many certificates it took, not each of them.
            Kind::Revoked if body["target"].is_string() => {
                let Ok(target) = word("target").parse::<Many>() else { return };
                if entry.index < self.known {
                    self.targets.insert(target.to_string());
                } else {
                    let reason = reason(body);
                    self.orders.push(Order { at: entry.at, target, reason });
                }
            }
            Kind::Revoked => self.revoke(body),
            Kind::PolicyKeyRolled if word("step") == "activated" && entry.index >= self.known => {
                self.policy_key = Some(word("label").to_owned());
            }
            Kind::CaRolled => match body["what"]["serials"].as_array() {
                Some(serials) => {
                    let serials = serials.iter().filter_map(Value::as_str).map(str::to_owned);
                    self.superseded.extend(serials);
                }
                // As earlier builds told it: the number, and no serials.
                None if word("step") == "retired" => {
                    self.targets.insert(Many::Issuer(word("label").to_owned()).to_string());
                }
                None => {}
            },
            Kind::Reinstated => {
                self.barred.remove(body["subject"].as_str().unwrap_or_default());
            }
            _ => {}
        }
    }

    fn revoke(&mut self, body: &Value) {
        let word = |name: &str| body[name].as_str().unwrap_or_default();
        let Ok(subject) = word("subject").parse::<Subject>() else { return };
        let reason = reason(body);
        let serials = body["serials"].as_array().into_iter().flatten();
        for serial in serials.filter_map(Value::as_str) {
            self.revoked.insert(serial.to_owned(), (subject.clone(), reason));
        }
        if let Some(state @ (State::Suspended | State::Retired)) = State::from_word(word("state")) {
            self.barred.insert(subject.to_string(), (subject, state));
        }
    }
}

fn reason(body: &Value) -> Reason {
    let word = body["reason"].as_str().unwrap_or_default();
    Reason::from_word(word).unwrap_or(Reason::Unspecified)
}

/// What the database has.
#[derive(Debug, Default)]
pub(super) struct Had {
    pub(super) issued: BTreeSet<String>,
    pub(super) revoked: BTreeSet<String>,
    /// Serial numbers of what the backup's orders were about, see [`Told::targets`].
    pub(super) ordered: BTreeSet<String>,
    pub(super) states: BTreeMap<String, State>,
}

/// What comes out of the comparison.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Compared {
    /// What the database has and the ledger does not know: somebody put it there.
    pub(super) findings: Vec<String>,
    /// Signed, and unknown to the database: after the backup, or in the moment of a kill.
    pub(super) unknown: u64,
    /// Revoked, and not so in the database.
    pub(super) revocations: Vec<(String, Subject, Reason)>,
    /// Gone with their issuing CA, and not so in the database; whose, where only the ledger knows.
    pub(super) superseded: Vec<(String, Option<Subject>)>,
    /// Suspended or retired, and not so in the database.
    pub(super) barred: Vec<(Subject, State)>,
}

//= specs/house.md#house-backup
//# A restored database MUST be compared with the ledger.
pub(super) fn compare(told: &Told, had: &Had) -> Compared {
    let foreign = had.issued.difference(&told.issued);
    let mut findings: Vec<String> =
        foreign.map(|serial| format!("certificate {serial} is not in the ledger")).collect();
    let silent = had.revoked.iter().filter(|serial| {
        !told.revoked.contains_key(*serial)
            && !told.superseded.contains(*serial)
            && !had.ordered.contains(*serial)
    });
    findings.extend(silent.map(|serial| format!("revocation of {serial} is not in the ledger")));
    findings.extend(told.policy_key.iter().map(|label| {
        format!(
            "{label} signs policies since a moment after this backup and is not in it: devices that have followed it take no policy of this authority any more: restore a newer backup"
        )
    }));
    let superseded = told.superseded.difference(&had.revoked);
    let revocations = told.revoked.iter().filter(|(serial, _)| !had.revoked.contains(*serial));
    let barred = told.barred.iter().filter(|(name, (_, state))| {
        // Whom the database does not know cannot come in anyhow.
        had.states.get(*name).is_some_and(|known| known != state && *known != State::Retired)
    });
    Compared {
        findings,
        unknown: told.issued.difference(&had.issued).count() as u64,
        revocations: revocations
            .map(|(serial, (subject, reason))| (serial.clone(), subject.clone(), *reason))
            .collect(),
        superseded: superseded
            .map(|serial| (serial.clone(), told.holders.get(serial).cloned()))
            .collect(),
        barred: barred.map(|(_, (subject, state))| (subject.clone(), *state)).collect(),
    }
}
