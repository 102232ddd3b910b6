//! End entities sign, and nothing else.

use crate::lint::{Context, Rule, require};

pub(in crate::lint) const RULE: Rule =
    Rule { id: "iot/key_usage", source: "profile: keyUsage critical, digitalSignature", check };

fn check(context: &Context) -> Result<(), String> {
    if context.purpose.is_none() {
        return Ok(());
    }
    let usage = context.facts.key_usage.as_deref();
    require(usage == Some(&["digitalSignature"]), || format!("keyUsage {usage:?}"))
}
