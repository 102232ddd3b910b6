//! The admin interface as operators, and others, see it.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;
use std::time::Duration;

use countersign_crypto::certificate::{CertificateChain, IdentityKind};
use countersign_crypto::keystore::key_from_pem;
use countersign_crypto::tls::{PeerAnchors, TlsIdentity};
use tokio::io::AsyncWriteExt as _;

use super::*;
use crate::Authority;
use crate::enrol::{EnrolNames, EnrolProfile, EnrolRequest};
use crate::registration::Reason;
use crate::testing::client::{connect, identity, request};
use crate::testing::ready;

fn credentials(folder: &Path, name: &str) -> TlsIdentity {
    let read = |ending: &str| std::fs::read(folder.join(format!("{name}.{ending}"))).unwrap();
    let chain = CertificateChain::from_pem(&read("crt")).unwrap();
    identity(&chain, &key_from_pem(&read("key")).unwrap())
}

async fn call(
    authority: &Authority,
    client: Option<&TlsIdentity>,
    head: &str,
    body: &str,
) -> (u16, Value) {
    // Anchors wider than the product's, so that the handler itself is seen refusing.
    let wide: PeerAnchors = authority.est_anchors().unwrap();
    let service = authority.authorities().unwrap().certificate(crate::IssuingCa::Service).clone();
    let anchors = wide.with(IdentityKind::Operator, &[service]);
    let head = format!("{head} HTTP/1.1\r\nContent-Type: application/json");
    let answer =
        request(authority, authority.admin_router(), anchors, client, &head, body.as_bytes())
            .await
            .unwrap();
    let value = serde_json::from_str(&answer.body).unwrap_or(Value::String(answer.body));
    (answer.status, value)
}

#[tokio::test]
async fn an_operator_sees_revokes_and_reinstates() {
    let folder = tempfile::tempdir().unwrap();
    let authority = ready(folder.path()).await;
    let admin = credentials(&folder.path().join("operators"), "admin");
    let out = folder.path().join("out");
    let names = EnrolNames::Many { prefix: "plug-".to_owned(), count: 2 };
    let wanted = EnrolRequest { profile: EnrolProfile::Device, names, out, force: false };
    authority.enrol(&wanted, |_, _| {}).await.unwrap();

    let mut changed = authority.registry().changed();
    let (status, value) = call(&authority, Some(&admin), "GET /v1/status", "").await;
    assert_eq!(
        (status, value["ceremony"].as_bool(), value["revoked"].as_u64()),
        (200, Some(true), Some(0))
    );

    let body = r#"{"target":"thing:plug-000001","reason":"key-compromise"}"#;
    let (status, value) = call(&authority, Some(&admin), "POST /v1/revocations", body).await;
    assert_eq!((status, value["state"].as_str()), (200, Some("suspended")));
    let serial = value["serials"][0].as_str().unwrap().to_owned();
    while authority.registry().revoked(&serial).is_none() {
        changed.changed().await.unwrap();
    }
    let (_, value) = call(&authority, Some(&admin), "GET /v1/subjects", "").await;
    let listed = value["subjects"].as_array().unwrap();
    let plug = listed.iter().find(|one| one["name"] == "plug-000001").unwrap();
    assert_eq!(plug["state"], "suspended");

    let body = r#"{"subject":"thing:plug-000001"}"#;
    let (status, value) = call(&authority, Some(&admin), "POST /v1/reinstatements", body).await;
    assert_eq!((status, value["state"].as_str()), (200, Some("reinstated")));
    let (status, value) = call(&authority, Some(&admin), "GET /v1/ledger/verify", "").await;
    assert!(status == 200 && value["entries"].as_u64().unwrap() > 20, "{value}");
}

#[tokio::test]
async fn mistakes_are_answered_with_the_mend() {
    let folder = tempfile::tempdir().unwrap();
    let authority = ready(folder.path()).await;
    let admin = credentials(&folder.path().join("operators"), "admin");
    for (head, body, status, expected) in [
        (
            "POST /v1/revocations",
            r#"{"target":"thing:plug-9","reason":"suspended"}"#,
            404,
            "plug-9",
        ),
        (
            "POST /v1/revocations",
            r#"{"target":"gadget:x","reason":"suspended"}"#,
            400,
            "thing, service",
        ),
        ("POST /v1/revocations", r#"{"target":"x","reason":"bored"}"#, 400, "bored"),
        ("POST /v1/revocations", r#"{"target":"x","cause":"y"}"#, 400, "cause"),
        ("POST /v1/reinstatements", r#"{"subject":"operator:admin"}"#, 409, "not suspended"),
    ] {
        let (found, value) = call(&authority, Some(&admin), head, body).await;
        assert_eq!(found, status, "{body} {value}");
        assert!(value.to_string().contains(expected), "{value}");
    }
}

#[tokio::test]
async fn nobody_else_is_let_in() {
    let folder = tempfile::tempdir().unwrap();
    let authority = ready(folder.path()).await;
    let out = folder.path().join("out");
    // A service that carries an operator's name is still a service.
    let names = EnrolNames::One("admin".to_owned());
    let profile = EnrolProfile::Service(Vec::new());
    authority
        .enrol(&EnrolRequest { profile, names, out: out.clone(), force: false }, |_, _| {})
        .await
        .unwrap();
    let service = credentials(&out, "admin");
    for path in ["GET /v1/status", "GET /nothing"] {
        assert_eq!(call(&authority, None, path, "").await.0, 401);
        assert_eq!(call(&authority, Some(&service), path, "").await.0, 403);
    }
    // A revoked operator is out at once.
    let admin = credentials(&folder.path().join("operators"), "admin");
    let mut changed = authority.registry().changed();
    let target = "operator:admin".parse().unwrap();
    authority.revoke(&target, Reason::PrivilegeWithdrawn).await.unwrap();
    while !authority.registry().is_revoked(admin.chain().leaf()) {
        changed.changed().await.unwrap();
    }
    assert_eq!(call(&authority, Some(&admin), "GET /v1/status", "").await.0, 403);
}

/// Who may call what, written down once more by hand and from the other side: call by call.
fn independent(call: &str) -> &'static [&'static str] {
    match call {
        "description.read" => &["administrator", "custodian", "station", "auditor", "support"],
        "status.read" => &["administrator", "custodian", "auditor", "support"],
        "subjects.read" => &["administrator", "auditor", "support"],
        "expiry.read" => &["administrator", "custodian", "auditor"],
        "ledger.verify" => &["administrator", "custodian", "auditor"],
        // What changes something is the administrator's alone, whatever comes.
        _ => &["administrator"],
    }
}

#[test]
fn the_table_is_that_of_the_independent_model() {
    for call in Call::ALL {
        for role in Role::ALL {
            let expected = independent(call.permission()).contains(&role.as_str());
            assert_eq!(role.may(call), expected, "{role} {}", call.permission());
        }
    }
    let table: Vec<String> = Call::ALL
        .into_iter()
        .map(|call| {
            let may = Role::ALL.map(|role| if role.may(call) { role.as_str() } else { "-" });
            format!(
                "{:4} {:18} {:22} {}",
                call.method(),
                call.path(),
                call.permission(),
                may.join(" ")
            )
        })
        .collect();
    insta::assert_snapshot!(table.join("\n"));
}

async fn with_role(authority: &Authority, folder: &Path, role: Role) -> TlsIdentity {
    let out = folder.join("people");
    let names = EnrolNames::One(role.as_str().to_owned());
    let profile = EnrolProfile::Operator(role);
    let mut changed = authority.registry().changed();
    let wanted = EnrolRequest { profile, names, out: out.clone(), force: false };
    authority.enrol(&wanted, |_, _| {}).await.unwrap();
    let name = role.as_str().parse().unwrap();
    while authority.registry().role(&name) != Some(role) {
        changed.changed().await.unwrap();
    }
    credentials(&out, role.as_str())
}

//= specs/house.md#house-administration
//= type=test
//# An admin call MUST be carried out only with the permit that its caller's role gives for that call.
#[tokio::test]
async fn every_role_is_let_into_its_calls_and_refused_at_the_others() {
    let folder = tempfile::tempdir().unwrap();
    let authority = ready(folder.path()).await;
    for role in Role::ALL {
        let identity = with_role(&authority, folder.path(), role).await;
        for call in Call::ALL {
            // An empty body is no revocation: who may revoke hears of that, the others of their role.
            let head = format!("{} {}", call.method(), call.path());
            let (status, value) = self::call(&authority, Some(&identity), &head, "{}").await;
            let expected = match independent(call.permission()).contains(&role.as_str()) {
                false => 403,
                true if call.changes() => 400,
                true => 200,
            };
            assert_eq!(status, expected, "{role} {head}: {value}");
            if expected == 403 {
                let said = value.to_string();
                assert!(said.contains(role.as_str()) && said.contains(call.permission()), "{said}");
            }
        }
    }
}

#[tokio::test]
async fn a_role_that_is_taken_away_is_gone_at_the_next_call() {
    let folder = tempfile::tempdir().unwrap();
    let authority = ready(folder.path()).await;
    let identity = with_role(&authority, folder.path(), Role::Auditor).await;
    assert_eq!(call(&authority, Some(&identity), "GET /v1/subjects", "").await.0, 200);
    let name = "auditor".parse().unwrap();
    let mut changed = authority.registry().changed();
    let before = authority.assign_role(&name, Role::Station).await.unwrap();
    assert_eq!(before, Some(Role::Auditor));
    while authority.registry().role(&name) != Some(Role::Station) {
        changed.changed().await.unwrap();
    }
    assert_eq!(call(&authority, Some(&identity), "GET /v1/subjects", "").await.0, 403);
    let unknown = authority.assign_role(&"nobody".parse().unwrap(), Role::Auditor).await;
    assert!(unknown.unwrap_err().to_string().contains("operator:nobody"));
}

//= specs/house.md#house-administration
//= type=test
//# Every admin call MUST be in the ledger with its caller and its outcome before it is answered.
#[tokio::test]
async fn every_call_is_in_the_ledger_and_no_body_is() {
    let folder = tempfile::tempdir().unwrap();
    let authority = ready(folder.path()).await;
    let admin = credentials(&folder.path().join("operators"), "admin");
    let station = with_role(&authority, folder.path(), Role::Station).await;
    let secret = r#"{"target":"thing:plug-9","reason":"hunter2"}"#;
    let unknown = r#"{"target":"thing:plug-9","reason":"suspended"}"#;
    let odd = r#"{"target":"serial:letmein","reason":"suspended"}"#;
    let asked = [
        (Some(&admin), "GET /v1/status", "", 200),
        (Some(&admin), "POST /v1/revocations", secret, 400),
        (Some(&admin), "POST /v1/revocations", unknown, 404),
        (Some(&admin), "POST /v1/revocations", odd, 404),
        (Some(&admin), "GET /hunter2", "", 404),
        (Some(&admin), "DELETE /v1/status", "", 405),
        (Some(&station), "GET /v1/subjects", "", 403),
        (None, "GET /v1/status", "", 401),
    ];
    for (who, head, body, status) in asked {
        assert_eq!(call(&authority, who, head, body).await.0, status, "{head} {body}");
    }
    let calls: Vec<String> = calls(&authority).await.iter().map(Value::to_string).collect();
    insta::assert_snapshot!(calls.join("\n"));
    let ledger = std::fs::read_to_string(authority.layout().ledger()).unwrap();
    assert!(!ledger.contains("hunter2") && !ledger.contains("letmein"));
}

async fn calls(authority: &Authority) -> Vec<Value> {
    let entries = authority.ledger_entries().await.unwrap();
    let calls = entries.into_iter().filter(|entry| entry.kind == Kind::AdminCall);
    calls.map(|entry| entry.body).collect()
}

async fn until_a_call_has(authority: &Authority, what: &str) -> Value {
    let found = async {
        loop {
            let calls = calls(authority).await;
            if let Some(one) = calls.into_iter().find(|one| !one[what].is_null()) {
                return one;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let found = tokio::time::timeout(Duration::from_secs(20), found).await;
    found.unwrap_or_else(|_| panic!("no call in the ledger has {what:?}"))
}

//= specs/house.md#house-administration
//= type=test
//# Every admin call MUST be in the ledger with its caller and its outcome before it is answered.
#[tokio::test]
async fn who_hangs_up_leaves_no_revocation_half_way() {
    let folder = tempfile::tempdir().unwrap();
    let authority = ready(folder.path()).await;
    let admin = credentials(&folder.path().join("operators"), "admin");
    let names = EnrolNames::One("plug-1".to_owned());
    let out = folder.path().join("out");
    let wanted = EnrolRequest { profile: EnrolProfile::Device, names, out, force: false };
    authority.enrol(&wanted, |_, _| {}).await.unwrap();
    let service = authority.authorities().unwrap().certificate(crate::IssuingCa::Service).clone();
    let anchors = authority.est_anchors().unwrap().with(IdentityKind::Operator, &[service]);
    let (mut channel, served) =
        connect(&authority, authority.admin_router(), anchors, Some(&admin)).await.unwrap();
    // While somebody else has the writer's turn, the revocation waits after it was begun.
    let turn = authority.core.store.exclusive().await.unwrap();
    let body = r#"{"target":"thing:plug-1","reason":"key-compromise"}"#;
    let head = format!(
        "POST /v1/revocations HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    channel.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
    channel.flush().await.unwrap();
    until_a_call_has(&authority, "begins").await;
    drop(channel);
    served.await.unwrap().unwrap();
    drop(turn);
    assert_eq!(until_a_call_has(&authority, "status").await["status"], 200);
    let entries = authority.ledger_entries().await.unwrap();
    assert!(entries.iter().any(|entry| entry.kind == Kind::Revoked));
    let plug: crate::subject::Subject = "thing:plug-1".parse().unwrap();
    let known = authority.subjects().await.unwrap();
    let known = known.into_iter().find(|one| one.subject == plug).unwrap();
    assert_eq!(known.state, crate::registration::State::Suspended);
}

#[tokio::test]
async fn whoever_calls_too_often_is_told_when_to_come_again() {
    let folder = tempfile::tempdir().unwrap();
    // A clock that stands: nothing is given back while the machine is busy.
    let clock = std::sync::Arc::new(crate::testing::StandingClock::now());
    let sources =
        crate::Sources { clock, random: Box::new(countersign_crypto::random::SystemRandom) };
    let config = crate::testing::config(folder.path());
    let authority = Authority::open(folder.path(), config, sources).await.unwrap();
    let desk = Desk::new(authority);
    let entries = async || desk.authority.ledger_summary().await.unwrap().entries;
    let before = entries().await;
    let turned_away = PER_OPERATOR.burst + 40;
    for _ in 0..turned_away {
        let refused = desk.turn_away(None).await.unwrap_or_else(|refused| refused);
        assert_eq!(refused.status, StatusCode::UNAUTHORIZED);
    }
    // Those of the burst, and the first of the rest.
    assert_eq!(entries().await - before, u64::from(PER_OPERATOR.burst) + 1);
}

//= specs/house.md#house-administration
//= type=test
//# Every path of the admin interface MUST be in its description, and nothing else.
#[test]
fn the_description_has_every_call_and_nothing_else() {
    let described = openapi::description();
    let mut found = Vec::new();
    for (path, methods) in described["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let method = method.to_ascii_uppercase();
            let call = Call::find(&method, path).unwrap_or_else(|_| panic!("{method} {path}"));
            assert_eq!(operation["x-permission"], call.permission());
            assert_eq!(operation.get("requestBody").is_some(), call.changes());
            found.push(call);
        }
    }
    assert_eq!(found.len(), Call::ALL.len());
    // Every form that is pointed at is there, and every one that is there is pointed at.
    let text = described.to_string();
    for form in described["components"]["schemas"].as_object().unwrap().keys() {
        assert!(text.contains(&format!("#/components/schemas/{form}\"")), "{form} is not used");
    }
    for used in text.split("#/components/schemas/").skip(1) {
        let name = used.split('"').next().unwrap();
        assert!(!described["components"]["schemas"][name].is_null(), "{name} is missing");
    }
}
