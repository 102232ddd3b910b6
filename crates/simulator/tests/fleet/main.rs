//! A fleet under policies that change, with everything going wrong that can: nobody is locked out, and nobody goes back.
#![allow(clippy::unwrap_used)]

mod handshakes;

use countersign_crypto::policy::MAX_KEY_CHANGES;
use countersign_simulator::Seeded;
use countersign_simulator::fleet::{Crash, Fleet, Kind, Step};
use proptest::prelude::*;

/// Steps that let everybody come to rest once all is well again.
fn settle(fleet: &mut Fleet) {
    fleet.heal();
    fleet.step(Step::Publish { kind: Kind::Broad, days: 36_500, withdraw: true });
    // Every version in between comes in its turn; each is tried, and the last one taken.
    for _ in 0..2 * fleet.press.published.len() + 4 {
        fleet.step(Step::Gate(Crash::Never));
    }
    let idle = |device| Step::Device { device, crash: Crash::Never, gate: Crash::Never };
    for _ in 0..14 {
        for device in 0..fleet.devices.len() {
            fleet.step(idle(device));
        }
        fleet.step(Step::Passes { minutes: 40 });
    }
    fleet.step(Step::Passes { minutes: 2 * 24 * 60 });
    for _ in 0..6 {
        for device in 0..fleet.devices.len() {
            fleet.step(idle(device));
        }
        fleet.step(Step::Passes { minutes: 20 });
    }
}

/// Everybody whose promise held until now has the newest policy, a session, and nothing left to say.
fn all_is_well(fleet: &Fleet) -> usize {
    let newest = fleet.gate.node.slots.active().version();
    let over = |version| {
        let expired = fleet.gate.was_active.get(&version).is_some_and(|at| *at < fleet.now);
        expired || fleet.gate.withdrawn.contains(&version)
    };
    let mut followed = 0;
    for device in &fleet.devices {
        let version = device.node.slots.active().version();
        if version == newest {
            followed += 1;
            assert!(device.session.is_some(), "device {} has no session", device.number);
            assert!(device.outbox.is_empty(), "device {} is not done", device.number);
        } else {
            assert!(over(version), "device {} stayed at {version}, not {newest}", device.number);
        }
    }
    followed
}

//= specs/house.md#house-policy
//= type=test
//# A crash at any point of a change of policy MUST leave a usable policy and MUST NOT lower the version floor.
//= specs/house.md#house-policy
//= type=test
//# A gateway MUST let a device that holds an older, unexpired and not withdrawn policy in to receive
//# the newer one.
//= specs/house.md#house-policy
//= type=test
//# A device that slept through changes of the policy key MUST be able to take the newest policy by the key that it holds.
//= specs/house.md#house-mqtt
//= type=test
//# An acknowledged message for a persistent session MUST survive the death of the gateway.
#[test]
fn a_thousand_devices_through_everything() {
    let mut fleet = Fleet::new(7, 1000);
    let mut random = Seeded::new(8);
    for _ in 0..25_000 {
        fleet.step(Step::draw(&mut random, 1000));
    }
    settle(&mut fleet);
    let followed = all_is_well(&fleet);
    let counts = fleet.counts.clone();
    println!("{counts:?}\nfollowed: {followed}");
    // The run must have been through all of it, or it says nothing.
    assert_eq!(fleet.press.key_changes.len(), MAX_KEY_CHANGES);
    assert!(counts.published > 50 && counts.gateway_activated > 20, "{counts:?}");
    assert!(counts.device_activated > 1000 && counts.update_door > 100, "{counts:?}");
    assert!(
        counts.returned > 0 && counts.trials_failed > 100 && counts.crashes > 500,
        "{counts:?}"
    );
    assert!(counts.refused > 500 && counts.closed_by_policy > 100, "{counts:?}");
    assert!(counts.acknowledged > 500 && followed > 500, "{counts:?}, {followed}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn three_devices_through_anything(steps in prop::collection::vec(Step::any(), 1..120)) {
        let mut fleet = Fleet::new(1, 3);
        for step in steps {
            fleet.step(step);
        }
        settle(&mut fleet);
        all_is_well(&fleet);
    }
}

/// From classical to one hybrid group to another, undisturbed: nobody is ever turned away, and everybody follows.
#[test]
fn an_undisturbed_fleet_follows_from_group_to_group() {
    let mut fleet = Fleet::new(3, 100);
    let turn = |device| Step::Device { device, crash: Crash::Never, gate: Crash::Never };
    let all = |fleet: &mut Fleet| (0..100).for_each(|device| fleet.step(turn(device)));
    for kind in [Kind::Classical, Kind::Hybrid, Kind::OtherHybrid, Kind::Classical, Kind::OneSuite]
    {
        fleet.step(Step::Publish { kind, days: 1000, withdraw: false });
        for _ in 0..2 {
            fleet.step(Step::Gate(Crash::Never));
        }
        for _ in 0..8 {
            (0..100).step_by(3).for_each(|device| fleet.step(Step::Speaks(device)));
            all(&mut fleet);
            fleet.step(Step::Passes { minutes: 16 });
        }
        all(&mut fleet);
        assert_eq!(all_is_well(&fleet), 100, "{kind:?}");
    }
    assert_eq!((fleet.counts.turned_away, fleet.counts.returned), (0, 0));
}
