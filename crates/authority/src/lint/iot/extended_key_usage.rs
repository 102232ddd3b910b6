//! The extended key usages are those of the purpose, no more and no fewer.

use crate::lint::{Context, Rule, require};
use countersign_crypto::issue::Facts;

pub(in crate::lint) const RULE: Rule = Rule {
    id: "iot/extended_key_usage",
    source: "profile: extended key usage fits the role",
    check,
};

fn check(context: &Context) -> Result<(), String> {
    let Some(purpose) = context.purpose else { return Ok(()) };
    let eku = crate::profile::eku(purpose);
    let expected: Vec<&str> = [(eku.server, Facts::SERVER_AUTH), (eku.client, Facts::CLIENT_AUTH)]
        .into_iter()
        .filter_map(|(wanted, oid)| wanted.then_some(oid))
        .collect();
    let found = context.facts.extended_key_usage.clone().unwrap_or_default();
    require(found == expected, || format!("{found:?} for {purpose}"))
}
