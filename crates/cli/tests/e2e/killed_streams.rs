//! `kill -9` of the gateway while messages flow: what was acknowledged arrives.

use std::collections::BTreeSet;

use crate::support::{House, Paho, Session, VERSIONS, Version, until};

const POWER: &str = "things/plug-000001/properties/power";
/// Below the bound of what may wait for one session.
const MESSAGES: usize = 600;

//= specs/house.md#house-mqtt
//= type=test
//# An acknowledged message for a persistent session MUST survive the death of the gateway.
#[test]
fn every_acknowledged_message_arrives() {
    for version in VERSIONS {
        let mut house = House::new();
        let device = house.device("plug-000001");
        let service = house.service("backend", &["subscribe things/+/properties/#"]);
        let kept = Session { version, client_id: "kept", clean: false };
        let (mut backend, _) = Paho::connect(&house, &service, kept);
        backend.subscribe("things/+/properties/#", 1);
        backend.leave();

        // 1. A stream, and the kill in its middle.
        let fresh = Session { version, client_id: "plug", clean: true };
        let (mut plug, _) = Paho::connect(&house, &device, fresh);
        for number in 0..MESSAGES {
            plug.send(POWER, &number.to_string(), 1);
        }
        until("some acknowledgements", || {
            (acknowledged(&plug).len() >= MESSAGES / 10).then_some(())
        });
        house.kill();
        plug.next("disconnected");
        let acknowledged = acknowledged(&plug);
        drop(plug);
        println!(
            "{version:?}: {} of {MESSAGES} were acknowledged before the kill",
            acknowledged.len()
        );

        // 2. After the restart, the absent subscriber receives at least those.
        house.start();
        let (mut backend, answer) = Paho::connect(&house, &service, kept);
        assert_eq!(answer["session_present"], true, "the session survived");
        let mut missing: BTreeSet<_> = acknowledged.into_iter().collect();
        while !missing.is_empty() {
            missing.remove(&backend.message().1);
        }
        backend.leave();
    }
}

/// The payloads whose acknowledgement the client saw.
fn acknowledged(client: &Paho) -> Vec<String> {
    let events = client.events();
    let done: BTreeSet<_> =
        events.iter().filter(|e| e["event"] == "acknowledged").map(|e| e["mid"].as_u64()).collect();
    events
        .iter()
        .filter(|e| e["event"] == "sent" && done.contains(&e["mid"].as_u64()))
        .map(|e| e["payload"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn a_session_and_its_subscription_survive_again_and_again() {
    let mut house = House::new();
    let device = house.device("plug-000001");
    let service = house.service("backend", &["subscribe things/+/properties/#"]);
    let kept = Session { version: Version::V5, client_id: "kept", clean: false };
    let (mut backend, _) = Paho::connect(&house, &service, kept);
    backend.subscribe("things/+/properties/#", 1);
    backend.leave();
    for round in 0..4 {
        let fresh = Session { version: Version::V311, client_id: "plug", clean: true };
        let (mut plug, _) = Paho::connect(&house, &device, fresh);
        plug.publish(POWER, &format!("round {round}"), 1);
        house.kill();
        house.start();
    }
    let (mut backend, answer) = Paho::connect(&house, &service, kept);
    assert_eq!(answer["session_present"], true);
    for round in 0..4 {
        assert_eq!(backend.message().1, format!("round {round}"));
    }
}

#[test]
fn a_retained_value_survives() {
    let mut house = House::new();
    let device = house.device("plug-000001");
    let service = house.service("backend", &["subscribe things/+/properties/#"]);
    let client = crate::support::Client::new(&house, &device, Version::V5);
    let mut command = client.publish_command(1, POWER, "42");
    crate::support::Running::start(command.arg("-r")).finish().with_code(0);
    house.kill();
    house.start();
    let late = crate::support::Client::new(&house, &service, Version::V5)
        .subscribe(1, "things/+/properties/#");
    late.receives(POWER, "42");
}
