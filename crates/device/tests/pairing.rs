//! Pairing over real sockets: the right code, wrong ones, garbage, a lock-out, kills in between.
#![allow(clippy::unwrap_used)]

mod support;

use countersign_crypto::random::SystemRandom;
use countersign_device::data::{DataFolder, Store};
use countersign_model::label::SetupCode;
use countersign_protocol::pairing::{
    Attempts, ControllerOutput, MAX_ATTEMPTS, PairingFailure, Presence, RefusedReason,
};
use std::time::Duration;
use support::client::{ask, begin, json, pair};
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
    device.stop().await.unwrap();
}

//= specs/house.md#house-pairing
//= type=test
//# A connection that is silent MUST NOT keep anybody else from pairing.
#[tokio::test(flavor = "multi_thread")]
async fn silence_holds_no_place() {
    let world = World::new([127, 61, 0, 5]).await;
    let device = world.start();
    let (address, root, home) = (device.pairing().await, &world.maker.root, Ca::home("home"));
    let mut silent = Vec::new();
    for _ in 0..20 {
        silent.push(TcpStream::connect(address).await.unwrap());
    }
    // Some that shook hands and say nothing, and one that asked for the cost and says nothing any more.
    let mut shaken = Vec::new();
    for _ in 0..3 {
        shaken.push(begin(address, root, code(), &home, None).await.0);
    }
    let (mut greeted, _, hello) = begin(address, root, code(), &home, None).await;
    greeted.write_all(&hello).await.unwrap();
    assert!(greeted.read(&mut [0; 256]).await.unwrap() > 0);
    pair(address, root, code(), &home, None).await.unwrap();
    drop((silent, shaken, greeted));
    device.stop().await.unwrap();
}

//= specs/house.md#house-pairing
//= type=test
//# One controller at a time MUST be able to try a setup code, and another one MUST be told so.
#[tokio::test(flavor = "multi_thread")]
async fn the_second_is_told_that_somebody_is_pairing() {
    let world = World::new([127, 61, 0, 6]).await;
    let device = world.start();
    let (address, root, home) = (device.pairing().await, &world.maker.root, Ca::home("home"));
    // The first stops in the middle, the place in his hand.
    let (mut first, mut machine, hello) = begin(address, root, wrong_code(), &home, None).await;
    let mut buffer = [0; 256];
    first.write_all(&hello).await.unwrap();
    let read = first.read(&mut buffer).await.unwrap();
    let outputs = machine.receive(&buffer[..read], &mut SystemRandom);
    let [ControllerOutput::Send(share)] = &outputs[..] else { panic!("{outputs:?}") };
    first.write_all(share).await.unwrap();
    assert!(first.read(&mut buffer).await.unwrap() > 0);
    let told = pair(address, root, code(), &home, None).await;
    assert_eq!(told, Err(PairingFailure::Refused(RefusedReason::Busy)));
    // Silence costs him the place.
    assert_eq!(first.read(&mut buffer).await.unwrap_or(0), 0);
    pair(address, root, code(), &home, None).await.unwrap();
    device.stop().await.unwrap();
}

fn store(world: &World) -> Store {
    DataFolder::open(&world.config.data).unwrap().store().unwrap()
}

//= specs/house.md#house-pairing
//= type=test
//# The count of attempts and the wait between them MUST survive a restart and MUST NOT depend on a date.
#[tokio::test(flavor = "multi_thread")]
async fn guesses_and_waits_survive_kills_and_dates_until_somebody_comes() {
    let world = World::new([127, 61, 0, 7]).await;
    let (home, root) = (Ca::home("home"), &world.maker.root);
    let device = world.start();
    device.pairing().await;
    device.kill().await;
    // Eight wrong codes a moment ago: 64 seconds to wait. And the date jumps ten years ahead.
    let tried = |n| move |all: &Attempts| (0..n).fold(*all, |all, _| all.charged(all.last()));
    store(&world)
        .update(|record| {
            let now = countersign_device::clock::BootClock::read().unwrap().now();
            record.attempts = tried(8)(&Attempts::new(0, now));
            record.time_floor = record.time_floor.plus(Duration::from_secs(10 * 365 * 86_400));
        })
        .unwrap();
    for _ in 0..2 {
        let device = world.start();
        match pair(device.pairing().await, root, code(), &home, None).await {
            Err(PairingFailure::Refused(RefusedReason::Locked { wait: Some(wait) })) => {
                assert!(wait < Duration::from_secs(64));
            }
            other => panic!("{other:?}"),
        }
        device.kill().await;
    }
    store(&world)
        .update(|record| record.attempts = tried(MAX_ATTEMPTS)(&Attempts::default()))
        .unwrap();
    for orderly in [false, true, true] {
        let device = world.start();
        let locked = pair(device.pairing().await, root, code(), &home, None).await;
        let until = RefusedReason::Locked { wait: None };
        assert_eq!(locked, Err(PairingFailure::Refused(until)), "a restart is nobody's presence");
        if orderly { device.stop().await.unwrap() } else { device.kill().await }
    }
    let device = world.start();
    device.pairing().await;
    device.button.press();
    // A press is heard a moment later.
    let give_up = tokio::time::Instant::now() + support::WAIT;
    while let Err(error) = pair(device.pairing().await, root, code(), &home, None).await {
        assert!(tokio::time::Instant::now() < give_up, "{error}");
    }
    device.stop().await.unwrap();
}

//= specs/house.md#house-pairing
//= type=test
//# Pairing MUST be open for a bounded time only, and a crash of the device MUST NOT lengthen it.
#[tokio::test(flavor = "multi_thread")]
async fn the_window_closes_and_a_crash_does_not_open_it() {
    let mut world = World::new([127, 61, 0, 8]).await;
    world.config.pairing.window_secs = Some(5);
    let device = world.start();
    let address = device.pairing().await;
    device.until(|status| status["state"] == "factory-default").await;
    assert!(TcpStream::connect(address).await.is_err(), "the window is over");
    device.kill().await;
    let device = world.start();
    let status = device.until(|status| status["state"].is_string()).await;
    assert_eq!((&status["state"], status["pairing"].is_null()), (&"factory-default".into(), true));
    device.button.press();
    assert_eq!(device.pairing().await, address);
    device.until(|status| status["state"] == "factory-default").await;
    device.stop().await.unwrap();
    // An orderly restart is somebody's doing.
    let device = world.start();
    assert_eq!(device.pairing().await, address);
    device.stop().await.unwrap();
}

//= specs/house.md#house-pairing
//= type=test
//# Where the device asks for physical presence, pairing MUST NOT open without it.
#[tokio::test(flavor = "multi_thread")]
async fn a_device_with_a_button_waits_for_it() {
    let mut world = World::new([127, 61, 0, 9]).await;
    world.config.pairing.presence = Presence::Button;
    let device = world.start();
    let status = device.until(|status| status["state"].is_string()).await;
    assert_eq!((&status["state"], status["pairing"].is_null()), (&"factory-default".into(), true));
    device.button.press();
    let address = device.pairing().await;
    pair(address, &world.maker.root, code(), &Ca::home("home"), None).await.unwrap();
    device.api().await;
    // In a home a press does nothing, and is not kept for later.
    device.button.press();
    device.stop().await.unwrap();
    countersign_device::agent::reset(&world.config.data).unwrap();
    let device = world.start();
    let status = device.until(|status| status["state"].is_string()).await;
    assert!(status["pairing"].is_null(), "{status}");
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
