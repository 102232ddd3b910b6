//! Bytes from people who mean no good, at every listener: closed doors, and nobody else notices.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::support::{Client, House, Identity, Running, VERSIONS, Version, curl, s_client, until};

const POWER: &str = "things/plug-000001/properties/power";
/// How much is thrown at each listener.
const FLOOD: usize = 400_000;

/// SplitMix64: the same bytes in every run.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.next().to_le_bytes()[0]).collect()
    }
}

fn honest_client_works(house: &House, device: &Identity) {
    for version in VERSIONS {
        Client::new(house, device, version).publish(1, POWER, "1");
    }
    assert_eq!(curl(house, &house.est, None, "cacerts", None).unwrap().status, 200);
}

/// The beginning of what a TLS client says, so that noise gets past the first look.
fn client_hello(noise: &mut Noise) -> Vec<u8> {
    let body = noise.bytes(512);
    let length = |bytes: usize| u16::try_from(bytes).unwrap().to_be_bytes();
    let mut hello = vec![22, 3, 1];
    hello.extend(length(body.len() + 4));
    hello.extend([1, 0]);
    hello.extend(length(body.len()));
    hello.extend(body);
    hello
}

#[test]
fn random_bytes_close_the_connection_and_nothing_else() {
    let mut house = House::new();
    let device = house.device("plug-000001");
    let mut noise = Noise(1);
    for address in [house.mqtt.clone(), house.est.clone(), house.admin.clone()] {
        let mut sent = 0;
        while sent < FLOOD {
            let mut stream = TcpStream::connect(&address).unwrap();
            let size = 1 + usize::try_from(noise.next() % 16_384).unwrap();
            let mut bytes =
                if noise.next().is_multiple_of(2) { client_hello(&mut noise) } else { Vec::new() };
            bytes.extend(noise.bytes(size));
            // A door that closes while we still push is a closed door.
            let _ = stream.write_all(&bytes);
            sent += bytes.len();
        }
    }
    honest_client_works(&house, &device);
    house.is_well();
}

//= specs/house.md#house-channel
//= type=test
//# A handshake that does not finish in its time MUST be closed.
#[test]
fn half_open_connections_starve_nobody_and_are_closed_in_time() {
    let mut house = House::new();
    let device = house.device("plug-000001");
    let mut noise = Noise(2);
    let opened = Instant::now();
    let mut held = Vec::new();
    for address in [&house.mqtt, &house.est, &house.admin] {
        for number in 0..200 {
            let mut stream = TcpStream::connect(address).unwrap();
            let beginning = client_hello(&mut noise);
            // Nothing, a byte, half a record.
            let said = [0, 1, beginning.len() / 2][number % 3];
            stream.write_all(&beginning[..said]).unwrap();
            stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
            held.push(stream);
        }
    }
    honest_client_works(&house, &device);
    // Every one of them is ended by the other side, long before a minute is over.
    for mut stream in held {
        let mut rest = Vec::new();
        let ended = stream.read_to_end(&mut rest);
        let kind = ended.as_ref().err().map(std::io::Error::kind);
        assert!(
            !matches!(kind, Some(std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut)),
            "still open after {:?}",
            opened.elapsed()
        );
    }
    honest_client_works(&house, &device);
    house.is_well();
}

/// Sends bytes through TLS with the device's certificate, and waits until the gateway ends the connection.
fn is_cut_off(house: &House, device: &Identity, what: &str, bytes: &[u8]) {
    let mut command = s_client(&house.mqtt, &house.roots(), Some(device), &["-quiet"]);
    let mut raw = Running::start(&mut command);
    let mut input = raw.input();
    let _ = input.write_all(bytes);
    // The input stays open, so that it is the gateway that ends it.
    until(what, || raw.has_ended().then_some(()));
}

/// A CONNECT of MQTT 3.1.1 with a clean session and this client identifier.
fn connect(client_id: &str) -> Vec<u8> {
    let id = client_id.as_bytes();
    let mut packet = vec![0x10, u8::try_from(12 + id.len()).unwrap()];
    packet.extend(b"\x00\x04MQTT\x04\x02\x00\x3c\x00");
    packet.push(u8::try_from(id.len()).unwrap());
    packet.extend(id);
    packet
}

//= specs/house.md#house-mqtt
//= type=test
//# A malformed packet MUST cost the connection that sent it and no other.
#[test]
fn malformed_and_oversized_packets_cost_their_sender() {
    let mut house = House::new();
    let device = house.device("plug-000001");
    let other = house.device("plug-000002");
    let bystander =
        Client::new(&house, &other, Version::V5).subscribe(1, "things/plug-000002/actions/+");

    // 256 MiB announced; nobody waits for them.
    let oversized = [&connect("a")[..], &[0x30, 0xff, 0xff, 0xff, 0x7f], &[0; 100]].concat();
    let too_long_length = [&connect("b")[..], &[0x30, 0xff, 0xff, 0xff, 0xff, 0x7f]].concat();
    let wildcard_topic = [&connect("c")[..], b"\x30\x05\x00\x01#hi"].concat();
    let no_utf8 = [&connect("d")[..], b"\x30\x05\x00\x02\xff\xfehi"].concat();
    let reserved_type = [&connect("e")[..], &[0x00, 0x00]].concat();
    let twice = [connect("f"), connect("f")].concat();
    let not_first = vec![0x30, 0x05, 0x00, 0x01, b'a', b'h', b'i'];
    let not_mqtt = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec();
    for (what, bytes) in [
        ("an oversized packet", oversized),
        ("a length of five bytes", too_long_length),
        ("a wildcard in a topic", wildcard_topic),
        ("a topic that is no text", no_utf8),
        ("a reserved packet type", reserved_type),
        ("a second CONNECT", twice),
        ("a PUBLISH before CONNECT", not_first),
        ("another protocol", not_mqtt),
    ] {
        is_cut_off(&house, &device, what, &bytes);
    }
    let mut noise = Noise(3);
    for round in 0..20 {
        let mut bytes = if round % 2 == 0 { connect("noise") } else { Vec::new() };
        // A type that nobody may send, so that the end does not hang on luck.
        bytes.extend([0x00, 0x00]);
        bytes.extend(noise.bytes(4000));
        is_cut_off(&house, &device, "noise inside TLS", &bytes);
    }

    let owner = house.service("owner", &["publish things/+/actions/+"]);
    Client::new(&house, &owner, Version::V5).publish(
        1,
        "things/plug-000002/actions/switch",
        "honest",
    );
    bystander.receives("things/plug-000002/actions/switch", "honest");
    honest_client_works(&house, &device);
    house.is_well();
}

#[test]
fn a_message_that_is_too_large_goes_nowhere() {
    let mut house = House::new();
    let device = house.device("plug-000001");
    let service = house.service("backend", &["subscribe things/+/properties/#"]);
    let telemetry =
        Client::new(&house, &service, Version::V5).subscribe(1, "things/+/properties/#");
    let large = house.folder().join("large");
    std::fs::write(&large, "x".repeat(300 * 1024)).unwrap();
    for version in VERSIONS {
        // A client of version 5 was told the limit and does not even send it; one of 3.1.1 is cut off.
        let mut command =
            Client::new(&house, &device, version).publish_file_command(1, POWER, &large);
        let ended = Running::start(&mut command).end_within(Duration::from_secs(5));
        let sent = version == Version::V311;
        assert!(!sent || ended.is_none_or(|ended| ended.code != Some(0)), "{version:?}");
    }
    honest_client_works(&house, &device);
    telemetry.receives(POWER, "1");
    telemetry.never_heard("xxxx");
    house.is_well();
}
