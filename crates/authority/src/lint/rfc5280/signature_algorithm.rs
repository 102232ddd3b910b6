//! Both signature fields name one algorithm, and it is ECDSA with SHA-2.

use crate::lint::{Context, Rule, require};
use countersign_crypto::issue::Facts;

pub(in crate::lint) const RULE: Rule = Rule {
    id: "rfc5280/signature_algorithm",
    source: "RFC 5280 section 4.1.1.2; profile: ecdsa-with-SHA256 or stronger",
    check,
};

fn check(context: &Context) -> Result<(), String> {
    let (inner, outer) = (&context.facts.signature_oid, &context.facts.outer_signature_oid);
    require(inner == outer, || format!("{inner} inside, {outer} outside"))?;
    let strong = [Facts::ECDSA_SHA256, Facts::ECDSA_SHA384].contains(&inner.as_str());
    require(strong, || format!("signature algorithm {inner}"))
}
