//! The broker, with one client that sends whatever it likes beside one that behaves.

use super::known::{Known, NOW};
use countersign_gateway::broker::record::Snapshot;
use countersign_gateway::broker::status::ChannelFacts;
use countersign_gateway::broker::{Broker, ConnId, Context, Input, Now, Output};
use countersign_gateway::config::Limits;
use countersign_gateway::directory::{PeerFacts, PeerKind};
use countersign_protocol::permit::messaging::MessagingSubject;

const HONEST: ConnId = ConnId(1);
const WILD: ConnId = ConnId(2);

/// CONNECT of 3.1.1 as "watch", then SUBSCRIBE to `things/#`.
const WATCH: &[u8] =
    b"\x10\x11\x00\x04MQTT\x04\x02\x00\x3c\x00\x05watch\x82\x0d\x00\x01\x00\x08things/#\x00";

/// The honest client keeps its connection and hears the wild one only on topics that are the wild one's own.
pub fn target(data: &[u8]) {
    let mut world = World::new();
    let service = MessagingSubject::Service {
        name: "watch".parse().expect("a name"),
        grants: vec!["subscribe things/#".parse().expect("a grant")],
    };
    let device = MessagingSubject::Device("plug-000001".parse().expect("a name"));
    world.open(HONEST, PeerKind::Service, "watch", service);
    world.feed(HONEST, WATCH);
    assert!(world.heard_by_honest > 0, "the honest client is not connected");
    world.open(WILD, PeerKind::Thing, "plug-000001", device);
    for piece in data.chunks(61) {
        world.feed(WILD, piece);
    }
    world.now.monotonic += 5_000;
    world.handle(Input::Tick);
    world.handle(Input::Closed { conn: WILD });
}

struct World {
    broker: Broker,
    random: Known,
    now: Now,
    heard_by_honest: usize,
}

impl World {
    fn new() -> Self {
        let now = Now { monotonic: 1_000, wall: NOW };
        let broker = Broker::new(Limits::default(), 10_000, Snapshot::default(), now);
        Self { broker, random: Known(3), now, heard_by_honest: 0 }
    }

    fn open(&mut self, conn: ConnId, kind: PeerKind, name: &str, subject: MessagingSubject) {
        let peer = PeerFacts {
            kind,
            name: name.to_owned(),
            serial_hex: "01".to_owned(),
            spki_sha256: format!("{:064x}", conn.0),
            not_after: countersign_model::time::Timestamp::from_secs(2_000_000_000),
        };
        self.handle(Input::Opened { conn, peer, subject, channel: ChannelFacts::default() });
    }

    fn feed(&mut self, conn: ConnId, bytes: &[u8]) {
        self.handle(Input::Received { conn, bytes });
    }

    fn handle(&mut self, input: Input<'_>) {
        let mut waiting = vec![];
        waiting.extend(self.step(input));
        while let Some(output) = waiting.pop() {
            match output {
                Output::Store { ticket, .. } => waiting.extend(self.step(Input::Stored { ticket })),
                Output::Transmit { conn: HONEST, bytes } => self.check(&bytes),
                Output::Transmit { .. }
                | Output::PolicyState { .. }
                | Output::AnchorState { .. }
                | Output::Clone(_) => {}
                //= specs/house.md#house-mqtt
                //= type=test
                //# A malformed packet MUST cost the connection that sent it and no other.
                Output::Close { conn, reason } => {
                    assert_eq!(conn, WILD, "the honest client lost its connection: {reason}");
                }
            }
        }
    }

    fn step(&mut self, input: Input<'_>) -> Vec<Output> {
        let mut context = Context {
            now: self.now,
            random: &mut self.random,
            names_other_subject: &|name| name == "watch",
        };
        self.broker.handle(input, &mut context)
    }

    /// A PUBLISH to the honest client is about the wild one's own things.
    fn check(&mut self, mut packets: &[u8]) {
        self.heard_by_honest += packets.len();
        while let Some((&kind, rest)) = packets.split_first() {
            let (mut length, mut shift, mut at) = (0usize, 0, 0);
            while let Some(&byte) = rest.get(at) {
                length |= usize::from(byte & 0x7f) << shift;
                (shift, at) = (shift + 7, at + 1);
                if byte & 0x80 == 0 {
                    break;
                }
            }
            let body = &rest[at..at + length];
            if kind >> 4 == 3 {
                let topic = &body[2..2 + usize::from(u16::from_be_bytes([body[0], body[1]]))];
                assert!(topic.starts_with(b"things/plug-000001/"), "a foreign topic was heard");
            }
            packets = &rest[at + length..];
        }
    }
}
