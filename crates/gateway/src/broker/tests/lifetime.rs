//! What time ends: silence, sessions, wills.

use super::kit::{CONNECT_TIMEOUT, Dial, World, backend, device, facts, got, kept, v5, v311};
use crate::broker::CloseReason;
use crate::broker::record::{Record, Snapshot};
use crate::config::Limits;
use mqtt_protocol_core::mqtt::packet::{Packet, v5_0};

const GONE: &str = "things/plug-1/events/gone";

#[test]
fn silence_ends_a_connection_and_a_ping_keeps_it() {
    let mut world = World::new();
    let plug = world.dial(&device("plug-1"), Dial { keep_alive: 10, ..v5("a") });
    for _ in 0..5 {
        world.pass(14_000);
        assert!(!world.closed.contains_key(&plug));
        world.client(plug).send(v5_0::Pingreq::new().into());
        world.settle();
    }
    assert!(world.client(plug).packets.iter().any(|p| matches!(p, Packet::V5_0Pingresp(_))));
    world.pass(15_001);
    assert_eq!(world.closed.get(&plug), Some(&CloseReason::KeepAlive));
    assert_eq!(world.client(plug).goodbye(), Some(0x8d));
}

#[test]
fn a_connection_without_connect_ends() {
    let mut world = World::new();
    let conn = world.open(&device("plug-1"), facts(&device("plug-1")));
    // Bytes that complete no packet do not count as life.
    world.pass(CONNECT_TIMEOUT - 1);
    world.bytes(conn, &[0x10]);
    world.pass(2);
    assert_eq!(world.closed.get(&conn), Some(&CloseReason::ConnectTimeout));
}

#[test]
fn a_will_speaks_for_those_who_leave_without_goodbye() {
    for dial in [v5("a"), v311("a")] {
        let mut world = World::new();
        let listener = world.dial(&backend(), Dial { keep_alive: 0, ..v5("l") });
        world.subscribe(listener, &[("things/#", 1)]);
        let dial = Dial { will: Some((GONE, "x", true)), ..dial };
        let plug = world.dial(&device("plug-1"), dial.clone());
        world.cut(plug);
        assert_eq!(world.messages(listener), [got(GONE, "x", 1, false)]);
        assert_eq!(world.broker.status().retained, 1);
        let plug = world.dial(&device("plug-1"), dial.clone());
        let goodbye: Packet = match dial.version {
            mqtt_protocol_core::mqtt::Version::V5_0 => {
                v5_0::Disconnect::builder().build().unwrap().into()
            }
            _ => mqtt_protocol_core::mqtt::packet::v3_1_1::Disconnect::new().into(),
        };
        world.client(plug).send(goodbye);
        world.settle();
        assert_eq!(world.closed.get(&plug), Some(&CloseReason::ClientLeft));
        assert_eq!(world.messages(listener), []);
    }
}

#[test]
fn a_delayed_will_is_withdrawn_by_a_return() {
    let mut world = World::new();
    let listener = world.dial(&backend(), Dial { keep_alive: 1000, ..v5("l") });
    world.subscribe(listener, &[("things/#", 1)]);
    let dial = Dial { will: Some((GONE, "x", false)), will_delay: 5, ..kept(v5("a")) };
    let plug = world.dial(&device("plug-1"), dial.clone());
    world.cut(plug);
    world.pass(4_000);
    let plug = world.dial(&device("plug-1"), dial);
    world.pass(10_000);
    assert_eq!(world.messages(listener), []);
    world.cut(plug);
    world.pass(5_000);
    assert_eq!(world.messages(listener).len(), 1);
}

#[test]
fn a_session_ends_when_its_time_is_over() {
    let mut world = World::new();
    let conn = world.dial(&backend(), Dial { expiry: 100, ..kept(v5("s")) });
    world.subscribe(conn, &[("things/#", 1)]);
    world.cut(conn);
    world.pass(99_000);
    assert_eq!(world.broker.status().kept_sessions, 1);
    world.pass(2_000);
    assert_eq!(world.broker.status().kept_sessions, 0);
    assert!(matches!(world.log.last(), Some(Record::SessionGone { .. })));
}

#[test]
fn one_subjects_sessions_are_its_own_share() {
    let limits = Limits { max_sessions_per_subject: 2, max_sessions: 3, ..Limits::default() };
    let mut world = World::with(limits, Snapshot::default());
    let a = world.dial(&device("plug-1"), kept(v5("a")));
    world.cut(a);
    world.dial(&device("plug-1"), kept(v5("b")));
    let c = world.dial(&device("plug-1"), kept(v5("c")));
    assert_eq!(world.client(c).connack(), Some((0, false)), "the absent one made room");
    let d = world.dial(&device("plug-1"), kept(v5("d")));
    assert_eq!(world.client(d).connack(), Some((0x97, false)));
    let other = world.dial(&device("plug-2"), v5("x"));
    assert_eq!(world.client(other).connack(), Some((0, false)));
    let none_left = world.dial(&device("plug-3"), v5("x"));
    assert_eq!(world.client(none_left).connack(), Some((0x97, false)));
}

#[test]
fn a_calendar_that_jumps_ends_no_living_session() {
    let mut world = World::new();
    let plug = world.dial(&device("plug-1"), Dial { keep_alive: 10, ..v5("a") });
    world.now.wall = countersign_model::time::Timestamp(world.now.wall.0 + 86_400_000);
    world.pass(5_000);
    world.now.wall = countersign_model::time::Timestamp(1);
    world.pass(5_000);
    assert!(!world.closed.contains_key(&plug));
}

#[test]
fn the_metrics_count_what_happened_and_name_nobody() {
    let mut world = World::new();
    let plug = world.dial(&device("plug-1"), v5("a"));
    world.publish(plug, "things/plug-2/events/e", "secret", 1);
    world.cut(plug);
    let text = world.broker.status().to_prometheus();
    for line in [
        "countersign_gateway_connections 0",
        "countersign_gateway_connections_opened_total 1",
        "countersign_gateway_refused_not_authorised_total 1",
        "countersign_gateway_connections_closed_total{reason=\"client_left\"} 1",
        "# TYPE countersign_gateway_messages_received_total counter",
    ] {
        assert!(text.lines().any(|have| have == line), "{line} in:\n{text}");
    }
    assert!(!text.contains("plug") && !text.contains("secret"));
}

#[test]
fn ten_thousand_sessions_are_judged_again_in_a_blink() {
    let mut world =
        World::with(Limits { max_sessions: 20_000, ..Limits::default() }, Snapshot::default());
    let connect = super::kit::connect_packet(&v5("c"));
    let connect =
        mqtt_protocol_core::mqtt::packet::GenericPacketTrait::to_continuous_buffer(&connect);
    for number in 0..10_000 {
        let subject = device(&format!("plug-{number}"));
        let conn = world.open(&subject, facts(&subject));
        world.bytes(conn, &connect);
    }
    let start = std::time::Instant::now();
    world.rejudge(|peer| match peer.name.as_str() {
        "plug-77" => Err("revoked".to_owned()),
        name => Ok(device(name)),
    });
    let took = start.elapsed();
    assert_eq!(world.closed.len(), 1);
    assert!(took < std::time::Duration::from_millis(500), "{took:?}");
    println!("10,000 sessions judged again in {took:?}");
}
