//! authority signs n+1 → ledger → compiled, tried in a real handshake, activated; n is kept until n+1 has carried a session.

use countersign_crypto::policy::{Policy, PolicyDigest, Use};
use countersign_model::time::Day;
use countersign_protocol::policy::{
    Change, Event, Next, Phase, PolicyFloor, PolicySlots, PolicyTrust, PreparedPolicy, Refusal,
    Side, Source,
};
use countersign_protocol::rotation::Jitter;
use countersign_simulator::{Plug, World};
use std::time::Duration;

fn slots(world: &World) -> PolicySlots {
    PolicySlots::new(Side::Device, PreparedPolicy::built_in(Day::of(world.now())))
}

/// The device's part: verify, compile, offer.
fn offer(world: &World, slots: &mut PolicySlots, document: &[u8]) -> Result<(), Refusal> {
    let key = world.maker.authority.policy_verification_key().unwrap();
    let maker = world.maker_name();
    let prepared =
        PreparedPolicy::prepare(document, &PolicyTrust::new(&key, &maker), Day::of(world.now()));
    let source = Source::Peer("gateway.example");
    slots.offer(prepared, &PolicyFloor::of_build(), source, world.now(), Duration::ZERO)
}

/// The trial that is due, in a real handshake.
fn trial(world: &mut World, plug: &Plug, slots: &mut PolicySlots) -> Change {
    let Next::Try(policy) = slots.next(world.now()) else { panic!("no trial is due") };
    let event = match world.try_policy(plug, policy.compiled()) {
        Ok(()) => Event::TrialSucceeded(policy.digest()),
        Err(why) => Event::TrialFailed(policy.digest(), why),
    };
    slots.report(event, world.now(), Jitter(0)).unwrap()
}

fn carried(world: &World, slots: &mut PolicySlots, digest: PolicyDigest) -> Change {
    slots.report(Event::Carried(digest), world.now(), Jitter(0)).unwrap()
}

fn next_version(world: &World, change: impl FnOnce(&mut Policy)) -> Policy {
    let mut policy = Policy::built_in();
    policy.version += 1;
    policy.maker = Some(world.maker_name());
    change(&mut policy);
    policy
}

#[test]
fn a_policy_is_tried_before_it_counts_and_kept_when_it_carried_a_session() {
    let mut world = World::new(51);
    let plug = world.living_plug("plug-000001");
    let mut slots = slots(&world);

    // 1. One that works.
    let hybrid_only = next_version(&world, |policy| {
        let uplink = policy.uses.get_mut(&Use::DeviceUplink).unwrap();
        uplink.groups.retain(|group| group.name != "secp256r1");
    });
    let document = world.run(world.maker.authority.sign_policy(&hybrid_only)).unwrap().document;
    offer(&world, &mut slots, &document).unwrap();
    assert_eq!(trial(&mut world, &plug, &mut slots), Change::Activated);
    assert_eq!(slots.previous().unwrap().version(), 1);
    world.reconnect(&plug).unwrap();
    let digest = slots.active().digest();
    assert_eq!(carried(&world, &mut slots, digest), Change::Proven);
    assert_eq!((slots.phase(), slots.active().version()), (Phase::Steady, 2));

    // 2. The same again is no update.
    let again = offer(&world, &mut slots, &document).unwrap_err();
    assert_eq!(again, Refusal::NotNewer { offered: 2, known: 2 });

    // 3. A forger's is none.
    let mut forged = document;
    let last = forged.len() - 1;
    forged[last] ^= 1;
    assert!(matches!(offer(&world, &mut slots, &forged), Err(Refusal::Signature(_))));
    assert!(world.run(world.maker.authority.verify_ledger()).is_ok());
}

#[test]
fn a_policy_that_would_strand_the_device_is_left_at_its_trial() {
    let mut world = World::new(52);
    let plug = world.living_plug("plug-000001");
    let mut slots = slots(&world);
    // The gateway's certificate is P-256, which this policy does not take.
    let stranding = next_version(&world, |policy| {
        let uplink = policy.uses.get_mut(&Use::DeviceUplink).unwrap();
        uplink.signatures = vec!["ecdsa_secp384r1_sha384".into()];
    });
    let document = world.run(world.maker.authority.sign_policy(&stranding)).unwrap().document;
    offer(&world, &mut slots, &document).unwrap();
    assert_eq!(trial(&mut world, &plug, &mut slots), Change::Nothing);
    assert_eq!((slots.phase(), slots.active().version()), (Phase::Trial, 1));
    assert!(matches!(slots.next(world.now()), Next::Wait(_)), "not at once again");
    assert!(world.reconnect(&plug).is_ok());
}
