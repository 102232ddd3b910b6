//! End entities are issued by an issuing CA and are no CA; issuing CAs by the root.

use crate::lint::{Context, Rule, require};

pub(in crate::lint) const RULE: Rule =
    Rule { id: "iot/depth", source: "profile: depth 3, root, issuing CA, end entity", check };

fn check(context: &Context) -> Result<(), String> {
    let issuer = context.issuer.basic_constraints;
    match context.purpose {
        Some(_) => {
            require(issuer == Some((true, Some(0))), || "the issuer is no issuing CA".to_owned())?;
            require(context.facts.basic_constraints.is_none(), || "basicConstraints".to_owned())
        }
        None => require(issuer == Some((true, None)), || "the issuer is no root".to_owned()),
    }
}
