//! The broker's core: sessions, flows, queues and limits of MQTT, without input or output, clock or randomness.
//!
//! ```text
//!            Input                       Broker                        Output
//!  opened, received, closed ──►  decode ─► judge ─► permit     ──►  transmit bytes
//!  stored(ticket)                 │          └► route ─► queues ──►  store(ticket, records)
//!  tick                           └ connect, subscribe, acks   ──►  close
//! ```
//!
//! What is acknowledged is stored: an acknowledgement that depends on records leaves only after [`Input::Stored`] has
//! confirmed their ticket. Files by flow: `connect`, `publish`, `deliver`, `subscribe`, `lifetime` (timers, re-judging),
//! `clones` (one identity in two places).

mod anchors;
mod clones;
mod connect;
mod decode;
mod deliver;
pub(crate) mod door;
mod encode;
mod lifetime;
pub mod message;
mod packet;
pub(crate) mod policy;
mod presence;
mod publish;
pub mod record;
mod retained;
mod session;
pub mod status;
mod subscribe;
mod trie;

#[cfg(test)]
pub(crate) mod tests;

use crate::clones::CloneSeen;
use crate::config::Limits;
use crate::directory::PeerFacts;
use crate::home_assistant::Prefix;
use clones::{Beside, Clones};
use countersign_crypto::random::Random;
use countersign_model::id::ThingId;
use countersign_model::time::Timestamp;
use countersign_model::topic::Filter;
use countersign_protocol::permit::messaging::MessagingSubject;
use decode::Decoder;
use deliver::Group;
use lifetime::Timer;
use message::{Message, Payload};
use packet::{Fault, Incoming, Outgoing, Version, code};
use record::{Record, Snapshot, Ticket};
use retained::Retained;
use session::Session;
pub use session::{SessionId, SessionName, Subscription};
use status::{ChannelFacts, Counters};
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::fmt;
use trie::Trie;

/// A connection's number, given by the shell and never used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnId(pub u64);

/// The present, twice: durations count on a clock that never jumps, instants come from one that may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// Milliseconds since the gateway started.
    pub monotonic: u64,
    /// The calendar's time.
    pub wall: Timestamp,
}

/// What the core needs from outside while it handles an input.
pub struct Context<'a> {
    /// The present.
    pub now: Now,
    /// For client identifiers and command ids.
    pub random: &'a mut dyn Random,
    /// Whether a client identifier is the name of a registered subject.
    pub names_other_subject: &'a dyn Fn(&str) -> bool,
}

/// What happened.
#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "an input is handed over once and never kept")]
pub enum Input<'a> {
    /// A peer was verified and admitted.
    Opened {
        /// The new connection.
        conn: ConnId,
        /// Its certificate's facts.
        peer: PeerFacts,
        /// As the directory admitted it.
        subject: MessagingSubject,
        /// What the channel is made of.
        channel: ChannelFacts,
    },
    /// Bytes came.
    Received {
        /// From where.
        conn: ConnId,
        /// Any number, split anyhow.
        bytes: &'a [u8],
    },
    /// A connection that was [`CloseReason::Displaced`] has taken its goodbye, so somebody was there.
    Answered {
        /// Which.
        conn: ConnId,
    },
    /// The transport is gone.
    Closed {
        /// Which.
        conn: ConnId,
    },
    /// This batch of records and all before it are on the disk.
    Stored {
        /// The last of them.
        ticket: Ticket,
    },
    /// Time has passed.
    Tick,
}

/// What the shell shall do, in this order.
#[derive(Debug, PartialEq)]
pub enum Output {
    /// Write to the connection.
    Transmit {
        /// Where to.
        conn: ConnId,
        /// Whole packets.
        bytes: Vec<u8>,
    },
    /// Write what waits, then close. The core has forgotten the connection already.
    Close {
        /// Which.
        conn: ConnId,
        /// Why.
        reason: CloseReason,
    },
    /// Make durable, then answer with [`Input::Stored`].
    Store {
        /// To be confirmed.
        ticket: Ticket,
        /// In order.
        records: Vec<Record>,
    },
    /// A device has named the newest root that it trusts. Not yet read.
    AnchorState {
        /// Its connection.
        conn: ConnId,
        /// Which device.
        thing: ThingId,
        /// What it sent.
        payload: Payload,
    },
    /// A device has said which policy it holds. Not yet read.
    PolicyState {
        /// Its connection.
        conn: ConnId,
        /// Which device.
        thing: ThingId,
        /// What it sent.
        payload: Payload,
    },
    /// One identity is in two places.
    Clone(Box<CloneSeen>),
}

/// Why a connection ends. Sorted by whose doing it is: the client's, the operator's, the gateway's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CloseReason {
    /// The client said goodbye or hung up.
    ClientLeft,
    /// The client broke the protocol; the code is MQTT 5's.
    ClientFault(u8),
    /// The CONNECT was refused; the code is MQTT 5's.
    ConnectRefused(u8),
    /// The client did what it may not.
    NotAuthorised,
    /// The client fell silent.
    KeepAlive,
    /// Nothing came after the handshake.
    ConnectTimeout,
    /// The same subject connected again with the same client identifier.
    TakenOver,
    /// The same from another place. The shell listens for [`crate::clones::ANSWER`] how the client takes its goodbye, and tells
    /// by [`Input::Answered`] if it does.
    Displaced,
    /// The client's certificate has ended.
    CertificateExpired,
    /// The directory or an operator refuses the subject.
    Administrative(String),
    /// The channel is one that the crypto policy in force does not allow.
    Policy(String),
    /// A bound was reached that this client alone caused.
    Quota,
    /// The gateway ends.
    ShuttingDown,
}

impl CloseReason {
    /// The reason code of the DISCONNECT that a client of MQTT 5 gets; none where it gets none.
    #[must_use]
    pub const fn code(&self) -> Option<u8> {
        match self {
            Self::ClientLeft | Self::ConnectRefused(_) | Self::ConnectTimeout => None,
            Self::ClientFault(code) => Some(*code),
            Self::NotAuthorised => Some(code::NOT_AUTHORIZED),
            Self::KeepAlive => Some(code::KEEP_ALIVE_TIMEOUT),
            Self::TakenOver | Self::Displaced => Some(code::SESSION_TAKEN_OVER),
            Self::CertificateExpired => Some(code::MAXIMUM_CONNECT_TIME),
            Self::Administrative(_) | Self::Policy(_) => Some(code::ADMINISTRATIVE_ACTION),
            Self::Quota => Some(code::QUOTA_EXCEEDED),
            Self::ShuttingDown => Some(code::SERVER_SHUTTING_DOWN),
        }
    }

    /// The sentence that goes with it; none where the reason is not the client's to know.
    #[must_use]
    pub fn sentence(&self) -> Option<&str> {
        match self {
            Self::Policy(why) => Some(why),
            _ => None,
        }
    }
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ClientLeft => f.write_str("the client left"),
            Self::ClientFault(code) => write!(f, "protocol fault 0x{code:02x}"),
            Self::ConnectRefused(code) => write!(f, "CONNECT refused 0x{code:02x}"),
            Self::NotAuthorised => f.write_str("not authorised"),
            Self::KeepAlive => f.write_str("keep-alive timeout"),
            Self::ConnectTimeout => f.write_str("no CONNECT in time"),
            Self::TakenOver => f.write_str("session taken over"),
            Self::Displaced => f.write_str("session taken over from another place"),
            Self::CertificateExpired => f.write_str("certificate expired"),
            Self::Administrative(why) => write!(f, "administrative action: {why}"),
            Self::Policy(why) => write!(f, "crypto policy: {why}"),
            Self::Quota => f.write_str("quota exceeded"),
            Self::ShuttingDown => f.write_str("shutting down"),
        }
    }
}

/// A message for the case that a client leaves without goodbye.
#[derive(Debug, Clone)]
pub(crate) struct Will {
    message: Message,
    delay_secs: u32,
}

/// A packet that waits for its ticket.
#[derive(Debug)]
struct Held {
    ticket: Ticket,
    bytes: Vec<u8>,
    /// It acknowledges a QoS 1 message, whose place in the client's window it gives back.
    frees_inbound: bool,
}

struct Conn {
    peer: PeerFacts,
    subject: MessagingSubject,
    channel: ChannelFacts,
    opened_at: Timestamp,
    decoder: Decoder,
    session: Option<SessionId>,
    /// When the last whole packet came, on the monotonic clock.
    last_heard: u64,
    /// Milliseconds of silence that end the connection.
    patience: u64,
    /// Where its silence timer stands, so that the timer goes with the connection.
    silence_at: u64,
    held: VecDeque<Held>,
    unacknowledged_inbound: usize,
    /// The ticket of the last PUBLISH that waited: none overtakes it.
    held_publish: Ticket,
    /// Another connection of the same device, from another place.
    beside: Option<Beside>,
    /// How many unacknowledged messages the client takes at once.
    window: usize,
    /// The largest packet that the client takes.
    max_packet: usize,
    will: Option<Will>,
}

/// Packets of one connection that may wait for the disk. More than any window admits, so only a client that goes on asking
/// while nothing can be stored gets there.
const MAX_HELD: usize = 4_096;

/// What subscribes at a place of the trie.
#[derive(Debug, Clone, PartialEq)]
enum Target {
    Session(SessionId, Filter),
    /// The group of this `$share` filter.
    Group(Filter),
}

/// The whole broker. Feed it with [`Broker::handle`].
pub struct Broker {
    limits: Limits,
    connect_patience: u64,
    conns: HashMap<ConnId, Conn>,
    sessions: HashMap<SessionId, Session>,
    names: BTreeMap<SessionName, SessionId>,
    trie: Trie<Target>,
    groups: HashMap<Filter, Group>,
    retained: Retained,
    timers: BTreeSet<(u64, Timer)>,
    next_session: u64,
    /// What all queued and in-flight messages cost.
    queued_bytes: usize,
    issued: Ticket,
    stored: Ticket,
    /// Which connections hold packets for a ticket.
    waiting: BTreeMap<Ticket, Vec<ConnId>>,
    records: Vec<Record>,
    out: Vec<Output>,
    counters: Counters,
    clones: Clones,
    /// Where Home Assistant listens; none: it is not told.
    home_assistant: Option<Prefix>,
}

impl Broker {
    /// A broker that goes on where `snapshot` ended. `connect_timeout_ms`: how long a connection may be silent before
    /// its CONNECT is complete.
    #[must_use]
    pub fn new(limits: Limits, connect_timeout_ms: u64, snapshot: Snapshot, now: Now) -> Self {
        let clones = Clones::new(limits.max_sessions);
        let mut broker = Self {
            limits,
            connect_patience: connect_timeout_ms,
            conns: HashMap::new(),
            sessions: HashMap::new(),
            names: BTreeMap::new(),
            trie: Trie::default(),
            groups: HashMap::new(),
            retained: Retained::default(),
            timers: BTreeSet::new(),
            next_session: 1,
            queued_bytes: 0,
            issued: Ticket(0),
            stored: Ticket(0),
            waiting: BTreeMap::new(),
            records: Vec::new(),
            out: Vec::new(),
            counters: Counters::default(),
            clones,
            home_assistant: None,
        };
        broker.restore(snapshot, now);
        broker
    }

    /// Takes one input and says what to do.
    #[must_use]
    pub fn handle(&mut self, input: Input<'_>, context: &mut Context<'_>) -> Vec<Output> {
        match input {
            Input::Opened { conn, peer, subject, channel } => {
                self.opened(conn, peer, subject, channel, context.now);
            }
            Input::Received { conn, bytes } => self.received(conn, bytes, context),
            Input::Answered { conn } => self.answered(conn, context),
            Input::Closed { conn } => {
                self.clones.forget(conn);
                self.detach(conn, &CloseReason::ClientLeft, true, context);
            }
            Input::Stored { ticket } => self.release(ticket),
            Input::Tick => self.tick(context),
        }
        self.finish()
    }

    /// Ends a call: what has to be stored goes out as one batch.
    fn finish(&mut self) -> Vec<Output> {
        if !self.records.is_empty() {
            self.issued.0 += 1;
            let records = std::mem::take(&mut self.records);
            self.out.push(Output::Store { ticket: self.issued, records });
        }
        std::mem::take(&mut self.out)
    }

    //= specs/house.md#house-mqtt
    //# A malformed packet MUST cost the connection that sent it and no other.
    fn received(&mut self, conn: ConnId, mut bytes: &[u8], context: &mut Context<'_>) {
        // Each packet may end the connection, so it is looked up again for the next.
        while let Some(open) = self.conns.get_mut(&conn) {
            if open.held.len() > MAX_HELD {
                return self.close(conn, CloseReason::Quota, context);
            }
            match open.decoder.next(&mut bytes) {
                Ok(Some(packet)) => {
                    open.last_heard = context.now.monotonic;
                    self.counters.packets_received += 1;
                    if open.beside.is_some() {
                        self.heard_beside(conn, context.now);
                    }
                    self.packet(conn, packet, context);
                }
                Ok(None) => return,
                Err(fault) => return self.fault(conn, fault, context),
            }
        }
    }

    fn packet(&mut self, conn: ConnId, packet: Incoming, context: &mut Context<'_>) {
        if let Incoming::Connect(connect) = packet {
            return self.connect(conn, *connect, context);
        }
        // The decoder lets nothing through before a CONNECT, and a refused CONNECT has ended the connection.
        let Some(id) = self.conns.get(&conn).and_then(|open| open.session) else { return };
        match packet {
            Incoming::Connect(_) => {}
            Incoming::Publish(publish) => self.published(conn, id, publish, context),
            Incoming::Puback { id: packet_id } => self.puback(id, packet_id, context.now),
            Incoming::Pubrec { id: packet_id, refused } => {
                self.pubrec(conn, id, packet_id, refused, context.now);
            }
            Incoming::Pubrel { id: packet_id } => self.pubrel(conn, id, packet_id),
            Incoming::Pubcomp { id: packet_id } => self.pubcomp(id, packet_id, context.now),
            Incoming::Subscribe { id: packet_id, subscription_id, entries } => {
                self.subscribe(conn, id, packet_id, subscription_id, entries, context);
            }
            Incoming::Unsubscribe { id: packet_id, filters } => {
                self.unsubscribe(conn, id, packet_id, &filters);
            }
            Incoming::Ping => self.send(conn, &Outgoing::Pong),
            Incoming::Disconnect { with_will, session_expiry } => {
                self.disconnected(conn, id, with_will, session_expiry, context);
            }
        }
    }

    fn fault(&mut self, conn: ConnId, fault: Fault, context: &mut Context<'_>) {
        let connected = self.conns.get(&conn).is_some_and(|open| open.session.is_some());
        let code = match fault {
            Fault::Malformed => code::MALFORMED,
            Fault::Protocol => code::PROTOCOL_ERROR,
            Fault::TooLarge => code::PACKET_TOO_LARGE,
            Fault::TopicAlias => code::TOPIC_ALIAS_INVALID,
            Fault::UnknownVersion => code::UNSUPPORTED_VERSION,
        };
        match fault {
            Fault::UnknownVersion if !connected => self.refuse_connect(conn, code, context),
            _ => self.close(conn, CloseReason::ClientFault(code), context),
        }
    }

    /// Writes a packet now.
    fn send(&mut self, conn: ConnId, packet: &Outgoing<'_>) {
        let Some(bytes) = self.encoded(conn, packet) else { return };
        self.counters.packets_sent += 1;
        self.out.push(Output::Transmit { conn, bytes });
    }

    fn encoded(&self, conn: ConnId, packet: &Outgoing<'_>) -> Option<Vec<u8>> {
        // Before a CONNECT no version is known; MQTT 3.1.1's CONNACK is what every client can read.
        let version = self.conns.get(&conn)?.decoder.version().unwrap_or(Version::V311);
        let bytes = encode::encode(packet, version).ok()?;
        (!bytes.is_empty()).then_some(bytes)
    }

    //= specs/house.md#house-mqtt
    //# An acknowledged message for a persistent session MUST survive the death of the gateway.
    /// Writes an acknowledgement once everything that it vouches for is stored, in the order of the calls.
    fn send_when_stored(&mut self, conn: ConnId, packet: &Outgoing<'_>, frees_inbound: bool) {
        let last_held = self.conns.get(&conn).and_then(|open| open.held.back()).map(|h| h.ticket);
        let ticket = if self.records.is_empty() { last_held } else { Some(self.next_ticket()) };
        match ticket {
            Some(ticket) => self.hold(conn, ticket, packet, frees_inbound),
            None => self.send(conn, packet),
        }
    }

    fn hold(&mut self, conn: ConnId, ticket: Ticket, packet: &Outgoing<'_>, frees_inbound: bool) {
        let Some(bytes) = self.encoded(conn, packet) else { return };
        let Some(open) = self.conns.get_mut(&conn) else { return };
        open.held.push_back(Held { ticket, bytes, frees_inbound });
        open.unacknowledged_inbound += usize::from(frees_inbound);
        let waiting = self.waiting.entry(ticket).or_default();
        if waiting.last() != Some(&conn) {
            waiting.push(conn);
        }
    }

    /// The ticket that the records of this call will get.
    const fn next_ticket(&self) -> Ticket {
        Ticket(self.issued.0 + 1)
    }

    fn release(&mut self, ticket: Ticket) {
        self.stored = self.stored.max(ticket);
        while let Some(entry) = self.waiting.first_entry() {
            if *entry.key() > self.stored {
                break;
            }
            for conn in entry.remove() {
                let Some(open) = self.conns.get_mut(&conn) else { continue };
                while open.held.front().is_some_and(|held| held.ticket <= self.stored) {
                    let Some(held) = open.held.pop_front() else { break };
                    open.unacknowledged_inbound -= usize::from(held.frees_inbound);
                    self.counters.packets_sent += 1;
                    self.out.push(Output::Transmit { conn, bytes: held.bytes });
                }
            }
        }
    }

    /// Whether anything more can be kept at all.
    fn overloaded(&self) -> bool {
        self.queued_bytes + self.retained.bytes() > self.limits.max_total_bytes
            || self.issued.0 - self.stored.0 > self.limits.max_store_backlog
    }
}
