//! Every state of the slots with every event, as a table.

use super::*;
use std::fmt::Write as _;

fn states(side: Side) -> Vec<(&'static str, PolicySlots)> {
    let steady = steady(side, 3);
    let mut trial = steady.clone();
    offer(&mut trial, plain(4), now()).unwrap();
    let probation_ = probation(side, 3, plain(4));
    let withdrawing = probation(side, 3, prepared(4, |policy| policy.withdraws = vec![3]));
    let short = |policy: &mut Policy| policy.expires = "2026-11-26".parse().unwrap();
    let mut expiring = PolicySlots::new(side, prepared(3, short));
    let digest = offer(&mut expiring, plain(4), now()).unwrap();
    expiring.report(Event::TrialSucceeded(digest), now(), STILL).unwrap();
    let mut again = probation_.clone();
    offer(&mut again, plain(5), now()).unwrap();
    vec![
        ("", steady),
        ("", trial),
        ("", probation_),
        (", 4 withdraws 3", withdrawing),
        (", 3 has expired", expiring),
        (", a newer one came", again),
    ]
}

fn after(slots: &PolicySlots, event: Event, times: u32) -> String {
    let mut slots = slots.clone();
    let later = now().plus(Duration::from_secs(3 * 86_400));
    let mut change = Ok(Change::Nothing);
    for _ in 0..times {
        change = slots.report(event.clone(), later, STILL);
    }
    match change {
        Ok(change) => format!("{:<40} {change:?}", word(&slots)),
        Err(_) => "means nothing".to_owned(),
    }
}

//= specs/house.md#house-policy
//= type=test
//# A policy MUST be refused when its version does not grow.
//= specs/house.md#house-policy
//= type=test
//# A policy MUST be tried in a handshake before it is in force.
//= specs/house.md#house-policy
//= type=test
//# The policy before MUST be kept until the new one has carried an authenticated session.
//= specs/house.md#house-policy
//= type=test
//# A device MUST return to the policy before only while that is unexpired and not withdrawn.
#[test]
fn every_transition() {
    let mut table = String::new();
    for side in [Side::Device, Side::Gateway] {
        for (note, slots) in states(side) {
            writeln!(table, "{side:?} {}{note}", word(&slots)).unwrap();
            for version in [2, 3, 4, 5, 6] {
                let mut offered = slots.clone();
                let result = match offer(&mut offered, plain(version), now()) {
                    Ok(_) => word(&offered),
                    Err(refusal) => format!("{}: {refusal}", refusal.word()),
                };
                writeln!(table, "    offer {version:<22} {result}").unwrap();
            }
            let candidate = slots.candidate().map(|policy| policy.digest());
            let some = candidate.unwrap_or_else(|| plain(9).digest());
            let active = slots.active().digest();
            for (name, event, times) in [
                ("trial succeeded", Event::TrialSucceeded(some), 1),
                ("trial failed", Event::TrialFailed(some, "no common group".into()), 1),
                ("session carried", Event::Carried(active), 1),
                ("carried, late report", Event::Carried(plain(1).digest()), 1),
                ("a session fails", Event::SessionFailed, 1),
                ("five sessions fail", Event::SessionFailed, FAILURES_BEFORE_RETURN),
            ] {
                writeln!(table, "    {name:<28} {}", after(&slots, event, times)).unwrap();
            }
        }
    }
    insta::assert_snapshot!(table);
}

#[test]
fn a_failed_trial_waits_and_is_tried_again_for_as_long_as_the_policy_lives() {
    let mut slots = steady(Side::Device, 1);
    let digest = offer(&mut slots, plain(2), now()).unwrap();
    let (mut at, mut tries) = (now(), 0);
    while tries < 20 {
        match slots.next(at) {
            Next::Try(policy) => {
                assert_eq!(policy.digest(), digest);
                tries += 1;
                slots.report(Event::TrialFailed(digest, "refused".into()), at, STILL).unwrap();
            }
            Next::Wait(until) => {
                let wait = until.since(at);
                assert!(wait >= FIRST_WAIT && wait <= LONGEST_WAIT, "{wait:?}");
                at = until;
            }
            Next::Idle => panic!("given up"),
        }
    }
    let first_day = slots.history().entries().last().unwrap();
    assert_eq!((first_day.word, first_day.times), (Word::TrialFailed, 20));
    assert!(matches!(slots.next(plain(2).expires().plus(LONGEST_WAIT)), Next::Idle));
    // The clock was wrong: nothing is lost.
    assert!(matches!(slots.next(at.plus(LONGEST_WAIT * 2)), Next::Try(_)));
}

#[test]
fn a_newer_policy_takes_the_place_of_one_that_cannot_be_tried() {
    let mut slots = steady(Side::Device, 1);
    let bad = offer(&mut slots, plain(2), now()).unwrap();
    slots.report(Event::TrialFailed(bad, "refused".into()), now(), STILL).unwrap();
    let good = offer(&mut slots, plain(3), now()).unwrap();
    assert!(slots.report(Event::TrialSucceeded(bad), now(), STILL).is_err(), "a late report");
    assert_eq!(slots.report(Event::TrialSucceeded(good), now(), STILL), Ok(Change::Activated));
    assert_eq!(word(&slots), "Probation(3, keeps 1)");
}

#[test]
fn after_a_return_only_the_same_document_may_come_back() {
    let mut slots = probation(Side::Device, 1, plain(2));
    for _ in 0..FAILURES_BEFORE_RETURN {
        slots.report(Event::SessionFailed, now(), STILL).unwrap();
    }
    assert_eq!(word(&slots), "Trial(1, tries 2)");
    assert_eq!(slots.highest(), 2);
    let other = prepared(2, |policy| policy.expires = "2030-01-01".parse().unwrap());
    let refused = offer(&mut slots, other, now()).unwrap_err();
    assert_eq!(refused, Refusal::NotNewer { offered: 2, known: 2 });
    assert_eq!(offer(&mut slots, plain(2), now()).unwrap_err().word(), Word::Busy);
    let digest = plain(2).digest();
    assert_eq!(slots.report(Event::TrialSucceeded(digest), now(), STILL), Ok(Change::Activated));
}

#[test]
fn a_failing_session_brings_the_next_trial_forward() {
    let mut slots = steady(Side::Device, 1);
    let digest = offer(&mut slots, plain(2), now()).unwrap();
    slots.report(Event::TrialFailed(digest, "refused".into()), now(), STILL).unwrap();
    assert!(matches!(slots.next(now()), Next::Wait(_)));
    slots.report(Event::SessionFailed, now(), STILL).unwrap();
    assert!(matches!(slots.next(now()), Next::Try(_)));
}

#[test]
fn items_that_end_change_the_rules_and_come_back_with_the_clock() {
    let dated = prepared(1, |policy| {
        let tls = policy.uses.get_mut(&Use::DeviceUplink).unwrap();
        tls.groups[0].until = Some("2027-01-01".parse().unwrap());
        let only = tls.suites.len() - 1;
        tls.suites.drain(..only);
        tls.suites[0].until = Some("2027-06-01".parse().unwrap());
    });
    let mut slots = PolicySlots::new(Side::Device, dated);
    let count = |slots: &PolicySlots| {
        let rules = slots.active().compiled().rules(Use::DeviceUplink);
        (rules.groups().len(), rules.suites().len())
    };
    let before = count(&slots);
    assert!(!slots.on_day("2026-12-31".parse().unwrap()));
    assert!(slots.on_day("2027-01-02".parse().unwrap()));
    assert_eq!(count(&slots), (before.0 - 1, 1));
    assert!(!slots.on_day("2027-06-02".parse().unwrap()), "a last suite stays");
    assert_eq!(count(&slots), (before.0 - 1, 1));
    assert!(slots.on_day(today()));
    assert_eq!(count(&slots), before);
}
