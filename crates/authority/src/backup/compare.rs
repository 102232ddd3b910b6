//! The database against the ledger: what each says was issued and revoked. Reads nothing by itself.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::ledger::{Entry, Kind};
use crate::registration::{Reason, State};
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
    /// How many certificates orders took back, whose serials the ledger does not name.
    pub(super) by_orders: u64,
}

impl Told {
    /// Takes the next entry, in order.
    pub(super) fn take(&mut self, entry: &Entry) {
        let body = &entry.body;
        match entry.kind {
            Kind::Issued => self.issued.extend(body["serial"].as_str().map(str::to_owned)),
            Kind::Revoked => self.revoke(body),
            Kind::Reinstated => {
                self.barred.remove(body["subject"].as_str().unwrap_or_default());
            }
            _ => {}
        }
    }

    fn revoke(&mut self, body: &Value) {
        let word = |name: &str| body[name].as_str().unwrap_or_default();
        // An order names its target and how many certificates it took, not each of them.
        if body["target"].is_string() {
            self.by_orders += body["certificates"].as_u64().unwrap_or_default();
        }
        let Ok(subject) = word("subject").parse::<Subject>() else { return };
        let reason = Reason::from_word(word("reason")).unwrap_or(Reason::Unspecified);
        let serials = body["serials"].as_array().into_iter().flatten();
        for serial in serials.filter_map(Value::as_str) {
            self.revoked.insert(serial.to_owned(), (subject.clone(), reason));
        }
        if let Some(state @ (State::Suspended | State::Retired)) = State::from_word(word("state")) {
            self.barred.insert(subject.to_string(), (subject, state));
        }
    }
}

/// What the database has.
#[derive(Debug, Default)]
pub(super) struct Had {
    pub(super) issued: BTreeSet<String>,
    pub(super) revoked: BTreeSet<String>,
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
    /// Suspended or retired, and not so in the database.
    pub(super) barred: Vec<(Subject, State)>,
}

//= specs/house.md#house-backup
//# A restored database MUST be compared with the ledger.
pub(super) fn compare(told: &Told, had: &Had) -> Compared {
    let foreign = had.issued.difference(&told.issued);
    let mut findings: Vec<String> =
        foreign.map(|serial| format!("certificate {serial} is not in the ledger")).collect();
    let silent = had.revoked.iter().filter(|serial| !told.revoked.contains_key(*serial));
    let silent: Vec<_> = silent.collect();
    if silent.len() as u64 > told.by_orders {
        let silent = silent.iter();
        findings
            .extend(silent.map(|serial| format!("revocation of {serial} is not in the ledger")));
    }
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
        barred: barred.map(|(_, (subject, state))| (subject.clone(), *state)).collect(),
    }
}
