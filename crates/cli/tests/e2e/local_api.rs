//! The local API of a device that is a process: the time of refusals, live values, and what floods do to its owner.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use countersign_controller::Home as Household;
use countersign_model::id::ThingId;
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpSocket};

use crate::devices::paired;
use crate::support::{Device, House, Identity, Running, countersign, need, program, until};

/// One request: method, path, body.
pub(crate) type Request = (&'static str, &'static str, &'static str);

/// What came back: the status (0 where TLS ended it), the version of HTTP, and every byte of head and body.
#[derive(Debug, Clone)]
pub(crate) struct Answered {
    pub(crate) status: u16,
    pub(crate) version: String,
    pub(crate) whole: String,
}

/// All requests in one run of curl, one after the other.
pub(crate) fn curl(
    roots: &Path,
    api: SocketAddr,
    who: Option<&Identity>,
    http: &str,
    requests: &[Request],
) -> Vec<Answered> {
    let mut command = need("curl");
    let place = format!("plug-000001.local:{}:{}", api.port(), api.ip());
    for (index, (method, path, body)) in requests.iter().enumerate() {
        if index > 0 {
            command.arg("--next");
        }
        command.args(["-sS", "-i", http, "--path-as-is", "--max-time", "25", "-X", method]);
        command.args(["-w", "\n@@%{http_code} %{http_version}@@", "--resolve", &place, "--cacert"]);
        command.arg(roots);
        if let Some(who) = who {
            command.arg("--cert").arg(&who.crt).arg("--key").arg(&who.key);
        }
        if !body.is_empty() {
            command.args(["-H", "Content-Type: application/json", "--data-binary", body]);
        }
        command.arg(format!("https://plug-000001.local:{}{path}", api.port()));
    }
    let ended = Running::start(&mut command).finish();
    let mut answers = Vec::new();
    let mut rest = ended.stdout.as_str();
    while let Some((whole, after)) = rest.split_once("\n@@") {
        let (about, after) = after.split_once("@@").expect("the end of a mark");
        let (status, version) = about.split_once(' ').expect("status and version");
        let (status, version) = (status.parse().unwrap(), version.to_owned());
        answers.push(Answered { status, version, whole: whole.to_owned() });
        rest = after;
    }
    assert_eq!(answers.len(), requests.len(), "{ended}");
    answers
}

/// Where the local API is now.
pub(crate) fn api(device: &mut Device) -> SocketAddr {
    let status = device.status_where("the local API is there", |status| status["api"].is_string());
    status["api"].as_str().unwrap().parse().unwrap()
}

/// The time of a refusal tells nothing: medians of interleaved requests lie close together. The bound is wide, so that
/// a busy machine does not break it; a refusal that waits for the product or skips its work would.
#[test]
fn refusals_take_the_same_time() {
    let (_house, device, home) = paired();
    home.with("admit", &device, &["--person", "vera", "--role", "viewer"]).with_code(0);
    let household = Household::open(&home.folder).unwrap();
    let kinds: [Request; 3] = [
        ("PUT", "/properties/nothing", "true"),
        ("PUT", "/properties/relay", "true"),
        ("PUT", "/properties/power", "true"),
    ];
    let mut times: [Vec<Duration>; 3] = Default::default();
    runtime().block_on(async {
        let (vera, thing) = ("vera".parse().unwrap(), device.serial.parse().unwrap());
        let mut session = household.session(&vera, &thing, None).await.unwrap();
        for _ in 0..35 {
            for ((method, path, body), times) in kinds.iter().zip(&mut times) {
                let begun = Instant::now();
                let reply = session.request(method, path, Some(body.as_bytes())).await.unwrap();
                times.push(begun.elapsed());
                assert_eq!(reply.status, 403);
            }
        }
    });
    let medians = times.map(|mut times| {
        times.sort();
        times[times.len() / 2]
    });
    let (least, most) = (medians.iter().min().unwrap(), medians.iter().max().unwrap());
    let slack = Duration::from_millis(20);
    assert!(*most <= 3 * *least + slack, "{medians:?}");
}

#[test]
fn values_are_shown_live_until_the_role_ends() {
    let (_house, mut device, home) = paired();
    home.with("admit", &device, &["--person", "vera", "--role", "viewer"]).with_code(0);
    let observe = |arguments: &[&str]| {
        let folder = home.folder.to_str().unwrap().to_owned();
        let place = ["--home", &folder, "--thing", &device.serial, "--as", "vera"];
        Running::start(&mut program(["control", "observe"].iter().chain(&place).chain(arguments)))
    };
    let relay = observe(&["relay", "--json"]);
    assert_eq!(relay.lines(0, 1), [r#"{"name":"relay","value":false}"#]);
    home.with("set", &device, &["relay", "true"]).with_code(0);
    assert_eq!(relay.lines(1, 1), [r#"{"name":"relay","value":true}"#]);
    let counted = observe(&["--count", "3"]).finish().with_code(0);
    assert_eq!(counted.stdout.lines().count(), 3, "{counted}");
    assert!(counted.stdout.contains("relay true"), "{counted}");
    observe(&["maxPower"]).finish().with_code(1).saying("not permitted");
    observe(&["--event", "nothing"]).finish().with_code(1).saying("not permitted");

    // A device that is switched off and on is found again; what did not change is not told twice.
    device.kill();
    device.start();
    relay.wait_for("trying again");
    until("the plug is off after its restart", || {
        relay.stdout().lines().nth(2).map(|line| assert!(line.ends_with("false}"), "{line}"))
    });
    home.with("unshare", &device, &["--person", "vera"]).with_code(0);
    relay.finish().with_code(1).saying("not permitted");
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap()
}

/// How much memory a process holds of its own, in KiB (proc(5)): without the pages of its program, of which a debug build
/// has several times more.
fn own_memory(id: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{id}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).expect("a line of it");
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// What floods may add to the agent's own memory, in KiB: 16 handshakes of 64 KiB; 16 connections (the owner's and eve's 8
/// each) of two TLS buffers, a request's head and four bodies, 16 KiB each, so 112 KiB; and a third for what the allocator
/// cannot use.
const MAX_GROWTH: u64 = (16 * 64 + 16 * 112) * 4 / 3;

/// Opens connections from many addresses for ever: some send nothing, some a byte now and then, some rubbish, some much.
async fn flood(api: SocketAddr, attacker: u8) {
    let mut held = std::collections::VecDeque::new();
    for turn in 0_u64.. {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::from(([127, 71, attacker, 1 + (turn % 16) as u8], 0))).unwrap();
        let Ok(Ok(mut stream)) =
            tokio::time::timeout(Duration::from_secs(1), socket.connect(api)).await
        else {
            continue;
        };
        let bytes: &[u8] = match turn % 4 {
            0 => &[],
            1 => b"\x16\x03\x01",
            2 => &[0x55; 512],
            // A record of a handshake, announced and never finished.
            _ => &[0x16, 3, 1, 0x3f, 0xff, 1, 0, 0x3f, 0xfb],
        };
        let _ = stream.write_all(bytes).await;
        if turn % 4 == 3 {
            let _ = tokio::time::timeout(Duration::from_millis(5), stream.write_all(&[0; 60_000]))
                .await;
        }
        held.push_back(stream);
        if held.len() > 60 {
            held.pop_front();
        }
        // As fast as a shared machine allows without becoming the only thing that runs on it.
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Requests of eve, whom the home knows and the device does not, as fast as they are refused: no JSON, unknown names, and
/// bodies of a megabyte. She comes through a relay with an address of its own, as the flood does.
async fn pour(household: Arc<Household>, thing: ThingId) {
    let relay = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (via, api) = (relay.local_addr().unwrap(), household.thing(&thing).unwrap().address);
    let passing = async {
        let mut passing = tokio::task::JoinSet::new();
        loop {
            let (mut near, _) = relay.accept().await.unwrap();
            passing.spawn(async move {
                let socket = TcpSocket::new_v4().unwrap();
                socket.bind(SocketAddr::from(([127, 71, 9, 9], 0))).unwrap();
                let Ok(mut far) = socket.connect(api).await else { return };
                let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
            });
        }
    };
    let asking = async {
        let (eve, huge) = ("eve".parse().unwrap(), vec![b'1'; 1 << 20]);
        let requests: [(&str, &str, &[u8]); 3] = [
            ("PUT", "/properties/relay", b"{"),
            ("GET", "/properties/nothing", b""),
            ("PUT", "/properties/relay", &huge),
        ];
        loop {
            if let Ok(mut session) = household.session(&eve, &thing, Some(via)).await {
                for (method, path, body) in requests {
                    let _ = session.request(method, path, Some(body)).await;
                }
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::select! {
        () = passing => {}
        () = asking => {}
    }
}

//= specs/house.md#house-gate
//= type=test
//# Failures and rates MUST be bounded per subject and per address.
#[test]
fn floods_leave_the_owner_served_and_the_agent_small() {
    let (_house, mut device, home) = paired();
    let api = api(&mut device);
    let household = Arc::new(Household::open(&home.folder).unwrap());
    household.issue_person("eve".parse().unwrap()).unwrap();
    let thing: ThingId = device.serial.parse().unwrap();
    runtime().block_on(async {
        let owner = household.owner().clone();
        let ask = async || {
            let begun = Instant::now();
            let mut session = household.session(&owner, &thing, None).await.unwrap();
            session.get("relay").await.unwrap();
            begun.elapsed()
        };
        let median = |mut times: Vec<Duration>| {
            times.sort();
            times[times.len() / 2]
        };
        let mut quiet = Vec::new();
        for _ in 0..20 {
            quiet.push(ask().await);
        }
        let (quiet, before) = (median(quiet), own_memory(device.id()));
        let mut floods: Vec<_> = (1..=4).map(|n| tokio::spawn(flood(api, n))).collect();
        for _ in 0..2 {
            floods.push(tokio::spawn(pour(household.clone(), thing.clone())));
        }
        tokio::time::sleep(Duration::from_secs(2)).await;
        let (mut busy, mut most) = (Vec::new(), 0);
        for _ in 0..20 {
            busy.push(ask().await);
            most = most.max(own_memory(device.id()));
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        floods.iter().for_each(tokio::task::JoinHandle::abort);
        let busy = median(busy);
        println!(
            "owner: {quiet:?} alone, {busy:?} under flood; agent's own memory: {before} KiB, at most {most} KiB"
        );
        // Each answer came; that it came soon is measured elsewhere, on a machine that does nothing else.
        assert!(busy < Duration::from_secs(10), "{quiet:?} {busy:?}");
        assert!(most < before + MAX_GROWTH, "{before} KiB grew to {most} KiB");
    });
}

/// A folder for one test's own description.
fn description(house: &House, text: &str) -> PathBuf {
    let file = house.folder().join("own.td.json");
    fs::write(&file, text).unwrap();
    file
}

#[test]
fn a_description_is_checked_before_it_is_run() {
    let house = House::stopped();
    let good = fs::read_to_string(crate::support::THING).unwrap();
    let check = |text: &str, more: &[&str]| {
        let file = description(&house, text);
        let file = file.to_str().unwrap().to_owned();
        countersign(["device", "check", &file].iter().chain(more))
    };
    let listed = check(&good, &[]).with_code(0);
    assert!(listed.stdout.contains("writeproperty    maxPower"), "{listed}");
    let bad = good.replacen("\"minimum\": 0,", "\"minimum\": \"low\",", 1);
    check(&bad, &[]).with_code(1).saying("$.properties.power.minimum: must be a number");
    let told = check(&bad, &["--json"]).with_code(1);
    let told: serde_json::Value = serde_json::from_str(&told.stdout).unwrap();
    assert_eq!(told["errors"][0]["path"], "$.properties.power.minimum");
    assert_eq!(told["ok"], false);
    let told = check(&good, &["--json"]).with_code(0);
    let told: serde_json::Value = serde_json::from_str(&told.stdout).unwrap();
    assert!(told["rules"].as_array().unwrap().len() > 8 && told["errors"] == serde_json::json!([]));
    countersign(["device", "check", "/nowhere/thing.td.json"]).with_code(2).saying("/nowhere");
}

#[test]
fn an_undeclared_listener_of_a_program_stops_the_device_by_name() {
    let (house, mut device, _home) = paired();
    device.kill();
    let programs = house.folder().join("programs");
    for part in ["properties", "actions"] {
        fs::create_dir_all(programs.join(part)).unwrap();
    }
    // What the maker forgot: a server of its own, beside the events.
    let script = "#!/bin/sh\nexec /usr/bin/python3 -c 'import socket,time\ns=socket.socket(socket.AF_INET,socket.SOCK_DGRAM)\ns.bind((\"127.0.0.1\",0))\ntime.sleep(60)'\n";
    let events = programs.join("events");
    fs::write(&events, script).unwrap();
    fs::set_permissions(&events, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let mut command = program(["device", "run", "--thing", crate::support::THING]);
    let config = house.folder().join("network.toml");
    fs::write(&config, "[sandbox]\nnetwork = true\n").unwrap();
    command.arg("--data").arg(device.data()).arg("--functions").arg(&programs);
    command.arg("--config").arg(&config).args(crate::support::as_root());
    let ended = Running::start(&mut command);
    until("the agent ends", || ended.stderr().contains("undeclared listener").then_some(()));
    ended
        .finish()
        .with_code(2)
        .saying("undeclared listener udp 127.0.0.1:")
        .saying("of the program");
}
