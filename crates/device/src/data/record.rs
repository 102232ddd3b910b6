//! What a device remembers, as a value.

use countersign_crypto::anchors::Anchor;
use countersign_crypto::certificate::{Certificate, CertificateChain};
use countersign_model::id::PersonName;
use countersign_model::role::Role;
use countersign_model::state::DeviceState;
use countersign_model::time::Timestamp;
use countersign_protocol::enrolment;
use countersign_protocol::journal::Journal;
use countersign_protocol::pairing::{Attempts, GatewayAddress, NetworkCredentials, Window};
use countersign_protocol::permit::device::AccessList;
use countersign_protocol::policy::StoredSlots;
use std::sync::Arc;

/// Instants before this build cannot be now: 2026-11-01T00:00:00Z. A device whose clock starts at 1970 takes no
/// certificate for "not yet valid", and an expired one does not come alive again by pulling the plug.
pub const BUILD_FLOOR: Timestamp = Timestamp::from_secs(1_793_491_200);

/// The state of a device between two changes.
#[derive(Debug, Clone)]
pub struct Record {
    /// Factory-default, initialised or resetting: the states that outlive a power cut.
    pub phase: DeviceState,
    /// Wrong setup codes so far.
    pub attempts: Attempts,
    /// Until when pairing is open, and on the count of which power-on; none before the first start and after a reset.
    pub window: Option<Window>,
    /// The home that it belongs to; only in *initialised*.
    pub home: Option<Home>,
    /// The port of the local API, taken again after a restart; 0 before the first time.
    pub api_port: u16,
    /// The same for the pairing interface.
    pub pairing_port: u16,
    /// How far the replacement of the operational identity has come.
    pub enrolment: enrolment::Phase,
    /// The operational identity in use.
    pub current: Option<Slot>,
    /// The one being prepared, or the former one until the gateway has taken the new one.
    pub next: Option<Slot>,
    /// Number of the next key label.
    pub next_label: u64,
    /// The highest authenticated time.
    pub time_floor: Timestamp,
    /// The crypto policies that came after the build's; none before the first.
    pub policy: Option<PolicyRecord>,
    /// The maker's roots that came after those of the factory, in the order of their places.
    pub roots: Vec<Anchor>,
    /// The place from which on the maker's roots are trusted. Above 0, `roots` are all that are, and the factory's count no more.
    pub root_floor: u64,
    /// The newest instant stamped on a command that was accepted: older ones are replays after a restart.
    pub command_floor: Timestamp,
    /// The anchors of the people who joined, each of whom the access list names by its hash.
    pub guests: Vec<Certificate>,
    /// Who is invited. The invitation itself is in memory alone: after a restart this only tells that there was one.
    pub invited: Option<(PersonName, Role)>,
    /// Who changed who may what.
    pub journal: Journal,
}

/// What pairing installed.
#[derive(Debug, Clone)]
pub struct Home {
    /// The home's trust anchor: it signs the certificates of the persons.
    pub anchor: Certificate,
    /// Who may do what; there is always an owner.
    pub access: AccessList,
    /// Network credentials; never shown again.
    pub network: Option<Arc<NetworkCredentials>>,
    /// Where the maker's gateway is, if the device is to use it.
    pub gateway: Option<GatewayAddress>,
}

/// The slots of the crypto policy with the documents that they name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyRecord {
    /// What is in force, what waits, what happened.
    pub slots: StoredSlots,
    /// Signed policies, each verified anew when it is read.
    pub documents: Vec<Vec<u8>>,
}

/// One operational identity: where its key lies, and its certificate once issued.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slot {
    /// Label in the keystore.
    pub key: String,
    /// The certificate and what leads towards the root; none while the request is under way.
    pub chain: Option<CertificateChain>,
}

impl Default for Record {
    fn default() -> Self {
        Self {
            phase: DeviceState::FactoryDefault,
            attempts: Attempts::default(),
            window: None,
            home: None,
            api_port: 0,
            pairing_port: 0,
            enrolment: enrolment::Phase::Settled,
            current: None,
            next: None,
            next_label: 1,
            time_floor: BUILD_FLOOR,
            policy: None,
            roots: Vec::new(),
            root_floor: 0,
            command_floor: Timestamp(0),
            guests: Vec::new(),
            invited: None,
            journal: Journal::default(),
        }
    }
}

impl Record {
    /// The state after a reset: nothing of the home is left. Time never goes back, the policy is not lowered, the
    /// maker's roots stay and those that were let go of do not come back, labels are not used twice, and the chain of the device's record goes on.
    #[must_use]
    pub fn forgotten(&self) -> Self {
        Self {
            next_label: self.next_label,
            pairing_port: self.pairing_port,
            api_port: self.api_port,
            time_floor: self.time_floor,
            policy: self.policy.clone(),
            roots: self.roots.clone(),
            root_floor: self.root_floor,
            journal: self.journal.clone().forgotten(),
            ..Self::default()
        }
    }

    /// Whose certificates are believed about persons: the home's, and those of the people who joined.
    #[must_use]
    pub fn anchors(&self) -> Vec<Certificate> {
        let home = self.home.as_ref();
        let listed = |anchor: &&Certificate| {
            home.is_some_and(|home| home.access.anchors().any(|sha| sha == anchor.fingerprint()))
        };
        home.map(|home| home.anchor.clone())
            .into_iter()
            .chain(self.guests.iter().filter(listed).cloned())
            .collect()
    }

    /// Labels of the keys that are still needed.
    #[must_use]
    pub fn labels(&self) -> Vec<&str> {
        self.current.iter().chain(&self.next).map(|slot| slot.key.as_str()).collect()
    }
}
