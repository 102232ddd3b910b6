//! `serve`: how it begins and how it ends.

use std::net::TcpStream;

use crate::support::House;

//= specs/house.md#house-shell
//= type=test
//# A ready file MUST be written only when every listener is bound.
#[test]
fn the_ready_file_names_listeners_that_answer() {
    let house = House::new();
    for address in [&house.mqtt, &house.est, &house.admin] {
        assert!(TcpStream::connect(address).is_ok(), "{address} does not answer");
        assert!(!address.ends_with(":0"), "{address} is no port");
    }
}

#[test]
fn it_ends_when_asked_and_goes_on_where_it_was() {
    let mut house = House::new();
    let roots = std::fs::read(house.roots()).unwrap();
    let serve = house.running();
    serve.terminate();
    serve.finish().with_code(0).without_panic();
    house.start();
    assert_eq!(std::fs::read(house.roots()).unwrap(), roots, "a restart holds no second ceremony");
}
