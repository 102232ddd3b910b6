//! service → identity → CommandPermit → device checks session, freshness and its own limits → executes → receipt.

use crate::{GRANTS, receipts};
use countersign_simulator::{Plug, World};
use std::time::Duration;

fn scene(seed: u64) -> (World, Plug) {
    let mut world = World::new(seed);
    let plug = world.living_plug("plug-000001");
    world.service("backend", GRANTS, &["things/+/actions/+/receipt"]);
    (world, plug)
}

#[test]
fn a_command_is_carried_out_and_receipted() {
    let (mut world, mut plug) = scene(31);
    world.publish("backend", "things/plug-000001/actions/setRelay", r#"{"on":true}"#, b"42");
    assert_eq!(world.obey(&mut plug), 1);
    assert!(plug.relay);
    let endpoint = &world.gateway.endpoints["backend"];
    assert_eq!(endpoint.inbox[0].correlation.as_deref(), Some(b"42".as_slice()));
    let receipt = &receipts(&world.received("backend"))[0];
    assert_eq!(receipt["outcome"], "done");
    assert_eq!(receipt["output"]["on"], true);

    world.publish("backend", "things/plug-000001/properties/relay/set", "false", b"");
    world.obey(&mut plug);
    assert!(!plug.relay);
    assert_eq!(receipts(&world.received("backend"))[0]["affordance"], "relay");
}

#[test]
fn what_was_held_back_is_not_carried_out() {
    let (mut world, mut plug) = scene(32);
    let plug_end = |world: &mut World, held| {
        world.gateway.endpoints.get_mut("plug-000001").unwrap().held = held;
    };
    plug_end(&mut world, true);
    world.publish("backend", "things/plug-000001/actions/toggle", "", b"");
    world.clock.forward(Duration::from_secs(31));
    world.gateway.release("plug-000001");
    assert_eq!(world.obey(&mut plug), 1);
    assert!(!plug.relay);
    let receipt = &receipts(&world.received("backend"))[0];
    assert_eq!(receipt["outcome"], "refused");
    assert!(receipt["detail"].as_str().unwrap().contains("not fresh"));
}

#[test]
fn the_same_message_twice_acts_once() {
    let (mut world, mut plug) = scene(33);
    world.publish("backend", "things/plug-000001/actions/toggle", "", b"");
    let command = world.gateway.endpoints["plug-000001"].inbox[0].clone();
    world.obey(&mut plug);
    assert!(plug.relay);
    assert!(plug.commanded(&command, world.now()).is_none());
    // After a restart too: the memory is gone, its floor is not.
    let floor = plug.inbox.floor();
    plug.inbox = countersign_protocol::command::CommandInbox::new(plug.thing.clone(), floor);
    assert!(plug.commanded(&command, world.now()).is_none());
    assert!(plug.relay);
}

#[test]
fn who_may_not_command_does_not() {
    let (mut world, mut plug) = scene(34);
    world.service("reader", &["subscribe things/#"], &["things/+/actions/+/receipt"]);
    world.publish("reader", "things/plug-000001/actions/toggle", "", b"");
    assert_eq!(world.obey(&mut plug), 0, "the gateway did not pass it on");
    assert!(!plug.relay);
    // A service may command; it may not configure, and does not learn whether there is something to configure.
    for action in ["reset", "unheardOf"] {
        world.publish("backend", &format!("things/plug-000001/actions/{action}"), "", b"");
    }
    assert_eq!(world.obey(&mut plug), 2);
    let receipts = receipts(&world.received("backend"));
    assert_eq!(receipts.len(), 2);
    for receipt in &receipts {
        assert_eq!(
            (&receipt["outcome"], &receipt["detail"]),
            (&"refused".into(), &"not permitted".into())
        );
    }
}

#[test]
fn a_message_without_the_gateways_stamp_is_no_command() {
    let (mut world, mut plug) = scene(35);
    world.publish("backend", "things/plug-000001/actions/toggle", "", b"");
    let mut command = world.gateway.endpoints["plug-000001"].inbox[0].clone();
    command.user_properties.clear();
    assert!(plug.commanded(&command, world.now()).is_none());
    assert!(!plug.relay);
}
