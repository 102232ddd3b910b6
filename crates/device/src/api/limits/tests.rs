//! Shares, rates, and who gives way.

use super::rate::MAX_REMEMBERED;
use super::*;
use std::collections::BTreeSet;

const START: Duration = Duration::from_secs(100);

fn source(last: u8) -> Source {
    Source::of(IpAddr::from([10, 0, 0, last]))
}

fn person(name: &str) -> Holder {
    Holder::Person(name.parse().unwrap())
}

fn open(
    limits: &mut Limits,
    from: u8,
    name: Option<&str>,
) -> Result<(ConnectionId, Option<ConnectionId>), TooMuch> {
    let (id, _) = limits.arrive(source(from), START)?;
    let name = name.map(|name| name.parse().unwrap());
    let has_role = name.is_some();
    limits.opened(id, name, has_role, START).map(|gone| (id, gone))
}

//= specs/house.md#house-gate
//= type=test
//# Failures and rates MUST be bounded per subject and per address.
#[test]
fn a_flood_of_handshakes_costs_the_one_who_makes_it() {
    let mut limits = Limits::new();
    // Where the owner was once is known, whatever the address; everybody else has one only.
    open(&mut limits, 255, Some("ada")).unwrap();
    let (owner, none) = limits.arrive(source(255), START).unwrap();
    assert_eq!(none, None);
    for from in 2..250 {
        for _ in 0..20 {
            if let Ok((_, Some(gone))) = limits.arrive(source(from), START) {
                assert_ne!(gone, owner, "the owner's only connection gave way");
            }
        }
    }
    assert!(limits.connections.len() <= MAX_HANDSHAKES + 1);
    assert_eq!(limits.opened(owner, Some("ada".parse().unwrap()), true, START), Ok(None));
    assert!(limits.addresses.entries.len() <= MAX_REMEMBERED);
}

//= specs/house.md#house-gate
//= type=test
//# Failures and rates MUST be bounded per subject and per address.
#[test]
fn somebody_of_the_home_without_a_role_makes_no_address_known() {
    let mut limits = Limits::new();
    open(&mut limits, 255, Some("ada")).unwrap();
    for from in 1..100 {
        let (id, _) = limits.arrive(source(from), START).unwrap();
        limits.opened(id, Some("eve".parse().unwrap()), false, START).unwrap();
    }
    let (owner, _) = limits.arrive(source(255), START).unwrap();
    for from in 1..100 {
        let (_, gone) = limits.arrive(source(from), START).unwrap();
        assert_ne!(gone, Some(owner), "the owner gave way where eve had been");
    }
}

#[test]
fn one_address_is_turned_away_after_its_burst_and_comes_back() {
    let mut limits = Limits::new();
    let admitted = (0..2_000).filter(|_| limits.arrive(source(1), START).is_ok()).count();
    assert_eq!(admitted, 512);
    assert!(limits.arrive(source(2), START).is_ok(), "others are not concerned");
    assert!(limits.arrive(source(1), START + Duration::from_secs(1)).is_ok());
    for _ in 0..600 {
        limits.handshake_failed(source(2), START);
    }
    assert_eq!(limits.arrive(source(2), START), Err(TooMuch));
    assert!(limits.arrive(source(2), START + Duration::from_millis(200)).is_ok());
}

#[test]
fn open_connections_are_shared_fairly() {
    let mut limits = Limits::new();
    let first = open(&mut limits, 1, Some("bob")).unwrap().0;
    for _ in 1..MAX_CONNECTIONS_OF_ONE {
        assert_eq!(open(&mut limits, 1, Some("bob")).unwrap().1, None);
    }
    assert_eq!(open(&mut limits, 1, Some("bob")).unwrap().1, Some(first), "one's own oldest");
    for stranger in 10..13 {
        for _ in 0..MAX_CONNECTIONS_OF_ONE {
            open(&mut limits, stranger, None).unwrap();
        }
    }
    assert_eq!(limits.connections.len(), MAX_CONNECTIONS);
    // All places are taken: another stranger gets none beyond its share, a person gets a stranger's.
    let gone = open(&mut limits, 1, Some("ada")).unwrap().1;
    assert!(gone.is_some());
    assert_eq!(limits.connections.len(), MAX_CONNECTIONS);
    let persons: BTreeSet<_> = limits
        .connections
        .values()
        .filter(|one| one.holder == Some(person("bob")))
        .map(|one| one.source)
        .collect();
    assert_eq!(persons.len(), 1, "no person gave way to strangers");
}

#[test]
fn requests_and_refusals_are_bounded_for_each() {
    let mut limits = Limits::new();
    let count = |limits: &mut Limits, who: &Holder, from: u8, denied: bool| {
        (0..2_000)
            .filter(|_| {
                let heard = limits.request(source(from), who, START).is_ok();
                if heard && denied {
                    limits.failed(who, START);
                }
                heard
            })
            .count()
    };
    assert_eq!(count(&mut limits, &person("ada"), 1, false), 256);
    assert_eq!(count(&mut limits, &person("eve"), 2, true), 128, "refusals count more");
    // Many persons behind one address are bounded by the address.
    let names: Vec<Holder> = (0..9).map(|n| person(&format!("p{n}"))).collect();
    let heard: usize = names.iter().map(|who| count(&mut limits, who, 3, false)).sum();
    assert_eq!(heard, 512);
    let stranger = Holder::Stranger(source(4));
    assert_eq!(count(&mut limits, &stranger, 4, true), 512);
    assert!(limits.request(source(4), &stranger, START + Duration::from_secs(1)).is_ok());
    // A person's refusals at one address do not shut out another person there.
    assert!(limits.request(source(2), &person("zoe"), START).is_ok());
}

#[test]
fn streams_are_bounded_and_places_come_back() {
    let mut limits = Limits::new();
    let ada = person("ada");
    let taken = (0..20).filter(|_| limits.stream(&ada).is_ok()).count();
    assert_eq!(taken, MAX_STREAMS_OF_ONE);
    limits.stream_over(&ada);
    assert!(limits.stream(&ada).is_ok());
    let others: usize = (0..9)
        .map(|n| (0..9).filter(|_| limits.stream(&person(&format!("p{n}"))).is_ok()).count())
        .sum();
    assert_eq!(others + MAX_STREAMS_OF_ONE, MAX_STREAMS);
}

#[test]
fn an_ipv6_network_is_one_source() {
    let of = |text: &str| Source::of(text.parse().unwrap());
    assert_eq!(of("2001:db8:1:2::1"), of("2001:db8:1:2:ffff::9"));
    assert_ne!(of("2001:db8:1:2::1"), of("2001:db8:1:3::1"));
    assert_eq!(of("::ffff:10.0.0.1"), of("10.0.0.1"));
}
