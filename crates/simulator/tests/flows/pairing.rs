//! factory-default device shows its QR → TLS with IDevID → SPAKE2+ bound to that channel → installed → interface gone.

use countersign_model::label::{Label, SetupCode};
use countersign_model::state::DeviceState;
use countersign_protocol::pairing::CloseReason;
use countersign_simulator::{Adversary, Fault, NETWORK_KEY, World};
use std::time::Duration;

#[test]
fn the_labels_code_pairs_and_a_wrong_one_does_not() {
    let mut world = World::new(1);
    let mut plug = world.manufacture("plug-000001");
    // What the camera reads is what the factory printed.
    let label = Label::parse(&plug.take_label().qr_text()).unwrap();
    let printed = label.code().printed();

    let wrong = world.pair(&mut plug, SetupCode::from_entropy([3; 17]), Adversary::honest());
    assert!(wrong.controller.unwrap_err().contains("not the device's"));
    assert_eq!(plug.attempts.failed(), 1);
    assert!(plug.installed.is_none());

    let (thing, code, root) = label.into_parts();
    assert!(root.matches_sha256(&world.maker.roots()[0].fingerprint()));
    let right = world.pair(&mut plug, code, Adversary::honest());
    let installed = right.controller.unwrap();
    assert_eq!((installed.thing, right.device), (thing, Some(CloseReason::Done)));
    assert_eq!((plug.state, plug.attempts.failed()), (DeviceState::Initialised, 0));
    let stored = plug.installed.as_ref().unwrap();
    assert_eq!(stored.anchor, world.owner.anchor().der());
    assert!(stored.network.as_ref().unwrap().key.expose(|key| key == NETWORK_KEY));

    for secret in [NETWORK_KEY, printed.as_bytes(), b"ada"] {
        assert!(!right.recording.shows(secret) && !wrong.recording.shows(secret));
    }
    // Once it belongs to a home there is nobody to talk to, even for who knows the code.
    let code = SetupCode::parse(&printed).unwrap();
    let again = world.pair(&mut plug, code, Adversary::honest());
    assert_eq!(again.controller.unwrap_err(), "nobody listens");
}

#[test]
fn guesses_run_out() {
    let mut world = World::new(2);
    let mut plug = world.manufacture("plug-000001");
    let mut refused = 0;
    for guess in 0..14 {
        let result =
            world.pair(&mut plug, SetupCode::from_entropy([guess; 17]), Adversary::honest());
        if result.device == Some(CloseReason::Locked) {
            refused += 1;
            world.forward(Duration::from_secs(3600));
        }
    }
    assert!(refused >= 4, "{refused}");
    assert!(plug.attempts.failed() <= 10);
    // Waiting does not help any more; somebody has to come.
    let label = plug.take_label();
    let code = || SetupCode::parse(&label.code().printed()).unwrap();
    while plug.attempts.failed() < 10 {
        world.forward(Duration::from_secs(3600));
        world.pair(&mut plug, SetupCode::from_entropy([77; 17]), Adversary::honest());
    }
    world.forward(Duration::from_secs(365 * 86_400));
    let locked = world.pair(&mut plug, code(), Adversary::honest());
    assert!(locked.controller.unwrap_err().contains("press its button"));
    plug.attempts = plug.attempts.renewed();
    assert!(world.pair(&mut plug, code(), Adversary::honest()).controller.is_ok());
}

#[test]
fn whatever_happens_on_the_wire_it_is_all_or_nothing() {
    let mut world = World::new(3);
    let mut plug = world.manufacture("plug-000001");
    let label = plug.take_label();
    let code = || SetupCode::parse(&label.code().printed()).unwrap();
    // How long an honest conversation is, to know where to strike.
    let mut probe = world.manufacture("plug-000002");
    let probe_code = probe.take_label().into_parts().1;
    let (up, down) = world.pair(&mut probe, probe_code, Adversary::honest()).recording.lengths();

    let mut broken = 0;
    for part in [0, 2, 5, 8] {
        for fault in [
            Adversary::towards_server(Fault::Flip { at: up * part / 10 + 7 }),
            Adversary::towards_client(Fault::Flip { at: down * part / 10 + 7 }),
            Adversary::towards_server(Fault::Cut { at: up * part / 10 }),
            Adversary::towards_client(Fault::Repeat { at: down * part / 10 }),
            Adversary::towards_server(Fault::Swap { at: up * part / 10 + 3 }),
        ] {
            let described = format!("{fault:?}");
            let result = world.pair(&mut plug, code(), fault);
            match (&result.controller, &plug.installed) {
                (Ok(_), Some(_)) => {}
                (Ok(_), None) => panic!("{described}: acknowledged, but nothing is installed"),
                // The acknowledgement was lost: the device belongs to the home, and its owner can ask it.
                (Err(_), Some(_)) => assert_eq!(plug.state, DeviceState::Initialised),
                (Err(_), None) => {
                    assert_eq!(plug.state, DeviceState::Pairing);
                    broken += 1;
                }
            }
            assert!(!result.recording.shows(NETWORK_KEY));
            // A new plug in the same place when this one is taken, and no delays to wait for.
            plug.installed = None;
            plug.state = DeviceState::Pairing;
            plug.attempts = plug.attempts.renewed();
            world.forward(Duration::from_secs(3600));
        }
    }
    assert!(broken >= 12, "only {broken} conversations were broken");
    assert!(world.pair(&mut plug, code(), Adversary::honest()).controller.is_ok());
}
