//! Evidence: facts that probes wrote down, each hashed. No verdict stands here, and no secret.

use countersign_model::ixit::{Access, CodePoint, Method, Operation, RowId, State, Transport};
use countersign_model::role::Role;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

/// One probe's facts about one subject.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Evidence {
    /// `E-001`, in the order in which the plan ran.
    pub id: String,
    /// The probe's name, for example `tls-server`.
    pub probe: String,
    /// What was probed: a listener, an affordance, an address, a capture.
    pub subject: String,
    /// What was seen.
    pub facts: Facts,
    /// SHA-256 over probe, subject and facts as compact JSON, in hexadecimal.
    pub sha256: String,
}

impl Evidence {
    /// Seals facts with their hash.
    #[must_use]
    pub fn new(index: usize, probe: &str, subject: &str, facts: Facts) -> Self {
        let sha256 = hash(probe, subject, &facts);
        Self {
            id: format!("E-{:03}", index + 1),
            probe: probe.into(),
            subject: subject.into(),
            facts,
            sha256,
        }
    }

    /// Whether the facts are still those that were hashed.
    #[must_use]
    pub fn is_intact(&self) -> bool {
        self.sha256 == hash(&self.probe, &self.subject, &self.facts)
    }
}

fn hash(probe: &str, subject: &str, facts: &Facts) -> String {
    let text = serde_json::to_vec(&(probe, subject, facts))
        .expect("facts have string keys, so JSON can hold them");
    sha256_hex(&text)
}

/// SHA-256 in lower-case hexadecimal.
#[must_use]
pub fn sha256_hex(bytes: &[u8]) -> String {
    hex::encode(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes))
}

/// What probes can see.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Facts {
    /// A TLS server, examined.
    TlsServer(TlsServerFacts),
    /// One affordance, tried by several subjects.
    Access(AccessFacts),
    /// Every port of an address.
    PortScan(ScanFacts),
    /// Canary secrets searched for in one capture.
    CanarySearch(CanaryFacts),
}

/// What became of one offer or attempt at the level of TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Answer {
    /// The server chose from the offer.
    Accepted,
    /// It answered with this alert.
    Refused(u8),
    /// It closed the connection, twice, without a word.
    Closed,
    /// It said nothing in time.
    Silent,
    /// There was no connection.
    Unreachable,
    /// The answer was no TLS.
    NotTls,
    /// This probe cannot make that offer.
    NotOffered,
}

impl Answer {
    /// Whether it settles that the offer is, or is not, accepted.
    #[must_use]
    pub const fn is_decisive(self) -> bool {
        matches!(self, Self::Accepted | Self::Refused(_) | Self::Closed)
    }
}

/// A TLS server as it answered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsServerFacts {
    /// The declared listener.
    pub listener: RowId,
    /// Where.
    pub address: SocketAddr,
    /// A broad offer was accepted before the enumeration and again after it. Without that, refusals say nothing.
    pub control: bool,
    /// Each version, offered alone.
    pub versions: BTreeMap<CodePoint, Answer>,
    /// Each suite, by version. TLS 1.3: offered alone; older versions: by elimination.
    pub suites: BTreeMap<CodePoint, BTreeMap<CodePoint, Answer>>,
    /// Each group, offered alone under the newest accepted version.
    pub groups: BTreeMap<CodePoint, Answer>,
    /// Each signature scheme, offered alone in a whole handshake.
    pub signature_schemes: BTreeMap<CodePoint, Answer>,
    /// ALPN: what was offered and what came of it.
    pub alpn: Vec<AlpnFact>,
    /// A whole TLS 1.3 handshake without a client certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub handshake: Option<HandshakeFacts>,
    /// The chain as presented, leaf first.
    pub certificates: Vec<CertificateFacts>,
}

/// One ALPN attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AlpnFact {
    /// Protocols offered; empty: the extension was left out.
    pub offered: Vec<String>,
    /// Whether the handshake was accepted.
    pub answer: Answer,
    /// What the server selected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selected: Option<String>,
}

/// What a whole handshake negotiated.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HandshakeFacts {
    /// Version.
    pub version: Option<CodePoint>,
    /// Suite.
    pub suite: Option<CodePoint>,
    /// Group.
    pub group: Option<CodePoint>,
    /// The scheme of the server's CertificateVerify.
    pub signature_scheme: Option<CodePoint>,
    /// That signature was valid for the presented certificate's key.
    pub signature_valid: bool,
    /// The server asked for a client certificate.
    pub client_certificate_requested: bool,
    /// The alert that ended the connection when the client sent no certificate.
    pub refused_without_certificate: Option<u8>,
    /// Path to the given roots: none when no roots were given, else the outcome.
    pub path: Option<PathFact>,
}

/// Whether a certification path was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PathFact {
    /// It leads to one of the roots, is in time and names the expected server.
    pub valid: bool,
    /// Why not.
    pub error: Option<String>,
}

/// A certificate's content, as far as a check asks.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CertificateFacts {
    /// It could be parsed; otherwise everything else is empty.
    pub parsed: bool,
    /// SHA-256 of the DER form.
    pub sha256: String,
    /// Subject as text.
    pub subject: String,
    /// Issuer as text.
    pub issuer: String,
    /// Bits of the serial number.
    pub serial_bits: u32,
    /// Seconds since 1970.
    pub not_before: i64,
    /// Seconds since 1970.
    pub not_after: i64,
    /// `P-256`, `RSA`, … or an OID.
    pub key_algorithm: String,
    /// Bits.
    pub key_bits: u32,
    /// `ecdsa-with-SHA256`, … or an OID.
    pub signature_algorithm: String,
    /// SAN entries as `dns:…`, `ip:…`, `uri:…`.
    pub names: BTreeSet<String>,
    /// It is a CA certificate.
    pub ca: bool,
    /// Key usages set, and whether the extension is critical.
    pub key_usage: Option<(BTreeSet<String>, bool)>,
    /// Extended key usages.
    pub extended_key_usage: BTreeSet<String>,
    /// Extensions present, by short name.
    pub extensions: BTreeSet<String>,
}

/// One affordance, tried.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AccessFacts {
    /// Its name.
    pub affordance: String,
    /// What is done with it.
    pub operation: Operation,
    /// HTTP method.
    pub method: Method,
    /// Path.
    pub path: String,
    /// The listener.
    pub listener: RowId,
    /// Who may, as declared.
    pub access: Access,
    /// Changes security-relevant configuration, as declared.
    pub security_relevant: bool,
    /// The functionality, as declared.
    pub service: Option<RowId>,
    /// Who tried, and what came of it.
    pub attempts: Vec<Attempt>,
}

/// Somebody tried.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Attempt {
    /// Who.
    pub subject: Subject,
    /// What came of it.
    pub outcome: Outcome,
}

/// Who tries.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Subject {
    /// A client without certificate.
    Nobody,
    /// A client with a certificate of a CA that the device cannot know.
    WrongHome,
    /// As [`Self::WrongHome`], with the names of a right credential copied.
    CopiedNames,
    /// A given credential.
    Credential {
        /// Its label.
        label: String,
        /// Its role at the device.
        role: Role,
    },
}

impl Subject {
    /// Whether this subject may use something with that access.
    #[must_use]
    pub fn may(&self, access: Access) -> bool {
        match (access.least_role(), self) {
            (None, _) => true,
            (Some(least), Self::Credential { role, .. }) => *role >= least,
            (Some(_), _) => false,
        }
    }
}

impl std::fmt::Display for Subject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Nobody => f.write_str("no certificate"),
            Self::WrongHome => f.write_str("another home's certificate"),
            Self::CopiedNames => f.write_str("another home's certificate with copied names"),
            Self::Credential { label, role } => write!(f, "{label} ({role})"),
        }
    }
}

/// What came of an attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// An HTTP status came back.
    Status(u16),
    /// TLS ended with this alert.
    Alert(u8),
    /// The connection was closed without a status.
    Closed,
    /// Nothing came in time.
    Silent,
    /// There was no connection.
    Unreachable,
    /// Something came that is no HTTP or no TLS.
    Garbage,
    /// It was not tried, for this reason.
    NotTried(String),
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Status(code) => write!(f, "HTTP {code}"),
            Self::Alert(code) => {
                write!(f, "TLS alert {code} ({})", crate::probe::tls::names::alert(*code))
            }
            Self::Closed => f.write_str("closed"),
            Self::Silent => f.write_str("no answer"),
            Self::Unreachable => f.write_str("no connection"),
            Self::Garbage => f.write_str("no HTTP"),
            Self::NotTried(why) => write!(f, "not tried: {why}"),
        }
    }
}

/// Every port of one address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScanFacts {
    /// The address.
    pub target: IpAddr,
    /// The state of the device while it was scanned.
    pub state: State,
    /// TCP and UDP apart.
    pub transports: BTreeMap<Transport, TransportScan>,
}

/// Every port of one transport.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TransportScan {
    /// Ports tried, from 1 up.
    pub tried: u32,
    /// TCP: accepted a connection twice. UDP: answered a datagram.
    pub open: BTreeSet<u16>,
    /// Neither open nor closed for sure: no answer, or a local error. At most [`Self::MAX_UNCLEAR`] are listed.
    pub unclear: BTreeSet<u16>,
    /// How many were unclear.
    pub unclear_count: u32,
    /// Ports that were open, or unclear, at this address before the device was started: not the device's.
    pub baseline: Option<BTreeSet<u16>>,
}

impl TransportScan {
    /// More unclear ports than this are counted only: a filtered host has 65,535 of them.
    pub const MAX_UNCLEAR: usize = 256;

    /// Every port was tried and every one was clearly open or closed.
    #[must_use]
    pub const fn is_complete(&self) -> bool {
        self.tried == 65_535 && self.unclear_count == 0
    }

    /// Open ports that were not there before the device was.
    pub fn of_device(&self) -> impl Iterator<Item = u16> + '_ {
        let before = self.baseline.as_ref();
        self.open.iter().copied().filter(move |port| !before.is_some_and(|set| set.contains(port)))
    }
}

/// Canaries searched for in one capture.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CanaryFacts {
    /// The capture's label.
    pub capture: String,
    /// The mechanism whose traffic it holds (table 11).
    pub mechanism: Option<RowId>,
    /// Bytes searched, both directions together.
    pub bytes: u64,
    /// SHA-256 of each stream.
    pub streams: Vec<String>,
    /// Each canary.
    pub canaries: Vec<CanaryFact>,
    /// The positive control: a plain text that is known to be in the capture was found there. `None`: none was given.
    pub control_found: Option<bool>,
    /// The search found its own canaries in every encoding when they were planted in a copy.
    pub self_test: bool,
}

/// One canary in one capture.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CanaryFact {
    /// The canary's label.
    pub label: String,
    /// The critical parameter that it stands for (table 10).
    pub parameter: Option<RowId>,
    /// SHA-256 of the secret; the secret itself is never kept.
    pub sha256: String,
    /// It was long enough to be searched for without chance hits.
    pub searchable: bool,
    /// Where it was found.
    pub hits: Vec<Hit>,
}

/// A canary, found.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hit {
    /// Index of the stream.
    pub stream: usize,
    /// Byte offset there.
    pub offset: u64,
    /// In which encoding.
    pub encoding: String,
}
