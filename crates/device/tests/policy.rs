//! Crypto policies from a scripted gateway: taken, tried, kept over a kill, and refused with the reason.
#![allow(clippy::unwrap_used)]

mod support;

use countersign_crypto::policy::{Policy, Use, sign};
use countersign_crypto::seal::SealKey;
use countersign_crypto::signature::{KeyHandle, SignatureAlgorithm};
use countersign_device::clock::DeviceClock;
use countersign_device::data::{DataFolder, Factory};
use countersign_device::policy::Policies;
use countersign_model::time::{Day, Timestamp};
use serde_json::Value;
use std::sync::Arc;
use support::client::{json as get, pair};
use support::maker::{Ca, Maker};
use support::platform::Platform;
use support::{MAKER, Running, World, code};

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
        device.until(|status| status["uplink"] == "connected").await;
        Self { world, platform, device, home }
    }

    fn signed(&self, policy: &Policy) -> Vec<u8> {
        sign(policy, &self.world.policy_key).unwrap()
    }

    /// Waits until the device says this of its policy, connected.
    async fn says(&self, what: impl Fn(&Value) -> bool) -> Value {
        let wanted = |status: &Value| status["uplink"] == "connected" && what(&status["policy"]);
        self.device.until(wanted).await
    }
}

/// A policy whose uplink has these groups.
fn policy(version: u64, groups: &[&str]) -> Policy {
    let mut policy = Policy::built_in();
    (policy.version, policy.maker) = (version, Some(MAKER.to_owned()));
    for tls in policy.uses.values_mut() {
        tls.groups.retain(|item| groups.contains(&item.name.as_str()));
        assert_eq!(tls.groups.len(), groups.len());
    }
    policy
}

const CLASSICAL: &[&str] = &["secp256r1"];
const HYBRID: &[&str] = &["SecP256r1MLKEM768", "X25519MLKEM768"];

//= specs/house.md#house-policy
//= type=test
//# A policy MUST be tried in a handshake before it is in force.
#[tokio::test(flavor = "multi_thread")]
async fn a_policy_is_tried_put_in_force_everywhere_and_kept() {
    let world = Connected::new([127, 66, 0, 1]).await;
    let before = world.says(|policy| policy["version"] == 1).await;
    assert!(before["negotiated"]["group"].as_str().unwrap().contains("MLKEM"), "{before}");
    world.platform.policy(&world.signed(&policy(2, CLASSICAL)));
    let steady =
        |policy: &Value, version: u64| policy["version"] == version && policy["phase"] == "steady";
    let status = world.says(|policy| steady(policy, 2)).await;
    assert_eq!(status["negotiated"]["group"], "secp256r1");
    // The local API follows, with no restart: our client offers both kinds, and the device takes the one that it may.
    let ada = world.home.person("ada", None);
    let relay = get(world.device.api().await, &world.world.maker.root, &ada, "/properties/relay");
    assert_eq!(relay.await, false);
    // What the gateway is told.
    let reports = world.platform.published("policy/state");
    assert_eq!(reports.last().unwrap()["version"], 2, "{reports:?}");

    // The plug is pulled at once after the next one came.
    world.platform.policy(&world.signed(&policy(3, HYBRID)));
    world
        .device
        .until(|status| status["policy"]["phase"] != "steady" || status["policy"]["version"] == 3)
        .await;
    let Connected { world: made, platform, device, home } = world;
    device.kill().await;
    let device = made.start();
    let world = Connected { world: made, platform, device, home };
    let status = world.says(|policy| steady(policy, 3)).await;
    assert!(status["negotiated"]["group"].as_str().unwrap().contains("MLKEM"), "{status}");
}

//= specs/house.md#house-policy
//= type=test
//# A refused policy MUST be recorded with its reason.
//= specs/house.md#house-policy
//= type=test
//# A policy MUST be refused when its version does not grow.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_says_why() {
    let world = Connected::new([127, 66, 0, 2]).await;
    let second = world.signed(&policy(2, HYBRID));
    world.platform.policy(&second);
    world.says(|policy| policy["version"] == 2 && policy["phase"] == "steady").await;

    let stranger = KeyHandle::ephemeral(SignatureAlgorithm::EcdsaP256Sha256).unwrap();
    let mut flipped = world.signed(&policy(3, HYBRID));
    let middle = flipped.len() / 2;
    flipped[middle] ^= 1;
    let mut others = policy(3, HYBRID);
    others.maker = Some("Somebody else".into());
    let mut over = policy(3, HYBRID);
    over.expires = Day::new(2026, 1, 1).unwrap();
    let mut unknown = policy(3, HYBRID);
    unknown.uses.get_mut(&Use::DeviceUplink).unwrap().groups[0].name =
        "X25519Kyber768Draft00".into();
    let whole = world.signed(&policy(3, HYBRID));
    for (document, word) in [
        (second.clone(), "not-newer"),
        (world.signed(&policy(1, HYBRID)), "not-newer"),
        (world.signed(&policy(2, HYBRID)), "not-newer"),
        (world.signed(&policy(2, CLASSICAL)), "not-newer"),
        (sign(&policy(3, HYBRID), &stranger).unwrap(), "signature"),
        (whole[..whole.len() - 7].to_vec(), "signature"),
        (flipped, "signature"),
        (b"no policy at all".to_vec(), "signature"),
        (world.signed(&others), "maker"),
        (world.signed(&over), "expired"),
        (world.signed(&unknown), "provider"),
    ] {
        world.platform.policy(&document);
        let status = world.says(|policy| {
            policy["refused"]["reason"].as_str().is_some_and(|reason| reason.starts_with(word))
        });
        let status = status.await;
        assert_eq!(
            (&status["policy"]["version"], &status["policy"]["phase"]),
            (&2.into(), &"steady".into())
        );
    }
    let reports = world.platform.published("policy/state");
    assert!(
        reports
            .iter()
            .any(|r| r["refused"]["reason"].as_str().is_some_and(|r| r.starts_with("provider")))
    );
    // None of it was in the way of a good one.
    world.platform.policy(&world.signed(&policy(4, HYBRID)));
    world.says(|policy| policy["version"] == 4 && policy["phase"] == "steady").await;
}

/// A policy under which there is no handshake with this gateway is tried, and not taken.
#[tokio::test(flavor = "multi_thread")]
async fn a_policy_that_leads_to_no_handshake_is_left() {
    let world = Connected::new([127, 66, 0, 3]).await;
    // The scripted gateway does not know this group.
    let mut strange = policy(2, HYBRID);
    strange.uses.get_mut(&Use::DeviceUplink).unwrap().groups.truncate(1);
    strange.uses.get_mut(&Use::DeviceUplink).unwrap().groups[0].name = "MLKEM1024".into();
    world.platform.policy(&world.signed(&strange));
    let status = world.says(|policy| {
        policy["refused"]["reason"]
            .as_str()
            .is_some_and(|reason| reason.starts_with("trial-failed"))
    });
    let status = status.await;
    assert_eq!(
        (&status["policy"]["version"], &status["policy"]["phase"]),
        (&1.into(), &"trial".into())
    );
    // A newer one takes its place.
    world.platform.policy(&world.signed(&policy(3, HYBRID)));
    world.says(|policy| policy["version"] == 3 && policy["phase"] == "steady").await;
}

#[tokio::test]
async fn what_ends_with_a_day_is_not_offered_on_the_next_one() {
    let world = World::new([127, 66, 0, 9]).await;
    let folder = DataFolder::open(&world.config.data).unwrap();
    let seal = SealKey::load(&folder.seal_key()).unwrap();
    let factory = Factory::load(&folder.factory(), &seal).unwrap();
    let store = Arc::new(folder.store().unwrap());
    let clock = Arc::new(DeviceClock::new(Timestamp(0)));
    let policies = Policies::open(store, &factory, clock.clone()).unwrap();
    let (mut compiled, mut in_force) = (policies.compiled(), policies.follow());
    let mut news = policies.news();
    let groups = || policies.current().compiled().rules(Use::LocalApi).groups().to_vec();
    let before = groups();
    // The build's policy: its last classical group is offered to the end of a day, and no longer.
    let tls = &Policy::built_in().uses[&Use::LocalApi];
    let last = tls.groups.iter().find_map(|item| item.until).unwrap();
    clock.raise(last.end());
    policies.on_day();
    assert_eq!(groups(), before);
    assert!(!compiled.has_changed().unwrap() && !news.has_changed().unwrap());
    clock.raise(last.next().end());
    policies.on_day();
    assert_eq!(groups().len(), before.len() - 1);
    // Uplink, pairing, local API and the identity's keeper hear of it.
    assert!(compiled.has_changed().unwrap() && in_force.has_changed().unwrap());
    assert!(news.has_changed().unwrap());
    compiled.mark_unchanged();
    in_force.mark_unchanged();
    news.mark_unchanged();
    policies.on_day();
    assert!(!compiled.has_changed().unwrap() && !in_force.has_changed().unwrap());
    assert!(!news.has_changed().unwrap(), "a day is over once");
}
