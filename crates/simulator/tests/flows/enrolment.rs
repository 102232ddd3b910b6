//! IDevID (admitted to enrolment only) → EST → LDevID in slot next → one handshake proves it → activate.

use countersign_crypto::certificate::IdentityKind;
use countersign_protocol::enrolment::{Action, Event, Identity, Phase};
use countersign_simulator::{Adversary, Fault, World};
use std::time::Duration;

#[test]
fn a_paired_device_gets_its_operational_identity() {
    let mut world = World::new(11);
    let mut plug = world.paired_plug("plug-000001");
    let steps = world.enrol(&mut plug, Duration::ZERO);
    assert_eq!(
        steps,
        [
            (Action::MakeKey, Event::KeyMade),
            (Action::Request { with: Identity::Idevid }, Event::CertificateStored),
            (Action::Prove, Event::ProofSucceeded),
            (Action::Swap, Event::SlotsSwapped),
            (Action::Connect, Event::Acknowledged),
        ]
    );
    let chain = plug.current.as_ref().unwrap().chain.as_ref().unwrap();
    let name = chain.leaf().name().unwrap();
    assert_eq!((name.kind(), name.name()), (IdentityKind::Thing, "plug-000001"));
    assert!(plug.next.is_none());
    assert_eq!(world.gateway.open_sessions(), 1);
    assert!(world.run(world.maker.authority.verify_ledger()).is_ok());
}

#[test]
fn the_factory_identity_opens_enrolment_and_nothing_else() {
    let mut world = World::new(12);
    let mut plug = world.living_plug("plug-000001");
    // The session is refused to the factory identity, which the same plug may enrol with at any time.
    let operational = plug.current.take();
    plug.current = Some(plug.factory_slot());
    assert!(world.reconnect(&plug).is_err());
    plug.current = operational;
    assert!(world.reconnect(&plug).is_ok());
}

#[test]
fn a_broken_exchange_is_tried_again_with_the_same_key() {
    let mut world = World::new(13);
    let mut plug = world.paired_plug("plug-000001");
    world.enrol_step(&mut plug, Adversary::honest()).unwrap();
    let key = plug.next.as_ref().unwrap().key.spki_der().to_vec();
    for fault in [
        Adversary::towards_server(Fault::Cut { at: 0 }),
        Adversary::towards_server(Fault::Flip { at: 900 }),
        Adversary::towards_client(Fault::Cut { at: 2500 }),
    ] {
        let step = loop {
            match world.enrol_step(&mut plug, fault.clone()) {
                Ok(step) => break step,
                Err(until) => world.clock.set(until),
            }
        };
        assert_eq!(step, (Action::Request { with: Identity::Idevid }, Event::Unreachable));
        assert_eq!(plug.enrolment.phase(), Phase::Keyed);
    }
    world.enrol(&mut plug, Duration::from_secs(60));
    assert_eq!(plug.current.as_ref().unwrap().key.spki_der(), key);
    assert_eq!(plug.enrolment.phase(), Phase::Settled);
}
