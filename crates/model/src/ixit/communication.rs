//! How the device communicates: secure mechanisms and interfaces.

use super::scope::Status;
use super::words::{CodePoint, RowId, Twin};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// A row of table 11-SecComMech.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SecComMech {
    /// ID
    pub id: RowId,
    /// Description: purpose, protocol, standard.
    pub description: Twin<CommUse>,
    /// Interface (V2.1.1 only; in V1.1.1 the description says whether it is remotely accessible).
    pub interface: Twin<Interface>,
    /// Security Guarantees
    pub security_guarantees: Twin<BTreeSet<Guarantee>>,
    /// Cryptographic Details: one entry for each layer that carries a guarantee, outermost first.
    pub cryptographic_details: Twin<Vec<CryptoDetails>>,
}

/// What a mechanism is used for.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CommUse {
    /// In short, for example `telemetry and commands`.
    pub purpose: String,
    /// Standards that define it, for example `RFC 9846`.
    #[serde(default)]
    pub references: Vec<String>,
}

/// Over which interface a mechanism runs.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Interface {
    /// Logical interfaces (table 28).
    #[serde(default)]
    pub logical: Vec<RowId>,
    /// Meant to be reached from outside the local network.
    pub remotely_accessible: bool,
}

/// What a mechanism or parameter guarantees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Guarantee {
    /// The peer is who it says.
    PeerAuthentication,
    /// Data come from whom they name.
    OriginAuthentication,
    /// Data are unchanged.
    Integrity,
    /// Data are unreadable to others.
    Confidentiality,
    /// Old data are not accepted again.
    AntiReplay,
    /// Recorded traffic stays confidential when long-term keys are lost later.
    ForwardSecrecy,
}

/// One cryptographic layer of a mechanism: everything that it may negotiate.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CryptoDetails {
    /// The protocol.
    pub protocol: CryptoProtocol,
    /// The part that the device plays in it.
    pub role: EndRole,
    /// Protocol versions as on the wire: `0x0304` is TLS 1.3.
    #[serde(default)]
    pub versions: BTreeSet<CodePoint>,
    /// Cipher suites.
    #[serde(default)]
    pub suites: BTreeSet<CodePoint>,
    /// Key-agreement groups.
    #[serde(default)]
    pub groups: BTreeSet<CodePoint>,
    /// Signature schemes with which this side proves itself.
    #[serde(default)]
    pub signature_schemes: BTreeSet<CodePoint>,
    /// This side's certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<CertificateDetails>,
    /// As a server: a client certificate is demanded.
    #[serde(default)]
    pub client_certificate: bool,
    /// 0-RTT data are sent or accepted.
    #[serde(default)]
    pub early_data: bool,
    /// Primitives without a TLS code point, for example `SPAKE2+-P256-SHA256-HKDF-SHA256-HMAC-SHA256`.
    #[serde(default)]
    pub primitives: Vec<String>,
    /// The layer is part of software that can be updated (5.5-3), so its algorithms can be replaced in time.
    #[serde(default)]
    pub replaceable: bool,
}

/// Cryptographic protocols.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CryptoProtocol {
    /// TLS.
    #[default]
    Tls,
    /// DTLS.
    Dtls,
    /// EDHOC and OSCORE.
    EdhocOscore,
    /// A key exchange or message protection above a channel, by name.
    Other(String),
}

/// The part that the device plays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EndRole {
    /// It listens.
    #[default]
    Server,
    /// It connects.
    Client,
    /// Either.
    Peer,
}

/// What the device's certificate is declared to be.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CertificateDetails {
    /// `P-256`, `P-384`, `P-521`, `Ed25519`, `RSA` or `ML-DSA-44/65/87`.
    pub key_algorithm: String,
    /// Key size in bits.
    pub key_bits: u32,
    /// The issuer's signature: `ecdsa-with-SHA256`, `ecdsa-with-SHA384`, `sha256WithRSAEncryption`, …
    pub signature_algorithm: String,
    /// Certificates from the leaf to the trust anchor, both counted.
    pub chain_depth: u8,
    /// It follows the certificate profile of draft-ietf-uta-tls13-iot-profile.
    #[serde(default)]
    pub iot_profile: bool,
}

/// A row of table 15-PhyIntf (V1.1.1: 15-Intf).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PhyIntf {
    /// ID
    pub id: RowId,
    /// Description
    pub description: String,
    /// Type, for example `Wi-Fi` or `UART`.
    pub kind: String,
    /// Status
    pub status: Status,
    /// Debug Interface
    pub debug: bool,
    /// Protection
    pub protection: String,
}

/// A row of table 28-LogIntf.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogIntf {
    /// ID
    pub id: RowId,
    /// Description
    pub description: Twin<LogIntfFacts>,
    /// Access: the physical interfaces over which it is reached (table 15).
    #[serde(default)]
    pub access: Vec<RowId>,
    /// Status
    pub status: Status,
    /// Disclosed Information
    pub disclosed_information: String,
    /// Resilience Measures
    pub resilience: String,
}

/// What a logical interface is.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogIntfFacts {
    /// The device opens connections here, nobody connects to it.
    pub outgoing_only: bool,
}
