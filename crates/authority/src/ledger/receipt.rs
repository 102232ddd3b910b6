//! The proof that an entry is in the ledger, for a stranger (C2SP tlog-proof, `c2sp.org/tlog-proof@v1`).
//!
//! ```text
//!  c2sp.org/tlog-proof@v1
//!  extra <base64 of the entry: what is hashed as the leaf>
//!  index <number>
//!  <base64 hash>            from the leaf's sibling to the root's child
//!
//!  <checkpoint>
//! ```

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::checkpoint::{SignedCheckpoint, decimal};
use super::entry::{Entry, Leaf, MAX_LINE};
use super::merkle::{Hash, InvalidProof, inclusion_proof, verify_inclusion};
use super::note::{MAX_NOTE, NoteError, VerifierKey};
use super::witness::{hashes, write_hashes};

const HEADER: &str = "c2sp.org/tlog-proof@v1";
/// The largest proof, in bytes: an entry in base64, 63 hashes, a checkpoint.
pub const MAX_RECEIPT: usize = 2 * MAX_LINE + 4096 + MAX_NOTE;

/// A proof as it travels; nobody's word until it is verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// The entry: what is hashed as the leaf.
    pub leaf: Vec<u8>,
    /// Its number, from 0.
    pub index: u64,
    /// From the leaf's sibling up.
    pub proof: Vec<Hash>,
    /// The checkpoint, as it was signed.
    pub checkpoint: String,
}

impl Receipt {
    /// The proof that entry `index` of these, as they are hashed, is in the tree of `signed`.
    ///
    /// # Errors
    /// [`InvalidProof::Index`].
    pub fn make(
        entries: &[Vec<u8>],
        index: u64,
        signed: &SignedCheckpoint,
    ) -> Result<Self, InvalidProof> {
        let size = signed.checkpoint().size;
        let covered = usize::try_from(size).unwrap_or(usize::MAX).min(entries.len());
        let leaves: Vec<Hash> = entries[..covered].iter().map(|entry| Hash::leaf(entry)).collect();
        let proof = inclusion_proof(&leaves, index)?;
        let place = usize::try_from(index).ok().and_then(|place| entries.get(place));
        let leaf = place.ok_or(InvalidProof::Index { index, size })?.clone();
        Ok(Self { leaf, index, proof, checkpoint: signed.note().to_string() })
    }

    /// Reads one.
    ///
    /// # Errors
    /// [`NoteError::Form`].
    pub fn parse(bytes: &[u8]) -> Result<Self, NoteError> {
        let text = std::str::from_utf8(bytes).map_err(|_| NoteError::Form)?;
        if text.len() > MAX_RECEIPT {
            return Err(NoteError::Form);
        }
        let (head, checkpoint) = text.split_once("\n\n").ok_or(NoteError::Form)?;
        let mut lines = head.split('\n');
        let mut field = |name: &str| lines.next().and_then(|line| line.strip_prefix(name));
        field(HEADER).filter(|rest| rest.is_empty()).ok_or(NoteError::Form)?;
        let leaf = field("extra ").and_then(|leaf| STANDARD.decode(leaf).ok());
        let index = field("index ").and_then(decimal).ok_or(NoteError::Form)?;
        let leaf = leaf.ok_or(NoteError::Form)?;
        let proof = hashes(lines)?;
        Ok(Self { leaf, index, proof, checkpoint: checkpoint.to_owned() })
    }

    /// What the entry says, when it is in the tree of the checkpoint. `held` is a checkpoint that the verifier has
    /// already: the proof is then against that one and not against the one that it brings along.
    ///
    /// # Errors
    /// [`ReceiptError`].
    //= specs/house.md#house-ledger
    //# A stranger who holds a checkpoint and the ledger's public key MUST be able to verify a proof without the ledger.
    pub fn verify(
        &self,
        held: Option<&SignedCheckpoint>,
        log: &VerifierKey,
    ) -> Result<Proven, ReceiptError> {
        let checkpoint = match held {
            Some(held) => held.clone(),
            None => SignedCheckpoint::verify(self.checkpoint.as_bytes(), log)?,
        };
        let head = checkpoint.checkpoint();
        let leaf = Entry::of_leaf_data(&self.leaf, self.index).map_err(ReceiptError::Entry)?;
        verify_inclusion(Hash::leaf(&self.leaf), self.index, head.size, &self.proof, head.root)
            .map_err(|why| ReceiptError::Proof { index: self.index, size: head.size, why })?;
        Ok(Proven { leaf, checkpoint })
    }
}

impl std::fmt::Display for Receipt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "{HEADER}\nextra {}\nindex {}", STANDARD.encode(&self.leaf), self.index)?;
        write_hashes(f, &self.proof)?;
        f.write_char('\n')?;
        f.write_str(&self.checkpoint)
    }
}

/// An entry that is in the ledger. Only [`Receipt::verify`] makes one.
#[derive(Debug, Clone, PartialEq)]
pub struct Proven {
    leaf: Leaf,
    checkpoint: SignedCheckpoint,
}

impl Proven {
    /// What it says.
    #[must_use]
    pub fn entry(&self) -> &Leaf {
        &self.leaf
    }

    /// The checkpoint that it was proven against.
    #[must_use]
    pub fn checkpoint(&self) -> &SignedCheckpoint {
        &self.checkpoint
    }
}

/// Why a proof proves nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReceiptError {
    /// The checkpoint in it.
    #[error("the checkpoint in the proof {0}")]
    Note(#[from] NoteError),
    /// The entry in it.
    #[error("the entry in the proof {0}")]
    Entry(&'static str),
    /// The hashes.
    #[error(
        "entry {index} is not proven to be in the tree of {size} entries: {why}; a proof fits the one checkpoint it was made for (`ledger prove --entry {index} --checkpoint FILE`)"
    )]
    Proof {
        /// Which entry.
        index: u64,
        /// Which tree.
        size: u64,
        /// What is wrong.
        why: InvalidProof,
    },
}

#[cfg(test)]
mod tests;
