//! A crypto policy is replaced while everything runs: signed, published, tried, followed, and refused with the reason.

use std::fs;

use countersign_crypto::policy::{Use, sign};
use countersign_crypto::signature::{KeyHandle, SignatureAlgorithm};
use countersign_model::time::Day;

use crate::support::{
    Authority, CLASSICAL, Device, HYBRID, House, PolicyFiles, Service, countersign, fleet, policy,
    until,
};

//= specs/house.md#house-policy
//= type=test
//# A refused policy MUST be recorded with its reason.
#[test]
fn what_is_not_signed_or_published_says_why() {
    let authority = Authority::new();
    let files = PolicyFiles(&authority);
    let mut nobodys = policy(2, HYBRID);
    nobodys.maker = None;
    files
        .run("sign", &files.text("nobodys", &nobodys))
        .with_code(1)
        .saying("maker = \"Example Manufacturer\"");
    let mut foreign = policy(2, HYBRID);
    foreign.maker = Some("Somebody else".to_owned());
    files.run("sign", &files.text("foreign", &foreign)).with_code(1).saying("Somebody else");
    let second = files.text("second", &policy(2, HYBRID));
    files.run("sign", &second).with_code(0);
    // The same again is the same; another one of that version, or an older one, is not.
    files.run("sign", &second).with_code(0);
    files
        .run("sign", &files.text("other", &policy(2, CLASSICAL)))
        .with_code(1)
        .saying("write 3 or more");
    files
        .run("sign", &files.text("first", &policy(1, HYBRID)))
        .with_code(1)
        .saying("write 3 or more");
    fs::write(authority.folder().join("broken.toml"), "version = ").unwrap();
    files.run("sign", &authority.folder().join("broken.toml")).with_code(2).saying("broken.toml");

    let signed = second.with_extension("cose");
    let whole = fs::read(&signed).unwrap();
    for (name, bytes) in
        [("cut", &whole[..whole.len() - 1]), ("empty", b""), ("noise", &[0xff; 64])]
    {
        let path = authority.folder().join(name);
        fs::write(&path, bytes).unwrap();
        let ended = files.run("publish", &path);
        assert!(matches!(ended.code, Some(1 | 2)), "{ended}");
        ended.saying(name);
    }
    files.run("publish", &signed).with_code(0).saying("at its next start");
    assert!(files.recorded("policy-refused").len() >= 5);
    // The next start takes it up.
    let house = House::on(authority);
    let files = PolicyFiles(&house);
    until("it is in force", || {
        files.recorded("policy-activated").pop().filter(|e| e["version"] == 2)
    });
}

//= specs/house.md#house-policy
//= type=test
//# A gateway MUST let a device that holds an older, unexpired and not withdrawn policy in to receive
//# the newer one.
#[test]
fn a_device_and_a_service_follow_and_one_that_was_away_comes_by_the_update_door() {
    let mut house = House::new();
    let mut devices = fleet(&house, 2);
    devices.iter_mut().for_each(Device::start);
    devices.iter_mut().for_each(|device| drop(device.connected()));
    let identity = house.service("backend", &["subscribe things/#", "publish things/+/actions/+"]);
    let service = Service::start(&house, &identity, "backend", &["things/+/actions/+/receipt"]);
    PolicyFiles(&house).publish(&policy(2, CLASSICAL));
    let at = |version: u64, word: &'static str| {
        move |status: &serde_json::Value| {
            let policy = &status["policy"];
            let group = status["negotiated"]["group"].as_str().unwrap_or_default();
            status["uplink"] == "connected"
                && (policy["version"] == version && policy["phase"] == "steady")
                && group.contains(word)
        }
    };
    for device in &mut devices {
        device.status_where("it follows", at(2, "secp256r1"));
    }
    until("the service follows", || service.log().contains(&"secp256r1".to_owned()).then_some(()));

    // Away during the change, it holds a policy that the gateway has left behind once somebody has come by the new one.
    devices[1].kill();
    PolicyFiles(&house).publish(&policy(3, HYBRID));
    devices[0].status_where("it follows again", at(3, "MLKEM"));
    until("the service is told why, and comes back", || {
        let log = service.log();
        let told = log.iter().position(|word| word.contains("policy 3 is in force"))?;
        log[told..].iter().any(|word| word.contains("MLKEM")).then_some(())
    });
    devices[1].start();
    devices[1].status_where("it comes by the update door", at(3, "MLKEM"));
    service.publish(&format!("things/{}/actions/toggle", devices[1].serial), "");
    until("a receipt", || (!service.heard("things/plug-000001/actions").is_empty()).then_some(()));
    // A restart forgets nothing of it.
    house.kill();
    house.start();
    for device in &mut devices {
        device.status_where("it is back", at(3, "MLKEM"));
    }
    let shown = house.data().join("policy/current.cose");
    countersign(["policy", "show", shown.to_str().unwrap()]).with_code(0).saying("version = 3");
}

//= specs/house.md#house-policy
//= type=test
//# A policy MUST be refused when its version does not grow.
//= specs/house.md#house-policy
//= type=test
//# A policy MUST be refused when its signature does not verify.
#[test]
fn what_an_insider_slips_in_is_refused_by_the_gateway_itself() {
    let mut house = House::new();
    let files = PolicyFiles(&house);
    files.publish(&policy(2, HYBRID));
    let second = fs::read(house.data().join("policy/current.cose")).unwrap();
    let stranger = KeyHandle::ephemeral(SignatureAlgorithm::EcdsaP256Sha256).unwrap();
    let good = files.signed(&policy(3, HYBRID));
    let mut flipped = good.clone();
    flipped[good.len() / 2] ^= 1;
    let mut others = policy(3, HYBRID);
    others.maker = Some("Somebody else".to_owned());
    let mut over = policy(3, HYBRID);
    over.expires = Day::new(2026, 1, 1).unwrap();
    let mut unknown = policy(3, HYBRID);
    unknown.uses.get_mut(&Use::Est).unwrap().groups[0].name = "X25519Kyber768Draft00".to_owned();
    for (document, word) in [
        (files.signed(&policy(1, HYBRID)), "not-newer"),
        (files.signed(&policy(2, CLASSICAL)), "not-newer"),
        (sign(&policy(3, HYBRID), &stranger).unwrap(), "signature"),
        (good[..good.len() - 9].to_vec(), "signature"),
        (flipped, "signature"),
        (files.signed(&others), "maker"),
        (files.signed(&over), "expired"),
        (files.signed(&unknown), "provider"),
    ] {
        let outcome = files.slip_in(&document);
        assert_eq!(outcome["word"], word, "{outcome}");
        let recorded = files.recorded("policy-refused").pop().unwrap();
        assert_eq!((&recorded["word"], &recorded["by"]), (&word.into(), &"gateway".into()));
    }
    assert_eq!(fs::read(house.data().join("policy/current.cose")).unwrap(), second);
    files.publish(&policy(4, HYBRID));
    countersign(house.command(&["ledger", "verify"], &[])).with_code(0);
    house.is_well();
}
