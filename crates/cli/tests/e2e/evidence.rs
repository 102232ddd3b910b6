//! How critical parameters were managed: from the ledger and the device into the declaration.

use std::fs;

use serde_json::Value;

use crate::devices::paired;
use crate::support::{countersign, countersign_fails};

/// The phases of a process with evidence, by the row's id.
fn evidenced(declaration: &Value, id: &str) -> Vec<String> {
    let rows = declaration["14-SecMgmt"].as_array().unwrap();
    let row = rows.iter().find(|row| row["id"] == id).unwrap();
    let phases = row["description"]["typed"].as_array().unwrap();
    let with = phases.iter().filter(|phase| phase["evidence"].is_string());
    with.map(|phase| phase["phase"].as_str().unwrap().to_owned()).collect()
}

//= specs/en-303-645.md#5.5-8
//= type=test
//# The manufacturer MUST manage critical security parameters by secure processes over their entire life cycle.
#[test]
fn a_declaration_names_the_records_of_ledger_and_device_and_no_other_device_s() {
    let (house, device, _home) = paired();
    let data = house.data();
    let data = data.to_str().unwrap();
    let ask = ["authority", "evidence", "--data", data, "--thing", device.serial.as_str()];

    // For people: each phase with who does it and what shows it.
    let text = countersign(ask.iter().chain(&["--csp", "SecParam-LDevIDKey"])).with_code(0).stdout;
    assert!(text.contains("provisioning  (the authority)"), "{text}");
    assert!(text.contains("(issued), leaf "), "{text}");
    assert!(!text.contains("SecParam-Network"), "{text}");
    countersign_fails(2, ["authority", "evidence", "--data", data, "--csp", "SecParam-No"])
        .saying("SecParam-LDevIDKey");
    countersign_fails(2, ["authority", "evidence", "--data", data, "--thing", "plug-777777"])
        .saying("plug-777777");

    // For the declaration. Without records only what the device sees is evidence.
    let alone: Value = serde_json::from_str(&device.declaration()).unwrap();
    assert_eq!(evidenced(&alone, "SecMgmt-LDevIDKey"), ["storage"]);
    let report = house.folder().join("evidence.json");
    let json = countersign(ask.iter().chain(&["--json"])).with_code(0).stdout;
    fs::write(&report, &json).unwrap();
    let with = ["--evidence", report.to_str().unwrap()];
    let whole: Value =
        serde_json::from_str(&device.declaration_with(&with).with_code(0).stdout).unwrap();
    assert_eq!(evidenced(&whole, "SecMgmt-LDevIDKey"), ["generation", "provisioning", "storage"]);
    assert_eq!(
        evidenced(&whole, "SecMgmt-SetupVerifier"),
        ["generation", "provisioning", "storage", "updates", "expiration-and-compromise"]
    );

    // Another device's records are refused by name.
    let foreign = json.replace(&device.serial, "plug-777777");
    fs::write(&report, foreign).unwrap();
    device.declaration_with(&with).with_code(2).saying("plug-777777");
}
