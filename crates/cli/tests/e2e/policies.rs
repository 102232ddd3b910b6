//! The crypto policy from the command line.

use std::fs;

use crate::support::{House, countersign};

#[test]
fn the_built_in_policy_is_shown_and_can_be_carried_out() {
    let folder = tempfile::TempDir::new().unwrap();
    let file = folder.path().join("policy.toml");
    let name = file.to_str().unwrap();
    let text = countersign(["policy", "show"]).with_code(0).stdout;
    fs::write(&file, &text).unwrap();
    countersign(["policy", "check", name]).with_code(0).saying(name);
    let checked = countersign(["policy", "check", name, "--json"]).with_code(0).stdout;
    let checked: serde_json::Value = serde_json::from_str(&checked).unwrap();
    assert_eq!(checked["faults"], serde_json::json!([]));
}

//= specs/house.md#house-policy
//= type=test
//# A policy that the provider cannot carry out MUST be refused with the reason.
#[test]
fn a_policy_that_cannot_be_carried_out_is_refused_with_the_reason() {
    let folder = tempfile::TempDir::new().unwrap();
    let file = folder.path().join("policy.toml");
    let name = file.to_str().unwrap();
    let good = countersign(["policy", "show"]).with_code(0).stdout;
    fs::write(&file, good.replace("secp256r1", "secp112r1")).unwrap();
    let ended = countersign(["policy", "check", name]);
    assert!(matches!(ended.code, Some(1 | 2)), "{ended}");
    ended.saying("secp112r1");
    fs::write(&file, format!("nonsense = 1\n{good}")).unwrap();
    countersign(["policy", "check", name]).with_code(2).saying(name).saying("nonsense");
    countersign(["policy", "check", "/no/such/policy.toml"])
        .with_code(2)
        .saying("/no/such/policy.toml");
}

//= specs/house.md#house-policy
//= type=test
//# A policy MUST be refused when its signature does not verify.
#[test]
fn a_signed_policy_is_shown_only_when_it_verifies() {
    let house = House::new();
    let signed = house.data().join("policy/current.cose");
    let shown = countersign(["policy", "show", signed.to_str().unwrap()]).with_code(0).stdout;
    assert!(shown.contains("version = "), "{shown}");
    let mut bytes = fs::read(&signed).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&signed, bytes).unwrap();
    let ended = countersign(["policy", "show", signed.to_str().unwrap()]);
    assert!(matches!(ended.code, Some(1 | 2)), "{ended}");
    assert!(!ended.stdout.contains("version = "), "{ended}");
}
