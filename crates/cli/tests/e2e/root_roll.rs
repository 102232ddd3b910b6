//! The root rolls under a running platform: a device that is awake, one that sleeps through it, and one that was never set up.

use crate::support::{
    Client, Device, Finished, Home, House, Version, countersign, openssl, s_client, until,
};

fn rotate(house: &House, arguments: &[&str]) -> Finished {
    countersign(house.command(&["rotate"], arguments))
}

fn root_rolled(house: &House) {
    let mut all = house.command(&["rotate", "root"], &[]);
    all.push("--json".into());
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
    root_rolled(&house);
    root_rolled(&house);
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
    // The one from the box: paired by a label that names the first root, enrolled below the newest.
    boxed.start();
    let label = boxed.label.clone();
    home.pair(&house, &mut boxed, &["--label", &label]).with_code(0);
    boxed.connected();
    // And one that is made now.
    let mut new = Device::provision(&house, "plug-000004");
    new.start();
    let label = new.label.clone();
    home.pair(&house, &mut new, &["--label", &label]).with_code(0);
    new.connected();

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
