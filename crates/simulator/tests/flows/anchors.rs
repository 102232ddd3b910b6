//! The root rolls, old roots are withdrawn, and nothing in it can lose a device: authority, gateway and devices are killed anywhere, messages are lost,
//! doubled and turned round, strangers send chains of their own. Devices with their real sealed states, the authority in its
//! folder, the gateway's records in their file, handshakes over TLS in memory; the wire between them and the clock are ours.

use countersign_authority::profile::ServerNames;
use countersign_authority::root::RootAccess;
use countersign_authority::rotation::root::{Reached, RootRolled, RootStep};
use countersign_authority::rotation::{KeyState, RollStep};
use countersign_authority::{Authority, AuthorityConfig, CeremonyPlan, IssuingCa, Sources};
use countersign_crypto::anchors::{self as statements, Anchor, Told, Withdrawal, withdraw_before};
use countersign_crypto::certificate::{
    Certificate, CertificateChain, IdentityKind, IdentityName, certificates_from_pem,
};
use countersign_crypto::issue::{self, CaTemplate, Eku, Serial, Template, self_signed_ca};
use countersign_crypto::keystore::Keystore;
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
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

mod checks;
mod device;
mod gateway;
mod maker;

use device::Device;
use maker::{identity, opened, stolen};

const SERVER: &str = "gateway.example";
const MONTH: Duration = Duration::from_secs(30 * 86_400);
/// Devices that a case may make besides those that it begins with.
const MAX_DEVICES: usize = 5;
const MAX_ROLLS: usize = 3;
/// The authority keeps four generations of a CA, and the end of a case makes one.
const MAX_CA_ROLLS: usize = 2;

#[derive(Debug, Clone)]
enum Op {
    /// The next step of the roll; killed before the step of that number.
    Roll {
        killed_before: Option<usize>,
    },
    /// The next step, whoever is missing.
    RollWithout,
    /// The issuing CAs move below the root that signs now.
    RollCas,
    /// The root that signs withdraws those before it; killed before the step of that number.
    Withdraw {
        killed_before: Option<usize>,
    },
    /// The same, whoever is missing.
    WithdrawWithout,
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
        2 => Just(Op::RollCas),
        2 => proptest::option::of(6_usize..8).prop_map(|killed_before| Op::Withdraw { killed_before }),
        1 => Just(Op::WithdrawWithout),
        1 => Just(Op::Manufacture),
        4 => at.clone().prop_map(|device| Op::Connect { device }),
        1 => at.clone().prop_map(|device| Op::Disconnect { device }),
        8 => at.clone().prop_map(|message| Op::Deliver { message }),
        1 => at.clone().prop_map(|message| Op::Double { message }),
        1 => at.clone().prop_map(|message| Op::Lose { message }),
        1 => at.clone().prop_map(|message| Op::Replay { message }),
        2 => (at.clone(), 0_usize..9).prop_map(|(device, how)| Op::Forge { device, how }),
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
    cas_rolled: usize,
    /// The first root's key, which somebody has copied, and a server of theirs below it.
    stolen: KeyHandle,
    impostor: TlsIdentity,
    /// From which place on each device trusted roots when it was looked at last.
    floors: Vec<u64>,
    /// Handshakes that were made: the same device with the same roots needs no second one with the same server.
    made: BTreeMap<(Vec<String>, String), bool>,
}

fn go_on<S>(_: S) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

impl House {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = VirtualClock::at(BUILD_FLOOR.plus(Duration::from_secs(86_400)));
        std::fs::create_dir_all(folder.path().join("maker")).unwrap();
        let authority = opened(folder.path(), &clock).await;
        authority.ceremony(&CeremonyPlan::example(), |_| go_on(())).await.unwrap();
        let server = identity(&authority).await;
        let (stolen, impostor) = stolen(folder.path(), &authority, &clock);
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
            cas_rolled: 0,
            stolen,
            impostor,
            floors: Vec::new(),
            made: BTreeMap::new(),
        };
        // The first sleeps through everything.
        house.manufacture();
        house.manufacture();
        house.manufacture();
        house.told().await;
        house
    }

    async fn take(&mut self, op: Op) {
        let picked =
            |messages: &[Message], at: usize| (!messages.is_empty()).then(|| at % messages.len());
        match op {
            Op::Roll { killed_before } => self.roll(killed_before, false).await,
            Op::RollWithout => self.roll(None, true).await,
            Op::RollCas => self.roll_cas().await,
            Op::Withdraw { killed_before } => drop(self.withdraw(killed_before, false).await),
            Op::WithdrawWithout => drop(self.withdraw(None, true).await),
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
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, max_shrink_iters: 40, ..ProptestConfig::default() })]
    //= specs/house.md#house-anchors
    //= type=test
    //# A crash at any point of a root's roll MUST leave every device and every client able to connect.
    //= specs/house.md#house-anchors
    //= type=test
    //# A device MUST acknowledge a root only when it is stored.
    //= specs/house.md#house-anchors
    //= type=test
    //# A device MUST say that it let go of roots only when that is stored.
    //= specs/house.md#house-anchors
    //= type=test
    //# A crash at any point of a withdrawal MUST leave every device able to connect.
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
