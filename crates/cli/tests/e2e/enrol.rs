//! `authority enrol` while `serve` runs: files that any ordinary client can use.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use crate::support::{Client, House, Identity, Version, countersign, countersign_fails, openssl};

/// What OpenSSL reads in a certificate file, without its last newline.
fn read(file: &std::path::Path, what: &[&str]) -> String {
    let mut arguments = vec!["x509", "-noout", "-in", file.to_str().unwrap()];
    arguments.extend(what);
    openssl(&arguments, b"").trim().to_owned()
}

/// The certificates of a PEM file, one by one, each in a file of its own.
fn split(identity: &Identity) -> Vec<std::path::PathBuf> {
    let pem = fs::read_to_string(&identity.crt).unwrap();
    let parts =
        pem.split_inclusive("-----END CERTIFICATE-----").filter(|part| part.contains("BEGIN"));
    parts
        .enumerate()
        .map(|(number, part)| {
            let file = identity.crt.with_extension(format!("{number}.pem"));
            fs::write(&file, part).unwrap();
            file
        })
        .collect()
}

#[test]
fn key_and_chain_are_what_others_expect() {
    let house = House::new();
    let identities = [
        house.device("plug-000001"),
        house.service("backend", &["subscribe things/+/properties/#"]),
    ];
    for identity in &identities {
        let mode = fs::metadata(&identity.key).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{}", identity.key.display());

        let chain = split(identity);
        assert_eq!(chain.len(), 2, "the leaf and the issuing authority, not the root");
        for (certificate, issuer) in chain.iter().zip(chain.iter().skip(1)) {
            let issuer = read(issuer, &["-subject"]).replace("subject", "issuer");
            assert_eq!(read(certificate, &["-issuer"]), issuer);
        }
        assert_ne!(
            read(&chain[1], &["-issuer"]).replace("issuer", ""),
            read(&chain[1], &["-subject"]).replace("subject", ""),
            "the chain ends before the root"
        );

        let files =
            [&house.roots(), &chain[1], &chain[0]].map(|file| file.to_str().unwrap().to_owned());
        for purpose in ["sslclient", "any"] {
            openssl(
                &[
                    "verify",
                    "-x509_strict",
                    "-purpose",
                    purpose,
                    "-CAfile",
                    &files[0],
                    "-untrusted",
                    &files[1],
                    &files[2],
                ],
                b"",
            );
        }

        let public = openssl(&["pkey", "-in", identity.key.to_str().unwrap(), "-pubout"], b"");
        assert_eq!(
            read(&chain[0], &["-pubkey"]),
            public.trim(),
            "key and certificate belong together"
        );
    }
    let names = identities.map(|identity| read(&identity.crt, &["-ext", "subjectAltName"]));
    assert!(names[0].contains("URI:urn:countersign:thing:plug-000001"), "{}", names[0]);
    assert!(names[1].contains("URI:urn:countersign:service:backend"), "{}", names[1]);
}

#[test]
fn many_at_once_are_all_different() {
    let house = House::new();
    let many = ["--profile", "device", "--count", "5", "--prefix", "lamp-"];
    countersign(house.enrol_command(&many)).with_code(0);
    let names: Vec<_> = (1..=5).map(|number| format!("lamp-{number:06}")).collect();
    let mut serials = BTreeSet::new();
    let mut keys = BTreeSet::new();
    for name in &names {
        let identity = house.identity(name);
        serials.insert(read(&identity.crt, &["-serial"]));
        keys.insert(read(&identity.crt, &["-pubkey"]));
        assert!(read(&identity.crt, &["-ext", "subjectAltName"]).contains(name.as_str()));
    }
    assert_eq!((serials.len(), keys.len()), (5, 5));
    let last = house.identity(&names[4]);
    Client::new(&house, &last, Version::V311).publish(
        1,
        "things/lamp-000005/properties/power",
        "1",
    );
}

#[test]
fn what_is_there_is_not_overwritten_unless_forced() {
    let house = House::new();
    let device = house.device("plug-000001");
    let before = (fs::read(&device.key).unwrap(), fs::read(&device.crt).unwrap());
    let again = ["--profile", "device", "--name", "plug-000001"];

    countersign_fails(2, house.enrol_command(&again))
        .saying(device.key.to_str().unwrap())
        .saying("--force");
    assert_eq!(before, (fs::read(&device.key).unwrap(), fs::read(&device.crt).unwrap()));

    let mut forced = again.to_vec();
    forced.push("--force");
    countersign(house.enrol_command(&forced)).with_code(0);
    assert_ne!(before.0, fs::read(&device.key).unwrap());
    Client::new(&house, &device, Version::V5).publish(
        1,
        "things/plug-000001/properties/power",
        "1",
    );
}

#[test]
fn what_cannot_be_enrolled_says_why() {
    let house = House::new();
    let cases: [(&[&str], &str); 4] = [
        (&["--profile", "device", "--name", "no/slash"], "no/slash"),
        (&["--profile", "toaster", "--name", "plug-1"], "toaster"),
        (&["--profile", "service", "--name", "backend", "--grant", "eat things/#"], "eat things/#"),
        (&["--profile", "device"], "--name"),
    ];
    for (arguments, words) in cases {
        let ended = countersign(house.enrol_command(arguments));
        assert!(matches!(ended.code, Some(1 | 2)), "{ended}");
        ended.saying(words);
    }
    assert!(!house.out().join("plug-1.key").exists(), "nothing is left of what was refused");
    // Labels are read in capitals, so a serial that differs by them alone would be another device's.
    let out = house.out();
    let arguments = ["--serial", "Plug-1", "--out", out.to_str().unwrap()];
    let ended = countersign(house.command(&["provision"], &arguments));
    assert!(matches!(ended.code, Some(1 | 2)), "{ended}");
    ended.saying("lower case");
}
