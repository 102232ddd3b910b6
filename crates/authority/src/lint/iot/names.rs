//! A device has at most one dNSName; names are lower case, without wildcards, and of no other kind.

use crate::lint::{Context, Rule, require};
use crate::subject::Purpose;

pub(in crate::lint) const RULE: Rule = Rule {
    id: "iot/names",
    source: "profile: domain names only in dNSName, single, no wildcards",
    check,
};

fn check(context: &Context) -> Result<(), String> {
    let facts = &context.facts;
    require(facts.other_names == 0, || "names of other kinds".to_owned())?;
    let device = matches!(context.purpose, Some(Purpose::FactoryIdentity | Purpose::Operation));
    require(!device || facts.dns.len() <= 1, || format!("{} dNSNames", facts.dns.len()))?;
    let server = context.purpose == Some(Purpose::Server);
    require(server || facts.ips.is_empty(), || "iPAddresses".to_owned())?;
    require(!(server && facts.dns.is_empty() && facts.ips.is_empty()), || {
        "a server without dNSName and iPAddress".to_owned()
    })?;
    for dns in &facts.dns {
        require(is_host(dns), || format!("{dns:?} is no plain lower-case host name"))?;
    }
    Ok(())
}

//= specs/house.md#house-channel
//# A certificate name MUST NOT contain a wildcard.
fn is_host(name: &str) -> bool {
    let label = |label: &str| {
        let inner =
            label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        inner && (1..=63).contains(&label.len()) && !label.starts_with('-') && !label.ends_with('-')
    };
    name.len() <= 253 && name.split('.').all(label)
}
