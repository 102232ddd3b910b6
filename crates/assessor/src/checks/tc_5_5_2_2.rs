//! TC 5.5-2-2: is the implementation on the device the one that was reviewed? (functional)

use super::View;
use crate::verdict::{Finding, Unit};
use countersign_model::ixit::NetSecImpl;

pub(super) fn units(view: &View<'_>) -> Vec<Unit> {
    let asks = "Do name and version on the device match the report?";
    vec![Unit::new(
        "a",
        asks,
        view.declaration().net_sec_impl.iter().map(|row| matches(view, row)).collect(),
    )]
}

fn matches(view: &View<'_>, row: &NetSecImpl) -> Finding {
    let declared = &row.description.typed.component;
    let mut question = format!(
        "is {} {} on the device, and is it what the report names? (reading a bill of materials from the device is not \
         part of this assessor yet)",
        declared.name, declared.version
    );
    let others: Vec<_> = row
        .report
        .typed
        .iter()
        .filter(|report| report.component != *declared)
        .map(|report| format!("{} {}", report.component.name, report.component.version))
        .collect();
    if !others.is_empty() {
        question.push_str(&format!(" The report is about {}.", others.join(", ")));
    }
    view.human("5.5-2-2 a", row.id.as_str(), &question)
}
