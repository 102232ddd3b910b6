//! Rolls with overlap, rolls that are killed anywhere, rolls that a policy demands.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use countersign_crypto::certificate::CertificateChain;
use countersign_crypto::policy::{Policy, Use};
use countersign_crypto::tls::TlsIdentity;
use countersign_crypto::{csr, pkcs7};

use super::*;
use crate::testing::client::{Answer, identity, request};
use crate::testing::{TestClock, open_at, openssl_verify, ready};

const P256: SignatureAlgorithm = SignatureAlgorithm::EcdsaP256Sha256;
const P384: SignatureAlgorithm = SignatureAlgorithm::EcdsaP384Sha384;
const OPERATION: IssuingCa = IssuingCa::Operation;
const REENROLL: &str = "POST /.well-known/est/simplereenroll HTTP/1.1";
const ENROLL: &str = "POST /.well-known/est/simpleenroll HTTP/1.1";

fn go_on(_: RollStep) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

/// An authority after its ceremony, with a clock that is set by hand.
async fn world(folder: &Path) -> (Authority, Arc<TestClock>) {
    ready(folder).await;
    let clock = Arc::new(TestClock::default());
    (open_at(folder, clock.clone()).await, clock)
}

async fn ask(
    authority: &Authority,
    client: &TlsIdentity,
    head: &str,
    key: &KeyHandle,
) -> Result<Answer, String> {
    let body = BASE64.encode(csr::request(key, "plug-000001").unwrap()).into_bytes();
    let anchors = authority.est_anchors().unwrap();
    request(authority, authority.est_router(), anchors, Some(client), head, &body).await
}

/// What was answered, with the CA among `cacerts` that signed it.
fn received(authority: &Authority, answer: &Answer, key: &KeyHandle) -> TlsIdentity {
    assert_eq!(answer.status, 200, "{answer:?}");
    let issued = pkcs7::parse_certs_only(&BASE64.decode(&answer.body).unwrap()).unwrap();
    let chain = authority.authorities().unwrap().chain(issued[0].clone()).unwrap();
    identity(&chain, key)
}

async fn enrolled(
    authority: &Authority,
    algorithm: SignatureAlgorithm,
) -> (TlsIdentity, TlsIdentity) {
    let key = KeyHandle::ephemeral(P256).unwrap();
    let made = authority.manufacture(&csr::request(&key, "plug-000001").unwrap()).await.unwrap();
    let idevid = identity(&made.chain, &key);
    let key = KeyHandle::ephemeral(algorithm).unwrap();
    let answer = ask(authority, &idevid, ENROLL, &key).await.unwrap();
    (received(authority, &answer, &key), idevid)
}

async fn renewed(
    authority: &Authority,
    by: &TlsIdentity,
    algorithm: SignatureAlgorithm,
) -> TlsIdentity {
    let key = KeyHandle::ephemeral(algorithm).unwrap();
    let answer = ask(authority, by, REENROLL, &key).await.unwrap();
    received(authority, &answer, &key)
}

async fn states(authority: &Authority, ca: IssuingCa) -> Vec<(String, KeyState)> {
    let all = authority.rotation_status().await.unwrap().into_iter();
    all.filter(|one| one.ca == ca.label()).map(|one| (one.label, one.state)).collect()
}

fn issuer_of(chain: &CertificateChain) -> String {
    chain.certificates()[1].subject_cn().unwrap()
}

/// Rolls to the end, however often it takes.
async fn roll(authority: &Authority, clock: &TestClock, algorithm: SignatureAlgorithm) {
    authority.prepare_ca(OPERATION, Some(algorithm), go_on).await.unwrap();
    clock.forward(PUBLICATION);
    let done = authority.activate_ca(OPERATION, go_on).await.unwrap();
    assert!(matches!(done, Rolled::Done { .. }), "{done:?}");
}

//= specs/house.md#house-rotation
//= type=test
//# An issuing authority MUST be known to every verifier before it issues.
//= specs/house.md#house-rotation
//= type=test
//# What a deactivated issuing authority issued MUST be accepted until the authority is retired.
//= specs/en-303-645.md#5.5-8
//= type=test
//# Decommissioning MUST destroy what is no longer needed.
#[tokio::test]
async fn a_ca_rolls_with_overlap() {
    let folder = tempfile::tempdir().unwrap();
    let (authority, clock) = world(folder.path()).await;
    let (old, _) = enrolled(&authority, P256).await;
    // 1. Prepared: everybody takes it, nobody gets anything from it.
    let known = || authority.authorities().unwrap().verifiers(OPERATION).len();
    assert_eq!(known(), 1);
    authority.prepare_ca(OPERATION, Some(P384), go_on).await.unwrap();
    assert_eq!(known(), 2);
    assert_eq!(authority.authorities().unwrap().all().len(), 5, "cacerts has it too");
    let early = authority.activate_ca(OPERATION, go_on).await.unwrap();
    assert!(matches!(early, Rolled::NotBefore(_)), "{early:?}");
    let still = renewed(&authority, &old, P256).await;
    assert_eq!(issuer_of(still.chain()), "Example Manufacturer LDevID CA");
    // 2. Activated: it issues, and what the one before issued is taken as before.
    clock.forward(PUBLICATION);
    authority.activate_ca(OPERATION, go_on).await.unwrap();
    let new = renewed(&authority, &still, P384).await;
    assert_eq!(issuer_of(new.chain()), "Example Manufacturer G2 LDevID CA");
    assert_eq!(new.chain().leaf().signature_algorithm(), Some(P384));
    let file = folder.path().join("new.crt");
    std::fs::write(&file, new.chain().to_pem()).unwrap();
    openssl_verify(folder.path(), &file, "sslclient");
    // 3. Not retired while somebody has nothing newer: another device, and for a day the first one's old certificate.
    let waits = authority.retire_ca(OPERATION, Retirement::Replaced(GRACE), go_on).await.unwrap();
    let Rolled::Outstanding(waiting) = waits else { panic!("{waits:?}") };
    assert_eq!((waiting[0].0.as_str(), waiting[0].1.good, waiting[0].1.alone), ("ldevid-ca", 2, 2));
    renewed(&authority, &still, P384).await;
    clock.forward(GRACE + Duration::from_secs(60));
    let done = authority.retire_ca(OPERATION, Retirement::Replaced(GRACE), go_on).await.unwrap();
    assert_eq!(done, Rolled::Done { labels: vec!["ldevid-ca".to_owned()] });
    // What it issued is refused, by the anchors and by the denylist; its key is gone.
    let key = KeyHandle::ephemeral(P384).unwrap();
    assert!(ask(&authority, &old, REENROLL, &key).await.is_err());
    let serial = old.chain().leaf().serial_hex();
    let mut changed = authority.registry().changed();
    while authority.registry().revoked(&serial).is_none() {
        changed.changed().await.unwrap();
    }
    assert!(authority.core.keys.load("ldevid-ca").unwrap().is_none());
    let third = renewed(&authority, &new, P384).await;
    assert_eq!(issuer_of(third.chain()), "Example Manufacturer G2 LDevID CA");
    let steps: Vec<_> = authority
        .ledger_entries()
        .await
        .unwrap()
        .into_iter()
        .filter(|entry| entry.kind == Kind::CaRolled)
        .map(|entry| entry.body["step"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(steps, ["certificate intended", "prepared", "activated", "retired"]);
    assert_eq!(
        states(&authority, OPERATION).await,
        [
            ("ldevid-ca".to_owned(), KeyState::Destroyed),
            ("ldevid-ca-2".to_owned(), KeyState::Active)
        ]
    );
    // The next roll, and a start on what all of this left.
    roll(&authority, &clock, P256).await;
    let again = open_at(folder.path(), clock.clone()).await;
    assert_eq!(again.authorities().unwrap().label(OPERATION), "ldevid-ca-3");
}

/// Killed before every step in turn, each time carried on by a new process; no step is done twice, none is lost, and
/// the device's certificate counts all the while.
//= specs/house.md#house-rotation
//= type=test
//# A crash at any point of a rotation MUST leave at least one identity that works.
#[tokio::test]
async fn a_roll_killed_at_every_step_is_carried_on() {
    let folder = tempfile::tempdir().unwrap();
    let (authority, clock) = world(folder.path()).await;
    let (mut current, _) = enrolled(&authority, P256).await;
    for stop in RollStep::ALL {
        let authority = open_at(folder.path(), clock.clone()).await;
        let kill = move |step| if step == stop { ControlFlow::Break(()) } else { go_on(step) };
        let outcome = run_to(&authority, &clock, kill).await;
        assert_eq!(outcome, Rolled::Stopped(stop));
        // Whatever was left half-way: a new process starts, and the device renews by what it has.
        let next = open_at(folder.path(), clock.clone()).await;
        let algorithm = next.core.algorithm_for(crate::subject::Purpose::Operation).unwrap();
        if stop != RollStep::Destroy {
            current = renewed(&next, &current, algorithm).await;
        }
        clock.forward(GRACE * 2);
    }
    let authority = open_at(folder.path(), clock.clone()).await;
    run_to(&authority, &clock, go_on).await;
    assert!(authority.core.keys.load("ldevid-ca").unwrap().is_none());
    assert_eq!(
        states(&authority, OPERATION).await,
        [
            ("ldevid-ca".to_owned(), KeyState::Destroyed),
            ("ldevid-ca-2".to_owned(), KeyState::Active)
        ]
    );
    renewed(&authority, &current, P384).await;
    authority.verify_ledger().await.unwrap();
}

/// All three steps; where a step is not due, the roll is carried on another time.
async fn run_to(
    authority: &Authority,
    clock: &TestClock,
    kill: impl FnMut(RollStep) -> ControlFlow<()> + Send + Copy,
) -> Rolled {
    let rolled = states(authority, OPERATION).await.len() > 1;
    let active = states(authority, OPERATION).await.last().map(|one| one.1);
    if !(rolled && active == Some(KeyState::Active)) {
        let prepared = authority.prepare_ca(OPERATION, Some(P384), kill).await.unwrap();
        if matches!(prepared, Rolled::Stopped(_)) {
            return prepared;
        }
        clock.forward(PUBLICATION);
        let activated = authority.activate_ca(OPERATION, kill).await.unwrap();
        if matches!(activated, Rolled::Stopped(_)) {
            return activated;
        }
    }
    authority.retire_ca(OPERATION, Retirement::AtOnce, kill).await.unwrap()
}

/// Killed when the record said that the generation is gone, and before it had signed its last list.
#[tokio::test]
async fn no_key_is_destroyed_before_the_last_list_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let (authority, clock) = world(folder.path()).await;
    enrolled(&authority, P256).await;
    roll(&authority, &clock, P256).await;
    let kill = |step| if step == RollStep::Destroy { ControlFlow::Break(()) } else { go_on(step) };
    let stopped = authority.retire_ca(OPERATION, Retirement::AtOnce, kill).await.unwrap();
    assert_eq!(stopped, Rolled::Stopped(RollStep::Destroy));
    let last = folder.path().join("authority/crl/ldevid-ca.crl");
    assert!(!last.exists());
    let authority = open_at(folder.path(), clock.clone()).await;
    authority.retire_ca(OPERATION, Retirement::AtOnce, go_on).await.unwrap();
    assert!(authority.core.keys.load("ldevid-ca").unwrap().is_none());
    assert!(last.exists());
    let scope = crate::status::Scope::from_path("ldevid-ca.crl").unwrap();
    authority.crl(&scope).await.unwrap();
}

/// What a retired generation vouched for is in the ledger by its serial numbers, in lines that are not too long.
#[tokio::test]
async fn a_retirement_names_what_goes_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let (authority, _) = world(folder.path()).await;
    let serials: Vec<_> = (0..2 * SERIALS).map(|n| format!("{n:040x}")).collect();
    for (count, entries) in [(0, 1), (1, 1), (SERIALS, 1), (SERIALS + 1, 2), (2 * SERIALS, 2)] {
        let before = authority.ledger_entries().await.unwrap().len();
        authority.retirement_told("ldevid-ca", &serials[..count]).await.unwrap();
        let all = authority.ledger_entries().await.unwrap();
        let told = &all[before..];
        assert_eq!(told.len(), entries, "{count}");
        assert_eq!(told[entries - 1].body["step"], "retired");
        assert_eq!(told[entries - 1].body["what"]["revoked"], count);
        let named = told.iter().flat_map(|one| one.body["what"]["serials"].as_array().unwrap());
        assert!(named.eq(serials[..count].iter()), "{count}");
    }
}

/// A run that was killed left the key and the certificate of another algorithm: nothing hangs on them.
#[tokio::test]
async fn what_a_killed_run_left_does_not_bind_the_next() {
    let folder = tempfile::tempdir().unwrap();
    let (authority, _) = world(folder.path()).await;
    let kill = |step| if step == RollStep::Publish { ControlFlow::Break(()) } else { go_on(step) };
    authority.prepare_ca(OPERATION, Some(P256), kill).await.unwrap();
    assert_eq!(authority.authorities().unwrap().verifiers(OPERATION).len(), 1);
    authority.prepare_ca(OPERATION, Some(P384), go_on).await.unwrap();
    let all = authority.rotation_status().await.unwrap();
    let next = all.iter().find(|one| one.label == "ldevid-ca-2").unwrap();
    assert_eq!((next.state, next.algorithm), (KeyState::PreActivation, Some(P384.name())));
    // Published, it does bind.
    let other = authority.prepare_ca(OPERATION, Some(P256), go_on).await.unwrap_err();
    assert!(other.to_string().contains("ldevid-ca-2"), "{other}");
    for algorithm in [Some(P384), None] {
        let again = authority.prepare_ca(OPERATION, algorithm, go_on).await.unwrap();
        assert_eq!(again, Rolled::Done { labels: vec!["ldevid-ca-2".to_owned()] });
    }
}

/// Another process on the same folder goes by the new CA within its next looks.
#[tokio::test]
async fn other_processes_hear_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let (authority, clock) = world(folder.path()).await;
    let other = open_at(folder.path(), clock.clone()).await;
    let mut changed = other.registry().changed();
    roll(&authority, &clock, P384).await;
    while other.authorities().unwrap().label(OPERATION) != "ldevid-ca-2" {
        changed.changed().await.unwrap();
    }
    assert_eq!(other.authorities().unwrap().verifiers(OPERATION).len(), 2);
    // And issues by it even before it has heard: the writer's turn looks for itself.
    roll(&authority, &clock, P256).await;
    let (device, _) = enrolled(&other, P256).await;
    assert_eq!(issuer_of(device.chain()), "Example Manufacturer G3 LDevID CA");
}

/// A policy that lets P-256 stand only where factory identities are verified.
fn without_p256() -> Policy {
    let text = countersign_crypto::policy::DEFAULT_TOML;
    let mut policy = Policy::from_toml(text).unwrap();
    policy.version += 1;
    let retired = [Use::DeviceUplink, Use::LocalApi, Use::Service];
    for (use_, tls) in &mut policy.uses {
        if retired.contains(use_) {
            tls.signatures.remove(0);
        }
    }
    policy
}

//= specs/house.md#house-rotation
//= type=test
//# When the policy retires a signature algorithm, the issuing authorities MUST be rolled before
//# the identities below them are renewed.
//= specs/house.md#house-issuance
//= type=test
//# A key whose algorithm the policy in force does not allow MUST NOT be certified.
//= specs/house.md#house-est
//= type=test
//# A client MUST be able to learn which key the authority will certify before it makes one.
#[tokio::test]
async fn the_policy_in_force_is_followed() {
    let folder = tempfile::tempdir().unwrap();
    let (authority, clock) = world(folder.path()).await;
    let (old, _) = enrolled(&authority, P256).await;
    let server = |authority: Authority| async move {
        let names = crate::profile::ServerNames { dns: vec!["localhost".into()], ips: Vec::new() };
        authority.server_identity(&"est".parse().unwrap(), &names).await.unwrap()
    };
    let first = server(authority.clone()).await;
    assert_eq!(authority.policy_findings().unwrap(), []);
    crate::testing::in_force(&authority, &without_p256()).await;
    let wait = |pause| {
        clock.forward(pause);
        std::future::ready(())
    };
    let followed = authority.follow_policy(wait).await.unwrap();
    assert_eq!(followed.rolled, ["ldevid-ca-2", "service-ca-2"]);
    assert_eq!(followed.findings, []);
    // Again: nothing is left to do.
    let followed = authority.follow_policy(|_| std::future::ready(())).await.unwrap();
    assert_eq!(followed, follow::Followed::default());
    // EST says what it wants, certifies that, and refuses the rest with the reason.
    let anchors = authority.est_anchors().unwrap();
    let head = "GET /.well-known/est/csrattrs HTTP/1.1";
    let router = authority.est_router();
    let answer = request(&authority, router, anchors, None, head, b"").await.unwrap();
    assert_eq!(csr::wanted(&BASE64.decode(&answer.body).unwrap()), Some(P384));
    let refused = ask(&authority, &old, REENROLL, &KeyHandle::ephemeral(P256).unwrap()).await;
    let refused = refused.unwrap();
    assert_eq!(refused.status, 403);
    assert!(
        refused.body.contains(P256.name()) && refused.body.contains(P384.name()),
        "{refused:?}"
    );
    let new = renewed(&authority, &old, P384).await;
    assert_eq!(new.chain().leaf().key_algorithm(), Some(P384));
    assert_eq!(new.chain().leaf().signature_algorithm(), Some(P384));
    // The servers follow at their next look.
    let second = server(authority.clone()).await;
    assert_ne!(second.chain().leaf(), first.chain().leaf());
    assert_eq!(second.chain().leaf().key_algorithm(), Some(P384));
    assert_eq!(issuer_of(second.chain()), "Example Manufacturer G2 Service CA");
}

/// What no roll of an issuing CA can mend is named, with the mend.
#[tokio::test]
async fn a_root_that_the_policy_retires_is_a_finding() {
    let folder = tempfile::tempdir().unwrap();
    let (authority, clock) = world(folder.path()).await;
    let mut policy = Policy::built_in();
    policy.version += 1;
    for tls in policy.uses.values_mut() {
        tls.signatures.truncate(1);
    }
    policy.document_signing.signatures.remove(0);
    crate::testing::in_force(&authority, &policy).await;
    let found = authority.policy_findings().unwrap();
    let keys: Vec<_> = found.iter().map(|one| one.key.as_str()).collect();
    assert_eq!(keys, ["root", "policy"]);
    assert!(found[0].what.contains(P384.name()) && found[0].what.contains("ceremony"), "{found:?}");
    // And factory identities, which nobody can replace.
    let mut policy = without_p256();
    policy.version += 5;
    policy.uses.get_mut(&Use::Est).unwrap().signatures.remove(0);
    crate::testing::in_force(&authority, &policy).await;
    let wait = |pause| {
        clock.forward(pause);
        std::future::ready(())
    };
    let followed = authority.follow_policy(wait).await.unwrap();
    assert_eq!(followed.rolled, ["idevid-ca-2", "ldevid-ca-2", "service-ca-2"]);
    let keys: Vec<_> = followed.findings.iter().map(|one| one.key.as_str()).collect();
    assert_eq!(keys, ["factory identities"]);
}
