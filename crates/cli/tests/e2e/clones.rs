//! One identity in two places: found where devices connect, by real clients from two addresses; and honest devices that move.

use std::fs;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::support::{Client, House, Identity, Running, Version, countersign, need, until};

const HERE: &str = "127.0.0.1";
const THERE: &str = "127.0.0.2";
const COMMANDS: &str = "things/plug-000001/actions/+";

fn house(on_clone: &str) -> House {
    let mut house = House::stopped();
    fs::create_dir(house.data()).unwrap();
    let config =
        format!("[metrics]\nlisten = \"127.0.0.1:0\"\n[authority]\non_clone = \"{on_clone}\"\n");
    fs::write(house.data().join("config.toml"), config).unwrap();
    house.start();
    house
}

/// A client that connects again whenever it is disconnected, from this address.
fn from(house: &House, identity: &Identity, address: &str, version: Version) -> Command {
    let mut command = Client::new(house, identity, version).subscribe_command(1, COMMANDS);
    command.args(["-i", "plug-000001", "-A", address]);
    command
}

/// Two clients that come back whenever they are displaced.
fn fight(house: &House, identity: &Identity, version: Version) -> Vec<Running> {
    let mut all: Vec<Running> = Vec::new();
    // `mosquitto_sub` ends where MQTT 5 tells it that it was taken over, and is started again.
    let turns = if version == Version::V5 { 7 } else { 2 };
    for turn in 0..turns {
        let address = [HERE, THERE][turn % 2];
        let running = Running::start(&mut from(house, identity, address, version));
        running.wait_for("received SUBACK");
        all.push(running);
        std::thread::sleep(Duration::from_millis(1_200));
    }
    all
}

/// The list, which ends with exit code 1 where there is something in it.
fn alarms(house: &House, code: i32) -> Value {
    let told = countersign(house.command(&["alarms"], &["--json"])).with_code(code);
    serde_json::from_str::<Value>(&told.stdout).unwrap()["alarms"].take()
}

fn a_clone_is_raised(house: &House) -> Value {
    until("the alarm", || {
        let told = countersign(house.command(&["alarms"], &["--json"]));
        let all: Value = serde_json::from_str(&told.stdout).ok()?;
        let one = all["alarms"].as_array()?.first()?.clone();
        assert_eq!(one["kind"], "clone", "{all}");
        Some(one)
    })
}

//= specs/house.md#house-clones
//= type=test
//# A device's identity that is used from two places at once MUST raise an alarm.
#[test]
fn two_clients_with_one_key_from_two_addresses_raise_an_alarm() {
    for version in [Version::V311, Version::V5] {
        let house = house("alarm");
        let device = house.device("plug-000001");
        let _both = fight(&house, &device, version);
        let one = a_clone_is_raised(&house);
        assert_eq!(one["subject"], "thing:plug-000001", "{version:?} {one}");
        assert_eq!(one["evidence"], "127.0.0.1 and 127.0.0.2", "{version:?} {one}");
        assert_eq!(one["count"], 1, "{version:?} {one}");
        // It goes on, and is not told again within the hour; nor is anybody shut out.
        std::thread::sleep(Duration::from_secs(3));
        assert_eq!(alarms(&house, 1)[0]["count"], 1);
        assert!(!house.said().contains("revoked"), "{}", house.said());
        let ready: Value = serde_json::from_slice(&fs::read(house.ready_file()).unwrap()).unwrap();
        let mut curl = need("curl");
        let metrics = ready["metrics"].as_str().unwrap();
        curl.args(["--silent", "--fail", &format!("http://{metrics}/metrics")]);
        let counted = "countersign_alarms_total{kind=\"clone\"} 1\n";
        Running::start(&mut curl).finish().with_code(0).saying(counted);
        let entries = countersign(house.command(&["ledger", "show"], &[])).with_code(0);
        for words in ["\"shown\"", "one certificate", "\"address\"", "127.0.0.2", "\"since\""] {
            assert!(entries.stdout.contains(words), "{words} in {entries}");
        }
    }
}

#[test]
fn where_the_configuration_says_so_both_are_closed_and_refused() {
    let house = house("revoke");
    let device = house.device("plug-000001");
    let _both = fight(&house, &device, Version::V311);
    a_clone_is_raised(&house);
    let client = Client::new(&house, &device, Version::V5);
    client.comes_to_be_refused();
    let mut elsewhere = client.publish_command(1, "things/plug-000001/events/here", "1");
    let ended = Running::start(elsewhere.args(["-A", THERE])).end_within(Duration::from_secs(5));
    assert!(ended.is_none_or(|ended| ended.code != Some(0)), "it was let in");
    let all = countersign(house.command(&["subjects"], &[])).with_code(0);
    assert!(all.stdout.contains("suspended"), "{all}");
}

//= specs/house.md#house-clones
//= type=test
//# A device that moves, however often, and one that is replaced by itself MUST NOT be taken for a clone.
#[test]
fn a_device_that_moves_back_and_forth_raises_nothing() {
    let house = house("revoke");
    let device = house.device("plug-000001");
    let mut before: Vec<Running> = Vec::new();
    for turn in 0..10 {
        let address = [HERE, THERE][turn % 2];
        let running = Running::start(&mut from(&house, &device, address, Version::V311));
        running.wait_for("received SUBACK");
        // Its link is lost: the kernel goes on answering, and nobody is there to hear the goodbye.
        let mut stop = Command::new("kill");
        assert!(stop.args(["-STOP", &running.id().to_string()]).status().unwrap().success());
        before.push(running);
        // Longer than overlaps have to be apart, were it one.
        std::thread::sleep(Duration::from_millis(1_200));
    }
    // And closes its connection before it moves.
    before.into_iter().for_each(Running::kill);
    for turn in 0..10 {
        let client = Client::new(&house, &device, Version::V5);
        let mut command = client.publish_command(1, "things/plug-000001/events/here", "1");
        command.args(["-i", "plug-000001", "-A", [HERE, THERE][turn % 2]]);
        Running::start(&mut command).finish().with_code(0);
    }
    assert_eq!(alarms(&house, 0), Value::Array(Vec::new()));
}
