//! Each purpose has its issuing CA: the issuer's common name ends with that CA's word.

use crate::lint::{Context, Rule, require};

pub(in crate::lint) const RULE: Rule = Rule {
    id: "house/issuer_fits_purpose",
    source: "decision: a peer's kind is judged by its issuing CA",
    check,
};

fn check(context: &Context) -> Result<(), String> {
    let Some(purpose) = context.purpose else { return Ok(()) };
    let expected = crate::profile::issuer(purpose).common_name_ending();
    let found = context.issuer.common_name.as_deref().unwrap_or_default();
    require(found.ends_with(expected), || format!("{purpose} issued by {found:?}"))
}
