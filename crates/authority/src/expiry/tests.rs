//! The judgement, its alarms, and the report of a real authority.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;

use super::*;
use crate::CeremonyPlan;
use crate::enrol::{EnrolNames, EnrolProfile, EnrolRequest};
use crate::testing::{TestClock, open_at, ready, roll_root};

const START: u64 = 1_800_000_000;

fn at(days: u64) -> Timestamp {
    Timestamp::from_secs(START + days * 86_400)
}

fn expiring(what: What, name: &str, from: u64, to: u64) -> Expiring {
    let validity = Validity { not_before: at(from), not_after: at(to) };
    Expiring { what, name: name.to_owned(), validity }
}

#[test]
fn each_kind_is_due_by_its_own_rule() {
    use Standing::{Due, Expired, Good};
    let ninety = |days: u64| DAY * u32::try_from(days).unwrap();
    for (what, life, day, within, expected) in [
        (What::Root, 400, 309, 90, Good),
        (What::Root, 400, 311, 90, Due),
        (What::IssuingCa, 400, 311, 30, Good),
        (What::Policy, 400, 399, 1, Good),
        (What::Policy, 400, 400, 1, Expired),
        // A third of 90 days.
        (What::Operator, 90, 60, 90, Good),
        (What::Operator, 90, 61, 90, Due),
        (What::Operator, 90, 61, 7, Good),
        // A sixth.
        (What::Server, 90, 61, 90, Good),
        (What::Server, 90, 76, 90, Due),
        (What::Service, 90, 75, 90, Good),
        (What::Device, 30, 25, 90, Good),
        (What::Device, 30, 26, 90, Due),
        (What::Device, 30, 30, 0, Expired),
    ] {
        let one = expiring(what, "x", 0, life);
        assert_eq!(one.standing(at(day), ninety(within)), expected, "{what:?} on day {day}");
    }
    let forever = Validity { not_before: at(0), not_after: Validity::FOREVER };
    let forever = Expiring { what: What::Root, name: String::new(), validity: forever };
    assert_eq!(forever.standing(at(100_000), ninety(90)), Good);
}

#[test]
fn devices_are_counted_and_only_the_late_ones_named() {
    let mut all: Vec<_> =
        (0..500).map(|n| expiring(What::Device, &format!("d{n}"), 0, 30)).collect();
    all.extend((0..7).map(|n| expiring(What::Device, &format!("e{n}"), 20, 50)));
    all.push(expiring(What::Root, "root", 0, 4000));
    let report = Report::of(all, at(31), WITHIN);
    assert_eq!(report.devices, Devices { good: 7, due: 0, expired: 500 });
    assert_eq!(report.lines.len(), 1 + MAX_NAMED);
    assert_eq!(report.lines[0].expiring.what, What::Root);
    let text = metrics::render(&report, &metrics::Counts::default());
    assert!(text.contains("countersign_devices{standing=\"expired\"} 500\n"));
    assert!(text.contains("countersign_due{what=\"device\"} 500\n"));
    assert!(text.contains("countersign_due{what=\"root\"} 0\n"));
}

//= specs/house.md#house-expiry
//= type=test
//# An alarm MUST be told when it begins and at most once a day after that.
#[test]
fn an_alarm_is_told_when_it_begins_and_once_a_day() {
    let mut alarms = Alarms::default();
    let policy = || vec![expiring(What::Policy, "version 1", 0, 100)];
    let mut told = |day: u64, hour: u64| {
        let now = at(day).plus(Duration::from_secs(hour * 3600));
        let report = Report::of(policy(), now, DAY * 30);
        alarms.fresh(&report, now).len()
    };
    let times: Vec<usize> =
        [(69, 0), (71, 0), (71, 1), (71, 23), (72, 0), (72, 5), (100, 1), (100, 2)]
            .map(|(day, hour)| told(day, hour))
            .to_vec();
    assert_eq!(times, [0, 1, 0, 0, 1, 0, 1, 0]);
    // What was mended and comes back is told again.
    let fine = Report::of(Vec::new(), at(101), WITHIN);
    assert!(alarms.fresh(&fine, at(101)).is_empty());
    let again = Report::of(policy(), at(101), WITHIN);
    assert_eq!(alarms.fresh(&again, at(101)).len(), 1);
}

//= specs/house.md#house-expiry
//= type=test
//# What the authority depends on and what it issued MUST be reported before it expires.
#[tokio::test]
async fn an_authority_tells_what_it_has() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Arc::new(TestClock::default());
    let authority = open_at(folder.path(), clock.clone()).await;
    let plan = CeremonyPlan::example();
    authority.ceremony(&plan, |_| std::ops::ControlFlow::Continue(())).await.unwrap();
    for (profile, name) in
        [(EnrolProfile::Device, "plug-000001"), (EnrolProfile::Service(Vec::new()), "backend")]
    {
        let names = EnrolNames::One(name.to_owned());
        let out = folder.path().join("out");
        let wanted = EnrolRequest { profile, names, out, force: false };
        authority.enrol(&wanted, |_, _| {}).await.unwrap();
    }
    authority.probe_identity().await.unwrap();
    let report = authority.expiry(WITHIN).await.unwrap();
    let kinds: Vec<_> = report.lines.iter().map(|line| line.expiring.what.as_str()).collect();
    let expected =
        ["root", "issuing-ca", "issuing-ca", "issuing-ca", "policy", "operator", "service"];
    assert_eq!(kinds, expected);
    assert_eq!(report.devices, Devices { good: 1, due: 0, expired: 0 });
    assert_eq!(report.due().count(), 0, "{report:?}");
    // The device's 30 days end first, then the 90 of the others are nearly over.
    clock.forward(DAY * 80);
    let report = authority.expiry(WITHIN).await.unwrap();
    let late: Vec<_> = report
        .due()
        .filter(|line| line.expiring.what != What::Policy)
        .map(|line| (line.expiring.name.as_str(), line.standing))
        .collect();
    assert_eq!(
        late,
        [("admin", Standing::Due), ("backend", Standing::Due), ("plug-000001", Standing::Expired)]
    );
    // A new certificate ends the alarm; a subject that is out needs none.
    let names = EnrolNames::One("backend".to_owned());
    let (profile, out) = (EnrolProfile::Service(Vec::new()), folder.path().join("out"));
    let again = EnrolRequest { profile, names, out, force: true };
    authority.enrol(&again, |_, _| {}).await.unwrap();
    let target = "thing:plug-000001".parse().unwrap();
    authority.revoke(&target, crate::registration::Reason::Suspended).await.unwrap();
    let report = authority.expiry(WITHIN).await.unwrap();
    let late: Vec<_> = report.due().map(|line| line.expiring.name.as_str()).collect();
    assert!(late.contains(&"admin") && !late.contains(&"backend"), "{late:?}");
    assert_eq!(report.devices, Devices::default());
}

#[tokio::test]
async fn a_root_that_was_rolled_is_a_root_still() {
    let folder = tempfile::tempdir().unwrap();
    let authority = ready(folder.path()).await;
    roll_root(&authority).await;
    let report = authority.expiry(WITHIN).await.unwrap();
    let of = |what| report.lines.iter().filter(move |line| line.expiring.what == what);
    let mut roots: Vec<_> = of(What::Root).map(|line| line.expiring.name.as_str()).collect();
    roots.sort_unstable();
    let (first, second) = ("Example Manufacturer Root", "Example Manufacturer Root G2");
    assert_eq!(roots, [first, second, &format!("{second} (cross-certificate)")]);
    // Three from the ceremony, and the factory's that was rolled.
    assert_eq!(of(What::IssuingCa).count(), 4);
    // Metrics tell each once.
    let text = metrics::render(&report, &metrics::Counts::default());
    let series: Vec<_> = text.lines().filter_map(|line| Some(line.rsplit_once(' ')?.0)).collect();
    let once: std::collections::HashSet<_> =
        series.iter().filter(|one| !one.starts_with('#')).collect();
    assert_eq!(once.len(), series.iter().filter(|one| !one.starts_with('#')).count());
}
