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
    assert_eq!(checked["findings"], serde_json::json!([]));
    assert_eq!(checked["first_day"], serde_json::json!(null), "no catalogue of acm names an end");
}

//= specs/en-303-645.md#5.5-3
//= type=test
//# Where algorithms cannot be replaced, the support period SHOULD NOT outlive their recommended lifetime.
#[test]
fn a_support_period_that_outlives_the_cryptography_is_found() {
    let folder = tempfile::TempDir::new().unwrap();
    let file = folder.path().join("policy.toml");
    let name = file.to_str().unwrap();
    countersign(["policy", "new", "--out", name, "--profile", "bsi"]).with_code(0).saying(name);
    countersign(["policy", "new", "--out", name]).with_code(2).saying(name);

    let until = |day: &str, more: &[&str]| {
        let mut arguments = vec!["policy", "check", name, "--support-until", day, "--json"];
        arguments.extend(more);
        let ended = countersign(&arguments);
        let checked: serde_json::Value = serde_json::from_str(&ended.stdout).unwrap();
        (ended.code, checked)
    };
    let (code, checked) = until("2035-12-31", &[]);
    assert_eq!((code, &checked["first_day"]), (Some(0), &serde_json::json!("2036-01-01")));
    assert!(!checked["to_replace"].as_array().unwrap().is_empty(), "{checked}");
    let (code, checked) = until("2036-06-01", &[]);
    assert_eq!(code, Some(1));
    let found = &checked["findings"][0];
    for (field, value) in [
        ("use", "device-uplink"),
        ("item", "ecdsa_secp256r1_sha256"),
        ("source", "BSI-1"),
        ("until", "2035-12-31"),
        ("status", "ended"),
        ("provenance", "secondary"),
    ] {
        assert_eq!(found[field], value, "{found}");
    }
    let (code, checked) = until("2034-01-01", &["--not-replaceable"]);
    assert_eq!((code, &checked["first_day"]), (Some(1), &serde_json::json!("2032-01-01")));
    assert_eq!(checked["findings"][0]["field"], "expires");

    // Another profile refuses what this one allows, by line, item, source and mend.
    let refused = countersign(["policy", "check", name, "--profile", "cnsa2"]).with_code(1);
    for part in ["line ", "TLS_AES_128_GCM_SHA256", "CNSA 2.0", "from memory", "use TLS_AES_256"] {
        assert!(refused.stderr.contains(part), "{refused}");
    }
}

#[test]
fn two_policies_are_compared_and_each_item_is_explained() {
    let folder = tempfile::TempDir::new().unwrap();
    let (old, new) = (folder.path().join("old.toml"), folder.path().join("new.toml"));
    let text = countersign(["policy", "new"]).with_code(0).stdout;
    fs::write(&old, &text).unwrap();
    let (old, new_name) = (old.to_str().unwrap(), new.to_str().unwrap());
    countersign(["policy", "diff", old, old]).with_code(0).saying("the same");
    let changed = text
        .replacen("version = 1", "version = 2", 1)
        .replacen("\"SecP256r1MLKEM768\", ", "", 1)
        .replacen("tickets = 0", "tickets = 1", 1);
    fs::write(&new, changed).unwrap();
    let ended = countersign(["policy", "diff", old, new_name]).with_code(1);
    for part in ["version\n  ~ 1 → 2", "uses.device-uplink.groups\n  - SecP256r1MLKEM768", "0 → 1"]
    {
        assert!(ended.stdout.contains(part), "{ended}");
    }
    let ended = countersign(["policy", "diff", old, new_name, "--json"]).with_code(1);
    let told: serde_json::Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(told["changes"].as_array().unwrap().len(), 3, "{told}");

    let explained = countersign(["policy", "show", "--explain"]).with_code(0).stdout;
    for part in ["~ X25519MLKEM768", "not listed", "accepted because", "from memory", "secondary"] {
        assert!(explained.contains(part), "{explained}");
    }
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
