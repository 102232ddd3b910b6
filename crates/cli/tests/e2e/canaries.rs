//! A whole life with every log at its loudest and every channel recorded; then each secret is searched for in all of it.
//!
//! Secrets are planted (the network's key) or read back (setup code, sealing keys, private keys). Searched are what all
//! processes write, ready files, outputs for machines, metrics, the ledger's exports, a backup, a device's declaration, the
//! report of an assessment with its evidence, and the bytes on the wire; in every form that the assessor's search knows, deflated too.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use base64::Engine as _;
use countersign_assessor::Canary;
use countersign_assessor::relay::Relay;
use tokio::runtime::Runtime;

use crate::support::{
    Device, Finished, Home, House, Running, canary, countersign, found, found_below, kept_secrets,
    need, scalar,
};

const NETWORK_KEY: &str = "canary of a network key 0815";
const LOUD: [&str; 2] = ["--log", "trace"];

/// Everything that was said, with where.
#[derive(Default)]
struct Said(Vec<(String, Vec<u8>)>);

impl Said {
    fn add(&mut self, place: &str, bytes: impl Into<Vec<u8>>) {
        self.0.push((place.to_owned(), bytes.into()));
    }

    /// Runs to its end, loudly, and keeps what it said.
    fn run(&mut self, arguments: &[&str]) -> Finished {
        let ended = countersign(arguments.iter().chain(&LOUD));
        self.add(&arguments.join(" "), format!("{}{}", ended.stdout, ended.stderr));
        ended
    }

    fn search(&self, canaries: &[Canary]) -> Vec<String> {
        let hits = |(place, bytes): &(String, Vec<u8>)| found(place, bytes.clone(), canaries);
        self.0.iter().flat_map(hits).collect()
    }
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn recorded(runtime: &Runtime, target: &str) -> (Relay, String) {
    let target: SocketAddr = target.replace("localhost", "127.0.0.1").parse().unwrap();
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let relay = runtime.block_on(Relay::start(any, target)).unwrap();
    let address = relay.address().to_string();
    (relay, address)
}

//= specs/house.md#house-secrets
//= type=test
//# No log, output, report, export or capture MUST hold a critical parameter, in any usual encoding.
//= specs/house.md#house-shell
//= type=test
//# A log MUST NOT contain payloads or secrets.
#[test]
fn no_secret_of_a_whole_life_is_anywhere_outside() {
    let runtime = Runtime::new().unwrap();
    let mut said = Said::default();
    let loudly = |mut command: std::process::Command| {
        command.env("COUNTERSIGN_LOG", "trace");
        command
    };

    // 1. Ceremony, factory, a service's identity.
    let mut house = House::stopped();
    let data = house.data();
    fs::create_dir(&data).unwrap();
    fs::write(data.join("config.toml"), "[metrics]\nlisten = \"127.0.0.1:0\"\n").unwrap();
    house.start_as(loudly);
    let mut device = Device::provision(&house, "plug-000001");
    let out = house.folder().join("out");
    let enrol = ["authority", "enrol", "--data", text(&data), "--out", text(&out), "--json"];
    let whom = ["--profile", "service", "--name", "backend", "--grant", "subscribe things/+/#"];
    said.run(&[&enrol[..], &whom].concat()).with_code(0);

    // 2. Pairing with a network, enrolment, telemetry: all of it through relays that record.
    device.start_as(|command| {
        command.env("COUNTERSIGN_LOG", "trace");
    });
    let (mqtt, mqtt_at) = recorded(&runtime, &house.mqtt);
    let (est, est_at) = recorded(&runtime, &house.est);
    let (pairing, pairing_at) = recorded(&runtime, &device.pairing());
    let home = Home::new(&house, "home");
    let key = house.folder().join("network.key");
    fs::write(&key, NETWORK_KEY).unwrap();
    let (label, roots) = (device.label.clone(), house.roots());
    let pair = ["control", "pair", "--home", text(&home.folder), "--label", &label];
    let place = ["--device", &pairing_at, "--roots", text(&roots)];
    let platform = ["--mqtt", &mqtt_at, "--est", &est_at];
    let network = ["--ssid", "somebody's home", "--network-key-file", text(&key)];
    let arguments = [&pair[..], &place, &platform, &network].concat();
    // Not through `run`: its arguments hold the code, which is the caller's own doing.
    let ended = countersign(arguments.iter().chain(&LOUD)).with_code(0);
    said.add("control pair", format!("{}{}", ended.stdout, ended.stderr));
    let first = device.connected()["identity"].clone();

    // 3. Commands over the local API, recorded too; a person's keys.
    let api = device.status().unwrap()["api"].as_str().unwrap().to_owned();
    let (local, local_at) = recorded(&runtime, &api);
    let at = ["--home", text(&home.folder), "--thing", "plug-000001", "--at", &local_at];
    for command in [&["get", "power"][..], &["set", "relay", "true"], &["invoke", "toggle"]] {
        let arguments = [&["control", command[0]][..], &at, &command[1..]].concat();
        said.run(&arguments).with_code(0);
    }
    let share = ["control", "share", "--person", "max", "--role", "member"];
    said.run(&[&share[..], &at].concat()).with_code(0);
    said.run(&[&["control", "get", "power", "--as", "nobody"][..], &at].concat());

    // 4. A new identity after a revocation; what machines are told; the ledger's exports; the declaration.
    let name = ["--data", text(&data), "--name", "plug-000001"];
    said.run(&[&["authority", "revoke"][..], &name].concat()).with_code(0);
    said.run(&[&["authority", "reinstate"][..], &name].concat()).with_code(0);
    device.status_where("it has another identity", |status| {
        status["uplink"] == "connected" && status["identity"] != first
    });
    said.run(&["authority", "subjects", "--data", text(&data), "--json"]).with_code(0);
    said.run(&["gateway", "sessions", "--data", text(&data), "--json"]).with_code(0);
    said.run(&["crypto", "inventory", "--json"]);
    let exported = house.folder().join("exports");
    fs::create_dir(&exported).unwrap();
    let ledger = exported.join("ledger.jsonl");
    let export = ["authority", "ledger", "export", "--data", text(&data)];
    said.run(&[&export[..], &["--jsonl", text(&ledger)]].concat()).with_code(0);
    assert!(fs::read_to_string(&ledger).unwrap().contains("plug-000001"));
    let ready: serde_json::Value =
        serde_json::from_slice(&fs::read(house.ready_file()).unwrap()).unwrap();
    let metrics = format!("http://{}/metrics", ready["metrics"].as_str().unwrap());
    let metrics = Running::start(need("curl").args(["--silent", "--fail", &metrics])).finish();
    let metrics = metrics.with_code(0).stdout;
    assert!(metrics.contains("countersign_ledger_entries"), "{metrics}");
    said.add("metrics", metrics);
    let recipient = house.folder().join("recipient.key");
    let made = said.run(&["authority", "backup-key", "--out", text(&recipient)]).with_code(0);
    let backup = exported.join("one.backup");
    let sealed = ["--out", text(&backup), "--to", made.stdout.trim()];
    said.run(&[&["authority", "backup", "--data", text(&data)][..], &sealed].concat()).with_code(0);
    let declaration = exported.join("ixit.json");
    fs::write(&declaration, device.declaration()).unwrap();

    // 5. An assessment; its report and its evidence.
    let report = exported.join("report");
    let assess = ["assess", "run", "--no-udp", "--json", "--target", "127.0.0.1"];
    let subject = ["--declaration", text(&declaration), "--roots", text(&roots)];
    said.run(&[&assess[..], &subject, &["--out", text(&report)]].concat());
    assert!(report.join("evidence.json").exists());

    // The secrets, while they are there.
    let mut canaries = vec![
        canary("setup code", &device.code),
        canary("setup code without dashes", device.code.replace('-', "")),
        canary("network key", NETWORK_KEY),
    ];
    for folder in [&data, &device.data(), &home.folder] {
        canaries.extend(kept_secrets(folder));
    }
    let pem = fs::read_to_string(out.join("backend.key")).unwrap();
    let body: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
    let pkcs8 = base64::engine::general_purpose::STANDARD.decode(body).unwrap();
    canaries.push(canary("the service's key", scalar(&pkcs8).unwrap()));
    assert!(canaries.len() > 15, "{canaries:?}");
    assert!(canaries.iter().any(|one| one.label.contains("idevid.key")), "{canaries:?}");

    // 6. Reset.
    said.run(&[&["control", "invoke", "reset"][..], &at].concat()).with_code(0);
    device.pairing();
    said.add("the device", device.said());
    said.add("serve", house.said());
    said.add("ready files", fs::read(house.ready_file()).unwrap());
    said.add("the device's ready file", device.status().unwrap().to_string());

    // What was searched is what was meant: loud logs, and the right traffic.
    for (place, words) in [("serve", "TRACE"), ("the device", "TRACE"), ("control pair", "TRACE")] {
        let (_, bytes) = said.0.iter().find(|one| one.0 == place).unwrap();
        assert!(String::from_utf8_lossy(bytes).contains(words), "{place} was not loud");
    }
    let mut bytes = 0;
    for (relay, place, control) in [
        (mqtt, "wire: MQTT", &b"mqtt"[..]),
        (est, "wire: EST", b"\x16\x03"),
        (pairing, "wire: pairing", b"countersign-pairing/1"),
        (local, "wire: local API", b"http/1.1"),
    ] {
        let recording = runtime.block_on(relay.stop());
        assert!(!recording.truncated, "{place}");
        let all = recording.streams.concat();
        assert!(all.windows(control.len()).any(|window| window == control), "{place}: nothing");
        bytes += all.len();
        said.add(place, all);
    }
    assert!(bytes > 20_000, "only {bytes} bytes were recorded");

    assert_eq!(said.search(&canaries), [""; 0]);
    assert_eq!(found_below(&exported, &canaries), [""; 0]);

    // The search is not blind: each canary is found in the midst of the loudest log.
    let (_, log) = said.0.iter().find(|one| one.0 == "the device").unwrap();
    for one in &canaries {
        let planted = [&log[log.len().saturating_sub(64 * 1024)..], &one.secret, b"\n"].concat();
        let hits = found("planted", planted, std::slice::from_ref(one));
        assert!(!hits.is_empty(), "{} is not found where it stands", one.label);
    }
    let key = fs::read(data.join("seal.key")).unwrap();
    assert!(scalar(&key).is_none() && canaries.iter().any(|one| one.secret == key));
}

//= specs/house.md#house-secrets
//= type=test
//# A process that holds keys MUST leave no core dump and MUST NOT be readable for other processes of its user.
#[test]
fn serve_and_device_leave_no_core_dump_and_let_nobody_look_in() {
    use std::os::unix::fs::MetadataExt as _;
    let house = House::new();
    let mut device = Device::provision(&house, "plug-000001");
    device.start();
    for id in [house.id(), device.id()] {
        let limits = fs::read_to_string(format!("/proc/{id}/limits")).unwrap();
        let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
        let columns: Vec<_> = core.split_whitespace().collect();
        assert_eq!(columns[4..6], ["0", "0"], "{core}");
        // What is not dumpable belongs to root below /proc, whoever runs it. Run by root, that says nothing: there the unit
        // test of the program's hardening does.
        assert_eq!(fs::metadata(format!("/proc/{id}/mem")).unwrap().uid(), 0);
    }
}
