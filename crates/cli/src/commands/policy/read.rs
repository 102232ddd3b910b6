//! A policy from a file: TOML, or signed.

use std::path::{Path, PathBuf};

use countersign_crypto::certificate::certificates_from_pem;
use countersign_crypto::policy::{self, Policy};

use crate::failure::{Ended, Named as _};

/// A policy, and the key that it verified under if it is a signed one.
pub(crate) struct Read {
    pub(crate) policy: Policy,
    pub(crate) verified_with: Option<PathBuf>,
}

/// Reads `path`. A signed policy is believed only under the policy key: `key`, or `policy-key.spki` beside the file.
pub(crate) fn read(path: &Path, key: Option<&Path>) -> Ended<Read> {
    let bytes = std::fs::read(path).at(path)?;
    if let Ok(text) = std::str::from_utf8(&bytes) {
        return Ok(Read { policy: Policy::from_toml(text).at(path)?, verified_with: None });
    }
    let default_key = path.with_file_name("policy-key.spki");
    let key = key.unwrap_or(&default_key);
    let key_bytes = std::fs::read(key).named(format_args!(
        "{}: a signed policy is read only when it verifies: name the policy key with --key",
        key.display()
    ))?;
    let spki = match certificates_from_pem(&key_bytes) {
        Ok(certificates) => certificates[0].spki_der(),
        Err(_) => key_bytes,
    };
    let policy = policy::verify(&bytes, &spki).at(path)?;
    Ok(Read { policy, verified_with: Some(key.to_owned()) })
}
