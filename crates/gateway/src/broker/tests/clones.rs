//! One identity in two places: honest lives never raise it, two who want in always do.

use super::kit::{Dial, World, backend, device, facts, kept, v5, v311};
use crate::broker::{CloseReason, ConnId};
use crate::clones::{APART, BESIDE, OVERLAPS, WINDOW};
use crate::directory::PeerFacts;
use mqtt_protocol_core::mqtt::packet::v5_0;
use proptest::prelude::*;
use std::net::IpAddr;

const HERE: &str = "192.0.2.1";
const THERE: &str = "198.51.100.7";

fn at(address: &str) -> IpAddr {
    address.parse().unwrap()
}

fn plug(world: &mut World, address: &str, dial: Dial) -> ConnId {
    plug_showing(world, address, dial, facts(&device("plug-1")))
}

fn plug_showing(world: &mut World, address: &str, dial: Dial, peer: PeerFacts) -> ConnId {
    world.dial_from(at(address), &device("plug-1"), peer, dial)
}

fn displaced(world: &World, conn: ConnId) -> bool {
    world.closed.get(&conn) == Some(&CloseReason::Displaced)
}

fn ping(world: &mut World, conn: ConnId) {
    world.client(conn).send(v5_0::Pingreq::new().into());
    world.settle();
}

/// Two who want the same session, each coming back a pause after it was displaced. The clone that was raised, and after how
/// many connections.
fn fight(world: &mut World, pauses: &[u64], both_answer: bool) -> Option<usize> {
    let patient = Dial { keep_alive: 1_200, ..v5("plug-1") };
    let mut last = plug(world, HERE, patient.clone());
    for (turn, pause) in pauses.iter().enumerate() {
        world.pass(*pause);
        ping(world, last);
        let from_there = turn % 2 == 0;
        let next = plug(world, if from_there { THERE } else { HERE }, patient.clone());
        // The honest one is displaced whenever the other one comes, and takes it.
        match from_there || both_answer {
            true => world.answer(last),
            false => world.cut(last),
        }
        if !world.clones.is_empty() {
            return Some(turn + 1);
        }
        last = next;
    }
    None
}

//= specs/house.md#house-clones
//= type=test
//# A device's identity that is used from two places at once MUST raise an alarm.
#[test]
fn two_who_want_the_same_session_are_found_out_by_the_sixth_change_of_hands() {
    let mut world = World::new();
    assert_eq!(fight(&mut world, &[2_000; 20], true), Some(OVERLAPS));
    let seen = world.clones[0].clone();
    assert_eq!(seen.places(), "192.0.2.1 and 198.51.100.7");
    assert_eq!((seen.thing.as_str(), seen.shown()), ("plug-1", "one certificate"));
    let began = 1_795_000_000_000;
    // It was opened one change of hands before, and heard as its answer came.
    assert_eq!(seen.older.since.0, began + 2_000 * (OVERLAPS as u64 - 1));
    assert_eq!(seen.older.heard.0, began + 2_000 * OVERLAPS as u64);
    assert_eq!(seen.newer.since.0, began + 2_000 * OVERLAPS as u64);
    // One who hides that they live does not hide the other one.
    assert_eq!(fight(&mut World::new(), &[2_000; 20], false), Some(2 * OVERLAPS - 1));
}

#[test]
fn a_quick_change_of_hands_is_listened_to_once_and_told_once_an_hour() {
    let mut world = World::new();
    // Twenty changes in a second are one overlap.
    assert_eq!(fight(&mut world, &[APART / 20; 20], true), None);
    // What goes on for four hours is told four times.
    let mut world = World::new();
    let mut last = plug(&mut world, HERE, v5("plug-1"));
    for turn in 0..4 * 60 {
        world.pass(60_000);
        let next = plug(&mut world, [THERE, HERE][turn % 2], v5("plug-1"));
        world.answer(last);
        last = next;
    }
    assert_eq!(world.clones.len(), 4);
}

#[test]
fn four_answers_of_a_device_are_listened_for_at_a_time() {
    let mut world = World::new();
    let all: Vec<ConnId> =
        (0..6).map(|turn| plug(&mut world, [HERE, THERE][turn % 2], v5("plug-1"))).collect();
    assert!(all[..4].iter().all(|conn| displaced(&world, *conn)));
    assert_eq!(world.client(all[0]).goodbye(), Some(0x8e));
    assert_eq!(world.closed.get(&all[4]), Some(&CloseReason::TakenOver));
    // Nobody answered: the next one is listened for again.
    world.cut(all[0]);
    plug(&mut world, HERE, v5("plug-1"));
    assert!(displaced(&world, all[5]));
}

#[test]
fn two_sessions_of_one_device_in_two_places_are_found_out_while_both_speak() {
    let mut world = World::new();
    let here = plug(&mut world, HERE, v5("plug-1"));
    let mut other = facts(&device("plug-1"));
    other.serial_hex = "02".to_owned();
    other.spki_sha256 = "11".repeat(32);
    let there = plug_showing(&mut world, THERE, v5("copy"), other);
    for minute in 1..=OVERLAPS {
        assert!(world.clones.is_empty(), "{minute}");
        world.pass(BESIDE / 2);
        ping(&mut world, there);
        ping(&mut world, here);
        world.pass(BESIDE / 2);
        ping(&mut world, here);
    }
    assert_eq!(world.clones.len(), 1);
    assert_eq!(world.clones[0].shown(), "two certificates of two keys");
    assert_eq!(world.clones[0].newer.serial, "02");
}

#[test]
fn one_of_two_that_fell_silent_is_nobody() {
    let mut world = World::new();
    let patient = Dial { keep_alive: 1_200, ..v5("plug-1") };
    let here = plug(&mut world, HERE, patient.clone());
    let there = plug(&mut world, THERE, Dial { client_id: "auto", ..patient });
    for _ in 0..25 {
        world.pass(BESIDE);
        ping(&mut world, there);
    }
    // Nor is the older one, that goes on after the newer one was lost.
    world.pass(BESIDE);
    for _ in 0..5 {
        ping(&mut world, here);
        world.pass(BESIDE);
    }
    assert_eq!(world.clones, []);
}

#[test]
fn neither_one_host_nor_a_service_is_in_two_places() {
    // Privacy addresses of one host; IPv4 beside IPv6; two clients behind one address.
    for (a, b) in [("2001:db8::1", "2001:db8::2"), (HERE, "2001:db8::1"), (HERE, HERE)] {
        let mut world = World::new();
        let one = plug(&mut world, a, v5("plug-1"));
        let two = plug(&mut world, b, v5("second"));
        for _ in 0..20 {
            world.pass(BESIDE);
            ping(&mut world, one);
            ping(&mut world, two);
        }
        assert_eq!(world.clones, [], "{a} {b}");
    }
    let mut world = World::new();
    for turn in 0..40 {
        let from = at([HERE, THERE][turn % 2]);
        let conn = world.dial_from(from, &backend(), facts(&backend()), v5("one of many"));
        world.pass(2_000);
        world.answer(conn);
    }
    assert_eq!(world.clones, []);
}

/// What a device's life has in it.
#[derive(Debug, Clone, Copy)]
enum Life {
    /// Everything goes well for so long.
    Runs(u64),
    /// The link is lost, and it connects from this network: nobody is there to hear the goodbye.
    Loses(usize),
    /// It closes its connection and connects from this network.
    Moves(usize),
    /// It is switched off and on where it is.
    Restarts,
    /// It connects from this network before it gives up its connection, and gives it up when told so.
    Overlaps(usize),
}

fn life() -> impl Strategy<Value = Life> {
    prop_oneof![
        3 => (0_u64..120_000).prop_map(Life::Runs),
        4 => (0_usize..6).prop_map(Life::Loses),
        2 => (0_usize..6).prop_map(Life::Moves),
        2 => Just(Life::Restarts),
        1 => (0_usize..6).prop_map(Life::Overlaps),
    ]
}

const NETWORKS: [&str; 6] =
    ["192.0.2.1", "198.51.100.7", "203.0.113.9", "2001:db8:0:1::1", "2001:db8:0:1::2", "10.0.0.1"];

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    //= specs/house.md#house-clones
    //= type=test
    //# A device that moves, however often, and one that is replaced by itself MUST NOT be taken for a clone.
    #[test]
    fn no_honest_life_is_two(lives in proptest::collection::vec(life(), 1..80), version in any::<bool>(), keeps in any::<bool>()) {
        let mut world = World::new();
        let dial = if version { v5("plug-1") } else { v311("plug-1") };
        let dial = if keeps { kept(dial) } else { dial };
        let mut network = 0;
        let mut conn = plug(&mut world, NETWORKS[network], dial.clone());
        let mut lost = Vec::new();
        let mut overlaps = Vec::<u64>::new();
        for one in lives {
            match one {
                Life::Runs(millis) => world.pass(millis),
                Life::Loses(next) => {
                    network = next;
                    lost.push(conn);
                    conn = plug(&mut world, NETWORKS[network], dial.clone());
                }
                Life::Moves(next) => {
                    network = next;
                    world.cut(conn);
                    conn = plug(&mut world, NETWORKS[network], dial.clone());
                }
                Life::Restarts => {
                    lost.push(conn);
                    conn = plug(&mut world, NETWORKS[network], dial.clone());
                }
                Life::Overlaps(next) => {
                    // As often as the bound allows.
                    let now = world.now.monotonic;
                    overlaps.retain(|at| now - at < WINDOW);
                    if overlaps.len() + 1 < OVERLAPS {
                        overlaps.push(now);
                        network = next;
                        let old = conn;
                        conn = plug(&mut world, NETWORKS[network], dial.clone());
                        world.answer(old);
                    }
                }
            }
            world.pass(3_000);
            // The shell has waited long enough for who is gone.
            lost.drain(..).for_each(|conn| world.cut(conn));
            prop_assert_eq!(&world.clones, &[]);
        }
    }

    //= specs/house.md#house-clones
    //= type=test
    //# A device's identity that is used from two places at once MUST raise an alarm.
    #[test]
    fn two_who_want_in_are_always_found_out(
        pauses in proptest::collection::vec(APART..WINDOW / (2 * OVERLAPS as u64), 2 * OVERLAPS),
        both in any::<bool>(),
    ) {
        let found = fight(&mut World::new(), &pauses, both);
        prop_assert!(found.is_some_and(|turns| turns < 2 * OVERLAPS), "{:?}", found);
    }
}
