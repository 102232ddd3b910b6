//! A policy that asks for a post-quantum signature beside the classical one: made, followed, and refused without it.

use std::fs;

use countersign_crypto::policy::Policy;

use crate::support::{Device, HYBRID, House, PolicyFiles, countersign, fleet, policy};

fn asking(version: u64) -> Policy {
    let mut policy = policy(version, HYBRID);
    policy.document_signing.second = vec!["ML-DSA-65".into()];
    policy
}

//= specs/house.md#house-policy
//= type=test
//# A policy that names a second signature, or that follows one in force which does, MUST be refused without it.
//= specs/house.md#house-policy
//= type=test
//# A refused policy MUST be recorded with its reason.
#[test]
fn two_signatures_are_made_followed_and_missed_when_one_is_stripped() {
    let mut house = House::new();
    let mut device: Device = fleet(&house, 1).remove(0);
    device.start();
    device.connected();
    let at = |version: u64| {
        move |status: &serde_json::Value| {
            let policy = &status["policy"];
            status["uplink"] == "connected"
                && (policy["version"] == version && policy["phase"] == "steady")
        }
    };
    let files = PolicyFiles(&house);
    files.publish(&asking(2));
    device.status_where("it follows", at(2));
    assert_eq!(files.recorded("policy-signed").pop().unwrap()["second"], "ML-DSA-65");
    assert_eq!(files.recorded("second-policy-key").len(), 1);
    let current = house.data().join("policy/current.cose");
    countersign(["policy", "show", current.to_str().unwrap()])
        .with_code(0)
        .saying("the second signature with")
        .saying("policy-key-second.spki");

    // The classical key alone, whatever the document says of second signatures.
    let before = fs::read(&current).unwrap();
    for (stripped, text) in
        [(asking(3), "one signature where two"), (policy(3, HYBRID), "in force")]
    {
        let outcome = files.slip_in(&files.signed(&stripped));
        assert_eq!(outcome["word"], "signature", "{outcome}");
        let recorded = files.recorded("policy-refused").pop().unwrap();
        assert_eq!((&recorded["word"], &recorded["by"]), (&"signature".into(), &"gateway".into()));
        assert!(recorded["reason"].as_str().unwrap().contains(text), "{recorded}");
    }
    assert_eq!(fs::read(&current).unwrap(), before);

    // One that asks no more bears both all the same, and a restart forgets nothing of it.
    device.kill();
    house.kill();
    house.start();
    device.start();
    device.status_where("it is back", at(2));
    PolicyFiles(&house).publish(&policy(3, HYBRID));
    device.status_where("it follows again", at(3));
    // Another policy key: the statement bears both signatures, or the device would not believe it.
    let rolled = house.command(&["rotate", "policy-key"], &[]);
    countersign(rolled).with_code(0).saying("in force   policy version 4");
    device.status_where("it follows the new key", at(4));
    countersign(house.command(&["ledger", "verify"], &[])).with_code(0);
}
