//! The review register: what each implementation with a cryptographic or network-security role rests on
//! (EN 303 645 provision 5.5-2, TS 103 701 clause 5.5.2).
//!
//! It is data, `register/*.toml`, compiled into the binary. That it is whole, and that its versions and hashes
//! are those of `Cargo.lock`, is held by `cargo xtask tidy` and by a test.

use std::sync::OnceLock;

use serde::{Deserialize, Serialize};

const FILES: [(&str, &str); 4] = [
    ("primitives", include_str!("../register/primitives.toml")),
    ("support", include_str!("../register/support.toml")),
    ("protocols", include_str!("../register/protocols.toml")),
    ("network", include_str!("../register/network.toml")),
];

/// One implementation, in one version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Implementation {
    /// The package's name.
    pub name: String,
    /// Its version, as in `Cargo.lock`.
    pub version: String,
    /// SHA-256 of the package as the registry serves it, hexadecimal, as in `Cargo.lock`.
    pub checksum: String,
    /// What kind of part it plays.
    pub role: Role,
    /// What it is for, in words.
    pub what: String,
    /// What speaks for it; never empty: that nothing was found is said too.
    pub evidence: Vec<Evidence>,
}

/// What kind of part an implementation plays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Computes cryptography.
    Primitive,
    /// Traits and containers that primitives stand on.
    Support,
    /// Compares or encodes without telling by its time.
    ConstantTime,
    /// Wipes memory.
    Memory,
    /// Draws random numbers.
    Random,
    /// Reaches keys that are kept elsewhere.
    Keystore,
    /// Speaks a security protocol.
    Protocol,
    /// Reads, writes or validates certificates and keys.
    Pki,
    /// Signs and verifies documents.
    SignedDocuments,
    /// Encodes what is signed or sealed.
    Encoding,
    /// Reads what a peer sends.
    Network,
    /// Confines programs.
    Sandbox,
}

impl Role {
    /// The word in the register.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Primitive => "primitive",
            Self::Support => "support",
            Self::ConstantTime => "constant-time",
            Self::Memory => "memory",
            Self::Random => "random",
            Self::Keystore => "keystore",
            Self::Protocol => "protocol",
            Self::Pki => "pki",
            Self::SignedDocuments => "signed-documents",
            Self::Encoding => "encoding",
            Self::Network => "network",
            Self::Sandbox => "sandbox",
        }
    }
}

/// A review, an evaluation, or what stands in its place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Evidence {
    /// What kind.
    pub kind: EvidenceKind,
    /// Where it can be read.
    pub reference: String,
    /// What it covers, and what not.
    pub scope: String,
    /// When it was made or looked for, `YYYY-MM`.
    pub date: String,
}

/// What kind of review or evaluation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EvidenceKind {
    /// People other than the authors read it and reported.
    Audit,
    /// Machine-checked proofs.
    Proof,
    /// A scheme's evaluation or validation, such as FIPS 140-3; its scope says of which version.
    Evaluation,
    /// A published suite of tests or vectors.
    TestSuite,
    /// This project's own tests.
    OwnTests,
    /// Looked for and not found.
    NoneFound,
}

impl EvidenceKind {
    /// The word in the register.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Audit => "audit",
            Self::Proof => "proof",
            Self::Evaluation => "evaluation",
            Self::TestSuite => "test-suite",
            Self::OwnTests => "own-tests",
            Self::NoneFound => "none-found",
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    implementation: Vec<Implementation>,
}

//= specs/en-303-645.md#5.5-2
//# Each implementation in use SHOULD be listed with its version and the review that covers it.
/// Every implementation, in the order of the files.
#[must_use]
pub fn implementations() -> &'static [Implementation] {
    static ALL: OnceLock<Vec<Implementation>> = OnceLock::new();
    ALL.get_or_init(|| {
        let read = |(_, text): (_, &str)| {
            toml::from_str::<File>(text).expect("the register is tested to parse").implementation
        };
        FILES.into_iter().flat_map(read).collect()
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::provider::BACKEND;

    #[derive(Deserialize)]
    struct Lock {
        package: Vec<Locked>,
    }

    #[derive(Deserialize)]
    struct Locked {
        name: String,
        version: String,
        checksum: Option<String>,
    }

    fn locked() -> Vec<Locked> {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../Cargo.lock");
        toml::from_str::<Lock>(&std::fs::read_to_string(path).unwrap()).unwrap().package
    }

    //= specs/en-303-645.md#5.5-2
    //= type=test
    //# Network and security functions, cryptography above all, SHOULD come from reviewed or evaluated implementations.
    //= specs/en-303-645.md#5.5-2
    //= type=test
    //# Each implementation in use SHOULD be listed with its version and the review that covers it.
    #[test]
    fn every_entry_is_the_locked_one_and_says_what_speaks_for_it() {
        let locked = locked();
        for entry in implementations() {
            let same = locked.iter().any(|package| {
                package.name == entry.name
                    && package.version == entry.version
                    && package.checksum.as_deref() == Some(&*entry.checksum)
            });
            assert!(same, "{} {} is not what Cargo.lock has", entry.name, entry.version);
            assert!(!entry.evidence.is_empty(), "{}: say none-found", entry.name);
        }
        let mut names: Vec<_> = implementations().iter().map(|e| (&e.name, &e.version)).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), implementations().len(), "one entry a version");
    }

    #[test]
    fn the_backend_names_the_version_that_is_built() {
        let (name, version) = BACKEND;
        assert!(
            locked().iter().any(|p| p.name == name && p.version == version),
            "{name} {version}"
        );
    }

    #[test]
    fn nothing_is_called_certified() {
        for entry in implementations() {
            for evidence in &entry.evidence {
                let text = format!("{} {}", evidence.reference, evidence.scope).to_lowercase();
                assert!(!text.contains("certified"), "{}", entry.name);
                if evidence.kind == EvidenceKind::Evaluation {
                    assert!(text.contains("older"), "{}: of which version?", entry.name);
                }
            }
        }
    }
}
