//! A device changes hands: what its storage still knows of the former owner, and who may do what afterwards.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use countersign_assessor::Canary;
use countersign_device::data::DataFolder;

use crate::support::{
    Device, Home, House, canary, files, found, found_below, keys, opened, scalar,
};

const OWNER: &str = "former-owner-ada";
const GUEST: &str = "former-guest-max";
const SSID: &str = "former-network-name";
const NETWORK_KEY: &str = "former network key 4711";

fn copy(from: &Path, to: &Path) {
    for path in files(from) {
        let to = to.join(path.strip_prefix(from).unwrap());
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::copy(&path, &to).unwrap();
    }
}

/// What the device was told and made while it had its former owner. Each is shown to be there before.
fn canaries(data: &Path) -> Vec<Canary> {
    let folder = DataFolder::open(data).unwrap();
    let record = folder.store().unwrap().get();
    let home = record.home.unwrap();
    let current = record.current.unwrap();
    let mut all = vec![
        canary("owner", OWNER),
        canary("guest", GUEST),
        canary("network's name", SSID),
        canary("network's key", NETWORK_KEY),
        canary("home's anchor", home.anchor.spki_der()),
        canary("operational certificate", current.chain.unwrap().leaf().spki_der()),
        canary("home's sealing key", fs::read(data.join("home.key")).unwrap()),
    ];
    let plain = opened(data, &keys(data));
    let key_file = data.join("keys").join(format!("{}.key", current.key));
    let (_, pkcs8) = plain.iter().find(|(path, _)| *path == key_file).expect("a sealed key");
    all.push(canary("operational private key", scalar(pkcs8).expect("a private key")));
    for one in &all {
        let hit = plain.iter().any(|(path, plain)| {
            !found(&path.display().to_string(), plain.clone(), std::slice::from_ref(one)).is_empty()
        });
        assert!(hit || one.label == "home's sealing key", "{} is not in the device", one.label);
    }
    all
}

/// A device that an owner had for a while, switched off; and a copy of its storage.
fn owned(house: &House) -> (Device, Home, PathBuf, Vec<Canary>) {
    let mut device = Device::provision(house, "plug-000001");
    device.start();
    let home = Home::new(house, "former");
    let key = house.folder().join("network.key");
    fs::write(&key, NETWORK_KEY).unwrap();
    let label = device.label.clone();
    let network = ["--ssid", SSID, "--network-key-file", key.to_str().unwrap()];
    let proof = [&["--label", &label, "--owner", OWNER][..], &network].concat();
    home.pair(house, &mut device, &proof).with_code(0);
    device.connected();
    home.with("admit", &device, &["--person", GUEST, "--role", "member"]).with_code(0);
    home.with("set", &device, &["maxPower", "2000"]).with_code(0);
    device.kill();
    let before = house.folder().join("before");
    copy(&device.data(), &before);
    let canaries = canaries(&before);
    device.start();
    device.connected();
    (device, home, before, canaries)
}

/// What must be so once it was reset and switched off, and for whoever comes next.
fn handed_over(
    house: &House,
    mut device: Device,
    former: &Home,
    before: &Path,
    canaries: &[Canary],
) {
    let data = device.data();
    assert_eq!(found_below(&data, canaries), [""; 0]);
    // What is sealed there speaks of nobody either.
    let left = keys(&data);
    let plain = opened(&data, &left);
    assert!(plain.iter().any(|(path, _)| path.ends_with("state.sealed")), "the state opens");
    for (path, plain) in plain {
        assert_eq!(found(&path.display().to_string(), plain, canaries), [""; 0]);
    }
    // Whoever kept the old storage, or reads it out of blocks that no file names any more, has nothing to open it with.
    let mine = ["state.sealed", "state.sealed.prev", "keys"].map(|name| before.join(name));
    let of_home = |all: Vec<(PathBuf, Vec<u8>)>| {
        all.into_iter().filter(|(path, _)| mine.iter().any(|one| path.starts_with(one))).count()
    };
    assert!(of_home(opened(before, &keys(before))) >= 3, "it opened with its own keys");
    assert_eq!(of_home(opened(before, &left)), 0);

    // The label works for the next owner, and the former one is nobody.
    device.start();
    let next = Home::new(house, "next");
    let label = device.label.clone();
    next.pair(house, &mut device, &["--label", &label]).with_code(0);
    device.connected();
    next.with("get", &device, &["power"]).with_code(0);
    let status = device.status().unwrap();
    let at = status["api"].as_str().unwrap();
    for person in [OWNER, GUEST] {
        let asked = former.with("get", &device, &["power", "--as", person, "--at", at]);
        assert_eq!(asked.without_panic().with_code(1).stdout, "", "{person}");
    }
}

//= specs/house.md#house-pairing
//= type=test
//# What the former owner installed MUST NOT be found in the storage after a reset.
//= specs/house.md#house-pairing
//= type=test
//# What sealed the home's data MUST be destroyed by a reset, so that no copy of it opens any more.
#[test]
fn a_reset_by_the_owner_leaves_nothing_of_him() {
    let house = House::new();
    let (mut device, home, before, canaries) = owned(&house);
    home.with("invoke", &device, &["reset"]).with_code(0);
    device.pairing();
    device.kill();
    handed_over(&house, device, &home, &before, &canaries);
}

#[test]
fn the_button_on_the_back_leaves_nothing_either() {
    let house = House::new();
    let (mut device, home, before, canaries) = owned(&house);
    device.kill();
    let data = device.data();
    crate::support::countersign(["device", "reset", "--data", data.to_str().unwrap()]).with_code(0);
    handed_over(&house, device, &home, &before, &canaries);
}

//= specs/house.md#house-pairing
//= type=test
//# Where the device asks for physical presence, pairing MUST NOT open without it.
#[test]
fn a_device_that_asks_for_its_button_pairs_after_a_press_and_for_a_short_time() {
    let house = House::new();
    let mut device = Device::provision(&house, "plug-000001");
    device.configure("[pairing]\npresence = \"button\"\nwindow_secs = 8\n");
    let home = Home::new(&house, "home");
    let press = |device: &Device| {
        let signal = format!("kill -USR1 {}", device.id());
        assert!(Command::new("sh").args(["-c", &signal]).status().unwrap().success());
    };
    device.start();
    let waiting = device.status_where("it waits", |status| status["state"] == "factory-default");
    assert!(waiting["pairing"].is_null(), "{waiting}");
    press(&device);
    let address = device.pairing();
    device.status_where("it is closed again", |status| status["state"] == "factory-default");
    let label = device.label.clone();
    let proof = ["--label", &label];
    assert_ne!(home.pair_at(&house, &address, &proof).code, Some(0));
    // A kill opens nothing; a press does.
    device.kill();
    device.configure("[pairing]\npresence = \"button\"\n");
    device.start();
    let waiting = device.status_where("it waits", |status| status["state"] == "factory-default");
    assert!(waiting["pairing"].is_null(), "{waiting}");
    press(&device);
    home.pair(&house, &mut device, &proof).with_code(0);
    device.connected();
}
