//! Python's paho-mqtt through the gateway, with sessions that outlive a connection.

use std::collections::BTreeMap;

use serde_json::json;

use crate::support::{House, Identity, Paho, Session, VERSIONS, Version};

const POWER: &str = "things/plug-000001/properties/power";
const EVERY_PROPERTY: &str = "things/+/properties/#";

fn fresh(version: Version, client_id: &str) -> Session<'_> {
    Session { version, client_id, clean: true }
}

fn kept(version: Version, client_id: &str) -> Session<'_> {
    Session { version, client_id, clean: false }
}

fn a_device_and_a_service(house: &House) -> (Identity, Identity) {
    let grants = ["subscribe things/+/properties/#", "publish things/+/actions/+"];
    (house.device("plug-000001"), house.service("backend", &grants))
}

#[test]
fn messages_arrive_at_both_qualities() {
    let house = House::new();
    let (device, service) = a_device_and_a_service(&house);
    for version in VERSIONS {
        let (mut backend, _) = Paho::connect(&house, &service, fresh(version, "a"));
        let (mut plug, _) = Paho::connect(&house, &device, fresh(version, "b"));
        for qos in [0, 1] {
            assert_eq!(backend.subscribe(EVERY_PROPERTY, qos)["codes"], json!([qos]));
            let payload = format!("{version:?}-{qos}-\u{e9}\u{1f50c}");
            plug.publish(POWER, &payload, qos);
            assert_eq!(backend.message(), (POWER.to_owned(), payload));
        }
        assert_eq!(plug.subscribe("things/plug-000001/actions/+", 1)["codes"], json!([1]));
        backend.publish("things/plug-000001/actions/switch", "{\"on\":true}", 1);
        let command = plug.next("message");
        assert_eq!(command["payload"], "{\"on\":true}");
        if version == Version::V5 {
            stamped_by(&command, "service:backend");
        }
    }
}

//= specs/house.md#house-commands
//= type=test
//# The gateway MUST stamp a forwarded command with its subject, a fresh identifier and the time.
fn stamped_by(command: &serde_json::Value, subject: &str) {
    let stamps: BTreeMap<_, _> = command["user"]
        .as_array()
        .unwrap()
        .iter()
        .map(|pair| (pair[0].as_str().unwrap(), pair[1].as_str().unwrap()))
        .collect();
    assert_eq!(stamps["countersign-subject"], subject);
    let id = stamps["countersign-command"];
    assert!(id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit()), "{id}");
    assert!(stamps["countersign-at"].parse::<u64>().unwrap() > 1_700_000_000_000);
}

#[test]
fn a_kept_session_receives_what_it_missed() {
    let house = House::new();
    let (device, service) = a_device_and_a_service(&house);
    for version in VERSIONS {
        let id = format!("kept-{version:?}");
        let (mut backend, answer) = Paho::connect(&house, &service, kept(version, &id));
        assert_eq!(answer["session_present"], false);
        backend.subscribe(EVERY_PROPERTY, 1);
        backend.leave();

        let (mut plug, _) = Paho::connect(&house, &device, fresh(version, "plug"));
        let missed: Vec<_> = (0..20).map(|number| format!("{number}")).collect();
        for payload in &missed {
            plug.publish(POWER, payload, 1);
        }
        let (mut backend, answer) = Paho::connect(&house, &service, kept(version, &id));
        assert_eq!(answer["session_present"], true);
        let received: Vec<_> = missed.iter().map(|_| backend.message().1).collect();
        assert_eq!(received, missed, "in order, none missing");

        // Nothing twice: the next one is new.
        plug.publish(POWER, "new", 1);
        assert_eq!(backend.message().1, "new");
        backend.leave();

        let (_, answer) = Paho::connect(&house, &service, fresh(version, &id));
        assert_eq!(answer["session_present"], false, "a clean start forgets");
    }
}

//= specs/house.md#house-mqtt
//= type=test
//# A client MUST NOT take over another subject's session.
#[test]
fn nobody_takes_anothers_session_or_name() {
    let house = House::new();
    let (device, service) = a_device_and_a_service(&house);
    let other = house.service("other", &["subscribe things/+/properties/#"]);
    for version in VERSIONS {
        let shared = format!("shared-{version:?}");
        let (mut backend, _) = Paho::connect(&house, &service, kept(version, &shared));
        backend.subscribe(EVERY_PROPERTY, 1);

        // The same client identifier under another certificate is another session.
        let (_other, answer) = Paho::connect(&house, &other, kept(version, &shared));
        assert_eq!(answer["session_present"], false);
        let (mut plug, _) = Paho::connect(&house, &device, fresh(version, ""));
        plug.publish(POWER, "still mine", 1);
        assert_eq!(backend.message().1, "still mine");

        // The name of another subject is nobody else's client identifier.
        for name in ["plug-000001", "backend"] {
            let mut liar = Paho::start(&house, &other, fresh(version, name));
            let refusal = if version == Version::V5 { 133 } else { 2 };
            assert_eq!(liar.next("connected")["code"], refusal, "{name}");
        }
        let (_, answer) = Paho::connect(&house, &device, fresh(version, "plug-000001"));
        assert_eq!(answer["code"], 0, "its own name is its own");
    }
}

#[test]
fn a_subscription_outside_the_grants_is_refused_by_itself() {
    let house = House::new();
    let (device, service) = a_device_and_a_service(&house);
    for version in VERSIONS {
        let refused = if version == Version::V5 { 0x87 } else { 0x80 };
        let (mut backend, _) = Paho::connect(&house, &service, fresh(version, ""));
        assert_eq!(backend.subscribe("things/#", 1)["codes"], json!([refused]));
        assert_eq!(backend.subscribe(EVERY_PROPERTY, 1)["codes"], json!([1]));
        let (mut plug, _) = Paho::connect(&house, &device, fresh(version, ""));
        assert_eq!(plug.subscribe("things/plug-000002/actions/+", 1)["codes"], json!([refused]));
        plug.publish(POWER, "after the refusals", 1);
        assert_eq!(backend.message().1, "after the refusals");
    }
}
