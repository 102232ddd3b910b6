//! What expires when: on the command line, and for Prometheus.

use std::fs;

use serde_json::Value;

use crate::support::{House, Running, countersign, need, until};

//= specs/house.md#house-expiry
//= type=test
//# What the authority depends on and what it issued MUST be reported before it expires.
#[test]
fn what_is_due_is_told_on_the_command_line_and_to_prometheus() {
    let mut house = House::stopped();
    fs::create_dir(house.data()).unwrap();
    // A certificate with a day to live, renewed at a third of it, is not due from the start.
    let config = "[metrics]\nlisten = \"127.0.0.1:0\"\n[authority]\noperator_days = 1\n";
    fs::write(house.data().join("config.toml"), config).unwrap();
    house.start();
    house.device("plug-000001");
    let expiry = |arguments: &[&str], code: i32| {
        countersign(house.command(&["expiry"], arguments)).with_code(code)
    };
    let told = expiry(&[], 0);
    for words in ["root ", "issuing-ca ", "policy ", "server ", "operator ", "1 renewed in time"] {
        assert!(told.stdout.contains(words), "{words:?}: {told}");
    }
    let far = expiry(&["--within", "36500d"], 1).saying("roll it: countersign authority rotate");
    assert!(far.stdout.contains("DUE"), "{far}");
    let json: Value = serde_json::from_str(&expiry(&["--json"], 0).stdout).unwrap();
    assert_eq!(json["devices"]["good"], 1, "{json}");
    expiry(&["--within", "soon"], 2).saying("90d");

    let ready: Value = serde_json::from_slice(&fs::read(house.ready_file()).unwrap()).unwrap();
    let metrics = ready["metrics"].as_str().unwrap();
    let text = until("the device is counted", || {
        let mut curl = need("curl");
        curl.args(["--silent", "--fail", &format!("http://{metrics}/metrics")]);
        let text = Running::start(&mut curl).finish().with_code(0).stdout;
        text.contains("countersign_devices{standing=\"good\"} 1\n").then_some(text)
    });
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (name, value) = line.rsplit_once(' ').unwrap();
        assert!(name.starts_with("countersign_") && value.parse::<u64>().is_ok(), "{line}");
    }
    for expected in [
        "countersign_expires_timestamp_seconds{what=\"operator\",name=\"admin\"} ",
        "countersign_expires_timestamp_seconds{what=\"root\",name=\"Example Manufacturer Root\"} ",
        "countersign_due{what=\"root\"} 0\n",
        "countersign_subjects ",
    ] {
        assert!(text.contains(expected), "{expected} in {text}");
    }
}
