//! A crash at every point, and what a damaged disk may and may not cost.

use super::*;
use std::collections::BTreeMap;

/// The shell's disk: the slots as text, the documents beside.
#[derive(Clone, Default)]
struct Disk {
    slots: String,
    documents: BTreeMap<String, Vec<u8>>,
}

impl Disk {
    fn write(&mut self, slots: &PolicySlots) {
        self.slots = serde_json::to_string(&slots.stored()).unwrap();
    }

    fn stored(&self) -> StoredSlots {
        serde_json::from_str(&self.slots).unwrap()
    }

    fn resume(&self, side: Side) -> Result<PolicySlots, ResumeError> {
        let find = |policy: &StoredPolicy| {
            let document = self.documents.get(&policy.digest.to_string())?;
            PreparedPolicy::restore(document, &trust(), today()).ok()
        };
        PolicySlots::resume(side, self.stored(), find, PreparedPolicy::built_in(today()), now())
    }

    fn with(versions: impl IntoIterator<Item = u64>) -> Self {
        let documents = versions
            .into_iter()
            .map(|version| (plain(version).digest().to_string(), document(version, |_| {})));
        Self { slots: String::new(), documents: documents.collect() }
    }
}

/// Each point in the life of one change: what the shell has just stored.
fn life(side: Side) -> Vec<PolicySlots> {
    let mut slots = steady(side, 3);
    let mut points = vec![slots.clone()];
    let digest = offer(&mut slots, plain(4), now()).unwrap();
    points.push(slots.clone());
    slots.report(Event::TrialFailed(digest, "refused".into()), now(), STILL).unwrap();
    points.push(slots.clone());
    slots.report(Event::TrialSucceeded(digest), now(), STILL).unwrap();
    points.push(slots.clone());
    if side == Side::Device {
        let mut failing = slots.clone();
        for _ in 0..FAILURES_BEFORE_RETURN {
            failing.report(Event::SessionFailed, now(), STILL).unwrap();
            points.push(failing.clone());
        }
    }
    let mut newer = slots.clone();
    offer(&mut newer, plain(5), now()).unwrap();
    points.push(newer);
    slots.report(Event::Carried(digest), now(), STILL).unwrap();
    points.push(slots);
    points
}

//= specs/house.md#house-policy
//= type=test
//# A crash at any point of a change of policy MUST leave a usable policy and MUST NOT lower the version floor.
#[test]
fn every_point_goes_on_where_it_stood() {
    for side in [Side::Device, Side::Gateway] {
        for slots in life(side) {
            let mut disk = Disk::with(3..=5);
            disk.write(&slots);
            let resumed = disk.resume(side).unwrap();
            assert_eq!(resumed.stored(), slots.stored());
            assert_eq!(word(&resumed), word(&slots));
            let mut again = resumed;
            for old in 1..=3 {
                assert!(offer(&mut again, plain(old), now()).is_err(), "{old}");
            }
        }
    }
}

//= specs/house.md#house-policy
//= type=test
//# A crash at any point of a change of policy MUST leave a usable policy and MUST NOT lower the version floor.
#[test]
fn a_lost_document_never_opens_the_way_back() {
    for side in [Side::Device, Side::Gateway] {
        for slots in life(side) {
            let held: Vec<_> = slots.stored().documents().map(|policy| policy.version).collect();
            for lost in held {
                let mut disk = Disk::with((3..=5).filter(|version| *version != lost));
                disk.write(&slots);
                let was_active = slots.active().version() == lost;
                match disk.resume(side) {
                    Err(ResumeError(policy)) => {
                        assert!(was_active && policy.version == lost, "{}", word(&slots));
                        assert!(slots.candidate().is_none() && slots.previous().is_none());
                    }
                    Ok(resumed) => {
                        assert_eq!(resumed.highest(), slots.highest());
                        let least = slots.previous().unwrap_or(slots.active()).version();
                        assert!(resumed.active().version() >= least);
                        let entries = resumed.history().entries();
                        assert!(entries.iter().any(|entry| entry.word == Word::Lost));
                    }
                }
            }
        }
    }
}

#[test]
fn a_lost_candidate_may_come_again() {
    let mut slots = steady(Side::Device, 3);
    offer(&mut slots, plain(4), now()).unwrap();
    let mut disk = Disk::with([3]);
    disk.write(&slots);
    let mut resumed = disk.resume(Side::Device).unwrap();
    assert_eq!((word(&resumed).as_str(), resumed.highest()), ("Steady(3)", 4));
    let other = prepared(4, |policy| policy.expires = "2030-01-01".parse().unwrap());
    assert!(offer(&mut resumed, other, now()).is_err());
    assert!(offer(&mut resumed, plain(4), now()).is_ok());
}

#[test]
fn what_was_stored_under_another_digest_is_not_believed() {
    let mut disk = Disk::with([3]);
    disk.write(&steady(Side::Device, 3));
    let swapped = document(3, |policy| policy.expires = "2030-01-01".parse().unwrap());
    disk.documents.values_mut().for_each(|document| document.clone_from(&swapped));
    assert!(disk.resume(Side::Device).is_err());
}

#[test]
fn a_newer_build_offers_its_own_policy_and_an_older_one_does_not() {
    let built_in = PreparedPolicy::built_in(today());
    let mut slots = PolicySlots::new(Side::Device, built_in.clone());
    let stored = slots.stored();
    let resumed =
        PolicySlots::resume(Side::Device, stored, |_| None, built_in.clone(), now()).unwrap();
    assert_eq!(word(&resumed), "Steady(1)");
    // The build's own policy has no document, and is as old as the slots' first.
    let digest = offer(&mut slots, plain(4), now()).unwrap();
    slots.report(Event::TrialSucceeded(digest), now(), STILL).unwrap();
    slots.report(Event::Carried(digest), now(), STILL).unwrap();
    let mut disk = Disk::with([4]);
    disk.write(&slots);
    assert_eq!(word(&disk.resume(Side::Device).unwrap()), "Steady(4)");
    let newer = plain(7);
    let find = |_: &StoredPolicy| Some(plain(4));
    let upgraded = PolicySlots::resume(Side::Device, slots.stored(), find, newer, now()).unwrap();
    assert_eq!(word(&upgraded), "Trial(4, tries 7)");
}
