//! TC 5.5-2-1: has every implementation been reviewed or evaluated? (conceptual)

use super::View;
use crate::verdict::{Finding, Unit};
use countersign_model::ixit::NetSecImpl;
use std::collections::BTreeSet;

pub(super) fn units(view: &View<'_>) -> Vec<Unit> {
    let rows = &view.declaration().net_sec_impl;
    let asks_a =
        "Has every implementation of network and security functions been reviewed or evaluated?";
    let asks_b = "Do review and report cover what the implementation is used for?";
    vec![
        Unit::new("a", asks_a, rows.iter().map(reviewed).collect()),
        Unit::new("b", asks_b, rows.iter().map(|row| covered(view, row)).collect()),
    ]
}

fn reviewed(row: &NetSecImpl) -> Finding {
    let reviews = &row.review_method.typed;
    if reviews.is_empty() {
        let reason = "no review or evaluation is declared, and saying so does not replace one";
        return Finding::fail(row.id.as_str(), reason, "at least one review", "none");
    }
    let kinds: Vec<_> = reviews.iter().map(|review| format!("{:?}", review.kind)).collect();
    Finding::pass(row.id.as_str(), format!("declared: {}", kinds.join(", ")))
}

fn covered(view: &View<'_>, row: &NetSecImpl) -> Finding {
    let facts = &row.description.typed;
    let reviewed: BTreeSet<&String> =
        row.review_method.typed.iter().flat_map(|review| &review.scope).collect();
    let missing: Vec<_> =
        facts.scope.iter().filter(|part| !reviewed.contains(part)).map(String::as_str).collect();
    if !missing.is_empty() {
        let expected = facts.scope.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
        let reason = "a part of what the implementation is used for lies outside every review";
        return Finding::fail(
            row.id.as_str(),
            reason,
            expected,
            format!("not reviewed: {}", missing.join(", ")),
        );
    }
    if !row.review_method.typed.is_empty() && row.report.typed.is_empty() {
        return Finding::fail(
            row.id.as_str(),
            "a review without a report shows nothing",
            "a report",
            "none",
        );
    }
    view.human("5.5-2-1 b", row.id.as_str(), "do the method and the report cover the scope?")
}
