//! TC 5.5-5-1: does security-relevant configuration authenticate first, in every state? (conceptual)

use super::View;
use super::authentication::{Scope, conceptual};
use crate::verdict::{Finding, Unit};

pub(super) fn units(view: &View<'_>) -> Vec<Unit> {
    let mut units = conceptual(view, "5.5-5-1", Scope::Configuration);
    let excepted: Vec<Finding> = view
        .declaration()
        .soft_serv
        .iter()
        .filter_map(|row| {
            let reason = row.description.typed.network_service.as_ref()?;
            Some(Finding::not_applicable(
                row.id.as_str(),
                format!("an excepted network service protocol: {reason}"),
            ))
        })
        .collect();
    if !excepted.is_empty() {
        units.push(Unit::new(
            "exceptions",
            "Which network service protocols are excepted?",
            excepted,
        ));
    }
    units
}
