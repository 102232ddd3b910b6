//! Everything together, with one call per thing that happens.

use crate::clock::VirtualClock;
use crate::enrol;
use crate::gateway::SimGateway;
use crate::invitation::{self, JoinResult};
use crate::maker::{Maker, SERVER};
use crate::owner::Owner;
use crate::pairing::{self, PairingResult};
use crate::plug::{Plug, new_key};
use crate::wire::{Adversary, wire};
use countersign_crypto::certificate::IdentityKind;
use countersign_crypto::csr;
use countersign_crypto::policy::{CompiledPolicy, Use};
use countersign_crypto::tls::{ClientRule, Clock, PeerAnchors, TlsClient, TlsIdentity, TlsServer};
use countersign_device::uplink::outbox::{Outgoing, Weight};
use countersign_model::label::SetupCode;
use countersign_model::state::DeviceState;
use countersign_model::time::Timestamp;
use countersign_protocol::enrolment::{Action, Event};
use countersign_protocol::permit::device::{Subject, Voucher};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::runtime::Runtime;

pub struct World {
    pub clock: VirtualClock,
    pub maker: Maker,
    pub owner: Owner,
    pub gateway: SimGateway,
    seed: u64,
    folder: PathBuf,
    // Dropped last, in this order: what runs in the runtime, the runtime, the folder.
    runtime: Runtime,
    _folder: tempfile::TempDir,
}

impl World {
    /// A maker after its ceremony, a gateway, and a home with the owner `ada`.
    pub fn new(seed: u64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let owner = Owner::new(&folder.path().join("ada"), "ada");
        // The home's certificates begin a little before they were made; the world begins when they count.
        let start = owner.anchor().validity().not_before.plus(Duration::from_secs(3600));
        let clock = VirtualClock::at(start);
        let maker = runtime.block_on(Maker::new(&folder.path().join("maker"), clock.clone(), seed));
        let gateway = runtime.block_on(async { SimGateway::new(&maker, seed + 1) });
        let path = folder.path().to_owned();
        Self { clock, maker, owner, gateway, seed, folder: path, runtime, _folder: folder }
    }

    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// A folder of this world.
    pub fn folder(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Another home, whose people are strangers here.
    pub fn another_home(&self, owner: &str) -> Owner {
        Owner::new(&self.folder(&format!("home-of-{owner}")), owner)
    }

    /// A plug as it leaves the factory, its pairing window open.
    pub fn manufacture(&mut self, thing: &str) -> Plug {
        let key = new_key();
        let request = csr::request(&key, thing).unwrap();
        let factory = self.runtime.block_on(self.maker.manufacture(&request));
        let mut plug = Plug::new(thing.parse().unwrap(), key, factory);
        plug.state = DeviceState::Pairing;
        plug
    }

    /// One attempt to pair.
    pub fn pair(
        &mut self,
        plug: &mut Plug,
        code: SetupCode,
        adversary: Adversary,
    ) -> PairingResult {
        self.seed += 2;
        let (roots, clock) = (self.maker.roots(), Arc::new(self.clock.clone()));
        self.runtime.block_on(pairing::pair(
            &self.owner,
            &roots,
            plug,
            code,
            clock,
            adversary,
            self.seed,
        ))
    }

    /// One attempt to join by an invitation's code.
    pub fn join(
        &mut self,
        plug: &mut Plug,
        joiner: &Owner,
        code: SetupCode,
        adversary: Adversary,
    ) -> JoinResult {
        self.seed += 2;
        let (roots, clock) = (self.maker.roots(), Arc::new(self.clock.clone()));
        let seed = self.seed;
        self.runtime.block_on(invitation::join(joiner, &roots, plug, code, clock, adversary, seed))
    }

    /// The same with somebody in between who has a certificate of the maker for another device, and passes on what is said
    /// from one channel to the other.
    pub fn join_through(
        &mut self,
        plug: &mut Plug,
        joiner: &Owner,
        code: SetupCode,
        between: &Plug,
    ) -> JoinResult {
        self.seed += 2;
        let (roots, clock) = (self.maker.roots(), Arc::new(self.clock.clone()));
        self.runtime.block_on(invitation::join_through(
            joiner, &roots, plug, code, clock, between, self.seed,
        ))
    }

    /// A plug that was made and paired.
    pub fn paired_plug(&mut self, thing: &str) -> Plug {
        let mut plug = self.manufacture(thing);
        let code = plug.take_label().into_parts().1;
        self.pair(&mut plug, code, Adversary::honest()).controller.unwrap();
        plug
    }

    /// Does what the plug's enrolment asks for, once.
    pub fn enrol_step(
        &mut self,
        plug: &mut Plug,
        adversary: Adversary,
    ) -> Result<(Action, Event), Timestamp> {
        self.runtime.block_on(enrol::one_step(&self.maker, &mut self.gateway, plug, adversary))
    }

    /// Lets the plug enrol until there is nothing more to do, waiting where it waits, for `patience` at most.
    pub fn enrol(&mut self, plug: &mut Plug, patience: Duration) -> Vec<(Action, Event)> {
        let end = self.now().plus(patience);
        let mut steps = Vec::new();
        loop {
            match self.enrol_step(plug, Adversary::honest()) {
                Ok(step) => steps.push(step),
                Err(until) if until <= end => self.clock.set(until),
                Err(_) => return steps,
            }
        }
    }

    /// Tells the plug's enrolment what happened outside of it.
    pub fn tell(&self, plug: &mut Plug, event: Event) {
        enrol::report(plug, event, self.now());
    }

    /// A plug that was made, paired and enrolled, with its session at the gateway.
    pub fn living_plug(&mut self, thing: &str) -> Plug {
        let mut plug = self.paired_plug(thing);
        let steps = self.enrol(&mut plug, Duration::ZERO);
        assert_eq!(steps.last(), Some(&(Action::Connect, Event::Acknowledged)));
        plug
    }

    pub fn reconnect(&mut self, plug: &Plug) -> Result<(), String> {
        self.runtime.block_on(self.gateway.connect_plug(&self.maker, plug))
    }

    /// A handshake of the plug with the gateway under another policy, without a session.
    pub fn try_policy(&mut self, plug: &Plug, policy: &CompiledPolicy) -> Result<(), String> {
        let identity = plug.current.as_ref().and_then(|slot| slot.identity()).unwrap();
        let tried = self.gateway.handshake(&self.maker, &identity, policy);
        self.runtime.block_on(tried).map(drop)
    }

    /// A service with grants, subscribed to `filters`.
    pub fn service(&mut self, name: &str, grants: &[&str], filters: &[&str]) {
        let folder = self.folder(name);
        let filters = filters.iter().map(ToString::to_string).collect();
        self.runtime.block_on(async {
            let identity = self.maker.service(name, grants, &folder).await;
            let mut changed = self.maker.authority.registry().changed();
            while self.maker.authority.registry().subject(&service_subject(name)).is_none() {
                changed.changed().await.unwrap();
            }
            let policy = CompiledPolicy::built_in();
            self.gateway.connect(&self.maker, name, &identity, filters, &policy).await.unwrap();
        });
    }

    /// A service publishes.
    pub fn publish(&mut self, service: &str, topic: &str, payload: &str, correlation: &[u8]) {
        let message = Outgoing {
            topic: topic.to_owned(),
            payload: payload.as_bytes().to_vec(),
            retain: false,
            correlation: Some(correlation.to_vec()),
            weight: Weight::Kept,
        };
        self.send(service, message);
    }

    /// An endpoint sends, and everybody hears what comes of it.
    pub fn send(&mut self, endpoint: &str, message: Outgoing) {
        self.gateway.endpoints.get_mut(endpoint).unwrap().uplink.publish(message).unwrap();
        self.gateway.pump();
    }

    /// The plug reads its commands, does what it may, and answers; how many there were.
    pub fn obey(&mut self, plug: &mut Plug) -> usize {
        let endpoint = self.gateway.endpoints.get_mut(plug.thing.as_str()).unwrap();
        let commands = std::mem::take(&mut endpoint.inbox);
        for command in &commands {
            if let Some(receipt) = plug.commanded(command, self.clock.now()) {
                self.send(plug.thing.as_str(), receipt);
            }
        }
        commands.len()
    }

    /// What a service has received since it was last asked: topic and payload.
    pub fn received(&mut self, service: &str) -> Vec<(String, String)> {
        let endpoint = self.gateway.endpoints.get_mut(service).unwrap();
        std::mem::take(&mut endpoint.inbox)
            .into_iter()
            .map(|message| (message.topic, String::from_utf8(message.payload).unwrap()))
            .collect()
    }

    pub fn revoke(&mut self, plug: &Plug) -> usize {
        self.runtime.block_on(self.maker.revoke(&plug.thing));
        self.gateway.rejudge()
    }

    pub fn reinstate(&mut self, plug: &Plug) {
        self.runtime.block_on(self.maker.reinstate(&plug.thing));
    }

    /// Whom the plug's local API sees behind a certificate: a real handshake in memory, then the access list.
    pub fn at_home(
        &mut self,
        plug: &Plug,
        person: Option<&TlsIdentity>,
    ) -> Result<Subject, String> {
        let anchor = self.owner.anchor().clone();
        let anchors = PeerAnchors::new().with(IdentityKind::Person, std::slice::from_ref(&anchor));
        let clock = Arc::new(self.clock.clone());
        let policy = CompiledPolicy::built_in();
        let (identity, roots) = (plug.factory_identity(), self.maker.roots());
        let rule = ClientRule::Optional(anchors);
        let server = TlsServer::with_clock(
            &policy,
            Use::LocalApi,
            &identity,
            &rule,
            "http/1.1",
            clock.clone(),
        )
        .unwrap();
        let kinds = [IdentityKind::IdevId];
        let client = TlsClient::with_clock(
            &policy,
            Use::LocalApi,
            person,
            &roots,
            &kinds,
            "http/1.1",
            clock,
        )
        .unwrap();
        let name = format!("{}.local", plug.thing);
        let (seen, peer) = self.runtime.block_on(async {
            let (near, far, _) = wire(Adversary::honest());
            tokio::join!(
                async {
                    let mut channel =
                        client.connect(&name, near).await.map_err(|e| e.to_string())?;
                    let mut first = [0];
                    channel.read_exact(&mut first).await.map_err(|e| e.to_string())
                },
                async {
                    let mut channel = server.accept(far).await.map_err(|e| e.to_string())?;
                    channel.write_all(&[0]).await.map_err(|e| e.to_string())?;
                    Ok::<_, String>(channel.peer().cloned())
                }
            )
        });
        let peer = peer?;
        seen?;
        let access = plug.access.as_ref().ok_or("the plug belongs to nobody")?;
        Ok(match peer {
            None => Subject::Anonymous,
            Some(peer) => access.person(
                &peer.name().parse().map_err(|_| "no name")?,
                Voucher::Home,
                peer.certificate().validity().not_after,
            ),
        })
    }

    /// Time passes, and the maker's servers renew their certificates meanwhile.
    pub fn forward(&mut self, by: Duration) {
        self.clock.forward(by);
        self.runtime.block_on(self.maker.refresh());
    }

    /// Runs something of the authority's.
    pub fn run<T>(&self, work: impl Future<Output = T>) -> T {
        self.runtime.block_on(work)
    }

    /// The organisation of the maker's ceremony.
    pub fn maker_name(&self) -> String {
        let root = self.maker.roots().remove(0);
        root.subject_organisation().unwrap()
    }

    /// The name of the maker's servers.
    pub const fn server_name() -> &'static str {
        SERVER
    }
}

fn service_subject(name: &str) -> countersign_authority::subject::Subject {
    countersign_authority::subject::Subject::Service(name.parse().unwrap())
}

impl std::fmt::Debug for World {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let folder: &Path = &self.folder;
        f.debug_struct("World").field("folder", &folder).finish_non_exhaustive()
    }
}
