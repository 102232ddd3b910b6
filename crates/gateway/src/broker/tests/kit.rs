//! A world of one broker and any number of clients.

use super::super::message::Qos;
use super::super::record::{Record, Snapshot, Ticket};
use super::super::status::ChannelFacts;
use super::super::{Broker, CloseReason, ConnId, Context, Input, Now, Output};
use crate::clones::CloneSeen;
use crate::config::Limits;
use crate::directory::{PeerFacts, PeerKind};
use countersign_crypto::random::Random;
use countersign_model::time::Timestamp;
use countersign_protocol::permit::messaging::MessagingSubject;
use mqtt_protocol_core::mqtt::common::Cursor;
use mqtt_protocol_core::mqtt::connection::{Event, role};
use mqtt_protocol_core::mqtt::packet::{
    self as wire, GenericPacketTrait, Packet, Property, SubEntry, SubOpts, v3_1_1, v5_0,
};
use mqtt_protocol_core::mqtt::{Connection, Version};
use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, SocketAddr};

pub(crate) const CONNECT_TIMEOUT: u64 = 10_000;

/// Different every time, the same in every run.
pub(crate) struct Counting(pub(crate) u8);

impl Random for Counting {
    fn fill(&mut self, out: &mut [u8]) {
        self.0 = self.0.wrapping_add(1);
        out.fill(self.0);
    }
}

pub(crate) fn device(name: &str) -> MessagingSubject {
    MessagingSubject::Device(name.parse().unwrap())
}

pub(crate) fn service(name: &str, grants: &[&str]) -> MessagingSubject {
    let grants = grants.iter().map(|grant| grant.parse().unwrap()).collect();
    MessagingSubject::Service { name: name.parse().unwrap(), grants }
}

pub(crate) fn backend() -> MessagingSubject {
    service(
        "backend",
        &["subscribe things/#", "publish things/#", "publish home/#", "subscribe home/#"],
    )
}

pub(crate) fn facts(subject: &MessagingSubject) -> PeerFacts {
    let kind = match subject {
        MessagingSubject::Device(_) => PeerKind::Thing,
        MessagingSubject::Service { .. } => PeerKind::Service,
    };
    PeerFacts {
        kind,
        name: subject.name().to_owned(),
        serial_hex: format!("{:x>16}", subject.name().len()),
        spki_sha256: "00".repeat(32),
        not_after: Timestamp(u64::MAX / 4),
    }
}

/// What was received, as far as tests look at it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Got {
    pub(crate) topic: String,
    pub(crate) payload: Vec<u8>,
    pub(crate) qos: u8,
    pub(crate) retain: bool,
}

pub(crate) fn got(topic: &str, payload: &str, qos: u8, retain: bool) -> Got {
    Got { topic: topic.to_owned(), payload: payload.as_bytes().to_vec(), qos, retain }
}

pub(crate) struct Client {
    pub(crate) machine: Connection<role::Client>,
    version: Version,
    pub(crate) packets: Vec<Packet>,
    to_broker: VecDeque<Vec<u8>>,
}

/// How to connect.
#[derive(Clone)]
pub(crate) struct Dial {
    pub(crate) version: Version,
    pub(crate) client_id: &'static str,
    pub(crate) clean: bool,
    /// MQTT 5 only; MQTT 3.1.1 keeps the session exactly if it is not clean.
    pub(crate) expiry: u32,
    pub(crate) keep_alive: u16,
    pub(crate) will: Option<(&'static str, &'static str, bool)>,
    pub(crate) will_delay: u32,
    pub(crate) receive_maximum: Option<u16>,
}

pub(crate) fn v5(client_id: &'static str) -> Dial {
    Dial {
        version: Version::V5_0,
        client_id,
        clean: true,
        expiry: 0,
        keep_alive: 60,
        will: None,
        will_delay: 0,
        receive_maximum: None,
    }
}

pub(crate) fn v311(client_id: &'static str) -> Dial {
    Dial { version: Version::V3_1_1, ..v5(client_id) }
}

pub(crate) fn kept(dial: Dial) -> Dial {
    Dial { clean: false, expiry: 3600, ..dial }
}

pub(crate) fn connect_packet(dial: &Dial) -> Packet {
    let will = |(topic, payload, _): (&'static str, &'static str, bool)| (topic, payload);
    match dial.version {
        Version::V5_0 => {
            let mut props: Vec<Property> = Vec::new();
            if dial.expiry > 0 {
                props.push(wire::SessionExpiryInterval::new(dial.expiry).unwrap().into());
            }
            if let Some(max) = dial.receive_maximum {
                props.push(wire::ReceiveMaximum::new(max).unwrap().into());
            }
            let mut builder = v5_0::Connect::builder()
                .client_id(dial.client_id)
                .unwrap()
                .clean_start(dial.clean)
                .keep_alive(dial.keep_alive)
                .props(props);
            if let Some(message) = dial.will {
                let (topic, payload) = will(message);
                builder = builder
                    .will_message(topic, payload, wire::Qos::AtLeastOnce, message.2)
                    .unwrap();
                let delay = wire::WillDelayInterval::new(dial.will_delay).unwrap();
                builder = builder.will_props(vec![Property::from(delay)]);
            }
            builder.build().unwrap().into()
        }
        _ => {
            let mut builder = v3_1_1::Connect::builder()
                .client_id(dial.client_id)
                .unwrap()
                .clean_session(dial.clean)
                .keep_alive(dial.keep_alive);
            if let Some(message) = dial.will {
                let (topic, payload) = will(message);
                builder = builder
                    .will_message(topic, payload, wire::Qos::AtLeastOnce, message.2)
                    .unwrap();
            }
            builder.build().unwrap().into()
        }
    }
}

fn wire_qos(qos: u8) -> wire::Qos {
    wire::Qos::try_from(qos).unwrap()
}

impl Client {
    pub(crate) fn new(version: Version) -> Self {
        let mut machine = Connection::<role::Client>::new(version);
        machine.set_auto_pub_response(true);
        Self { machine, version, packets: Vec::new(), to_broker: VecDeque::new() }
    }

    pub(crate) fn send(&mut self, packet: Packet) {
        let events = self.machine.send(packet);
        self.events(events);
    }

    fn events(&mut self, events: Vec<Event>) {
        for event in events {
            match event {
                Event::NotifyPacketReceived(packet) => self.packets.push(packet),
                Event::RequestSendPacket { packet, .. } => {
                    self.to_broker.push_back(packet.to_continuous_buffer());
                }
                Event::NotifyError(error) => panic!("the client's protocol machine says {error:?}"),
                _ => {}
            }
        }
    }

    pub(crate) fn receive(&mut self, bytes: &[u8]) {
        let mut cursor = Cursor::new(bytes);
        while cursor.position() < bytes.len() as u64 {
            let events = self.machine.recv(&mut cursor);
            self.events(events);
        }
    }

    /// What the client wants to write.
    pub(crate) fn take_output(&mut self) -> Vec<u8> {
        self.to_broker.drain(..).flatten().collect()
    }

    pub(crate) fn publish(&mut self, topic: &str, payload: &str, qos: u8, retain: bool) -> u16 {
        let id = if qos > 0 { self.machine.acquire_packet_id().unwrap() } else { 0 };
        let packet: Packet = match self.version {
            Version::V5_0 => {
                let mut builder = v5_0::Publish::builder()
                    .topic_name(topic)
                    .unwrap()
                    .qos(wire_qos(qos))
                    .retain(retain)
                    .payload(payload);
                if qos > 0 {
                    builder = builder.packet_id(id);
                }
                builder.build().unwrap().into()
            }
            _ => {
                let mut builder = v3_1_1::Publish::builder()
                    .topic_name(topic)
                    .unwrap()
                    .qos(wire_qos(qos))
                    .retain(retain)
                    .payload(payload);
                if qos > 0 {
                    builder = builder.packet_id(id);
                }
                builder.build().unwrap().into()
            }
        };
        self.send(packet);
        id
    }

    pub(crate) fn subscribe(&mut self, filters: &[(&str, u8)]) {
        let id = self.machine.acquire_packet_id().unwrap();
        let entries: Vec<_> = filters
            .iter()
            .map(|(f, q)| SubEntry::new(*f, SubOpts::new().set_qos(wire_qos(*q))).unwrap())
            .collect();
        let packet: Packet = match self.version {
            Version::V5_0 => {
                v5_0::Subscribe::builder().packet_id(id).entries(entries).build().unwrap().into()
            }
            _ => {
                v3_1_1::Subscribe::builder().packet_id(id).entries(entries).build().unwrap().into()
            }
        };
        self.send(packet);
    }

    /// The messages received since the last look, in order.
    pub(crate) fn messages(&mut self) -> Vec<Got> {
        let mut all = Vec::new();
        self.packets.retain(|packet| {
            let message = match packet {
                Packet::V5_0Publish(p) => Got {
                    topic: p.topic_name().to_owned(),
                    payload: p.payload().as_slice().to_vec(),
                    qos: p.qos() as u8,
                    retain: p.retain(),
                },
                Packet::V3_1_1Publish(p) => Got {
                    topic: p.topic_name().to_owned(),
                    payload: p.payload().as_slice().to_vec(),
                    qos: p.qos() as u8,
                    retain: p.retain(),
                },
                _ => return true,
            };
            all.push(message);
            false
        });
        all
    }

    /// The user properties of the last message.
    pub(crate) fn last_user_properties(&self) -> Vec<(String, String)> {
        let last = self.packets.iter().rev().find_map(|packet| match packet {
            Packet::V5_0Publish(p) => Some(p.props()),
            _ => None,
        });
        let user = last.unwrap().iter().filter_map(|property| match property {
            Property::UserProperty(user) => Some((user.key().to_owned(), user.val().to_owned())),
            _ => None,
        });
        user.collect()
    }

    /// The codes of the last SUBACK.
    pub(crate) fn suback(&self) -> Vec<u8> {
        let codes = self.packets.iter().rev().find_map(|packet| match packet {
            Packet::V5_0Suback(p) => Some(p.reason_codes().iter().map(|c| *c as u8).collect()),
            Packet::V3_1_1Suback(p) => Some(p.return_codes().iter().map(|c| *c as u8).collect()),
            _ => None,
        });
        codes.unwrap()
    }

    /// Packet identifier and code of every PUBACK.
    pub(crate) fn pubacks(&self) -> Vec<(u16, u8)> {
        let acks = self.packets.iter().filter_map(|packet| match packet {
            Packet::V5_0Puback(p) => {
                Some((p.packet_id(), p.reason_code().map_or(0, |code| code as u8)))
            }
            Packet::V3_1_1Puback(p) => Some((p.packet_id(), 0)),
            _ => None,
        });
        acks.collect()
    }

    /// Code and session-present of the CONNACK.
    pub(crate) fn connack(&self) -> Option<(u8, bool)> {
        self.packets.iter().find_map(|packet| match packet {
            Packet::V5_0Connack(p) => Some((p.reason_code() as u8, p.session_present())),
            Packet::V3_1_1Connack(p) => Some((p.return_code() as u8, p.session_present())),
            _ => None,
        })
    }

    /// The code of the DISCONNECT that the broker sent.
    pub(crate) fn goodbye(&self) -> Option<u8> {
        self.packets.iter().find_map(|packet| match packet {
            Packet::V5_0Disconnect(p) => Some(p.reason_code().map_or(0, |code| code as u8)),
            _ => None,
        })
    }
}

pub(crate) struct World {
    pub(crate) broker: Broker,
    pub(crate) now: Now,
    random: Counting,
    /// Names that count as registered.
    pub(crate) names: Vec<String>,
    pub(crate) clients: HashMap<ConnId, Client>,
    /// What went to connections that have no client.
    pub(crate) raw: Vec<u8>,
    pub(crate) closed: HashMap<ConnId, CloseReason>,
    /// Batches are confirmed at once; otherwise they wait in `batches`.
    pub(crate) disk_works: bool,
    pub(crate) batches: VecDeque<(Ticket, Vec<Record>)>,
    pub(crate) log: Vec<Record>,
    pub(crate) clones: Vec<CloneSeen>,
    next: u64,
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with(Limits::default(), Snapshot::default())
    }

    pub(crate) fn with(limits: Limits, snapshot: Snapshot) -> Self {
        let now = Now { monotonic: 0, wall: Timestamp::from_secs(1_795_000_000) };
        Self {
            broker: Broker::new(limits, CONNECT_TIMEOUT, snapshot, now),
            now,
            random: Counting(0),
            names: Vec::new(),
            clients: HashMap::new(),
            raw: Vec::new(),
            closed: HashMap::new(),
            disk_works: true,
            batches: VecDeque::new(),
            log: Vec::new(),
            clones: Vec::new(),
            next: 0,
        }
    }

    pub(crate) fn call(&mut self, call: impl FnOnce(&mut Broker, &mut Context<'_>) -> Vec<Output>) {
        let names = self.names.clone();
        let known = |id: &str| names.iter().any(|name| name == id);
        let mut context =
            Context { now: self.now, random: &mut self.random, names_other_subject: &known };
        let outputs = call(&mut self.broker, &mut context);
        for output in outputs {
            match output {
                Output::Transmit { conn, bytes } => match self.clients.get_mut(&conn) {
                    Some(client) => client.receive(&bytes),
                    None => self.raw.extend(bytes),
                },
                Output::Close { conn, reason } => {
                    self.closed.insert(conn, reason);
                }
                Output::PolicyState { .. } | Output::AnchorState { .. } => {}
                Output::Clone(seen) => self.clones.push(*seen),
                Output::Store { ticket, records } => {
                    self.log.extend(records.iter().cloned());
                    self.batches.push_back((ticket, records));
                }
            }
        }
    }

    /// Lets everything happen that is under way.
    pub(crate) fn settle(&mut self) {
        loop {
            if self.disk_works
                && let Some((ticket, _)) = self.batches.pop_front()
            {
                self.call(|broker, context| broker.handle(Input::Stored { ticket }, context));
                continue;
            }
            let ready = self.clients.iter_mut().find_map(|(conn, client)| {
                let bytes = client.take_output();
                (!bytes.is_empty()).then_some((*conn, bytes))
            });
            let Some((conn, bytes)) = ready else { return };
            self.bytes(conn, &bytes);
        }
    }

    pub(crate) fn bytes(&mut self, conn: ConnId, bytes: &[u8]) {
        self.call(|broker, context| broker.handle(Input::Received { conn, bytes }, context));
    }

    /// A connection without a CONNECT.
    pub(crate) fn open(&mut self, subject: &MessagingSubject, peer: PeerFacts) -> ConnId {
        self.open_over(subject, peer, ChannelFacts::default())
    }

    fn open_over(
        &mut self,
        subject: &MessagingSubject,
        peer: PeerFacts,
        channel: ChannelFacts,
    ) -> ConnId {
        self.next += 1;
        let conn = ConnId(self.next);
        let subject = subject.clone();
        self.call(|broker, context| {
            broker.handle(Input::Opened { conn, peer, subject, channel }, context)
        });
        conn
    }

    pub(crate) fn dial(&mut self, subject: &MessagingSubject, dial: Dial) -> ConnId {
        let conn = self.open(subject, facts(subject));
        self.greet(conn, dial)
    }

    /// The same from this address, with this certificate.
    pub(crate) fn dial_from(
        &mut self,
        address: IpAddr,
        subject: &MessagingSubject,
        peer: PeerFacts,
        dial: Dial,
    ) -> ConnId {
        let remote = Some(SocketAddr::new(address, 40_000));
        let conn = self.open_over(subject, peer, ChannelFacts { remote, ..Default::default() });
        self.greet(conn, dial)
    }

    fn greet(&mut self, conn: ConnId, dial: Dial) -> ConnId {
        let mut client = Client::new(dial.version);
        client.send(connect_packet(&dial));
        self.clients.insert(conn, client);
        self.settle();
        conn
    }

    pub(crate) fn client(&mut self, conn: ConnId) -> &mut Client {
        self.clients.get_mut(&conn).unwrap()
    }

    /// The network is cut.
    pub(crate) fn cut(&mut self, conn: ConnId) {
        self.clients.remove(&conn);
        self.call(|broker, context| broker.handle(Input::Closed { conn }, context));
        self.settle();
    }

    /// The client of a displaced connection takes its goodbye.
    pub(crate) fn answer(&mut self, conn: ConnId) {
        self.call(|broker, context| broker.handle(Input::Answered { conn }, context));
        self.cut(conn);
    }

    pub(crate) fn subscribe(&mut self, conn: ConnId, filters: &[(&str, u8)]) -> Vec<u8> {
        self.client(conn).subscribe(filters);
        self.settle();
        self.client(conn).suback()
    }

    pub(crate) fn publish(&mut self, conn: ConnId, topic: &str, payload: &str, qos: u8) {
        self.client(conn).publish(topic, payload, qos, false);
        self.settle();
    }

    pub(crate) fn messages(&mut self, conn: ConnId) -> Vec<Got> {
        self.client(conn).messages()
    }

    /// Time passes, timer by timer.
    pub(crate) fn pass(&mut self, millis: u64) {
        let end = self.now.monotonic + millis;
        while let Some(at) = self.broker.next_timeout().filter(|at| *at <= end) {
            let step = at.saturating_sub(self.now.monotonic);
            self.now.monotonic += step;
            self.now.wall = Timestamp(self.now.wall.0 + step);
            self.call(|broker, context| broker.handle(Input::Tick, context));
            self.settle();
        }
        let rest = end - self.now.monotonic;
        self.now.monotonic = end;
        self.now.wall = Timestamp(self.now.wall.0 + rest);
    }

    pub(crate) fn rejudge(
        &mut self,
        mut judge: impl FnMut(&PeerFacts) -> Result<MessagingSubject, String>,
    ) {
        self.call(|broker, context| broker.rejudge(context, &mut judge));
        self.settle();
    }
}

/// QoS as the model writes it.
pub(crate) fn qos(value: u8) -> Qos {
    Qos::from_u8(value).unwrap()
}
