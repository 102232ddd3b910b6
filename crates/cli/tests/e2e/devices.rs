//! A device's life with its owner, as two processes that do not trust each other.

use std::fs;
use std::net::TcpStream;

use crate::support::{
    Authority, Client, Device, Home, House, Paho, Running, Session, THING, Version, countersign,
    program, until,
};

/// A house, a device that is switched on, and the owner's home.
fn set_up() -> (House, Device, Home) {
    let house = House::new();
    let mut device = Device::provision(&house, "plug-000001");
    device.start();
    let home = Home::new(&house, "home");
    (house, device, home)
}

/// The same, paired and at the gateway.
pub(crate) fn paired() -> (House, Device, Home) {
    let (house, mut device, home) = set_up();
    let label = device.label.clone();
    home.pair(&house, &mut device, &["--label", &label]).with_code(0);
    device.connected();
    (house, device, home)
}

//= specs/house.md#house-pairing
//= type=test
//# A wrong setup code MUST cost one of a bounded number of attempts.
//= specs/house.md#house-pairing
//= type=test
//# The pairing interface MUST exist only before the device is initialised.
#[test]
fn the_code_on_the_label_opens_the_device_once_and_no_other_code_does() {
    let (house, mut device, home) = set_up();
    let other = Device::provision(&house, "plug-000002");
    let serial = device.serial.clone();
    let pairing = device.pairing();

    // A code that is well formed, and another device's.
    home.pair(&house, &mut device, &["--serial", &serial, "--code", &other.code])
        .with_code(1)
        .saying("compare it with the label");
    // The other device's label does not even speak of this one.
    home.pair(&house, &mut device, &["--label", &other.label]).with_code(1);

    let code = device.code.to_lowercase();
    home.pair(&house, &mut device, &["--serial", &serial, "--code", &code]).with_code(0);
    let status = device.connected();
    assert_eq!(
        (&status["state"], &status["pairing"]),
        (&"initialised".into(), &serde_json::Value::Null)
    );
    assert!(TcpStream::connect(&pairing).is_err(), "the pairing interface is still open");
    let label = device.label.clone();
    let stranger = Home::new(&house, "stranger");
    assert_ne!(stranger.pair_at(&house, &pairing, &["--label", &label]).code, Some(0));
}

#[test]
fn too_many_wrong_codes_lock_the_device() {
    let (house, mut device, home) = set_up();
    let other = Device::provision(&house, "plug-000002");
    let serial = device.serial.clone();
    let locked = (0..6).any(|_| {
        let ended = home.pair(&house, &mut device, &["--serial", &serial, "--code", &other.code]);
        ended.with_code(1).stderr.contains("locked")
    });
    assert!(locked, "six wrong guesses in a row were all heard");
}

#[test]
fn the_owner_reads_writes_and_commands() {
    let (_house, device, home) = paired();
    let relay = || home.with("get", &device, &["relay"]).with_code(0).stdout.trim().to_owned();
    assert_eq!(relay(), "false");
    home.with("set", &device, &["relay", "true"]).with_code(0);
    assert_eq!(relay(), "true");
    let toggled = home.with("invoke", &device, &["toggle"]).with_code(0);
    let output: serde_json::Value = serde_json::from_str(&toggled.stdout).unwrap();
    assert_eq!(output["relay"], false);
    assert_eq!(relay(), "false");
    home.with("set", &device, &["maxPower", "2000"]).with_code(0);

    // What is not so, is said.
    home.with("set", &device, &["relay", "\"on\""]).with_code(1);
    home.with("set", &device, &["relay", "not json"]).with_code(2).saying("JSON");
    home.with("set", &device, &["maxPower", "99999"]).with_code(1);
    for (command, name) in [("get", "nothing"), ("invoke", "nothing"), ("invoke", "relay")] {
        home.with(command, &device, &[name]).with_code(1).saying("not permitted");
    }
    home.control("get", &["--thing", "plug-000009", "relay"]).saying("plug-000009");
}

//= specs/house.md#house-gate
//= type=test
//# What no rule allows MUST be refused.
#[test]
fn everybody_has_their_role_and_loses_it_at_once() {
    let (_house, device, home) = paired();
    for (person, role) in [("vera", "viewer"), ("max", "member")] {
        home.with("admit", &device, &["--person", person, "--role", role]).with_code(0);
    }
    let as_person = |person: &str, command: &str, arguments: &[&str]| {
        home.with(command, &device, &[&["--as", person], arguments].concat()).code.unwrap()
    };
    // A viewer sees, and that is all.
    assert_eq!(as_person("vera", "get", &["power"]), 0);
    assert_eq!(as_person("vera", "set", &["relay", "true"]), 1);
    assert_eq!(as_person("vera", "invoke", &["toggle"]), 1);
    assert_eq!(as_person("vera", "get", &["maxPower"]), 1);
    // A member commands, and configures nothing.
    assert_eq!(as_person("max", "set", &["relay", "true"]), 0);
    assert_eq!(as_person("max", "invoke", &["toggle"]), 0);
    assert_eq!(as_person("max", "set", &["maxPower", "100"]), 1);
    assert_eq!(as_person("max", "invoke", &["resetEnergy"]), 1);
    assert_eq!(as_person("max", "admit", &["--person", "max", "--role", "owner"]), 1);

    home.with("unshare", &device, &["--person", "vera"]).with_code(0);
    assert_eq!(as_person("vera", "get", &["power"]), 1);
    assert_eq!(as_person("max", "get", &["power"]), 0);
    // The last owner stays.
    assert_eq!(as_person("owner", "unshare", &["--person", "owner"]), 1);
    assert_eq!(as_person("owner", "get", &["power"]), 0);
}

#[test]
fn another_home_is_refused() {
    let (house, device, home) = paired();
    let mut second = Device::provision(&house, "plug-000002");
    second.start();
    let neighbour = Home::new(&house, "neighbour");
    let label = second.label.clone();
    neighbour.pair(&house, &mut second, &["--label", &label]).with_code(0);

    // The neighbour's certificate at our device, by the address that only we were told.
    let status =
        serde_json::from_str::<serde_json::Value>(&home.control("things", &[]).stdout).unwrap();
    let ours = status["things"][0]["address"].as_str().unwrap().to_owned();
    let ended = neighbour.with("get", &second, &["power", "--at", &ours]);
    assert_ne!(ended.code, Some(0), "{ended}");
    neighbour.with("get", &second, &["power"]).with_code(0);
    home.with("get", &device, &["power"]).with_code(0);
}

//= specs/house.md#house-commands
//= type=test
//# A device MUST answer every command that it receives with a receipt.
#[test]
fn a_service_commands_through_the_gateway_and_gets_a_receipt() {
    let (house, device, home) = paired();
    let grants = [
        "subscribe things/+/properties/#",
        "subscribe things/+/actions/+/receipt",
        "publish things/+/actions/+",
    ];
    let service = house.service("backend", &grants);
    for version in [Version::V5, Version::V311] {
        let session = Session { version, client_id: "", clean: true };
        let (mut backend, _) = Paho::connect(&house, &service, session);
        backend.subscribe("things/+/actions/+/receipt", 1);
        backend.publish("things/plug-000001/actions/toggle", "", 1);
        let (topic, payload) = backend.message();
        assert_eq!(topic, "things/plug-000001/actions/toggle/receipt");
        let receipt: serde_json::Value = serde_json::from_str(&payload).unwrap();
        assert_eq!(
            (&receipt["outcome"], &receipt["affordance"]),
            (&"done".into(), &"toggle".into()),
            "{receipt}"
        );

        backend.publish("things/plug-000001/actions/nothing", "", 1);
        let receipt: serde_json::Value = serde_json::from_str(&backend.message().1).unwrap();
        assert_eq!(receipt["outcome"], "refused", "{receipt}");
    }
    let telemetry =
        Client::new(&house, &service, Version::V5).subscribe(1, "things/+/properties/#");
    home.with("set", &device, &["relay", "true"]).with_code(0);
    telemetry.receives("things/plug-000001/properties/relay", "true");
}

#[test]
fn a_revoked_device_says_so_and_comes_back_when_it_is_reinstated() {
    let (house, mut device, home) = paired();
    let whom = ["--profile", "device", "--name", "plug-000001"];
    let before = device.connected()["identity"].clone();
    countersign(house.command(&["revoke"], &whom)).with_code(0);
    device.status_where("the uplink is refused", |status| status["uplink"] != "connected");
    // The home goes on without the maker.
    home.with("get", &device, &["power"]).with_code(0);
    countersign(house.command(&["reinstate"], &["--name", "plug-000001"])).with_code(0);
    let after = device.status_where("it is back with a new identity", |status| {
        status["uplink"] == "connected" && status["identity"] != before
    });
    assert!(after["identity"].is_string());
}

#[test]
fn what_is_no_label_is_refused_before_anything_is_sent() {
    let house = House::new();
    let mut device = Device::provision(&house, "plug-000001");
    let home = Home::new(&house, "home");
    // An address where nobody is: a refusal must come first.
    let nowhere = "127.0.0.1:9";
    let label = device.label.clone();
    let other_kind = label.replacen("CS1:", "WIFI:", 1);
    let half = label[..label.len() / 2].to_owned();
    // A symbol of the code, mistyped.
    let at = label.rfind(':').unwrap() - 3;
    let mut mistyped = label.clone();
    mistyped.replace_range(at..=at, if &label[at..=at] == "7" { "8" } else { "7" });
    let long = "CS1:".repeat(1000);
    for garbage in [
        "",
        "hello",
        "CS1:::",
        "\u{1f600}",
        "CS1:PLUG-000001:::",
        &other_kind,
        &half,
        &mistyped,
        &long,
    ] {
        let ended = home.pair_at(&house, nowhere, &["--label", garbage]).with_code(2);
        assert!(ended.stderr.contains("label") || ended.stderr.contains("code"), "{ended}");
        assert!(
            garbage.len() < 6 || !ended.stderr.contains(garbage),
            "a mistyped code is nearly the secret: {ended}"
        );
    }
    for garbage in ["", "12345", "UUUUU-UUUUU-UUUUU-UUUUU-UUUUU-UUUUU"] {
        home.pair_at(&house, nowhere, &["--serial", "plug-000001", "--code", garbage])
            .with_code(2)
            .saying("code");
    }
    assert!(!home.folder.exists(), "no home was made for it");
    device.start();
    home.pair(&house, &mut device, &["--label", &label]).with_code(0);
    until("the home", || home.folder.exists().then_some(()));
}

//= specs/house.md#house-gate
//= type=test
//# An action, a writable property or a security-relevant affordance without authentication MUST refuse to start.
#[test]
fn a_description_that_opens_what_must_be_closed_refuses_to_start() {
    let authority = Authority::new();
    let device = Device::provision(&authority, "plug-000001");
    let good = fs::read_to_string(THING).unwrap();
    let thing = authority.folder().join("thing.td.json");
    let open = |affordance: &str| {
        let secured = good.replace(
            "\"securityDefinitions\": {",
            "\"securityDefinitions\": { \"open\": { \"scheme\": \"nosec\" },",
        );
        let at = format!("\"{affordance}\": {{");
        secured.replacen(
            &at,
            &format!(
                "{at} \"forms\": [{{ \"href\": \"/{affordance}\", \"security\": [\"open\"] }}],"
            ),
            1,
        )
    };
    let start = |text: &str| {
        fs::write(&thing, text).unwrap();
        let mut command = program(["device", "run", "--simulate", "plug"]);
        command.arg("--data").arg(device.data()).arg("--thing").arg(&thing);
        Running::start(&mut command).finish().without_panic().with_code(2)
    };
    for affordance in ["toggle", "relay", "maxPower"] {
        start(&open(affordance)).saying("thing.td.json").saying(affordance);
    }
    start("{").saying("thing.td.json");
    start("{}").saying("thing.td.json");
}

//= specs/house.md#house-shell
//= type=test
//# An unknown configuration key MUST be an error that names the file and the key.
#[test]
fn an_unknown_key_in_a_devices_configuration_is_named() {
    let authority = Authority::without_ceremony();
    let file = authority.folder().join("device.toml");
    let name = file.to_str().unwrap();
    countersign(["device", "config", name]).with_code(0);
    let good = fs::read_to_string(&file).unwrap();
    fs::write(&file, format!("pairing_code = \"x\"\n{good}")).unwrap();
    countersign(["device", "run", "--simulate", "plug", "--config", name])
        .with_code(2)
        .saying(name)
        .saying("pairing_code");
}

#[test]
fn a_devices_damaged_state_is_refused_by_name_and_left_alone() {
    let (_house, mut device, home) = paired();
    device.kill();
    for file in
        ["state.sealed", "factory/keys/idevid.key", "factory/idevid.crt", "seal.key", "home.key"]
    {
        let path = device.data().join(file);
        let good = fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let mut bad = good.clone();
        let (from, to) = (bad.len() / 3, bad.len() * 2 / 3);
        bad[from..to].iter_mut().for_each(|byte| *byte ^= 0x5a);
        fs::write(&path, &bad).unwrap();
        let ended = Running::start(&mut device.command()).finish().without_panic().with_code(2);
        // A sealing key looks like any other: what it does not open is named with it.
        assert!(
            ended.stderr.contains(path.file_name().unwrap().to_str().unwrap()),
            "{file}: {ended}"
        );
        assert_eq!(fs::read(&path).unwrap(), bad, "{file} was changed");
        fs::write(&path, good).unwrap();
    }
    device.start();
    device.connected();
    home.with("get", &device, &["power"]).with_code(0);
}
