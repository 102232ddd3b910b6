//! The crypto policy: what is allowed, preferred, and until when, per use.
//!
//! ```text
//! TOML ──parse──► Policy ──compile──► CompiledPolicy      TLS is configured from this and from nothing else
//!                    │                    ▲
//!                    └──sign──► COSE ──verify──┘          a signed policy with a higher version replaces it
//! ```
//!
//! No algorithm is a constant in the product outside the provider: each is a name in a policy.
//!
//! ```
//! use countersign_crypto::policy::{CompiledPolicy, Policy, Use};
//! let policy = Policy::built_in();
//! let today = "2026-11-25".parse()?;
//! let compiled = CompiledPolicy::compile(policy, today).expect("the built-in policy compiles");
//! assert!(!compiled.rules(Use::Pairing).groups().is_empty());
//! # Ok::<(), String>(())
//! ```

mod compile;
mod error;
mod item;
mod judge;
pub mod keys;
mod lifetime;
mod lines;
mod names;
mod resolve;
mod several;
mod signed;
mod verified;

use countersign_model::registry::Profile;
use countersign_model::time::Day;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

use lines::Lines;

pub use compile::{CompiledPolicy, TlsRules};
pub use error::CompileError;
pub use item::Item;
pub use judge::{Judged, judge};
pub use keys::{KeyChangeError, KeyStep, MAX_KEY_CHANGES, PolicyKeyId};
pub use lifetime::{Finding, Lifetime, Question, lifetime};
pub use names::{ChannelNames, NotAllowed};
pub use signed::{POLICY_CONTENT_TYPE, SignedPolicyError, sign, sign_document, verify};
pub use verified::{InvalidDigest, PolicyDigest, VerifiedPolicy};

/// The policy that this build carries, with comments.
pub const DEFAULT_TOML: &str = include_str!("default.toml");

/// Largest policy text, in bytes.
pub const MAX_POLICY: usize = 128 * 1024;

/// Where TLS is used, as named in a policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Use {
    /// Devices and services at the gateway.
    DeviceUplink,
    /// A device's HTTPS interface in the home.
    LocalApi,
    /// A device's pairing interface.
    Pairing,
    /// Enrolment.
    Est,
    /// The authority's administration.
    Service,
}

impl Use {
    /// Every use.
    pub const ALL: [Self; 5] =
        [Self::DeviceUplink, Self::LocalApi, Self::Pairing, Self::Est, Self::Service];

    /// The word in policies.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::DeviceUplink => "device-uplink",
            Self::LocalApi => "local-api",
            Self::Pairing => "pairing",
            Self::Est => "est",
            Self::Service => "service",
        }
    }
}

/// Whether a connection without ALPN (RFC 7301) is admitted. A wrong protocol name never is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Alpn {
    /// Every client must offer it.
    Required,
    /// Clients that offer nothing are admitted.
    IfOffered,
}

/// One use's TLS, by registered names, most preferred first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsUse {
    /// `TLS 1.3`.
    pub versions: Vec<Item>,
    /// Key agreement (IANA "TLS Supported Groups").
    pub groups: Vec<Item>,
    /// Cipher suites (IANA "TLS Cipher Suites").
    pub suites: Vec<Item>,
    /// Signatures in handshakes and certificates (IANA "TLS SignatureScheme").
    pub signatures: Vec<Item>,
    /// Whether ALPN must be offered.
    pub alpn: Alpn,
    /// Session tickets after each handshake, 0 to 4.
    pub tickets: u8,
}

/// Signatures over documents.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DocumentSigning {
    /// By scheme name; the first makes new signatures.
    pub signatures: Vec<Item>,
    /// A second signature that is needed beside the first, by an algorithm of another family; none when empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub second: Vec<Item>,
}

/// Encryption of files at rest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Storage {
    /// By AEAD name (IANA "AEAD Algorithms"); the first seals what is new.
    pub aead: Vec<Item>,
}

/// A policy as somebody wrote it. It binds nobody until it is compiled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Policy {
    /// Grows with every policy; a lower or equal one is never accepted. From 1.
    pub version: u64,
    /// Whose devices it is for: the organisation of the ceremony plan. Needed before it can be signed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub maker: Option<String>,
    /// The last day on which it may be used.
    pub expires: Day,
    /// The catalogues that it is judged by.
    #[serde(default)]
    pub profile: Profile,
    /// Earlier versions to which nobody may return.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub withdraws: Vec<u64>,
    /// TLS, per use.
    pub uses: BTreeMap<Use, TlsUse>,
    /// Signatures over documents.
    pub document_signing: DocumentSigning,
    /// Files at rest.
    pub storage: Storage,
    #[serde(skip)]
    lines: Lines,
}

impl Policy {
    /// Reads a policy's TOML.
    ///
    /// # Errors
    /// [`PolicyError`] with line and column, or naming an unknown key.
    pub fn from_toml(text: &str) -> Result<Self, PolicyError> {
        if text.len() > MAX_POLICY {
            return Err(PolicyError::TooLarge(text.len()));
        }
        let mut policy: Self =
            toml::from_str(text).map_err(|error| PolicyError::Toml(error.to_string()))?;
        policy.lines = Lines::of(text);
        Ok(policy)
    }

    /// The policy that this build carries.
    #[must_use]
    pub fn built_in() -> Self {
        Self::from_toml(DEFAULT_TOML).expect("the built-in policy is tested to parse")
    }

    /// Every list of items, by its path, in the order of the document.
    pub fn lists(&self) -> impl Iterator<Item = (String, &[Item])> {
        let uses = self.uses.iter().flat_map(|(use_, tls)| {
            let lists = [
                ("versions", &tls.versions),
                ("groups", &tls.groups),
                ("suites", &tls.suites),
                ("signatures", &tls.signatures),
            ];
            lists.map(|(field, items)| (format!("uses.{}.{field}", use_.as_str()), &items[..]))
        });
        let documents = &self.document_signing;
        uses.chain([
            ("document-signing.signatures".to_owned(), &documents.signatures[..]),
            ("document-signing.second".to_owned(), &documents.second[..]),
            ("storage.aead".to_owned(), &self.storage.aead[..]),
        ])
    }

    /// The line of a field such as `uses.pairing.groups[1]` in the text that the policy was read from.
    #[must_use]
    pub fn line(&self, path: &str) -> Option<usize> {
        self.lines.get(path)
    }
}

/// Why a text is no policy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// Over [`MAX_POLICY`].
    #[error("a policy of {0} bytes is over the limit of {MAX_POLICY}")]
    TooLarge(usize),
    /// Not TOML of a policy.
    #[error("{0}")]
    Toml(String),
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_policy_names_every_use() {
        let policy = Policy::built_in();
        assert_eq!(policy.uses.keys().copied().collect::<Vec<_>>(), Use::ALL);
        for use_ in Use::ALL {
            assert_eq!(serde_json::to_value(use_).unwrap(), use_.as_str());
        }
    }

    #[test]
    fn an_unknown_key_is_an_error_with_its_place() {
        let text = DEFAULT_TOML.replace("tickets = 0", "tickets = 0\nzero-rtt = true");
        let error = Policy::from_toml(&text).unwrap_err().to_string();
        assert!(error.contains("zero-rtt") && error.contains("line"), "{error}");
    }
}
