//! Whatever a client sends, the broker answers or closes; it neither panics nor lets in.

use super::kit::{Client, World, backend, connect_packet, device, facts, kept, v5, v311};
use crate::broker::CloseReason;
use mqtt_protocol_core::mqtt::packet::GenericPacketTrait;
use proptest::prelude::*;

fn connect_bytes(old: bool) -> Vec<u8> {
    let dial = if old { kept(v311("x")) } else { kept(v5("x")) };
    connect_packet(&dial).to_continuous_buffer()
}

/// A dozen packets of an ordinary conversation.
fn conversation(old: bool) -> Vec<u8> {
    let dial = if old { v311("x") } else { v5("x") };
    let mut client = Client::new(dial.version);
    client.send(connect_packet(&dial));
    let mut bytes = client.take_output();
    let connack: &[u8] = if old { &[0x20, 2, 0, 0] } else { &[0x20, 3, 0, 0, 0] };
    client.receive(connack);
    client.subscribe(&[("things/#", 2), ("home/+", 1)]);
    for qos in 0..3 {
        client.publish("home/a", "payload", qos, qos == 1);
    }
    bytes.extend(client.take_output());
    bytes.extend([0x62, 2, 0, 4, 0xc0, 0]);
    bytes
}

#[test]
fn what_comes_before_connect_closes() {
    for bytes in [&[0xc0, 0][..], b"GET / HTTP/1.1\r\n\r\n", &[0x10, 0xff, 0xff, 0xff, 0xff, 0xff]]
    {
        let mut world = World::new();
        let conn = world.open(&backend(), facts(&backend()));
        world.bytes(conn, bytes);
        assert!(world.closed.contains_key(&conn), "{bytes:?}");
        assert_eq!(world.broker.status().kept_sessions, 0);
    }
}

#[test]
fn a_packet_beyond_the_bound_is_refused_by_its_length_alone() {
    let mut world = World::new();
    let conn = world.dial(&device("plug-1"), v5("x"));
    world.bytes(conn, &[0x30, 0xff, 0xff, 0xff, 0x7f]);
    assert_eq!(world.closed.get(&conn), Some(&CloseReason::ClientFault(0x95)));
}

#[test]
fn an_unknown_protocol_level_hears_so() {
    let mut world = World::new();
    let conn = world.open(&backend(), facts(&backend()));
    let mut bytes = connect_bytes(true);
    bytes[8] = 9;
    world.bytes(conn, &bytes);
    assert_eq!(world.closed.get(&conn), Some(&CloseReason::ConnectRefused(0x84)));
}

#[test]
fn a_window_is_a_window() {
    let mut world = World::new();
    let subscriber = world.dial(&backend(), kept(v5("s")));
    world.subscribe(subscriber, &[("things/#", 1)]);
    let plug = world.dial(&device("plug-1"), v5("p"));
    world.disk_works = false;
    for _ in 0..32 {
        world.publish(plug, "things/plug-1/events/e", "1", 1);
    }
    assert!(!world.closed.contains_key(&plug));
    let mut greedy = vec![0x32, 27, 0, 22];
    greedy.extend(b"things/plug-1/events/e");
    greedy.extend([0x7f, 0xff, 0]);
    world.bytes(plug, &greedy);
    assert_eq!(world.closed.get(&plug), Some(&CloseReason::ClientFault(0x93)));
}

proptest! {
    #[test]
    fn random_bytes_never_panic(
        old in any::<bool>(), connected in any::<bool>(),
        chunks in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..64), 0..8),
    ) {
        let mut world = World::new();
        let conn = world.open(&backend(), facts(&backend()));
        if connected {
            world.bytes(conn, &connect_bytes(old));
        }
        for chunk in chunks {
            world.bytes(conn, &chunk);
        }
        world.pass(10_000_000);
        prop_assert!(world.broker.status().sessions.is_empty(), "silence ends everything");
    }

    //= specs/house.md#house-mqtt
    //= type=test
    //# A malformed packet MUST cost the connection that sent it and no other.
    #[test]
    fn a_conversation_with_errors_never_panics(
        old in any::<bool>(),
        flips in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        cuts in proptest::collection::vec(1_usize..20, 1..8),
    ) {
        let mut world = World::new();
        let conn = world.open(&backend(), facts(&backend()));
        let mut bytes = conversation(old);
        for (at, value) in flips {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        let mut cuts = cuts.into_iter().cycle();
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let (head, tail) = rest.split_at(cuts.next().unwrap_or(1).min(rest.len()));
            world.bytes(conn, head);
            rest = tail;
        }
        world.cut(conn);
        world.settle();
        let status = world.broker.status();
        prop_assert!(status.sessions.is_empty());
    }

    /// An unharmed conversation works however the network cuts it.
    #[test]
    fn splitting_changes_nothing(old in any::<bool>(), cut in 1_usize..50) {
        let mut world = World::new();
        let conn = world.open(&backend(), facts(&backend()));
        for part in conversation(old).chunks(cut) {
            world.bytes(conn, part);
        }
        prop_assert!(!world.closed.contains_key(&conn));
        prop_assert_eq!(world.broker.status().sessions[0].subscriptions.len(), 2);
        prop_assert_eq!(world.broker.status().retained, 1);
    }
}
