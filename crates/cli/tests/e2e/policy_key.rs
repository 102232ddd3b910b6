//! The policy key rolls under a running platform: a device that is awake, one that sleeps through two rolls, one that is made
//! afterwards; killed in between; and whoever has the old key.

use std::fs;

use countersign_crypto::cose::DocumentKeys;
use countersign_crypto::keystore::Keystore;
use countersign_crypto::policy::{PolicyKeyId, sign, sign_document};
use countersign_crypto::seal::SealKey;
use countersign_crypto::signature::KeyHandle;
use serde_json::Value;

use crate::support::{
    Device, Finished, HYBRID, Home, House, PolicyFiles, Running, countersign, fleet, policy,
    program, until,
};

fn roll(house: &House, arguments: &[&str]) -> Finished {
    let mut all = house.command(&["rotate", "policy-key"], &[]);
    all.extend(arguments.iter().map(Into::into));
    countersign(all)
}

fn at(version: u64) -> impl Fn(&Value) -> bool {
    move |status| {
        let policy = &status["policy"];
        status["uplink"] == "connected"
            && (policy["version"] == version && policy["phase"] == "steady")
    }
}

fn key(house: &House, label: &str) -> KeyHandle {
    let seal = SealKey::load(&house.data().join("seal.key")).unwrap();
    let keys = Keystore::open(&house.data().join("authority/keys"), seal).unwrap();
    keys.require(label).unwrap()
}

fn version_in_force(house: &House) -> u64 {
    let recorded = PolicyFiles(house).recorded("policy-activated");
    recorded.last().and_then(|entry| entry["version"].as_u64()).unwrap_or(1)
}

//= specs/house.md#house-policy
//= type=test
//# A device that slept through changes of the policy key MUST be able to take the newest policy by the key that it holds.
//= specs/house.md#house-policy
//= type=test
//# A policy whose chain of keys does not lead on from the newest key that was ever taken MUST be refused.
//= specs/house.md#house-policy
//= type=test
//# A crash at any point of a change of the policy key MUST leave a key that can sign the next policy, and every device able to follow.
#[test]
fn devices_follow_awake_come_back_from_two_rolls_and_begin_with_the_new_key() {
    let mut house = House::new();
    let mut devices = fleet(&house, 2);
    devices.iter_mut().for_each(Device::start);
    devices.iter_mut().for_each(|device| drop(device.connected()));
    let first = key(&house, "policy");

    // Awake.
    roll(&house, &["--step", "prepare"]).with_code(0).saying("policy-2");
    roll(&house, &[]).with_code(0).saying("in force   policy version 2");
    devices.iter_mut().for_each(|device| drop(device.status_where("it follows", at(2))));
    let second = key(&house, "policy-2");
    let current = house.data().join("policy/current.cose");
    countersign(["policy", "show", current.to_str().unwrap()])
        .with_code(0)
        .saying(&PolicyKeyId::of(second.spki_der()).to_string());

    // Whoever has the old key has nothing any more, at the gateway or at a device.
    let outcome = PolicyFiles(&house).slip_in(&sign(&policy(9, HYBRID), &first).unwrap());
    assert_eq!(outcome["word"], "signature", "{outcome}");
    assert!(outcome["text"].as_str().unwrap().contains("does not lead on"), "{outcome}");
    roll(&house, &["--step", "retire"]).with_code(0).saying("retired    policy");
    assert!(!house.data().join("authority/keys/policy.key").exists());

    // Asleep through a policy and two rolls, one of them killed again and again, with and without `serve`.
    devices[1].kill();
    PolicyFiles(&house).publish(&policy(3, HYBRID));
    devices[0].status_where("it follows", at(3));
    for millis in [5, 60, 200, 400] {
        let command = house.command(&["rotate", "policy-key"], &[]);
        let running = Running::start(&mut program(&command));
        let _ = running.end_within(std::time::Duration::from_millis(millis));
    }
    house.kill();
    roll(&house, &[]).with_code(0);
    house.start();
    until("the gateway has the new key's policy", || {
        let status = roll_status(&house);
        status.last().filter(|one| one["state"] == "active" && one["in_force"] == true).map(drop)
    });
    let newest = version_in_force(&house);
    roll(&house, &["--step", "retire"]).with_code(0);
    roll(&house, &[]).with_code(0).saying("in force   policy version");
    assert!(version_in_force(&house) > newest);
    let newest = version_in_force(&house);
    devices[0].status_where("it follows", at(newest));
    devices[1].start();
    devices[1].status_where("it comes back over both", at(newest));
    // It forgets nothing of it over a restart, and neither does the gateway.
    house.kill();
    devices[1].kill();
    house.start();
    devices[1].start();
    for device in &mut devices {
        device.status_where("it is back", at(newest));
    }

    // Made now, with the key of now.
    let home = Home::new(&house, "home");
    let mut new = Device::provision(&house, "plug-000007");
    new.start();
    let label = new.label.clone();
    home.pair(&house, &mut new, &["--label", &label]).with_code(0);
    new.status_where("the new device follows", at(newest));
    PolicyFiles(&house).publish(&policy(newest + 1, HYBRID));
    new.status_where("the new device follows", at(newest + 1));
    devices[0].status_where("the oldest device follows", at(newest + 1));

    roll(&house, &["--step", "retire"]).with_code(0);
    let left: Vec<_> = roll_status(&house);
    let states: Vec<_> = left.iter().map(|one| one["state"].as_str().unwrap()).collect();
    let (last, others) = states.split_last().unwrap();
    assert_eq!(*last, "active");
    assert!(others.len() >= 3 && others.iter().all(|one| *one == "destroyed"), "{states:?}");
    roll(&house, &["--algorithm", "ML-DSA-65"]).with_code(2).saying("--second");
    countersign(house.command(&["ledger", "verify"], &[])).with_code(0);
    let spki = fs::read(house.data().join("policy/policy-key.spki")).unwrap();
    let newest = left.last().unwrap()["label"].as_str().unwrap();
    assert_eq!(spki, key(&house, newest).spki_der());
    house.is_well();
}

//= specs/house.md#house-policy
//= type=test
//# A new key of second signatures MUST be believed only by the signatures of the second key before it and of the policy key, and by its own.
#[test]
fn the_second_key_rolls_and_devices_awake_and_asleep_follow() {
    let mut house = House::new();
    let mut devices = fleet(&house, 2);
    devices.iter_mut().for_each(Device::start);
    devices.iter_mut().for_each(|device| drop(device.connected()));
    let twice = |version| {
        let mut policy = policy(version, HYBRID);
        policy.document_signing.second = vec!["ML-DSA-65".into()];
        policy
    };
    PolicyFiles(&house).publish(&twice(2));
    devices.iter_mut().for_each(|device| drop(device.status_where("it follows", at(2))));
    devices[1].kill();
    let seal = SealKey::load(&house.data().join("seal.key")).unwrap();
    let keys = Keystore::open(&house.data().join("authority/keys"), seal).unwrap();
    let left = DocumentKeys::new(keys.require("policy").unwrap())
        .with_second(keys.load_second("policy-second").unwrap().unwrap());

    roll(&house, &["--second"]).with_code(0).saying("in force   policy version 3");
    devices[0].status_where("it follows", at(3));
    // Both keys that were left, together, have nothing any more.
    let outcome = PolicyFiles(&house).slip_in(&sign_document(&twice(9), &left).unwrap());
    assert_eq!(outcome["word"], "signature", "{outcome}");
    roll(&house, &["--step", "retire"]).with_code(0).saying("retired    policy");
    for gone in ["policy.key", "policy-second.key"] {
        assert!(!house.data().join("authority/keys").join(gone).exists(), "{gone}");
    }
    let status = roll_status(&house);
    let newest = &status.last().unwrap()["second_key_sha256"];
    let spki = fs::read(house.data().join("policy/policy-key-second.spki")).unwrap();
    assert_eq!(*newest, PolicyKeyId::of(&spki).to_string());
    assert_ne!(status[0]["second_key_sha256"], *newest);
    // Whoever slept, whoever is made now, and the next policy.
    devices[1].start();
    devices[1].status_where("it comes back", at(3));
    let home = Home::new(&house, "home");
    let mut new = Device::provision(&house, "plug-000007");
    new.start();
    let label = new.label.clone();
    home.pair(&house, &mut new, &["--label", &label]).with_code(0);
    PolicyFiles(&house).publish(&twice(4));
    for device in devices.iter_mut().chain([&mut new]) {
        device.status_where("it follows the next policy", at(4));
    }
    house.is_well();
}

fn roll_status(house: &House) -> Vec<Value> {
    let mut all = house.command(&["rotate", "status"], &[]);
    all.push("--json".into());
    let said: Value = serde_json::from_str(&countersign(all).stdout).unwrap();
    said["policy_keys"].as_array().unwrap().clone()
}
