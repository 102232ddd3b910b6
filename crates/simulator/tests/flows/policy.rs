//! authority signs n+1 → ledger → compiled, tried in a real handshake, activated; n is kept until n+1 has carried a session.

use countersign_crypto::policy::{self, CompiledPolicy, Policy, Use};
use countersign_model::time::Day;
use countersign_protocol::policy::{OfferRefused, PolicyHead, PolicySlots};
use countersign_simulator::{Plug, World};

/// The device's part: verify, compile, offer, try.
fn update(
    world: &mut World,
    plug: &Plug,
    slots: PolicySlots,
    document: &[u8],
) -> Result<PolicySlots, String> {
    let key = world.maker.authority.policy_verification_key().unwrap();
    let policy = policy::verify(document, &key).map_err(|error| error.to_string())?;
    let compiled = CompiledPolicy::for_provider(policy, Day::of(world.now()))
        .map_err(|errors| format!("{errors:?}"))?;
    let head = PolicyHead::of(&compiled);
    let trial = slots.offer(head, 1, world.now()).map_err(|error| error.to_string())?;
    let tried = world.try_policy(plug, &compiled);
    Ok(trial.tried(tried.is_ok()))
}

fn next_version(change: impl FnOnce(&mut Policy)) -> Policy {
    let mut policy = Policy::built_in();
    policy.version += 1;
    change(&mut policy);
    policy
}

#[test]
fn a_policy_is_tried_before_it_counts_and_kept_when_it_carried_a_session() {
    let mut world = World::new(51);
    let plug = world.living_plug("plug-000001");
    let built_in = PolicyHead::of(&CompiledPolicy::built_in());
    let slots = PolicySlots::Steady { active: built_in };
    let sign = |world: &World, policy: &Policy| {
        world.run(world.maker.authority.sign_policy(policy)).unwrap()
    };

    // 1. One that works.
    let hybrid_only = next_version(|policy| {
        let uplink = policy.uses.get_mut(&Use::DeviceUplink).unwrap();
        uplink.groups.retain(|group| group != "secp256r1");
    });
    let document = sign(&world, &hybrid_only);
    let probation = update(&mut world, &plug, slots, &document).unwrap();
    assert!(matches!(probation, PolicySlots::Probation { previous, .. } if previous == built_in));
    world.reconnect(&plug).unwrap();
    let steady = probation.carried();
    assert_eq!(steady.active().version(), built_in.version() + 1);

    // 2. The same again is no update, and neither is the one before.
    let known = steady.active().version();
    let again = update(&mut world, &plug, steady, &document).unwrap_err();
    assert_eq!(again, OfferRefused::NotNewer { offered: known, known }.to_string());

    // 3. A forger's is none.
    let mut forged = document;
    let last = forged.len() - 1;
    forged[last] ^= 1;
    assert!(update(&mut world, &plug, steady, &forged).is_err());
    assert!(world.run(world.maker.authority.verify_ledger()).is_ok());
}

#[test]
fn a_policy_that_would_strand_the_device_is_left_at_its_trial() {
    let mut world = World::new(52);
    let plug = world.living_plug("plug-000001");
    let active = PolicyHead::of(&CompiledPolicy::built_in());
    // The gateway's certificate is P-256, which this policy does not take.
    let stranding = next_version(|policy| {
        let uplink = policy.uses.get_mut(&Use::DeviceUplink).unwrap();
        uplink.signatures = vec!["ecdsa_secp384r1_sha384".into()];
    });
    let document = world.run(world.maker.authority.sign_policy(&stranding)).unwrap();
    let slots = PolicySlots::Steady { active };
    let after = update(&mut world, &plug, slots, &document).unwrap();
    assert_eq!(after, slots);
    assert!(world.reconnect(&plug).is_ok());
}
