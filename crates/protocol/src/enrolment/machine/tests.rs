use super::*;
use proptest::prelude::*;
use std::fmt::Write;

const START: Timestamp = Timestamp::from_secs(1_000_000);
const DAY: u64 = 86_400;

fn month(from: Timestamp) -> Validity {
    Validity { not_before: from, not_after: from.plus(Duration::from_secs(30 * DAY)) }
}

//= specs/house.md#house-rotation
//= type=test
//# A new key MUST be proven in a handshake before the old one is destroyed.
#[test]
fn every_transition() {
    let mut table = String::new();
    for phase in Phase::ALL {
        writeln!(table, "{phase:?}").unwrap();
        for event in Event::ALL {
            let after = match step(phase, event) {
                Ok((after, Retire::Nothing)) => format!("{after:?}"),
                Ok((after, retire)) => format!("{after:?}, retire {retire:?}"),
                Err(_) => "ignored".to_owned(),
            };
            writeln!(table, "    {:<18} {after}", format!("{event:?}")).unwrap();
        }
        for (wanted, with) in
            [(false, Identity::Current), (true, Identity::Current), (true, Identity::Idevid)]
        {
            let action = action(phase, wanted, with);
            writeln!(table, "    do, wanted={wanted:<5} {:<8} {action:?}", format!("{with:?}"))
                .unwrap();
        }
    }
    insta::assert_snapshot!(table);
}

/// A first enrolment, then the renewal when it is due, and the instants at which things happened.
#[test]
fn a_life() {
    let mut device = Enrolment::new(Phase::Settled, None, Jitter(0));
    let mut now = START;
    let enrol = |device: &mut Enrolment, now: Timestamp, with: Identity| {
        for (action, event) in [
            (Action::MakeKey, Event::KeyMade),
            (Action::Request { with }, Event::CertificateStored),
            (Action::Prove, Event::ProofSucceeded),
            (Action::Swap, Event::SlotsSwapped),
            (Action::Connect, Event::Acknowledged),
        ] {
            assert_eq!(device.next(now), Next::Do(action));
            let retire = device.report(event, now, Jitter(0)).unwrap();
            if event == Event::SlotsSwapped {
                device.current_is(Some(month(now)), Jitter(0));
            }
            assert_eq!(retire == Retire::Next, event == Event::Acknowledged);
        }
    };
    enrol(&mut device, now, Identity::Idevid);
    let due = now.plus(Duration::from_secs(20 * DAY));
    assert_eq!(device.next(now), Next::Wait(due));
    now = due;
    enrol(&mut device, now, Identity::Current);
    // In a drawer for a year: the certificate has expired, the factory identity has not.
    now = now.plus(Duration::from_secs(365 * DAY));
    assert!(!device.usable(now));
    enrol(&mut device, now, Identity::Idevid);
    // Revoked, then re-instated: the same way.
    device.report(Event::CurrentRefused, now, Jitter(0)).unwrap();
    assert_eq!(device.next(now), Next::Wait(now.plus(FIRST_DELAY)));
    enrol(&mut device, now.plus(FIRST_DELAY), Identity::Idevid);
}

//= specs/en-303-645.md#5.5-8
//= type=test
//# Renewal MUST be possible without a moment at which the device can be lost.
/// A renewal that the authority refuses does not take the present identity out of use; the factory identity asks next time.
#[test]
fn a_refused_renewal_leaves_the_current_identity_alone() {
    let mut device = Enrolment::new(Phase::Keyed, Some(month(START)), Jitter(0));
    let mut now = START.plus(Duration::from_secs(20 * DAY));
    let mut asked = Vec::new();
    for _ in 0..4 {
        let Next::Do(Action::Request { with }) = device.next(now) else { panic!("asks") };
        asked.push(with);
        device.report(Event::RequestRefused, now, Jitter(0)).unwrap();
        assert!(device.usable(now));
        let Next::Wait(until) = device.next(now) else { panic!("waits") };
        now = until;
    }
    use Identity::{Current, Idevid};
    assert_eq!(asked, [Current, Idevid, Current, Idevid]);
    // A gateway that takes the identity back, takes it back.
    device.report(Event::CurrentRefused, now, Jitter(0)).unwrap();
    assert!(!device.usable(now));
    device.report(Event::Acknowledged, now, Jitter(0)).unwrap();
    assert!(device.usable(now));
}

/// The policy retires the algorithm of an identity that is young: it is renewed all the same, by the same steps.
#[test]
fn a_retired_algorithm_renews_early() {
    let mut device = Enrolment::new(Phase::Settled, Some(month(START)), Jitter(0));
    let due = START.plus(Duration::from_secs(DAY));
    device.retires_at(Some(due));
    assert_eq!(device.next(START), Next::Wait(due));
    assert_eq!(device.next(due), Next::Do(Action::MakeKey));
    // Later than its age demands: its age decides.
    device.retires_at(Some(START.plus(Duration::from_secs(25 * DAY))));
    assert_eq!(device.next(due), Next::Wait(START.plus(Duration::from_secs(20 * DAY))));
    device.retires_at(None);
    assert_eq!(device.next(due), Next::Wait(START.plus(Duration::from_secs(20 * DAY))));
    // The next identity starts with a clean slate.
    device.retires_at(Some(due));
    device.current_is(Some(month(due)), Jitter(0));
    assert_eq!(device.next(due), Next::Wait(due.plus(Duration::from_secs(20 * DAY))));
}

/// A key that is not wanted any more is replaced by another, with a pause that grows: no circle without end.
#[test]
fn an_outdated_key_makes_room_for_another() {
    let mut device = Enrolment::new(Phase::Settled, None, Jitter(0));
    let (mut now, mut waits) = (START, Vec::new());
    for _ in 0..4 {
        assert_eq!(device.next(now), Next::Do(Action::MakeKey));
        device.report(Event::KeyMade, now, Jitter(0)).unwrap();
        assert_eq!(device.report(Event::KeyOutdated, now, Jitter(0)), Ok(Retire::Next));
        let Next::Wait(until) = device.next(now) else { panic!("waits") };
        waits.push(until.since(now).as_secs());
        now = until;
    }
    assert_eq!(waits, [1, 2, 4, 8]);
}

#[test]
fn a_gateway_that_hears_late_is_given_a_moment() {
    let mut device = Enrolment::new(Phase::Swapped, Some(month(START)), Jitter(0));
    let mut now = START;
    for _ in 0..REFUSALS {
        assert_eq!(device.next(now), Next::Do(Action::Connect));
        assert_eq!(device.report(Event::CurrentRefused, now, Jitter(0)), Ok(Retire::Nothing));
        let Next::Wait(until) = device.next(now) else { panic!("must wait") };
        now = until;
    }
    // Then it is believed, and the old identity is put back.
    assert_eq!(device.report(Event::CurrentRefused, now, Jitter(0)), Ok(Retire::NewOne));
    assert_eq!(device.phase(), Phase::Settled);
}

#[test]
fn failures_slow_down_and_success_forgives() {
    let mut device = Enrolment::new(Phase::Keyed, None, Jitter(0));
    let (mut now, mut waits) = (START, Vec::new());
    for _ in 0..14 {
        device.report(Event::Unreachable, now, Jitter(0)).unwrap();
        let Next::Wait(until) = device.next(now) else { panic!("must wait") };
        waits.push(until.since(now).as_secs());
        now = until;
        assert!(matches!(device.next(now), Next::Do(Action::Request { .. })));
    }
    assert_eq!(waits, [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 3600, 3600]);
    device.report(Event::CertificateStored, now, Jitter(0)).unwrap();
    assert_eq!(device.next(now), Next::Do(Action::Prove));
    device.report(Event::Unreachable, now, Jitter(u16::MAX)).unwrap();
    assert_eq!(device.next(now), Next::Wait(now.plus(Duration::from_millis(1499))));
}

/// The slots as a shell keeps them, with what the world knows of each identity.
#[derive(Default)]
struct Slots {
    current: Option<u32>,
    next: Option<u32>,
    acknowledged: Vec<u32>,
    made: u32,
}

//= specs/house.md#house-rotation
//= type=test
//# A new key MUST be proven in a handshake before the old one is destroyed.
//= specs/house.md#house-rotation
//= type=test
//# A crash at any point of a rotation MUST leave at least one identity that works.
proptest! {
    /// Whatever happens, in whatever order: an identity that the gateway has acknowledged is destroyed only when a younger
    /// one was acknowledged.
    #[test]
    fn nothing_is_destroyed_before_acknowledgement(events in prop::collection::vec(0..Event::ALL.len(), 0..200)) {
        let mut device = Enrolment::new(Phase::Settled, None, Jitter(0));
        let mut slots = Slots::default();
        for event in events.into_iter().map(|index| Event::ALL[index]) {
            if device.phase() == Phase::Settled && event == Event::Acknowledged && slots.current.is_none() {
                continue;
            }
            let Ok(retire) = device.report(event, START, Jitter(0)) else { continue };
            match event {
                Event::KeyMade => {
                    slots.made += 1;
                    prop_assert!(slots.next.is_none(), "a slot was overwritten");
                    slots.next = Some(slots.made);
                }
                Event::SlotsSwapped => std::mem::swap(&mut slots.current, &mut slots.next),
                Event::Acknowledged => slots.acknowledged.extend(slots.current),
                _ => {}
            }
            match retire {
                Retire::Nothing => {}
                Retire::Next => slots.next = None,
                Retire::NewOne => slots.current = slots.next.take(),
            }
            if let Some(best) = slots.acknowledged.iter().max() {
                let kept = [slots.current, slots.next].iter().flatten().any(|one| one == best);
                prop_assert!(kept, "{event:?} lost identity {best}");
            }
        }
    }
}
