//! From a socket to a verified peer. Product code has one implementation, [`TlsServer`]; tests have a plain one.

use crate::broker::status::ChannelFacts;
use crate::directory::{PeerFacts, PeerKind};
use countersign_crypto::certificate::IdentityKind;
use countersign_crypto::signature::SignatureAlgorithm;
use countersign_crypto::tls::{SecureChannel, TlsError, TlsServer};
use std::future::Future;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

/// A connection whose peer is known.
pub(super) struct Accepted<C> {
    pub(super) channel: C,
    pub(super) peer: PeerFacts,
    pub(super) facts: ChannelFacts,
}

/// Why a handshake brought no peer. All are the peer's doing.
#[derive(Debug, thiserror::Error)]
pub(super) enum AcceptError {
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error("no client certificate")]
    NoCertificate,
    #[error("a certificate of kind {0:?} has no place at the gateway")]
    Kind(IdentityKind),
    #[cfg(test)]
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

pub(super) trait Acceptor: Send + Sync + 'static {
    type Channel: AsyncRead + AsyncWrite + Send + Unpin + 'static;

    fn accept(
        &self,
        stream: TcpStream,
    ) -> impl Future<Output = Result<Accepted<Self::Channel>, AcceptError>> + Send;
}

impl Acceptor for TlsServer {
    type Channel = SecureChannel<TcpStream>;

    async fn accept(&self, stream: TcpStream) -> Result<Accepted<Self::Channel>, AcceptError> {
        let channel = Self::accept(self, stream).await?;
        let peer = channel.peer().ok_or(AcceptError::NoCertificate)?;
        let kind = match peer.kind() {
            IdentityKind::Thing => PeerKind::Thing,
            IdentityKind::Service => PeerKind::Service,
            other => return Err(AcceptError::Kind(other)),
        };
        let certificate = peer.certificate();
        let named = |algorithm: SignatureAlgorithm| algorithm.name().to_owned();
        let key_algorithm = certificate.key_algorithm().map(named);
        let certificate_signature = certificate.signature_algorithm().map(named);
        let peer = PeerFacts {
            kind,
            name: peer.name().to_owned(),
            serial_hex: certificate.serial_hex(),
            spki_sha256: certificate.spki_sha256(),
            not_after: certificate.validity().not_after,
        };
        let negotiated = channel.negotiated();
        let facts = ChannelFacts {
            remote: None,
            version: negotiated.version.to_owned(),
            suite: negotiated.suite.to_owned(),
            group: negotiated.group.to_owned(),
            alpn: negotiated.alpn.is_some(),
            offered: channel.offered().cloned(),
            key_algorithm,
            certificate_signature,
        };
        Ok(Accepted { channel, peer, facts })
    }
}
