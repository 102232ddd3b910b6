//! Serials have 16 significant octets: what is shorter was not drawn at random.

use crate::lint::{Context, Rule, require};

pub(in crate::lint) const RULE: Rule = Rule {
    id: "house/serial_entropy",
    source: "profile: unique, unpredictable serial; this product: 128 bits",
    check,
};

fn check(context: &Context) -> Result<(), String> {
    let serial = &context.facts.serial;
    let significant = serial.iter().skip_while(|octet| **octet == 0).count();
    require(significant == 16, || format!("{significant} significant octets"))
}
