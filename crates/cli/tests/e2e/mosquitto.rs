//! Debian's Mosquitto clients through the gateway: MQTT 3.1.1 and 5, every quality of service.

use crate::support::{Client, House, Running, VERSIONS, Version};

const POWER: &str = "things/plug-000001/properties/power";
const SWITCH: &str = "things/plug-000001/actions/switch";

#[test]
fn a_device_reaches_a_service_and_a_service_the_device() {
    let house = House::new();
    let device = house.device("plug-000001");
    let service = house
        .service("backend", &["subscribe things/+/properties/#", "publish things/+/actions/+"]);
    for version in VERSIONS {
        let (device, service) =
            (Client::new(&house, &device, version), Client::new(&house, &service, version));
        for qos in [0, 1, 2] {
            let case = format!("{version:?}-qos{qos}");
            let telemetry = service.subscribe(qos, "things/+/properties/#");
            device.publish(qos, POWER, &case);
            telemetry.receives(POWER, &case);

            let commands = device.subscribe(qos, "things/plug-000001/actions/+");
            service.publish(qos, SWITCH, &case);
            commands.receives(SWITCH, &case);
        }
    }
}

#[test]
fn the_versions_understand_each_other() {
    let house = House::new();
    let device = house.device("plug-000001");
    let service = house.service("backend", &["subscribe things/+/properties/#"]);
    for (from, to) in [(Version::V311, Version::V5), (Version::V5, Version::V311)] {
        let telemetry = Client::new(&house, &service, to).subscribe(1, "things/+/properties/#");
        let case = format!("{from:?}-{to:?}");
        Client::new(&house, &device, from).publish(1, POWER, &case);
        telemetry.receives(POWER, &case);
    }
}

#[test]
fn the_gateway_is_found_by_its_name_too() {
    let house = House::new();
    let device = house.device("plug-000001");
    Client::new(&house, &device, Version::V5).by_name("localhost").publish(1, POWER, "1");
}

/// `mosquitto_sub` gives up when the gateway grants it nothing.
#[track_caller]
fn is_denied(client: &Client, filter: &str) {
    let ended = Running::start(&mut client.subscribe_command(1, filter)).finish();
    ended.saying("All subscription requests were denied");
}

//= specs/house.md#house-mqtt
//= type=test
//# A device MUST publish and subscribe only beneath its own topics.
#[test]
fn a_device_has_no_other_topics_than_its_own() {
    let house = House::new();
    let [device, other] = ["plug-000001", "plug-000002"].map(|name| house.device(name));
    let service = house.service("backend", &["subscribe things/#"]);
    let everything = Client::new(&house, &service, Version::V5).subscribe(1, "things/#");
    for version in VERSIONS {
        let intruder = Client::new(&house, &other, version);
        for qos in [0, 1] {
            intruder.try_publish(qos, POWER, "forged");
            intruder.try_publish(qos, SWITCH, "forged");
        }
        for filter in ["#", "things/#", "things/+/actions/+", "things/plug-000001/actions/+"] {
            is_denied(&intruder, filter);
        }
    }
    let answer = Client::new(&house, &other, Version::V5).try_publish(1, POWER, "forged");
    answer.expect("mosquitto_pub ends").saying("Not authorized");

    Client::new(&house, &device, Version::V5).publish(1, POWER, "honest");
    everything.receives(POWER, "honest");
    everything.never_heard("forged");
}

//= specs/house.md#house-mqtt
//= type=test
//# A service MUST be held to its grants, filter by filter.
#[test]
fn a_service_has_what_it_was_granted_and_no_more() {
    let house = House::new();
    let device = house.device("plug-000001");
    let service = house.service("meter", &["subscribe things/+/properties/power"]);
    let commands =
        Client::new(&house, &device, Version::V5).subscribe(1, "things/plug-000001/actions/+");
    for version in VERSIONS {
        let meter = Client::new(&house, &service, version);
        for filter in ["#", "things/+/properties/#", "things/+/events/+", "things/+/properties/+"] {
            is_denied(&meter, filter);
        }
        let both = Running::start(
            meter.subscribe_command(0, "things/+/properties/power").args(["-t", "things/#"]),
        );
        both.wait_for("received SUBACK");
        Client::new(&house, &device, version).publish(
            1,
            "things/plug-000001/events/overload",
            "unheard",
        );
        Client::new(&house, &device, version).publish(1, POWER, "heard");
        both.wait_for("power heard");
        assert!(!both.stdout().contains("unheard"), "{}", both.seen());
        meter.try_publish(1, SWITCH, "forged");
        meter.try_publish(1, POWER, "forged");
    }
    let owner = house.service("owner", &["publish things/+/actions/+"]);
    Client::new(&house, &owner, Version::V5).publish(1, SWITCH, "honest");
    commands.receives(SWITCH, "honest");
    commands.never_heard("forged");
}

#[test]
fn what_is_retained_waits_for_those_who_may_have_it() {
    let house = House::new();
    let device = house.device("plug-000001");
    let service = house.service("backend", &["subscribe things/+/properties/#"]);
    for version in VERSIONS {
        let case = format!("{version:?}");
        let device = Client::new(&house, &device, version);
        let mut command = device.publish_command(1, POWER, &case);
        Running::start(command.arg("-r")).finish().with_code(0);
        let late = Client::new(&house, &service, version).subscribe(1, "things/+/properties/#");
        late.receives(POWER, &case);
    }
}

#[test]
fn a_will_is_the_last_word() {
    let house = House::new();
    let device = house.device("plug-000001");
    let service = house.service("backend", &["subscribe things/+/events/+"]);
    let gone = "things/plug-000001/events/gone";
    for version in VERSIONS {
        let listener = Client::new(&house, &service, version).subscribe(1, "things/+/events/+");
        let payload = format!("{version:?}");
        let device = Client::new(&house, &device, version);
        let mut command = device.subscribe_command(1, "things/plug-000001/actions/+");
        command.args(["--will-topic", gone, "--will-payload", &payload, "--will-qos", "1"]);
        let dying = Running::start(&mut command);
        dying.wait_for("received SUBACK");
        dying.kill();
        listener.receives(gone, &payload);

        // A will is a publication like any other.
        let mut foreign = device.publish_command(1, POWER, "1");
        foreign.args(["--will-topic", "things/plug-000002/events/gone", "--will-payload", "x"]);
        let ended = Running::start(&mut foreign).end_within(std::time::Duration::from_secs(5));
        assert!(ended.is_none_or(|ended| ended.code != Some(0)), "a foreign will was accepted");
    }
}
