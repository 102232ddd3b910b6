//! TC 5.5-8-1: are critical parameters managed by secure processes, all their life? (conceptual)

use super::View;
use crate::verdict::{Finding, Unit};
use countersign_model::ixit::{LifePhase, PhaseRecord, SecParam};

pub(super) fn units(view: &View<'_>) -> Vec<Unit> {
    let parameters = view.declaration().critical_parameters();
    let asks_a = "Do processes cover every phase of every critical parameter's life?";
    let asks_b = "Is it confirmed that the processes are in place and known to their people?";
    vec![
        Unit::new("a", asks_a, parameters.map(|row| life(view, row)).collect()),
        Unit::new("b", asks_b, vec![confirmed(view)]),
    ]
}

fn life(view: &View<'_>, row: &SecParam) -> Finding {
    let subject = row.id.as_str();
    let records: Vec<&PhaseRecord> = view
        .declaration()
        .sec_mgmt
        .iter()
        .filter(|process| row.description.typed.life_cycle.contains(&process.id))
        .flat_map(|process| &process.description.typed)
        .filter(|record| !record.process.trim().is_empty())
        .collect();
    let phases = |keep: &dyn Fn(LifePhase) -> bool| {
        LifePhase::ALL
            .into_iter()
            .filter(|phase| keep(*phase))
            .map(LifePhase::as_str)
            .collect::<Vec<_>>()
            .join(", ")
    };
    let missing = phases(&|phase| !records.iter().any(|record| record.phase == phase));
    if !missing.is_empty() {
        let reason = "a phase of its life is covered by no process";
        return Finding::fail(
            subject,
            reason,
            "all six phases",
            format!("without a process: {missing}"),
        );
    }
    let evidenced =
        |phase| records.iter().any(|record| record.phase == phase && record.evidence.is_some());
    let bare = phases(&|phase| !evidenced(phase));
    if !bare.is_empty() {
        let question = format!(
            "are the processes for {bare} adequate? They are described, without a record that they run."
        );
        return view.human("5.5-8-1 a", subject, &question);
    }
    Finding::pass(subject, "all six phases name a process and a record that it was carried out")
}

fn confirmed(view: &View<'_>) -> Finding {
    let confirmation = &view.declaration().conf.secure_management;
    if confirmation.typed {
        Finding::pass("4-Conf", format!("confirmed: {}", confirmation.text))
    } else {
        let reason = "the confirmation of secure management is missing";
        Finding::fail("4-Conf", reason, "a confirmation", "none")
    }
}
