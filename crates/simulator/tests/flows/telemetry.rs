//! device → TLS → bounded request → permit → route.

use crate::GRANTS;
use countersign_protocol::permit::device::Cause;
use countersign_protocol::telemetry::TelemetryError;
use countersign_simulator::World;

#[test]
fn readings_reach_those_who_were_granted_them() {
    let mut world = World::new(21);
    let mut plug = world.living_plug("plug-000001");
    world.service("backend", GRANTS, &["things/+/properties/#"]);
    world.service("lamps", &["subscribe things/lamp-1/#"], &["things/lamp-1/#"]);
    plug.relay = true;
    for name in ["power", "relay"] {
        world.send("plug-000001", plug.reading(name, world.now()).unwrap());
    }
    assert_eq!(
        world.received("backend"),
        [
            ("things/plug-000001/properties/power".to_owned(), "60.0".to_owned()),
            ("things/plug-000001/properties/relay".to_owned(), "true".to_owned()),
        ]
    );
    assert!(world.received("lamps").is_empty());
}

#[test]
fn what_is_for_owners_never_leaves_the_device() {
    let mut world = World::new(22);
    let plug = world.living_plug("plug-000001");
    match plug.reading("access", world.now()) {
        Err(TelemetryError::Refused(refusal)) => {
            assert_eq!(refusal.cause(), Some(Cause::Forbidden))
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_device_speaks_for_itself_only() {
    let mut world = World::new(23);
    let plug = world.living_plug("plug-000001");
    world.service("backend", GRANTS, &["things/#"]);
    let mut forged = plug.reading("power", world.now()).unwrap();
    forged.topic = "things/plug-000002/properties/power".to_owned();
    world.send("plug-000001", forged);
    assert!(world.received("backend").is_empty());
}

#[test]
fn a_lost_connection_loses_no_reading() {
    let mut world = World::new(24);
    let plug = world.living_plug("plug-000001");
    world.service("backend", GRANTS, &["things/+/properties/#"]);
    world.gateway.drop_connection("plug-000001");
    world.send("plug-000001", plug.reading("power", world.now()).unwrap());
    assert!(world.received("backend").is_empty());
    world.reconnect(&plug).unwrap();
    assert_eq!(world.received("backend").len(), 1);
}
