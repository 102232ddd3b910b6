//! key in next → proof of current and next → issued → handshake with next → activate → the old one goes after acknowledgement.

use countersign_protocol::enrolment::{Action, Event, Identity, Phase};
use countersign_simulator::{Adversary, Fault, Plug, World};
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
