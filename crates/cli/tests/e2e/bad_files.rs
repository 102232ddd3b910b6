//! Files and flags that are wrong: a clear error that names the file, the field and the mend, and nothing lost.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};

use crate::support::{Authority, Client, Finished, House, Running, Version, countersign, program};

const POWER: &str = "things/plug-000001/properties/power";

fn write(authority: &Authority, text: &str) -> PathBuf {
    let file = authority.folder().join("my-config.toml");
    fs::write(&file, text).unwrap();
    file
}

/// `serve` with these arguments, which must refuse to start.
fn refused(authority: &Authority, more: &[&str]) -> Finished {
    let data = authority.data();
    let mut arguments = vec!["serve", "--data", data.to_str().unwrap()];
    arguments.extend(
        ["--mqtt", ":0", "--est", ":0", "--admin", ":0"]
            .iter()
            .filter(|_| !more.contains(&"--est")),
    );
    arguments.extend(more);
    Running::start(&mut program(arguments)).finish().without_panic().with_code(2)
}

//= specs/house.md#house-shell
//= type=test
//# An unknown configuration key MUST be an error that names the file and the key.
#[test]
fn an_unknown_key_is_named_with_its_file() {
    let authority = Authority::without_ceremony();
    for (text, key) in [
        ("[gateway]\nlisten_on = \"127.0.0.1:0\"\n", "listen_on"),
        ("[gateway.limits]\nmax_packets = 3\n", "max_packets"),
        ("[gatewy]\n", "gatewy"),
        ("est = \"127.0.0.1:0\"\n", "est"),
        ("[gateway]\nhandshake_timeout_secs = 0\n", "handshake_timeout_secs"),
        ("[authority]\ndevice_days = 9000\n", "device_days"),
        ("[gateway]\nlisten = \"nowhere\"\n", "listen"),
        ("[gateway\n", "my-config.toml"),
    ] {
        let file = write(&authority, text);
        let file = file.to_str().unwrap();
        refused(&authority, &["--config", file]).saying(file).saying(key);
        countersign(["config", "check", file]).with_code(2).saying(file).saying(key);
    }
    assert!(!authority.data().exists(), "nothing is made for a configuration that is wrong");
    refused(&authority, &["--config", "/no/such/file.toml"]).saying("/no/such/file.toml");
}

#[test]
fn the_default_that_is_written_is_accepted() {
    let authority = Authority::without_ceremony();
    let file = authority.folder().join("new.toml");
    let file = file.to_str().unwrap();
    countersign(["config", "new", file]).with_code(0);
    countersign(["config", "check", file]).with_code(0);
    countersign(["config", "new", file]).with_code(2).saying(file);
}

#[test]
fn a_port_in_use_is_named() {
    let authority = Authority::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for listener in ["--mqtt", "--est", "--admin"] {
        let mut arguments = vec!["--est", ":0", "--mqtt", ":0", "--admin", ":0"];
        let place = arguments.iter().position(|argument| *argument == listener).unwrap();
        arguments[place + 1] = &address;
        refused(&authority, &arguments).saying(&address).saying("any");
    }
}

#[test]
fn two_on_one_folder_is_one_too_many() {
    let mut house = House::new();
    refused(&house, &[]).saying(house.data().to_str().unwrap());
    house.is_well();
}

#[test]
fn a_folder_that_cannot_be_used_is_named() {
    let authority = Authority::without_ceremony();
    fs::write(authority.data(), "a file").unwrap();
    refused(&authority, &[]).saying(authority.data().to_str().unwrap());
}

/// Every file of a folder and what is in it, folders below included.
fn contents(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut all = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => folders.push(path),
                false => all.push((path.clone(), fs::read(&path).unwrap())),
            }
        }
    }
    all.sort();
    all
}

/// A house that has been used and has ended, with its device.
fn used() -> (House, crate::support::Identity) {
    let mut house = House::new();
    let device = house.device("plug-000001");
    Client::new(&house, &device, Version::V5).publish(1, POWER, "1");
    let serve = house.running();
    serve.terminate();
    serve.finish().with_code(0);
    // After an orderly end, what there is stands in the files themselves.
    let journals: Vec<_> = contents(&house.data())
        .into_iter()
        .filter(|(path, bytes)| path.to_string_lossy().ends_with("-wal") && !bytes.is_empty())
        .collect();
    assert!(journals.is_empty(), "{:?}", journals.iter().map(|(path, _)| path).collect::<Vec<_>>());
    (house, device)
}

/// Damages a file, sees `serve` refuse it by name and leave everything alone, and then mends it.
fn damaged(house: &mut House, file: &Path, damage: impl FnOnce(&mut [u8])) {
    let good = fs::read(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let mut bad = good.clone();
    damage(&mut bad);
    fs::write(file, &bad).unwrap();
    let before = contents(&house.data());

    let ended = refused(house, &[]);
    let name = file.file_name().unwrap().to_str().unwrap();
    let ended = ended.saying(name);
    let mend = ["restore", "backup", "remove", "move it", "move ", "copy"];
    assert!(mend.iter().any(|word| ended.stderr.contains(word)), "the mend is told: {ended}");
    // The note that the database was closed in order is taken by whoever looks.
    let notes = |path: &Path| path.ends_with("authority.db-checked");
    for (path, bytes) in before.iter().filter(|(path, _)| !notes(path)) {
        let now = fs::read(path).ok();
        assert!(now.as_ref() == Some(bytes), "{} was changed", path.display());
    }

    fs::write(file, &good).unwrap();
    house.start();
    let device = house.identity("plug-000001");
    Client::new(house, &device, Version::V5).publish(1, POWER, "2");
    let serve = house.running();
    serve.terminate();
    serve.finish().with_code(0);
}

fn overwrite_the_middle(bytes: &mut [u8]) {
    let (from, to) = (bytes.len() / 3, bytes.len() * 2 / 3);
    for byte in &mut bytes[from..to.max(from + 1)] {
        *byte ^= 0x5a;
    }
}

fn overwrite_everything(bytes: &mut [u8]) {
    for (index, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::try_from(index * 7 % 251).unwrap();
    }
}

//= specs/house.md#house-state
//= type=test
//# A corrupt state file MUST be refused with its name and the mend.
#[test]
fn damaged_databases_are_refused_and_left_alone() {
    let (mut house, _) = used();
    let databases =
        [house.data().join("authority/authority.db"), house.data().join("gateway/gateway.db")];
    for database in databases {
        damaged(&mut house, &database, overwrite_everything);
    }
}

#[test]
fn damaged_keys_and_documents_are_refused_and_left_alone() {
    let (mut house, _) = used();
    let data = house.data();
    let keys: Vec<_> =
        contents(&data.join("authority/keys")).into_iter().map(|(path, _)| path).collect();
    assert!(!keys.is_empty(), "the keystore holds keys");
    // The keys that every start needs: those of the issuing authorities.
    for key in keys.iter().filter(|path| path.to_string_lossy().contains("-ca")) {
        damaged(&mut house, key, overwrite_the_middle);
    }
    for file in
        ["policy/current.cose", "roots.pem", "authority/ledger.log", "authority/ca/service-ca.crt"]
    {
        damaged(&mut house, &data.join(file), overwrite_the_middle);
    }
}

#[test]
fn a_lost_sealing_key_is_not_replaced() {
    let (mut house, _) = used();
    let file = house.data().join("seal.key");
    let good = fs::read(&file).unwrap();
    for bad in [Some(vec![7; good.len()]), Some(vec![1, 2, 3]), None] {
        match &bad {
            Some(bytes) => fs::write(&file, bytes).unwrap(),
            None => fs::remove_file(&file).unwrap(),
        }
        refused(&house, &[]).saying("seal.key");
        assert_eq!(
            fs::read(&file).ok(),
            bad,
            "a new key would make the old ones unreadable for ever"
        );
        fs::write(&file, &good).unwrap();
    }
    house.start();
    let device = house.identity("plug-000001");
    Client::new(&house, &device, Version::V5).publish(1, POWER, "2");
}
