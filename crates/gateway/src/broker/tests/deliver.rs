//! Messages arrive: every QoS, both versions, retained, offline, shared.

use super::kit::{Dial, World, backend, device, got, kept, service, v5, v311};
use crate::broker::record::Snapshot;
use crate::config::Limits;

const POWER: &str = "things/plug-1/properties/power";

#[test]
fn every_qos_and_version_reaches_every_other() {
    for from in [v5("p"), v311("p")] {
        for to in [v5("s"), v311("s"), kept(v5("s")), kept(v311("s"))] {
            for sent in 0..3 {
                for asked in 0..3 {
                    let mut world = World::new();
                    let subscriber = world.dial(&backend(), to.clone());
                    assert_eq!(
                        world.subscribe(subscriber, &[("things/+/properties/#", asked)]),
                        [asked]
                    );
                    let plug = world.dial(&device("plug-1"), from.clone());
                    world.publish(plug, POWER, "42", sent);
                    let expected = [got(POWER, "42", sent.min(asked), false)];
                    assert_eq!(world.messages(subscriber), expected, "{sent} {asked}");
                    assert!(world.closed.is_empty());
                    let status = world.broker.status();
                    assert!(status.sessions.iter().all(|s| s.queued == 0), "all flows have ended");
                    assert_eq!(status.bytes, 0);
                }
            }
        }
    }
}

#[test]
fn overlapping_subscriptions_bring_a_message_once() {
    let mut world = World::new();
    let subscriber = world.dial(&backend(), v5("s"));
    world.subscribe(subscriber, &[("things/#", 0), (POWER, 1)]);
    let plug = world.dial(&device("plug-1"), v5("p"));
    world.publish(plug, POWER, "1", 1);
    assert_eq!(world.messages(subscriber), [got(POWER, "1", 1, false)]);
}

#[test]
fn messages_keep_their_order_beyond_the_window() {
    let mut world = World::new();
    let dial = Dial { receive_maximum: Some(2), ..v5("s") };
    let subscriber = world.dial(&backend(), dial);
    world.subscribe(subscriber, &[("things/#", 1)]);
    let plug = world.dial(&device("plug-1"), v5("p"));
    let numbers: Vec<String> = (0..20).map(|n| n.to_string()).collect();
    for number in &numbers {
        world.client(plug).publish(POWER, number, 1, false);
    }
    world.settle();
    let payloads: Vec<_> = world.messages(subscriber).into_iter().map(|m| m.payload).collect();
    assert_eq!(payloads, numbers.iter().map(|n| n.as_bytes().to_vec()).collect::<Vec<_>>());
}

#[test]
fn a_retained_message_waits_for_subscribers() {
    let mut world = World::new();
    let plug = world.dial(&device("plug-1"), v5("p"));
    world.client(plug).publish(POWER, "1", 1, true);
    world.client(plug).publish(POWER, "2", 0, true);
    world.settle();
    let subscriber = world.dial(&backend(), v5("s"));
    world.subscribe(subscriber, &[("things/+/properties/+", 1)]);
    assert_eq!(world.messages(subscriber), [got(POWER, "2", 0, true)]);
    world.client(plug).publish(POWER, "3", 0, true);
    world.settle();
    assert_eq!(world.messages(subscriber), [got(POWER, "3", 0, false)], "a live one is not marked");
    world.client(plug).publish(POWER, "", 0, true);
    world.settle();
    let later = world.dial(&backend(), v5("later"));
    world.subscribe(later, &[("things/#", 1)]);
    assert_eq!(world.messages(later), [], "an empty one forgets it");
}

#[test]
fn a_kept_session_collects_while_absent() {
    for dial in [kept(v5("s")), kept(v311("s"))] {
        let mut world = World::new();
        let subscriber = world.dial(&backend(), dial.clone());
        assert_eq!(world.client(subscriber).connack(), Some((0, false)));
        world.subscribe(subscriber, &[("things/#", 2)]);
        world.cut(subscriber);
        let plug = world.dial(&device("plug-1"), v5("p"));
        for qos in 0..3 {
            world.publish(plug, POWER, &qos.to_string(), qos);
        }
        let again = world.dial(&backend(), dial.clone());
        assert_eq!(world.client(again).connack(), Some((0, true)));
        let expected = [got(POWER, "1", 1, false), got(POWER, "2", 2, false)];
        assert_eq!(world.messages(again), expected, "QoS 0 is for those who are there");
        world.cut(again);
        let fresh = world.dial(&backend(), Dial { clean: true, ..dial });
        assert_eq!(world.client(fresh).connack(), Some((0, false)));
        world.publish(plug, POWER, "9", 1);
        assert_eq!(world.messages(fresh), [], "a clean start forgets subscriptions");
    }
}

#[test]
fn what_was_not_acknowledged_comes_again_with_the_same_identifier() {
    let mut world = World::new();
    let subscriber = world.dial(&backend(), kept(v5("s")));
    world.subscribe(subscriber, &[("things/#", 2)]);
    let plug = world.dial(&device("plug-1"), v5("p"));
    // The subscriber reads, and its answers are lost.
    world.client(plug).publish(POWER, "1", 1, false);
    world.client(plug).publish(POWER, "2", 2, false);
    let bytes = world.client(plug).take_output();
    world.bytes(plug, &bytes);
    while let Some((ticket, _)) = world.batches.pop_front() {
        world.call(|b, c| b.handle(crate::broker::Input::Stored { ticket }, c));
    }
    assert_eq!(world.messages(subscriber).len(), 2);
    world.clients.get_mut(&subscriber).unwrap().take_output();
    world.cut(subscriber);
    let again = world.dial(&backend(), kept(v5("s")));
    let expected = [got(POWER, "1", 1, false), got(POWER, "2", 2, false)];
    assert_eq!(world.messages(again), expected);
    assert_eq!(world.broker.status().bytes, 0, "this time they were acknowledged");
}

//= specs/house.md#house-mqtt
//= type=test
//# Queues, packets and subscriptions MUST be bounded per connection.
#[test]
fn a_full_queue_keeps_what_it_has() {
    let limits = Limits { max_queue_messages: 3, ..Limits::default() };
    let mut world = World::with(limits, Snapshot::default());
    let subscriber = world.dial(&backend(), kept(v5("s")));
    world.subscribe(subscriber, &[("things/#", 1)]);
    world.cut(subscriber);
    let plug = world.dial(&device("plug-1"), v5("p"));
    for number in 0..5 {
        world.publish(plug, POWER, &number.to_string(), 1);
    }
    let again = world.dial(&backend(), kept(v5("s")));
    let payloads: Vec<_> = world.messages(again).into_iter().map(|m| m.payload).collect();
    assert_eq!(payloads, [b"0", b"1", b"2"]);
    assert_eq!(world.broker.status().counters.messages_dropped, 2);
}

#[test]
fn a_group_shares_its_messages_in_turn() {
    let mut world = World::new();
    let grants = ["subscribe things/+/events/#"];
    let members: Vec<_> =
        ["a", "b"].map(|id| world.dial(&service("pool", &grants), v5(id))).into_iter().collect();
    for member in &members {
        assert_eq!(world.subscribe(*member, &[("$share/g/things/+/events/#", 1)]), [1]);
    }
    let plug = world.dial(&device("plug-1"), v5("p"));
    for number in 0..6 {
        world.publish(plug, "things/plug-1/events/tick", &number.to_string(), 1);
    }
    assert_eq!(members.iter().map(|m| world.messages(*m).len()).collect::<Vec<_>>(), [3, 3]);
    world.cut(members[0]);
    world.publish(plug, "things/plug-1/events/tick", "6", 1);
    assert_eq!(world.messages(members[1]).len(), 1);
}
