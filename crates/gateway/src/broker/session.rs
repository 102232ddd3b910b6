//! One client's session: what it subscribed to, what waits for it, what is under way. It may outlive connections.

use super::message::{Message, Qos};
use super::packet::RetainHandling;
use super::{ConnId, Will};
use countersign_model::time::Timestamp;
use countersign_model::topic::Filter;
use countersign_protocol::permit::messaging::MessagingSubject;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

/// A session's number, for life and across restarts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SessionId(pub u64);

/// What makes a session the same one again: who, and the client identifier. Nobody can take over another's.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionName {
    /// `thing:NAME` or `service:NAME`.
    pub subject: Arc<str>,
    /// As the client gave it or we assigned it.
    pub client_id: Arc<str>,
}

/// How a filter was subscribed to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscription {
    /// The highest QoS that is delivered.
    pub qos: Qos,
    /// What this client publishes does not come back.
    pub no_local: bool,
    /// Forwarded messages keep the retain flag.
    pub retain_as_published: bool,
    /// Goes with every message that the subscription brings.
    pub id: Option<u32>,
}

/// One message on its way to one session.
#[derive(Debug, Clone)]
pub(crate) struct Delivery {
    /// The place in the session's order; also its key in the store.
    pub(crate) sequence: u64,
    pub(crate) message: Arc<Message>,
    pub(crate) qos: Qos,
    pub(crate) retain: bool,
    pub(crate) subscription_ids: Vec<u32>,
}

/// A message that was sent and is not yet acknowledged to its end.
#[derive(Debug, Clone)]
pub(crate) struct Inflight {
    pub(crate) delivery: Delivery,
    /// QoS 2: the client has it, and PUBREL is what it needs to hear.
    pub(crate) released: bool,
}

#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) name: SessionName,
    /// With its grants as last judged.
    pub(crate) subject: MessagingSubject,
    pub(crate) conn: Option<ConnId>,
    /// Seconds that it outlives its connection; 0: it ends with it, and nothing of it is stored.
    pub(crate) expiry_secs: u32,
    /// When the connection ended.
    pub(crate) offline_since: Option<Timestamp>,
    pub(crate) subscriptions: BTreeMap<Filter, Subscription>,
    pub(crate) queue: VecDeque<Delivery>,
    pub(crate) inflight: BTreeMap<u16, Inflight>,
    /// QoS 2 messages from the client that were taken and not yet released.
    pub(crate) inbound: BTreeSet<u16>,
    pub(crate) next_packet_id: u16,
    pub(crate) next_sequence: u64,
    /// What queue and in-flight messages cost.
    pub(crate) bytes: usize,
    /// Messages that its bounds did not admit.
    pub(crate) dropped: u64,
    /// A will that waits for its delay.
    pub(crate) pending_will: Option<Will>,
}

impl Session {
    pub(crate) fn new(name: SessionName, subject: MessagingSubject) -> Self {
        Self {
            name,
            subject,
            conn: None,
            expiry_secs: 0,
            offline_since: None,
            subscriptions: BTreeMap::new(),
            queue: VecDeque::new(),
            inflight: BTreeMap::new(),
            inbound: BTreeSet::new(),
            next_packet_id: 1,
            next_sequence: 1,
            bytes: 0,
            dropped: 0,
            pending_will: None,
        }
    }

    /// Whether it is kept across connections and restarts.
    pub(crate) const fn durable(&self) -> bool {
        self.expiry_secs > 0
    }

    /// A packet identifier that is not under way. `None` with 65,535 under way, which the bounds exclude.
    pub(crate) fn free_packet_id(&mut self) -> Option<u16> {
        for _ in 0..=u16::MAX {
            let id = self.next_packet_id.max(1);
            self.next_packet_id = id.wrapping_add(1);
            if !self.inflight.contains_key(&id) {
                return Some(id);
            }
        }
        None
    }

    /// The in-flight packet identifiers in the order in which their messages were taken.
    pub(crate) fn inflight_in_order(&self) -> Vec<u16> {
        let mut order: Vec<_> =
            self.inflight.iter().map(|(id, sent)| (sent.delivery.sequence, *id)).collect();
        order.sort_unstable();
        order.into_iter().map(|(_, id)| id).collect()
    }
}

/// Whether a subscription that was just made brings the retained messages.
pub(crate) const fn brings_retained(handling: RetainHandling, existed: bool) -> bool {
    match handling {
        RetainHandling::Always => true,
        RetainHandling::IfNew => !existed,
        RetainHandling::Never => false,
    }
}
