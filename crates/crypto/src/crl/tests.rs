//! OpenSSL's opinion of our lists, with certificates of its own that carry pointers and without.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::*;
use crate::certificate::certificates_from_pem;
use crate::keystore::key_from_pem;

/// A CA and two leaves that name a shard and its deltas, made by OpenSSL.
struct World {
    folder: tempfile::TempDir,
    ca: Certificate,
    key: KeyHandle,
}

fn openssl(folder: &Path, arguments: &str) -> (bool, String) {
    let output = Command::new("openssl")
        .current_dir(folder)
        .args(arguments.split_whitespace())
        .output()
        .expect("the openssl command judges these tests: install it (Debian package openssl)");
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&text).into_owned())
}

fn done(folder: &Path, arguments: &str) -> String {
    let (good, text) = openssl(folder, arguments);
    assert!(good, "openssl {arguments}: {text}");
    text
}

fn world() -> World {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    done(at, "genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out ca.key");
    done(
        at,
        "req -x509 -key ca.key -subj /CN=Test-CA -days 3650 -out ca.crt -addext keyUsage=critical,keyCertSign,cRLSign",
    );
    let extensions = "authorityKeyIdentifier=keyid\ncrlDistributionPoints=URI:http://crl.example/ca/3.crl\nfreshestCRL=URI:http://crl.example/ca/3-delta.crl\n";
    std::fs::write(at.join("pointed.ext"), extensions).unwrap();
    std::fs::write(at.join("bare.ext"), "authorityKeyIdentifier=keyid\n").unwrap();
    for (name, serial, ext) in [
        ("a", "0xa1b2", "pointed"),
        ("b", "0xa1b3", "pointed"),
        ("c", "0xa1b4", "bare"),
        ("d", "0xa1b5", "bare"),
    ] {
        done(
            at,
            &format!(
                "req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout {name}.key -subj /CN={name} -out {name}.csr"
            ),
        );
        done(
            at,
            &format!(
                "x509 -req -in {name}.csr -CA ca.crt -CAkey ca.key -set_serial {serial} -days 30 -extfile {ext}.ext -out {name}.crt"
            ),
        );
    }
    let ca = certificates_from_pem(&std::fs::read(at.join("ca.crt")).unwrap()).unwrap().remove(0);
    let key = key_from_pem(&std::fs::read(at.join("ca.key")).unwrap()).unwrap();
    World { folder, ca, key }
}

fn now() -> Timestamp {
    Timestamp::from_secs(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs())
}

fn contents(number: u64, serials: &[[u8; 2]]) -> Contents {
    let entry = |serial: &[u8; 2]| Entry { serial: serial.to_vec(), at: now(), reason: Some(1) };
    Contents {
        number,
        base: None,
        this_update: now(),
        next_update: now().plus(Duration::from_secs(3600)),
        distribution_point: None,
        freshest: None,
        authorities: false,
        entries: serials.iter().map(entry).collect(),
    }
}

fn written(world: &World, name: &str, contents: &Contents) {
    let crl = sign(contents, &world.ca, &world.key).unwrap();
    std::fs::write(world.folder.path().join(name), crl.pem()).unwrap();
}

#[test]
fn openssl_takes_a_complete_list_and_what_it_says() {
    let world = world();
    let at = world.folder.path();
    written(&world, "all.crl", &contents(7, &[[0xa1, 0xb4]]));
    let text = done(at, "crl -in all.crl -noout -text -CAfile ca.crt");
    for said in [
        "verify OK",
        "Version 2",
        "A1B4",
        "Key Compromise",
        "Only User Certificates",
        "X509v3 CRL Number: \n                7",
    ] {
        assert!(text.contains(said), "{said}: {text}");
    }
    let verify = "verify -x509_strict -CAfile ca.crt -crl_check -CRLfile all.crl";
    let (good, text) = openssl(at, &format!("{verify} c.crt"));
    assert!(!good && text.contains("certificate revoked"), "{text}");
    done(at, &format!("{verify} d.crt"));
    // An empty list is a list.
    written(&world, "none.crl", &contents(8, &[]));
    done(at, "verify -CAfile ca.crt -crl_check -CRLfile none.crl c.crt");
}

#[test]
fn openssl_takes_a_shard_and_its_delta() {
    let world = world();
    let at = world.folder.path();
    let scope = |contents: Contents| Contents {
        distribution_point: Some("http://crl.example/ca/3.crl".to_owned()),
        freshest: Some("http://crl.example/ca/3-delta.crl".to_owned()),
        ..contents
    };
    written(&world, "3.crl", &scope(contents(10, &[])));
    let check = "verify -CAfile ca.crt -crl_check -CRLfile 3.crl";
    done(at, &format!("{check} a.crt"));
    // A certificate of another shard is not in its scope.
    let (good, text) = openssl(at, &format!("{check} c.crt"));
    assert!(!good && text.contains("scope"), "{text}");
    // The delta revokes one since.
    written(&world, "d.crl", &Contents { base: Some(10), ..scope(contents(11, &[[0xa1, 0xb2]])) });
    let text = done(at, "crl -in d.crl -noout -text");
    assert!(text.contains("Delta CRL Indicator: critical") && text.contains("Full Name"), "{text}");
    std::fs::write(
        at.join("both.crl"),
        [std::fs::read(at.join("3.crl")).unwrap(), std::fs::read(at.join("d.crl")).unwrap()]
            .concat(),
    )
    .unwrap();
    let check = "verify -CAfile ca.crt -crl_check -extended_crl -use_deltas -CRLfile both.crl";
    let (good, text) = openssl(at, &format!("{check} a.crt"));
    assert!(!good && text.contains("certificate revoked"), "{text}");
    done(at, &format!("{check} b.crt"));
}

#[test]
fn another_key_signs_no_list() {
    let world = world();
    let other =
        KeyHandle::ephemeral(crate::signature::SignatureAlgorithm::EcdsaP256Sha256).unwrap();
    assert!(sign(&contents(1, &[]), &world.ca, &other).is_err());
}
