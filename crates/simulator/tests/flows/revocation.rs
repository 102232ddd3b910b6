//! authority → ledger → denylist to gateways → open sessions closed, next handshakes refused; and the way back.

use crate::GRANTS;
use countersign_gateway::broker::CloseReason;
use countersign_protocol::enrolment::{Action, Event, Identity};
use countersign_simulator::{Adversary, World};
use std::time::Duration;

#[test]
fn a_revoked_device_is_out_at_once_and_comes_back_by_enrolment_only() {
    let mut world = World::new(71);
    let mut plug = world.living_plug("plug-000001");
    let _other = world.living_plug("plug-000002");
    world.service("backend", GRANTS, &["things/#"]);
    assert_eq!(world.gateway.open_sessions(), 3);

    // 1. Out, and nobody else.
    assert_eq!(world.revoke(&plug), 1);
    let closed = &world.gateway.endpoints["plug-000001"].closed;
    assert!(matches!(closed.last(), Some(CloseReason::Administrative(_))), "{closed:?}");
    // 2. Not in again with the same certificate.
    assert!(world.reconnect(&plug).is_err());
    world.tell(&mut plug, Event::CurrentRefused);
    assert!(!plug.enrolment.usable(world.now()));
    // 3. Nor with a new one, while it is suspended: the factory identity asks in vain.
    let steps = world.enrol(&mut plug, Duration::from_secs(30));
    assert_eq!(steps[0], (Action::MakeKey, Event::KeyMade));
    assert!(
        steps.len() > 2 && steps[1..].iter().all(|step| step.1 == Event::RequestRefused),
        "{steps:?}"
    );
    assert!(steps[1..].iter().all(|step| step.0 == Action::Request { with: Identity::Idevid }));

    // 4. Re-instated, it enrols again and is back; what was revoked stays so.
    let revoked = plug.current.clone();
    world.reinstate(&plug);
    assert!(world.reconnect(&plug).is_err(), "the old certificate stays revoked");
    world.enrol(&mut plug, Duration::from_secs(120));
    assert_eq!(world.gateway.open_sessions(), 3);
    let new = std::mem::replace(&mut plug.current, revoked);
    assert!(world.reconnect(&plug).is_err());
    plug.current = new;
    assert!(world.reconnect(&plug).is_ok());
    assert!(world.run(world.maker.authority.verify_ledger()).is_ok());
    // There is nothing left to do.
    assert!(world.enrol_step(&mut plug, Adversary::honest()).is_err());
}
