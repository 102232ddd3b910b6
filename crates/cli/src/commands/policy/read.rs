//! A policy from a file: TOML, or signed.

use std::path::Path;

use countersign_crypto::certificate::certificates_from_pem;
use countersign_crypto::cose::CoseError;
use countersign_crypto::policy::{Policy, PolicyKeyId, SignedPolicyError, VerifiedPolicy};

use crate::failure::{Ended, Named as _};

/// The public half of the key of second signatures, beside the policy key.
const SECOND_KEY: &str = "policy-key-second.spki";

/// A policy, and which keys it verified under if it is a signed one.
pub(crate) struct Read {
    pub(crate) policy: Policy,
    pub(crate) verified_with: Option<String>,
}

/// Reads `path`. A signed policy is believed only under the policy key: `key`, or `policy-key.spki` beside the file; a second
/// signature under the key that lies beside that one.
pub(crate) fn read(path: &Path, key: Option<&Path>) -> Ended<Read> {
    let bytes = std::fs::read(path).at(path)?;
    if let Ok(text) = std::str::from_utf8(&bytes) {
        return Ok(Read { policy: Policy::from_toml(text).at(path)?, verified_with: None });
    }
    let default_key = path.with_file_name("policy-key.spki");
    verified(path, &bytes, key.unwrap_or(&default_key))
}

/// A signed policy under the key in the file `key`.
pub(super) fn verified(path: &Path, document: &[u8], key: &Path) -> Ended<Read> {
    let bytes = std::fs::read(key).named(format_args!(
        "{}: a signed policy is read only when it verifies: name the policy key with --key",
        key.display()
    ))?;
    let spki = match certificates_from_pem(&bytes) {
        Ok(certificates) => certificates[0].spki_der(),
        Err(_) => bytes,
    };
    let verified = VerifiedPolicy::verify(document, &spki).at(path)?;
    let signer = verified.way().last().map_or(spki.as_slice(), |step| &step.spki_der);
    let mut with = format!("{}, policy key {}", key.display(), PolicyKeyId::of(signer));
    if !verified.way().is_empty() {
        with += &format!(", which follows that in {} steps", verified.way().len());
    }
    if let Some(second) = verified.second_spki_der() {
        let beside = key.with_file_name(SECOND_KEY);
        with += &match std::fs::read(&beside) {
            Ok(known) if known != second => {
                return Err(SignedPolicyError::Cose(CoseError::SecondKey)).at(path);
            }
            Ok(_) => format!(", the second signature with {}", beside.display()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => format!(
                ", the second signature with the key that it bears itself: there is no {}",
                beside.display()
            ),
            Err(error) => return Err(error).at(&beside),
        };
    }
    Ok(Read { policy: verified.into_policy(), verified_with: Some(with) })
}
