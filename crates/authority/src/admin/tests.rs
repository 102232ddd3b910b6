//! The admin interface as operators, and others, see it.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;

use countersign_crypto::certificate::CertificateChain;
use countersign_crypto::keystore::key_from_pem;
use countersign_crypto::tls::{PeerAnchors, TlsIdentity};
use serde_json::Value;

use crate::Authority;
use crate::enrol::{EnrolNames, EnrolProfile, EnrolRequest};
use crate::registration::Reason;
use crate::testing::client::{identity, request};
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
    let anchors = wide.with(countersign_crypto::certificate::IdentityKind::Operator, &[service]);
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
