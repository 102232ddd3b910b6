//! Each extension stands once, and only those of the profile are critical.

use crate::lint::{Context, Rule, require};
use countersign_crypto::issue::Facts;

pub(in crate::lint) const RULE: Rule =
    Rule { id: "rfc5280/extensions", source: "RFC 5280 section 4.2", check };

fn check(context: &Context) -> Result<(), String> {
    for (index, extension) in context.facts.extensions.iter().enumerate() {
        let before = &context.facts.extensions[..index];
        let twice = before.iter().any(|earlier| earlier.oid == extension.oid);
        require(!twice, || format!("{} stands twice", extension.oid))?;
        let critical =
            [Facts::KEY_USAGE, Facts::BASIC_CONSTRAINTS].contains(&extension.oid.as_str());
        require(extension.critical == critical, || {
            format!("{} is {}critical", extension.oid, if critical { "not " } else { "" })
        })?;
    }
    Ok(())
}
