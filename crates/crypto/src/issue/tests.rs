//! The profile, seen by our own reader and by OpenSSL.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::process::Command;
use std::time::Duration;

use countersign_model::time::Timestamp;

use super::*;
use crate::certificate::IdentityKind;
use crate::random::SystemRandom;

/// A root, an issuing CA and their keys.
pub(crate) struct World {
    pub(crate) root: Certificate,
    pub(crate) issuing: Certificate,
    pub(crate) issuing_key: KeyHandle,
}

const NOW: Timestamp = Timestamp::from_secs(1_763_000_000);
const ALGORITHM: SignatureAlgorithm = SignatureAlgorithm::EcdsaP256Sha256;

fn years(count: u64) -> Validity {
    let not_after = NOW.plus(Duration::from_secs(count * 365 * 86_400));
    Validity { not_before: NOW, not_after }
}

fn ca(name: &str) -> CaTemplate {
    CaTemplate {
        common_name: name.to_owned(),
        organisation: "Ünïted Plugs".to_owned(),
        country: "AT".to_owned(),
        validity: years(40),
        serial: Serial::random(&mut SystemRandom),
    }
}

pub(crate) fn world() -> World {
    let root_key = KeyHandle::ephemeral(ALGORITHM).unwrap();
    let root = self_signed_ca(&ca("Root"), &root_key).unwrap();
    let issuing_key = KeyHandle::ephemeral(ALGORITHM).unwrap();
    let issuing = ca_signed_by(&ca("Device CA"), issuing_key.spki_der(), &root, &root_key).unwrap();
    World { root, issuing, issuing_key }
}

fn template(key: &KeyHandle, kind: IdentityKind, not_after: Timestamp) -> Template {
    Template {
        common_name: "plug-000001".to_owned(),
        identity: IdentityName::new(kind, "plug-000001").unwrap(),
        dns: vec!["plug-000001.local".to_owned()],
        ips: vec!["127.0.0.1".parse().unwrap(), "::1".parse().unwrap()],
        eku: Eku { server: true, client: true },
        validity: Validity { not_before: NOW, not_after },
        serial: Serial::random(&mut SystemRandom),
        spki_der: key.spki_der().to_vec(),
    }
}

//= specs/house.md#house-issuance
//= type=test
//# A signed certificate MUST be compared with what was linted.
#[test]
fn an_end_entity_has_the_profile_of_constrained_devices() {
    let world = world();
    let key = KeyHandle::ephemeral(ALGORITHM).unwrap();
    let wanted = template(&key, IdentityKind::IdevId, Validity::FOREVER);
    let prepared = prepare(&wanted, &world.issuing, ALGORITHM).unwrap();
    let linted = prepared.tbs().to_vec();
    assert!(prepared.draft().verify_signed_by(&world.issuing).is_err(), "a draft is not signed");
    let signed = sign(prepared, &world.issuing_key).unwrap();
    assert_eq!(tbs(signed.der()).unwrap(), linted);

    let facts = Facts::of(&signed).unwrap();
    let issuer = Facts::of(&world.issuing).unwrap();
    assert_eq!(facts.version, 3);
    assert_eq!(facts.issuer, issuer.subject);
    assert_eq!(facts.common_name.as_deref(), Some("plug-000001"));
    assert_eq!(facts.not_after, (Validity::FOREVER, TimeForm::Generalized));
    assert_eq!(facts.not_before, (NOW, TimeForm::Utc));
    assert_eq!(facts.authority_key_identifier, issuer.subject_key_identifier);
    assert_eq!(facts.subject_key_identifier, None);
    assert_eq!(facts.basic_constraints, None);
    assert_eq!(facts.key_usage, Some(vec!["digitalSignature"]));
    assert!(facts.extension(Facts::KEY_USAGE).unwrap().critical);
    assert_eq!(facts.uris, ["urn:countersign:idevid:plug-000001"]);
    assert_eq!(facts.dns, ["plug-000001.local"]);
    assert_eq!(facts.ips, wanted.ips);
    assert!(facts.serial.ends_with(wanted.serial.as_bytes()) && facts.serial[0] < 0x80);
    // "99991231235959Z" as GeneralizedTime, tag 24 (RFC 5280 section 4.1.2.5).
    let forever = [&[0x18, 0x0f][..], b"99991231235959Z"].concat();
    assert!(signed.der().windows(forever.len()).any(|window| window == forever));
}

#[test]
fn a_ca_has_the_profile_of_a_ca() {
    let world = world();
    let root = Facts::of(&world.root).unwrap();
    assert_eq!(root.basic_constraints, Some((true, None)));
    assert_eq!(root.issuer, root.subject);
    assert!(root.authority_key_identifier.is_none() && root.subject_key_identifier.is_some());
    let issuing = Facts::of(&world.issuing).unwrap();
    assert_eq!(issuing.basic_constraints, Some((true, Some(0))));
    assert_eq!(issuing.key_usage, Some(vec!["keyCertSign", "cRLSign"]));
    assert_eq!(issuing.extended_key_usage, None);
    assert_eq!(issuing.issuer, root.subject);
    assert_eq!(issuing.authority_key_identifier, root.subject_key_identifier);
    for oid in [Facts::KEY_USAGE, Facts::BASIC_CONSTRAINTS] {
        assert!(issuing.extension(oid).unwrap().critical);
    }
}

#[test]
fn only_the_issuers_own_key_signs() {
    let world = world();
    let key = KeyHandle::ephemeral(ALGORITHM).unwrap();
    let wanted = template(&key, IdentityKind::Thing, years(1).not_after);
    let prepared = prepare(&wanted, &world.issuing, ALGORITHM).unwrap();
    assert!(matches!(sign(prepared, &key), Err(IssueError::Key(_))));
}

#[test]
fn an_end_entity_issues_nothing() {
    let world = world();
    let key = KeyHandle::ephemeral(ALGORITHM).unwrap();
    let wanted = template(&key, IdentityKind::Thing, years(1).not_after);
    let leaf =
        sign(prepare(&wanted, &world.issuing, ALGORITHM).unwrap(), &world.issuing_key).unwrap();
    assert!(matches!(prepare(&wanted, &leaf, ALGORITHM), Err(IssueError::Issuer(_))));
}

//= specs/house.md#house-issuance
//= type=test
//# A certificate serial MUST be positive and carry 128 unpredictable bits.
#[test]
fn serials_are_positive_and_differ() {
    let mut seen = std::collections::HashSet::new();
    for _ in 0..1000 {
        let serial = Serial::random(&mut SystemRandom);
        assert!(serial.as_bytes()[0] != 0 && seen.insert(serial.hex()));
    }
}

/// OpenSSL's words on our certificates, requests and PKCS#7. The command must be there: a missing judge is a failure.
#[test]
fn openssl_accepts_chain_request_and_pkcs7() {
    let world = world();
    let key = KeyHandle::ephemeral(ALGORITHM).unwrap();
    let wanted = template(&key, IdentityKind::IdevId, Validity::FOREVER);
    let leaf =
        sign(prepare(&wanted, &world.issuing, ALGORITHM).unwrap(), &world.issuing_key).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path.display().to_string()
    };
    let root = file("root.pem", world.root.to_pem().as_bytes());
    let issuing = file("issuing.pem", world.issuing.to_pem().as_bytes());
    let leaf = file("leaf.der", leaf.der());
    let at = (NOW.as_secs() + 60).to_string();
    let verified = openssl(&[
        "verify",
        "-x509_strict",
        "-attime",
        &at,
        "-purpose",
        "sslclient",
        "-CAfile",
        &root,
        "-untrusted",
        &issuing,
        &leaf,
    ]);
    // OpenSSL's strict mode asks for keyIdentifiers that RFC 5280 asks of CAs; ours have them.
    assert!(verified.contains("leaf.der: OK"), "{verified}");

    let request = file("request.der", &crate::csr::request(&key, "plug-000001").unwrap());
    let shown =
        openssl(&["req", "-inform", "DER", "-in", &request, "-verify", "-noout", "-subject"]);
    assert!(shown.contains("plug-000001"), "{shown}");

    let bundle = crate::pkcs7::certs_only(&[world.root, world.issuing]).unwrap();
    let bundle = file("bundle.p7", &bundle);
    let printed = openssl(&["pkcs7", "-inform", "DER", "-in", &bundle, "-print_certs", "-noout"]);
    assert!(printed.contains("CN = Root") && printed.contains("CN = Device CA"), "{printed}");
}

/// Requests made by OpenSSL are believed; those with a hash below the curve's strength are not.
#[test]
fn requests_by_openssl_are_read() {
    let folder = tempfile::tempdir().unwrap();
    for (curve, hash, fine) in
        [("P-256", "-sha256", true), ("P-384", "-sha384", true), ("P-384", "-sha256", false)]
    {
        let path = folder.path().join("request.der");
        let out = path.display().to_string();
        let key = folder.path().join("key.pem").display().to_string();
        openssl(&[
            "req",
            "-new",
            "-newkey",
            "ec",
            "-pkeyopt",
            &format!("ec_paramgen_curve:{curve}"),
            "-nodes",
            hash,
            "-subj",
            "/CN=plug-000001",
            "-addext",
            "subjectAltName=DNS:plug-000001.local",
            "-outform",
            "DER",
            "-keyout",
            &key,
            "-out",
            &out,
        ]);
        let read = crate::csr::verify(&std::fs::read(&path).unwrap());
        assert_eq!(read.is_ok(), fine, "{curve} {hash} {read:?}");
        if let Ok(csr) = read {
            assert_eq!(csr.common_name(), Some("plug-000001"));
            assert_eq!(csr.dns(), ["plug-000001.local"]);
        }
    }
}

fn openssl(arguments: &[&str]) -> String {
    let output = Command::new("openssl")
        .args(arguments)
        .output()
        .expect("the openssl command judges these tests: install it (Debian package openssl)");
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    assert!(output.status.success(), "openssl {arguments:?}: {text}");
    text
}
