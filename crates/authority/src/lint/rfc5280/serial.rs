//! Serial numbers are positive and have at most 20 octets.

use crate::lint::{Context, Rule, require};

pub(in crate::lint) const RULE: Rule =
    Rule { id: "rfc5280/serial", source: "RFC 5280 section 4.1.2.2", check };

fn check(context: &Context) -> Result<(), String> {
    let serial = &context.facts.serial;
    let positive =
        serial.first().is_some_and(|first| *first < 0x80) && serial.iter().any(|b| *b != 0);
    require(positive, || format!("serial {} is not positive", hex::encode(serial)))?;
    require(serial.len() <= 20, || format!("the serial has {} octets", serial.len()))
}
