//! No pointers to lists or responders: devices do not check revocation, the gateway does.

use crate::lint::{Context, Rule, require};
use countersign_crypto::issue::Facts;

pub(in crate::lint) const RULE: Rule = Rule {
    id: "iot/no_pointers",
    source: "profile: no CRL distribution points and no OCSP pointers in device certificates",
    check,
};

fn check(context: &Context) -> Result<(), String> {
    for oid in [Facts::CRL_DISTRIBUTION_POINTS, Facts::AUTHORITY_INFO_ACCESS] {
        require(context.facts.extension(oid).is_none(), || format!("extension {oid}"))?;
    }
    Ok(())
}
