//! OpenSSL's verdict on our certificates, with our lists.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::*;
use crate::enrol::{EnrolNames, EnrolProfile, EnrolRequest};
use crate::registration::Reason;
use crate::revocation::Target;
use crate::testing::{TestClock, open_at, openssl, ready};
use crate::{Authority, AuthorityError};

async fn enrol(authority: &Authority, out: &Path, count: u32) {
    let names = EnrolNames::Many { prefix: "plug-".to_owned(), count };
    let wanted =
        EnrolRequest { profile: EnrolProfile::Device, names, out: out.to_owned(), force: false };
    authority.enrol(&wanted, |_, _| {}).await.unwrap();
}

async fn list(authority: &Authority, path: &str, to: &Path) -> String {
    let crl = authority.crl(&Scope::from_path(path).unwrap()).await.unwrap();
    std::fs::write(to, crl.pem()).unwrap();
    openssl(&["crl", "-in", to.to_str().unwrap(), "-noout", "-text"])
}

fn verify(folder: &Path, lists: &[&Path], leaf: &str, how: &str) -> (bool, String) {
    let leaf = folder.join("out").join(leaf);
    let mut command = Command::new("openssl");
    command.args(["verify", "-x509_strict", how, "-CAfile"]).arg(folder.join("roots.pem"));
    for list in lists {
        command.arg("-CRLfile").arg(list);
    }
    let output = command.arg("-untrusted").arg(&leaf).arg(&leaf).output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&text).into_owned())
}

//= specs/house.md#house-revocation
//= type=test
//# A revoked certificate MUST be on its issuer's list within ten seconds.
#[tokio::test]
async fn openssl_refuses_what_is_on_the_list_and_takes_what_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let clock = std::sync::Arc::new(TestClock::default());
    drop(ready(folder.path()).await);
    let authority = open_at(folder.path(), clock.clone()).await;
    enrol(&authority, &folder.path().join("out"), 2).await;
    let [leaves, root] = ["leaves.pem", "root.pem"].map(|name| folder.path().join(name));
    list(&authority, "ldevid-ca.crl", &leaves).await;
    list(&authority, "root.crl", &root).await;
    let (good, text) =
        verify(folder.path(), &[&leaves, &root], "plug-000001.crt", "-crl_check_all");
    assert!(good, "{text}");
    let target: Target = "plug-000001".parse().unwrap();
    authority.revoke(&target, Reason::KeyCompromise).await.unwrap();
    // A list may be some seconds old, and OpenSSL goes by the machine's clock.
    let mut text = list(&authority, "ldevid-ca.crl", &leaves).await;
    while !text.contains("Key Compromise") {
        tokio::time::sleep(Duration::from_millis(200)).await;
        text = list(&authority, "ldevid-ca.crl", &leaves).await;
    }
    assert!(text.contains("X509v3 CRL Number: \n                2"), "{text}");
    let (good, text) =
        verify(folder.path(), &[&leaves, &root], "plug-000001.crt", "-crl_check_all");
    assert!(!good && text.contains("certificate revoked"), "{text}");
    let (good, text) =
        verify(folder.path(), &[&leaves, &root], "plug-000002.crt", "-crl_check_all");
    assert!(good, "{text}");
    // The delta has it too, and the shards have it once.
    let delta = folder.path().join("delta.pem");
    let text = list(&authority, "ldevid-ca-delta.crl", &delta).await;
    assert!(
        text.contains("Delta CRL Indicator: critical") && text.contains("Key Compromise"),
        "{text}"
    );
    let mut found = 0;
    for shard in 0..SHARDS {
        let text = list(&authority, &format!("ldevid-ca/{shard}.crl"), &delta).await;
        assert!(text.contains(&format!("/crl/ldevid-ca/{shard}.crl")), "its scope: {text}");
        found += usize::from(text.contains("Key Compromise"));
    }
    assert_eq!(found, 1);
}

#[tokio::test]
async fn a_retired_authority_is_on_the_roots_list_and_leaves_a_last_one() {
    let folder = tempfile::tempdir().unwrap();
    let authority = ready(folder.path()).await;
    enrol(&authority, &folder.path().join("out"), 1).await;
    let target = "issuer:ldevid-ca".parse().unwrap();
    authority.revoke_many(&target, Reason::CaCompromise, |_, _| {}).await.unwrap();
    let [leaves, root] = ["leaves.pem", "root.pem"].map(|name| folder.path().join(name));
    let text = list(&authority, "root.crl", &root).await;
    assert!(text.contains("CA Compromise") && text.contains("Only CA Certificates"), "{text}");
    list(&authority, "ldevid-ca.crl", &leaves).await;
    let (good, text) = verify(folder.path(), &[&leaves, &root], "plug-000001.crt", "-crl_check");
    assert!(!good && text.contains("certificate revoked"), "the last list stands: {text}");
    let unknown = authority.crl(&Scope::from_path("nobody.crl").unwrap()).await;
    assert!(matches!(unknown, Err(AuthorityError::Unknown(_))));
}

#[test]
fn scopes_are_read_and_the_ranges_meet() {
    for path in ["a.crl", "a-delta.crl", "ldevid-ca/0.crl", "ldevid-ca-2/63-delta.crl"] {
        assert_eq!(Scope::from_path(path).unwrap().path(), path);
    }
    for wrong in ["", "a", "a/64.crl", "a/x.crl", "a/-1.crl", "a/1/2.crl"] {
        assert_eq!(Scope::from_path(wrong), None, "{wrong}");
    }
}
