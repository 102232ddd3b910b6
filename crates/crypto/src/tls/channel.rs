//! What a finished handshake yields: a byte stream that knows its peer, its parameters and its strength.

use std::pin::Pin;
use std::task::{Context, Poll};

use rustls::CommonState;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{Offered, TlsError};
use crate::certificate::{Certificate, IdentityKind, IdentityName};
use crate::policy::{Alpn, TlsRules};
use crate::provider;
use crate::secret::Strength;
use crate::signature::SignatureAlgorithm;

/// RFC 9266: the exporter label of the TLS 1.3 channel binding.
const CHANNEL_BINDING: &[u8] = b"EXPORTER-Channel-Binding";

/// Somebody whose certificate was verified and who holds its key. Made by a handshake only.
///
/// ```compile_fail
/// use countersign_crypto::tls::VerifiedPeer;
/// fn forge(certificate: countersign_crypto::certificate::Certificate) -> VerifiedPeer {
///     VerifiedPeer { certificate, name: todo!() }
/// }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedPeer {
    name: IdentityName,
    certificate: Certificate,
}

impl VerifiedPeer {
    /// What it is.
    #[must_use]
    pub fn kind(&self) -> IdentityKind {
        self.name.kind()
    }

    /// Its name within its kind.
    #[must_use]
    pub fn name(&self) -> &str {
        self.name.name()
    }

    /// Kind and name.
    #[must_use]
    pub fn identity(&self) -> &IdentityName {
        &self.name
    }

    /// The certificate that it proved.
    #[must_use]
    pub fn certificate(&self) -> &Certificate {
        &self.certificate
    }
}

/// What a handshake agreed on, by registered names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Negotiated {
    /// `TLS 1.3`.
    pub version: &'static str,
    /// Cipher suite.
    pub suite: &'static str,
    /// Key agreement group.
    pub group: &'static str,
    /// Application protocol, if one was agreed.
    pub alpn: Option<String>,
    /// The weakest part of it, in bits: suite, group, and the key of the peer's certificate where it has one.
    pub strength: Strength,
}

impl std::fmt::Display for Negotiated {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} · {} · {}", self.version, self.group, self.suite)
    }
}

/// A TLS connection whose handshake is done and whose peer, if it has a certificate, is verified.
#[derive(Debug)]
pub struct SecureChannel<IO> {
    stream: tokio_rustls::TlsStream<IO>,
    peer: Option<VerifiedPeer>,
    negotiated: Negotiated,
    offered: Option<Offered>,
}

impl<IO> SecureChannel<IO> {
    pub(super) fn new(
        stream: tokio_rustls::TlsStream<IO>,
        rules: &TlsRules,
        offered: Option<Offered>,
    ) -> Result<Self, TlsError> {
        let (_, state) = stream.get_ref();
        let mut negotiated = negotiated(state)?;
        if negotiated.alpn.is_none() && rules.alpn == Alpn::Required {
            return Err(TlsError::NoAlpn);
        }
        let peer = peer(state)?;
        if let Some(peer) = &peer {
            negotiated.strength = negotiated.strength.min(of_certificate(&peer.certificate));
        }
        Ok(Self { stream, peer, negotiated, offered })
    }

    /// Who is at the other end; `None` for a client without certificate where one is optional.
    #[must_use]
    pub fn peer(&self) -> Option<&VerifiedPeer> {
        self.peer.as_ref()
    }

    /// What was agreed.
    #[must_use]
    pub fn negotiated(&self) -> &Negotiated {
        &self.negotiated
    }

    /// What the client offered before; `None` at the client's end, which knows.
    #[must_use]
    pub fn offered(&self) -> Option<&Offered> {
        self.offered.as_ref()
    }

    /// How strong a secret may travel through it.
    #[must_use]
    pub fn strength(&self) -> Strength {
        self.negotiated.strength
    }

    /// The connection's channel binding (RFC 9266): the same 32 bytes at both ends, and at no other connection.
    ///
    /// # Errors
    /// [`TlsError::Exporter`] when the connection cannot export.
    pub fn channel_binding(&self) -> Result<[u8; 32], TlsError> {
        let exported = match &self.stream {
            tokio_rustls::TlsStream::Client(stream) => {
                stream.get_ref().1.export_keying_material([0; 32], CHANNEL_BINDING, None)
            }
            tokio_rustls::TlsStream::Server(stream) => {
                stream.get_ref().1.export_keying_material([0; 32], CHANNEL_BINDING, None)
            }
        };
        exported.map_err(|_| TlsError::Exporter)
    }

    /// The transport under it, to read addresses from.
    #[must_use]
    pub fn transport(&self) -> &IO {
        self.stream.get_ref().0
    }
}

/// A channel is no stronger than the proof of who is at its other end; an unknown kind of key proves nothing.
fn of_certificate(certificate: &Certificate) -> Strength {
    SignatureAlgorithm::of_spki(&certificate.spki_der())
        .map_or(Strength(0), SignatureAlgorithm::strength)
}

fn negotiated(state: &CommonState) -> Result<Negotiated, TlsError> {
    let unfinished = || TlsError::Handshake(std::io::Error::other("the handshake is not finished"));
    let suite = state.negotiated_cipher_suite().ok_or_else(unfinished)?.suite();
    let group = state.negotiated_key_exchange_group().ok_or_else(unfinished)?.name();
    let suite =
        provider::SUITES.iter().find(|s| s.code == u16::from(suite)).ok_or_else(unfinished)?;
    let group =
        provider::GROUPS.iter().find(|g| g.code == u16::from(group)).ok_or_else(unfinished)?;
    Ok(Negotiated {
        version: "TLS 1.3",
        suite: suite.name,
        group: group.name,
        alpn: state.alpn_protocol().map(|name| String::from_utf8_lossy(name).into_owned()),
        strength: Strength(suite.bits.min(group.bits)),
    })
}

fn peer(state: &CommonState) -> Result<Option<VerifiedPeer>, TlsError> {
    let Some(leaf) = state.peer_certificates().and_then(<[_]>::first) else { return Ok(None) };
    let certificate = Certificate::from_der(leaf).map_err(|error| {
        TlsError::UnexpectedKind(format!("holder of an odd certificate: {error}"))
    })?;
    let name = certificate
        .name()
        .ok_or_else(|| TlsError::UnexpectedKind("holder of a certificate without a name".into()))?;
    Ok(Some(VerifiedPeer { name, certificate }))
}

impl<IO: AsyncRead + AsyncWrite + Unpin> AsyncRead for SecureChannel<IO> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> AsyncWrite for SecureChannel<IO> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
