//! A thousand devices, their gateway and their maker, while crypto policies come and go, everybody crashes and clocks lie.
//!
//! ```text
//!  Press (policy key) ──documents──► SimGate (slots, disk, store) ◄──handshakes by rules──► SimDevice (slots, disk, outbox)
//!                                         Step ─► Fleet::step ─► check: promises after each step
//! ```
//!
//! The slots, the door, the refusals and the documents with their signatures are the product's. Ours are disks that lose what
//! was not written, clocks, partitions, and handshakes: a pure function of both sides' rules ([`meet`]), held against real ones
//! in `tests/fleet/handshakes.rs`, so that a thousand devices run in seconds.

mod chance;
mod check;
mod device;
mod gate;
mod handshake;
mod node;
mod press;
mod step;

pub use handshake::{Met, meet};
pub use node::Crash;
pub use press::{Bad, Kind, P256, P384, Press};
pub use step::Step;

use crate::random::Seeded;
use countersign_crypto::random::Random as _;
use countersign_model::time::Timestamp;
use countersign_protocol::rotation::Jitter;
use device::SimDevice;
use gate::SimGate;
use node::Library;

/// How often what happened, to show that a run was no walk in the park.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    pub steps: u64,
    pub published: u64,
    pub gateway_activated: u64,
    pub device_activated: u64,
    pub returned: u64,
    pub refused: u64,
    pub crashes: u64,
    pub trials_failed: u64,
    pub sessions: u64,
    pub update_door: u64,
    pub turned_away: u64,
    pub closed_by_policy: u64,
    pub acknowledged: u64,
    pub promise_over: u64,
}

pub struct Fleet {
    pub press: Press,
    pub gate: SimGate,
    pub devices: Vec<SimDevice>,
    pub counts: Counts,
    /// True time, which nobody in the world can be sure of.
    pub now: Timestamp,
    library: Library,
    random: Seeded,
    /// Moves with every change of the gateway's door.
    epoch: u64,
    /// Whether a class of devices is reached, in this epoch.
    reached: std::collections::HashMap<check::Class, bool>,
}

impl Fleet {
    /// Devices with the build's policy, and a gateway with the maker's first, which says the same.
    pub fn new(seed: u64, devices: usize) -> Self {
        let now = Timestamp::from_secs(1_800_000_000);
        let mut press = Press::new(now);
        let mut library = Library::new(press.trust());
        let first = press.first();
        let gate = SimGate::new(&mut library, &first, now);
        let devices = (0..devices).map(|number| SimDevice::new(number, now)).collect();
        Self {
            press,
            gate,
            devices,
            counts: Counts::default(),
            now,
            library,
            random: Seeded::new(seed),
            epoch: 0,
            reached: std::collections::HashMap::new(),
        }
    }

    fn jitter(&mut self) -> Jitter {
        let mut word = [0; 2];
        self.random.fill(&mut word);
        Jitter(u16::from_le_bytes(word))
    }
}

impl std::fmt::Debug for Fleet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Fleet").field("counts", &self.counts).finish_non_exhaustive()
    }
}
