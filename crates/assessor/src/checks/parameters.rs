//! Shared by 5.5-6 and 5.5-7: critical security parameters on their way.
//!
//! The units of the test specification go through the mechanisms that parameters name. A parameter that
//! travels and names none would never be looked at; here that is a finding of its own.

use super::{View, cryptography};
use crate::evidence::CanaryFacts;
use crate::verdict::{Finding, Unit};
use countersign_model::ixit::{Reach, SecComMech, SecParam};

const ASKS_TRAVEL: &str =
    "Does every critical parameter that travels name a mechanism that keeps it confidential?";
const ASKS_USED: &str = "Are the mechanisms that carry critical parameters used as declared?";
const ASKS_CANARY: &str =
    "Are planted secrets absent from recorded traffic, in every usual encoding?";

/// Which ways a test case is about.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Ways {
    /// 5.5-6: all.
    All,
    /// 5.5-7: remotely accessible interfaces.
    Remote,
}

impl Ways {
    fn reaches(self, row: &SecParam) -> bool {
        match self {
            Self::All => {
                row.description.typed.leaves_device > Reach::Never || !row.mechanisms.is_empty()
            }
            Self::Remote => row.description.typed.leaves_device == Reach::Remote,
        }
    }

    fn takes(self, row: &SecComMech) -> bool {
        self == Self::All || row.interface.typed.remotely_accessible
    }
}

fn mechanisms<'a>(view: &View<'a>, ways: Ways) -> Vec<&'a SecComMech> {
    let declaration = view.declaration();
    let carried = |row: &&SecComMech| {
        declaration.critical_parameters().any(|parameter| parameter.mechanisms.contains(&row.id))
    };
    declaration.sec_com_mech.iter().filter(carried).filter(|row| ways.takes(row)).collect()
}

/// Nothing remote, said by every row on purpose: then 5.5-7 has no subject.
fn nothing_in_scope(view: &View<'_>, ways: Ways) -> Option<Vec<Unit>> {
    let declaration = view.declaration();
    let some = declaration.critical_parameters().next().is_some();
    let none_travels = !declaration.critical_parameters().any(|row| ways.reaches(row));
    if ways == Ways::Remote && some && none_travels && mechanisms(view, ways).is_empty() {
        let reason = "every critical parameter is declared not to travel over a remotely accessible interface";
        return Some(vec![Unit::new(
            "a",
            ASKS_TRAVEL,
            vec![Finding::not_applicable("10-SecParam", reason)],
        )]);
    }
    None
}

/// Units of the conceptual case.
pub(super) fn conceptual(view: &View<'_>, case: &str, ways: Ways) -> Vec<Unit> {
    if let Some(units) = nothing_in_scope(view, ways) {
        return units;
    }
    let mut units = vec![Unit::new("a, travel", ASKS_TRAVEL, travelling(view, ways))];
    for mut unit in cryptography::conceptual(view, case, &mechanisms(view, ways), true) {
        unit.id = format!("a, as 5.5-1-1 {}", unit.id);
        units.push(unit);
    }
    units
}

//= specs/house.md#house-assessor
//# A critical security parameter that leaves the device without a mechanism MUST NOT pass.
fn travelling(view: &View<'_>, ways: Ways) -> Vec<Finding> {
    view.declaration().critical_parameters().filter(|row| ways.reaches(row)).map(|row| {
        if row.mechanisms.is_empty() {
            let reason = match ways {
                Ways::All => "a critical parameter travels and names no mechanism: not fulfilled, a justification is required",
                Ways::Remote => "a critical parameter travels over a remotely accessible interface and names no mechanism",
            };
            return Finding::fail(row.id.as_str(), reason, "a mechanism with confidentiality", "none");
        }
        let remote = row.mechanisms.iter().filter_map(|id| view.declaration().mechanism(id)).any(|m| m.interface.typed.remotely_accessible);
        if ways == Ways::Remote && !remote {
            let reason = "it is declared to travel remotely, but none of its mechanisms is on a remotely accessible interface";
            return Finding::inconclusive(row.id.as_str(), reason);
        }
        let named: Vec<_> = row.mechanisms.iter().map(|id| id.as_str()).collect();
        Finding::pass(row.id.as_str(), format!("travels by {}", named.join(", ")))
    }).collect()
}

/// Units of the functional case.
pub(super) fn functional(view: &View<'_>, ways: Ways) -> Vec<Unit> {
    let canaries = canary_findings(view, ways);
    if let Some(mut units) = nothing_in_scope(view, ways) {
        // What was seen outweighs what was declared.
        units.extend((!canaries.is_empty()).then(|| Unit::new("canaries", ASKS_CANARY, canaries)));
        return units;
    }
    vec![
        Unit::new(
            "a, as 5.5-1-2 a",
            ASKS_USED,
            cryptography::functional(view, &mechanisms(view, ways)),
        ),
        Unit::new("canaries", ASKS_CANARY, with_missing(view, ways, canaries)),
    ]
}

fn canary_findings(view: &View<'_>, ways: Ways) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (evidence, search) in view.canaries() {
        let mechanism = search.mechanism.as_ref().and_then(|id| view.declaration().mechanism(id));
        if mechanism.is_some_and(|row| !ways.takes(row)) {
            continue;
        }
        for canary in &search.canaries {
            let subject = format!("{} in {}", canary.label, search.capture);
            let finding = match (canary.hits.first(), doubts(search, canary.searchable)) {
                (Some(hit), _) => {
                    let seen = format!(
                        "found as {} at byte {} of stream {}",
                        hit.encoding, hit.offset, hit.stream
                    );
                    Finding::fail(
                        subject,
                        "a secret travels readably",
                        "absent from the traffic",
                        seen,
                    )
                }
                (None, Some(doubt)) => Finding::inconclusive(subject, doubt),
                (None, None) => {
                    let reason = format!(
                        "absent from {} bytes in every encoding tried; both controls were found",
                        search.bytes
                    );
                    Finding::pass(subject, reason)
                }
            };
            findings.push(finding.with_evidence(evidence));
        }
    }
    findings
}

/// Why a search that found nothing says nothing.
fn doubts(search: &CanaryFacts, searchable: bool) -> Option<&'static str> {
    if !searchable {
        return Some("the planted secret is too short to be searched for");
    }
    if search.bytes == 0 {
        return Some("the capture is empty");
    }
    if !search.self_test {
        return Some("the search did not find its own canaries when they were planted in a copy");
    }
    match search.control_found {
        Some(true) => None,
        Some(false) => {
            Some("the text that must be in the capture is not: the wrong traffic was recorded")
        }
        None => {
            Some("no text is known that must be in the capture, so it may be the wrong traffic")
        }
    }
}

fn with_missing(view: &View<'_>, ways: Ways, mut findings: Vec<Finding>) -> Vec<Finding> {
    for row in view.declaration().critical_parameters().filter(|row| ways.reaches(row)) {
        let searched = view.canaries().any(|(_, search)| {
            search.canaries.iter().any(|canary| canary.parameter.as_ref() == Some(&row.id))
        });
        if !searched {
            let reason = "no canary was planted for this parameter, so its absence from traffic was not tested";
            findings.push(Finding::inconclusive(row.id.as_str(), reason));
        }
    }
    findings
}
