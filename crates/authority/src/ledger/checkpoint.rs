//! Checkpoints (C2SP tlog-checkpoint v1.0.0) and the cosignatures of witnesses (C2SP tlog-cosignature, `cosignature/v1`).
//!
//! ```text
//!  <origin>                 who keeps the log
//!  <size>                   how many entries
//!  <base64 root hash>
//!
//!  — <origin> …             the log's own signature
//!  — <witness> …            "as of that time, this is the largest tree that I saw, and it grew out of all before"
//! ```

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use countersign_crypto::note_key::{self, NoteKey, SIGNATURE_LEN};

use super::merkle::Hash;
use super::note::{Note, NoteError, NoteSignature, SignatureType, VerifierKey};

/// A tree head: whose, how large, which.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// Who keeps the log; never empty, one line.
    pub origin: String,
    /// How many entries.
    pub size: u64,
    /// The root over them.
    pub root: Hash,
}

impl Checkpoint {
    /// The text of its note. There are no extension lines: nobody could audit them.
    #[must_use]
    pub fn text(&self) -> String {
        format!("{}\n{}\n{}\n", self.origin, self.size, STANDARD.encode(self.root.0))
    }

    /// Reads a note's text; extension lines are allowed and not looked at.
    ///
    /// # Errors
    /// [`NoteError::Checkpoint`].
    pub fn parse(text: &str) -> Result<Self, NoteError> {
        let whole = text.strip_suffix('\n').ok_or(NoteError::Checkpoint)?;
        let mut lines = whole.split('\n');
        let (Some(origin), Some(size), Some(root)) = (lines.next(), lines.next(), lines.next())
        else {
            return Err(NoteError::Checkpoint);
        };
        let number: u64 = decimal(size).ok_or(NoteError::Checkpoint)?;
        let root = STANDARD.decode(root).map_err(|_| NoteError::Checkpoint)?;
        let root = Hash(root.try_into().map_err(|_| NoteError::Checkpoint)?);
        if origin.is_empty() || lines.any(str::is_empty) {
            return Err(NoteError::Checkpoint);
        }
        Ok(Self { origin: origin.to_owned(), size: number, root })
    }
}

/// A decimal number without leading zeros or signs.
pub(super) fn decimal(text: &str) -> Option<u64> {
    text.parse().ok().filter(|number: &u64| number.to_string() == text)
}

/// A checkpoint that its log signed: made by signing, or by verifying under the log's key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedCheckpoint {
    checkpoint: Checkpoint,
    note: Note,
}

impl SignedCheckpoint {
    /// Signs for the log.
    ///
    /// # Errors
    /// [`NoteError::Type`] for a witness's key, [`NoteError::Origin`] for another log's.
    pub fn sign(
        checkpoint: Checkpoint,
        key: &VerifierKey,
        with: &NoteKey,
    ) -> Result<Self, NoteError> {
        check_log(&checkpoint, key)?;
        let note = Note::sign(checkpoint.text(), key, with)?;
        Ok(Self { checkpoint, note })
    }

    /// Reads and verifies one.
    ///
    /// # Errors
    /// [`NoteError`]: not a checkpoint, another log's, or not signed by this key.
    //= specs/house.md#house-ledger
    //# A checkpoint MUST NOT be believed before its log's signature was verified.
    pub fn verify(bytes: &[u8], key: &VerifierKey) -> Result<Self, NoteError> {
        let note = Note::parse(bytes)?;
        let checkpoint = Checkpoint::parse(note.text())?;
        check_log(&checkpoint, key)?;
        if !note.signed_by(key)? {
            return Err(NoteError::Unsigned(key.name().to_owned()));
        }
        Ok(Self { checkpoint, note })
    }

    /// The tree head.
    #[must_use]
    pub fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// As it is stored and sent.
    #[must_use]
    pub fn note(&self) -> &Note {
        &self.note
    }

    /// Cosigns it. Only whoever knows that the tree grew out of every earlier one may: see
    /// [`super::witness::Witnessed`].
    pub(super) fn cosign(
        &mut self,
        key: &VerifierKey,
        with: &NoteKey,
        seconds: u64,
    ) -> Result<(), NoteError> {
        if key.kind() != SignatureType::Cosignature {
            return Err(NoteError::Type(0x01));
        }
        let signature = with.sign(&cosigned(seconds, self.note.text()));
        let bytes = [seconds.to_be_bytes().as_slice(), &signature].concat();
        self.note.add(NoteSignature::by(key, bytes));
        Ok(())
    }

    /// When this witness last cosigned it, in seconds since 1970; `None` if it did not.
    ///
    /// # Errors
    /// [`NoteError::Invalid`] for a line in its name that is not its own.
    pub fn cosigned_by(&self, witness: &VerifierKey) -> Result<Option<u64>, NoteError> {
        let mut at = None;
        for line in self.note.signatures().iter().filter(|line| line.claims(witness)) {
            if witness.kind() != SignatureType::Cosignature {
                return Err(NoteError::Type(0x01));
            }
            let invalid = || NoteError::Invalid(witness.name().to_owned());
            let (time, signature) = line.bytes().split_first_chunk::<8>().ok_or_else(invalid)?;
            let seconds = u64::from_be_bytes(*time);
            let whole = signature.len() == SIGNATURE_LEN && i64::try_from(seconds).is_ok();
            let message = cosigned(seconds, self.note.text());
            if !whole || note_key::verify(witness.public(), &message, signature).is_err() {
                return Err(invalid());
            }
            at = at.max(Some(seconds));
        }
        Ok(at)
    }

    /// Takes over the cosignatures of these witnesses from another copy of the same checkpoint; how many of them it has.
    ///
    /// # Errors
    /// [`NoteError::Origin`] when it is another checkpoint, [`NoteError::Invalid`] for a forged cosignature.
    pub fn take_cosignatures(
        &mut self,
        from: &Self,
        witnesses: &[VerifierKey],
    ) -> Result<usize, NoteError> {
        if from.note.text() != self.note.text() {
            return Err(NoteError::Checkpoint);
        }
        let mut taken = 0;
        for witness in witnesses {
            if from.cosigned_by(witness)?.is_some() {
                taken += 1;
                for line in from.note.signatures().iter().filter(|line| line.claims(witness)) {
                    self.note.add(line.clone());
                }
            }
        }
        Ok(taken)
    }
}

/// The message of a `cosignature/v1`.
fn cosigned(seconds: u64, text: &str) -> Vec<u8> {
    format!("cosignature/v1\ntime {seconds}\n{text}").into_bytes()
}

/// The log's key name is its origin, and it signs as a log.
fn check_log(checkpoint: &Checkpoint, key: &VerifierKey) -> Result<(), NoteError> {
    if key.kind() != SignatureType::Plain {
        return Err(NoteError::Type(0x04));
    }
    if checkpoint.origin != key.name() {
        let (found, expected) = (checkpoint.origin.clone(), key.name().to_owned());
        return Err(NoteError::Origin { found, expected });
    }
    Ok(())
}

/// How many of these witnesses cosigned; a quorum is a policy over it.
///
/// # Errors
/// [`NoteError::Invalid`] for a forged cosignature.
//= specs/house.md#house-ledger
//# A witness MUST count once, however many of its cosignatures a checkpoint carries.
pub fn cosigners<'a>(
    checkpoint: &SignedCheckpoint,
    witnesses: &'a [VerifierKey],
) -> Result<Vec<(&'a VerifierKey, u64)>, NoteError> {
    let mut found: Vec<(&VerifierKey, u64)> = Vec::new();
    for witness in witnesses {
        let known = found.iter().any(|(one, _)| one.public() == witness.public());
        if !known && let Some(at) = checkpoint.cosigned_by(witness)? {
            found.push((witness, at));
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests;
