//! key in next → proof of current and next → issued → handshake with next → activate → the old one goes after acknowledgement.

use countersign_authority::IssuingCa;
use countersign_authority::rotation::{Retirement, Rolled};
use countersign_crypto::policy::{CompiledPolicy, Policy, Use};
use countersign_crypto::retirement::Signatures;
use countersign_crypto::signature::SignatureAlgorithm;
use countersign_model::time::Day;
use countersign_protocol::enrolment::{Action, Event, Identity, Phase};
use countersign_simulator::{Adversary, Fault, Plug, World};
use std::ops::ControlFlow;
use std::time::Duration;

const DAY: u64 = 86_400;

fn serial(plug: &Plug) -> String {
    plug.current.as_ref().unwrap().chain.as_ref().unwrap().leaf().serial_hex()
}

#[test]
fn a_certificate_is_renewed_without_a_moment_without_one() {
    let mut world = World::new(61);
    let mut plug = world.living_plug("plug-000001");
    let first = serial(&plug);
    let due = world.enrol_step(&mut plug, Adversary::honest()).unwrap_err();
    let life = plug.current.as_ref().unwrap().chain.as_ref().unwrap().leaf().validity();
    assert!(due > life.not_before && due < life.not_after);
    world.forward(due.since(world.now()));

    let mut steps = Vec::new();
    while let Ok(step) = world.enrol_step(&mut plug, Adversary::honest()) {
        // Until the gateway has acknowledged the new one, the old one is there, in one slot or the other.
        if step.1 != Event::Acknowledged {
            let old = [&plug.current, &plug.next].into_iter().flatten().any(|slot| {
                slot.chain.as_ref().is_some_and(|chain| chain.leaf().serial_hex() == first)
            });
            assert!(old, "{step:?}");
        }
        steps.push(step);
    }
    assert_eq!(steps[1].0, Action::Request { with: Identity::Current });
    assert_eq!(steps.last(), Some(&(Action::Connect, Event::Acknowledged)));
    assert!(plug.next.is_none());
    assert_ne!(serial(&plug), first);
    assert_eq!(world.gateway.open_sessions(), 1);
}

#[test]
fn an_authority_out_of_reach_costs_nothing_but_time() {
    let mut world = World::new(62);
    let mut plug = world.living_plug("plug-000001");
    let first = serial(&plug);
    world.forward(Duration::from_secs(21 * DAY));
    world.enrol_step(&mut plug, Adversary::honest()).unwrap();
    for _ in 0..5 {
        let cut = Adversary::towards_client(Fault::Cut { at: 0 });
        match world.enrol_step(&mut plug, cut) {
            Ok(step) => assert_eq!(step.1, Event::Unreachable),
            Err(until) => world.clock.set(until),
        }
        assert!(plug.enrolment.usable(world.now()));
        assert!(world.reconnect(&plug).is_ok(), "the old identity works all the while");
    }
    world.enrol(&mut plug, Duration::from_secs(120));
    assert_ne!(serial(&plug), first);
    assert_eq!(plug.enrolment.phase(), Phase::Settled);
}

#[test]
fn a_year_in_a_drawer_is_survived() {
    let mut world = World::new(63);
    let mut plug = world.living_plug("plug-000001");
    let first = serial(&plug);
    world.gateway.drop_connection("plug-000001");
    world.forward(Duration::from_secs(365 * DAY));
    assert!(!plug.enrolment.usable(world.now()));
    assert!(world.reconnect(&plug).is_err());
    let steps = world.enrol(&mut plug, Duration::ZERO);
    assert_eq!(steps[1], (Action::Request { with: Identity::Idevid }, Event::CertificateStored));
    assert_ne!(serial(&plug), first);
    assert!(world.reconnect(&plug).is_ok());
}

/// A policy without P-256 but where factory identities are verified, which have it for life.
fn strict() -> Policy {
    let mut policy = Policy::built_in();
    policy.version += 1;
    for use_ in [Use::DeviceUplink, Use::LocalApi, Use::Service] {
        policy.uses.get_mut(&use_).unwrap().signatures.remove(0);
    }
    policy
}

//= specs/house.md#house-rotation
//= type=test
//# An identity whose algorithm the policy retires MUST be renewed before that algorithm ends.
//= specs/house.md#house-rotation
//= type=test
//# When the policy retires a signature algorithm, the issuing authorities MUST be rolled before
//# the identities below them are renewed.
#[test]
fn a_fleet_follows_the_policy_to_another_signature_algorithm() {
    use SignatureAlgorithm::{EcdsaP256Sha256 as P256, EcdsaP384Sha384 as P384};
    let mut world = World::new(64);
    let names = ["plug-000001", "plug-000002", "plug-000003"];
    let mut plugs = names.map(|name| world.living_plug(name));
    let firsts = plugs.each_ref().map(|plug| plug.current.clone());
    let mut policy = strict();
    policy.maker = Some(world.maker_name());
    let strict = CompiledPolicy::for_provider(policy.clone(), Day::of(world.now())).unwrap();
    assert!(world.try_policy(&plugs[0], &strict).is_err(), "nobody has what it wants yet");

    // The authority takes it, rolls its CAs; the devices hear of the last day.
    let clock = world.clock.clone();
    let wait = move |pause| {
        clock.forward(pause);
        std::future::ready(())
    };
    let authority = world.maker.authority.clone();
    let signed = world.run(authority.sign_policy(&policy)).unwrap();
    authority.show_policy(&signed.document).unwrap();
    let followed = world.run(authority.follow_policy(wait)).unwrap();
    assert_eq!((followed.rolled.len(), followed.findings.len()), (2, 0), "{followed:?}");
    let end = world.now().plus(Duration::from_secs(12 * DAY));
    let allowed = Signatures::new([(P256, Some(end)), (P384, None)]);
    let (now, spread) = (world.now(), Duration::from_secs(9 * DAY));
    let mut due = plugs.each_mut().map(|plug| plug.hears_of(&allowed, spread, now).unwrap());
    for (plug, due) in plugs.iter_mut().zip(due) {
        assert!(now <= due && due < end);
        assert_eq!(world.enrol_step(plug, Adversary::honest()), Err(due), "{}", plug.thing);
    }
    due.sort_unstable();
    assert!(due[0] < due[1] && due[1] < due[2], "each at a moment of its own: {due:?}");

    // Each at its day, one after the other; nobody is away for a moment.
    for at in due {
        world.forward(at.since(world.now()));
        for plug in &mut plugs {
            let steps = world.enrol(plug, Duration::ZERO);
            assert!(steps.is_empty() || steps[1].0 == Action::Request { with: Identity::Current });
            assert!(plug.enrolment.usable(world.now()));
        }
        for plug in &plugs {
            world.reconnect(plug).unwrap();
        }
    }
    assert!(world.now() < end);
    for (plug, first) in plugs.iter().zip(&firsts) {
        let leaf = plug.current.as_ref().unwrap().chain.as_ref().unwrap().leaf();
        assert_eq!((leaf.key_algorithm(), leaf.signature_algorithm()), (Some(P384), Some(P384)));
        assert_ne!(
            leaf.serial_hex(),
            first.as_ref().unwrap().chain.as_ref().unwrap().leaf().serial_hex()
        );
        world.try_policy(plug, &strict).unwrap();
    }

    // The old CA goes, and with it what it issued; the fleet does not notice.
    let go_on = |_| ControlFlow::Continue(());
    let replaced = Retirement::Replaced(Duration::ZERO);
    let retired = world.run(authority.retire_ca(IssuingCa::Operation, replaced, go_on)).unwrap();
    assert_eq!(retired, Rolled::Done { labels: vec!["ldevid-ca".to_owned()] });
    let new = std::mem::replace(&mut plugs[0].current, firsts[0].clone());
    assert!(world.reconnect(&plugs[0]).is_err(), "what the old CA issued is refused");
    plugs[0].current = new;
    for plug in &plugs {
        world.reconnect(plug).unwrap();
    }
}
