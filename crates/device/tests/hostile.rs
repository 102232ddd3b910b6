//! A thousand of each kind of bad request, and peers that are slow: the owner is served.
#![allow(clippy::unwrap_used)]

mod support;

use countersign_crypto::certificate::Certificate;
use countersign_crypto::tls::TlsIdentity;
use std::net::SocketAddr;
use std::time::Duration;
use support::client::{ask, channel, channel_from, pair};
use support::maker::Ca;
use support::{WAIT, World, code};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpSocket;

/// So many of each kind.
const EACH: usize = 1_000;
/// So many sent over one connection, if it stays open.
const AT_ONCE: usize = 100;

/// Where they come from: what they use up there is not the owner's.
const ATTACKER: [u8; 4] = [127, 64, 0, 99];

async fn owner_is_served(api: SocketAddr, root: &Certificate, ada: &TlsIdentity, after: &str) {
    let served = ask(api, root, Some(ada), "GET", "/properties/relay", b"");
    let answer = tokio::time::timeout(WAIT, served).await.unwrap();
    assert_eq!(answer.map(|(status, _)| status), Some(200), "after {after}");
}

/// Sends `bytes` so many times as this person, over as many connections as that takes.
async fn pour(api: SocketAddr, root: &Certificate, who: &TlsIdentity, alpn: &str, bytes: &[u8]) {
    let mut sent = 0;
    while sent < EACH {
        let Some(mut stream) = channel_from(ATTACKER, api, root, who, alpn).await else {
            // Turned away at the door: that is an answer too.
            sent += AT_ONCE;
            continue;
        };
        for _ in 0..AT_ONCE {
            sent += 1;
            if stream.write_all(bytes).await.is_err() {
                break;
            }
        }
        let _ = stream.flush().await;
        let mut answer = [0; 4096];
        let _ = tokio::time::timeout(Duration::from_millis(20), stream.read(&mut answer)).await;
    }
}

/// Opens so many connections and says `bytes` where TLS is expected.
async fn pour_raw(api: SocketAddr, bytes: &[u8]) {
    for number in 0..EACH {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::from((ATTACKER, 0))).unwrap();
        let connected = tokio::time::timeout(WAIT, socket.connect(api)).await.expect("in time");
        // Turned away at the door: that is an answer too.
        let Ok(mut stream) = connected else { continue };
        let _ = stream.write_all(bytes).await;
        if number % AT_ONCE == 0 {
            let mut answer = [0; 4096];
            let _ = tokio::time::timeout(Duration::from_millis(20), stream.read(&mut answer)).await;
        }
    }
}

/// What follows a connection's beginning in HTTP/2 (RFC 9113 section 3.4): one frame.
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0".to_vec();
    bytes.extend(&u32::try_from(payload.len()).unwrap().to_be_bytes()[1..]);
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_bad_beginnings_of_tls_leave_the_owner_served() {
    let world = World::new([127, 64, 0, 3]).await;
    let (root, device, home) = (&world.maker.root, world.start(), Ca::home("home"));
    pair(device.pairing().await, root, code(), &home, None).await.unwrap();
    let (api, ada) = (device.api().await, home.person("ada", None));
    let hello = |length: [u8; 3], body: &[u8]| {
        let whole = u16::try_from(body.len() + 4).unwrap().to_be_bytes();
        [&[22, 3, 1][..], &whole, &[1], &length, body].concat()
    };
    let kinds: Vec<(&str, Vec<u8>)> = vec![
        ("no TLS", b"GET / HTTP/1.1\r\nhost: x\r\n\r\n".to_vec()),
        ("a record of no kind", vec![0x63, 3, 3, 0, 5, 1, 2, 3, 4, 5]),
        ("a record that is too long", [&[22, 3, 3, 0xff, 0xff][..], &[0xaa; 20_000]].concat()),
        ("an empty record", vec![22, 3, 3, 0, 0]),
        ("a version of nobody", vec![22, 9, 9, 0, 4, 1, 0, 0, 0]),
        ("a hello of rubbish", hello([0, 2, 0], &[0xaa; 512])),
        ("a hello whose length lies", hello([0xff; 3], &[3, 3])),
        ("an empty hello", hello([0; 3], &[])),
        ("a hello that never ends", hello([0, 2, 0], &[3, 3, 0, 0])),
        ("data before the handshake", vec![23, 3, 3, 0, 4, 0, 0, 0, 0]),
        ("an alert before all", vec![21, 3, 3, 0, 2, 2, 40]),
        ("nothing but a change of ciphers", [20, 3, 3, 0, 1, 1].repeat(100)),
        ("a heartbeat", vec![24, 3, 3, 0, 3, 1, 0x40, 0]),
        ("SSL 2", [&[0x80, 0x2e, 1, 0, 2, 0, 0x15, 0, 0, 0, 0x10][..], &[7; 37]].concat()),
        ("a server's hello", vec![22, 3, 3, 0, 6, 2, 0, 0, 2, 3, 3]),
    ];
    for (what, bytes) in &kinds {
        pour_raw(api, bytes).await;
        owner_is_served(api, root, &ada, what).await;
    }
    device.stop().await.unwrap();
}

//= specs/house.md#house-gate
//= type=test
//# Failures and rates MUST be bounded per subject and per address.
#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_bad_requests_of_each_kind_leave_the_owner_served() {
    let world = World::new([127, 64, 0, 1]).await;
    let (root, device, home) = (&world.maker.root, world.start(), Ca::home("home"));
    pair(device.pairing().await, root, code(), &home, None).await.unwrap();
    let (api, ada, eve) = (device.api().await, home.person("ada", None), home.person("eve", None));
    let put = |body: &str| {
        let length = body.len();
        format!(
            "PUT /properties/relay HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\n\r\n{body}"
        )
    };
    let head = |line: &str| format!("GET /properties/relay HTTP/1.1\r\nhost: x\r\n{line}\r\n\r\n");
    let kinds: Vec<(&str, &str, Vec<u8>)> = vec![
        ("no JSON", "http/1.1", put("{").into()),
        ("deep JSON", "http/1.1", put(&"[".repeat(2_000)).into()),
        ("too long a body", "http/1.1", put(&"1".repeat(20_000)).into()),
        ("a wrong length", "http/1.1", head("content-length: -1").into()),
        ("two lengths", "http/1.1", head("content-length: 1\r\ncontent-length: 2").into()),
        ("a long header", "http/1.1", head(&format!("x: {}", "y".repeat(20_000))).into()),
        ("many headers", "http/1.1", head(&"a: b\r\n".repeat(200)).into()),
        ("no HTTP", "http/1.1", vec![0xff; 64]),
        ("a bad chunk", "http/1.1", head("transfer-encoding: chunked\r\n\r\nzz\r\n").into()),
        ("an unknown name", "http/1.1", b"GET /properties/x HTTP/1.1\r\nhost: x\r\n\r\n".to_vec()),
        ("a strange path", "http/1.1", b"GET /../%00%ff//.. HTTP/1.1\r\nhost: x\r\n\r\n".to_vec()),
        ("an unknown method", "http/1.1", b"BREW / HTTP/1.1\r\nhost: x\r\n\r\n".to_vec()),
        ("no HTTP/2", "h2", b"GET / HTTP/1.1\r\nhost: x\r\n\r\n".to_vec()),
        (
            "HTTP/2 without settings",
            "h2",
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\xff\xff\xff\x01\x04\x00\x00\x00\x01".to_vec(),
        ),
        ("headers of no stream", "h2", frame(1, 4, 0, &[0x82])),
        ("headers of an even stream", "h2", frame(1, 4, 2, &[0x82])),
        ("headers that HPACK does not know", "h2", frame(1, 4, 1, &[0xff; 12])),
        ("headers without an end", "h2", frame(1, 0, 1, &[0x82])),
        ("headers twice", "h2", [frame(1, 5, 1, &[0x82, 0x82]), frame(1, 5, 1, &[0x82])].concat()),
        ("data of an idle stream", "h2", frame(0, 1, 1, b"x")),
        ("a padding longer than its frame", "h2", frame(0, 8, 1, &[9])),
        ("a continuation of nothing", "h2", frame(9, 4, 1, &[])),
        ("a reset of an idle stream", "h2", frame(3, 0, 1, &[0; 4])),
        ("a window of nothing", "h2", frame(8, 0, 0, &[0; 4])),
        ("windows that overflow", "h2", frame(8, 0, 0, &[0x7f, 0xff, 0xff, 0xff])),
        ("settings of a wrong length", "h2", frame(4, 0, 0, &[0; 5])),
        ("settings of a stream", "h2", frame(4, 0, 1, &[])),
        ("a ping of a wrong length", "h2", frame(6, 0, 0, &[0])),
        ("a push by a client", "h2", frame(5, 4, 1, &[0, 0, 0, 2, 0x82])),
        ("frames of no kind", "h2", frame(0xfa, 0xff, 7, &[0; 64])),
    ];
    for (what, alpn, bytes) in &kinds {
        pour(api, root, &eve, alpn, bytes).await;
        owner_is_served(api, root, &ada, what).await;
    }
    // Eve, who is not on the list, has used up what the address may get wrong without a name, and more.
    let answer = ask(api, root, Some(&eve), "GET", "/properties/relay", b"").await;
    assert!(answer.is_none_or(|(status, _)| status == 403 || status == 429));
    device.stop().await.unwrap();
}

//= specs/house.md#house-gate
//= type=test
//# A peer that does not read MUST be dropped and not be buffered for.
#[tokio::test(flavor = "multi_thread")]
async fn slow_peers_lose_their_connection() {
    let world = World::new([127, 64, 0, 2]).await;
    let (root, device, home) = (&world.maker.root, world.start(), Ca::home("home"));
    pair(device.pairing().await, root, code(), &home, None).await.unwrap();
    let (api, ada) = (device.api().await, home.person("ada", None));
    let mut slow = Vec::new();
    for text in [
        "GET /properties/re",
        "PUT /properties/relay HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\n\r\nt",
    ] {
        let mut stream = channel(api, root, Some(&ada), "http/1.1").await.unwrap();
        stream.write_all(text.as_bytes()).await.unwrap();
        stream.flush().await.unwrap();
        slow.push(stream);
    }
    owner_is_served(api, root, &ada, "slow requests").await;
    for mut stream in slow {
        let mut rest = Vec::new();
        let patience = Duration::from_secs(60);
        let ended = tokio::time::timeout(patience, stream.read_to_end(&mut rest)).await;
        assert!(ended.is_ok(), "still open");
        let text = String::from_utf8_lossy(&rest);
        assert!(text.is_empty() || text.starts_with("HTTP/1.1 408"), "{text}");
    }
    device.stop().await.unwrap();
}
