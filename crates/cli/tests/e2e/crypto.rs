//! What cryptography the binary says that it contains.

use std::fs;

use serde_json::Value;

use crate::support::{House, countersign};

/// The marks of use at one algorithm of a bill of materials.
fn uses(bill: &Value, name: &str) -> String {
    let components = bill["components"].as_array().unwrap();
    let found = components.iter().find(|component| component["name"] == name).unwrap();
    found["properties"].to_string()
}

#[test]
fn the_inventory_follows_the_policy_that_is_named() {
    let folder = tempfile::TempDir::new().unwrap();
    let out = folder.path().join("cbom.json");
    let built_in = ["crypto", "inventory", "--out", out.to_str().unwrap()];
    countersign(built_in).with_code(0).saying("cbom.json");
    let bill: Value = serde_json::from_slice(&fs::read(&out).unwrap()).unwrap();
    assert_eq!((&bill["bomFormat"], &bill["specVersion"]), (&"CycloneDX".into(), &"1.7".into()));
    assert!(uses(&bill, "ML-DSA-65").contains("none"));
    assert!(uses(&bill, "SecP256r1MLKEM768").contains("uses.device-uplink.groups[0]"));

    let policy = folder.path().join("policy.toml");
    let text = countersign(["policy", "show"]).with_code(0).stdout;
    let second = "[document-signing]\nsecond = [\"ML-DSA-65\"]\n";
    fs::write(&policy, text.replace("[document-signing]\n", second)).unwrap();
    let named = ["crypto", "inventory", "--policy", policy.to_str().unwrap(), "--json"];
    let bill: Value = serde_json::from_str(&countersign(named).with_code(0).stdout).unwrap();
    assert!(uses(&bill, "ML-DSA-65").contains("document-signing.second[0]"));

    countersign(["crypto", "inventory"]).with_code(0).saying("SPAKE2+");
    let missing = folder.path().join("none.toml");
    countersign(["crypto", "inventory", "--policy", missing.to_str().unwrap()])
        .with_code(2)
        .saying("none.toml");
}

#[test]
fn a_signed_policy_is_read_only_when_it_verifies() {
    let mut house = House::new();
    house.is_well();
    let signed = house.data().join("policy/current.cose");
    let named = ["crypto", "inventory", "--policy", signed.to_str().unwrap()];
    countersign(named).with_code(0).saying("signature verified");
    let mut bytes = fs::read(&signed).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    let changed = house.data().join("policy/changed.cose");
    fs::write(&changed, bytes).unwrap();
    countersign(["crypto", "inventory", "--policy", changed.to_str().unwrap()])
        .with_code(2)
        .saying("changed.cose");
}

#[test]
fn the_register_says_what_speaks_for_each_and_what_was_not_found() {
    let register = countersign(["crypto", "register", "--json"]).with_code(0).stdout;
    let register: Value = serde_json::from_str(&register).unwrap();
    for entry in register.as_array().unwrap() {
        assert_eq!(entry["checksum"].as_str().unwrap().len(), 64, "{entry}");
        assert!(!entry["evidence"].as_array().unwrap().is_empty(), "{entry}");
    }
    countersign(["crypto", "register"]).with_code(0).saying("rustls").saying("none-found");
}
