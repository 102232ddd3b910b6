//! An issuing CA may sign certificates and lists, and no further CA below it; it has no extended key usage.

use crate::lint::{Context, Rule, require};

pub(in crate::lint) const RULE: Rule =
    Rule { id: "rfc5280/issuing_ca", source: "RFC 5280 sections 4.2.1.3 and 4.2.1.9", check };

fn check(context: &Context) -> Result<(), String> {
    if context.purpose.is_some() {
        return Ok(());
    }
    let facts = &context.facts;
    require(facts.basic_constraints == Some((true, Some(0))), || {
        format!("basicConstraints {:?}", facts.basic_constraints)
    })?;
    let usage = facts.key_usage.as_deref();
    require(usage == Some(&["keyCertSign", "cRLSign"]), || format!("keyUsage {usage:?}"))?;
    require(facts.extended_key_usage.is_none(), || "an extended key usage".to_owned())?;
    require(facts.subject_key_identifier.is_some(), || "no subject key identifier".to_owned())
}
