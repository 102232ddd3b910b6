//! What the registry's files hold.

use serde::{Deserialize, Serialize};
use std::fmt;

use crate::ixit::CodePoint;
use crate::time::Day;

/// What kind of thing an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Protocol version, or a feature of one.
    Protocol,
    /// Cipher suite.
    Suite,
    /// Key-agreement group or key encapsulation.
    Group,
    /// Signature scheme, or the key of a certificate.
    Signature,
    /// Hash function.
    Hash,
    /// Message authentication code.
    Mac,
    /// Symmetric encryption.
    Cipher,
    /// Key derivation.
    Kdf,
    /// Deterministic random bit generator.
    Drbg,
    /// Radio link.
    Radio,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 10] = [
        Self::Protocol,
        Self::Suite,
        Self::Group,
        Self::Signature,
        Self::Hash,
        Self::Mac,
        Self::Cipher,
        Self::Kdf,
        Self::Drbg,
        Self::Radio,
    ];

    /// The title of the IANA registry that code points of this kind are looked up in.
    #[must_use]
    pub const fn iana(self) -> Option<&'static str> {
        match self {
            Self::Protocol => Some("TLS ProtocolVersion"),
            Self::Suite => Some("TLS Cipher Suites"),
            Self::Group => Some("TLS Supported Groups"),
            Self::Signature => Some("TLS SignatureScheme"),
            Self::Cipher => Some("AEAD Algorithms"),
            Self::Hash | Self::Mac | Self::Kdf | Self::Drbg | Self::Radio => None,
        }
    }

    /// The word for people.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Protocol => "protocol",
            Self::Suite => "suite",
            Self::Group => "group",
            Self::Signature => "signature",
            Self::Hash => "hash",
            Self::Mac => "MAC",
            Self::Cipher => "cipher",
            Self::Kdf => "KDF",
            Self::Drbg => "DRBG",
            Self::Radio => "radio",
        }
    }
}

/// What a source says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// Use it.
    Recommended,
    /// May be used.
    Acceptable,
    /// May be used where it is, until its end.
    Legacy,
    /// The source does not list it as agreed.
    NotListed,
    /// Should not be used any more.
    Deprecated,
    /// Must not be used.
    Disallowed,
}

/// How well a statement is known. It goes wherever the statement is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Provenance {
    /// Read in the source.
    Verified,
    /// Read in a document that quotes the source.
    Secondary,
    /// Remembered only.
    Memory,
}

impl Provenance {
    /// The words beside a statement.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Verified => "verified",
            Self::Secondary => "secondary source",
            Self::Memory => "from memory",
        }
    }
}

impl fmt::Display for Provenance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What one source says about one entry, and for which days.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Statement {
    /// The source's key.
    pub source: String,
    /// The edition that says so, where it is another than the source's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub edition: Option<String>,
    /// What it says.
    pub status: Status,
    /// The first day on which it holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Day>,
    /// The last day on which it holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Day>,
    /// What must be so for it to hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub condition: Option<String>,
    /// How well it is known.
    pub provenance: Provenance,
    /// What a reader should know besides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// A known attack.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Attack {
    /// What it is called, or does.
    pub name: String,
    /// What takes it away.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unless: Option<String>,
    /// Where it is described.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
}

impl fmt::Display for Attack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        if let Some(reference) = &self.reference {
            write!(f, " ({reference})")?;
        }
        if let Some(unless) = &self.unless {
            write!(f, " unless {unless}")?;
        }
        Ok(())
    }
}

/// Where IANA registers an entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Iana {
    /// The registry's title.
    pub registry: String,
    /// Its code points.
    pub codes: Vec<CodePoint>,
}

impl Iana {
    pub(super) fn each(&self) -> impl Iterator<Item = (&str, CodePoint)> {
        self.codes.iter().map(|code| (self.registry.as_str(), *code))
    }
}

/// How a bill of materials names an entry (CycloneDX 1.7, `cryptography-defs.json`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct CycloneDx {
    /// `algorithmFamily`.
    pub family: String,
    /// `parameterSetIdentifier`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parameter_set: Option<String>,
    /// `ellipticCurve`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub curve: Option<String>,
}

/// One algorithm, protocol version or link.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Entry {
    /// Its registered name, unique in its kind.
    pub id: String,
    /// Its names in other registries.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub also: Vec<String>,
    /// Where IANA registers it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub iana: Option<Iana>,
    /// Its name in a bill of materials.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cyclonedx: Option<CycloneDx>,
    /// Classical strength, in bits; none where it depends on a key that the entry does not name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bits: Option<u16>,
    /// Whether a quantum computer would break it.
    #[serde(default)]
    pub quantum_vulnerable: bool,
    /// For a hybrid: the ids of its parts, of the same kind.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<String>,
    /// Words such as `aead`, `forward-secrecy`, `no-confidentiality`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub properties: Vec<String>,
    /// Known attacks.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attacks: Vec<Attack>,
    /// What sources say.
    pub statements: Vec<Statement>,
}

impl Entry {
    /// Whether it has a property.
    #[must_use]
    pub fn has(&self, property: &str) -> bool {
        self.properties.iter().any(|known| known == property)
    }
}

/// A document that makes statements.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// Its title.
    pub title: String,
    /// Its edition.
    pub edition: String,
    /// Applicable, a draft, for whom.
    pub standing: String,
    /// How well edition and standing are known.
    pub provenance: Provenance,
    /// What a reader should know besides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// The least strength of keys that a source asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Floor {
    /// The source's key.
    pub source: String,
    /// In bits.
    pub bits: u16,
    /// The first day on which it holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Day>,
    /// The last day on which it holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Day>,
    /// How well it is known.
    pub provenance: Provenance,
    /// What a reader should know besides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}
