//! Certificates with extensions are version 3.

use crate::lint::{Context, Rule, require};

pub(in crate::lint) const RULE: Rule =
    Rule { id: "rfc5280/version", source: "RFC 5280 section 4.1.2.1", check };

fn check(context: &Context) -> Result<(), String> {
    let version = context.facts.version;
    require(version == 3, || format!("version {version}"))
}
