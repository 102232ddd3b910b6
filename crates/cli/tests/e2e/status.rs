//! Revocation lists, OCSP and enrolment codes of the running program, judged by OpenSSL and curl.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::support::{Finished, House, Key, countersign, feed, need, openssl, until};

fn finish(mut command: Command) -> Finished {
    feed(&mut command, b"")
}

/// A house that gives lists and OCSP without TLS too; and where.
fn house() -> (House, String) {
    let mut house = House::stopped();
    fs::create_dir_all(house.data()).unwrap();
    let config = "[status]\nlisten = \"127.0.0.1:0\"\n";
    fs::write(house.data().join("config.toml"), config).unwrap();
    house.start();
    let ready = fs::read(house.ready_file()).unwrap();
    let ready: serde_json::Value = serde_json::from_slice(&ready).unwrap();
    let address = format!("http://{}", ready["status"].as_str().unwrap());
    (house, address)
}

/// The issuing authority's certificate behind a leaf.
fn issuer(house: &House, chain: &Path) -> std::path::PathBuf {
    let pem = fs::read_to_string(chain).unwrap();
    let second = pem.match_indices("-----BEGIN").nth(1).unwrap().0;
    let path = house.folder().join("issuer.pem");
    fs::write(&path, &pem[second..]).unwrap();
    path
}

fn ocsp(house: &House, address: &str, leaf: &Path, more: &[&str]) -> Finished {
    let issuer = issuer(house, leaf);
    let mut command = need("openssl");
    command.args(["ocsp", "-url", &format!("{address}/ocsp"), "-issuer"]).arg(&issuer);
    command.arg("-verify_other").arg(&issuer).arg("-CAfile").arg(house.roots());
    // The digest stands before the certificate that is named by it.
    command.args(more).arg("-cert").arg(leaf);
    finish(command)
}

#[test]
fn openssl_ocsp_hears_of_a_revocation() {
    let (house, address) = house();
    let device = house.device("plug-000001");
    for more in [&["-sha256"][..], &["-no_nonce"], &[]] {
        let said = ocsp(&house, &address, &device.crt, more).with_code(0);
        assert!(said.stdout.contains(": good"), "{said}");
        assert!(said.to_string().contains("Response verify OK"), "{said}");
    }
    let revoke = ["--name", "plug-000001", "--reason", "key-compromise"];
    countersign(house.command(&["revoke"], &revoke)).with_code(0);
    let said = ocsp(&house, &address, &device.crt, &[]).with_code(0);
    assert!(said.stdout.contains("keyCompromise"), "{said}");
    // A serial that nobody was given.
    let ca = issuer(&house, &device.crt);
    let mut command = need("openssl");
    command.args(["ocsp", "-url", &format!("{address}/ocsp"), "-issuer"]).arg(&ca);
    command.args(["-serial", "0x1234", "-verify_other"]).arg(&ca);
    command.arg("-CAfile").arg(house.roots());
    let said = finish(command).with_code(0);
    assert!(said.stdout.contains("unknown"), "{said}");
}

#[test]
fn curl_fetches_a_list_that_openssl_checks_by() {
    let (house, address) = house();
    let (bad, good) = (house.device("plug-000001"), house.device("plug-000002"));
    countersign(house.command(&["revoke"], &["--name", "plug-000001"])).with_code(0);
    let [der, pem] = ["list.der", "list.pem"].map(|name| house.folder().join(name));
    let verify = |leaf: &Path| {
        let mut command = need("openssl");
        command.args(["verify", "-crl_check", "-CAfile"]).arg(house.roots());
        command.arg("-CRLfile").arg(&pem).arg("-untrusted").arg(leaf).arg(leaf);
        finish(command)
    };
    // A list may be some seconds old.
    until("the list has it", || {
        let mut command = need("curl");
        command.args(["-sSf", "--max-time", "20", "-o"]).arg(&der);
        command.arg(format!("{address}/crl/ldevid-ca.crl"));
        finish(command).with_code(0);
        let (from, to) = (der.to_str().unwrap(), pem.to_str().unwrap());
        openssl(&["crl", "-inform", "DER", "-in", from, "-out", to], b"");
        (verify(&bad.crt).code != Some(0)).then_some(())
    });
    assert!(verify(&bad.crt).to_string().contains("certificate revoked"));
    verify(&good.crt).with_code(0);
    // The same as files, without asking the program that serves.
    let out = house.folder().join("crl");
    countersign(house.command(&["crl"], &["--out", out.to_str().unwrap()])).with_code(0);
    assert!(out.join("ldevid-ca.crl.pem").exists() && out.join("root.crl").exists());
    let mut command = need("curl");
    command.args(["-sS", "-o", "/dev/null", "-w", "%{http_code}"]);
    command.arg(format!("{address}/crl/nobody.crl"));
    assert_eq!(finish(command).with_code(0).stdout, "404");
}

#[test]
fn a_batch_is_revoked_as_a_whole_and_only_when_it_is_meant() {
    let house = House::new();
    let enrol = ["--profile", "device", "--prefix", "plug-", "--count", "12", "--batch", "A"];
    countersign(house.enrol_command(&enrol)).with_code(0);
    let looked = countersign(house.command(&["revoke"], &["--batch", "A", "--dry-run", "--json"]));
    let looked = looked.with_code(0);
    let value: serde_json::Value = serde_json::from_str(&looked.stdout).unwrap();
    assert_eq!(value["hit"]["certificates"], 12, "{value}");
    // Not by a slip of the hand.
    let ended = countersign(house.command(&["revoke"], &["--batch", "A"]));
    assert_eq!(ended.code, Some(1), "{ended}");
    ended.saying("--yes");
    countersign(house.command(&["revoke"], &["--batch", "A", "--yes"])).with_code(0);
    let looked = countersign(house.command(&["revoke"], &["--batch", "A", "--dry-run", "--json"]));
    let value: serde_json::Value = serde_json::from_str(&looked.with_code(0).stdout).unwrap();
    assert_eq!(value["hit"]["certificates"], 0, "{value}");
    let device = house.identity("plug-000007");
    crate::support::Client::new(&house, &device, crate::support::Version::V5).is_refused();
}

#[test]
fn curl_enrols_by_a_code_once() {
    let house = House::new();
    let made = countersign(house.command(
        &["code"],
        &["--name", "plug-000001", "--profile", "device", "--for", "15m", "--json"],
    ));
    let made: serde_json::Value = serde_json::from_str(&made.with_code(0).stdout).unwrap();
    let user = format!("plug-000001:{}", made["code"].as_str().unwrap());
    let enrol = |user: &str, request: &str| {
        let mut command = need("curl");
        command.args(["-sS", "--max-time", "20", "-w", "\n%{http_code}", "-u", user]);
        command.args(["-H", "Content-Type: application/pkcs10", "--data-binary", request]);
        command.arg("--cacert").arg(house.roots());
        command.arg(format!("https://{}/.well-known/est/simpleenroll", house.est));
        finish(command).with_code(0).stdout
    };
    let request = Key::new(house.folder(), "mine").request("plug-000001");
    let first = enrol(&user, &request);
    assert!(first.ends_with("\n200"), "{first}");
    assert_eq!(enrol(&user, &request), first, "a lost answer comes again");
    let other = Key::new(house.folder(), "other").request("plug-000001");
    assert!(enrol(&user, &other).ends_with("\n401"));
    assert!(enrol("plug-000001:wrong", &request).ends_with("\n401"));
}
