//! The policy retires a signature algorithm while everything runs, and certificates follow by themselves.

use std::fs;

use countersign_crypto::certificate::CertificateChain;
use countersign_crypto::policy::{Item, Policy};
use countersign_crypto::tls::{Clock as _, SystemClock};
use countersign_device::data::DataFolder;
use countersign_model::time::Day;
use serde_json::Value;

use crate::support::{
    Device, House, PolicyFiles, Service, countersign, fleet, openssl, policy, until,
};

const GROUPS: &[&str] = &["SecP256r1MLKEM768", "X25519MLKEM768", "secp256r1"];
const P256: &str = "ecdsa_secp256r1_sha256";
const P384: &str = "ecdsa_secp384r1_sha384";
/// When the first device renews after it was told, in seconds: `serve` has rolled its CAs by then, also on a slow machine.
const LATER: u64 = 10;

/// Offers P-256 until tomorrow, wherever TLS is spoken. Not for documents: the policy key itself is of that kind.
fn retires_p256(version: u64) -> Policy {
    let tomorrow = Day::of(SystemClock.now()).next();
    let mut policy = policy(version, GROUPS);
    for tls in policy.uses.values_mut() {
        let ended = tls.signatures.iter_mut().filter(|item: &&mut Item| item.name == P256);
        ended.for_each(|item| item.until = Some(tomorrow));
    }
    policy
}

/// The certificates that a device which is switched off has in use, leaf first.
fn chain(device: &Device) -> CertificateChain {
    let folder = DataFolder::open(&device.data()).unwrap();
    let store = folder.store().unwrap();
    store.with(|record| record.current.as_ref().unwrap().chain.clone()).unwrap()
}

/// What the gateway has in its record of a device's session.
fn session(house: &House, device: &Device) -> Value {
    let data = house.data();
    let shown = countersign(["gateway", "sessions", "--json", "--data", data.to_str().unwrap()]);
    let shown: Value = serde_json::from_str(&shown.with_code(0).stdout).unwrap();
    let subject = format!("thing:{}", device.serial);
    let all = shown["sessions"].as_array().unwrap();
    all.iter().find(|one| one["subject"] == subject.as_str()).cloned().unwrap_or_default()
}

/// State and algorithm of a CA's generation.
fn generation(house: &House, label: &str) -> Option<(Value, Value)> {
    let ended = countersign(house.command(&["rotate", "status"], &["--json"]));
    let said: Value = serde_json::from_str(&ended.stdout).unwrap();
    let mut all = said["authorities"].as_array().unwrap().iter();
    let one = all.find(|one| one["label"] == label)?;
    Some((one["state"].clone(), one["algorithm"].clone()))
}

//= specs/house.md#house-rotation
//= type=test
//# An identity whose algorithm the policy retires MUST be renewed before that algorithm ends.
//= specs/house.md#house-rotation
//= type=test
//# When the policy retires a signature algorithm, the issuing authorities MUST be rolled before
//# the identities below them are renewed.
#[test]
fn identities_move_to_p384_while_everything_runs() {
    let mut house = House::new();
    let mut devices = fleet(&house, 2);
    let identity = house.service("backend", &["subscribe things/#", "publish things/+/actions/+"]);
    let service = Service::start(&house, &identity, "backend", &["things/+/actions/+/receipt"]);
    let answers = |device: &Device| {
        let topic = format!("things/{}/actions/", device.serial);
        let before = service.heard(&topic).len();
        service.publish(&format!("{topic}toggle"), "");
        until("a receipt", || (service.heard(&topic).len() > before).then_some(()));
    };
    // Each device has its own moment within the spread, which its certificate decides.
    let before: Vec<_> = [LATER, 2]
        .into_iter()
        .zip(&mut devices)
        .map(|(seconds, device)| {
            device.start();
            let identity = device.connected()["identity"].clone();
            device.kill();
            let [high, low, ..] = chain(device).leaf().fingerprint();
            let moment = u64::from(u16::from_be_bytes([high, low])).max(1);
            let spread = (seconds * 65_536).div_ceil(moment);
            device.configure(&format!("[identity]\nrenewal_spread_secs = {spread}\n"));
            device.start();
            device.connected();
            identity
        })
        .collect();
    answers(&devices[0]);
    answers(&devices[1]);
    assert_eq!(session(&house, &devices[0])["certificate"]["key"], P256);

    // One is away when the policy comes.
    devices[1].kill();
    PolicyFiles(&house).publish(&retires_p256(2));
    until("the issuing CAs are of the new kind", || {
        let of_kind = |label| generation(&house, label) == Some(("active".into(), P384.into()));
        (of_kind("ldevid-ca-2") && of_kind("service-ca-2")).then_some(())
    });
    let renewed = |device: &mut Device, before: &Value| {
        device.status_where("it is at the gateway with another identity", |status| {
            status["uplink"] == "connected"
                && (status["policy"]["version"] == 2 && status["policy"]["phase"] == "steady")
                && status["identity"] != *before
        });
        answers(device);
        let seen = session(&house, device);
        let certificate = &seen["certificate"];
        let kinds = [&certificate["key"], &certificate["signature"]];
        assert_eq!(kinds, [P384, P384], "{seen}");
    };
    renewed(&mut devices[0], &before[0]);
    devices[1].start();
    renewed(&mut devices[1], &before[1]);

    // OpenSSL agrees.
    let roots_file = house.roots();
    for device in &mut devices {
        device.kill();
        let chain = chain(device);
        let [leaf, issuers] = ["leaf", "issuers"].map(|name| house.folder().join(name));
        fs::write(&leaf, chain.leaf().to_pem()).unwrap();
        fs::write(&issuers, chain.to_pem()).unwrap();
        let [leaf, issuers, roots] = [&leaf, &issuers, &roots_file].map(|p| p.to_str().unwrap());
        let verify = ["verify", "-x509_strict", "-CAfile", roots, "-untrusted", issuers];
        let said = openssl(&[&verify[..], &["-show_chain", leaf]].concat(), b"");
        assert!(said.contains(": OK") && said.contains("G2 LDevID CA"), "{said}");
        let text = openssl(&["x509", "-noout", "-text", "-in", leaf], b"");
        assert!(text.contains("P-384") && text.contains("ecdsa-with-SHA384"), "{text}");
        assert!(!text.contains("P-256"), "{text}");
        device.start();
        device.connected();
        answers(device);
    }
    countersign(house.command(&["ledger", "verify"], &[])).with_code(0);
    house.is_well();
}
