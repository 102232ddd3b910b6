//! Two thin shells around the halves of pairing, over TLS in memory.

use crate::maker::PATIENCE;
use crate::owner::Owner;
use crate::plug::Plug;
use crate::random::Seeded;
use crate::wire::{Adversary, Recording, wire};
use countersign_crypto::certificate::{Certificate, IdentityKind};
use countersign_crypto::policy::{CompiledPolicy, Use};
use countersign_crypto::tls::{ClientRule, Clock, SecureChannel, TlsClient, TlsServer};
use countersign_model::id::ThingId;
use countersign_model::label::SetupCode;
use countersign_model::state::DeviceState;
use countersign_protocol::pairing::{
    ALPN, Binding, CloseReason, ControllerOutput, DeviceOutput, Installed, PairingController,
    PairingDevice,
};
use countersign_protocol::permit::device::{Interface, interfaces};
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

/// What both sides saw, and what passed.
#[derive(Debug)]
pub struct PairingResult {
    pub controller: Result<Installed, String>,
    pub device: Option<CloseReason>,
    pub recording: Recording,
}

pub(crate) async fn pair(
    owner: &Owner,
    roots: &[Certificate],
    plug: &mut Plug,
    code: SetupCode,
    clock: Arc<dyn Clock>,
    adversary: Adversary,
    seed: u64,
) -> PairingResult {
    let (near, far, recording) = wire(adversary);
    if !interfaces(plug.state).contains(&Interface::Pairing) {
        return PairingResult {
            controller: Err("nobody listens".to_owned()),
            device: None,
            recording,
        };
    }
    let thing = plug.thing.clone();
    let both = async {
        tokio::join!(
            control(owner, roots, thing, code, clock.clone(), near, seed),
            serve(plug, clock.clone(), far, seed + 1)
        )
    };
    // Each side gives up by itself when its channel breaks; a stalled one is ended here.
    let (controller, device) = tokio::time::timeout(PATIENCE, both)
        .await
        .unwrap_or_else(|_| (Err("the channel stalled".to_owned()), None));
    if plug.state != DeviceState::Initialised {
        plug.state = DeviceState::Pairing;
    }
    PairingResult { controller, device, recording }
}

/// What both sides of a channel bind their conversation to.
pub(crate) fn binding<IO>(
    channel: &SecureChannel<IO>,
    device: ThingId,
    certificate: &Certificate,
) -> Option<Binding> {
    Some(Binding {
        exporter: channel.channel_binding().ok()?,
        device,
        device_certificate: certificate.fingerprint(),
        strength: channel.strength(),
    })
}

async fn control(
    owner: &Owner,
    roots: &[Certificate],
    thing: ThingId,
    code: SetupCode,
    clock: Arc<dyn Clock>,
    io: DuplexStream,
    seed: u64,
) -> Result<Installed, String> {
    let (policy, now) = (CompiledPolicy::built_in(), clock.now());
    let kinds = [IdentityKind::IdevId];
    let client =
        TlsClient::with_clock(&policy, Use::Pairing, None, roots, &kinds, ALPN, clock).unwrap();
    let name = format!("{thing}.local");
    let mut channel = client.connect(&name, io).await.map_err(|error| error.to_string())?;
    let certificate = channel.peer().ok_or("no certificate")?.certificate().clone();
    let binding = binding(&channel, thing, &certificate).ok_or("no exporter")?;
    let installation = owner.installation(now);
    let (mut machine, hello) = PairingController::start(code, binding, &installation)
        .map_err(|error| error.to_string())?;
    let mut random = Seeded::new(seed);
    channel.write_all(&hello).await.map_err(|error| error.to_string())?;
    let mut buffer = vec![0; 4096];
    loop {
        let read = channel.read(&mut buffer).await.unwrap_or(0);
        let outputs = match read {
            0 => machine.broken_off(),
            _ => machine.receive(&buffer[..read], &mut random),
        };
        for output in outputs {
            match output {
                ControllerOutput::Send(bytes) => {
                    channel.write_all(&bytes).await.map_err(|error| error.to_string())?;
                }
                ControllerOutput::Paired(installed) => return Ok(installed),
                ControllerOutput::Failed(failure) => return Err(failure.to_string()),
            }
        }
    }
}

async fn serve(
    plug: &mut Plug,
    clock: Arc<dyn Clock>,
    io: DuplexStream,
    seed: u64,
) -> Option<CloseReason> {
    let (policy, identity) = (CompiledPolicy::built_in(), plug.factory_identity());
    let rule = ClientRule::Anonymous;
    let server =
        TlsServer::with_clock(&policy, Use::Pairing, &identity, &rule, ALPN, clock.clone());
    let mut channel = server.unwrap().accept(io).await.ok()?;
    let binding = binding(&channel, plug.thing.clone(), identity.chain().leaf())?;
    let mut machine =
        PairingDevice::new(plug.record(), plug.factory.params, binding, plug.attempts, clock.now());
    let mut random = Seeded::new(seed);
    let mut buffer = vec![0; 4096];
    loop {
        let read = channel.read(&mut buffer).await.ok().filter(|read| *read > 0)?;
        let mut outputs = machine.receive(&buffer[..read], clock.now());
        while !outputs.is_empty() {
            match outputs.remove(0) {
                // One wire, one controller: the place is free.
                DeviceOutput::Claim => {
                    outputs.extend(machine.claimed(plug.attempts, clock.now(), &mut random));
                }
                DeviceOutput::Persist(attempts) => plug.attempts = attempts,
                DeviceOutput::Send(bytes) => channel.write_all(&bytes).await.ok()?,
                DeviceOutput::Install(installation) => {
                    let done = plug.install(installation);
                    outputs.extend(machine.installed(done));
                }
                DeviceOutput::Close(reason) => {
                    let _ = channel.shutdown().await;
                    return Some(reason);
                }
            }
        }
    }
}
