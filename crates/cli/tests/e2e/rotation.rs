//! Issuing CAs roll while everybody goes on: `serve`, ordinary clients and real devices, judged by OpenSSL.

use std::fs;

use crate::est::renewed;
use crate::support::{
    Client, Device, Home, House, Identity, Key, Version, countersign, curl, openssl, s_client,
    until,
};

const P384: &str = "ecdsa_secp384r1_sha384";
const POWER: &str = "things/plug-000001/properties/power";

fn rotate(house: &House, arguments: &[&str]) -> crate::support::Finished {
    countersign(house.command(&["rotate"], arguments))
}

/// What `rotate status --json` says of one generation.
fn generation(house: &House, label: &str) -> Option<serde_json::Value> {
    let ended = countersign(house.command(&["rotate", "status"], &["--json"]));
    let said: serde_json::Value = serde_json::from_str(&ended.stdout).unwrap();
    said["authorities"].as_array().unwrap().iter().find(|one| one["label"] == label).cloned()
}

fn state(house: &House, label: &str) -> String {
    let one = generation(house, label);
    one.map(|one| one["state"].as_str().unwrap().to_owned()).unwrap_or_default()
}

/// Who issued the certificate that a server shows.
fn shown_issuer(address: &str, house: &House) -> String {
    let mut command = s_client(address, &house.roots(), None, &["-showcerts"]);
    let said = command.stdin(std::process::Stdio::null()).output().unwrap();
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    said.lines().find(|line| line.trim_start().starts_with("i:")).unwrap_or_default().to_owned()
}

/// Leaf, then what cacerts has to lead to the root, verified by OpenSSL.
fn verified_by_openssl(house: &House, who: &Identity, issuer: &str) {
    let answer = curl(house, &house.est, None, "cacerts", None).unwrap();
    let printed = crate::support::certificates_in(&answer.body, house.folder());
    let untrusted = house.folder().join("cacerts.pem");
    fs::write(&untrusted, printed).unwrap();
    let (roots, crt) = (house.roots(), who.crt.clone());
    let said = openssl(
        &[
            "verify",
            "-x509_strict",
            "-CAfile",
            roots.to_str().unwrap(),
            "-untrusted",
            untrusted.to_str().unwrap(),
            "-show_chain",
            crt.to_str().unwrap(),
        ],
        b"",
    );
    assert!(said.contains(": OK") && said.contains(issuer), "{said}");
}

//= specs/house.md#house-rotation
//= type=test
//# An issuing authority MUST be known to every verifier before it issues.
//= specs/house.md#house-rotation
//= type=test
//# What a deactivated issuing authority issued MUST be accepted until the authority is retired.
#[test]
fn ordinary_clients_follow_a_roll_from_p256_to_p384() {
    let mut house = House::new();
    let old = house.device("plug-000001");
    let session = Client::new(&house, &old, Version::V5);
    let _subscribed = session.subscribe(1, "things/plug-000001/actions/+");

    rotate(&house, &["--ca", "ldevid", "--algorithm", P384])
        .with_code(0)
        .saying("prepared   ldevid-ca-2")
        .saying("activated  ldevid-ca-2")
        .saying("waiting    ldevid-ca");
    assert_eq!(state(&house, "ldevid-ca-2"), "active");
    // Not before the last device has followed.
    rotate(&house, &["--ca", "ldevid", "--step", "retire", "--grace-hours", "0"])
        .with_code(1)
        .saying("1 of 1 certificates have no successor");

    // The old one counts; EST asks for the new kind and gives it.
    session.publish(1, POWER, "old");
    let wish = curl(&house, &house.est, None, "csrattrs", None).unwrap();
    let der = house.folder().join("csrattrs.der");
    openssl(&["base64", "-d", "-A", "-out", der.to_str().unwrap()], wish.body.as_bytes());
    let wish = openssl(&["asn1parse", "-inform", "DER", "-in", der.to_str().unwrap()], b"");
    assert!(wish.contains("secp384r1"), "{wish}");
    let key = Key::p384(house.folder(), "new");
    let request = key.request("plug-000001");
    let answer = curl(&house, &house.est, Some(&old), "simplereenroll", Some(&request)).unwrap();
    assert_eq!(answer.status, 200, "{answer:?}");
    let new = renewed(&house, &key, &answer);
    verified_by_openssl(&house, &new, "G2 LDevID CA");
    let text = openssl(&["x509", "-noout", "-text", "-in", new.crt.to_str().unwrap()], b"");
    assert!(text.contains("P-384") && text.contains("ecdsa-with-SHA384"), "{text}");
    Client::new(&house, &new, Version::V5).publish(1, POWER, "new");
    Client::new(&house, &old, Version::V5).publish(1, POWER, "old still");

    // The server's own certificate is replaced while it runs.
    assert!(shown_issuer(&house.mqtt, &house).contains("CN = Example Manufacturer Service CA"));
    rotate(&house, &["--ca", "service", "--algorithm", P384]).with_code(0);
    for address in [house.mqtt.clone(), house.est.clone(), house.admin.clone()] {
        until("the server's new certificate", || {
            shown_issuer(&address, &house).contains("G2 Service CA").then_some(())
        });
    }
    Client::new(&house, &new, Version::V5).publish(1, POWER, "new");

    // And the old CA goes, with what it issued.
    rotate(&house, &["--ca", "ldevid", "--step", "retire", "--grace-hours", "0"])
        .with_code(0)
        .saying("retired    ldevid-ca");
    Client::new(&house, &old, Version::V5).comes_to_be_refused();
    Client::new(&house, &new, Version::V5).publish(1, POWER, "new");
    assert!(!house.data().join("authority/keys/ldevid-ca.key").exists(), "the key is gone");
    let again = curl(&house, &house.est, Some(&old), "simplereenroll", Some(&request));
    assert!(again.is_err(), "{again:?}");

    // All of it outlives a restart, and stands in the ledger.
    house.kill();
    house.start();
    Client::new(&house, &new, Version::V311).publish(1, POWER, "new");
    Client::new(&house, &old, Version::V311).is_refused();
    countersign(house.command(&["ledger", "verify"], &[])).with_code(0);
    house.is_well();
}

//= specs/house.md#house-rotation
//= type=test
//# A crash at any point of a rotation MUST leave at least one identity that works.
#[test]
fn devices_come_to_the_new_ca_by_themselves() {
    let house = House::new();
    let home = Home::new(&house, "home");
    let mut devices = ["plug-000001", "plug-000002"].map(|serial| {
        let mut device = Device::provision(&house, serial);
        device.start();
        let label = device.label.clone();
        home.pair(&house, &mut device, &["--label", &label]).with_code(0);
        device.connected();
        device
    });
    let mut identity = |device: &mut Device| device.connected()["identity"].clone();
    let before: Vec<_> = devices.iter_mut().map(&mut identity).collect();
    rotate(&house, &["--ca", "ldevid", "--algorithm", P384]).with_code(0);
    // One is off; the other has no successor either. The operator will not wait.
    devices[1].kill();
    rotate(&house, &["--ca", "ldevid", "--step", "retire", "--at-once"]).with_code(0);
    devices[1].start();
    for (device, before) in devices.iter_mut().zip(before) {
        device.status_where("it is at the gateway under the new CA", |status| {
            status["uplink"] == "connected" && status["identity"] != before
        });
    }
    let new = generation(&house, "ldevid-ca-2").unwrap();
    assert_eq!(
        (&new["outstanding"]["good"], &new["algorithm"]),
        (&2.into(), &P384.into()),
        "{new}"
    );
    home.with("get", &devices[0], &["relay"]).with_code(0);
}

#[test]
fn a_roll_that_was_killed_is_carried_on() {
    let house = House::new();
    let device = house.device("plug-000001");
    for millis in [5, 50, 200, 600] {
        let roll = house.command(&["rotate"], &["--ca", "ldevid"]);
        let running = crate::support::Running::start(&mut crate::support::program(&roll));
        let _ = running.end_within(std::time::Duration::from_millis(millis));
        Client::new(&house, &device, Version::V5).publish(1, POWER, "1");
    }
    rotate(&house, &["--ca", "ldevid"]).with_code(0);
    let states: Vec<_> = (2..=6).map(|n| state(&house, &format!("ldevid-ca-{n}"))).collect();
    assert_eq!(states.iter().filter(|state| *state == "active").count(), 1, "{states:?}");
    assert!(!states.contains(&"pre-activation".to_owned()), "{states:?}");
    assert_eq!(state(&house, "ldevid-ca"), "deactivated", "the device's certificate is of it");
    Client::new(&house, &device, Version::V5).publish(1, POWER, "1");
    countersign(house.command(&["ledger", "verify"], &[])).with_code(0);
}

#[test]
fn what_is_wrong_is_said() {
    let house = House::new();
    rotate(&house, &["--for-policy"]).with_code(0).saying("nothing");
    rotate(&house, &["--ca", "root"]).with_code(2).saying("idevid, ldevid or service");
    rotate(&house, &["--ca", "ldevid", "--algorithm", "rsa"]).with_code(2).saying(P384);
    rotate(&house, &["--ca", "ldevid", "--step", "activate"]).with_code(0).saying("none prepared");
    rotate(&house, &[]).with_code(2).saying("--ca");
}
