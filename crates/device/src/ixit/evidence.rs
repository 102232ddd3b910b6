//! What the device sees of itself: evidence for the processes of table 14, looked at when it declares itself.
//!
//! A check that does not hold yields nothing: the declaration then has no evidence there, and no verdict comes of it.

use super::Facts;
use crate::data::Record;
use countersign_crypto::keystore::Keystore;
use countersign_crypto::seal::SealKey;
use countersign_model::ixit::{RowId, SecMgmt};
use countersign_model::processes::{self, Check, Evidence, Process, Rule};
use countersign_model::time::Timestamp;
use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// Permission bits of everybody but the owner.
const OTHERS: u32 = 0o077;

/// What was seen, by check: where, and when that was written.
#[derive(Debug, Clone, Default)]
pub(super) struct Seen {
    checks: BTreeMap<Check, (String, Timestamp)>,
    /// The newest entry of the device's record, by its word.
    history: BTreeMap<&'static str, (String, Timestamp)>,
}

/// Looks at the data folder; `factory` and `record` were just opened with `seal` from it.
pub(super) fn look(root: &Path, record: &Record, seal: &SealKey) -> Seen {
    let mut seen = BTreeMap::new();
    let mut note = |check, found: Option<(String, Timestamp)>| {
        if let Some(found) = found {
            seen.insert(check, found);
        }
    };
    let state = root.join("state.sealed");
    let home_key = root.join("home.key");
    let sound = !home_key.exists() || private(&home_key).is_some();
    note(Check::SealKey, private(&root.join("seal.key")).filter(|_| sound));
    let alone = !root.join("home.key.next").exists();
    note(Check::OwnershipKey, private(&home_key).filter(|_| alone));
    note(Check::FactoryFile, factory_file(&root.join("factory")));
    note(Check::StateFile, private(&state));
    let keys = root.join("keys");
    // Opening makes a folder that is missing; a declaration only reads.
    let held = keys.is_dir().then(|| Keystore::open(&keys, seal.clone()).ok()).flatten();
    let labels = held.as_ref().and_then(|held| held.list().ok());
    if let (Some(held), Some(labels)) = (held, labels) {
        note(Check::Keystore, keystore(&keys, &held, record));
        note(Check::FormerKeysGone, former_keys_gone(&state, &labels, record));
    }
    let installed = record.home.as_ref().is_some_and(|home| home.network.is_some());
    note(Check::NetworkInstalled, private(&state).filter(|_| installed));
    let history = record.journal.entries().map(|entry| {
        let place = format!("record of changes, entry {}", entry.number());
        (entry.note().what().as_str(), (place, entry.at()))
    });
    Seen { checks: seen, history: history.collect() }
}

impl Seen {
    /// The records of `process` that the device can speak for.
    fn records(&self, process: &Process) -> Vec<processes::Record> {
        let rules = process
            .phase
            .iter()
            .flat_map(|(phase, what)| what.record.iter().map(move |rule| (*phase, rule)));
        rules
            .filter_map(|(phase, rule)| match rule {
                Rule::Device { check, shows } => Some((phase, self.checks.get(check)?, shows)),
                Rule::History { what, shows } => {
                    Some((phase, self.history.get(what.as_str())?, shows))
                }
                Rule::Ledger { .. } => None,
            })
            .map(|(phase, (place, at), shows)| {
                let (place, shows) = (format!("device, {place}"), shows.clone());
                processes::Record { phase, place, shows, at: *at }
            })
            .collect()
    }
}

/// The rows of table 14 that the built-in processes give, with the device's own records and those of `ledger`.
pub(super) fn rows(facts: &Facts, ledger: &[Evidence]) -> Vec<(RowId, SecMgmt)> {
    processes::built_in()
        .iter()
        .map(|process| {
            let mut records = facts.seen.records(process);
            let about = ledger.iter().filter(|evidence| evidence.parameter == process.parameter);
            records.extend(about.flat_map(|evidence| evidence.records.iter().cloned()));
            (process.parameter.clone(), process.row(&records))
        })
        .collect()
}

/// The file, if it is there and only its owner may touch it.
fn private(path: &Path) -> Option<(String, Timestamp)> {
    let metadata = std::fs::metadata(path).ok()?;
    if metadata.mode() & OTHERS != 0 {
        return None;
    }
    let written = metadata.modified().ok()?.duration_since(std::time::UNIX_EPOCH).ok()?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let at = Timestamp(u64::try_from(written.as_millis()).ok()?);
    Some((format!("{name} (mode {:04o})", metadata.mode() & 0o7777), at))
}

/// What the factory sealed is the owner's alone; the newest file stands for all.
fn factory_file(folder: &Path) -> Option<(String, Timestamp)> {
    let sealed = [folder.join("pairing.sealed"), folder.join("keys").join("idevid.key")];
    newest(&sealed)
}

fn keystore(folder: &Path, held: &Keystore, record: &Record) -> Option<(String, Timestamp)> {
    let labels = record.labels();
    let opens = |label: &&str| matches!(held.load(label), Ok(Some(_)));
    if labels.is_empty() || !labels.iter().all(opens) {
        return None;
    }
    let files: Vec<_> = labels.iter().map(|label| folder.join(format!("{label}.key"))).collect();
    newest(&files)
}

fn former_keys_gone(
    state: &Path,
    labels: &[String],
    record: &Record,
) -> Option<(String, Timestamp)> {
    let in_use = record.labels();
    let made = record.next_label.saturating_sub(1);
    if made <= in_use.len() as u64 || !labels.iter().all(|label| in_use.contains(&label.as_str())) {
        return None;
    }
    let (_, at) = private(state)?;
    Some((format!("keystore: {made} keys were made, {} are left", labels.len()), at))
}

fn newest(files: &[PathBuf]) -> Option<(String, Timestamp)> {
    let all: Option<Vec<_>> = files.iter().map(|file| private(file)).collect();
    let all = all?;
    let at = all.iter().map(|(_, at)| *at).max()?;
    let names = all.into_iter().map(|(name, _)| name).collect::<Vec<_>>().join(", ");
    Some((names, at))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
