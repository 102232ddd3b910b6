//! Where a ledger is read from: a data folder, exported JSON Lines, or tiles. Nothing is written there.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use countersign_authority::Layout;
use countersign_authority::ledger::audit::{Audited, Fault};
use countersign_authority::ledger::checkpoint::{Checkpoint, SignedCheckpoint};
use countersign_authority::ledger::merkle::Hash;
use countersign_authority::ledger::note::{MAX_NOTE, VerifierKey};
use countersign_authority::ledger::offline::{Beside, audit_lines, audit_tiles};
use countersign_authority::ledger::{Leaf, LedgerError};

use super::quorum::read_key;
use crate::failure::{Ended, Failure, Named as _};

#[derive(Debug, clap::Args)]
pub(crate) struct SourceArgs {
    /// The authority's data folder.
    #[arg(long, required_unless_present_any = ["jsonl", "tiles"])]
    data: Option<PathBuf>,
    /// An exported ledger, JSON Lines.
    #[arg(long, conflicts_with = "data", requires_all = ["key", "checkpoint"])]
    jsonl: Option<PathBuf>,
    /// An exported ledger, a folder of tiles.
    #[arg(long, conflicts_with_all = ["data", "jsonl"], requires = "key")]
    tiles: Option<PathBuf>,
    /// The checkpoint that counts; left out: the newest one in the data folder, or the one in the tiles.
    #[arg(long)]
    checkpoint: Option<PathBuf>,
    /// The ledger's public key: a file, or the key itself; left out: the data folder's own.
    #[arg(long = "ledger-key", alias = "key", value_name = "KEY")]
    key: Option<String>,
    /// An older checkpoint, which the ledger must continue; may stand several times.
    #[arg(long, value_name = "CHECKPOINT")]
    older: Vec<PathBuf>,
}

enum Place {
    Data(PathBuf),
    Log(PathBuf),
    Tiles(PathBuf),
}

/// A ledger with the checkpoints that it must agree with.
pub(super) struct Source {
    place: Place,
    key: Option<VerifierKey>,
    /// The one that counts.
    signed: Option<SignedCheckpoint>,
    /// The last one with cosignatures.
    cosigned: Option<SignedCheckpoint>,
    older: Vec<Checkpoint>,
}

/// A ledger that holds.
pub(super) struct Reading {
    pub(super) audited: Audited,
    /// What is hashed as the leaves.
    pub(super) leaves: Vec<Vec<u8>>,
    pub(super) torn: u64,
}

impl Reading {
    pub(super) fn hashes(&self) -> Vec<Hash> {
        self.leaves.iter().map(|leaf| Hash::leaf(leaf)).collect()
    }
}

impl SourceArgs {
    pub(super) fn resolve(&self) -> Ended<Source> {
        let place = match (&self.data, &self.jsonl, &self.tiles) {
            (_, _, Some(folder)) => Place::Tiles(folder.clone()),
            (_, Some(file), None) => Place::Log(file.clone()),
            (Some(data), None, None) if data.is_dir() => Place::Data(Layout::new(data).ledger()),
            (data, None, None) => {
                let data = data.clone().unwrap_or_default();
                return Err(Failure::environment(format!(
                    "{}: no such folder: run `countersign authority ceremony --data {0}` first",
                    data.display()
                )));
            }
        };
        let key = match (&self.key, &place) {
            (Some(key), _) => Some(read_key(key)?),
            (None, Place::Data(log)) => found(Beside::new(log).key())?,
            (None, _) => None,
        };
        let mut source = Source { place, key, signed: None, cosigned: None, older: Vec::new() };
        let Some(key) = source.key.clone() else { return Ok(source) };
        if let Place::Data(log) = &source.place {
            [source.signed, source.cosigned] = found(Beside::new(log).checkpoints(&key))?;
            source.older.extend(source.signed.iter().map(|one| one.checkpoint().clone()));
        }
        let given = match (&self.checkpoint, &source.place) {
            (Some(path), _) => Some(path.clone()),
            (None, Place::Tiles(folder)) => Some(folder.join("checkpoint")),
            (None, _) => None,
        };
        if let Some(path) = given {
            let signed = checkpoint(&path, &key)?;
            source.cosigned = Some(signed.clone());
            source.signed = Some(signed);
        }
        for path in &self.older {
            source.older.push(checkpoint(path, &key)?.checkpoint().clone());
        }
        source.older.extend(source.cosigned.iter().map(|one| one.checkpoint().clone()));
        Ok(source)
    }
}

impl Source {
    pub(super) fn key(&self) -> Option<&VerifierKey> {
        self.key.as_ref()
    }

    pub(super) fn needed_key(&self) -> Ended<&VerifierKey> {
        self.key().ok_or_else(|| Failure::environment("--ledger-key: the ledger's public key is missing: add --ledger-key FILE, which `ledger export` writes"))
    }

    /// The checkpoint that counts.
    pub(super) fn newest(&self) -> Ended<&SignedCheckpoint> {
        self.signed.as_ref().ok_or_else(|| {
            Failure::environment(
                "no checkpoint was signed here yet: `countersign authority ledger checkpoint` signs one",
            )
        })
    }

    pub(super) fn cosigned(&self) -> Option<&SignedCheckpoint> {
        self.cosigned.as_ref()
    }

    /// Reads and verifies all of it.
    pub(super) fn read(&self) -> Ended<Reading> {
        self.read_against(Vec::new())
    }

    /// The same, against these verified checkpoints too.
    pub(super) fn read_against(&self, more: Vec<Checkpoint>) -> Ended<Reading> {
        let mut marks = [self.older.clone(), more].concat();
        let mut leaves = Vec::new();
        match &self.place {
            Place::Tiles(folder) => {
                let signed = self.newest()?.checkpoint().clone();
                let each = |leaf: Leaf, _| leaves.push(leaf.data());
                let audited = audit_tiles(folder, &signed, marks, each);
                let audited = audited.map_err(|fault| Failure::found(fault.to_string()))?;
                Ok(Reading { audited, leaves, torn: 0 })
            }
            Place::Log(log) | Place::Data(log) => {
                let live = matches!(self.place, Place::Data(_));
                marks.extend(self.signed.iter().map(|one| one.checkpoint().clone()));
                let audited = audit_lines(log, marks.clone(), live, |entry| {
                    leaves.push(entry.leaf_data());
                });
                let (audited, torn) = match (audited, &self.key) {
                    // Once more with every earlier checkpoint, to say where.
                    (Err(LedgerError::Fault { fault: Fault::Forked { .. }, .. }), Some(key))
                        if live =>
                    {
                        marks.extend(Beside::new(log).history(key));
                        found(audit_lines(log, marks, live, |_| ()))?
                    }
                    (audited, _) => found(audited)?,
                };
                Ok(Reading { audited, leaves, torn })
            }
        }
    }
}

/// What is wrong with a ledger is found; what is in the way of reading it is the environment's.
fn found<T>(outcome: Result<T, LedgerError>) -> Ended<T> {
    outcome.map_err(|error| {
        if error.is_finding() { Failure::found(error.to_string()) } else { error.into() }
    })
}

/// A checkpoint in a file, verified under the ledger's key.
pub(super) fn checkpoint(path: &Path, key: &VerifierKey) -> Ended<SignedCheckpoint> {
    let bytes = bounded(path, MAX_NOTE)?;
    SignedCheckpoint::verify(&bytes, key)
        .map_err(|error| Failure::found(format!("{}: {error}", path.display())))
}

/// A file of at most so many bytes.
pub(super) fn bounded(path: &Path, most: usize) -> Ended<Vec<u8>> {
    let mut bytes = Vec::new();
    let file = File::open(path).at(path)?;
    file.take(most as u64 + 1).read_to_end(&mut bytes).at(path)?;
    if bytes.len() > most {
        return Err(Failure::environment(format!(
            "{}: is larger than {most} bytes",
            path.display()
        )));
    }
    Ok(bytes)
}
