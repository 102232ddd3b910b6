//! The bill of materials against the published schema of CycloneDX 1.7, judged by a validator that is not ours.
#![allow(clippy::unwrap_used)]

use std::io::Write as _;
use std::process::{Command, Stdio};

use countersign_crypto::inventory::bill_of_materials;
use countersign_crypto::policy::Policy;
use serde_json::Value;

/// What Python's `jsonschema` finds wrong; empty when nothing.
fn faults(bill: &Value) -> String {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/cyclonedx/validate.py");
    let mut child = Command::new("/usr/bin/python3")
        .arg(script)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(bill.to_string().as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.success(), said.is_empty(), "the validator runs: {said}");
    said
}

#[test]
fn the_bill_is_valid_and_the_validator_sees_a_fault() {
    let mut bill = bill_of_materials(&Policy::built_in(), "built in", "0.0.0");
    assert_eq!(faults(&bill), "");
    let last = bill["components"].as_array_mut().unwrap().last_mut().unwrap();
    last["cryptoProperties"]["assetType"] = "rot13".into();
    assert!(faults(&bill).contains("rot13"));
}
