//! Two thin shells around the halves of an invitation, over TLS in memory, and a third for who sits between them.

use crate::maker::PATIENCE;
use crate::owner::Owner;
use crate::pairing::binding;
use crate::plug::Plug;
use crate::random::Seeded;
use crate::wire::{Adversary, Recording, wire};
use countersign_crypto::certificate::{Certificate, IdentityKind};
use countersign_crypto::policy::{CompiledPolicy, Use};
use countersign_crypto::tls::{ClientRule, Clock, TlsClient, TlsIdentity, TlsServer};
use countersign_model::id::ThingId;
use countersign_model::label::SetupCode;
use countersign_protocol::discovery::HomeKey;
use countersign_protocol::invitation::{
    ALPN, InvitationClose, InvitationDevice, InvitationJoiner, InvitationOutput, JoinerOutput,
    Welcome,
};
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

/// What both sides saw, and what passed.
#[derive(Debug)]
pub struct JoinResult {
    pub joiner: Result<Welcome, String>,
    pub device: Option<InvitationClose>,
    pub recording: Recording,
}

pub(crate) async fn join(
    joiner: &Owner,
    roots: &[Certificate],
    plug: &mut Plug,
    code: SetupCode,
    clock: Arc<dyn Clock>,
    adversary: Adversary,
    seed: u64,
) -> JoinResult {
    let (near, far, recording) = wire(adversary);
    let thing = plug.thing.clone();
    let both = async {
        tokio::join!(
            ask(joiner, roots, thing, code, clock.clone(), near, seed),
            answer(plug, clock.clone(), far, seed + 1)
        )
    };
    let (joiner, device) = tokio::time::timeout(PATIENCE, both)
        .await
        .unwrap_or_else(|_| (Err("the channel stalled".to_owned()), None));
    JoinResult { joiner, device, recording }
}

/// The joiner does not look at the name in the certificate here: that is the mistake whose consequences are to be seen.
pub(crate) async fn join_through(
    joiner: &Owner,
    roots: &[Certificate],
    plug: &mut Plug,
    code: SetupCode,
    clock: Arc<dyn Clock>,
    between: &Plug,
    seed: u64,
) -> JoinResult {
    let (near, middle_near, recording) = wire(Adversary::honest());
    let (middle_far, far, _) = wire(Adversary::honest());
    let (thing, false_thing) = (plug.thing.clone(), between.thing.clone());
    let all = async {
        tokio::join!(
            converse_as(
                joiner,
                roots,
                (&false_thing, thing.clone()),
                code,
                clock.clone(),
                near,
                seed
            ),
            answer(plug, clock.clone(), far, seed + 1),
            pass_on(
                between.factory_identity(),
                (roots, &thing),
                clock.clone(),
                middle_near,
                middle_far
            ),
        )
    };
    let (joiner, device, ()) = tokio::time::timeout(PATIENCE, all)
        .await
        .unwrap_or_else(|_| (Err("the channel stalled".to_owned()), None, ()));
    JoinResult { joiner, device, recording }
}

async fn pass_on(
    identity: TlsIdentity,
    (roots, thing): (&[Certificate], &ThingId),
    clock: Arc<dyn Clock>,
    near: DuplexStream,
    far: DuplexStream,
) {
    let policy = CompiledPolicy::built_in();
    let rule = ClientRule::Anonymous;
    let server =
        TlsServer::with_clock(&policy, Use::Pairing, &identity, &rule, ALPN, clock.clone())
            .unwrap();
    let client = client(&policy, roots, clock);
    let dialled = name(thing);
    let (to_joiner, to_device) = tokio::join!(server.accept(near), client.connect(&dialled, far));
    let (Ok(mut to_joiner), Ok(mut to_device)) = (to_joiner, to_device) else { return };
    let _ = tokio::io::copy_bidirectional(&mut to_joiner, &mut to_device).await;
}

fn client(policy: &CompiledPolicy, roots: &[Certificate], clock: Arc<dyn Clock>) -> TlsClient {
    let kinds = [IdentityKind::IdevId];
    TlsClient::with_clock(policy, Use::Pairing, None, roots, &kinds, ALPN, clock).unwrap()
}

fn name(thing: &ThingId) -> String {
    format!("{thing}.local")
}

async fn ask(
    joiner: &Owner,
    roots: &[Certificate],
    thing: ThingId,
    code: SetupCode,
    clock: Arc<dyn Clock>,
    io: DuplexStream,
    seed: u64,
) -> Result<Welcome, String> {
    converse_as(joiner, roots, (&thing.clone(), thing), code, clock, io, seed).await
}

async fn converse_as(
    joiner: &Owner,
    roots: &[Certificate],
    (dialled, thing): (&ThingId, ThingId),
    code: SetupCode,
    clock: Arc<dyn Clock>,
    io: DuplexStream,
    seed: u64,
) -> Result<Welcome, String> {
    let client = client(&CompiledPolicy::built_in(), roots, clock);
    let mut channel =
        client.connect(&name(dialled), io).await.map_err(|error| error.to_string())?;
    let certificate = channel.peer().ok_or("no certificate")?.certificate().clone();
    let binding = binding(&channel, thing, &certificate).ok_or("no exporter")?;
    let (mut machine, hello) = InvitationJoiner::start(code, binding, joiner.anchor().der());
    let (mut random, mut welcomed, mut buffer) = (Seeded::new(seed), None, vec![0; 4096]);
    channel.write_all(&hello).await.map_err(|error| error.to_string())?;
    loop {
        let read = channel.read(&mut buffer).await.unwrap_or(0);
        if read == 0 {
            return Err("it closed the connection".to_owned());
        }
        for output in machine.receive(&buffer[..read], &mut random) {
            match output {
                JoinerOutput::Send(bytes) => {
                    channel.write_all(&bytes).await.map_err(|error| error.to_string())?;
                }
                JoinerOutput::Welcome(welcome) => welcomed = Some(welcome),
                JoinerOutput::Joined => return welcomed.ok_or_else(|| "no welcome".to_owned()),
                JoinerOutput::Failed(failure) => return Err(failure.to_string()),
            }
        }
    }
}

async fn answer(
    plug: &mut Plug,
    clock: Arc<dyn Clock>,
    io: DuplexStream,
    seed: u64,
) -> Option<InvitationClose> {
    let (policy, identity) = (CompiledPolicy::built_in(), plug.factory_identity());
    let rule = ClientRule::Anonymous;
    let server =
        TlsServer::with_clock(&policy, Use::Pairing, &identity, &rule, ALPN, clock.clone());
    let mut channel = server.unwrap().accept(io).await.ok()?;
    let binding = binding(&channel, plug.thing.clone(), identity.chain().leaf())?;
    let anchor = Certificate::from_der(&plug.installed.as_ref()?.anchor).ok()?;
    let discovery = HomeKey::of_anchor(&anchor.spki_der()).of_thing(&plug.thing);
    let mut machine = InvitationDevice::new(binding, [0; 32], discovery, clock.now());
    let (mut random, mut buffer) = (Seeded::new(seed), vec![0; 4096]);
    loop {
        let read = channel.read(&mut buffer).await.ok().filter(|read| *read > 0)?;
        let mut outputs =
            machine.receive(&buffer[..read], &mut plug.door, clock.now(), &mut random);
        while !outputs.is_empty() {
            match outputs.remove(0) {
                InvitationOutput::Send(bytes) => channel.write_all(&bytes).await.ok()?,
                InvitationOutput::Ended(_) => {}
                InvitationOutput::Store(joining) => {
                    let joined = plug.access.as_mut()?.join(&joining);
                    outputs.extend(match joined {
                        Ok(()) => machine.stored(),
                        Err(_) => machine.not_stored(),
                    });
                }
                InvitationOutput::Close(reason) => {
                    let _ = channel.shutdown().await;
                    return Some(reason);
                }
            }
        }
    }
}
