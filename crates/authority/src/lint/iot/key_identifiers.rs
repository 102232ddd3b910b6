//! End entities carry no subject key identifier: they are found by their whole certificate.

use crate::lint::{Context, Rule, require};

pub(in crate::lint) const RULE: Rule = Rule {
    id: "iot/key_identifiers",
    source: "profile: end entities have an AKI and no SKI",
    check,
};

fn check(context: &Context) -> Result<(), String> {
    let has = context.purpose.is_some() && context.facts.subject_key_identifier.is_some();
    require(!has, || "a subject key identifier".to_owned())
}
