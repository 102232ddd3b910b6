//! Which token, as configuration names it.

use std::path::{Path, PathBuf};

use serde::Deserialize;

/// Longest token label, in bytes (PKCS#11: CK_TOKEN_INFO has 32).
const MAX_NAME: usize = 32;
/// Longest prefix, in bytes: labels behind it must still fit.
const MAX_PREFIX: usize = 32;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawToken {
    module: PathBuf,
    label: String,
    pin_file: PathBuf,
    #[serde(default)]
    prefix: String,
}

/// A token and how to log in to it.
///
/// ```
/// let config: countersign_crypto::keystore::TokenConfig = toml::from_str(r#"
///     module = "/usr/lib/softhsm/libsofthsm2.so"
///     label = "countersign"
///     pin_file = "/etc/countersign/token.pin"
/// "#)?;
/// assert_eq!(config.label(), "countersign");
/// # Ok::<(), toml::de::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "RawToken")]
pub struct TokenConfig(Checked);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Checked {
    module: PathBuf,
    label: String,
    pin_file: PathBuf,
    prefix: String,
}

impl TryFrom<RawToken> for TokenConfig {
    type Error = String;
    fn try_from(raw: RawToken) -> Result<Self, String> {
        if raw.label.is_empty() || raw.label.len() > MAX_NAME {
            return Err(format!(
                "label = {:?}: a token's label has 1 to {MAX_NAME} bytes; `pkcs11-tool -L` shows it",
                raw.label
            ));
        }
        let fits = raw.prefix.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
        if raw.prefix.len() > MAX_PREFIX || !fits {
            return Err(format!(
                "prefix = {:?}: use up to {MAX_PREFIX} of A-Z a-z 0-9 . _ -",
                raw.prefix
            ));
        }
        let RawToken { module, label, pin_file, prefix } = raw;
        Ok(Self(Checked { module, label, pin_file, prefix }))
    }
}

impl TokenConfig {
    /// Checks what a program names; the same rules as for a file.
    ///
    /// # Errors
    /// The field, and what to write instead.
    pub fn new(
        module: PathBuf,
        label: String,
        pin_file: PathBuf,
        prefix: String,
    ) -> Result<Self, String> {
        Self::try_from(RawToken { module, label, pin_file, prefix })
    }

    /// The PKCS#11 module, a shared library.
    #[must_use]
    pub fn module(&self) -> &Path {
        &self.0.module
    }

    /// The token's label, 1 to 32 bytes.
    #[must_use]
    pub fn label(&self) -> &str {
        &self.0.label
    }

    /// The file with the user's PIN on its first line; nobody but its owner may read it.
    #[must_use]
    pub fn pin_file(&self) -> &Path {
        &self.0.pin_file
    }

    /// What stands before every key's label in the token; empty when the token has one user only.
    #[must_use]
    pub fn prefix(&self) -> &str {
        &self.0.prefix
    }
}
