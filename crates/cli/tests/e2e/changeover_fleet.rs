//! Fifty device processes move from a classical group to a hybrid one while a service publishes, processes are killed, and one
//! device is away.

use std::time::{Duration, Instant};

use crate::support::{
    CLASSICAL, Device, HYBRID, House, PolicyFiles, Service, countersign, fleet, policy, until,
};

/// How many.
const DEVICES: usize = 50;
/// How long fifty debug builds may take on a loaded machine. Reaching it is a failure, never a measurement.
const PATIENCE: Duration = Duration::from_secs(240);

fn holds(device: &Device, version: u64, word: &str) -> bool {
    device.status().is_some_and(|status| {
        status["uplink"] == "connected"
            && (status["policy"]["version"] == version && status["policy"]["phase"] == "steady")
            && status["negotiated"]["group"].as_str().is_some_and(|group| group.contains(word))
    })
}

#[track_caller]
fn all_hold(devices: &[Device], version: u64, word: &str) {
    let give_up = Instant::now() + PATIENCE;
    loop {
        let left: Vec<&Device> = devices.iter().filter(|one| !holds(one, version, word)).collect();
        if left.is_empty() {
            return;
        }
        if Instant::now() > give_up {
            let told: Vec<String> =
                left.iter().map(|one| format!("{}: {:?}", one.serial, one.status())).collect();
            panic!(
                "{} of {} do not hold policy {version}:\n{}",
                left.len(),
                devices.len(),
                told.join("\n")
            );
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

//= specs/house.md#house-policy
//= type=test
//# A crash at any point of a change of policy MUST leave a usable policy and MUST NOT lower the version floor.
//= specs/house.md#house-mqtt
//= type=test
//# An acknowledged message for a persistent session MUST survive the death of the gateway.
//= specs/en-303-645.md#5.5-3
//= type=test
//# Cryptographic algorithms and primitives SHOULD be replaceable on a device that is in use.
#[test]
fn a_fleet_moves_and_loses_nothing() {
    let mut house = House::new();
    let counter = house.service("counter", &["publish count/#", "subscribe count/none"]);
    let listener = house.service(
        "listener",
        &["subscribe count/#", "subscribe things/#", "publish things/+/actions/+"],
    );
    PolicyFiles(&house).publish(&policy(2, CLASSICAL));
    let mut devices = fleet(&house, DEVICES);
    devices.iter_mut().for_each(Device::start);
    all_hold(&devices, 2, "secp256r1");

    let listener =
        Service::start(&house, &listener, "listener", &["count/#", "things/+/actions/+/receipt"]);
    let counter = Service::start(&house, &counter, "counter", &["count/none"]);
    let mut sent = 0;
    let mut count = |how_many: usize| {
        for _ in 0..how_many {
            counter.publish("count/up", &sent.to_string());
            sent += 1;
            std::thread::sleep(Duration::from_millis(10));
        }
    };
    count(50);
    // One is away; then the change, and in the middle of it `kill -9` of the gateway and of some devices.
    let away = DEVICES - 1;
    devices[away].kill();
    PolicyFiles(&house).publish(&policy(3, HYBRID));
    count(20);
    devices[..5].iter_mut().for_each(Device::kill);
    count(20);
    house.kill();
    count(20);
    house.start();
    devices[..5].iter_mut().for_each(Device::start);
    count(50);
    all_hold(&devices[..away], 3, "MLKEM");
    devices[away].start();
    all_hold(&devices, 3, "MLKEM");
    count(10);

    // Every acknowledged message has arrived.
    until("everything is acknowledged", || (counter.owed() == 0).then_some(()));
    let missing = || {
        let heard: std::collections::BTreeSet<usize> =
            listener.heard("count/up").iter().map(|text| text.parse().unwrap()).collect();
        (0..sent).filter(|number| !heard.contains(number)).count()
    };
    until("everything has arrived", || (missing() == 0).then_some(()));
    // Every device obeys over the new channel.
    for device in &devices {
        listener.publish(&format!("things/{}/actions/toggle", device.serial), "");
    }
    until("every device has answered", || {
        let answered =
            |one: &Device| !listener.heard(&format!("things/{}/actions/", one.serial)).is_empty();
        devices.iter().all(answered).then_some(())
    });
    // The gateway has it in its record too.
    let data = house.data();
    let shown = countersign(["gateway", "sessions", "--json", "--data", data.to_str().unwrap()]);
    let shown: serde_json::Value = serde_json::from_str(&shown.with_code(0).stdout).unwrap();
    let things = shown["sessions"].as_array().unwrap().iter();
    let things: Vec<_> =
        things.filter(|one| one["subject"].as_str().unwrap().starts_with("thing:")).collect();
    assert_eq!(things.len(), DEVICES);
    assert!(things.iter().all(|one| one["policy_version"] == 3), "{shown}");

    // Back to what was left behind: nobody goes.
    let files = PolicyFiles(&house);
    let back = files.text("back", &policy(2, CLASSICAL));
    files.run("publish", &back).with_code(1);
    assert_eq!(files.slip_in(&files.signed(&policy(2, CLASSICAL)))["word"], "not-newer");
    all_hold(&devices, 3, "MLKEM");
    house.is_well();
}
