//! Issuer name and authority key identifier are the issuer certificate's own, byte for byte.

use crate::lint::{Context, Rule, require};

pub(in crate::lint) const RULE: Rule =
    Rule { id: "rfc5280/issuer", source: "RFC 5280 sections 4.1.2.4 and 4.2.1.1", check };

fn check(context: &Context) -> Result<(), String> {
    let (facts, issuer) = (&context.facts, &context.issuer);
    require(facts.issuer == issuer.subject, || "the issuer name differs".to_owned())?;
    let fits = facts.authority_key_identifier.is_some()
        && facts.authority_key_identifier == issuer.subject_key_identifier;
    require(fits, || "the authority key identifier is not the issuer's".to_owned())
}
