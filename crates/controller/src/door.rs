//! A device's door, where people pair and join: whose certificate may answer there, and what the conversation is bound to.

use crate::error::ControlError;
use crate::home::Home;
use countersign_crypto::certificate::{Certificate, IdentityKind};
use countersign_crypto::policy::Use;
use countersign_crypto::tls::{SecureChannel, TlsClient};
use countersign_model::id::ThingId;
use countersign_protocol::pairing::Binding;
use countersign_protocol::{invitation, pairing};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::TcpStream;

/// How long connecting and the handshake may take.
const OPENING: Duration = Duration::from_secs(15);

/// What is done at the door.
pub(crate) struct Door {
    kinds: &'static [IdentityKind],
    alpn: &'static str,
}

/// Nobody owns the device: it shows its factory certificate.
pub(crate) const PAIRING: Door = Door { kinds: &[IdentityKind::IdevId], alpn: pairing::ALPN };
/// Somebody does.
pub(crate) const JOINING: Door =
    Door { kinds: &[IdentityKind::Thing, IdentityKind::IdevId], alpn: invitation::ALPN };

impl Home {
    /// To whoever shows a certificate of `thing` that fits the door.
    pub(crate) async fn open_door(
        &self,
        door: &Door,
        thing: &ThingId,
        address: SocketAddr,
        roots: &[Certificate],
    ) -> Result<SecureChannel<TcpStream>, ControlError> {
        let client =
            TlsClient::new(self.policy(), Use::Pairing, None, roots, door.kinds, door.alpn)
                .map_err(ControlError::Tls)?;
        let open = async {
            let stream = TcpStream::connect(address).await.map_err(ControlError::Unreachable)?;
            let _ = stream.set_nodelay(true);
            let channel = client.connect(&format!("{thing}.local").to_lowercase(), stream).await;
            channel.map_err(|error| {
                tracing::info!(%error, "the device's certificate was not accepted");
                ControlError::of_handshake(&error, thing.as_str())
            })
        };
        tokio::time::timeout(OPENING, open).await.map_err(|_| ControlError::TimedOut)?
    }
}

/// This channel and no other, to the device of that name.
pub(crate) fn binding(
    thing: &ThingId,
    channel: &SecureChannel<TcpStream>,
) -> Result<Binding, ControlError> {
    let peer = channel
        .peer()
        .filter(|peer| peer.name().eq_ignore_ascii_case(thing.as_str()))
        .ok_or_else(|| ControlError::NotThisDevice(thing.to_string()))?;
    Ok(Binding {
        exporter: channel.channel_binding().map_err(ControlError::Tls)?,
        device: thing.clone(),
        device_certificate: peer.certificate().fingerprint(),
        strength: channel.strength(),
    })
}
