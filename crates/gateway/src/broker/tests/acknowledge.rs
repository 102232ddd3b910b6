//! Nothing is acknowledged before it is stored.

use super::kit::{World, backend, device, kept, v5, v311};
use crate::broker::record::{Record, Snapshot};
use crate::broker::{CloseReason, ConnId, Input};
use crate::config::Limits;
use mqtt_protocol_core::mqtt::packet::Packet;

const POWER: &str = "things/plug-1/properties/power";

fn stored(world: &mut World) {
    let (ticket, _) = world.batches.pop_front().unwrap();
    world.call(|broker, context| broker.handle(Input::Stored { ticket }, context));
}

/// A kept subscriber that is absent, and a publisher, on a disk that has stopped.
fn scene() -> (World, ConnId) {
    scene_with(Limits::default())
}

fn scene_with(limits: Limits) -> (World, ConnId) {
    let mut world = World::with(limits, Snapshot::default());
    let subscriber = world.dial(&backend(), kept(v5("s")));
    world.subscribe(subscriber, &[("things/#", 2)]);
    world.cut(subscriber);
    let plug = world.dial(&device("plug-1"), v5("p"));
    world.disk_works = false;
    (world, plug)
}

//= specs/house.md#house-mqtt
//= type=test
//# An acknowledged message for a persistent session MUST survive the death of the gateway.
#[test]
fn puback_waits_for_the_disk() {
    let (mut world, plug) = scene();
    world.publish(plug, POWER, "1", 1);
    assert_eq!(world.client(plug).pubacks(), []);
    assert!(matches!(world.batches[0].1[..], [Record::Queued { .. }]));
    stored(&mut world);
    assert_eq!(world.client(plug).pubacks().len(), 1);
}

#[test]
fn acknowledgements_keep_their_order() {
    let (mut world, plug) = scene();
    let first = world.client(plug).publish(POWER, "1", 1, false);
    world.settle();
    // This one needs no disk: it is refused.
    let second = world.client(plug).publish("things/plug-2/events/x", "1", 1, false);
    world.settle();
    assert_eq!(world.client(plug).pubacks(), []);
    stored(&mut world);
    assert_eq!(world.client(plug).pubacks(), [(first, 0), (second, 0x87)]);
}

#[test]
fn without_a_kept_subscriber_there_is_nothing_to_wait_for() {
    let mut world = World::new();
    world.disk_works = false;
    let plug = world.dial(&device("plug-1"), v5("p"));
    world.publish(plug, POWER, "1", 1);
    assert_eq!(world.client(plug).pubacks().len(), 1);
    assert!(world.log.is_empty());
}

#[test]
fn pubrec_waits_for_the_disk_and_a_duplicate_too() {
    let (mut world, plug) = scene();
    world.client(plug).publish(POWER, "1", 2, false);
    // A client that repeats itself on one connection: allowed to none, harmless from any.
    let mut bytes = world.client(plug).take_output();
    world.clients.remove(&plug);
    world.bytes(plug, &bytes);
    bytes[0] |= 0b1000;
    world.bytes(plug, &bytes);
    assert!(world.raw.is_empty());
    stored(&mut world);
    assert_eq!(world.raw, [0x50, 3, 0, 1, 0, 0x50, 3, 0, 1, 0]);
    let queued = world.log.iter().filter(|r| matches!(r, Record::Queued { .. })).count();
    assert_eq!(queued, 1, "the duplicate was not queued");
}

#[test]
fn a_subscription_of_a_kept_session_is_stored_first() {
    let mut world = World::new();
    let subscriber = world.dial(&backend(), kept(v311("s")));
    world.disk_works = false;
    world.client(subscriber).subscribe(&[("things/#", 1)]);
    world.settle();
    assert!(!world.client(subscriber).packets.iter().any(|p| matches!(p, Packet::V3_1_1Suback(_))));
    stored(&mut world);
    assert_eq!(world.client(subscriber).suback(), [1]);
}

#[test]
fn an_exactly_once_message_leaves_with_a_stored_identifier() {
    let mut world = World::new();
    let subscriber = world.dial(&backend(), kept(v5("s")));
    world.subscribe(subscriber, &[("things/#", 2)]);
    let plug = world.dial(&device("plug-1"), v5("p"));
    world.disk_works = false;
    world.publish(plug, POWER, "1", 2);
    assert_eq!(world.messages(subscriber), []);
    stored(&mut world);
    assert_eq!(world.messages(subscriber).len(), 1);
}

#[test]
fn a_disk_that_lags_refuses_before_it_drowns() {
    let (mut world, plug) = scene_with(Limits { max_store_backlog: 20, ..Limits::default() });
    for _ in 0..25 {
        world.publish(plug, POWER, "1", 1);
    }
    while !world.batches.is_empty() {
        stored(&mut world);
    }
    let codes: Vec<_> = world.client(plug).pubacks().into_iter().map(|(_, code)| code).collect();
    assert_eq!(codes[..21], [0; 21]);
    assert_eq!(codes[21..], [0x97; 4]);
    world.disk_works = true;
    world.publish(plug, POWER, "2", 1);
    assert_eq!(world.client(plug).pubacks().last().map(|(_, code)| *code), Some(0));
    assert!(world.closed.is_empty());
}

#[test]
fn who_goes_on_asking_while_nothing_can_be_stored_is_cut() {
    let mut world = World::new();
    let conn = world.dial(&backend(), kept(v5("s")));
    world.disk_works = false;
    world.clients.remove(&conn);
    // SUBSCRIBE to "home/a" with packet identifier 1, again and again.
    let subscribe = b"\x82\x0c\0\x01\0\0\x06home/a\x01";
    for _ in 0..4_096 {
        world.bytes(conn, subscribe);
    }
    assert!(!world.closed.contains_key(&conn));
    world.bytes(conn, subscribe);
    assert_eq!(world.closed.get(&conn), Some(&CloseReason::Quota));
}
