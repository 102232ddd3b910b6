//! The key is an uncompressed EC key on a curve of the profile, and not the issuer's.

use crate::lint::{Context, Rule, require};

pub(in crate::lint) const RULE: Rule =
    Rule { id: "iot/key", source: "profile: a curve of its list; RFC 5480 section 2.2", check };

fn check(context: &Context) -> Result<(), String> {
    require(context.facts.key.is_some(), || "the key is of another kind".to_owned())?;
    require(context.facts.spki != context.issuer.spki, || "the key is the issuer's own".to_owned())
}
