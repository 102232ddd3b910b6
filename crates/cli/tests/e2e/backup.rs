//! Backup and restore by their result: an authority that was killed goes on elsewhere, and a file that is not as it was
//! made becomes nothing.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::support::{
    Authority, Client, House, Running, Version, countersign, countersign_fails, openssl, program,
    until,
};

/// A recipient's key, as a file.
fn key(folder: &Path, name: &str) -> (PathBuf, String) {
    let file = folder.join(name);
    let made = countersign(["authority", "backup-key", "--out", file.to_str().unwrap()]);
    (file, made.with_code(0).stdout.trim().to_owned())
}

fn backup(authority: &Authority, file: &Path, to: &[&str]) -> Value {
    let mut arguments = vec!["--json", "--out", file.to_str().unwrap()];
    arguments.extend(to.iter().flat_map(|to| ["--to", to]));
    let made = countersign(authority.command(&["backup"], &arguments)).with_code(0);
    serde_json::from_str(&made.stdout).unwrap()
}

fn restore(file: &Path, data: &Path, key: &Path, more: &[&str]) -> Vec<std::ffi::OsString> {
    let mut all: Vec<std::ffi::OsString> = vec!["authority".into(), "restore".into(), file.into()];
    all.extend(["--data".into(), data.into(), "--key".into(), key.into()]);
    all.extend(more.iter().map(std::ffi::OsString::from));
    all
}

//= specs/house.md#house-backup
//= type=test
//# A restored authority MUST NOT sign checkpoints under the key of the ledger before.
#[test]
fn an_authority_that_was_killed_goes_on_elsewhere() {
    let mut house = House::new();
    let device = house.device("plug-000001");
    let topic = "things/plug-000001/properties/power";
    Client::new(&house, &device, Version::V5).publish(1, topic, "1");
    let (alice, to_alice) = key(house.folder(), "alice.key");
    let (bob, to_bob) = key(house.folder(), "bob.key");
    // Under load: another process enrols while the picture is taken.
    let many = ["--profile", "device", "--count", "1000", "--prefix", "lamp-"];
    let enrolling = Running::start(&mut program(house.enrol_command(&many)));
    until("the load has begun", || house.identity("lamp-000003").crt.exists().then_some(()));
    let file = house.folder().join("one.backup");
    let made = backup(&house, &file, &[&to_alice, &to_bob]);
    until("the load goes on after it", || {
        let ledger = house.data().join("authority/ledger.log");
        let entries = fs::read_to_string(ledger).unwrap().lines().count() as u64;
        (entries > made["ledger_entries"].as_u64().unwrap()).then_some(())
    });
    enrolling.kill();
    let revoked = ["--profile", "device", "--name", "lamp-000001"];
    countersign(house.command(&["revoke"], &revoked)).with_code(0);
    house.kill();
    let old_key = fs::read_to_string(house.data().join("authority/ledger/key")).unwrap();

    // Elsewhere, with either key; the disk of the old one is at hand for its ledger.
    let old = house.folder().join("dead");
    fs::rename(house.data(), &old).unwrap();
    let (roots, ledger) = (old.join("roots.pem"), old.join("authority/ledger.log"));
    let pinned = ["--roots", roots.to_str().unwrap()];
    let elsewhere = house.folder().join("bobs");
    countersign(restore(&file, &elsewhere, &bob, &pinned)).with_code(0).saying("days");
    let with = [pinned.as_slice(), &["--json", "--ledger", ledger.to_str().unwrap()]].concat();
    let restored = countersign(restore(&file, &house.data(), &alice, &with)).with_code(0);
    let restored: Value = serde_json::from_str(&restored.stdout).unwrap();
    assert_eq!(restored["entries"], made["ledger_entries"]);
    assert_eq!(restored["revocations"], 1, "{restored}");
    assert_eq!(restored["former_ledger_key"], old_key.trim());
    assert_ne!(restored["ledger_key"], old_key.trim());
    countersign(house.command(&["ledger", "verify"], &[])).with_code(0);

    // The same ports, the same devices, and new ones.
    house.start();
    Client::new(&house, &device, Version::V5).publish(1, topic, "2");
    Client::new(&house, &house.identity("lamp-000002"), Version::V5).publish(
        1,
        "things/lamp-000002/properties/power",
        "1",
    );
    Client::new(&house, &house.identity("lamp-000001"), Version::V5).is_refused();
    let fresh = house.device("plug-000002");
    Client::new(&house, &fresh, Version::V5).publish(1, "things/plug-000002/properties/power", "1");
    let crt = fresh.crt.to_str().unwrap();
    openssl(&["verify", "-CAfile", roots.to_str().unwrap(), "-untrusted", crt, crt], b"");
    countersign(house.command(&["ledger", "verify"], &[])).with_code(0);
    house.is_well();
}

//= specs/house.md#house-backup
//= type=test
//# A backup that was changed, cut short or sealed to another key MUST be refused by name.
#[test]
fn what_is_not_as_it_was_sealed_becomes_nothing() {
    let authority = Authority::new();
    let folder = authority.folder();
    let (alice, to_alice) = key(folder, "alice.key");
    let (mallory, _) = key(folder, "mallory.key");
    let file = folder.join("one.backup");
    backup(&authority, &file, &[&to_alice]);
    let whole = fs::read(&file).unwrap();
    let data = folder.join("new");
    let refused = |file: &Path, key: &Path, words: &str| {
        let said = countersign_fails(2, restore(file, &data, key, &[])).saying(words);
        assert!(said.stderr.contains(file.file_name().unwrap().to_str().unwrap()), "{said}");
        assert!(!data.exists() && !folder.join("new.restoring").exists(), "{said}");
    };
    refused(&file, &mallory, "not sealed to this key");
    let bad = folder.join("bad.backup");
    for at in [3, 40, whole.len() / 2, whole.len() - 1] {
        let mut changed = whole.clone();
        changed[at] ^= 1;
        fs::write(&bad, changed).unwrap();
        refused(&bad, &alice, "");
    }
    let mut changed = whole.clone();
    changed[whole.len() / 2] ^= 1;
    fs::write(&bad, changed).unwrap();
    refused(&bad, &alice, "it was changed since it was sealed");
    for length in [0, 1, whole.len() / 2, whole.len() - 1] {
        fs::write(&bad, &whole[..length]).unwrap();
        refused(&bad, &alice, "cut short");
    }
    fs::write(&bad, b"PK\x03\x04 something else entirely").unwrap();
    refused(&bad, &alice, "no sealed file of this kind");
    refused(&folder.join("missing.backup"), &alice, "No such file");
    countersign_fails(2, restore(&file, &data, &file, &[])).saying("one.backup");
    // Nothing secret stands in it, and nobody else may read it.
    use std::os::unix::fs::PermissionsExt as _;
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::metadata(&alice).unwrap().permissions().mode() & 0o777, 0o600);
    let seal = fs::read(authority.data().join("seal.key")).unwrap();
    assert!(!whole.windows(seal.len()).any(|window| window == seal));
    countersign(restore(&file, &data, &alice, &[])).with_code(0);
    countersign_fails(2, restore(&file, &data, &alice, &[])).saying("is not empty");
}
