//! TC 5.5-3-1: can algorithms and primitives be replaced? (conceptual; there is no functional case)

use super::View;
use crate::verdict::{Finding, Unit};
use countersign_model::ixit::{Edition, SoftComp};

pub(super) fn units(view: &View<'_>) -> Vec<Unit> {
    let verb = match view.declaration().edition {
        Edition::V3 => "replacing",
        Edition::V2 => "updating",
    };
    let using: Vec<_> = view
        .declaration()
        .soft_comp
        .iter()
        .filter(|row| row.cryptographic_usage.typed.uses)
        .collect();
    let asks_b = format!("Were side effects of {verb} the algorithms considered?");
    vec![
        Unit::new(
            "a",
            "Does every component that uses cryptography name an update mechanism?",
            using.iter().map(|row| updatable(row)).collect(),
        ),
        Unit::new("b", &asks_b, using.iter().map(|row| considered(row, verb)).collect()),
    ]
}

fn updatable(row: &SoftComp) -> Finding {
    if row.update_mechanism.is_empty() {
        let reason = "it uses cryptography and cannot be updated";
        return Finding::fail(row.id.as_str(), reason, "an update mechanism", "none");
    }
    let named: Vec<_> = row.update_mechanism.iter().map(|id| id.as_str()).collect();
    Finding::pass(row.id.as_str(), format!("names {}", named.join(", ")))
}

fn considered(row: &SoftComp, verb: &str) -> Finding {
    if !row.cryptographic_usage.typed.side_effects_considered {
        let reason = format!("side effects of {verb} were not considered");
        return Finding::fail(row.id.as_str(), reason, "considered", "declared as not considered");
    }
    if row.cryptographic_usage.text.trim().is_empty() {
        let reason = "side effects are said to be considered, but nothing is said about them";
        return Finding::inconclusive(row.id.as_str(), reason);
    }
    Finding::pass(row.id.as_str(), format!("declared: {}", row.cryptographic_usage.text))
}
