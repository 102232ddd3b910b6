//! What a witness decides, without files: it cosigns a checkpoint only when that grew out of the last one it saw.
//!
//! The request is that of C2SP tlog-witness, `add-checkpoint`: the old size, a consistency proof, a checkpoint.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use countersign_crypto::note_key::NoteKey;

use super::checkpoint::{Checkpoint, SignedCheckpoint, decimal};
use super::merkle::{Hash, InvalidProof, MAX_PROOF, consistency_proof, verify_consistency};
use super::note::{MAX_NOTE, NoteError, VerifierKey};

/// The largest request, in bytes: a checkpoint, and [`MAX_PROOF`] lines of 45 bytes.
pub const MAX_REQUEST: usize = MAX_NOTE + 4096;

/// A consistency proof from an old size to the checkpoint that it carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Growth {
    /// The old tree's size; 0 for a log that the witness does not know yet.
    pub old: u64,
    /// From the old tree to the new one.
    pub proof: Vec<Hash>,
    /// The new checkpoint, as it came: not verified yet.
    pub checkpoint: String,
}

impl Growth {
    /// The proof that the tree of the first `old` leaves is the beginning of the tree of `signed`.
    ///
    /// # Errors
    /// [`InvalidProof::Order`].
    pub fn make(
        leaves: &[Hash],
        old: u64,
        signed: &SignedCheckpoint,
    ) -> Result<Self, InvalidProof> {
        let covered = usize::try_from(signed.checkpoint().size).unwrap_or(usize::MAX);
        let proof = consistency_proof(&leaves[..covered.min(leaves.len())], old)?;
        Ok(Self { old, proof, checkpoint: signed.note().to_string() })
    }

    /// Reads a request; a bare checkpoint is one from 0.
    ///
    /// # Errors
    /// [`NoteError::Form`].
    pub fn parse(bytes: &[u8]) -> Result<Self, NoteError> {
        let text = std::str::from_utf8(bytes).map_err(|_| NoteError::Form)?;
        if text.len() > MAX_REQUEST {
            return Err(NoteError::Form);
        }
        let Some(rest) = text.strip_prefix("old ") else {
            return Ok(Self { old: 0, proof: Vec::new(), checkpoint: text.to_owned() });
        };
        let (head, checkpoint) = rest.split_once("\n\n").ok_or(NoteError::Form)?;
        let mut lines = head.split('\n');
        let old = lines.next().and_then(decimal).ok_or(NoteError::Form)?;
        let proof = hashes(lines)?;
        Ok(Self { old, proof, checkpoint: checkpoint.to_owned() })
    }

    /// The new checkpoint under its log's key, when the proof shows that it grew out of `before`.
    ///
    /// # Errors
    /// [`GrowthError`] says why not.
    pub fn verify(
        &self,
        before: Option<&Checkpoint>,
        log: &VerifierKey,
    ) -> Result<Grown, GrowthError> {
        let new = SignedCheckpoint::verify(self.checkpoint.as_bytes(), log)?;
        let (size, root) = before.map_or((0, Hash::empty()), |one| (one.size, one.root));
        let head = new.checkpoint();
        if size > head.size {
            return Err(GrowthError::Smaller { last: size, offered: head.size });
        }
        // The very same checkpoint again needs no proof.
        let same = size == head.size && self.proof.is_empty();
        if self.old != size && !same {
            return Err(GrowthError::Old { last: size, offered: self.old });
        }
        verify_consistency(size, root, head.size, head.root, &self.proof)
            .map_err(|why| GrowthError::Fork { last: size, offered: head.size, why })?;
        if head.size == 0 && head.root != Hash::empty() {
            return Err(GrowthError::Note(NoteError::Checkpoint));
        }
        Ok(Grown { checkpoint: new })
    }
}

impl std::fmt::Display for Growth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "old {}", self.old)?;
        write_hashes(f, &self.proof)?;
        write!(f, "\n{}", self.checkpoint)
    }
}

pub(super) fn write_hashes(out: &mut impl std::fmt::Write, hashes: &[Hash]) -> std::fmt::Result {
    hashes.iter().try_for_each(|hash| writeln!(out, "{}", STANDARD.encode(hash.0)))
}

pub(super) fn hashes<'a>(lines: impl Iterator<Item = &'a str>) -> Result<Vec<Hash>, NoteError> {
    let mut proof = Vec::new();
    for line in lines {
        let bytes = STANDARD.decode(line).map_err(|_| NoteError::Form)?;
        proof.push(Hash(bytes.try_into().map_err(|_| NoteError::Form)?));
        if proof.len() > MAX_PROOF {
            return Err(NoteError::Form);
        }
    }
    Ok(proof)
}

/// A checkpoint that grew out of the one before. Only [`Growth::verify`] makes one, and only it can be cosigned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grown {
    checkpoint: SignedCheckpoint,
}

impl Grown {
    /// The checkpoint.
    #[must_use]
    pub fn checkpoint(&self) -> &SignedCheckpoint {
        &self.checkpoint
    }

    /// Cosigns it, `seconds` after 1970. What was cosigned must be on disk before it is handed out.
    ///
    /// # Errors
    /// [`NoteError::Type`] for a key that does not cosign.
    //= specs/house.md#house-ledger
    //# A witness MUST NOT cosign a checkpoint that did not grow out of the last one it saw.
    pub fn cosign(
        mut self,
        key: &VerifierKey,
        with: &NoteKey,
        seconds: u64,
    ) -> Result<SignedCheckpoint, NoteError> {
        self.checkpoint.cosign(key, with, seconds)?;
        Ok(self.checkpoint)
    }
}

/// Why a checkpoint is not cosigned, or not believed to continue another.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GrowthError {
    /// Not a checkpoint of that log.
    #[error("the new checkpoint {0}")]
    Note(#[from] NoteError),
    /// An older one than the last.
    #[error(
        "the checkpoint has {offered} entries, and one of {last} was seen before: entries were taken away, or this is an old copy"
    )]
    Smaller {
        /// The last size seen.
        last: u64,
        /// The size offered.
        offered: u64,
    },
    /// A proof that begins elsewhere.
    #[error(
        "the proof begins at {offered} entries, and the last checkpoint seen has {last}: make it with `ledger prove --consistency {last}`"
    )]
    Old {
        /// The last size seen.
        last: u64,
        /// Where the proof begins.
        offered: u64,
    },
    /// The new tree is not a continuation of the old one, or the proof is not its proof.
    #[error(
        "the tree of {offered} entries does not continue the tree of {last} that was seen before ({why}): history was rewritten, or the proof is wrong"
    )]
    Fork {
        /// The last size seen.
        last: u64,
        /// The size offered.
        offered: u64,
        /// What the proof lacks.
        why: InvalidProof,
    },
}

/// What a witness keeps of each log: the last checkpoint that it cosigned.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Seen {
    /// By origin: the signed note.
    pub logs: std::collections::BTreeMap<String, String>,
}

impl Seen {
    /// The last checkpoint of this log, if one was seen.
    ///
    /// # Errors
    /// [`NoteError`] when what is kept is not a checkpoint of it.
    pub fn last(&self, log: &VerifierKey) -> Result<Option<Checkpoint>, NoteError> {
        let kept = self.logs.get(log.name());
        let verified = kept.map(|note| SignedCheckpoint::verify(note.as_bytes(), log));
        Ok(verified.transpose()?.map(|signed| signed.checkpoint().clone()))
    }

    /// Keeps this one as the last.
    pub fn remember(&mut self, grown: &Grown) {
        let signed = &grown.checkpoint;
        let mut text = String::new();
        if write!(text, "{}", signed.note()).is_ok() {
            self.logs.insert(signed.checkpoint().origin.clone(), text);
        }
    }
}

#[cfg(test)]
mod tests;
