//! What a ceremony made, for people, for the ledger, and for strangers: a text under the authority's signature.
//!
//! ```text
//!  transcript.txt ── C2SP signed-note by the ledger's key;  SHA-256 of the file ── an entry of the ledger
//! ```
//! The text follows from the transcript in the ledger, and the signature is deterministic: a file that was lost is
//! written again, byte for byte.

use countersign_model::time::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::ledger::note::{Note, NoteError, VerifierKey};

/// First line of the text.
const FORM: &str = "countersign ceremony transcript 1";

/// One thing that the ceremony made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Made {
    /// The step that made it.
    pub step: String,
    /// When it was recorded; not in transcripts of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Timestamp>,
    /// The particulars: names, serials, hashes. No secret.
    pub what: Value,
}

/// What a finished ceremony made, for people and for the ledger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Transcript {
    /// SHA-256 of the plan, hexadecimal.
    pub plan_sha256: String,
    /// When it was finished.
    pub finished_at: Timestamp,
    /// What was made, in order.
    pub made: Vec<Made>,
    /// Which program, in which version, on which cryptographic provider.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub software: String,
    /// Who holds the root, in words.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub custody: String,
    /// Each custodian's name and the SHA-256 of their key, hexadecimal.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub custodians: Vec<(String, String)>,
}

impl Transcript {
    /// The program that holds this ceremony.
    pub(super) fn this_software() -> String {
        let (provider, version) = countersign_crypto::BACKEND;
        format!("countersign {}, {provider} {version}", env!("CARGO_PKG_VERSION"))
    }

    /// The text that is signed.
    pub(super) fn text(&self) -> String {
        format!("{FORM}\n{self}")
    }
}

impl std::fmt::Display for Transcript {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "Ceremony finished {}", self.finished_at.to_rfc3339())?;
        writeln!(f, "  plan, digest             {}", self.plan_sha256)?;
        for (name, value) in
            [("software", &self.software), ("custodians of the root", &self.custody)]
        {
            if !value.is_empty() {
                writeln!(f, "  {name:24} {value}")?;
            }
        }
        for (name, key) in &self.custodians {
            writeln!(f, "    {name:22} key {key}")?;
        }
        for made in &self.made {
            let at = made.at.map(Timestamp::to_rfc3339).unwrap_or_default();
            writeln!(f, "  {at:24} {:24} {}", made.step, made.what)?;
        }
        Ok(())
    }
}

/// Verifies a transcript's file under the ledger's key and returns its text.
///
/// # Errors
/// [`NoteError`]: not a transcript, or not signed by that key.
//= specs/house.md#house-custody
//# A stranger with the ledger's public key MUST be able to verify a ceremony's transcript.
pub fn verify_transcript(bytes: &[u8], key: &VerifierKey) -> Result<String, NoteError> {
    let note = Note::parse(bytes)?;
    if !note.signed_by(key)? {
        return Err(NoteError::Unsigned(key.name().to_owned()));
    }
    let text = note.text().strip_prefix(FORM).and_then(|rest| rest.strip_prefix('\n'));
    text.map(str::to_owned).ok_or(NoteError::Form)
}
