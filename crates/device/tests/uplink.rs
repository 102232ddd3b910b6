//! Enrolment, telemetry and commands against a scripted platform; revocation; kills in between.
#![allow(clippy::unwrap_used)]

mod support;

use countersign_crypto::certificate::IdentityKind;
use countersign_crypto::tls::{Clock, SystemClock};
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;
use support::client::{json as get, pair};
use support::maker::{Ca, Maker};
use support::platform::{Platform, stamp};
use support::{Running, WAIT, World, code};

struct Connected {
    world: World,
    platform: Platform,
    device: Running,
    home: Ca,
}

impl Connected {
    async fn new(ip: [u8; 4]) -> Self {
        let mut world = World::new(ip).await;
        let maker = Arc::new(std::mem::replace(&mut world.maker, Maker::new()));
        let root = maker.root.clone();
        let platform = Platform::new(maker).await;
        world.maker.root = root;
        world.config.product_listeners = platform.listeners.clone();
        let device = world.start();
        let home = Ca::home("home");
        let address = device.pairing().await;
        let gateway = Some(platform.address.clone());
        pair(address, &world.maker.root, code(), &home, gateway).await.unwrap();
        Self { world, platform, device, home }
    }
}

async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + WAIT;
    while !holds() {
        assert!(tokio::time::Instant::now() < deadline, "{what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_enrols_connects_reports_and_obeys_the_gateway() {
    let Connected { world, platform, device, home } = Connected::new([127, 63, 0, 1]).await;
    let status = device.until(|status| status["uplink"] == "connected").await;
    assert_eq!(status["negotiated"]["version"], "TLS 1.3");
    assert!(status["negotiated"]["group"].as_str().unwrap().contains("MLKEM768"), "{status}");
    let enrolled = platform.seen.enrolled.lock().unwrap().clone();
    assert_eq!(enrolled, [("simpleenroll".to_owned(), IdentityKind::IdevId)]);
    eventually("telemetry", || platform.published("properties/power") == [json!(0.0)]).await;

    let now = SystemClock.now().as_millis();
    platform.command("properties/relay/set", "true", &stamp(1, now));
    let receipts = || platform.published("actions/relay/receipt");
    eventually("a receipt", || receipts().len() == 1).await;
    assert_eq!(receipts()[0]["outcome"], "done");
    eventually("watts", || platform.published("properties/power").len() > 2).await;
    let api = device.api().await;
    let ada = home.person("ada", None);
    assert_eq!(get(api, &world.maker.root, &ada, "/properties/relay").await, true);

    // Not stamped, seen before, for an owner only, stale: nothing of it is done.
    platform.command("actions/toggle", "", &[]);
    platform.command("actions/toggle", "", &stamp(1, now));
    platform.command("actions/resetEnergy", "", &stamp(2, now));
    platform.command("actions/toggle", "", &stamp(3, now - 60_000));
    platform.command("actions/toggle", "", &stamp(4, now + 1));
    let outcomes = |name: &str| -> Vec<_> {
        let receipts = platform.published(&format!("actions/{name}/receipt"));
        receipts.iter().map(|r| (r["command"].clone(), r["outcome"].clone())).collect()
    };
    let id = |id: u8| json!(format!("{id:032x}"));
    eventually("the last receipt", || outcomes("toggle").len() == 2).await;
    assert_eq!(outcomes("resetEnergy"), [(id(2), json!("refused"))]);
    assert_eq!(outcomes("toggle"), [(id(3), json!("refused")), (id(4), json!("done"))]);
    assert_eq!(get(api, &world.maker.root, &ada, "/properties/relay").await, false);
    let correlated =
        platform.seen.published.lock().unwrap().iter().all(|(topic, _, correlation)| {
            topic.ends_with("/receipt") == (correlation.as_deref() == Some(b"question"))
        });
    assert!(correlated, "receipts carry the question's correlation data");

    // A kill, and the gateway delivers the last command again: it is not done again.
    device.kill().await;
    let device = world.start();
    device.until(|status| status["uplink"] == "connected").await;
    platform.command("actions/toggle", "", &stamp(4, now + 1));
    platform.command("actions/toggle", "", &stamp(5, SystemClock.now().as_millis()));
    eventually("the receipt after the restart", || outcomes("toggle").len() == 3).await;
    assert_eq!(outcomes("toggle")[2].0, id(5));
    assert_eq!(platform.seen.enrolled.lock().unwrap().len(), 1, "the identity was kept");
    device.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_certificate_is_replaced_by_proof_of_the_idevid() {
    let Connected { world, platform, device, .. } = Connected::new([127, 63, 0, 2]).await;
    let status = device.until(|status| status["uplink"] == "connected").await;
    let first = status["identity"].as_str().unwrap().to_owned();
    platform.revoke(&first);
    let connected = |status: &serde_json::Value| {
        status["uplink"] == "connected" && status["identity"] != first.as_str()
    };
    let status = device.until(connected).await;
    let second = status["identity"].as_str().unwrap().to_owned();
    let enrolled = platform.seen.enrolled.lock().unwrap().clone();
    assert_eq!(enrolled.len(), 2);
    assert!(enrolled.iter().all(|(_, kind)| *kind == IdentityKind::IdevId));
    assert_eq!(*platform.seen.connected.lock().unwrap(), [first, second]);
    device.stop().await.unwrap();
    let keys = std::fs::read_dir(world.config.data.join("keys")).unwrap().count();
    assert_eq!(keys, 1, "the revoked key is destroyed");
}

//= specs/house.md#house-rotation
//= type=test
//# A crash at any point of a rotation MUST leave at least one identity that works.
#[tokio::test(flavor = "multi_thread")]
async fn enrolment_is_carried_on_from_a_kill_at_any_moment() {
    let Connected { world, platform, mut device, .. } = Connected::new([127, 63, 0, 3]).await;
    // Twelve short lives, each a little longer, so that the kills fall on different steps.
    for life in 1..=12_u64 {
        tokio::time::sleep(Duration::from_millis(life * 12)).await;
        device.kill().await;
        device = world.start();
    }
    device.until(|status| status["uplink"] == "connected").await;
    device.stop().await.unwrap();
    let connected = platform.seen.connected.lock().unwrap().len();
    assert!(connected >= 1);
    let keys = std::fs::read_dir(world.config.data.join("keys")).unwrap().count();
    assert_eq!(keys, 1, "no key was left behind");
}
