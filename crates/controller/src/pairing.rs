//! Pairing, as the owner does it: with the label in the hand.

use crate::door::{PAIRING, binding};
use crate::error::ControlError;
use crate::home::{Home, PairedThing};
use countersign_crypto::certificate::Certificate;
use countersign_crypto::random::SystemRandom;
use countersign_crypto::tls::{Clock, SecureChannel, SystemClock};
use countersign_model::id::ThingId;
use countersign_model::label::{Label, SetupCode};
use countersign_protocol::hex;
use countersign_protocol::pairing::{
    Binding, ControllerOutput, GatewayAddress, Installation, Installed, NetworkCredentials,
    PairingController, SESSION_TIMEOUT,
};
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// What the owner reads from the label.
#[derive(Debug)]
pub enum Setup {
    /// The QR code: serial, setup code and the fingerprint of the maker's root.
    Label(Label),
    /// The printed serial and code, for people without a camera; the roots are trusted as given.
    Code(ThingId, SetupCode),
}

impl Setup {
    /// Which device.
    #[must_use]
    pub const fn thing(&self) -> &ThingId {
        match self {
            Self::Label(label) => label.thing(),
            Self::Code(thing, _) => thing,
        }
    }
}

/// What is installed besides the home's anchor and owner.
#[derive(Debug, Default)]
pub struct What {
    /// The network to join; none when a cable does.
    pub network: Option<NetworkCredentials>,
    /// The maker's gateway; none for a device that stays in the home.
    pub gateway: Option<GatewayAddress>,
}

impl Home {
    /// Pairs with the device at `address`. `roots` are the maker's; with a QR code only the one on the label counts.
    ///
    /// # Errors
    /// [`ControlError::NotThisMaker`] and [`ControlError::NotThisDevice`] before any secret was used;
    /// [`ControlError::WrongCode`], [`ControlError::Locked`] from the device.
    //= specs/en-303-645.md#5.5-7
    pub async fn pair(
        &self,
        setup: Setup,
        address: SocketAddr,
        roots: &[Certificate],
        what: What,
    ) -> Result<PairedThing, ControlError> {
        // 1. Which maker, by the label.
        let (thing, code, roots) = chosen(setup, roots)?;
        // 2. Which device, by its factory certificate.
        let mut channel = self.open_door(&PAIRING, &thing, address, &roots).await?;
        let binding = binding(&thing, &channel)?;
        // 3. Both prove the code over this very channel; then everything is installed.
        let installation = Installation {
            anchor: self.anchor().der().to_vec(),
            owner: self.owner().clone(),
            network: what.network,
            gateway: what.gateway,
            now: SystemClock.now(),
        };
        let talk = converse(&mut channel, code, binding, &installation);
        let done = tokio::time::timeout(SESSION_TIMEOUT, talk)
            .await
            .map_err(|_| ControlError::TimedOut)??;
        let paired = PairedThing {
            thing,
            address: SocketAddr::new(address.ip(), done.local_port),
            paired_at: SystemClock.now(),
            description_sha256: hex::write(&done.td_sha256),
            person: None,
            discovery: None,
        };
        self.remember(&paired, &roots)?;
        Ok(paired)
    }
}

fn chosen(
    setup: Setup,
    roots: &[Certificate],
) -> Result<(ThingId, SetupCode, Vec<Certificate>), ControlError> {
    match setup {
        Setup::Code(thing, code) => Ok((thing, code, roots.to_vec())),
        Setup::Label(label) => {
            let (thing, code, fingerprint) = label.into_parts();
            let named = roots.iter().find(|root| fingerprint.matches_sha256(&root.fingerprint()));
            let root = named.ok_or(ControlError::NotThisMaker)?;
            Ok((thing, code, vec![root.clone()]))
        }
    }
}

async fn converse(
    channel: &mut SecureChannel<TcpStream>,
    code: SetupCode,
    binding: Binding,
    installation: &Installation,
) -> Result<Installed, ControlError> {
    let (mut machine, first) = PairingController::start(code, binding, installation)?;
    send(channel, &first).await?;
    let mut buffer = [0; 4096];
    loop {
        let read = channel.read(&mut buffer).await.unwrap_or(0);
        let outputs = match read {
            0 => machine.broken_off(),
            read => machine.receive(&buffer[..read], &mut SystemRandom),
        };
        for output in outputs {
            match output {
                ControllerOutput::Send(bytes) => send(channel, &bytes).await?,
                ControllerOutput::Paired(done) => return Ok(done),
                ControllerOutput::Failed(failure) => return Err(failure.into()),
            }
        }
        if read == 0 {
            return Err(ControlError::Protocol("it closed the connection".to_owned()));
        }
    }
}

pub(crate) async fn send(
    channel: &mut SecureChannel<TcpStream>,
    bytes: &[u8],
) -> Result<(), ControlError> {
    channel.write_all(bytes).await.map_err(ControlError::Unreachable)?;
    channel.flush().await.map_err(ControlError::Unreachable)
}
