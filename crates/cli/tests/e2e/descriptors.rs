//! A server whose descriptors have run out waits until there are some, and goes on.

use std::net::TcpStream;

use crate::support::{Client, House, Version, curl, need, until};

/// Descriptors that are left for connections: far fewer than are asked for.
const SPARE: usize = 12;
const ASKED: usize = 40;

//= specs/house.md#house-shell
//= type=test
//# Exhausted descriptors MUST NOT end a server.
#[test]
fn a_server_without_descriptors_goes_on_when_there_are_some_again() {
    let mut house = House::new();
    let device = house.device("plug-000001");
    let works = |house: &House| {
        Client::new(house, &device, Version::V5).publish(
            1,
            "things/plug-000001/properties/power",
            "1",
        );
        assert_eq!(curl(house, &house.est, None, "cacerts", None).unwrap().status, 200);
    };
    works(&house);

    let serve = house.id();
    let open = || std::fs::read_dir(format!("/proc/{serve}/fd")).unwrap().count();
    let limit = open() + SPARE;
    let mut limited = need("prlimit");
    limited.arg(format!("--pid={serve}")).arg(format!("--nofile={limit}"));
    assert!(limited.status().unwrap().success());

    // The kernel completes these whether the server can take them or not.
    let held: Vec<TcpStream> = [&house.mqtt, &house.est, &house.admin]
        .into_iter()
        .flat_map(|address| (0..ASKED).map(move |_| TcpStream::connect(address).unwrap()))
        .collect();
    until("no descriptor is left", || (open() >= limit).then_some(()));
    house.is_well();

    drop(held);
    until("the descriptors are given back", || (open() < limit - SPARE / 2).then_some(()));
    works(&house);
    house.is_well();
}
