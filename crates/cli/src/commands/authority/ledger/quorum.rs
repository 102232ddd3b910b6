//! Public keys on the command line, and how many witnesses a verifier asks for.

use std::path::Path;

use countersign_authority::ledger::checkpoint::{SignedCheckpoint, cosigners};
use countersign_authority::ledger::note::VerifierKey;
use serde_json::{Value, json};

use super::source;
use crate::failure::{Ended, Failure, Named as _};

/// How many witnesses must have cosigned.
#[derive(Debug, clap::Args)]
pub(crate) struct QuorumArgs {
    /// A witness's public key: a file, or the key itself; may stand several times.
    #[arg(long = "witness", value_name = "KEY")]
    witnesses: Vec<String>,
    /// How many of these witnesses must have cosigned; left out: all of them.
    #[arg(long, requires = "witnesses")]
    quorum: Option<usize>,
}

impl QuorumArgs {
    /// Who cosigned, if they are enough.
    //= specs/house.md#house-ledger
    //# A checkpoint with fewer cosignatures than the verifier's quorum MUST NOT be accepted.
    pub(super) fn check(&self, checkpoint: Option<&SignedCheckpoint>) -> Ended<Value> {
        let witnesses = keys(&self.witnesses)?;
        let needed = self.quorum.unwrap_or(witnesses.len());
        if needed > witnesses.len() {
            return Err(Failure::environment(format!(
                "--quorum {needed}: only {} --witness stand here",
                witnesses.len()
            )));
        }
        let found = match checkpoint {
            Some(checkpoint) => cosigners(checkpoint, &witnesses)
                .map_err(|error| Failure::found(format!("the checkpoint {error}")))?,
            None => Vec::new(),
        };
        if found.len() < needed {
            return Err(Failure::found(format!(
                "{} of {} witnesses cosigned, and {needed} are needed",
                found.len(),
                witnesses.len()
            )));
        }
        let list = found.iter().map(|(key, at)| json!({"witness": key.name(), "at_seconds": at}));
        Ok(list.collect())
    }
}

/// A public key that stands on the command line, or in a file that is named there.
pub(crate) fn read_key(text: &str) -> Ended<VerifierKey> {
    match text.parse() {
        Ok(key) => Ok(key),
        Err(_) => {
            let path = Path::new(text);
            let read = source::bounded(path, 4096)?;
            String::from_utf8_lossy(&read).trim_end().parse().at(path)
        }
    }
}

pub(super) fn keys(texts: &[String]) -> Ended<Vec<VerifierKey>> {
    texts.iter().map(|text| read_key(text)).collect()
}
