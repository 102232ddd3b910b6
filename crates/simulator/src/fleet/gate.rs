//! The gateway: slots, the door that they make, and a store of what it has acknowledged.

use super::node::{Library, Node};
use super::press::P256;
use countersign_crypto::policy::{TlsRules, Use};
use countersign_model::time::{Day, Timestamp};
use countersign_protocol::policy::{Door, PolicySlots, Side};
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::rc::Rc;

pub(super) const USE: Use = Use::DeviceUplink;

pub struct SimGate {
    pub node: Node,
    /// One certificate for each algorithm that some policy of the door needs.
    pub certificates: Vec<&'static str>,
    /// On its disk: messages that it has acknowledged, by device.
    pub received: HashSet<(usize, u64)>,
    /// Versions that were ever in force on its disk, with their last instants.
    pub was_active: BTreeMap<u64, Timestamp>,
    /// Versions that one of those withdrew.
    pub withdrawn: BTreeSet<u64>,
}

impl SimGate {
    pub fn new(library: &mut Library, first: &Rc<[u8]>, now: Timestamp) -> Self {
        let prepared = library.prepare(first, Day::of(now)).unwrap();
        let mut gate = Self {
            node: Node::new(
                Side::Gateway,
                PolicySlots::new(Side::Gateway, prepared),
                Some(first.clone()),
            ),
            certificates: vec![P256],
            received: HashSet::new(),
            was_active: BTreeMap::new(),
            withdrawn: BTreeSet::new(),
        };
        gate.note();
        gate
    }

    /// Keeps account of what was in force: after each change, from the disk's point of view.
    pub fn note(&mut self) {
        let active = self.node.slots.active();
        self.was_active.insert(active.version(), active.expires());
        self.withdrawn.extend(active.compiled().withdraws());
    }

    pub fn door(&self) -> Door {
        self.node.slots.door()
    }

    pub fn rules(&self, now: Timestamp) -> Vec<TlsRules> {
        self.door().rules(USE, self.node.clock(now))
    }
}
