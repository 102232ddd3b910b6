//! The servers' own certificates: kept, renewed, replaced.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::testing::{TestClock, open_at, openssl_verify, ready};

fn names(dns: &str) -> ServerNames {
    ServerNames { dns: vec![dns.to_owned()], ips: vec!["127.0.0.1".parse().unwrap()] }
}

//= specs/en-303-645.md#5.5-8
//= type=test
//# Decommissioning MUST destroy what is no longer needed.
#[tokio::test]
async fn it_is_kept_then_renewed_with_a_new_key() {
    let folder = tempfile::tempdir().unwrap();
    ready(folder.path()).await;
    let clock = Arc::new(TestClock::default());
    let authority = open_at(folder.path(), clock.clone()).await;
    let gateway: ServiceName = "gateway".parse().unwrap();
    let get = || async { authority.server_identity(&gateway, &names("localhost")).await.unwrap() };
    let first = get().await;
    assert_eq!(get().await.chain(), first.chain());
    let file = folder.path().join("gateway.crt");
    std::fs::write(&file, first.chain().to_pem()).unwrap();
    openssl_verify(folder.path(), &file, "sslserver");
    // After two thirds of 90 days.
    clock.forward(Duration::from_secs(61 * 86_400));
    let second = get().await;
    assert_ne!(second.key().spki_der(), first.key().spki_der());
    // Other names, at once.
    let third = authority.server_identity(&gateway, &names("gateway.example")).await.unwrap();
    assert_eq!(third.chain().leaf().dns_names(), ["gateway.example"]);
    let labels = authority.core.keys.list().unwrap();
    let servers = labels.iter().filter(|label| label.starts_with("server-")).count();
    assert_eq!(servers, 2, "the last and the one before it: {labels:?}");
    let entries = authority.ledger_entries().await.unwrap();
    assert_eq!(entries.iter().filter(|entry| entry.kind == Kind::KeyDestroyed).count(), 1);
}
