//! The authority's database on a PostgreSQL server, which crashes; so does the authority.

use std::collections::BTreeSet;
use std::fs;

use serde_json::Value;

use crate::support::{
    Authority, Client, House, Postgres, Running, Version, countersign, countersign_fails, openssl,
    program, until,
};

fn configure(authority: &Authority, text: &str) {
    fs::create_dir_all(authority.data()).unwrap();
    fs::write(authority.data().join("config.toml"), text).unwrap();
}

fn ask(authority: &Authority, command: &[&str]) -> Value {
    let ended = countersign(authority.command(command, &["--json"])).with_code(0);
    serde_json::from_str(&ended.stdout).unwrap()
}

fn certificates(authority: &Authority) -> usize {
    let Ok(folder) = fs::read_dir(authority.out()) else { return 0 };
    folder
        .filter(|entry| entry.as_ref().unwrap().path().extension().is_some_and(|e| e == "crt"))
        .count()
}

/// An authority on a database of its own.
fn on(server: &Postgres, database: &str) -> Authority {
    server.create(database, "C");
    let authority = Authority::without_ceremony();
    configure(&authority, &server.config(database, &server.certificate()));
    countersign(authority.command(&["ceremony"], &[])).with_code(0);
    authority
}

#[test]
fn authority_and_server_crash_in_the_middle_and_nothing_is_lost_or_made_twice() {
    let server = Postgres::new();
    let authority = on(&server, "countersign");
    // More than ten turns, so that there is a middle.
    let many = ["--profile", "device", "--count", "800", "--prefix", "lamp-"];
    let enrolling = |wanted: usize| {
        let mut running = Running::start(&mut program(authority.enrol_command(&many)));
        until("some certificates", || {
            assert!(!running.has_ended(), "ended early: {}", running.seen());
            (certificates(&authority) >= wanted).then_some(())
        });
        running
    };
    // The authority is killed, then the server under it.
    enrolling(5).kill();
    let running = enrolling(100);
    server.crash();
    let ended = running.finish().with_code(2);
    let said = &ended.stderr;
    assert!(said.contains("postgresql database countersign at localhost"), "{said}");
    // While it is away every command says so.
    countersign_fails(2, authority.command(&["subjects"], &[])).saying("see that the server runs");
    server.start();
    enrolling(400).kill();
    countersign(authority.enrol_command(&many)).with_code(0);

    // Nobody was certified twice with two keys, and what the devices hold is what is recorded.
    let mut keys = BTreeSet::new();
    for number in (1..=800).step_by(40) {
        let identity = authority.identity(&format!("lamp-{number:06}"));
        let (key, crt) = (identity.key.to_str().unwrap(), identity.crt.to_str().unwrap());
        let of_key = openssl(&["pkey", "-pubout", "-in", key], b"");
        assert_eq!(of_key, openssl(&["x509", "-noout", "-pubkey", "-in", crt], b""), "{key}");
        keys.insert(of_key);
    }
    assert_eq!(keys.len(), 20);
    let count = |what: &str| server.sql("countersign", &format!("SELECT COUNT(*) FROM {what}"));
    assert_eq!(count("subject_keys WHERE name LIKE 'lamp-%'"), "800");
    assert_eq!(count("(SELECT DISTINCT name FROM certificates WHERE name LIKE 'lamp-%') x"), "800");
    assert_eq!(ask(&authority, &["ledger", "verify"])["ok"], true);
    assert!(!authority.data().join("authority/authority.db").exists());
}

#[test]
fn serve_goes_on_when_its_server_comes_back() {
    let server = Postgres::new();
    let mut house = House::on(on(&server, "countersign"));
    let device = house.device("plug-000001");
    let topic = "things/plug-000001/properties/power";
    Client::new(&house, &device, Version::V5).publish(1, topic, "1");
    server.crash();
    // What was admitted before is served on; nothing new is.
    Client::new(&house, &device, Version::V5).publish(1, topic, "2");
    countersign_fails(2, house.enrol_command(&["--profile", "device", "--name", "plug-000002"]));
    house.is_well();
    server.start();
    // Another process's changes reach the gateway again, some seconds later.
    let next = Client::new(&house, &house.device("plug-000003"), Version::V5);
    let topic = "things/plug-000003/properties/power";
    until("the new device is admitted", || {
        (next.try_publish(1, topic, "1")?.code == Some(0)).then_some(())
    });
    countersign(house.command(&["revoke"], &["--profile", "device", "--name", "plug-000001"]))
        .with_code(0);
    Client::new(&house, &device, Version::V5).comes_to_be_refused();
    house.is_well();
}

//= specs/house.md#house-database
//= type=test
//# A database that belongs to another ledger, or lost its content, MUST be refused.
#[test]
fn another_authoritys_database_is_refused_and_so_is_an_empty_one() {
    let server = Postgres::new();
    let authority = on(&server, "one");
    let other = Authority::without_ceremony();
    configure(&other, &server.config("one", &server.certificate()));
    countersign_fails(2, other.command(&["ceremony"], &[])).saying("belongs to the ledger");
    // Its own database, after somebody made it anew.
    server.sql("postgres", "DROP DATABASE one");
    server.create("one", "C");
    countersign_fails(2, authority.command(&["subjects"], &[])).saying("restore a backup");
    // One that sorts otherwise.
    server.create("two", "C.UTF-8");
    configure(&other, &server.config("two", &server.certificate()));
    countersign(other.command(&["ceremony"], &[])).with_code(0);
    server.sql("postgres", "CREATE DATABASE latin TEMPLATE template0 ENCODING 'LATIN1' LOCALE 'C'");
    let latin = Authority::without_ceremony();
    configure(&latin, &server.config("latin", &server.certificate()));
    countersign_fails(2, latin.command(&["ceremony"], &[])).saying("createdb --template template0");
}

//= specs/house.md#house-database
//= type=test
//# A database server that does not keep what it has committed MUST be refused.
#[test]
fn a_server_that_forgets_or_is_another_is_refused() {
    let server = Postgres::new();
    server.create("countersign", "C");
    let authority = Authority::without_ceremony();
    let ceremony = authority.command(&["ceremony"], &[]);
    // Somebody else's certificate.
    let wrong = authority.folder().join("wrong.crt");
    let key = authority.folder().join("wrong.key");
    let made = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
    let (wrong_path, key_path) = (wrong.to_str().unwrap(), key.to_str().unwrap());
    let subject = [
        "-subj",
        "/CN=localhost",
        "-addext",
        "subjectAltName=DNS:localhost",
        "-addext",
        "basicConstraints=critical,CA:FALSE",
    ];
    openssl(&[&made[..], &["-keyout", key_path, "-out", wrong_path], &subject].concat(), b"");
    configure(&authority, &server.config("countersign", &wrong));
    countersign_fails(2, &ceremony).saying("certificate");
    // A password file that others may read, and a wrong password.
    let password = authority.folder().join("password");
    fs::write(&password, "wrong\n").unwrap();
    let config = server.config("countersign", &server.certificate());
    let named = format!("{:?}", server.password_file());
    configure(&authority, &config.replace(&named, &format!("{password:?}")));
    countersign_fails(2, &ceremony).saying("chmod 600");
    std::process::Command::new("chmod").arg("600").arg(&password).status().unwrap();
    countersign_fails(2, &ceremony).saying("password authentication failed");
    // fsync = off.
    configure(&authority, &config);
    server.sql("postgres", "ALTER SYSTEM SET fsync = off");
    server.sql("postgres", "SELECT pg_reload_conf()");
    countersign_fails(2, &ceremony).saying("set fsync and full_page_writes to on");
    server.sql("postgres", "ALTER SYSTEM RESET fsync");
    server.sql("postgres", "SELECT pg_reload_conf()");
    countersign(&ceremony).with_code(0);
}

#[test]
fn a_backup_moves_between_a_server_and_a_file() {
    let server = Postgres::new();
    let authority = on(&server, "old");
    authority.device("plug-000001");
    let subjects = ask(&authority, &["subjects"])["subjects"].clone();
    let key = authority.folder().join("alice.key");
    let key = key.to_str().unwrap();
    let to = countersign(["authority", "backup-key", "--out", key]).with_code(0).stdout;
    let file = authority.folder().join("one.backup");
    let file = file.to_str().unwrap();
    let out = ["--out", file, "--to", to.trim()];
    countersign(authority.command(&["backup"], &out)).with_code(0);
    let restore = |elsewhere: &Authority, config: Option<&str>| {
        let data = elsewhere.data();
        let mut all = vec!["authority", "restore", file, "--key", key, "--data"];
        all.push(data.to_str().unwrap());
        let named = elsewhere.folder().join("new.toml");
        if let Some(config) = config {
            fs::write(&named, config).unwrap();
            all.extend(["--config", named.to_str().unwrap()]);
        }
        all.into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    // The old one's database is in use.
    let elsewhere = Authority::without_ceremony();
    countersign_fails(2, restore(&elsewhere, None)).saying("is not empty");
    assert!(!elsewhere.data().exists());
    assert_eq!(ask(&authority, &["subjects"])["subjects"], subjects, "it was left alone");
    // Into a new database, and into a file.
    server.create("new", "C");
    countersign(restore(&elsewhere, Some(&server.config("new", &server.certificate()))))
        .with_code(0);
    let in_file = Authority::without_ceremony();
    countersign(restore(&in_file, Some(""))).with_code(0);
    assert!(in_file.data().join("authority/authority.db").exists());
    for restored in [&elsewhere, &in_file] {
        let names = |all: &Value| {
            let all = all.as_array().unwrap().iter();
            all.map(|one| (one["subject"].clone(), one["state"].clone())).collect::<Vec<_>>()
        };
        let now = ask(restored, &["subjects"])["subjects"].clone();
        assert_eq!(names(&now), names(&subjects));
        restored.device("plug-000002");
        assert_eq!(ask(restored, &["ledger", "verify"])["ok"], true);
    }
}
