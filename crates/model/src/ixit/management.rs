//! Parameters, implementations, components and the processes around them.

use super::communication::Guarantee;
use super::words::{RowId, Twin};
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Table 4-Conf: confirmations that the infrastructure stands and its people are instructed.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Conf {
    /// Confirmation of Vulnerability Actions
    #[serde(default)]
    pub vulnerability_actions: Twin<bool>,
    /// Confirmation of Vulnerability Monitoring
    #[serde(default)]
    pub vulnerability_monitoring: Twin<bool>,
    /// Confirmation of Update Procedures
    #[serde(default)]
    pub update_procedures: Twin<bool>,
    /// Confirmation of Secure Management
    #[serde(default)]
    pub secure_management: Twin<bool>,
    /// Confirmation of Secure Development
    #[serde(default)]
    pub secure_development: Twin<bool>,
}

/// A row of table 6-SoftComp.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SoftComp {
    /// ID
    pub id: RowId,
    /// Description
    pub description: Twin<Component>,
    /// Update Mechanism (table 7)
    #[serde(default)]
    pub update_mechanism: Vec<RowId>,
    /// Cryptographic Usage
    pub cryptographic_usage: Twin<CryptoUsage>,
}

/// A component by name and version.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Component {
    /// Name, for example `rustls`.
    pub name: String,
    /// Version, exactly.
    pub version: String,
}

/// Whether a component uses cryptography and what replacing it would cause.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CryptoUsage {
    /// It implements or chooses algorithms or primitives.
    pub uses: bool,
    /// Side effects of replacing them were considered (V1.1.1: of updating them).
    pub side_effects_considered: bool,
}

/// A row of table 7-UpdMech.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UpdMech {
    /// ID
    pub id: RowId,
    /// Description
    pub description: Twin<UpdateFacts>,
    /// Security Guarantees
    pub security_guarantees: Twin<BTreeSet<Guarantee>>,
    /// Cryptographic Details
    pub cryptographic_details: String,
    /// Initiation and Interaction
    pub initiation: String,
    /// Configuration
    pub configuration: String,
    /// Update Checking
    pub update_checking: String,
    /// User Notification
    pub user_notification: String,
}

/// How an update mechanism works.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UpdateFacts {
    /// Over a network.
    pub network: bool,
    /// The device itself verifies the guarantees.
    pub verified_by_device: bool,
}

/// A row of table 10-SecParam.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SecParam {
    /// ID
    pub id: RowId,
    /// Description
    pub description: Twin<SecParamFacts>,
    /// Type
    pub kind: ParamKind,
    /// Security Guarantees
    pub security_guarantees: Twin<BTreeSet<Guarantee>>,
    /// Protection Scheme: roles and privileges.
    pub protection_scheme: String,
    /// Provisioning Mechanism (critical parameters).
    #[serde(default)]
    pub provisioning: String,
    /// Secure Communication Mechanisms (table 11) over which it travels.
    #[serde(default)]
    pub mechanisms: Vec<RowId>,
    /// Generation Mechanism
    #[serde(default)]
    pub generation: String,
}

/// What a parameter is and where it goes.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SecParamFacts {
    /// Where it is made.
    pub origin: ParamOrigin,
    /// Each device has its own.
    pub unique_per_device: bool,
    /// It is written into source code or image.
    pub hard_coded: bool,
    /// How far it travels, in plain or encrypted.
    pub leaves_device: Reach,
    /// The processes that manage it (table 14).
    #[serde(default)]
    pub life_cycle: Vec<RowId>,
}

/// Public or critical.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ParamKind {
    /// Secret: disclosure or modification compromises security.
    #[default]
    Critical,
    /// Public: modification compromises security.
    Public,
}

/// Where a parameter is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ParamOrigin {
    /// On the device.
    #[default]
    Device,
    /// In the factory.
    Factory,
    /// By a user or the user's controller.
    User,
    /// By a service.
    Service,
}

/// How far a parameter travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reach {
    /// It never leaves (and never enters) the device over a network.
    #[default]
    Never,
    /// Over interfaces of the local network only.
    LocalNetwork,
    /// Over remotely accessible interfaces.
    Remote,
}

/// A row of table 12-NetSecImpl.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NetSecImpl {
    /// ID
    pub id: RowId,
    /// Description
    pub description: Twin<ImplFacts>,
    /// Review/Evaluation Method; empty: not reviewed.
    pub review_method: Twin<Vec<Review>>,
    /// Report
    pub report: Twin<Vec<ReportRef>>,
}

/// What an implementation is.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImplFacts {
    /// Name and version on the device.
    pub component: Component,
    /// Library, separate chip, …
    pub kind: ImplKind,
    /// The functions that it serves, in words shared with [`Review::scope`], for example `tls`, `x509`.
    pub scope: BTreeSet<String>,
}

/// Kinds of implementation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ImplKind {
    /// Linked into the device's software.
    #[default]
    Library,
    /// The maker's own code.
    OwnCode,
    /// A part of the operating system.
    OperatingSystem,
    /// A secure element or separate microcontroller.
    SeparateHardware,
}

/// A review or evaluation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Review {
    /// How it was done.
    pub kind: ReviewKind,
    /// What it covered, in the words of [`ImplFacts::scope`].
    pub scope: BTreeSet<String>,
}

/// Kinds of review.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ReviewKind {
    /// By a hired laboratory.
    Audit,
    /// Under a certification scheme.
    Certification,
    /// By peers, inside or outside the maker.
    PeerReview,
    /// By tools: fuzzing, static analysis, formal proof.
    AutomatedAnalysis,
}

/// Where a review's outcome stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReportRef {
    /// Document, certificate number or address.
    pub reference: String,
    /// What the report says was reviewed.
    pub component: Component,
}

/// A row of table 14-SecMgmt.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SecMgmt {
    /// ID
    pub id: RowId,
    /// Description of the process, phase by phase.
    pub description: Twin<Vec<PhaseRecord>>,
}

/// One phase of a process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PhaseRecord {
    /// The phase.
    pub phase: LifePhase,
    /// What is done, or the standard that says so.
    pub process: String,
    /// A record that it was really done: a ledger entry, a log line, a checkpoint. None: only described.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evidence: Option<String>,
    /// When that record was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Timestamp>,
}

/// The six phases of a critical security parameter's life that 5.5-8 asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LifePhase {
    /// Made.
    Generation,
    /// Brought to where it is used.
    Provisioning,
    /// Kept.
    Storage,
    /// Renewed or replaced.
    Updates,
    /// Decommissioned, archived, destroyed.
    Decommissioning,
    /// Expired or compromised.
    ExpirationAndCompromise,
}

impl LifePhase {
    /// All six.
    pub const ALL: [Self; 6] = [
        Self::Generation,
        Self::Provisioning,
        Self::Storage,
        Self::Updates,
        Self::Decommissioning,
        Self::ExpirationAndCompromise,
    ];

    /// The word in documents.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Generation => "generation",
            Self::Provisioning => "provisioning",
            Self::Storage => "storage",
            Self::Updates => "updates",
            Self::Decommissioning => "decommissioning",
            Self::ExpirationAndCompromise => "expiration-and-compromise",
        }
    }
}
