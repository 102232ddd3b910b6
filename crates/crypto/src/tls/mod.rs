//! TLS as the policy allows it, and nothing else (EN 303 645 provisions 5.5-1 and 5.5-4).
//!
//! ```text
//! CompiledPolicy + TlsIdentity + PeerRule ──► TlsServer::accept ──► SecureChannel { peer, negotiated, exporter }
//!                                        └──► TlsClient::connect ─┘
//! ```
//!
//! A [`VerifiedPeer`] comes out of a finished handshake only: its kind is the one of the issuing CA that verified
//! it, and the name in the certificate must agree.

mod channel;
mod client;
mod offered;
mod server;
mod signing;
mod verify;

use std::sync::Arc;

use countersign_model::time::Timestamp;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::time_provider::TimeProvider;

pub use channel::{Negotiated, SecureChannel, VerifiedPeer};
pub use client::TlsClient;
pub use offered::{ChoiceKind, Choices, InvalidOffer, Offered};
pub use server::{ClientRule, TlsServer};
pub use verify::{PeerAnchors, RevocationCheck, trust_anchor};

use crate::certificate::{Certificate, CertificateChain};
use crate::signature::KeyHandle;

/// What one side presents: its chain without the root, and the handle that signs for its leaf.
#[derive(Clone, Debug)]
pub struct TlsIdentity {
    chain: CertificateChain,
    key: KeyHandle,
}

impl TlsIdentity {
    /// Chain and key that belong together.
    ///
    /// # Errors
    /// [`TlsError::Identity`] when the leaf holds another public key.
    pub fn new(chain: CertificateChain, key: KeyHandle) -> Result<Self, TlsError> {
        if chain.leaf().spki_der() != key.spki_der() {
            return Err(TlsError::Identity(format!(
                "the private key does not belong to the certificate of {}",
                chain.leaf().subject_cn().unwrap_or_default()
            )));
        }
        Ok(Self { chain, key })
    }

    /// Leaf first.
    #[must_use]
    pub fn chain(&self) -> &CertificateChain {
        &self.chain
    }

    /// The handle that signs.
    #[must_use]
    pub fn key(&self) -> &KeyHandle {
        &self.key
    }
}

/// Where "now" comes from when certificates are checked. Shells pass [`SystemClock`]; devices add their floor of time.
pub trait Clock: Send + Sync + std::fmt::Debug {
    /// The present instant.
    fn now(&self) -> Timestamp;
}

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        let since =
            std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Timestamp(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }
}

#[derive(Debug)]
struct ClockAdapter(Arc<dyn Clock>);

impl TimeProvider for ClockAdapter {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(std::time::Duration::from_millis(self.0.now().as_millis())))
    }
}

fn rustls_der(certificate: &Certificate) -> CertificateDer<'static> {
    CertificateDer::from(certificate.der().to_vec())
}

/// Why a channel was not had.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// Our own identity does not fit together. Configuration.
    #[error("identity: {0}")]
    Identity(String),
    /// Trust anchors or names that cannot be used. Configuration.
    #[error("trust anchors: {0}")]
    Anchors(String),
    /// The peer offered no ALPN where the policy requires it.
    #[error("the peer offered no application protocol (ALPN), and the policy requires it here")]
    NoAlpn,
    /// The peer is somebody, but not of a kind that is expected here.
    #[error("the peer is a {0}, which is not expected here")]
    UnexpectedKind(String),
    /// The handshake failed, or the connection broke in it.
    #[error("TLS handshake: {0}")]
    Handshake(#[from] std::io::Error),
    /// A value could not be derived from the channel.
    #[error("the channel gave no exported keying material")]
    Exporter,
}

impl TlsError {
    /// The TLS alert that the peer sent, by its registered name, if that ended the handshake.
    #[must_use]
    pub fn alert(&self) -> Option<String> {
        let Self::Handshake(error) = self else { return None };
        match error.get_ref()?.downcast_ref::<rustls::Error>()? {
            rustls::Error::AlertReceived(alert) => Some(format!("{alert:?}")),
            _ => None,
        }
    }
}
