//! OpenSSL asks, we answer, OpenSSL judges the answer.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::*;
use crate::certificate::certificates_from_pem;
use crate::keystore::key_from_pem;

fn openssl(folder: &std::path::Path, arguments: &str) -> (bool, String) {
    let output = Command::new("openssl")
        .current_dir(folder)
        .args(arguments.split_whitespace())
        .output()
        .expect("the openssl command judges these tests: install it (Debian package openssl)");
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&text).into_owned())
}

fn done(folder: &std::path::Path, arguments: &str) -> String {
    let (good, text) = openssl(folder, arguments);
    assert!(good, "openssl {arguments}: {text}");
    text
}

fn now() -> Timestamp {
    Timestamp::from_secs(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs())
}

#[test]
fn openssl_believes_each_status_with_and_without_a_nonce() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    done(at, "genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-384 -out ca.key");
    done(
        at,
        "req -x509 -key ca.key -subj /CN=Test-CA -days 3650 -out ca.crt -addext keyUsage=critical,keyCertSign,cRLSign",
    );
    let ca = certificates_from_pem(&std::fs::read(at.join("ca.crt")).unwrap()).unwrap().remove(0);
    let key = key_from_pem(&std::fs::read(at.join("ca.key")).unwrap()).unwrap();
    let cases = [
        (Status::Good, "Cert Status: good"),
        (Status::Revoked { at: now(), reason: Some(1) }, "Revocation Reason: keyCompromise"),
        (Status::Revoked { at: now(), reason: None }, "Cert Status: revoked"),
        (Status::Unknown, "Cert Status: unknown"),
    ];
    for (number, (status, said)) in cases.into_iter().enumerate() {
        for (digest, nonce) in [("-sha1", "-nonce"), ("-sha256", "-nonce"), ("-sha1", "-no_nonce")]
        {
            // A serial whose first bit is set has a sign octet in front.
            done(
                at,
                &format!(
                    "ocsp {digest} -issuer ca.crt -serial 0xf{number}34 {nonce} -reqout request.der"
                ),
            );
            let request =
                Request::from_der(&std::fs::read(at.join("request.der")).unwrap()).unwrap();
            assert_eq!(request.has_nonce(), nonce == "-nonce");
            assert_eq!(request.asked()[0].serial_hex(), format!("f{number}34"));
            // A provider without SHA-1 knows no issuer that is named by it.
            let known = digest != "-sha1" || provider::sha1_name(b"").is_some();
            assert_eq!(request.asked()[0].is_of(&ca), known, "{digest}");
            if !known {
                continue;
            }
            let until = now().plus(Duration::from_secs(3600));
            let answer = answer(&request, &[status], &ca, &key, now(), until).unwrap();
            std::fs::write(at.join("answer.der"), answer).unwrap();
            let text = done(
                at,
                "ocsp -respin answer.der -issuer ca.crt -CAfile ca.crt -verify_other ca.crt -resp_text",
            );
            assert!(text.contains("Response verify OK") && text.contains(said), "{said}: {text}");
            assert_eq!(text.contains("OCSP Nonce"), nonce == "-nonce", "{text}");
        }
    }
}

#[test]
fn failures_are_as_openssl_names_them() {
    let folder = tempfile::tempdir().unwrap();
    for (what, said) in [
        (Failure::MalformedRequest, "malformedrequest"),
        (Failure::InternalError, "internalerror"),
        (Failure::TryLater, "trylater"),
        (Failure::Unauthorized, "unauthorized"),
    ] {
        std::fs::write(folder.path().join("answer.der"), failure(what)).unwrap();
        let (_, text) = openssl(folder.path(), "ocsp -respin answer.der -noverify");
        assert!(text.contains(said), "{text}");
    }
}

#[test]
fn what_is_no_request_is_refused() {
    for bytes in
        [&b""[..], b"\x30\x00", b"\x30\x02\x30\x00", &[0x30; 64], &vec![0x30; MAX_REQUEST + 1]]
    {
        assert!(Request::from_der(bytes).is_err());
    }
}
