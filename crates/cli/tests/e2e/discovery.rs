//! Devices that announce themselves by multicast DNS, and the owner who finds them; on loopback and a port of the test's
//! own, so that no test hears another's devices.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine as _;
use serde_json::Value;
use socket2::{Domain, Protocol, Socket, Type};

use crate::support::{
    Authority, Device, Finished, Home, Running, THING, countersign, program, until,
};

/// A free port for a group of the test's own.
fn free_port() -> u16 {
    UdpSocket::bind("0.0.0.0:0").unwrap().local_addr().unwrap().port()
}

/// Somebody on the network who writes down everything that is said to the group.
struct Observer(Arc<Mutex<Vec<Vec<u8>>>>);

impl Observer {
    fn listen(port: u16) -> Self {
        let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP)).unwrap();
        socket.set_reuse_address(true).unwrap();
        socket.set_reuse_port(true).unwrap();
        socket.bind(&SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)).into()).unwrap();
        let group = Ipv4Addr::new(224, 0, 0, 251);
        socket.join_multicast_v4(&group, &Ipv4Addr::LOCALHOST).unwrap();
        let heard = Arc::new(Mutex::new(Vec::new()));
        let (socket, into) = (UdpSocket::from(socket), heard.clone());
        std::thread::spawn(move || {
            let mut buffer = [0; 9000];
            while let Ok(length) = socket.recv(&mut buffer) {
                into.lock().unwrap().push(buffer[..length].to_vec());
            }
        });
        Self(heard)
    }

    fn everything(&self) -> Vec<u8> {
        self.0.lock().unwrap().concat()
    }
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window.eq_ignore_ascii_case(part))
}

fn configuration(port: u16, more: &str) -> String {
    format!("[discovery]\nannounce = \"always\"\nport = {port}\n{more}")
}

/// `control COMMAND --mdns-port PORT ARGUMENTS…`.
fn control(port: u16, command: &str, arguments: &[&str]) -> Finished {
    let port = port.to_string();
    countersign([&["control", command, "--mdns-port", &port], arguments].concat())
}

/// What `discover --json` says as soon as it says this.
fn discovered(port: u16, arguments: &[&str], wanted: impl Fn(&Value) -> bool) -> Value {
    until("the device is found", || {
        let ended = control(port, "discover", &[&["--json"], arguments].concat());
        serde_json::from_str(&ended.stdout).ok().filter(&wanted)
    })
}

//= specs/house.md#house-discovery
//= type=test
//# What a device announces MUST NOT contain its serial, its owner or anything that lasts longer than an epoch, apart from its address and port.
//= specs/house.md#house-discovery
//= type=test
//# An address that discovery gave MUST be believed only after the device there has shown its certificate.
#[test]
fn a_device_is_found_by_its_label_then_by_its_home_and_by_nobody_else() {
    let authority = Authority::new();
    let mut device = Device::provision(&authority, "plug-000001");
    let other = Device::provision(&authority, "plug-000002");
    let port = free_port();
    let observer = Observer::listen(port);
    device.configure(&configuration(port, ""));
    device.start();
    let pairing = device.pairing();

    // Whoever holds the label finds it; another label finds nothing.
    let label = device.label.clone();
    let found = discovered(port, &["--label", &label], |found| found["waiting"][0].is_object());
    let waiting = &found["waiting"][0];
    assert_eq!((&waiting["mayBe"], &waiting["addresses"][0]), (&true.into(), &pairing.into()));
    control(port, "discover", &["--label", &other.label]).with_code(1).saying("plug-000002");

    // Pairing needs no address.
    let home = Home::new(&authority, "home");
    let (folder, roots) = (home.folder.to_str().unwrap(), authority.roots());
    let roots = roots.to_str().unwrap();
    let pair = ["--home", folder, "--owner", "ada-lovelace", "--roots", roots, "--label", &label];
    control(port, "pair", &pair).with_code(0);
    let status = device.status_where("the local API is open", |status| status["api"].is_string());

    // The home recognises it; a stranger sees that there is something.
    let at = |found: &Value| found["home"][0]["addresses"][0].clone();
    discovered(port, &["--home", folder], |found| at(found) == status["api"]);
    let seen = discovered(port, &[], |found| found["others"].as_u64() > Some(0));
    assert!(seen["waiting"] == Value::Array(Vec::new()) || seen["waiting"][0]["mayBe"].is_null());

    // Who joins by invitation recognises it too.
    let sam = Home::new(&authority, "home-of-sam");
    let shared = home.with("share", &device, &["--person", "sam", "--role", "viewer", "--json"]);
    let shared: Value = serde_json::from_str(&shared.with_code(0).stdout).unwrap();
    let invitation = shared["invitation"].as_str().unwrap();
    sam.control("join", &["--roots", roots, "--invitation", invitation]).with_code(0);
    let theirs = sam.folder.to_str().unwrap();
    discovered(port, &["--home", theirs], |found| at(found) == status["api"]);

    // It moved: the next command finds it by its certificate, and remembers.
    device.kill();
    let moved = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    device.configure(&configuration(port, &format!("[api]\nlisten = \"{moved}\"\n")));
    device.start();
    device.status_where("it has moved", |status| status["api"] == moved.to_string());
    for folder in [folder, theirs] {
        let get = ["--home", folder, "--thing", &device.serial, "relay"];
        until("the device is found where it is now", || {
            (control(port, "get", &get).code == Some(0)).then_some(())
        });
    }
    let things = countersign(["control", "things", "--home", folder]).with_code(0);
    assert!(things.stdout.contains(&moved.to_string()), "{}", things.stdout);

    // Nothing of all that was said tells who it is, or whose.
    let said = observer.everything();
    assert!(contains(&said, b"_countersign") && contains(&said, b"_countersign-new"));
    let machine = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    for secret in ["plug-000001", "000001", "ada-lovelace", "lovelace", machine.trim()] {
        let hex: String = secret.bytes().map(|byte| format!("{byte:02x}")).collect();
        let base64 = base64::engine::general_purpose::STANDARD_NO_PAD.encode(secret);
        for form in [secret, &hex, &base64] {
            assert!(form.len() < 4 || !contains(&said, form.as_bytes()), "{form} was said");
        }
    }
}

//= specs/house.md#house-discovery
//= type=test
//# A device MUST NOT announce itself unless its description declares it.
//= specs/en-303-645.md#5.5-5
//= type=test
//# Network service protocols that the device relies on and whose configuration it cannot guarantee MUST be declared as exceptions.
#[test]
fn who_announces_itself_declares_it() {
    let authority = Authority::new();
    let mut device = Device::provision(&authority, "plug-000001");
    let port = free_port();
    device.configure(&configuration(port, ""));
    device.start();
    let config = device.data().parent().unwrap().join("device.toml");
    let data = device.data();
    let place = ["--config", config.to_str().unwrap(), "--data", data.to_str().unwrap()];
    let ixit = countersign([&["device", "ixit", "--thing", THING], &place[..]].concat());
    let declared: Value = serde_json::from_str(&ixit.with_code(0).stdout).unwrap();
    let row = |table: &str, id: &str| {
        let rows = declared[table].as_array().unwrap();
        rows.iter().find(|row| row["id"] == id).cloned().unwrap_or_else(|| panic!("{id}"))
    };
    let listener = row("listeners", "Listener-Mdns");
    assert_eq!((&listener["port"], &listener["transport"]), (&port.into(), &"udp".into()));
    assert!(row("28-LogIntf", "LogIntf-Mdns")["disclosed_information"].is_string());
    assert!(row("13-SoftServ", "SoftServ-mDNS")["status"] == "enabled");
    device.kill();

    // The same device whose description does not speak of it does not start.
    let mut thing: Value = serde_json::from_str(&std::fs::read_to_string(THING).unwrap()).unwrap();
    let services = thing["countersign:networkServices"].as_array_mut().unwrap();
    services.retain(|service| service["protocol"] != "mDNS");
    let silent = authority.folder().join("silent.td.json");
    std::fs::write(&silent, thing.to_string()).unwrap();
    let mut run = program(["device", "run", "--simulate", "plug"]);
    run.args(place).arg("--thing").arg(&silent);
    let ended = Running::start(&mut run).end_within(Duration::from_secs(60));
    ended.expect("it ends").with_code(2).saying("networkServices").saying("mDNS");
}
