//! Pairing over real sockets: the right code, wrong ones, garbage, a lock-out, kills in between.
#![allow(clippy::unwrap_used)]

mod support;

use countersign_model::label::SetupCode;
use countersign_protocol::pairing::{PairingFailure, RefusedReason};
use std::time::Duration;
use support::client::{ask, json, pair};
use support::maker::Ca;
use support::{World, code};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

fn wrong_code() -> SetupCode {
    SetupCode::from_entropy([8; 17])
}

//= specs/en-303-645.md#5.5-4
//= type=test
#[tokio::test(flavor = "multi_thread")]
async fn the_label_opens_the_device_once() {
    let world = World::new([127, 61, 0, 1]).await;
    let device = world.start();
    let (home, root) = (Ca::home("home"), &world.maker.root);
    let address = device.pairing().await;
    let wrong = pair(address, root, wrong_code(), &home, None).await;
    assert_eq!(wrong, Err(PairingFailure::WrongCode));
    let done = pair(address, root, code(), &home, None).await.unwrap();
    // The pairing interface is gone, and the local API is where the device said.
    let api = device.api().await;
    assert_eq!(done.local_port, api.port());
    assert!(TcpStream::connect(address).await.is_err());
    let ada = home.person("ada", None);
    let td = json(api, root, &ada, "/.well-known/wot").await;
    assert_eq!(td["title"], "Smart Plug");
    device.stop().await.unwrap();
}

//= specs/house.md#house-pairing
//= type=test
//# Trust anchor, network credentials and first owner MUST be installed together or not at all.
#[tokio::test(flavor = "multi_thread")]
async fn a_kill_at_any_step_is_carried_on_from() {
    let world = World::new([127, 61, 0, 2]).await;
    let (home, root) = (Ca::home("home"), &world.maker.root);
    // Wrong codes count over kills: two are free, the third has to wait.
    for _ in 0..2 {
        let device = world.start();
        let wrong = pair(device.pairing().await, root, wrong_code(), &home, None).await;
        assert_eq!(wrong, Err(PairingFailure::WrongCode));
        device.kill().await;
    }
    let device = world.start();
    let address = device.pairing().await;
    match pair(address, root, code(), &home, None).await {
        Err(PairingFailure::Refused(RefusedReason::Locked { wait: Some(wait) })) => {
            tokio::time::sleep(wait + Duration::from_millis(50)).await;
            pair(address, root, code(), &home, None).await.unwrap();
        }
        // A slow machine has waited already.
        other => assert!(other.is_ok(), "{other:?}"),
    }
    let api = device.api().await;
    device.kill().await;
    // Once initialised there is no pairing any more, the port is the same, and the owner is known.
    let device = world.start();
    assert_eq!(device.api().await, api);
    assert!(TcpStream::connect(address).await.is_err());
    let ada = home.person("ada", None);
    assert_eq!(json(api, root, &ada, "/properties/relay").await, false);
    device.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_costs_nothing_and_stops_nobody() {
    let world = World::new([127, 61, 0, 3]).await;
    let device = world.start();
    let address = device.pairing().await;
    for garbage in
        [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0; 600], &[0xff; 600], b"\x16\x03\x01\x40\x00"]
    {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(garbage).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
    }
    // Somebody who opens a connection and says nothing holds the only place for seconds, not for ever.
    let half_open = TcpStream::connect(address).await.unwrap();
    let home = Ca::home("home");
    pair(address, &world.maker.root, code(), &home, None).await.unwrap();
    drop(half_open);
    device.stop().await.unwrap();
}

//= specs/house.md#house-pairing
//= type=test
//# A reset MUST destroy the home's keys and return the device to factory-default.
#[tokio::test(flavor = "multi_thread")]
async fn a_reset_destroys_the_home_and_the_label_works_again() {
    let world = World::new([127, 61, 0, 4]).await;
    let device = world.start();
    let (home, root) = (Ca::home("home"), &world.maker.root);
    pair(device.pairing().await, root, code(), &home, None).await.unwrap();
    let api = device.api().await;
    let (ada, mallory) = (home.person("ada", None), home.person("mallory", None));
    let denied = ask(api, root, Some(&mallory), "POST", "/actions/reset", b"").await.unwrap();
    assert_eq!(denied.0, 403);
    let done = ask(api, root, Some(&ada), "POST", "/actions/reset", b"").await.unwrap();
    assert_eq!(done.0, 204);
    let next_home = Ca::home("next home");
    pair(device.pairing().await, root, code(), &next_home, None).await.unwrap();
    let api = device.api().await;
    let before = ask(api, root, Some(&ada), "GET", "/.well-known/wot", b"").await;
    assert!(before.is_none(), "the former home's certificate opens nothing: {before:?}");
    assert_eq!(json(api, root, &next_home.person("ada", None), "/properties/relay").await, false);
    device.stop().await.unwrap();
    // The button: the same for a device that is not running.
    countersign_device::agent::reset(&world.config.data).unwrap();
    let device = world.start();
    device.pairing().await;
    device.stop().await.unwrap();
}
