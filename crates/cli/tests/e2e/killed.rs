//! `kill -9` of the authority's commands at any moment: the ledger holds, and the same command carries on.

use std::time::{Duration, Instant};

use crate::support::{
    Authority, Client, House, Running, Version, countersign, openssl, program, until,
};

/// Verifies the ledger and returns the number of its entries.
fn ledger(authority: &Authority) -> u64 {
    let ended = countersign(authority.command(&["ledger", "verify"], &["--json"])).with_code(0);
    let summary: serde_json::Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(summary["ok"], true, "{summary}");
    summary["entries"].as_u64().unwrap()
}

fn enrolled(authority: &Authority) -> usize {
    let Ok(folder) = std::fs::read_dir(authority.out()) else { return 0 };
    folder
        .filter(|entry| entry.as_ref().unwrap().path().extension().is_some_and(|e| e == "crt"))
        .count()
}

#[test]
fn an_enrolment_that_was_killed_is_carried_on() {
    let authority = Authority::new();
    let many = ["--profile", "device", "--count", "400", "--prefix", "lamp-"];
    // Three kills, each further on, turns apart.
    for wanted in [1, 100, 230] {
        let mut running = Running::start(&mut program(authority.enrol_command(&many)));
        until("some certificates", || {
            assert!(!running.has_ended(), "too fast to be killed: {}", running.seen());
            (enrolled(&authority) >= wanted).then_some(())
        });
        running.kill();
        ledger(&authority);
    }
    let before: Vec<_> = (1..=5)
        .map(|n| std::fs::read(authority.identity(&format!("lamp-{n:06}")).key).unwrap())
        .collect();
    countersign(authority.enrol_command(&many)).with_code(0);
    assert_eq!(enrolled(&authority), 400);
    for (number, key) in (1..=5).zip(before) {
        let name = format!("lamp-{number:06}");
        assert_eq!(
            std::fs::read(authority.identity(&name).key).unwrap(),
            key,
            "{name} was made anew"
        );
    }
    for number in (1..=400).step_by(8) {
        let identity = authority.identity(&format!("lamp-{number:06}"));
        let (key, crt) = (identity.key.to_str().unwrap(), identity.crt.to_str().unwrap());
        let of_key = openssl(&["pkey", "-pubout", "-in", key], b"");
        assert_eq!(of_key, openssl(&["x509", "-noout", "-pubkey", "-in", crt], b""), "{key}");
    }
    ledger(&authority);
    let house = House::on(authority);
    for name in ["lamp-000001", "lamp-000100", "lamp-000400"] {
        let topic = format!("things/{name}/properties/power");
        Client::new(&house, &house.identity(name), Version::V5).publish(1, &topic, "1");
    }
}

#[test]
fn a_ceremony_that_was_killed_is_completed_by_the_next() {
    // How long one takes here tells when to kill the others.
    let whole = Instant::now();
    Authority::new();
    let whole = whole.elapsed();
    let moments = 8;
    for moment in 1..=moments {
        let authority = Authority::without_ceremony();
        let ceremony = authority.command(&["ceremony"], &[]);
        let running = Running::start(&mut program(&ceremony));
        let after = whole * moment / (moments + 1);
        // Either it ended before, or it is killed now: both must be fine.
        if running.end_within(after).is_none() {
            let roots = authority.roots();
            let before = std::fs::read(&roots).ok();
            countersign(&ceremony).with_code(0);
            if let Some(before) = before {
                assert_eq!(
                    std::fs::read(&roots).unwrap(),
                    before,
                    "a root that was published stays"
                );
            }
        }
        ledger(&authority);
        authority.device("plug-000001");
        openssl_verifies(&authority, "plug-000001");
    }
}

#[test]
fn a_first_serve_that_was_killed_starts_again() {
    for millis in [20, 60, 120, 200, 320] {
        let mut house = House::stopped();
        let running = Running::start(&mut program(house.serve_command()));
        assert!(
            running.end_within(Duration::from_millis(millis)).is_none(),
            "serve runs until it is killed"
        );
        house.start();
        ledger(&house);
        let device = house.device("plug-000001");
        Client::new(&house, &device, Version::V5).publish(
            1,
            "things/plug-000001/properties/power",
            "1",
        );
    }
}

fn openssl_verifies(authority: &Authority, name: &str) {
    let identity = authority.identity(name);
    let (roots, crt) = (authority.roots(), identity.crt);
    let (roots, crt) = (roots.to_str().unwrap(), crt.to_str().unwrap());
    openssl(&["verify", "-CAfile", roots, "-untrusted", crt, crt], b"");
}
