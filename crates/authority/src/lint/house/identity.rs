//! An end entity has one URI, of its purpose and name, and the same common name.

use crate::lint::{Context, Rule, require};

pub(in crate::lint) const RULE: Rule =
    Rule { id: "house/identity", source: "decision: identity is a URI in subjectAltName", check };

fn check(context: &Context) -> Result<(), String> {
    let Some(purpose) = context.purpose else { return Ok(()) };
    let expected = format!("urn:countersign:{}:{}", purpose.identity(), context.name);
    let uris = &context.facts.uris;
    require(*uris == [expected.as_str()], || format!("{uris:?} is not {expected}"))?;
    let common_name = context.facts.common_name.as_deref();
    require(common_name == Some(&context.name), || format!("common name {common_name:?}"))
}
