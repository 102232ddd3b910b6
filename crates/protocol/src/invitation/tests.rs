//! Both halves, and everybody who is not invited.

use super::*;
use crate::discovery::ThingKey;
use crate::permit::device::{
    AccessError, AccessList, ConfigurePermit, Permit, Request, Subject, Voucher, judge,
};
use countersign_crypto::pake::{PakeParams, derive};
use countersign_crypto::random::SystemRandom;
use countersign_crypto::secret::Strength;
use countersign_model::id::{PersonName, ThingId};
use countersign_model::label::SetupCode;
use countersign_model::role::Role;
use countersign_model::state::DeviceState;
use countersign_model::thing::{Operation, ThingDescription};
use countersign_model::time::Timestamp;
use proptest::prelude::*;

const PLUG: &[u8] = include_bytes!("../../../model/tests/things/plug.td.json");
const NOW: Timestamp = Timestamp(1_000_000);
const ANCHOR: &[u8] = b"an anchor of sam's";

fn thing() -> ThingId {
    "plug-000001".parse().unwrap()
}

fn code(seed: u8) -> SetupCode {
    SetupCode::from_entropy([seed; 17])
}

fn name(text: &str) -> PersonName {
    text.parse().unwrap()
}

/// Ada's leave to configure.
fn permit() -> ConfigurePermit {
    let description = ThingDescription::parse(PLUG).unwrap();
    let ada = Subject::Person { name: name("ada"), role: Role::Owner, until: NOW };
    let request = Request::new(Operation::InvokeAction, "reset", b"").unwrap();
    match judge(DeviceState::Initialised, &ada, &description, &request, NOW) {
        Ok(Permit::Configure(permit)) => permit,
        other => panic!("{other:?}"),
    }
}

fn offer(seed: u8, person: &str, life: Duration) -> Offer {
    let params = PakeParams::new([2; 16], PakeParams::MIN_MEMORY_KIB, 1, 1).unwrap();
    let record = derive(&code(seed), &thing(), &params).unwrap().record().to_secret();
    Offer { person: name(person), role: Role::Viewer, life, params, record }
}

fn binding(channel: u8) -> Binding {
    Binding {
        exporter: [channel; 32],
        device: thing(),
        device_certificate: [9; 32],
        strength: Strength(128),
    }
}

fn device(channel: u8, now: Timestamp) -> InvitationDevice {
    InvitationDevice::new(binding(channel), [4; 32], ThingKey::from_bytes([5; 32]), now)
}

/// A device with ada, and somebody invited by the code of seed 7 for a minute.
fn inviting() -> (Door, AccessList) {
    let (mut door, access) = (Door::default(), AccessList::first_owner(name("ada")));
    let opened = door.open(&permit(), offer(7, "sam", Duration::from_secs(60)), &access, NOW);
    assert_eq!(opened, Ok(None));
    (door, access)
}

/// What a conversation came to.
#[derive(Debug)]
struct Outcome {
    joiner: Option<Result<(), InvitationFailure>>,
    welcome: Option<Welcome>,
    device: Option<InvitationClose>,
    ended: Vec<Ended>,
    joining: Option<Joining>,
    from_device: Vec<Vec<u8>>,
}

/// A conversation with whatever `between` makes of each message on its way; the second argument says to the device.
fn converse(
    door: &mut Door,
    seed: u8,
    (ours, theirs): (u8, u8),
    now: Timestamp,
    mut between: impl FnMut(Vec<u8>, bool) -> Vec<u8>,
) -> Outcome {
    let mut device = device(theirs, now);
    let (mut joiner, first) = InvitationJoiner::start(code(seed), binding(ours), ANCHOR);
    let mut outcome = Outcome {
        joiner: None,
        welcome: None,
        device: None,
        ended: Vec::new(),
        joining: None,
        from_device: Vec::new(),
    };
    let mut to_device = vec![first.to_vec()];
    for _ in 0..6 {
        let mut to_joiner = Vec::new();
        for bytes in std::mem::take(&mut to_device) {
            let bytes = between(bytes, true);
            let mut outputs = device.receive(&bytes, door, now, &mut SystemRandom);
            while !outputs.is_empty() {
                match outputs.remove(0) {
                    InvitationOutput::Send(bytes) => to_joiner.push(bytes.to_vec()),
                    InvitationOutput::Ended(ended) => outcome.ended.push(ended),
                    InvitationOutput::Store(joining) => {
                        outcome.joining = Some(joining);
                        outputs.extend(device.stored());
                    }
                    InvitationOutput::Close(reason) => outcome.device = Some(reason),
                }
            }
        }
        for bytes in to_joiner {
            outcome.from_device.push(bytes.clone());
            let bytes = between(bytes, false);
            for output in joiner.receive(&bytes, &mut SystemRandom) {
                match output {
                    JoinerOutput::Send(bytes) => to_device.push(bytes.to_vec()),
                    JoinerOutput::Welcome(welcome) => outcome.welcome = Some(welcome),
                    JoinerOutput::Joined => outcome.joiner = Some(Ok(())),
                    JoinerOutput::Failed(failure) => outcome.joiner = Some(Err(failure)),
                }
            }
        }
    }
    outcome
}

fn honest(door: &mut Door, seed: u8, now: Timestamp) -> Outcome {
    converse(door, seed, (1, 1), now, |bytes, _| bytes)
}

//= specs/house.md#house-sharing
//= type=test
//# An invitation MUST work once, within its minutes, for one person and one role.
#[test]
fn the_code_works_once_for_one_person_and_one_role() {
    let (mut door, mut access) = inviting();
    let joined = honest(&mut door, 7, NOW);
    assert_eq!(joined.joiner, Some(Ok(())), "{joined:?}");
    let welcome = joined.welcome.unwrap();
    assert_eq!((welcome.person.as_str(), welcome.role), ("sam", Role::Viewer));
    assert_eq!(welcome.discovery, ThingKey::from_bytes([5; 32]));
    let joining = joined.joining.unwrap();
    assert_eq!(joining.anchor(), ANCHOR);
    access.join(&joining).unwrap();
    assert_eq!(access.role_of(&name("sam")), Some(Role::Viewer));
    assert_eq!(access.join(&joining), Err(AccessError::Taken));
    // Whoever comes later with the same code finds nobody.
    let again = honest(&mut door, 7, NOW);
    assert_eq!(again.joiner, Some(Err(InvitationFailure::Closed)));
    assert!(again.joining.is_none() && again.ended.is_empty());
}

//= specs/house.md#house-sharing
//= type=test
//# A person who joined MUST be recognised by the anchor that they joined with and by no other.
#[test]
fn who_joined_is_known_by_their_own_anchor_only() {
    let (mut door, mut access) = inviting();
    let joining = honest(&mut door, 7, NOW).joining.unwrap();
    access.join(&joining).unwrap();
    let (sam, own) = (name("sam"), Voucher::Own(joining.anchor_sha256()));
    assert_eq!(access.person(&sam, own, NOW).role(NOW), Some(Role::Viewer));
    for (who, voucher) in [
        (&sam, Voucher::Home),
        (&sam, Voucher::Own([0; 32])),
        // Sam's own authority vouches for nobody but sam.
        (&name("ada"), own),
        (&name("eve"), own),
    ] {
        assert_eq!(access.person(who, voucher, NOW), Subject::Anonymous, "{who} {voucher:?}");
    }
    // A written list takes no anchor in, and leaves the one that is there.
    let text = serde_json::to_value(&access).unwrap();
    access.replace(&permit(), serde_json::from_value(text.clone()).unwrap()).unwrap();
    let mut plain = text.clone();
    plain[1].as_object_mut().unwrap().remove("anchor");
    access.replace(&permit(), serde_json::from_value(plain).unwrap()).unwrap();
    assert_eq!(access.voucher_of(&sam), Some(own));
    let mut other = text;
    other[1]["anchor"] = "00".repeat(32).into();
    let other = serde_json::from_value(other).unwrap();
    assert_eq!(access.replace(&permit(), other), Err(AccessError::Anchor));
    // Unshared and given a role again: the old anchor is worth nothing.
    access.unshare(&permit(), &sam).unwrap();
    access.share(&permit(), sam.clone(), Role::Viewer).unwrap();
    assert_eq!(access.person(&sam, own, NOW), Subject::Anonymous);
}

#[test]
fn minutes_end_and_owners_take_back() {
    let (mut door, access) = inviting();
    let until = NOW.plus(Duration::from_secs(60));
    assert_eq!(door.look(&access, until), None);
    let late = until.plus(Duration::from_millis(1));
    assert_eq!(honest(&mut door, 7, late).joiner, Some(Err(InvitationFailure::Closed)));
    assert_eq!(door.look(&access, late).map(|ended| ended.why), Some(Why::Expired));
    assert_eq!(honest(&mut door, 7, NOW).joiner, Some(Err(InvitationFailure::Closed)));

    let (mut door, access) = inviting();
    let before = door.open(&permit(), offer(8, "eve", MIN_LIFE), &access, NOW).unwrap();
    assert_eq!(before.map(|ended| ended.person), Some(name("sam")));
    assert_eq!(honest(&mut door, 7, NOW).joiner, Some(Err(InvitationFailure::WrongCode)));
    assert_eq!(honest(&mut door, 8, NOW).welcome.unwrap().person, name("eve"));

    // Whoever is no owner any more has invited nobody.
    let (mut door, mut access) = inviting();
    access.share(&permit(), name("bob"), Role::Owner).unwrap();
    access.share(&permit(), name("ada"), Role::Member).unwrap();
    assert_eq!(door.look(&access, NOW).map(|ended| ended.why), Some(Why::Withdrawn));
    assert_eq!(honest(&mut door, 7, NOW).joiner, Some(Err(InvitationFailure::Closed)));
}

#[test]
fn nobody_is_invited_under_a_name_that_is_taken_or_for_ever() {
    let (mut door, access) = (Door::default(), AccessList::first_owner(name("ada")));
    let life = Duration::from_secs(60);
    let taken = door.open(&permit(), offer(7, "ada", life), &access, NOW);
    assert_eq!(taken, Err(InviteError::Taken(name("ada"))));
    for life in [Duration::ZERO, MIN_LIFE - Duration::from_secs(1), MAX_LIFE + MIN_LIFE] {
        let refused = door.open(&permit(), offer(7, "sam", life), &access, NOW);
        assert_eq!(refused, Err(InviteError::Life));
    }
    assert!(door.invited().is_none());
}

//= specs/house.md#house-sharing
//= type=test
//# A guess at an invitation MUST be counted before it is answered, and a few MUST end the invitation.
#[test]
fn a_few_guesses_end_it() {
    for guess_and_go in [false, true] {
        let (mut door, _) = inviting();
        for guess in 0..MAX_GUESSES {
            let seed = u8::try_from(guess).unwrap() + 100;
            let wrong = converse(&mut door, seed, (1, 1), NOW, |bytes, to_device| {
                // Whoever only looks at the device's answer never sends a confirmation.
                if guess_and_go && !to_device { Vec::new() } else { bytes }
            });
            assert!(wrong.joining.is_none(), "{wrong:?}");
            if guess_and_go {
                let mut device = device(1, NOW);
                let (mut joiner, first) = InvitationJoiner::start(code(seed), binding(1), ANCHOR);
                let [InvitationOutput::Send(params)] =
                    &device.receive(&first, &mut door, NOW, &mut SystemRandom)[..]
                else {
                    panic!("parameters")
                };
                for output in joiner.receive(params, &mut SystemRandom) {
                    let JoinerOutput::Send(share) = output else { panic!("a share") };
                    device.receive(&share, &mut door, NOW, &mut SystemRandom);
                }
            } else {
                assert_eq!(wrong.joiner, Some(Err(InvitationFailure::WrongCode)));
                // The joiner found it out, so the device heard no more; it counted all the same.
                assert!(wrong.ended.is_empty());
            }
        }
        let right = honest(&mut door, 7, NOW);
        assert_eq!(right.joiner, Some(Err(InvitationFailure::Closed)), "{right:?}");
        assert_eq!(right.ended.first().map(|ended| ended.why), Some(Why::Guessed));
        assert!(door.invited().is_none());
    }
}

#[test]
fn whoever_was_wrong_for_the_last_time_is_told_after_it_is_recorded() {
    let (mut door, _) = inviting();
    for last in (0..MAX_GUESSES).map(|guess| guess + 1 == MAX_GUESSES) {
        let mut device = device(1, NOW);
        let (mut joiner, first) = InvitationJoiner::start(code(7), binding(1), ANCHOR);
        let mut heard = device.receive(&first, &mut door, NOW, &mut SystemRandom);
        for wrong in [false, true] {
            let [InvitationOutput::Send(bytes)] = &heard[..] else { panic!("{heard:?}") };
            let [JoinerOutput::Send(answer)] = &mut joiner.receive(bytes, &mut SystemRandom)[..]
            else {
                panic!("an answer")
            };
            if let Some(byte) = answer.last_mut().filter(|_| wrong) {
                *byte ^= 1;
            }
            heard = device.receive(answer, &mut door, NOW, &mut SystemRandom);
        }
        let closed = InvitationOutput::Close(InvitationClose::WrongCode);
        match &heard[..] {
            [InvitationOutput::Send(_), close] if !last => {
                assert_eq!(format!("{close:?}"), format!("{closed:?}"));
            }
            [InvitationOutput::Ended(ended), InvitationOutput::Send(_), _] if last => {
                assert_eq!(ended.why, Why::Guessed);
            }
            other => panic!("last: {last}, {other:?}"),
        }
    }
}

//= specs/house.md#house-sharing
//= type=test
//# The invitation's code MUST be proven by SPAKE2+ bound to the TLS channel and to the joiner's anchor.
#[test]
fn somebody_in_between_gets_nothing() {
    // Two channels, as a machine in the middle has.
    let (mut door, _) = inviting();
    let between = converse(&mut door, 7, (1, 2), NOW, |bytes, _| bytes);
    assert_eq!(between.joiner, Some(Err(InvitationFailure::WrongCode)));
    assert!(between.joining.is_none() && between.welcome.is_none());

    // Another anchor in place of the joiner's: its hash is in the first message.
    let (mut door, _) = inviting();
    let ours = sha256(ANCHOR);
    let between = converse(&mut door, 7, (1, 1), NOW, |mut bytes, to_device| {
        let at = bytes.windows(32).position(|window| window == ours);
        if let Some(at) = at.filter(|_| to_device) {
            bytes[at..at + 32].copy_from_slice(&sha256(b"an anchor of eve's"));
        }
        bytes
    });
    assert_eq!(between.joiner, Some(Err(InvitationFailure::WrongCode)));
    assert!(between.joining.is_none());

    // In the last message, where the hash tells.
    let (mut door, _) = inviting();
    let between = converse(&mut door, 7, (1, 1), NOW, |bytes, to_device| {
        let text = ANCHOR.to_vec();
        let at = bytes.windows(text.len()).position(|window| window == text);
        match at.filter(|_| to_device) {
            Some(at) => [&bytes[..at], b"an anchor of eve's", &bytes[at + text.len()..]].concat(),
            None => bytes,
        }
    });
    assert_eq!((between.device, between.joining), (Some(InvitationClose::Protocol), None));
}

#[test]
fn a_recorded_conversation_opens_nothing_later() {
    let (mut door, access) = inviting();
    let mut sent = Vec::new();
    converse(&mut door, 7, (1, 1), NOW, |bytes, to_device| {
        if to_device {
            sent.push(bytes.clone());
        }
        bytes
    });
    assert!(sent.len() >= 4);
    // The same code is invited again, by an owner who should not; the recording is played into another channel.
    let offer = offer(7, "sam", Duration::from_secs(60));
    door.open(&permit(), offer, &access, NOW).unwrap();
    let mut device = device(3, NOW);
    let outputs: Vec<_> = sent
        .iter()
        .flat_map(|bytes| device.receive(bytes, &mut door, NOW, &mut SystemRandom))
        .collect();
    assert!(!outputs.iter().any(|output| matches!(output, InvitationOutput::Store(_))));
}

#[test]
fn the_offer_travels_as_one_input() {
    let offered = offer(7, "sam", Duration::from_secs(60));
    assert!(offered.to_input(Strength(112)).is_err(), "a weak channel gets nothing");
    let input = offered.to_input(Strength(128)).unwrap();
    let description = ThingDescription::parse(PLUG).unwrap();
    let schema = description.action("invite").unwrap().input().unwrap();
    assert_eq!(schema.validate(&input), Ok(()));
    let read = Offer::from_input(&input).unwrap();
    assert_eq!((read.person.as_str(), read.role, read.life), ("sam", Role::Viewer, offered.life));
    assert!(read.record.expose(|ours| offered.record.expose(|theirs| ours == theirs)));
    let code = code(7).compact();
    assert!(!input.to_string().contains(code.as_str()));
    for part in ["salt", "verifier", "person", "role", "memory"] {
        let mut bad = input.clone();
        bad[part] = "zz".into();
        let refused = Offer::from_input(&bad).is_err();
        assert!(refused || part == "person", "{part}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn one_changed_byte_anywhere_lets_nobody_in(at in 0..600_usize, bit in 0..8_u8) {
        let (mut door, _) = inviting();
        let (mut passed, mut message, mut changed) = (0, 0, None);
        let outcome = converse(&mut door, 7, (1, 1), NOW, |mut bytes, _| {
            message += 1;
            if let Some(byte) = at.checked_sub(passed).and_then(|at| bytes.get_mut(at)) {
                *byte ^= 1 << bit;
                changed = Some(message);
            }
            passed += bytes.len();
            bytes
        });
        // What proves the code, and the anchor: the run or the hash tells. The sixth message is the welcome and the last the
        // acknowledgement; those only TLS protects, and they change nothing of what is stored.
        if !matches!(changed, None | Some(6 | 8)) {
            prop_assert_eq!(&outcome.joining, &None, "{:?} {:?}", changed, outcome);
        }
        if let Some(joining) = outcome.joining {
            let stored = (joining.person().as_str(), joining.role(), joining.anchor());
            prop_assert_eq!(stored, ("sam", Role::Viewer, ANCHOR));
        }
    }
}
