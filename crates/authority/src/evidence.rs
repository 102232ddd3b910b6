//! Life-cycle evidence: which entries of the ledger show that a process was carried out (EN 303 645 provision 5.5-8).
//!
//! ```text
//!  processes (model) ─┐
//!  ledger entries ────┼─► gather ─► a record each: phase, entry, what it shows, when
//!  a device, or none ─┘
//! ```
//!
//! An entry shows only what it says: an intent without its issuance is no issuance, and an entry about another device
//! counts only where the process is one for all.

use std::collections::HashMap;

use countersign_model::id::ThingId;
use countersign_model::processes::{Evidence, Process, Record, Rule, Scope, built_in};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::authority::Authority;
use crate::error::AuthorityError;
use crate::ledger::{Entry, Kind};
use crate::subject::Subject;

/// What `authority evidence --json` writes: records, and the checkpoint that covers their entries.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EvidenceReport {
    /// Whose; none: records of any device count.
    pub thing: Option<ThingId>,
    /// Parameter by parameter.
    pub evidence: Vec<Evidence>,
    /// The signed checkpoint over all entries named here (C2SP tlog-checkpoint).
    pub checkpoint: String,
}

impl Authority {
    /// The ledger's records of how the parameters of `thing` were managed, or of those of any device.
    ///
    /// # Errors
    /// [`AuthorityError::Unknown`] for a device that was never registered; [`AuthorityError::Ledger`].
    pub async fn evidence(&self, thing: Option<ThingId>) -> Result<EvidenceReport, AuthorityError> {
        if let Some(thing) = &thing {
            let subject = Subject::Thing(thing.clone());
            if !self.subjects().await?.iter().any(|known| known.subject == subject) {
                return Err(AuthorityError::Unknown(subject.to_string()));
            }
        }
        // The checkpoint first: entries that come after it are not named.
        let signed = self.ledger_checkpoint().await?;
        let mut entries = self.ledger_entries().await?;
        entries.truncate(usize::try_from(signed.checkpoint().size).unwrap_or(usize::MAX));
        Ok(EvidenceReport {
            evidence: gather(built_in(), &entries, thing.as_ref()),
            thing,
            checkpoint: signed.note().to_string(),
        })
    }
}

//= specs/en-303-645.md#5.5-8
//# The manufacturer MUST manage critical security parameters by secure processes over their entire life cycle.
/// Finds the records in `entries`, oldest first.
#[must_use]
pub fn gather(processes: &[Process], entries: &[Entry], thing: Option<&ThingId>) -> Vec<Evidence> {
    let abouts = Abouts::of(entries);
    processes
        .iter()
        .map(|process| {
            let mut records: Vec<Record> = process
                .phase
                .iter()
                .flat_map(|(phase, what)| what.record.iter().map(move |rule| (*phase, rule)))
                .flat_map(|(phase, rule)| {
                    let met = abouts.met(rule, entries, thing);
                    met.into_iter().map(move |(entry, shows)| Record {
                        phase,
                        place: place(entry),
                        shows: shows.to_owned(),
                        at: entry.at,
                    })
                })
                .collect();
            records.sort_by_key(|record| (record.phase, record.at));
            Evidence { parameter: process.parameter.clone(), records }
        })
        .collect()
}

/// Whom entries are about that name only a serial number.
struct Abouts<'a> {
    /// By the certificate's serial: subject and purpose, as the intent said.
    intents: HashMap<&'a str, (&'a str, &'a str)>,
}

impl<'a> Abouts<'a> {
    fn of(entries: &'a [Entry]) -> Self {
        let intents = entries.iter().filter(|entry| entry.kind == Kind::IssuanceIntent);
        let named = intents.filter_map(|entry| {
            let text = |name| entry.body.get(name).and_then(Value::as_str);
            Some((text("serial")?, (text("subject")?, text("purpose")?)))
        });
        Self { intents: named.collect() }
    }

    fn met<'r>(
        &self,
        rule: &'r Rule,
        entries: &'a [Entry],
        thing: Option<&ThingId>,
    ) -> Vec<(&'a Entry, &'r str)> {
        let Rule::Ledger { kind, of, purpose, after_the_first, shows } = rule else {
            return Vec::new();
        };
        let thing = thing.filter(|_| *of == Scope::Device);
        let counts = |entry: &&Entry| {
            let (subject, for_) = self.about(entry);
            word(entry.kind) == *kind
                && thing.is_none_or(|thing| {
                    subject.as_deref() == Some(&Subject::Thing(thing.clone()).to_string())
                })
                && purpose.as_ref().is_none_or(|purpose| for_ == Some(purpose.as_str()))
        };
        let mut seen: HashMap<Option<String>, usize> = HashMap::new();
        entries
            .iter()
            .filter(counts)
            .filter(|entry| {
                let before = seen.entry(self.about(entry).0).or_insert(0);
                *before += 1;
                !after_the_first || *before > 1
            })
            .map(|entry| (entry, shows.as_str()))
            .collect()
    }

    /// The subject as it prints itself, and what the certificate is for.
    fn about(&self, entry: &'a Entry) -> (Option<String>, Option<&'a str>) {
        let text = |name| entry.body.get(name).and_then(Value::as_str);
        if entry.kind == Kind::FactoryIdentity {
            let thing = text("thing").and_then(|thing| thing.parse().ok());
            return (thing.map(|thing| Subject::Thing(thing).to_string()), None);
        }
        let intended = text("serial").and_then(|serial| self.intents.get(serial));
        let subject = text("subject").or(intended.map(|(subject, _)| *subject));
        let purpose = text("purpose").or(intended.map(|(_, purpose)| *purpose));
        (subject.map(str::to_owned), purpose)
    }
}

fn place(entry: &Entry) -> String {
    format!("ledger entry {} ({}), leaf {}", entry.index, word(entry.kind), entry.leaf)
}

/// The kind's word in the ledger.
fn word(kind: Kind) -> String {
    match serde_json::to_value(kind) {
        Ok(Value::String(word)) => word,
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests;
