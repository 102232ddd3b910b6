//! Begins about now, within the issuer's life, and lives no longer than configured; a factory identity never ends.

use crate::lint::{Context, Rule, require};
use crate::profile::BACKDATE;
use crate::subject::Purpose;
use countersign_model::time::Validity;

pub(in crate::lint) const RULE: Rule = Rule {
    id: "house/validity",
    source: "this product: lives are bounded; IEEE 802.1AR: a factory identity has no end",
    check,
};

fn check(context: &Context) -> Result<(), String> {
    let (from, to) = (context.facts.not_before.0, context.facts.not_after.0);
    require(from <= context.now, || "it begins in the future".to_owned())?;
    require(context.now.since(from) <= BACKDATE * 2, || "it begins too long ago".to_owned())?;
    require(from >= context.issuer.not_before.0, || "it begins before its issuer".to_owned())?;
    if context.purpose == Some(Purpose::FactoryIdentity) {
        return require(to == Validity::FOREVER, || format!("it ends {}", to.to_rfc3339()));
    }
    require(to <= context.issuer.not_after.0, || "it outlives its issuer".to_owned())?;
    match context.life {
        Some(life) => require(to <= context.now.plus(life), || {
            format!("it ends {}, later than its {} days", to.to_rfc3339(), life.as_secs() / 86_400)
        }),
        None => Ok(()),
    }
}
