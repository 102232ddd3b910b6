//! The admin interface: real certificates of every role, each refused as it should be, and answers as described.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::support::{House, Identity, Running, countersign, need, until};

const ROLES: [&str; 5] = ["administrator", "custodian", "station", "auditor", "support"];

impl House {
    fn operator(&self, role: &str) -> Identity {
        let arguments = ["--profile", "operator", "--name", role, "--role", role];
        countersign(self.enrol_command(&arguments)).with_code(0);
        self.identity(role)
    }
}

/// What curl got: the status, 0 for a connection that was refused, and the body.
fn ask(
    house: &House,
    who: Option<&Identity>,
    method: &str,
    path: &str,
    body: &str,
) -> (u16, Value) {
    let answer = house.folder().join("answer.json");
    let _ = fs::remove_file(&answer);
    let mut curl = need("curl");
    curl.args(["--silent", "--max-time", "30", "--request", method, "--write-out", "%{http_code}"]);
    curl.arg("--cacert").arg(house.roots()).arg("--output").arg(&answer);
    if let Some(who) = who {
        curl.arg("--cert").arg(&who.crt).arg("--key").arg(&who.key);
    }
    if !body.is_empty() {
        curl.args(["--header", "Content-Type: application/json", "--data", body]);
    }
    let port = house.admin.rsplit_once(':').unwrap().1;
    curl.arg(format!("https://localhost:{port}{path}"));
    let status = Running::start(&mut curl).finish().stdout.trim().parse().unwrap();
    let value = fs::read(&answer).ok().and_then(|body| serde_json::from_slice(&body).ok());
    (status, value.unwrap_or_default())
}

/// What Python's `jsonschema` finds wrong with these answers under this description; empty when nothing.
fn faults(description: &Path, answers: &Value) -> String {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/e2e/validate_openapi.py");
    let mut python = std::process::Command::new("/usr/bin/python3");
    python.arg(script).arg(description).arg(answers.to_string());
    Running::start(&mut python).finish().with_code(0).stdout
}

//= specs/house.md#house-administration
//= type=test
//# An admin call MUST be carried out only with the permit that its caller's role gives for that call.
//= specs/house.md#house-administration
//= type=test
//# Every path of the admin interface MUST be in its description, and nothing else.
#[test]
fn every_role_calls_what_it_may_and_gets_what_is_described() {
    let house = House::new();
    house.device("plug-000001");
    let description = house.folder().join("openapi.json");
    let printed = countersign(["authority", "openapi"]).with_code(0).stdout;
    fs::write(&description, &printed).unwrap();
    let described: Value = serde_json::from_str(&printed).unwrap();
    let mut answers = Vec::new();
    for role in ROLES {
        let who = house.operator(role);
        // `serve` hears of the other process's work within a moment.
        until("the new operator is known", || {
            let known = ask(&house, Some(&who), "GET", "/openapi.json", "");
            (known == (200, described.clone())).then_some(())
        });
        for (path, methods) in described["paths"].as_object().unwrap() {
            for (method, operation) in methods.as_object().unwrap() {
                let body = match path.as_str() {
                    "/v1/revocations" => r#"{"target":"thing:plug-000001","reason":"suspended"}"#,
                    "/v1/reinstatements" => r#"{"subject":"thing:plug-000001"}"#,
                    _ => "",
                };
                let method = method.to_ascii_uppercase();
                let (status, value) = ask(&house, Some(&who), &method, path, body);
                let may = operation["x-roles"].as_array().unwrap().contains(&role.into());
                // Paths come in the order of the alphabet: a re-instatement before the revocation is refused.
                let expected: &[u16] = if may { &[200, 409] } else { &[403] };
                assert!(expected.contains(&status), "{role} {method} {path}: {status} {value}");
                answers.push(serde_json::json!([method, path, status, value]));
            }
        }
    }
    let administrator = house.identity("administrator");
    for (path, body, expected) in [
        ("/v1/reinstatements", r#"{"subject":"thing:plug-000001"}"#, 200),
        ("/v1/revocations", r#"{"target":"thing:plug-000002","reason":"suspended"}"#, 404),
        ("/v1/revocations", "{}", 400),
    ] {
        let (status, value) = ask(&house, Some(&administrator), "POST", path, body);
        assert_eq!(status, expected, "{value}");
        answers.push(serde_json::json!(["POST", path, status, value]));
    }
    assert_eq!(faults(&description, &Value::Array(answers)), "");
    let wrong = serde_json::json!([["GET", "/v1/status", 200, {"now": 5}]]);
    assert!(faults(&description, &wrong).contains("/v1/status"), "the validator sees a fault");
}

//= specs/house.md#house-administration
//= type=test
//# Every admin call MUST be in the ledger with its caller and its outcome before it is answered.
#[test]
fn nobody_else_comes_in_and_the_ledger_tells_who_did() {
    let house = House::new();
    let service = house.service("backend", &[]);
    let auditor = house.operator("auditor");
    until("the new operator is known", || {
        (ask(&house, Some(&auditor), "GET", "/v1/status", "").0 == 200).then_some(())
    });
    for who in [None, Some(&service)] {
        assert_eq!(ask(&house, who, "GET", "/v1/status", "").0, 0, "no handshake for others");
    }
    let body = r#"{"subject":"thing:plug-000001"}"#;
    assert_eq!(ask(&house, Some(&auditor), "POST", "/v1/reinstatements", body).0, 403);
    // A role that is taken away, and a certificate that is revoked, end at the next call.
    let role = house.command(&["role"], &["--name", "auditor", "--role", "station"]);
    countersign(role).with_code(0).saying("station (before: auditor)");
    until("the role is another", || {
        (ask(&house, Some(&auditor), "GET", "/v1/status", "").0 == 403).then_some(())
    });
    let operator = ["--profile", "operator", "--name", "auditor"];
    countersign(house.command(&["revoke"], &operator)).with_code(0);
    until("the operator is out", || {
        (ask(&house, Some(&auditor), "GET", "/openapi.json", "").0 == 0).then_some(())
    });
    let out = house.folder().join("ledger.jsonl");
    let out = out.to_str().unwrap();
    countersign(house.command(&["ledger", "export"], &["--jsonl", out])).with_code(0);
    let ledger = fs::read_to_string(out).unwrap();
    for expected in [
        r#""call":"status.read","operator":"auditor","role":"auditor","status":200"#,
        r#""call":"reinstatements.create","operator":"auditor","role":"auditor","status":403"#,
        r#""call":"status.read","operator":"auditor","role":"station","status":403"#,
        r#""before":"auditor","operator":"auditor","role":"station""#,
    ] {
        assert!(ledger.contains(expected), "{expected} in {ledger}");
    }
}
