//! Who is who: the gateway's question to whoever keeps the registry, and the facts that it asks with.

use countersign_model::time::Timestamp;
use countersign_protocol::permit::messaging::MessagingSubject;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Which issuing CA vouched for a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PeerKind {
    /// A device with its operational identity (LDevID).
    Thing,
    /// A backend or integration.
    Service,
}

impl fmt::Display for PeerKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Thing => "thing",
            Self::Service => "service",
        })
    }
}

/// What the verified certificate of a connection says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PeerFacts {
    /// Which issuing CA vouched for it.
    pub kind: PeerKind,
    /// The name in its SAN URI.
    pub name: String,
    /// The certificate's serial number, lower-case hexadecimal.
    pub serial_hex: String,
    /// SHA-256 of its public key (SubjectPublicKeyInfo, DER), lower-case hexadecimal.
    pub spki_sha256: String,
    /// The certificate's last instant.
    pub not_after: Timestamp,
}

/// Why a peer with a valid certificate is not admitted. The peer hears only "not authorised".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No such thing or service, or its name is not one.
    #[error("unknown")]
    Unknown,
    /// The certificate is on the denylist.
    #[error("revoked")]
    Revoked,
    /// The subject is registered and may not connect now.
    #[error("suspended: {0}")]
    Suspended(String),
    /// The certificate's key is not the one that the registry knows for this subject.
    #[error("the key is not the registered one")]
    ForeignKey,
    /// The authority was not heard for too long; see [`crate::revocation`].
    #[error("the revocation list is too old")]
    ListTooOld,
}

/// The registry as the gateway needs it: answers at once from memory. The command line wires the authority's tables to it.
pub trait Directory: Send + Sync + 'static {
    /// Whether a peer may have a session, and with which rights. Asked at each connection and again for every open
    /// session after each change.
    ///
    /// # Errors
    /// Why not; a [`Refusal`] closes the session.
    fn admit(&self, peer: &PeerFacts) -> Result<MessagingSubject, Refusal>;

    /// Whether a client identifier is the *name* of a registered subject, so that nobody else may carry it.
    fn names_other_subject(&self, client_id: &str) -> bool;

    /// A number that changes with each change of registration, grants or revocation.
    fn changed(&self) -> tokio::sync::watch::Receiver<u64>;

    /// How long ago the authority's word was heard last, changed or not; `None` where it is always at hand.
    fn list_age(&self) -> Option<std::time::Duration> {
        None
    }
}
