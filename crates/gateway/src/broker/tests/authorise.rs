//! Who may what: refusals in each protocol's own words, stamps, names, re-judging.

use super::kit::{Dial, World, backend, device, facts, service, v5, v311};
use crate::broker::CloseReason;
use mqtt_protocol_core::mqtt::packet::{Packet, Property, UserProperty, v5_0};

#[test]
fn a_foreign_topic_is_refused_as_the_protocol_allows() {
    let mut world = World::new();
    let listener = world.dial(&backend(), v5("l"));
    world.subscribe(listener, &[("things/#", 1)]);
    let plug = world.dial(&device("plug-1"), v5("a"));
    let id = world.client(plug).publish("things/plug-2/properties/power", "1", 1, false);
    world.settle();
    assert_eq!(world.client(plug).pubacks(), [(id, 0x87)]);
    world.publish(plug, "things/plug-2/properties/power", "1", 2);
    assert!(world.client(plug).packets.iter().any(
        |p| matches!(p, Packet::V5_0Pubrec(p) if p.reason_code().map(|c| c as u8) == Some(0x87))
    ));
    world.publish(plug, "things/plug-2/properties/power", "1", 0);
    assert_eq!(world.client(plug).goodbye(), Some(0x87));
    assert_eq!(world.closed.get(&plug), Some(&CloseReason::NotAuthorised));
    for qos in 0..3 {
        let old = world.dial(&device("plug-1"), v311("b"));
        world.publish(old, "things/plug-2/properties/power", "1", qos);
        assert_eq!(world.closed.get(&old), Some(&CloseReason::NotAuthorised));
    }
    assert_eq!(world.messages(listener), []);
}

#[test]
fn a_foreign_filter_is_refused_by_itself() {
    let mut world = World::new();
    let filters = [("things/plug-1/actions/+", 1), ("things/#", 1), ("a/#/b", 0)];
    let plug = world.dial(&device("plug-1"), v5("a"));
    assert_eq!(world.subscribe(plug, &filters), [1, 0x87, 0x8f]);
    let old = world.dial(&device("plug-1"), v311("b"));
    assert_eq!(world.subscribe(old, &filters), [1, 0x80, 0x80]);
    assert!(world.closed.is_empty());
}

//= specs/house.md#house-commands
//= type=test
//# The gateway MUST stamp a forwarded command with its subject, a fresh identifier and the time.
//= specs/house.md#house-commands
//= type=test
//# The gateway MUST remove such stamps from what clients send.
#[test]
fn commands_are_stamped_and_claims_removed() {
    let mut world = World::new();
    let plug = world.dial(&device("plug-1"), v5("plug-1"));
    world.subscribe(plug, &[("things/plug-1/actions/+", 1)]);
    let commander = world.dial(&backend(), v5("c"));
    let claim = |name: &str, value: &str| Property::from(UserProperty::new(name, value).unwrap());
    let packet = v5_0::Publish::builder()
        .topic_name("things/plug-1/actions/on")
        .unwrap()
        .retain(true)
        .props(vec![
            claim("countersign-subject", "service:boss"),
            claim("Countersign-Command", "00"),
            claim("trace", "7"),
        ])
        .payload("{}")
        .build()
        .unwrap();
    world.client(commander).send(packet.into());
    world.settle();
    let user = world.client(plug).last_user_properties();
    let names: Vec<_> = user.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["trace", "countersign-subject", "countersign-command", "countersign-at"]);
    assert_eq!(user[1].1, "service:backend");
    assert_eq!(user[2].1.len(), 32);
    assert_eq!(user[3].1, world.now.wall.as_millis().to_string());
    assert_eq!(world.broker.status().retained, 0, "a command is never kept for later subscribers");
}

#[test]
fn a_stale_command_is_dropped_not_delivered() {
    let mut world = World::new();
    let dial = super::kit::kept(v5("plug-1"));
    let plug = world.dial(&device("plug-1"), dial.clone());
    world.subscribe(plug, &[("things/plug-1/actions/+", 1)]);
    world.cut(plug);
    let commander = world.dial(&backend(), v5("c"));
    world.publish(commander, "things/plug-1/actions/on", "old", 1);
    world.pass(31_000);
    world.publish(commander, "things/plug-1/actions/on", "new", 1);
    let plug = world.dial(&device("plug-1"), dial);
    let payloads: Vec<_> = world.messages(plug).into_iter().map(|m| m.payload).collect();
    assert_eq!(payloads, [b"new"]);
}

//= specs/house.md#house-mqtt
//= type=test
//# A session MUST be keyed by the certificate's subject together with the client identifier.
//= specs/house.md#house-mqtt
//= type=test
//# A client MUST NOT take over another subject's session.
#[test]
fn nobody_carries_anothers_name_or_session() {
    let mut world = World::new();
    world.names = vec!["plug-2".to_owned(), "plug-1".to_owned()];
    let thief = world.dial(&device("plug-1"), v5("plug-2"));
    assert_eq!(world.client(thief).connack(), Some((0x85, false)));
    assert_eq!(world.closed.get(&thief), Some(&CloseReason::ConnectRefused(0x85)));
    let old_thief = world.dial(&device("plug-1"), v311("plug-2"));
    assert_eq!(world.client(old_thief).connack(), Some((2, false)));
    let own = world.dial(&device("plug-1"), v5("plug-1"));
    assert_eq!(world.client(own).connack(), Some((0, false)));
    // The same client identifier of two subjects is two sessions.
    let (a, b) = (world.dial(&device("a"), v5("same")), world.dial(&device("b"), v5("same")));
    assert!(!world.closed.contains_key(&a) && !world.closed.contains_key(&b));
    // Of one subject it is one, and the newer connection has it.
    let newer = world.dial(&device("a"), v5("same"));
    assert_eq!(world.closed.get(&a), Some(&CloseReason::TakenOver));
    assert_eq!(world.client(a).goodbye(), Some(0x8e));
    assert!(!world.closed.contains_key(&newer));
}

#[test]
fn an_identifier_is_assigned_to_those_without() {
    let mut world = World::new();
    let first = world.dial(&device("a"), v5(""));
    let second = world.dial(&device("a"), v5(""));
    assert!(world.closed.is_empty(), "each has its own");
    let assigned = |world: &mut World, conn| {
        let packets = &world.client(conn).packets;
        packets.iter().find_map(|packet| match packet {
            Packet::V5_0Connack(p) => p.props().iter().find_map(|property| match property {
                Property::AssignedClientIdentifier(id) => Some(id.val().to_owned()),
                _ => None,
            }),
            _ => None,
        })
    };
    let (first, second) = (assigned(&mut world, first), assigned(&mut world, second));
    assert!(first.is_some() && first != second);
    let old = world.dial(&device("a"), Dial { clean: false, ..v311("") });
    assert_eq!(world.client(old).connack(), Some((2, false)));
}

//= specs/house.md#house-mqtt
//= type=test
//# A will MUST be authorised like a publication.
#[test]
fn a_foreign_will_is_refused_at_connect() {
    let mut world = World::new();
    let will = Some(("things/plug-2/events/gone", "x", false));
    let plug = world.dial(&device("plug-1"), Dial { will, ..v5("a") });
    assert_eq!(world.client(plug).connack(), Some((0x87, false)));
    let old = world.dial(&device("plug-1"), Dial { will, ..v311("a") });
    assert_eq!(world.client(old).connack(), Some((5, false)));
}

//= specs/en-303-645.md#5.5-8
//= type=test
//# Expiry and compromise MUST be handled by a process that takes effect on the connections in use.
//= specs/house.md#house-permits
//= type=test
//# Open sessions MUST be judged again when policy, grants or revocation change.
#[test]
fn revocation_closes_at_once_and_silences_the_will() {
    let mut world = World::new();
    let listener = world.dial(&backend(), v5("l"));
    world.subscribe(listener, &[("things/#", 1)]);
    let will = Some(("things/plug-1/events/gone", "x", false));
    let plug = world.dial(&device("plug-1"), Dial { will, ..v5("plug-1") });
    let other = world.dial(&device("plug-2"), v311("plug-2"));
    world.rejudge(|peer| match peer.name.as_str() {
        "plug-1" | "plug-2" => Err("revoked".to_owned()),
        _ => Ok(backend()),
    });
    assert_eq!(world.client(plug).goodbye(), Some(0x98));
    for conn in [plug, other] {
        assert_eq!(world.closed.get(&conn), Some(&CloseReason::Administrative("revoked".into())));
    }
    assert!(!world.closed.contains_key(&listener));
    assert_eq!(world.messages(listener), []);
}

//= specs/house.md#house-permits
//= type=test
//# Open sessions MUST be judged again when policy, grants or revocation change.
#[test]
fn a_grant_that_is_gone_takes_its_subscription_along() {
    let mut world = World::new();
    let before =
        service("backend", &["subscribe things/+/events/#", "subscribe things/+/properties/#"]);
    let after = service("backend", &["subscribe things/+/properties/#"]);
    let dial = super::kit::kept(v5("s"));
    let conn = world.dial(&before, dial.clone());
    world.subscribe(conn, &[("things/+/events/#", 1), ("things/+/properties/#", 1)]);
    world.rejudge(|_| Ok(after.clone()));
    assert!(matches!(world.closed.get(&conn), Some(CloseReason::Administrative(_))));
    let plug = world.dial(&device("plug-1"), v5("p"));
    world.publish(plug, "things/plug-1/events/e", "1", 1);
    world.publish(plug, "things/plug-1/properties/p", "2", 1);
    let again = world.dial(&after, dial);
    assert_eq!(world.messages(again).len(), 1);
}

#[test]
fn what_waits_is_judged_again_when_it_leaves() {
    let mut world = World::new();
    let before = service("backend", &["subscribe things/#"]);
    let dial = super::kit::kept(v5("s"));
    let conn = world.dial(&before, dial.clone());
    world.subscribe(conn, &[("things/#", 1)]);
    world.cut(conn);
    let plug = world.dial(&device("plug-1"), v5("p"));
    world.publish(plug, "things/plug-1/events/e", "1", 1);
    let again = world.dial(&service("backend", &[]), dial);
    assert_eq!(world.messages(again), [], "the grant was taken away meanwhile");
    assert_eq!(world.broker.status().bytes, 0);
}

#[test]
fn a_certificate_ends_its_session() {
    let mut world = World::new();
    let mut peer = facts(&device("plug-1"));
    peer.not_after = world.now.wall.plus(std::time::Duration::from_secs(90));
    let conn = world.open(&device("plug-1"), peer);
    let mut client = super::kit::Client::new(mqtt_protocol_core::mqtt::Version::V5_0);
    client.send(super::kit::connect_packet(&Dial { keep_alive: 600, ..v5("plug-1") }));
    world.clients.insert(conn, client);
    world.settle();
    world.pass(89_000);
    assert!(!world.closed.contains_key(&conn));
    world.pass(2_000);
    assert_eq!(world.closed.get(&conn), Some(&CloseReason::CertificateExpired));
}
