//! `kill -9` of a device: before, during and after pairing. It carries on where it was.

use std::net::TcpStream;

use crate::devices::paired;
use crate::support::{Device, Home, House, Running, program};

#[test]
fn after_pairing_it_stays_paired() {
    let (_house, mut device, home) = paired();
    home.with("set", &device, &["maxPower", "1500"]).with_code(0);
    let identity = device.connected()["identity"].clone();
    for _ in 0..3 {
        device.kill();
        device.start();
        let status = device.connected();
        assert_eq!(status["state"], "initialised");
        assert!(status["pairing"].is_null(), "{status}");
        assert_eq!(status["identity"], identity, "the same certificate");
        home.with("get", &device, &["power"]).with_code(0);
    }
}

#[test]
fn during_pairing_it_is_either_paired_or_not() {
    let house = House::new();
    // From the first bytes to after the end.
    for (number, millis) in [5, 60, 150, 300, 500, 800].into_iter().enumerate() {
        let mut device = Device::provision(&house, &format!("plug-{number:06}"));
        device.start();
        let home = Home::new(&house, &format!("home-{number}"));
        let address = device.pairing();
        let (folder, roots) = (home.folder.clone(), house.roots());
        let mut pairing =
            program(["control", "pair", "--device", &address, "--label", &device.label]);
        pairing.args(["--mqtt", &house.mqtt, "--est", &house.est]);
        pairing.arg("--home").arg(folder).arg("--roots").arg(roots);
        let pairing = Running::start(&mut pairing);
        let ended = pairing.end_within(std::time::Duration::from_millis(millis));
        device.kill();
        drop(ended);

        device.start();
        let status =
            device.status_where("it stands somewhere", |status| status["state"].is_string());
        if status["state"] == "initialised" {
            let api = status["api"].as_str().unwrap().to_owned();
            assert!(TcpStream::connect(api).is_ok());
            device.connected();
        } else {
            // Nothing was half done: the label still opens it, for another home too.
            let label = device.label.clone();
            let fresh = Home::new(&house, &format!("fresh-{number}"));
            fresh.pair(&house, &mut device, &["--label", &label]).with_code(0);
            device.connected();
            fresh.with("get", &device, &["power"]).with_code(0);
        }
    }
}

#[test]
fn a_gateway_that_comes_back_is_found_again() {
    let (mut house, mut device, home) = paired();
    house.kill();
    device.status_where("the uplink is lost", |status| status["uplink"] != "connected");
    home.with("get", &device, &["power"]).with_code(0);
    house.start();
    device.connected();
}

#[test]
fn a_reset_forgets_the_home() {
    let (house, mut device, home) = paired();
    device.kill();
    let data = device.data();
    crate::support::countersign(["device", "reset", "--data", data.to_str().unwrap()]).with_code(0);
    device.start();
    assert_ne!(home.with("get", &device, &["power"]).code, Some(0));
    let label = device.label.clone();
    let second = Home::new(&house, "second");
    second.pair(&house, &mut device, &["--label", &label]).with_code(0);
    device.connected();
    second.with("get", &device, &["power"]).with_code(0);
    assert_ne!(
        home.with("get", &device, &["power"]).code,
        Some(0),
        "the old home is a stranger now"
    );
}
