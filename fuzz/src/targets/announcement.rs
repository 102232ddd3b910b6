//! What anybody on the network may call a device.

use countersign_model::id::ThingId;
use countersign_protocol::discovery::{HomeKey, may_be};

/// Nothing is recognised that the home's own key did not make, and case tells nothing.
pub fn target(data: &[u8]) {
    let Ok(name) = std::str::from_utf8(data) else { return };
    let Ok(thing) = "plug-000001".parse::<ThingId>() else { return };
    assert_eq!(may_be(&thing, name), may_be(&thing, &name.to_ascii_uppercase()));
    let key = HomeKey::of_anchor(b"a public key of nobody");
    assert!(key.recognise([&thing], name).is_none(), "a name was guessed");
}
