//! The root rolls, and nothing in it can lose a device: authority, gateway and devices are killed anywhere, messages are lost,
//! doubled and turned round, strangers send chains of their own. Devices with their real sealed states, the authority in its
//! folder, the gateway's records in their file, handshakes over TLS in memory; the wire between them and the clock are ours.

use countersign_authority::profile::ServerNames;
use countersign_authority::root::RootAccess;
use countersign_authority::rotation::RollStep;
use countersign_authority::rotation::root::{Reached, RootRolled, RootStep};
use countersign_authority::{Authority, AuthorityConfig, CeremonyPlan, IssuingCa, Sources};
use countersign_crypto::anchors::{self as statements, Anchor};
use countersign_crypto::certificate::{Certificate, IdentityKind, certificates_from_pem};
use countersign_crypto::issue::{CaTemplate, Serial, self_signed_ca};
use countersign_crypto::policy::{CompiledPolicy, Use};
use countersign_crypto::random::SystemRandom;
use countersign_crypto::seal::SealKey;
use countersign_crypto::signature::{KeyHandle, SignatureAlgorithm};
use countersign_crypto::tls::{ClientRule, Clock as _, TlsClient, TlsIdentity, TlsServer};
use countersign_device::anchors::Anchors;
use countersign_device::data::{BUILD_FLOOR, Store as State};
use countersign_gateway::store::Store as Notes;
use countersign_gateway::store::fleet::{HeldRoot, Sighting};
use countersign_model::time::Validity;
use countersign_model::topic::AnchorReport;
use countersign_protocol::anchors::{Acknowledgements, RootLine, Telling, name};
use countersign_protocol::fleet::{Certificate as Shown, Registration};
use countersign_simulator::VirtualClock;
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

const SERVER: &str = "gateway.example";
const MONTH: Duration = Duration::from_secs(30 * 86_400);
/// Devices that a case may make besides those that it begins with.
const MAX_DEVICES: usize = 5;
const MAX_ROLLS: usize = 3;
/// The authority keeps four generations of a CA, and the end of a case makes one.
const MAX_SERVER_ROLLS: usize = 2;

#[derive(Debug, Clone)]
enum Op {
    /// The next step of the roll; killed before the step of that number.
    Roll {
        killed_before: Option<usize>,
    },
    /// The next step, whoever is missing.
    RollWithout,
    /// The servers' CA moves below the root that signs now.
    RollServers,
    /// Another device is made.
    Manufacture,
    Connect {
        device: usize,
    },
    Disconnect {
        device: usize,
    },
    /// One of the messages that are under way arrives, any of them.
    Deliver {
        message: usize,
    },
    Double {
        message: usize,
    },
    Lose {
        message: usize,
    },
    /// One of those that ever were is sent again.
    Replay {
        message: usize,
    },
    /// Somebody who sits in the gateway sends a device something.
    Forge {
        device: usize,
        how: usize,
    },
    KillDevice {
        device: usize,
    },
    /// Killed with its last notes unwritten.
    KillGateway {
        lost: bool,
    },
    KillAuthority,
    /// The home is forgotten.
    Reset {
        device: usize,
    },
    Wait {
        days: u64,
    },
}

fn op() -> impl Strategy<Value = Op> {
    let at = 0_usize..64;
    prop_oneof![
        4 => proptest::option::of(0_usize..6).prop_map(|killed_before| Op::Roll { killed_before }),
        1 => Just(Op::RollWithout),
        1 => Just(Op::RollServers),
        1 => Just(Op::Manufacture),
        4 => at.clone().prop_map(|device| Op::Connect { device }),
        1 => at.clone().prop_map(|device| Op::Disconnect { device }),
        8 => at.clone().prop_map(|message| Op::Deliver { message }),
        1 => at.clone().prop_map(|message| Op::Double { message }),
        1 => at.clone().prop_map(|message| Op::Lose { message }),
        1 => at.clone().prop_map(|message| Op::Replay { message }),
        2 => (at.clone(), 0_usize..6).prop_map(|(device, how)| Op::Forge { device, how }),
        1 => at.clone().prop_map(|device| Op::KillDevice { device }),
        1 => any::<bool>().prop_map(|lost| Op::KillGateway { lost }),
        1 => Just(Op::KillAuthority),
        1 => at.prop_map(|device| Op::Reset { device }),
        1 => (1_u64..40).prop_map(|days| Op::Wait { days }),
    ]
}

#[derive(Debug, Clone)]
enum Message {
    Chain { device: usize, chain: Vec<u8> },
    Report { device: usize, session: u64, report: Vec<u8> },
}

struct Device {
    name: String,
    folder: PathBuf,
    seal: SealKey,
    factory: Vec<Certificate>,
    anchors: Arc<Anchors>,
    state: Arc<State>,
    session: Option<u64>,
}

impl Device {
    fn made(name: String, folder: PathBuf, factory: Vec<Certificate>) -> Self {
        std::fs::create_dir_all(&folder).unwrap();
        let seal = SealKey::generate(&mut SystemRandom);
        let state = Self::state(&folder, &seal);
        let anchors = Anchors::open(state.clone(), factory.clone());
        Self { name, folder, seal, factory, anchors, state, session: None }
    }

    fn state(folder: &Path, seal: &SealKey) -> Arc<State> {
        let random = Box::new(SystemRandom);
        Arc::new(State::open(&folder.join("state.sealed"), seal.clone(), random).unwrap())
    }

    /// What is in memory is gone.
    fn killed(&mut self) {
        self.session = None;
        self.state = Self::state(&self.folder, &self.seal);
        self.anchors = Anchors::open(self.state.clone(), self.factory.clone());
    }

    fn reset(&mut self) {
        let fresh = self.state.get().forgotten();
        self.seal = SealKey::generate(&mut SystemRandom);
        self.state.replace_for_good(fresh, self.seal.clone()).unwrap();
        self.killed();
    }

    fn subject(&self) -> String {
        format!("thing:{}", self.name)
    }
}

struct House {
    folder: tempfile::TempDir,
    clock: VirtualClock,
    authority: Authority,
    server: TlsIdentity,
    /// The roots to which the authority's statements lead.
    genuine: Vec<Certificate>,
    telling: Telling<u64>,
    notes: Notes,
    /// What the gateway was told and has not written.
    unwritten: Vec<HeldRoot>,
    devices: Vec<Device>,
    sessions: u64,
    under_way: Vec<Message>,
    ever: Vec<Message>,
    servers_rolled: usize,
    /// Handshakes that were made: the same device with the same roots needs no second one with the same server.
    made: BTreeSet<(Vec<String>, String)>,
}

fn go_on<S>(_: S) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

async fn opened(folder: &Path, clock: &VirtualClock) -> Authority {
    let sources = Sources { clock: Arc::new(clock.clone()), random: Box::new(SystemRandom) };
    Authority::open(&folder.join("maker"), AuthorityConfig::default(), sources).await.unwrap()
}

async fn identity(authority: &Authority) -> TlsIdentity {
    let names = ServerNames { dns: vec![SERVER.to_owned()], ips: Vec::new() };
    authority.server_identity(&"gateway".parse().unwrap(), &names).await.unwrap()
}

impl House {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = VirtualClock::at(BUILD_FLOOR.plus(Duration::from_secs(86_400)));
        std::fs::create_dir_all(folder.path().join("maker")).unwrap();
        let authority = opened(folder.path(), &clock).await;
        authority.ceremony(&CeremonyPlan::example(), |_| go_on(())).await.unwrap();
        let server = identity(&authority).await;
        let (notes, _) = Notes::open(&folder.path().join("gateway.db")).await.unwrap();
        let mut house = Self {
            folder,
            clock,
            authority,
            server,
            genuine: Vec::new(),
            telling: Telling::default(),
            notes,
            unwritten: Vec::new(),
            devices: Vec::new(),
            sessions: 0,
            under_way: Vec::new(),
            ever: Vec::new(),
            servers_rolled: 0,
            made: BTreeSet::new(),
        };
        // The first sleeps through everything.
        house.manufacture();
        house.manufacture();
        house.manufacture();
        house.told().await;
        house
    }

    fn manufacture(&mut self) {
        if self.devices.len() < MAX_DEVICES {
            let name = format!("plug-{}", self.devices.len());
            let folder = self.folder.path().join(&name);
            let roots =
                certificates_from_pem(&std::fs::read(self.authority.layout().roots()).unwrap());
            self.devices.push(Device::made(name, folder, roots.unwrap()));
        }
    }

    /// Whom `device` means, the sleeper not among them.
    fn awake(&self, device: usize) -> usize {
        1 + device % (self.devices.len() - 1)
    }

    fn send(&mut self, message: Message) {
        self.ever.push(message.clone());
        self.under_way.push(message);
    }

    /// The gateway hears from the authority what was stated, as `serve` does.
    async fn told(&mut self) {
        let (first, statements) = self.authority.stated_roots().await.unwrap();
        let line = RootLine::new(first.clone(), statements).unwrap();
        let held = Anchor { position: 0, root: first.clone() };
        let way = statements::follow(&held, &self.authority.statements().unwrap()).unwrap();
        self.genuine = std::iter::once(first).chain(way.into_iter().map(|one| one.root)).collect();
        self.server = identity(&self.authority).await;
        for (session, chain) in self.telling.replace(line) {
            let device = self.devices.iter().position(|one| one.session == Some(session));
            device
                .into_iter()
                .for_each(|device| self.send(Message::Chain { device, chain: chain.clone() }));
        }
    }

    fn report(&mut self, device: usize) {
        if let Some(session) = self.devices[device].session {
            let report = self.devices[device].anchors.report().to_json();
            self.send(Message::Report { device, session, report });
        }
    }

    /// A handshake, as each connection begins with one; then a session, and what the device says first.
    async fn connect(&mut self, device: usize) {
        let roots = self.devices[device].anchors.roots();
        assert!(self.handshake(&roots).await, "{} lost its gateway", self.devices[device].name);
        self.hang_up(device);
        self.sessions += 1;
        self.devices[device].session = Some(self.sessions);
        let sighting = Sighting {
            subject: self.devices[device].subject(),
            version: "TLS 1.3".into(),
            suite: "TLS_AES_128_GCM_SHA256".into(),
            group: "x25519".into(),
            offered: None,
            certificate: Shown {
                serial: "01".into(),
                key: None,
                signature: None,
                not_after: Validity::FOREVER,
            },
            at: self.clock.now(),
        };
        self.notes.note(&[sighting]).await.unwrap();
        self.report(device);
    }

    fn hang_up(&mut self, device: usize) {
        if let Some(session) = self.devices[device].session.take() {
            self.telling.forget(session);
        }
    }

    async fn deliver(&mut self, message: Message) {
        match message {
            Message::Chain { device, chain } => {
                self.devices[device].anchors.offer(&chain).unwrap();
                self.report(device);
            }
            // The gateway reads what belongs to an open session.
            Message::Report { device, session, report }
                if self.devices[device].session == Some(session) =>
            {
                let report = AnchorReport::from_json(&report).unwrap();
                let (subject, at) = (self.devices[device].subject(), self.clock.now());
                let (root, floor) = (Some(report.root.clone()), report.floor);
                self.unwritten.push(HeldRoot { subject, root, floor, at });
                if let Some(chain) = self.telling.hear(session, &report.root, report.floor) {
                    self.send(Message::Chain { device, chain });
                }
            }
            Message::Report { .. } => {}
        }
    }

    async fn write_notes(&mut self) {
        for held in std::mem::take(&mut self.unwritten) {
            self.notes.note_root(&held).await.unwrap();
        }
    }

    async fn kill_gateway(&mut self, lost: bool) {
        if lost {
            self.unwritten.clear();
        }
        self.write_notes().await;
        self.notes = Notes::open(&self.folder.path().join("gateway.db")).await.unwrap().0;
        self.telling = Telling::default();
        self.devices.iter_mut().for_each(|device| device.session = None);
        self.told().await;
    }

    async fn kill_authority(&mut self) {
        self.authority = opened(self.folder.path(), &self.clock).await;
    }

    async fn roll(&mut self, killed_before: Option<usize>, whoever_is_missing: bool) {
        let stop = killed_before.map(|at| RootStep::ALL[at]);
        let progress = |step: RootStep| {
            if Some(step) == stop { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        let all = self.authority.root_status().await.unwrap();
        let ended = match self.authority.prepared_root().await.unwrap() {
            None if all.len() > MAX_ROLLS => RootRolled::Done(None),
            None => {
                let algorithm = Some(SignatureAlgorithm::EcdsaP256Sha256);
                let access = RootAccess::default();
                self.authority.prepare_root(algorithm, &access, progress).await.unwrap()
            }
            Some(next) => {
                self.clock.forward(Duration::from_secs(2));
                self.write_notes().await;
                self.activate(&next.certificate_sha256, whoever_is_missing, progress).await
            }
        };
        if matches!(ended, RootRolled::Stopped(_)) {
            self.kill_authority().await;
        }
        self.told().await;
    }

    async fn activate(
        &mut self,
        next: &str,
        whoever_is_missing: bool,
        progress: impl FnMut(RootStep) -> ControlFlow<()> + Send,
    ) -> RootRolled {
        let records = self.notes.fleet().await.unwrap();
        let registered: Vec<_> = self
            .devices
            .iter()
            .map(|one| Registration { subject: one.subject(), admitted: true })
            .collect();
        let now = self.clock.now();
        let counted =
            Acknowledgements::count(&records, &registered, &[next.to_owned()], now, MONTH);
        let without = if whoever_is_missing { u64::MAX } else { 0 };
        let reached = Reached {
            acknowledged: counted.acknowledged as u64,
            missing: counted.missing,
            asleep: counted.asleep as u64,
            without,
        };
        let ended = self.authority.activate_root(&reached, progress).await.unwrap();
        if matches!(ended, RootRolled::Done(Some(_))) && !whoever_is_missing {
            for record in records.iter().filter(|record| now.since(record.last_seen) <= MONTH) {
                let device = self.devices.iter().find(|one| one.subject() == record.subject);
                let trusted = device.unwrap().anchors.roots();
                assert!(trusted.iter().any(|root| name(root) == next), "activated too early");
            }
        }
        ended
    }

    async fn roll_servers(&mut self) {
        if self.servers_rolled >= MAX_SERVER_ROLLS {
            return;
        }
        self.servers_rolled += 1;
        self.authority.prepare_ca(IssuingCa::Service, None, go_on::<RollStep>).await.unwrap();
        self.clock.forward(Duration::from_secs(2));
        self.authority.activate_ca(IssuingCa::Service, go_on::<RollStep>).await.unwrap();
        self.told().await;
    }

    async fn forge(&mut self, device: usize, how: usize) {
        let genuine = self.authority.statements().unwrap();
        let mut chain = genuine.clone();
        let key = KeyHandle::ephemeral(SignatureAlgorithm::EcdsaP256Sha256).unwrap();
        let template = CaTemplate {
            common_name: "Root".to_owned(),
            organisation: CeremonyPlan::example().organisation().to_owned(),
            country: "DE".to_owned(),
            validity: Validity { not_before: BUILD_FLOOR, not_after: Validity::FOREVER },
            serial: Serial::random(&mut SystemRandom),
        };
        let stranger = self_signed_ca(&template, &key).unwrap();
        match how {
            // By a key of their own, in the place of each genuine one or after them.
            0..=2 => {
                let held = Anchor { position: how as u64, root: stranger.clone() };
                let other = CaTemplate { common_name: "Next".to_owned(), ..template };
                let next = self_signed_ca(&other, &key).unwrap();
                chain.truncate(how);
                chain.push(statements::state(&held, &next, &key).unwrap());
            }
            3 => chain.reverse(),
            4 => drop(chain.drain(..chain.len().min(1))),
            _ => {
                chain = chain
                    .into_iter()
                    .map(|mut one| {
                        one.pop();
                        one
                    })
                    .collect()
            }
        }
        self.send(Message::Chain { device, chain: statements::to_bytes(&chain) });
    }

    async fn take(&mut self, op: Op) {
        let picked =
            |messages: &[Message], at: usize| (!messages.is_empty()).then(|| at % messages.len());
        match op {
            Op::Roll { killed_before } => self.roll(killed_before, false).await,
            Op::RollWithout => self.roll(None, true).await,
            Op::RollServers => self.roll_servers().await,
            Op::Manufacture => self.manufacture(),
            Op::Connect { device } => self.connect(self.awake(device)).await,
            Op::Disconnect { device } => self.hang_up(self.awake(device)),
            Op::Deliver { message } => {
                if let Some(at) = picked(&self.under_way, message) {
                    let message = self.under_way.remove(at);
                    self.deliver(message).await;
                }
            }
            Op::Double { message } => {
                if let Some(at) = picked(&self.under_way, message) {
                    self.under_way.push(self.under_way[at].clone());
                }
            }
            Op::Lose { message } => {
                if let Some(at) = picked(&self.under_way, message) {
                    self.under_way.remove(at);
                }
            }
            Op::Replay { message } => {
                if let Some(at) = picked(&self.ever, message) {
                    self.under_way.push(self.ever[at].clone());
                }
            }
            Op::Forge { device, how } => self.forge(self.awake(device), how).await,
            Op::KillDevice { device } => {
                let device = self.awake(device);
                self.hang_up(device);
                self.devices[device].killed();
            }
            Op::KillGateway { lost } => self.kill_gateway(lost).await,
            Op::KillAuthority => self.kill_authority().await,
            Op::Reset { device } => {
                let device = self.awake(device);
                self.hang_up(device);
                self.devices[device].reset();
            }
            Op::Wait { days } => self.clock.forward(Duration::from_secs(days * 86_400)),
        }
    }

    /// Whether a client with these roots believes the server.
    async fn handshake(&mut self, roots: &[Certificate]) -> bool {
        let shown = self.server.chain().leaf().serial_hex();
        let key = (roots.iter().map(name).collect(), shown);
        if self.made.contains(&key) {
            return true;
        }
        let (policy, clock) = (CompiledPolicy::built_in(), Arc::new(self.clock.clone()));
        let (use_, rule) = (Use::DeviceUplink, ClientRule::Anonymous);
        let server =
            TlsServer::with_clock(&policy, use_, &self.server, &rule, "mqtt", clock.clone())
                .unwrap();
        let kinds = [IdentityKind::Server];
        let client =
            TlsClient::with_clock(&policy, use_, None, roots, &kinds, "mqtt", clock).unwrap();
        let (near, far) = tokio::io::duplex(64 * 1024);
        let (believed, _) = tokio::join!(client.connect(SERVER, near), server.accept(far));
        if believed.is_ok() {
            self.made.insert(key);
        }
        believed.is_ok()
    }

    /// What holds at every instant.
    async fn check(&mut self) {
        let records = self.notes.fleet().await.unwrap();
        for at in 0..self.devices.len() {
            let device = &self.devices[at];
            let (roots, subject) = (device.anchors.roots(), device.subject());
            // 1. Nobody trusts what no chain of statements reaches, and nobody lets go of what the factory gave.
            for root in &roots {
                assert!(self.genuine.contains(root), "{subject} trusts a stranger's root");
            }
            assert!(
                device.factory.iter().all(|root| roots.contains(root)),
                "{subject} lost a root"
            );
            // 2. What is acknowledged is stored: it is there after a kill.
            let stored = device.state.get().roots;
            let acknowledged = records.iter().find(|one| one.subject == subject);
            if let Some(root) = acknowledged.and_then(|record| record.root.clone()) {
                let mut kept = stored.iter().map(|one| &one.root).chain(&device.factory);
                assert!(kept.any(|one| name(one) == root), "{subject} acknowledged too early");
            }
            // 3. Everybody believes the server.
            assert!(self.handshake(&roots).await, "{subject} does not believe its gateway");
        }
    }

    /// Everything that was begun is ended, and whoever is awake long enough comes to rest.
    async fn settle(&mut self) {
        if self.authority.root_status().await.unwrap().len() == 1 {
            self.roll(None, true).await;
        }
        if self.authority.prepared_root().await.unwrap().is_none()
            && self.authority.statements().unwrap().len()
                >= self.authority.root_status().await.unwrap().len()
        {
            self.roll(None, true).await;
        }
        self.told().await;
        for device in 1..self.devices.len() {
            self.connect(device).await;
        }
        let mut left = 1_000;
        while !self.under_way.is_empty() {
            let message = self.under_way.remove(0);
            self.deliver(message).await;
            left -= 1;
            assert!(left > 0, "it never comes to rest");
        }
        // What was under way from before came last, perhaps: everybody says it once more.
        for device in 1..self.devices.len() {
            self.connect(device).await;
        }
        while !self.under_way.is_empty() {
            let message = self.under_way.remove(0);
            self.deliver(message).await;
        }
        self.write_notes().await;
        self.check().await;
        let all = self.authority.root_status().await.unwrap();
        let newest = all.last().unwrap().certificate_sha256.clone();
        let records = self.notes.fleet().await.unwrap();
        for device in &self.devices[1..] {
            assert_eq!(device.anchors.report().root, newest, "{}", device.name);
            let record = records.iter().find(|record| record.subject == device.subject());
            assert_eq!(record.unwrap().root.as_ref(), Some(&newest), "{}", device.name);
        }
        // All have: the root is activated without anybody's word. The old key goes, and the sleeper comes back.
        if self.authority.prepared_root().await.unwrap().is_some() {
            self.roll(None, false).await;
        }
        assert_eq!(self.authority.prepared_root().await.unwrap(), None);
        for ca in IssuingCa::ALL {
            self.authority.prepare_ca(ca, None, go_on::<RollStep>).await.unwrap();
            self.clock.forward(Duration::from_secs(2));
            self.authority.activate_ca(ca, go_on::<RollStep>).await.unwrap();
        }
        self.told().await;
        let retired = self.authority.retire_root(go_on::<RootStep>).await.unwrap();
        assert!(matches!(retired, RootRolled::Done(_)), "{retired:?}");
        self.check().await;
        self.connect(0).await;
        while let Some(message) = self.under_way.pop() {
            self.deliver(message).await;
        }
        self.write_notes().await;
        assert_eq!(self.devices[0].anchors.report().root, newest, "the sleeper");
        self.check().await;
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, max_shrink_iters: 40, ..ProptestConfig::default() })]
    //= specs/house.md#house-anchors
    //= type=test
    //# A crash at any point of a root's roll MUST leave every device and every client able to connect.
    //= specs/house.md#house-anchors
    //= type=test
    //# A device MUST acknowledge a root only when it is stored.
    #[test]
    fn no_roll_loses_a_device(ops in proptest::collection::vec(op(), 10..60)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut house = House::new().await;
            for op in ops {
                house.take(op).await;
                house.check().await;
            }
            house.settle().await;
        });
    }
}
