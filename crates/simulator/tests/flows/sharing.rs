//! owner leaves a verifier → joiner → TLS with the device's certificate → SPAKE2+ bound to that channel and the joiner's
//! anchor → on the access list, once.

use countersign_crypto::secret::Strength;
use countersign_model::label::SetupCode;
use countersign_model::role::Role;
use countersign_model::thing::Operation;
use countersign_protocol::invitation::{InvitationClose, Offer};
use countersign_protocol::permit::device::{Request, Subject};
use countersign_simulator::{Adversary, Fault, Owner, Plug, Seeded, World};
use serde_json::json;
use std::time::Duration;

const LIFE: Duration = Duration::from_secs(600);

fn code(seed: u8) -> SetupCode {
    SetupCode::from_entropy([seed; 17])
}

/// Ada invites somebody as a viewer, as the controller would.
fn invite(world: &mut World, plug: &mut Plug, person: &str, seed: u8) {
    let ada = world.owner.person("ada");
    let owner = world.at_home(plug, Some(&ada)).unwrap();
    let whom = (person.parse().unwrap(), Role::Viewer);
    let random = &mut Seeded::new(u64::from(seed));
    let offer = Offer::new(&code(seed), &plug.thing, whom, LIFE, random).unwrap();
    let input = offer.to_input(Strength(128)).unwrap().to_string();
    let request = Request::new(Operation::InvokeAction, "invite", input.as_bytes()).unwrap();
    assert_eq!(plug.handle(&owner, &request, world.now()).unwrap(), json!({"invited": true}));
}

fn role(plug: &Plug, person: &str) -> Option<Role> {
    plug.access.as_ref().unwrap().role_of(&person.parse().unwrap())
}

fn world(seed: u64) -> (World, Plug, Owner) {
    let mut world = World::new(seed);
    let plug = world.paired_plug("plug-000001");
    let sam = world.another_home("sam");
    (world, plug, sam)
}

#[test]
fn an_invited_person_joins_once_and_a_thief_comes_too_late() {
    let (mut world, mut plug, sam) = world(81);
    // Nobody is invited, so nobody is let in, whatever they know.
    let early = world.join(&mut plug, &sam, code(1), Adversary::honest());
    assert_eq!(early.device, Some(InvitationClose::Closed), "{early:?}");

    invite(&mut world, &mut plug, "sam", 1);
    let joined = world.join(&mut plug, &sam, code(1), Adversary::honest());
    let welcome = joined.joiner.unwrap();
    assert_eq!((welcome.person.as_str(), welcome.role), ("sam", Role::Viewer));
    assert_eq!(role(&plug, "sam"), Some(Role::Viewer));
    for secret in [code(1).compact().as_bytes(), b"sam", sam.anchor().der()] {
        assert!(!joined.recording.shows(secret), "in the clear");
    }
    let thief = world.another_home("eve");
    let late = world.join(&mut plug, &thief, code(1), Adversary::honest());
    assert!(late.joiner.unwrap_err().contains("ask for another one"));
    assert_eq!(plug.access.as_ref().unwrap().persons().count(), 2);
}

#[test]
fn minutes_pass_and_guesses_are_few() {
    let (mut world, mut plug, sam) = world(82);
    invite(&mut world, &mut plug, "sam", 1);
    world.forward(LIFE + Duration::from_millis(1));
    let late = world.join(&mut plug, &sam, code(1), Adversary::honest());
    assert_eq!(late.device, Some(InvitationClose::Closed));

    invite(&mut world, &mut plug, "sam", 2);
    for guess in 10..15 {
        let wrong = world.join(&mut plug, &sam, code(guess), Adversary::honest());
        assert!(wrong.joiner.unwrap_err().contains("not the invitation's"));
    }
    let right = world.join(&mut plug, &sam, code(2), Adversary::honest());
    assert_eq!(right.device, Some(InvitationClose::Closed));
    assert_eq!(role(&plug, "sam"), None);
}

#[test]
fn a_machine_in_the_middle_with_a_certificate_of_the_maker_gets_nothing() {
    let (mut world, mut plug, sam) = world(83);
    let between = world.manufacture("plug-666666");
    invite(&mut world, &mut plug, "sam", 1);
    // The joiner knows the code, and makes the mistake of talking to another device of that maker.
    let result = world.join_through(&mut plug, &sam, code(1), &between);
    assert!(result.joiner.unwrap_err().contains("not the invitation's"));
    assert_eq!((role(&plug, "sam"), plug.access.as_ref().unwrap().persons().count()), (None, 1));
    // It cost one guess; the invitation stands.
    let honest = world.join(&mut plug, &sam, code(1), Adversary::honest());
    assert!(honest.joiner.is_ok());
}

#[test]
fn whatever_happens_on_the_wire_somebody_is_in_or_not() {
    let (mut world, mut plug, sam) = world(84);
    invite(&mut world, &mut plug, "sam", 1);
    let honest = world.join(&mut plug, &sam, code(1), Adversary::honest());
    let (up, down) = honest.recording.lengths();
    let mut broken = 0;
    for (number, part) in (0..12_usize).enumerate() {
        let at = |length: usize| length * part / 12 + 9;
        let fault = match number % 4 {
            0 => Adversary::towards_server(Fault::Flip { at: at(up) }),
            1 => Adversary::towards_client(Fault::Cut { at: at(down) }),
            2 => Adversary::towards_server(Fault::Repeat { at: at(up) }),
            _ => Adversary::towards_client(Fault::Flip { at: at(down) }),
        };
        let (person, seed) = (format!("p{number}"), 100 + u8::try_from(number).unwrap());
        invite(&mut world, &mut plug, &person, seed);
        let shown = format!("{fault:?}");
        let result = world.join(&mut plug, &sam, code(seed), fault);
        match (result.joiner, role(&plug, &person)) {
            (Ok(welcome), Some(Role::Viewer)) => assert_eq!(welcome.person.as_str(), person),
            (Ok(_), found) => panic!("{shown}: acknowledged, but {found:?}"),
            // The acknowledgement was lost: the person is in, and can try.
            (Err(_), Some(found)) => assert_eq!(found, Role::Viewer),
            (Err(_), None) => broken += 1,
        }
    }
    assert!(broken >= 6, "only {broken} conversations were broken");
}

#[test]
fn the_home_s_own_certificates_do_not_pass_for_somebody_who_joined() {
    let (mut world, mut plug, sam) = world(85);
    invite(&mut world, &mut plug, "sam", 1);
    world.join(&mut plug, &sam, code(1), Adversary::honest()).joiner.unwrap();
    // Ada's authority can make a certificate with sam's name; the device asks for sam's own.
    let forged = world.owner.person("sam");
    assert_eq!(world.at_home(&plug, Some(&forged)).unwrap(), Subject::Anonymous);
}
