//! The root rolls under a running platform: a device that is awake, one that sleeps through it, and one that was never set up.

use crate::support::{
    Client, Device, Finished, Home, House, Version, countersign, openssl, s_client, until,
};

fn rotate(house: &House, arguments: &[&str]) -> Finished {
    countersign(house.command(&["rotate"], arguments))
}

/// Rolled, though a device that was seen lately is switched off.
fn root_rolled(house: &House) {
    let mut all = house.command(&["rotate", "root"], &[]);
    all.extend(["--json", "--without-acknowledgement", "1"].map(Into::into));
    countersign(all).with_code(0);
    for ca in ["idevid", "ldevid", "service"] {
        rotate(house, &["--ca", ca]).with_code(0);
    }
}

/// The server's chain, judged by OpenSSL for whoever has that file of roots.
fn believed(address: &str, roots: &std::path::Path) -> bool {
    let mut command = s_client(address, roots, None, &[]);
    let said = command.stdin(std::process::Stdio::null()).output().unwrap();
    String::from_utf8_lossy(&said.stdout).contains("Verify return code: 0")
}

//= specs/house.md#house-anchors
//= type=test
//# A server MUST show a chain that leads to every root of its maker which clients may hold.
//= specs/house.md#house-anchors
//= type=test
//# A gateway MUST note the newest root that each device has acknowledged.
//= specs/house.md#house-anchors
//= type=test
//# A crash at any point of a root's roll MUST leave every device and every client able to connect.
#[test]
fn devices_and_clients_of_the_first_root_go_on_through_two_rolls() {
    let mut house = House::new();
    let old_roots = house.folder().join("old-roots.pem");
    std::fs::copy(house.roots(), &old_roots).unwrap();
    let home = Home::new(&house, "home");
    let mut paired = ["plug-000001", "plug-000002"].map(|serial| {
        let mut device = Device::provision(&house, serial);
        device.start();
        let label = device.label.clone();
        home.pair(&house, &mut device, &["--label", &label]).with_code(0);
        device.connected();
        device
    });
    // In its box all the time.
    let mut boxed = Device::provision(&house, "plug-000003");
    let service = house.device("plug-000009");
    paired[1].kill();

    // A roll that is killed again and again, and two that are not.
    for millis in [5, 60, 300] {
        let command = house.command(&["rotate", "root"], &[]);
        let running = crate::support::Running::start(&mut crate::support::program(&command));
        let _ = running.end_within(std::time::Duration::from_millis(millis));
        assert!(believed(&house.mqtt, &old_roots));
    }
    // Whoever is awake has the next root before it signs; one that was seen lately and is away holds it up.
    let root = |arguments: &[&str]| {
        let mut all = house.command(&["rotate", "root"], &[]);
        all.extend(arguments.iter().map(|one| (*one).into()));
        countersign(all)
    };
    root(&[]).with_code(1).saying("plug-000002").saying("--without-acknowledgement 1");
    let reached = |name: &str| {
        let status = countersign(house.command(&["rotate", "status"], &["--json"])).with_code(0);
        let status: serde_json::Value = serde_json::from_str(&status.stdout).unwrap();
        assert_eq!(status["reached"]["root"], name);
        status["reached"]["devices"].clone()
    };
    let expected = serde_json::json!({"acknowledged": 1, "missing": ["plug-000002"], "asleep": 0});
    assert_eq!(reached("root-2"), expected);
    root_rolled(&house);
    root_rolled(&house);
    assert_eq!(reached("root-3"), expected);
    for address in [house.mqtt.clone(), house.est.clone()] {
        until("the server's certificate below the newest root", || {
            let mut command = s_client(&address, &old_roots, None, &["-showcerts"]);
            let said = command.stdin(std::process::Stdio::null()).output().unwrap();
            let said = String::from_utf8_lossy(&said.stdout).into_owned();
            (said.contains("Root G2") && said.contains("Service CA")).then_some(())
        });
        assert!(believed(&address, &old_roots), "with the first root alone");
        assert!(believed(&address, &house.roots()), "with all roots");
    }
    Client::new(&house, &service, Version::V5).publish(
        1,
        "things/plug-000009/properties/power",
        "1",
    );

    // What the old CAs issued goes, so that everybody must come through the new ones.
    rotate(&house, &["--ca", "ldevid", "--step", "retire", "--at-once"]).with_code(0);
    paired[1].start();
    for device in &mut paired {
        device.connected();
    }
    // The one that slept has followed every statement, with its next connection.
    until("the second device's acknowledgement", || {
        (reached("root-3")["acknowledged"] == 2).then_some(())
    });
    // The one from the box: paired by a label that names the first root, enrolled below the newest.
    boxed.start();
    let label = boxed.label.clone();
    home.pair(&house, &mut boxed, &["--label", &label]).with_code(0);
    boxed.connected();
    // Their operational identities are below the newest root, their labels name the first: the owner reaches them at home as before.
    for device in [&paired[0], &paired[1], &boxed] {
        home.with("get", device, &["power"]).with_code(0);
    }
    // And one that is made now.
    let mut new = Device::provision(&house, "plug-000004");
    new.start();
    let label = new.label.clone();
    home.pair(&house, &mut new, &["--label", &label]).with_code(0);
    new.connected();

    until("everybody's acknowledgement", || (reached("root-3")["acknowledged"] == 4).then_some(()));
    // It is stored: nobody needs to be told again after a kill.
    paired[0].kill();
    paired[0].start();
    paired[0].connected();
    // An ordinary client of MQTT with a device's name acknowledges nothing, and is counted so.
    assert_eq!(reached("root-3")["missing"], serde_json::json!(["plug-000009"]));

    // The first root's key goes when nothing issues below it; nobody misses it, not even after a restart.
    let mut retire = house.command(&["rotate", "root"], &[]);
    retire.extend(["--step".into(), "retire".into()]);
    countersign(retire).with_code(0).saying("retired");
    assert!(!house.data().join("authority/keys/root.key").exists());
    house.kill();
    house.start();
    assert!(believed(&house.mqtt, &old_roots));
    countersign(house.command(&["ledger", "verify"], &[])).with_code(0);
    let text =
        openssl(&["x509", "-noout", "-subject", "-in", house.roots().to_str().unwrap()], b"");
    assert!(text.contains("Root G"), "{text}");
    house.is_well();
}
