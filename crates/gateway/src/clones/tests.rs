//! Places, counts and bounds, without a broker.
#![allow(clippy::unwrap_used)]

use super::*;
use proptest::prelude::*;

fn thing(number: usize) -> ThingId {
    format!("plug-{number}").parse().unwrap()
}

fn place(address: &str) -> Place {
    Place::of(address.parse().unwrap())
}

#[test]
fn addresses_that_one_host_may_have_at_once_are_one_place() {
    for (a, b, same) in [
        ("192.0.2.1", "192.0.2.1", true),
        ("192.0.2.1", "::ffff:192.0.2.1", true),
        ("192.0.2.1", "192.0.2.2", false),
        // A host's privacy addresses (RFC 8981).
        ("2001:db8:0:1::5", "2001:db8:0:1:aaaa:bbbb:cccc:dddd", true),
        ("2001:db8:0:1::5", "2001:db8:0:2::5", false),
        ("::1", "127.0.0.1", false),
    ] {
        assert_eq!(place(a) == place(b), same, "{a} {b}");
    }
    assert!(place("::1").same_family(place("2001:db8::1")));
    assert!(!place("::1").same_family(place("127.0.0.1")));
}

#[test]
fn the_evidence_is_the_same_from_both_sides_and_tells_certificates_apart() {
    let sighting = |address: &str, serial: &str, key: &str| Sighting {
        address: address.parse().unwrap(),
        since: Timestamp(1),
        heard: Timestamp(2),
        serial: serial.to_owned(),
        spki_sha256: key.to_owned(),
    };
    let seen = |older: Sighting, newer: Sighting| CloneSeen { thing: thing(1), older, newer };
    let (a, b) = (sighting("192.0.2.1", "1", "k"), sighting("192.0.2.2", "1", "k"));
    assert_eq!(seen(a.clone(), b.clone()).places(), "192.0.2.1 and 192.0.2.2");
    assert_eq!(seen(b.clone(), a.clone()).places(), "192.0.2.1 and 192.0.2.2");
    assert_eq!(seen(a.clone(), b).shown(), "one certificate");
    let shown = |serial: &str, key: &str| seen(a.clone(), sighting("::1", serial, key)).shown();
    assert_eq!(shown("2", "k"), "two certificates of one key");
    assert_eq!(shown("2", "m"), "two certificates of two keys");
}

proptest! {
    /// Whatever the times: told exactly when the sixth overlap within an hour comes, and not again within an hour.
    //= specs/house.md#house-clones
    //= type=test
    //# What is remembered of clones MUST be bounded, and a device's alarm MUST be raised once an hour at most.
    #[test]
    fn it_is_told_once_an_hour_and_never_for_fewer(pauses in proptest::collection::vec(0_u64..WINDOW / 2, 1..60)) {
        let mut overlaps = Overlaps::new(10);
        let (mut now, mut counted, mut told) = (0_u64, Vec::<u64>::new(), None::<u64>);
        for pause in pauses {
            // Some pauses are tiny.
            now += if pause % 3 == 0 { pause % (2 * APART) } else { pause % (WINDOW / 3) };
            let tells = overlaps.note(&thing(1), now);
            if counted.last().is_none_or(|last| now - last >= APART) {
                counted.push(now);
            } else {
                prop_assert!(!tells);
                continue;
            }
            let recent = counted.iter().filter(|at| now - **at < WINDOW).count();
            let expected = recent >= OVERLAPS && told.is_none_or(|told| now - told >= WINDOW);
            prop_assert_eq!(tells, expected);
            if tells {
                told = Some(now);
            }
        }
    }

    #[test]
    fn there_is_room_for_so_many_and_the_busiest_stay(devices in proptest::collection::vec(0_usize..500, 1..400)) {
        let mut overlaps = Overlaps::new(20);
        for (at, device) in devices.into_iter().enumerate() {
            let now = at as u64 * APART;
            overlaps.note(&thing(device), now);
            prop_assert!(overlaps.devices.len() <= 20);
            prop_assert!(overlaps.devices.values().all(|one| one.at.len() <= OVERLAPS));
            prop_assert!(overlaps.devices.contains_key(&thing(device)));
        }
    }
}
