//! Registered names, as the policy writes them, and their code points in the IANA TLS registries: for declaring, not
//! for choosing. What is offered is the policy's alone.

use countersign_model::ixit::CodePoint;
use countersign_model::registry::{Kind, Registry};
use std::collections::BTreeSet;

/// The code points of `names`.
pub(super) fn points<'a>(
    kind: Kind,
    names: impl IntoIterator<Item = &'a str>,
) -> BTreeSet<CodePoint> {
    let registry = Registry::built_in();
    let entries = names.into_iter().filter_map(|name| registry.entry(kind, name));
    entries.filter_map(|entry| entry.iana.as_ref()?.codes.first().copied()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use countersign_crypto::policy::{CompiledPolicy, Use};

    #[test]
    fn every_name_of_the_built_in_policy_has_its_code_point() {
        let policy = CompiledPolicy::built_in();
        for use_ in Use::ALL {
            let rules = policy.rules(use_);
            for (kind, names) in [
                (Kind::Protocol, rules.versions()),
                (Kind::Suite, rules.suites()),
                (Kind::Group, rules.groups()),
                (Kind::Signature, rules.signatures()),
            ] {
                let found = points(kind, names.iter().copied());
                assert_eq!(found.len(), names.len(), "{use_:?}: {names:?}");
            }
        }
    }
}
