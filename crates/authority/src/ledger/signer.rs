//! The key that signs a ledger's checkpoints, and the ledger's name.

use countersign_crypto::digest::sha256;
use countersign_crypto::note_key::NoteKey;

use super::checkpoint::{Checkpoint, SignedCheckpoint};
use super::merkle::Frontier;
use super::note::{Note, NoteError, SignatureType, VerifierKey};

/// Signs checkpoints of one ledger.
#[derive(Debug, Clone)]
pub struct LedgerSigner {
    key: NoteKey,
    verifier: VerifierKey,
}

impl LedgerSigner {
    /// With that key. The origin follows from the key, so that no two ledgers share one.
    #[must_use]
    pub fn new(key: NoteKey) -> Self {
        let origin = format!("countersign-ledger/{}", hex::encode(&sha256(&key.public())[..8]));
        let verifier = VerifierKey::new(&origin, SignatureType::Plain, &key);
        Self { verifier: verifier.expect("hexadecimal digits behind a fixed word"), key }
    }

    /// Under which key strangers verify.
    #[must_use]
    pub fn verifier(&self) -> &VerifierKey {
        &self.verifier
    }

    /// Signs a text that is no checkpoint: its first line is not this ledger's origin.
    pub(super) fn sign_note(&self, text: String) -> Result<Note, NoteError> {
        Note::sign(text, &self.verifier, &self.key)
    }

    /// Signs the head of this tree.
    pub(super) fn sign(&self, tree: &Frontier) -> Result<SignedCheckpoint, NoteError> {
        let origin = self.verifier.name().to_owned();
        let head = Checkpoint { origin, size: tree.size(), root: tree.root() };
        SignedCheckpoint::sign(head, &self.verifier, &self.key)
    }
}
