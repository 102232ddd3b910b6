//! What the broker asks its store to keep, and what it begins with after a restart.

use super::message::{Message, Qos};
use super::session::{SessionId, SessionName, Subscription};
use countersign_model::time::Timestamp;
use countersign_model::topic::{Filter, Topic};
use countersign_protocol::permit::messaging::MessagingSubject;
use std::sync::Arc;

/// A batch of records that was handed out together. Tickets rise by one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Ticket(pub u64);

/// One change. The store applies records in the order in which they come, each batch wholly or not at all.
#[derive(Debug, Clone, PartialEq)]
pub enum Record {
    /// A session that outlives its connection, new or changed.
    Session {
        /// Its key.
        id: SessionId,
        /// Who and which.
        name: SessionName,
        /// With the grants as last judged.
        subject: MessagingSubject,
        /// Seconds after the connection's end.
        expiry_secs: u32,
        /// When the connection ended; `None` while it is open.
        offline_since: Option<Timestamp>,
    },
    /// The session and all of its rows are gone.
    SessionGone {
        /// Its key.
        id: SessionId,
    },
    /// A subscription, new or changed.
    Subscribed {
        /// Whose.
        id: SessionId,
        /// To what.
        filter: Filter,
        /// How.
        subscription: Subscription,
    },
    /// A subscription is gone.
    Unsubscribed {
        /// Whose.
        id: SessionId,
        /// From what.
        filter: Filter,
    },
    /// A message waits for the session.
    Queued {
        /// Whose.
        id: SessionId,
        /// Where in its order.
        sequence: u64,
        /// The message.
        message: Arc<Message>,
        /// The QoS of the delivery.
        qos: Qos,
        /// The retain flag of the delivery.
        retain: bool,
        /// The subscriptions' identifiers.
        subscription_ids: Vec<u32>,
    },
    /// A QoS 2 message has its packet identifier, or has been taken by the client.
    UnderWay {
        /// Whose.
        id: SessionId,
        /// Which.
        sequence: u64,
        /// The packet identifier.
        packet_id: u16,
        /// The client has it.
        released: bool,
    },
    /// The message is done with.
    Dequeued {
        /// Whose.
        id: SessionId,
        /// Which.
        sequence: u64,
    },
    /// A QoS 2 message of this packet identifier was taken from the client.
    Taken {
        /// Whose.
        id: SessionId,
        /// The client's packet identifier.
        packet_id: u16,
    },
    /// The client has released that packet identifier.
    TakenDone {
        /// Whose.
        id: SessionId,
        /// The client's packet identifier.
        packet_id: u16,
    },
    /// The topic's retained message.
    Retained {
        /// The message.
        message: Arc<Message>,
    },
    /// The topic has no retained message any more.
    RetainedGone {
        /// The topic.
        topic: Topic,
    },
}

/// What a store held when the gateway started.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct Snapshot {
    /// The kept sessions.
    pub sessions: Vec<StoredSession>,
    /// The retained messages.
    pub retained: Vec<Message>,
}

/// A session as stored.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredSession {
    /// Its key.
    pub id: SessionId,
    /// Who and which.
    pub name: SessionName,
    /// With the grants as last judged.
    pub subject: MessagingSubject,
    /// Seconds after the connection's end.
    pub expiry_secs: u32,
    /// When the connection ended; `None`: it was open when the gateway ended.
    pub offline_since: Option<Timestamp>,
    /// Its subscriptions.
    pub subscriptions: Vec<(Filter, Subscription)>,
    /// Its messages, in order.
    pub messages: Vec<StoredMessage>,
    /// The client's packet identifiers that were taken and not released.
    pub taken: Vec<u16>,
}

/// A waiting message as stored.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredMessage {
    /// Where in the session's order.
    pub sequence: u64,
    /// The message.
    pub message: Message,
    /// The QoS of the delivery.
    pub qos: Qos,
    /// The retain flag of the delivery.
    pub retain: bool,
    /// The subscriptions' identifiers.
    pub subscription_ids: Vec<u32>,
    /// QoS 2: the packet identifier, and whether the client has the message.
    pub under_way: Option<(u16, bool)>,
}
