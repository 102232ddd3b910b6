//! Keys that others have or know, clones, a random source that fails.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use countersign_crypto::certificate::CertificateChain;
use countersign_crypto::csr;
use countersign_crypto::keystore::key_from_pem;
use countersign_crypto::pkcs7;
use countersign_crypto::random::Random;
use countersign_crypto::signature::{KeyHandle, SignatureAlgorithm};
use countersign_crypto::tls::TlsIdentity;

use super::*;
use crate::enrol::{EnrolNames, EnrolProfile, EnrolRequest};
use crate::registration::State;
use crate::testing::client::{Answer, identity, request};
use crate::testing::{TestClock, config, open_at, openssl, placed, ready};
use crate::{AuthorityConfig, CeremonyPlan, Sources};

const REENROLL: &str = "POST /.well-known/est/simplereenroll HTTP/1.1";

async fn ask(authority: &Authority, client: &TlsIdentity, body: &[u8]) -> Answer {
    let anchors = authority.est_anchors().unwrap();
    request(authority, authority.est_router(), anchors, Some(client), REENROLL, body).await.unwrap()
}

fn new_key() -> KeyHandle {
    KeyHandle::ephemeral(SignatureAlgorithm::EcdsaP256Sha256).unwrap()
}

fn asks(key: &KeyHandle, name: &str) -> Vec<u8> {
    BASE64.encode(csr::request(key, name).unwrap()).into_bytes()
}

async fn enrolled(authority: &Authority, name: &str) -> (TlsIdentity, KeyHandle) {
    let folder = tempfile::tempdir().unwrap();
    let names = EnrolNames::One(name.to_owned());
    let out = folder.path().to_owned();
    let wanted = EnrolRequest { profile: EnrolProfile::Device, names, out, force: false };
    let made = authority.enrol(&wanted, |_, _| {}).await.unwrap().pop().unwrap();
    let chain = CertificateChain::from_pem(&std::fs::read(&made.certificate).unwrap()).unwrap();
    let key = key_from_pem(&std::fs::read(&made.key).unwrap()).unwrap();
    (identity(&chain, &key), key)
}

fn received(authority: &Authority, answer: &Answer, key: &KeyHandle) -> TlsIdentity {
    assert_eq!(answer.status, 200, "{answer:?}");
    let mut chain = pkcs7::parse_certs_only(&BASE64.decode(&answer.body).unwrap()).unwrap();
    chain.push(authority.authorities().unwrap().certificate(crate::IssuingCa::Operation).clone());
    identity(&CertificateChain::new(chain).unwrap(), key)
}

async fn raised(authority: &Authority) -> Vec<(String, String, u64)> {
    let all = authority.alarms().await.unwrap();
    all.into_iter().map(|one| (one.kind, one.subject, one.count)).collect()
}

//= specs/house.md#house-issuance
//= type=test
//# A duplicate, weak or revoked key, a clone and a serial collision MUST raise an alarm.
#[tokio::test]
async fn a_key_that_another_has_and_one_that_everybody_knows_are_refused_with_an_alarm() {
    let folder = tempfile::tempdir().unwrap();
    let authority = ready(folder.path()).await;
    let (one, _) = enrolled(&authority, "plug-1").await;
    let (_, theirs) = enrolled(&authority, "plug-2").await;
    for _ in 0..2 {
        let answer = ask(&authority, &one, &asks(&theirs, "plug-1")).await;
        assert_eq!(answer.status, 403, "{answer:?}");
    }
    // The test key of RFC 6979, appendix A.2.5.
    let pem = folder.path().join("known.pem");
    let hex = "30770201010420c9afa9d845ba75166b5c215767b1d6934e50c3db36e89b127b8a622b120f6721a00a06082a8648ce3d030107a1440342000460fed4ba255a9d31c961eb74c6356d68c049b8923b61fa6ce669622e60f29fb67903fe1008b8bc99a41ae9e95628bc64f2f1b20c2d7e9f5177a3c294d4462299";
    let der = folder.path().join("known.der");
    std::fs::write(&der, hex::decode(hex).unwrap()).unwrap();
    let [from, to] = [&der, &pem].map(|path| path.to_str().unwrap().to_owned());
    openssl(&["pkcs8", "-topk8", "-nocrypt", "-inform", "DER", "-in", &from, "-out", &to]);
    let known = key_from_pem(&std::fs::read(&pem).unwrap()).unwrap();
    let answer = ask(&authority, &one, &asks(&known, "plug-1")).await;
    assert!(answer.status == 403 && answer.body.contains("RFC 6979"), "{answer:?}");
    // An authority's own key.
    let ca = authority.authorities().unwrap().key(crate::IssuingCa::Operation).clone();
    let answer = ask(&authority, &one, &asks(&ca, "plug-1")).await;
    assert_eq!(answer.status, 403, "{answer:?}");
    let mut all = raised(&authority).await;
    all.sort();
    let subject = || "thing:plug-1".to_owned();
    let expected = [("bad-key", 1), ("bad-key", 1), ("duplicate-key", 2)];
    assert_eq!(all, expected.map(|(kind, count)| (kind.to_owned(), subject(), count)));
    let entries = authority.ledger_entries().await.unwrap();
    assert_eq!(entries.iter().filter(|entry| entry.kind == Kind::Alarm).count(), 3, "once each");
    // For whoever watches the metrics.
    let counts = authority.core.store.alarm_counts().await.unwrap();
    assert_eq!(counts.into_iter().collect::<Vec<_>>(), [("bad-key", 2), ("duplicate-key", 2)]);
}

/// As batches and `enrol --count` ask.
#[tokio::test]
async fn one_of_a_group_is_refused_with_an_alarm_and_the_others_are_not() {
    let folder = tempfile::tempdir().unwrap();
    let authority = ready(folder.path()).await;
    let (_, theirs) = enrolled(&authority, "plug-2").await;
    let request = |key: &KeyHandle, name: &str| {
        (name.parse().unwrap(), csr::verify(&csr::request(key, name).unwrap()).unwrap())
    };
    let group = vec![
        request(&new_key(), "plug-3"),
        request(&theirs, "plug-4"),
        request(&new_key(), "plug-5"),
    ];
    let answers = authority.enrol_requests(group).await.unwrap();
    assert_eq!(answers.iter().map(Result::is_ok).collect::<Vec<_>>(), [true, false, true]);
    let expected = ("duplicate-key".to_owned(), "thing:plug-4".to_owned(), 1);
    assert_eq!(raised(&authority).await, [expected]);
}

#[tokio::test]
async fn rsa_is_refused_by_kind() {
    let folder = tempfile::tempdir().unwrap();
    let authority = ready(folder.path()).await;
    let (one, _) = enrolled(&authority, "plug-1").await;
    let [key, out] =
        ["rsa.key", "rsa.csr"].map(|name| folder.path().join(name).display().to_string());
    openssl(&[
        "req",
        "-new",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-keyout",
        &key,
        "-subj",
        "/CN=plug-1",
        "-outform",
        "DER",
        "-out",
        &out,
    ]);
    let answer = ask(&authority, &one, &std::fs::read(&out).unwrap()).await;
    assert_eq!(answer.status, 400, "{answer:?}");
}

async fn cloned(config: AuthorityConfig) -> (tempfile::TempDir, Authority) {
    let folder = tempfile::tempdir().unwrap();
    drop(ready(folder.path()).await);
    let clock = std::sync::Arc::new(TestClock::default());
    let sources = Sources {
        clock: clock.clone(),
        random: Box::new(countersign_crypto::random::SystemRandom),
    };
    let config = placed(config, folder.path());
    let authority = Authority::open(folder.path(), config, sources).await.unwrap();
    let (old, _) = enrolled(&authority, "plug-1").await;
    clock.forward(std::time::Duration::from_secs(2));
    // The device renews; the answer is lost and it asks by the old one again: that is no clone.
    let second = new_key();
    let body = asks(&second, "plug-1");
    let new = received(&authority, &ask(&authority, &old, &body).await, &second);
    assert_eq!(ask(&authority, &old, &body).await.status, 200);
    assert_eq!(raised(&authority).await, []);
    // It renews by the new one, and so says that it has it.
    clock.forward(std::time::Duration::from_secs(2));
    assert_eq!(ask(&authority, &new, &asks(&new_key(), "plug-1")).await.status, 200);
    // Whoever comes with the old one now is somebody else.
    let answer = ask(&authority, &old, &asks(&new_key(), "plug-1")).await;
    assert_eq!(answer.status, 403, "{answer:?}");
    assert_eq!(raised(&authority).await, [("clone".to_owned(), "thing:plug-1".to_owned(), 1)]);
    (folder, authority)
}

#[tokio::test]
async fn a_copy_that_renews_by_what_was_replaced_raises_an_alarm() {
    let (_folder, authority) = cloned(AuthorityConfig::default()).await;
    assert_eq!(authority.subjects().await.unwrap().last().unwrap().state, State::Active);
}

#[tokio::test]
async fn where_the_configuration_says_so_a_clone_revokes_its_subject() {
    let revoking = AuthorityConfig::from_toml("config.toml", "on_clone = \"revoke\"").unwrap();
    let (_folder, authority) = cloned(revoking).await;
    let subjects = authority.subjects().await.unwrap();
    let plug = subjects.iter().find(|one| one.subject.name() == "plug-1").unwrap();
    assert_eq!(plug.state, State::Suspended);
}

/// As a gateway tells it.
#[tokio::test]
async fn what_a_gateway_saw_is_an_alarm_and_revokes_where_the_configuration_says_so() {
    for (on_clone, state) in [("alarm", State::Active), ("revoke", State::Suspended)] {
        let folder = tempfile::tempdir().unwrap();
        drop(ready(folder.path()).await);
        let text = format!("on_clone = \"{on_clone}\"");
        let config = AuthorityConfig::from_toml("config.toml", &text).unwrap();
        let sources = Sources {
            clock: std::sync::Arc::new(TestClock::default()),
            random: Box::new(countersign_crypto::random::SystemRandom),
        };
        let config = placed(config, folder.path());
        let authority = Authority::open(folder.path(), config, sources).await.unwrap();
        enrolled(&authority, "plug-1").await;
        let subject: Subject = "thing:plug-1".parse().unwrap();
        let detail = json!({"shown": "one certificate"});
        for _ in 0..2 {
            authority.clone_seen(&subject, "192.0.2.1 and ::1", detail.clone()).await.unwrap();
        }
        let expected = ("clone".to_owned(), "thing:plug-1".to_owned(), 2);
        assert_eq!(raised(&authority).await, [expected]);
        let entries = authority.ledger_entries().await.unwrap();
        let alarms: Vec<_> = entries.iter().filter(|entry| entry.kind == Kind::Alarm).collect();
        assert_eq!(alarms.len(), 1);
        assert_eq!(alarms[0].body["detail"], detail);
        let subjects = authority.subjects().await.unwrap();
        let plug = subjects.iter().find(|one| one.subject == subject).unwrap();
        assert_eq!(plug.state, state);
    }
}

//= specs/house.md#house-clones
//= type=test
//# What is remembered of clones MUST be bounded, and a device's alarm MUST be raised once an hour at most.
#[tokio::test]
async fn who_comes_from_everywhere_fills_neither_the_list_nor_the_ledger() {
    let folder = tempfile::tempdir().unwrap();
    let authority = ready(folder.path()).await;
    let subject: Subject = "thing:plug-1".parse().unwrap();
    for number in 0..MAX_EACH + 20 {
        let evidence = format!("192.0.2.1 and 2001:db8:0:{number:x}::1");
        authority.clone_seen(&subject, &evidence, Value::Null).await.unwrap();
    }
    // One that is known already is still counted by itself.
    authority.clone_seen(&subject, "192.0.2.1 and 2001:db8:0:3::1", Value::Null).await.unwrap();
    let all = authority.alarms().await.unwrap();
    assert_eq!(all.len(), MAX_EACH + 1);
    let count = |evidence: &str| all.iter().find(|one| one.evidence == evidence).unwrap().count;
    assert_eq!((count(OTHERS), count("192.0.2.1 and 2001:db8:0:3::1")), (20, 2));
    let entries = authority.ledger_entries().await.unwrap();
    assert_eq!(entries.iter().filter(|entry| entry.kind == Kind::Alarm).count(), MAX_EACH + 1);
}

/// A generator that has failed: the same octet, for ever.
struct Stuck(u8);

impl Random for Stuck {
    fn fill(&mut self, bytes: &mut [u8]) {
        bytes.fill(self.0);
    }
}

#[tokio::test]
async fn a_random_source_that_fails_never_makes_one_serial_twice() {
    for octet in [0, 1, 0x7f, 0x80, 0xff] {
        let folder = tempfile::tempdir().unwrap();
        let clock = std::sync::Arc::new(TestClock::default());
        drop(ready(folder.path()).await);
        drop(open_at(folder.path(), clock.clone()).await);
        let sources = Sources { clock, random: Box::new(Stuck(octet)) };
        let authority =
            Authority::open(folder.path(), config(folder.path()), sources).await.unwrap();
        authority
            .ceremony(&CeremonyPlan::example(), |_| std::ops::ControlFlow::Continue(()))
            .await
            .unwrap();
        let make = async |name: &str| {
            let request = csr::request(&new_key(), name).unwrap();
            authority.manufacture(&request).await.map(|made| made.chain.leaf().serial_hex())
        };
        let first = make("plug-1").await.unwrap();
        let second = make("plug-2").await;
        assert!(matches!(second, Err(AuthorityError::SerialCollision)), "{octet}: {second:?}");
        assert!(authority.certificate(&first).await.unwrap().is_some());
        assert_eq!(raised(&authority).await.len(), 1, "{octet}");
    }
}
