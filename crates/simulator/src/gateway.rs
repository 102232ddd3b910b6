//! The gateway: its broker core, admission by a real handshake, and MQTT sessions at the other ends.

use crate::clock::VirtualClock;
use crate::maker::{Maker, PATIENCE, SERVER};
use crate::plug::Plug;
use crate::random::Seeded;
use crate::wire::{Adversary, wire};
use countersign_authority::registration::State;
use countersign_authority::registry::RegistryView;
use countersign_authority::subject::Subject;
use countersign_crypto::certificate::{Certificate, IdentityKind};
use countersign_crypto::policy::{CompiledPolicy, Use};
use countersign_crypto::tls::{
    ClientRule, Clock, RevocationCheck, TlsClient, TlsIdentity, TlsServer,
};
use countersign_device::uplink::core::{Incoming, Output as UplinkOutput, SessionEvent, Uplink};
use countersign_gateway::broker::record::Snapshot;
use countersign_gateway::broker::status::ChannelFacts;
use countersign_gateway::broker::{Broker, CloseReason, ConnId, Context, Input, Now, Output};
use countersign_gateway::config::Limits;
use countersign_gateway::directory::{PeerFacts, PeerKind};
use countersign_model::time::Timestamp;
use countersign_protocol::permit::messaging::MessagingSubject;
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Milliseconds for a CONNECT.
const CONNECT_TIMEOUT: u64 = 10_000;

/// The far end of one connection.
pub struct Endpoint {
    pub uplink: Uplink,
    /// Its present connection.
    conn: Option<ConnId>,
    /// Messages that came, oldest first.
    pub inbox: Vec<Incoming>,
    /// Why the gateway closed it, each time.
    pub closed: Vec<CloseReason>,
    /// Whether what the gateway sends is held back on the way.
    pub held: bool,
    waiting: Vec<Vec<u8>>,
    subscribed: bool,
}

pub struct SimGateway {
    broker: Broker,
    registry: RegistryView,
    clock: VirtualClock,
    started: Timestamp,
    random: Seeded,
    connections: u64,
    pub endpoints: BTreeMap<String, Endpoint>,
}

/// The denylist, asked in each handshake.
struct Denylist(RegistryView);

impl std::fmt::Debug for Denylist {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Denylist")
    }
}

impl RevocationCheck for Denylist {
    fn is_revoked(&self, certificate: &Certificate) -> bool {
        self.0.is_revoked(certificate)
    }
}

impl SimGateway {
    pub(crate) fn new(maker: &Maker, seed: u64) -> Self {
        let started = maker.clock.now();
        let now = Now { monotonic: 0, wall: started };
        Self {
            broker: Broker::new(Limits::default(), CONNECT_TIMEOUT, Snapshot::default(), now),
            registry: maker.authority.registry(),
            clock: maker.clock.clone(),
            started,
            random: Seeded::new(seed),
            connections: 0,
            endpoints: BTreeMap::new(),
        }
    }

    pub(crate) async fn connect_plug(&mut self, maker: &Maker, plug: &Plug) -> Result<(), String> {
        let identity =
            plug.current.as_ref().and_then(|slot| slot.identity()).ok_or("no identity")?;
        let policy = CompiledPolicy::built_in();
        self.connect(maker, plug.thing.as_str(), &identity, plug.command_filters(), &policy).await
    }

    /// A handshake, admission, and a session; an error is what the client would see as a refusal.
    pub(crate) async fn connect(
        &mut self,
        maker: &Maker,
        name: &str,
        identity: &TlsIdentity,
        filters: Vec<String>,
        client_policy: &CompiledPolicy,
    ) -> Result<(), String> {
        let peer = self.handshake(maker, identity, client_policy).await?;
        let subject = admit(&self.registry, &peer)?;
        self.connections += 1;
        let conn = ConnId(self.connections);
        let endpoint = self.endpoints.entry(name.to_owned()).or_insert_with(|| Endpoint {
            uplink: Uplink::new(name, filters, 60),
            conn: None,
            inbox: Vec::new(),
            closed: Vec::new(),
            held: false,
            waiting: Vec::new(),
            subscribed: false,
        });
        if endpoint.conn.is_some() {
            endpoint.uplink.closed();
        }
        (endpoint.conn, endpoint.subscribed) = (Some(conn), false);
        endpoint.waiting.clear();
        let channel = ChannelFacts::default();
        self.feed(Input::Opened { conn, peer, subject, channel });
        if let Some(endpoint) = self.endpoints.get_mut(name) {
            endpoint.uplink.opened();
        }
        self.pump();
        match self.endpoints.get(name) {
            Some(endpoint) if endpoint.subscribed => Ok(()),
            Some(endpoint) => Err(format!("no session: {:?}", endpoint.closed)),
            None => Err("gone".to_owned()),
        }
    }

    /// Both sides of a TLS handshake in memory; the server's view of the client.
    pub(crate) async fn handshake(
        &self,
        maker: &Maker,
        identity: &TlsIdentity,
        client_policy: &CompiledPolicy,
    ) -> Result<PeerFacts, String> {
        let clock = Arc::new(self.clock.clone());
        let check = Arc::new(Denylist(self.registry.clone()));
        let anchors = maker.authority.gateway_anchors().unwrap().checked_by(check);
        let policy = CompiledPolicy::built_in();
        let rule = ClientRule::Required(anchors);
        let server = TlsServer::with_clock(
            &policy,
            Use::DeviceUplink,
            &maker.server,
            &rule,
            "mqtt",
            clock.clone(),
        )
        .unwrap();
        let (roots, kinds) = (maker.roots(), [IdentityKind::Server]);
        let client = TlsClient::with_clock(
            client_policy,
            Use::DeviceUplink,
            Some(identity),
            &roots,
            &kinds,
            "mqtt",
            clock,
        )
        .unwrap();
        let (near, far, _) = wire(Adversary::honest());
        let both = async {
            tokio::join!(
                async {
                    let mut channel =
                        client.connect(SERVER, near).await.map_err(|e| e.to_string())?;
                    // In TLS 1.3 the client learns of a refusal with its first read.
                    let mut first = [0];
                    channel.read_exact(&mut first).await.map_err(|e| e.to_string())
                },
                async {
                    let mut channel = server.accept(far).await.map_err(|e| e.to_string())?;
                    channel.write_all(&[0]).await.map_err(|e| e.to_string())?;
                    channel.peer().cloned().ok_or_else(|| "no certificate".to_owned())
                }
            )
        };
        let (seen, peer) = tokio::time::timeout(PATIENCE, both).await.map_err(|e| e.to_string())?;
        let peer = peer?;
        seen?;
        let kind = match peer.kind() {
            IdentityKind::Thing => PeerKind::Thing,
            _ => PeerKind::Service,
        };
        let certificate = peer.certificate();
        Ok(PeerFacts {
            kind,
            name: peer.name().to_owned(),
            serial_hex: certificate.serial_hex(),
            spki_sha256: hex::encode(countersign_crypto::digest::sha256(&certificate.spki_der())),
            not_after: certificate.validity().not_after,
        })
    }

    /// Asks the registry anew about every open session.
    pub fn rejudge(&mut self) -> usize {
        let registry = self.registry.clone();
        let before = self.open_sessions();
        let now = self.now();
        let named = |name: &str| registry.is_name(name);
        let mut context = Context { now, random: &mut self.random, names_other_subject: &named };
        let outputs = self.broker.rejudge(&mut context, &mut |peer| admit(&registry, peer));
        self.carry_out(outputs);
        self.pump();
        before - self.open_sessions()
    }

    /// The network drops a connection; nobody said goodbye.
    pub fn drop_connection(&mut self, name: &str) {
        let Some(endpoint) = self.endpoints.get_mut(name) else { return };
        endpoint.uplink.closed();
        endpoint.waiting.clear();
        if let Some(conn) = endpoint.conn.take() {
            self.feed(Input::Closed { conn });
        }
        self.pump();
    }

    pub fn open_sessions(&self) -> usize {
        self.endpoints.values().filter(|endpoint| endpoint.conn.is_some()).count()
    }

    /// Lets what was held back through, and holds nothing more.
    pub fn release(&mut self, name: &str) {
        let Some(endpoint) = self.endpoints.get_mut(name) else { return };
        endpoint.held = false;
        for bytes in std::mem::take(&mut endpoint.waiting) {
            endpoint.uplink.received(&bytes);
        }
        self.pump();
    }

    /// Carries bytes to and fro until nobody has anything to say.
    pub fn pump(&mut self) {
        loop {
            let mut sent = Vec::new();
            for endpoint in self.endpoints.values_mut() {
                while let Some(output) = endpoint.uplink.poll() {
                    match output {
                        UplinkOutput::Send(bytes) => sent.extend(endpoint.conn.map(|c| (c, bytes))),
                        UplinkOutput::Event(event) => endpoint.event(event),
                        _ => {}
                    }
                }
            }
            if sent.is_empty() {
                return;
            }
            for (conn, bytes) in sent {
                self.feed(Input::Received { conn, bytes: &bytes });
            }
        }
    }

    fn now(&self) -> Now {
        let wall = self.clock.now();
        let monotonic = u64::try_from(wall.since(self.started).as_millis()).unwrap();
        Now { monotonic, wall }
    }

    fn feed(&mut self, input: Input<'_>) {
        let now = self.now();
        let registry = &self.registry;
        let named = |name: &str| registry.is_name(name);
        let mut context = Context { now, random: &mut self.random, names_other_subject: &named };
        let outputs = self.broker.handle(input, &mut context);
        self.carry_out(outputs);
    }

    fn carry_out(&mut self, outputs: Vec<Output>) {
        for output in outputs {
            match output {
                Output::Transmit { conn, bytes } => {
                    if let Some(endpoint) = self.by_conn(conn) {
                        if endpoint.held {
                            endpoint.waiting.push(bytes);
                        } else {
                            endpoint.uplink.received(&bytes);
                        }
                    }
                }
                Output::Close { conn, reason } => {
                    if let Some(endpoint) = self.by_conn(conn) {
                        endpoint.conn = None;
                        endpoint.closed.push(reason);
                        endpoint.uplink.closed();
                    }
                }
                Output::Store { ticket, .. } => self.feed(Input::Stored { ticket }),
                // The simulated gateway has no policy and no roots to give.
                Output::PolicyState { .. } | Output::AnchorState { .. } | Output::Clone(_) => {}
            }
        }
    }

    fn by_conn(&mut self, conn: ConnId) -> Option<&mut Endpoint> {
        self.endpoints.values_mut().find(|endpoint| endpoint.conn == Some(conn))
    }
}

impl Endpoint {
    fn event(&mut self, event: SessionEvent) {
        match event {
            SessionEvent::Message(message) => {
                if let Some(id) = message.packet_id {
                    self.uplink.acknowledge(id);
                }
                self.inbox.push(message);
            }
            SessionEvent::Subscribed => self.subscribed = true,
            _ => {}
        }
    }
}

/// The registry's answer, as `countersign serve` wires it.
fn admit(registry: &RegistryView, peer: &PeerFacts) -> Result<MessagingSubject, String> {
    if registry.revoked(&peer.serial_hex).is_some() {
        return Err("revoked".to_owned());
    }
    let subject = match peer.kind {
        PeerKind::Thing => Subject::Thing(peer.name.parse().map_err(|_| "unknown")?),
        PeerKind::Service => Subject::Service(peer.name.parse().map_err(|_| "unknown")?),
    };
    let registered = registry.subject(&subject).ok_or("unknown")?;
    if registered.state != State::Active {
        return Err(format!("suspended: {}", registered.state.as_str()));
    }
    if registry.key_owner(&peer.spki_sha256).as_ref() != Some(&subject) {
        return Err("the key is not the registered one".to_owned());
    }
    match subject {
        Subject::Thing(thing) => Ok(MessagingSubject::Device(thing)),
        Subject::Service(name) => Ok(MessagingSubject::Service { name, grants: registered.grants }),
        Subject::Operator(_) | Subject::Server(_) => Err("unknown".to_owned()),
    }
}
