//! The local API: who may what, and what bad input gets.
#![allow(clippy::unwrap_used)]

mod support;

use countersign_crypto::tls::{Clock, SystemClock, TlsIdentity};
use countersign_device::agent::AgentError;
use countersign_device::config::ProductListener;
use countersign_model::time::Timestamp;
use serde_json::json;
use std::net::SocketAddr;
use std::time::Duration;
use support::client::{ask, json as get, pair};
use support::maker::Ca;
use support::{Running, World, code};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// A paired device, its owner, and the home's CA.
struct Paired {
    device: Running,
    api: SocketAddr,
    home: Ca,
    ada: TlsIdentity,
}

impl Paired {
    async fn new(world: &World) -> Self {
        let device = world.start();
        let home = Ca::home("home");
        pair(device.pairing().await, &world.maker.root, code(), &home, None).await.unwrap();
        let api = device.api().await;
        let ada = home.person("ada", None);
        Self { device, api, home, ada }
    }

    async fn share(&self, world: &World, person: &str, role: &str) {
        let body = json!({ "role": role }).to_string();
        let path = format!("/access/{person}");
        let root = &world.maker.root;
        let done = ask(self.api, root, Some(&self.ada), "PUT", &path, body.as_bytes()).await;
        assert_eq!(done.unwrap().0, 204);
    }
}

//= specs/en-303-645.md#5.5-4
//= type=test
//# In the initialised state, functionality behind a network interface SHOULD be reached only after authentication on that interface.
//= specs/en-303-645.md#5.5-4
//= type=test
#[tokio::test(flavor = "multi_thread")]
async fn every_subject_gets_what_is_theirs_and_one_refusal_for_the_rest() {
    let world = World::new([127, 62, 0, 1]).await;
    let root = &world.maker.root;
    let paired = Paired::new(&world).await;
    paired.share(&world, "mia", "member").await;
    paired.share(&world, "vic", "viewer").await;
    let past = Timestamp(SystemClock.now().0 - 60_000);
    let home = &paired.home;
    let people = [
        ("owner", Some(home.person("ada", None))),
        ("member", Some(home.person("mia", None))),
        ("viewer", Some(home.person("vic", None))),
        ("not listed", Some(home.person("eve", None))),
        ("expired", Some(home.person("ada", Some(past)))),
        ("other home", Some(Ca::home("other").person("ada", None))),
        ("none", None),
    ];
    // Status for owner, member, viewer, not listed; the rest never get as far as a request.
    let matrix: &[(&str, &str, &str, [u16; 4])] = &[
        ("GET", "/.well-known/wot", "", [200, 200, 200, 403]),
        ("GET", "/properties", "", [200, 200, 200, 403]),
        ("GET", "/properties/power", "", [200, 200, 200, 403]),
        ("PUT", "/properties/relay", "true", [204, 204, 403, 403]),
        ("PUT", "/properties/relay", "\"on\"", [400, 400, 403, 403]),
        ("PUT", "/properties/relay", "{", [400, 400, 403, 403]),
        ("PUT", "/properties/power", "1", [403, 403, 403, 403]),
        ("GET", "/properties/maxPower", "", [200, 200, 403, 403]),
        ("PUT", "/properties/maxPower", "2000", [204, 403, 403, 403]),
        ("PUT", "/properties/maxPower", "99999", [400, 403, 403, 403]),
        ("POST", "/actions/toggle", "", [200, 200, 403, 403]),
        ("POST", "/actions/resetEnergy", "", [200, 403, 403, 403]),
        ("GET", "/properties/access", "", [200, 403, 403, 403]),
        ("GET", "/access/vic", "", [200, 403, 403, 403]),
        ("PUT", "/access/eve", "{\"role\":\"king\"}", [400, 403, 403, 403]),
        ("DELETE", "/access/ada", "", [409, 403, 403, 403]),
        ("GET", "/properties/nothing", "", [403, 403, 403, 403]),
        ("POST", "/actions/nothing", "", [403, 403, 403, 403]),
        ("GET", "/nothing", "", [403, 403, 403, 403]),
        ("DELETE", "/properties/relay", "", [403, 403, 403, 403]),
        ("GET", "/properties/..%2f..", "", [403, 403, 403, 403]),
    ];
    let mut refusals = std::collections::BTreeSet::new();
    for (method, path, body, expected) in matrix {
        for (index, (who, person)) in people.iter().enumerate() {
            let answer =
                ask(paired.api, root, person.as_ref(), method, path, body.as_bytes()).await;
            let status = answer.as_ref().map(|(status, _)| *status);
            assert_eq!(status, expected.get(index).copied(), "{who}: {method} {path} {body}");
            if let Some((403, body)) = answer {
                refusals.insert(body);
            }
        }
    }
    assert_eq!(refusals.len(), 1, "one refusal for all: {refusals:?}");
    paired.device.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_description_shows_nobody_what_is_not_theirs_and_unsharing_ends_it() {
    let world = World::new([127, 62, 0, 2]).await;
    let root = &world.maker.root;
    let paired = Paired::new(&world).await;
    paired.share(&world, "vic", "viewer").await;
    let vic = paired.home.person("vic", None);
    let owners = get(paired.api, root, &paired.ada, "/.well-known/wot").await;
    assert!(owners["properties"]["access"].is_object() && owners["actions"]["reset"].is_object());
    let viewers = get(paired.api, root, &vic, "/.well-known/wot").await;
    assert_eq!(viewers["properties"]["relay"]["readOnly"], true);
    assert!(viewers["properties"]["maxPower"].is_null() && viewers["actions"].is_null());
    let values = get(paired.api, root, &vic, "/properties").await;
    let names: Vec<_> = values.as_object().unwrap().keys().collect();
    assert_eq!(names, ["energy", "power", "relay"]);
    let done = ask(paired.api, root, Some(&paired.ada), "DELETE", "/access/vic", b"").await;
    assert_eq!(done.unwrap().0, 204);
    let (status, _) =
        ask(paired.api, root, Some(&vic), "GET", "/.well-known/wot", b"").await.unwrap();
    assert_eq!(status, 403);
    // What an owner changed outlives a kill.
    paired.device.kill().await;
    let device = world.start();
    let list = get(device.api().await, root, &paired.ada, "/properties/access").await;
    assert_eq!(list, json!([{ "person": "ada", "role": "owner" }]));
    device.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_input_and_idle_connections_leave_the_owner_served() {
    let world = World::new([127, 62, 0, 3]).await;
    let root = &world.maker.root;
    let paired = Paired::new(&world).await;
    let big = vec![b' '; countersign_device::api::MAX_BODY + 1];
    let answer = ask(paired.api, root, Some(&paired.ada), "PUT", "/properties/relay", &big).await;
    assert!(answer.is_none_or(|(status, _)| status == 413));
    for garbage in [&b"GET /thing HTTP/1.1\r\n\r\n"[..], &[0xff; 4096], b"\x16\x03\x03\x7f\xff"] {
        let mut stream = TcpStream::connect(paired.api).await.unwrap();
        stream.write_all(garbage).await.unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        assert!(!answer.starts_with(b"HTTP"), "nothing is said in clear");
    }
    // Half-open connections take places, but fewer than there are.
    let mut half_open = Vec::new();
    for _ in 0..countersign_device::api::MAX_CONNECTIONS - 2 {
        half_open.push(TcpStream::connect(paired.api).await.unwrap());
    }
    let answer = ask(paired.api, root, Some(&paired.ada), "GET", "/properties/relay", b"").await;
    assert_eq!(answer.unwrap().0, 200);
    paired.device.stop().await.unwrap();
}

//= specs/house.md#house-gate
//= type=test
//# A listener without an entry in the device's description MUST be an error at start-up.
//= specs/en-303-645.md#5.5-5
//= type=test
#[tokio::test(flavor = "multi_thread")]
async fn an_undeclared_listener_ends_the_device_by_name() {
    let mut world = World::new([127, 62, 0, 4]).await;
    let rogue = TcpListener::bind("127.62.0.4:0").await.unwrap();
    let address = rogue.local_addr().unwrap();
    let device = world.start();
    match device.task.await.unwrap() {
        Err(AgentError::Undeclared(listener)) => assert_eq!(listener.address, address),
        other => panic!("{other:?}"),
    }
    let purpose = "the product's own status page".to_owned();
    world.config.product_listeners = vec![ProductListener { address, purpose }];
    let device = world.start();
    device.pairing().await;
    // One that appears later is found by the periodic look.
    let _late = TcpListener::bind("127.62.0.4:0").await.unwrap();
    let ended = tokio::time::timeout(Duration::from_secs(15), device.task).await.unwrap();
    assert!(matches!(ended.unwrap(), Err(AgentError::Undeclared(_))));
}
