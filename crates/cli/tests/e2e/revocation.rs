//! Revocation: open sessions end, handshakes fail, and a re-instated subject comes back with a new certificate.

use std::time::{Duration, Instant};

use crate::support::{Client, House, Relay, VERSIONS, Version, countersign, until};

const POWER: &str = "things/plug-000001/properties/power";
const DEVICE: [&str; 4] = ["--profile", "device", "--name", "plug-000001"];
const SERVICE: [&str; 4] = ["--profile", "service", "--name", "backend"];

/// Revokes, and says how long it took from the command's start until the gateway ended the connection.
fn end_of_session(house: &House, relay: &Relay, whom: &[&str]) -> Duration {
    let before = relay.ends().len();
    let asked = Instant::now();
    countersign(house.command(&["revoke"], whom)).with_code(0);
    let ended = until("the end of the revoked session", || relay.ends().get(before).copied());
    ended.duration_since(asked)
}

//= specs/house.md#house-revocation
//= type=test
//# A revocation MUST close the subject's open sessions within one second.
//= specs/house.md#house-revocation
//= type=test
//# A revoked certificate MUST be refused at the next handshake.
#[test]
fn an_open_session_ends_within_a_second_and_no_other_does() {
    for version in VERSIONS {
        let house = House::new();
        let (device, other) = (house.device("plug-000001"), house.device("plug-000002"));
        let (relay, bystander_relay) = (Relay::to(&house.mqtt), Relay::to(&house.mqtt));
        let client = Client::new(&house, &device, version);
        let _session = client.at(relay.address()).subscribe(1, "things/plug-000001/actions/+");
        let bystander = Client::new(&house, &other, version);
        let _bystander =
            bystander.at(bystander_relay.address()).subscribe(1, "things/plug-000002/actions/+");

        let took = end_of_session(&house, &relay, &DEVICE);
        println!(
            "{version:?}: the revoked session ended {} ms after the command began",
            took.as_millis()
        );
        assert!(took < Duration::from_secs(1), "{took:?}");

        client.is_refused();
        assert!(bystander_relay.ends().is_empty(), "another session ended too");
        bystander.publish(1, "things/plug-000002/properties/power", "1");
    }
}

#[test]
fn a_service_that_is_revoked_hears_no_more() {
    let house = House::new();
    let device = house.device("plug-000001");
    let service = house.service("backend", &["subscribe things/+/properties/#"]);
    let relay = Relay::to(&house.mqtt);
    let backend = Client::new(&house, &service, Version::V5);
    let telemetry = backend.at(relay.address()).subscribe(1, "things/+/properties/#");
    Client::new(&house, &device, Version::V5).publish(1, POWER, "before");
    telemetry.receives(POWER, "before");
    let took = end_of_session(&house, &relay, &SERVICE);
    assert!(took < Duration::from_secs(1), "{took:?}");
    Client::new(&house, &device, Version::V5).publish(1, POWER, "after");
    backend.is_refused();
    telemetry.never_heard("after");
}

#[test]
fn a_reinstated_subject_enrols_anew_and_the_old_certificate_stays_dead() {
    let house = House::new();
    let device = house.device("plug-000001");
    let old = crate::support::Identity {
        key: device.key.with_extension("old.key"),
        crt: device.crt.with_extension("old.crt"),
    };
    std::fs::copy(&device.key, &old.key).unwrap();
    std::fs::copy(&device.crt, &old.crt).unwrap();
    countersign(
        house.command(&["revoke"], &[&DEVICE[..], &["--reason", "key-compromise"]].concat()),
    )
    .with_code(0);
    let again = [&DEVICE[..], &["--force"]].concat();
    // Not before an operator says so.
    let ended = countersign(house.enrol_command(&again));
    assert_ne!(ended.code, Some(0), "{ended}");
    ended.saying("suspended");

    countersign(house.command(&["reinstate"], &["--name", "plug-000001"])).with_code(0);
    countersign(house.enrol_command(&again)).with_code(0);
    for version in VERSIONS {
        Client::new(&house, &device, version).publish(1, POWER, "1");
        Client::new(&house, &old, version).is_refused();
    }
    countersign(house.command(&["ledger", "verify"], &[])).with_code(0);
}

#[test]
fn a_revocation_outlives_a_restart() {
    let mut house = House::new();
    let device = house.device("plug-000001");
    countersign(house.command(&["revoke"], &DEVICE)).with_code(0);
    house.kill();
    house.start();
    Client::new(&house, &device, Version::V5).is_refused();
}

#[test]
fn what_was_revoked_without_serve_is_refused_when_it_starts() {
    let mut house = House::new();
    let device = house.device("plug-000001");
    house.running().kill();
    countersign(house.command(&["revoke"], &DEVICE)).with_code(0);
    house.start();
    Client::new(&house, &device, Version::V311).is_refused();
}

#[test]
fn a_version_5_client_is_told_why() {
    let house = House::new();
    let device = house.device("plug-000001");
    let client = Client::new(&house, &device, Version::V5);
    let session = client.subscribe(1, "things/plug-000001/actions/+");
    countersign(house.command(&["revoke"], &DEVICE)).with_code(0);
    // MQTT 5.0 section 3.14.2.1: 152, "administrative action".
    session.0.wait_for("Received DISCONNECT (152)");
}

#[test]
fn whom_nobody_knows_cannot_be_revoked() {
    let house = House::new();
    let unknown = ["--profile", "device", "--name", "plug-000009"];
    let ended = countersign(house.command(&["revoke"], &unknown));
    assert!(matches!(ended.code, Some(1 | 2)), "{ended}");
    ended.saying("plug-000009");
}
