//! One device: slots, a certificate, messages that must not be lost, and a network that comes and goes.

use super::handshake::Met;
use super::node::{Crash, Library, Node};
use super::press::P256;
use countersign_model::time::{Day, Timestamp};
use countersign_protocol::policy::{Event, PolicySlots, PreparedPolicy, Side};
use countersign_protocol::rotation::Jitter;
use std::collections::BTreeSet;

/// An open session with the gateway.
#[derive(Debug, Clone)]
pub struct Session {
    pub met: Met,
    /// When the gateway ends it, because of a change of policy.
    pub closes: Option<Timestamp>,
}

pub struct SimDevice {
    pub number: usize,
    pub node: Node,
    pub certificate: &'static str,
    /// Whether its network carries anything.
    pub linked: bool,
    pub awake: bool,
    pub session: Option<Session>,
    /// On its disk: messages that the gateway has not acknowledged.
    pub outbox: BTreeSet<u64>,
    /// Messages that it ever made.
    pub made: u64,
}

impl SimDevice {
    pub fn new(number: usize, now: Timestamp) -> Self {
        let slots = PolicySlots::new(Side::Device, PreparedPolicy::built_in(Day::of(now)));
        Self {
            number,
            node: Node::new(Side::Device, slots, None),
            certificate: P256,
            linked: true,
            awake: true,
            session: None,
            outbox: BTreeSet::new(),
            made: 0,
        }
    }

    /// Tells its slots; what came of it, if the process lives on.
    pub fn report(
        &mut self,
        event: Event,
        crash: Crash,
        library: &mut Library,
        now: Timestamp,
        jitter: Jitter,
    ) -> Option<countersign_protocol::policy::Change> {
        let mut slots = self.node.slots.clone();
        let change = slots.report(event, self.node.clock(now), jitter).ok()?;
        let lives = self.node.commit(slots, None, crash, library, now);
        if !lives {
            self.session = None;
        }
        lives.then_some(change)
    }
}
