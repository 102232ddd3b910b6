//! EST as clients see it: over real TLS, with requests of ours and of OpenSSL.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use countersign_crypto::certificate::{CertificateChain, IdentityKind};
use countersign_crypto::csr;
use countersign_crypto::keystore::key_from_pem;
use countersign_crypto::pkcs7;
use countersign_crypto::signature::{KeyHandle, SignatureAlgorithm};
use countersign_crypto::tls::TlsIdentity;

use crate::enrol::{EnrolNames, EnrolProfile, EnrolRequest};
use crate::registration::Reason;
use crate::revocation::Target;
use crate::testing::client::{Answer, identity, request};
use crate::testing::{TestClock, open_at, openssl, ready};
use crate::{Authority, CeremonyPlan};

const ENROLL: &str = "POST /.well-known/est/simpleenroll HTTP/1.1";
const REENROLL: &str = "POST /.well-known/est/simplereenroll HTTP/1.1";

async fn ask(
    authority: &Authority,
    client: Option<&TlsIdentity>,
    head: &str,
    body: &[u8],
) -> Answer {
    let anchors = authority.est_anchors().unwrap();
    request(authority, authority.est_router(), anchors, client, head, body).await.unwrap()
}

fn new_key() -> KeyHandle {
    KeyHandle::ephemeral(SignatureAlgorithm::EcdsaP256Sha256).unwrap()
}

fn asks(key: &KeyHandle, name: &str) -> Vec<u8> {
    BASE64.encode(csr::request(key, name).unwrap()).into_bytes()
}

async fn manufactured(authority: &Authority, name: &str) -> TlsIdentity {
    let key = new_key();
    let made = authority.manufacture(&csr::request(&key, name).unwrap()).await.unwrap();
    identity(&made.chain, &key)
}

/// The certificate of a good answer, with its issuing CA, as an identity.
fn received(authority: &Authority, answer: &Answer, key: &KeyHandle) -> TlsIdentity {
    assert_eq!(answer.status, 200, "{answer:?}");
    let der = BASE64.decode(&answer.body).unwrap();
    let mut certificates = pkcs7::parse_certs_only(&der).unwrap();
    assert_eq!(certificates.len(), 1, "the certificate that was issued, and no other");
    let ca = authority.authorities().unwrap().certificate(crate::IssuingCa::Operation).clone();
    certificates.push(ca);
    identity(&CertificateChain::new(certificates).unwrap(), key)
}

fn suspend(name: &str) -> (Target, Reason) {
    (name.parse().unwrap(), Reason::Suspended)
}

//= specs/house.md#house-est
//= type=test
//# The distribution of authority certificates MUST work without a client certificate.
//= specs/house.md#house-est
//= type=test
//# An EST reply MUST be base64 on one line with its length announced.
#[tokio::test]
async fn cacerts_needs_no_certificate_and_real_clients_can_read_it() {
    let folder = tempfile::tempdir().unwrap();
    let authority = ready(folder.path()).await;
    let answer = ask(&authority, None, "GET /.well-known/est/cacerts HTTP/1.1", b"").await;
    assert_eq!(answer.status, 200);
    assert_eq!(
        answer.header("content-type"),
        Some("application/pkcs7-mime; smime-type=certs-only")
    );
    assert_eq!(answer.header("content-transfer-encoding"), Some("base64"));
    assert_eq!(answer.header("transfer-encoding"), None);
    assert_eq!(answer.header("content-length"), Some(answer.body.len().to_string().as_str()));
    assert_eq!(answer.body.lines().count(), 1, "base64 on one line");
    let path = folder.path().join("cacerts.p7");
    std::fs::write(&path, BASE64.decode(&answer.body).unwrap()).unwrap();
    let path = path.display().to_string();
    let printed = openssl(&["pkcs7", "-inform", "DER", "-in", &path, "-print_certs", "-noout"]);
    for name in ["Root", "IDevID CA", "LDevID CA", "Service CA"] {
        assert!(printed.contains(name), "{printed}");
    }
}

#[tokio::test]
async fn csrattrs_names_the_curve() {
    let folder = tempfile::tempdir().unwrap();
    let authority = ready(folder.path()).await;
    let answer = ask(&authority, None, "GET /.well-known/est/csrattrs HTTP/1.1", b"").await;
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/csrattrs")));
    let path = folder.path().join("csrattrs.der");
    std::fs::write(&path, BASE64.decode(&answer.body).unwrap()).unwrap();
    let shown = openssl(&["asn1parse", "-inform", "DER", "-in", path.to_str().unwrap()]);
    assert!(shown.contains("prime256v1") && shown.contains("ecdsa-with-SHA256"), "{shown}");
}

//= specs/house.md#house-est
//= type=test
//# Enrolment MUST NOT work without a verified identity.
#[tokio::test]
async fn nobody_without_a_certificate_gets_one() {
    let folder = tempfile::tempdir().unwrap();
    let authority = ready(folder.path()).await;
    for path in [ENROLL, REENROLL] {
        let answer = ask(&authority, None, path, &asks(&new_key(), "plug-000001")).await;
        assert_eq!(answer.status, 401);
        assert!(answer.header("www-authenticate").is_some());
    }
    assert_eq!(authority.core.store.count_good(authority.core.now()).await.unwrap(), 2);
}

#[tokio::test]
async fn a_device_enrols_by_its_factory_identity_and_renews_by_its_current_one() {
    let folder = tempfile::tempdir().unwrap();
    let authority = ready(folder.path()).await;
    let idevid = manufactured(&authority, "plug-000001").await;
    let key = new_key();
    let answer = ask(&authority, Some(&idevid), ENROLL, &asks(&key, "plug-000001")).await;
    let current = received(&authority, &answer, &key);
    let name = current.chain().leaf().name().unwrap();
    assert_eq!((name.kind(), name.name()), (IdentityKind::Thing, "plug-000001"));
    // A current certificate is not renewed by the path for factory identities.
    let answer = ask(&authority, Some(&current), ENROLL, &asks(&new_key(), "plug-000001")).await;
    assert_eq!(answer.status, 403, "{answer:?}");
    // Renewal: the connection proves the current certificate, the request the new key.
    let next_key = new_key();
    let answer = ask(&authority, Some(&current), REENROLL, &asks(&next_key, "plug-000001")).await;
    let next = received(&authority, &answer, &next_key);
    assert_ne!(next.chain().leaf(), current.chain().leaf());
    // The old one still serves until the new one is in use.
    let again = ask(&authority, Some(&current), REENROLL, &asks(&new_key(), "plug-000001")).await;
    assert_eq!(again.status, 200);
}

/// The same request again gives the same certificate, never two: whatever the device missed, it gets.
#[tokio::test]
async fn a_repeated_request_gets_the_same_certificate() {
    let folder = tempfile::tempdir().unwrap();
    let authority = ready(folder.path()).await;
    let idevid = manufactured(&authority, "plug-000001").await;
    let body = asks(&new_key(), "plug-000001");
    let first = ask(&authority, Some(&idevid), ENROLL, &body).await;
    let count = || async { authority.core.store.count_good(authority.core.now()).await.unwrap() };
    let before = count().await;
    let second = ask(&authority, Some(&idevid), ENROLL, &body).await;
    assert_eq!((first.status, &first.body), (200, &second.body));
    assert_eq!(count().await, before);
}

//= specs/house.md#house-est
//= type=test
//# An enrolment request MUST be refused when it names another subject than the identity that asks.
#[tokio::test]
async fn requests_for_others_with_others_keys_or_forged_are_refused_with_the_mend() {
    let folder = tempfile::tempdir().unwrap();
    let authority = ready(folder.path()).await;
    let idevid = manufactured(&authority, "plug-000001").await;
    let other = manufactured(&authority, "plug-000002").await;
    let key = new_key();
    let good = csr::request(&key, "plug-000001").unwrap();
    assert_eq!(
        ask(&authority, Some(&idevid), ENROLL, &BASE64.encode(&good).into_bytes()).await.status,
        200
    );
    let mut forged = good.clone();
    *forged.last_mut().unwrap() ^= 1;
    let cases: [(&str, &TlsIdentity, Vec<u8>, u16); 7] = [
        ("another's name", &idevid, asks(&new_key(), "plug-000002"), 403),
        ("another's key", &other, asks(&key, "plug-000002"), 403),
        ("the factory key", &idevid, asks(idevid.key(), "plug-000001"), 403),
        ("forged proof", &idevid, BASE64.encode(forged).into_bytes(), 400),
        ("garbage", &idevid, b"\xff\x00garbage".to_vec(), 400),
        ("nothing", &idevid, Vec::new(), 400),
        ("too long", &idevid, vec![b'A'; super::MAX_BODY + 1], 413),
    ];
    for (case, who, body, status) in cases {
        let answer = ask(&authority, Some(who), ENROLL, &body).await;
        assert_eq!(answer.status, status, "{case}: {answer:?}");
        let inside = ["authority.db", "sqlx", "/", "panicked"];
        assert!(!inside.iter().any(|word| answer.body.contains(word)), "{case}: {answer:?}");
    }
}

/// The rule about coming back, over the wire.
#[tokio::test]
async fn a_revoked_device_comes_back_only_after_reinstatement() {
    let folder = tempfile::tempdir().unwrap();
    let authority = ready(folder.path()).await;
    let idevid = manufactured(&authority, "plug-000001").await;
    let key = new_key();
    let first = asks(&key, "plug-000001");
    let current = received(&authority, &ask(&authority, Some(&idevid), ENROLL, &first).await, &key);
    let (target, reason) = suspend("plug-000001");
    let revoked = authority.revoke(&target, reason).await.unwrap();
    assert_eq!(revoked.serials, [current.chain().leaf().serial_hex()]);
    for (who, path) in [(&current, REENROLL), (&idevid, ENROLL)] {
        for body in [asks(&new_key(), "plug-000001"), first.clone()] {
            let answer = ask(&authority, Some(who), path, &body).await;
            assert_eq!(answer.status, 403, "{path}: {answer:?}");
        }
    }
    authority.reinstate(&revoked.subject).await.unwrap();
    // The revoked certificate stays revoked; the factory identity opens the way.
    let answer = ask(&authority, Some(&current), REENROLL, &asks(&new_key(), "plug-000001")).await;
    assert_eq!(answer.status, 403);
    let answer = ask(&authority, Some(&idevid), ENROLL, &first).await;
    assert_eq!(answer.status, 403, "the key that was revoked never comes back: {answer:?}");
    let key = new_key();
    let answer = ask(&authority, Some(&idevid), ENROLL, &asks(&key, "plug-000001")).await;
    let anew = received(&authority, &answer, &key);
    assert_ne!(anew.chain().leaf(), current.chain().leaf());
    // And once retired, never again.
    let target = "plug-000001".parse().unwrap();
    authority.revoke(&target, Reason::CessationOfOperation).await.unwrap();
    assert!(authority.reinstate(&revoked.subject).await.is_err());
    let answer = ask(&authority, Some(&idevid), ENROLL, &asks(&new_key(), "plug-000001")).await;
    assert_eq!(answer.status, 403);
}

/// A device whose certificate expired in a drawer proves its factory identity and goes on.
#[tokio::test]
async fn an_expired_device_enrols_by_its_factory_identity() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Arc::new(TestClock::default());
    let authority = open_at(folder.path(), clock.clone()).await;
    let go_on = |_| std::ops::ControlFlow::Continue(());
    authority.ceremony(&CeremonyPlan::example(), go_on).await.unwrap();
    let idevid = manufactured(&authority, "plug-000001").await;
    let key = new_key();
    let body = asks(&key, "plug-000001");
    let old = received(&authority, &ask(&authority, Some(&idevid), ENROLL, &body).await, &key);
    clock.forward(Duration::from_secs(400 * 86_400));
    let anchors = authority.est_anchors().unwrap();
    let refused =
        request(&authority, authority.est_router(), anchors, Some(&old), REENROLL, &body).await;
    assert!(refused.is_err(), "an expired certificate does not even connect: {refused:?}");
    let key = new_key();
    let answer = ask(&authority, Some(&idevid), ENROLL, &asks(&key, "plug-000001")).await;
    received(&authority, &answer, &key);
}

/// `openssl req` in every form that curl may send, from a key that `enrol` wrote; a service renews in the same way.
#[tokio::test]
async fn requests_by_openssl_reenrol_devices_and_services() {
    let folder = tempfile::tempdir().unwrap();
    let authority = ready(folder.path()).await;
    let out = folder.path().join("out");
    for (profile, name) in
        [(EnrolProfile::Device, "plug-000001"), (EnrolProfile::Service(Vec::new()), "backend")]
    {
        let (names, out) = (EnrolNames::One(name.to_owned()), out.clone());
        let wanted = EnrolRequest { profile, names, out: out.clone(), force: false };
        let made = authority.enrol(&wanted, |_, _| {}).await.unwrap().pop().unwrap();
        let key = key_from_pem(&std::fs::read(&made.key).unwrap()).unwrap();
        let chain = CertificateChain::from_pem(&std::fs::read(&made.certificate).unwrap()).unwrap();
        let current = identity(&chain, &key);
        for form in ["PEM", "DER"] {
            let file =
                |ending: &str| out.join(format!("{name}-{form}.{ending}")).display().to_string();
            openssl(&[
                "req",
                "-new",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:P-256",
                "-nodes",
                "-subj",
                &format!("/CN={name}"),
                "-outform",
                form,
                "-keyout",
                &file("key"),
                "-out",
                &file("csr"),
            ]);
            let body = std::fs::read(file("csr")).unwrap();
            let answer = ask(&authority, Some(&current), REENROLL, &body).await;
            assert_eq!(answer.status, 200, "{form}: {answer:?}");
            std::fs::write(file("p7"), BASE64.decode(&answer.body).unwrap()).unwrap();
            let shown =
                openssl(&["pkcs7", "-inform", "DER", "-in", &file("p7"), "-print_certs", "-noout"]);
            assert!(shown.contains(name), "{shown}");
        }
    }
}

/// An operator's certificate is of no kind that EST admits.
#[tokio::test]
async fn operators_are_not_admitted_here() {
    let folder = tempfile::tempdir().unwrap();
    let authority = ready(folder.path()).await;
    let read = |name: &str| std::fs::read(folder.path().join("operators").join(name)).unwrap();
    let chain = CertificateChain::from_pem(&read("admin.crt")).unwrap();
    let admin = identity(&chain, &key_from_pem(&read("admin.key")).unwrap());
    let anchors = authority.est_anchors().unwrap();
    let body = asks(&new_key(), "admin");
    let refused =
        request(&authority, authority.est_router(), anchors, Some(&admin), REENROLL, &body).await;
    assert!(refused.is_err(), "{refused:?}");
}
