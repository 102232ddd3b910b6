//! Shared by 5.5-4 and 5.5-5: who may reach which functionality, and who really can.

use super::{View, cryptography};
use crate::algorithms::{Kind, attacks};
use crate::evidence::{AccessFacts, Attempt, Outcome, Subject};
use crate::verdict::{Finding, Unit};
use countersign_model::ixit::{
    Access, AuthMech, Configuration, Listener, RowId, SoftServ, State, Status,
};
use countersign_model::role::Role;

const ASKS_A: &str = "Does each functionality that a network reaches name how it authenticates?";
const ASKS_B: &str = "Does each mechanism tell subjects apart and reject invalid ones?";
const ASKS_C: &str = "Does each mechanism's protection give its guarantees and resist compromise?";
const ASKS_D: &str = "Does authorisation grant what is due, and deny the rest?";
const ASKS_REFUSED: &str =
    "Are unauthenticated, invalid and insufficiently authorised subjects refused?";
const ASKS_ADMITTED: &str = "Are authenticated subjects with sufficient rights admitted?";
const ASKS_PROTECTED: &str = "Is each mechanism protected as declared?";

/// Which functionality a test case is about.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Scope {
    /// 5.5-4: everything, in the initialised state.
    Initialised,
    /// 5.5-5: security-relevant configuration, in every state.
    Configuration,
}

impl Scope {
    fn services<'a>(self, view: &View<'a>) -> Vec<&'a SoftServ> {
        let inside = |row: &&SoftServ| {
            let facts = &row.description.typed;
            facts.network
                && row.status == Status::Enabled
                && match self {
                    Self::Initialised => facts.states.contains(&State::Initialised),
                    Self::Configuration => {
                        row.allows_configuration.typed == Configuration::SecurityRelevant
                            && facts.network_service.is_none()
                    }
                }
        };
        view.declaration().soft_serv.iter().filter(inside).collect()
    }

    fn includes(self, affordance: &AccessFacts) -> bool {
        match self {
            Self::Initialised => true,
            Self::Configuration => affordance.security_relevant,
        }
    }
}

fn mechanisms<'a>(view: &View<'a>, services: &[&SoftServ]) -> Vec<&'a AuthMech> {
    let named =
        |row: &&AuthMech| services.iter().any(|service| service.authentication.contains(&row.id));
    view.declaration().auth_mech.iter().filter(named).collect()
}

/// The four conceptual units.
pub(super) fn conceptual(view: &View<'_>, case: &str, scope: Scope) -> Vec<Unit> {
    let services = scope.services(view);
    let mechanisms = mechanisms(view, &services);
    let protected: Vec<Finding> =
        mechanisms.iter().map(|row| protection(view, case, row)).collect();
    vec![
        Unit::new("a", ASKS_A, services.iter().map(|row| names_mechanism(row)).collect()),
        Unit::new(
            "b",
            ASKS_B,
            mechanisms.iter().map(|row| discriminates(view, case, row)).collect(),
        ),
        Unit::new("c", ASKS_C, protected),
        Unit::new("d", ASKS_D, authorisation(view, case, scope, &mechanisms)),
    ]
}

fn names_mechanism(row: &SoftServ) -> Finding {
    if let Some(reason) = &row.description.typed.network_service {
        return Finding::not_applicable(
            row.id.as_str(),
            format!("a network service protocol: {reason}"),
        );
    }
    if row.authentication.is_empty() {
        let reason = "a network reaches this functionality without authentication; if that is meant (open data), \
                      the conformance statement must decline 5.5-4 with a justification";
        return Finding::fail(
            row.id.as_str(),
            reason,
            "at least one authentication mechanism",
            "none",
        );
    }
    let named: Vec<_> = row.authentication.iter().map(RowId::as_str).collect();
    Finding::pass(row.id.as_str(), format!("names {}", named.join(", ")))
}

fn discriminates(view: &View<'_>, case: &str, row: &AuthMech) -> Finding {
    let facts = &row.description.typed;
    if !facts.distinguishes_subjects || !facts.rejects_invalid {
        let reason = "by its own description it does not tell subjects apart, or does not reject invalid ones";
        let seen = format!(
            "tells apart: {}, rejects: {}",
            facts.distinguishes_subjects, facts.rejects_invalid
        );
        return Finding::fail(row.id.as_str(), reason, "both", seen);
    }
    view.human(
        &format!("{case} b"),
        row.id.as_str(),
        "does it tell subjects apart and reject invalid ones?",
    )
}

fn protection(view: &View<'_>, case: &str, row: &AuthMech) -> Finding {
    let carrier = row.cryptographic_details.typed.mechanism.as_ref();
    let broken = carrier.and_then(|id| view.declaration().mechanism(id)).and_then(|mechanism| {
        let mut layers = mechanism.cryptographic_details.typed.iter();
        layers.find_map(|layer| {
            let versions = layer.versions.iter().map(|code| (Kind::Version, *code));
            let suites = layer.suites.iter().map(|code| (Kind::Suite, *code));
            versions.chain(suites).find_map(|(kind, code)| attacks(kind, code).first())
        })
    });
    if let Some(attack) = broken {
        let reason = "what carries this mechanism falls to a published attack";
        return Finding::fail(row.id.as_str(), reason, "no known attack", attack.to_string());
    }
    view.human(
        &format!("{case} c"),
        row.id.as_str(),
        "does its protection give its guarantees and resist compromise?",
    )
}

fn authorisation(
    view: &View<'_>,
    case: &str,
    scope: Scope,
    mechanisms: &[&AuthMech],
) -> Vec<Finding> {
    let mut findings = Vec::new();
    let open = |row: &&countersign_model::ixit::Affordance| {
        row.access == Access::Nosec && (row.operation.changes() || row.security_relevant)
    };
    for row in view.declaration().affordances.iter().filter(open) {
        if scope == Scope::Initialised || row.security_relevant {
            let reason =
                "it changes the device or is relevant to security, and is declared open to all";
            findings.push(Finding::fail(row.name.as_str(), reason, "a least role", "nosec"));
        }
    }
    for row in mechanisms {
        if !row.description.typed.authorises_per_subject {
            let reason =
                "by its own description it does not limit what an authenticated subject may do";
            findings.push(Finding::fail(
                row.id.as_str(),
                reason,
                "rights by subject",
                "no such limit",
            ));
        } else {
            let question = "does authorisation grant what is due and deny the rest?";
            findings.push(view.human(&format!("{case} d"), row.id.as_str(), question));
        }
    }
    findings
}

/// The three functional units.
pub(super) fn functional(view: &View<'_>, scope: Scope) -> Vec<Unit> {
    let tried: Vec<_> = view.access().filter(|(_, facts)| scope.includes(facts)).collect();
    let (mut refused, mut admitted) = (Vec::new(), Vec::new());
    for (evidence, facts) in &tried {
        refused.push(refusals(view, facts).with_evidence(evidence));
        if facts.access != Access::Nosec {
            admitted.push(admission(facts).with_evidence(evidence));
        }
    }
    let declared = view
        .declaration()
        .affordances
        .iter()
        .filter(|row| scope == Scope::Initialised || row.security_relevant);
    for row in declared {
        let same =
            |facts: &AccessFacts| facts.affordance == row.name && facts.operation == row.operation;
        if !tried.iter().any(|(_, facts)| same(facts)) {
            let reason = "this affordance was not tried";
            refused
                .push(Finding::inconclusive(format!("{} ({:?})", row.name, row.operation), reason));
        }
    }
    for service in scope.services(view) {
        refused.extend(untried_service(view, service));
        if scope == Scope::Configuration {
            refused.extend(states_not_driven(view, service));
        }
    }
    let services = scope.services(view);
    let protected = mechanisms(view, &services)
        .into_iter()
        .flat_map(|row| protected_as_declared(view, row))
        .collect();
    vec![
        Unit::new("a", ASKS_REFUSED, refused),
        Unit::new("b", ASKS_ADMITTED, admitted),
        Unit::new("c", ASKS_PROTECTED, protected),
    ]
}

/// A functionality that no affordance belongs to has been declared, not tried.
fn untried_service(view: &View<'_>, service: &SoftServ) -> Option<Finding> {
    let tried = view.access().any(|(_, facts)| facts.service.as_ref() == Some(&service.id));
    let excepted = service.description.typed.network_service.is_some();
    (!tried && !excepted).then(|| {
        let reason = "no affordance of this functionality was tried, so its access control was not seen to work";
        Finding::inconclusive(service.id.as_str(), reason)
    })
}

fn states_not_driven(view: &View<'_>, service: &SoftServ) -> Option<Finding> {
    let here = view.declaration().dut.state;
    let others: Vec<_> = service
        .description
        .typed
        .states
        .iter()
        .filter(|state| **state != here)
        .map(|state| state.as_str())
        .collect();
    (!others.is_empty()).then(|| {
        let reason = format!(
            "it is also reachable when {}, and the device was assessed only when {here}",
            others.join(", ")
        );
        Finding::inconclusive(service.id.as_str(), reason)
    })
}

/// How an attempt reads.
enum Reading {
    Admitted,
    Refused,
    Unclear(&'static str),
}

fn subject_of(facts: &AccessFacts) -> String {
    format!("{} {} ({})", facts.method.as_str(), facts.path, facts.affordance)
}

/// By those who may not: anything but a clear refusal is not one.
fn refusals(view: &View<'_>, facts: &AccessFacts) -> Finding {
    let subject = subject_of(facts);
    if facts.access == Access::Nosec {
        return open_data(view, facts, subject);
    }
    let mut unclear = Vec::new();
    let mut seen = Vec::new();
    let barred: Vec<&Attempt> =
        facts.attempts.iter().filter(|attempt| !attempt.subject.may(facts.access)).collect();
    for attempt in &barred {
        seen.push(format!("{}: {}", attempt.subject, attempt.outcome));
        match read(view, facts, &attempt.outcome) {
            Reading::Refused => {}
            Reading::Admitted => {
                let reason = format!("{} got through", attempt.subject);
                return Finding::fail(subject, reason, "a refusal", attempt.outcome.to_string());
            }
            Reading::Unclear(why) => {
                unclear.push(format!("{}: {} ({why})", attempt.subject, attempt.outcome))
            }
        }
    }
    for (needed, what) in [
        (Subject::Nobody, "a client without certificate"),
        (Subject::WrongHome, "another home's certificate"),
    ] {
        if !barred.iter().any(|attempt| attempt.subject == needed) {
            unclear.push(format!("{what} was not tried"));
        }
    }
    let low = barred.iter().any(|attempt| matches!(attempt.subject, Subject::Credential { .. }));
    if !low && facts.access.least_role() > Some(Role::Viewer) {
        unclear.push("no credential with too low a role was given".into());
    }
    if unclear.is_empty() {
        Finding::pass(subject, "everybody who may not was refused").seen(seen.join("; "))
    } else {
        Finding::inconclusive(subject, unclear.join("; ")).seen(seen.join("; "))
    }
}

fn open_data(view: &View<'_>, facts: &AccessFacts, subject: String) -> Finding {
    if facts.operation.changes() || facts.security_relevant {
        let reason =
            "it changes the device or is relevant to security, and is declared open to all";
        return Finding::fail(subject, reason, "a least role", "nosec");
    }
    let service = facts
        .service
        .as_ref()
        .and_then(|id| view.declaration().soft_serv.iter().find(|row| row.id == *id));
    if service.is_some_and(|row| !row.authentication.is_empty()) {
        let reason = "it is declared open, and its functionality is declared to authenticate: one of both is wrong";
        return Finding::inconclusive(subject, reason);
    }
    Finding::not_applicable(
        subject,
        "declared as open data that only can be read; 5.5-4-1 a judges that",
    )
}

/// What an outcome means for somebody who may not.
fn read(view: &View<'_>, facts: &AccessFacts, outcome: &Outcome) -> Reading {
    match outcome {
        Outcome::Status(200..=299) => Reading::Admitted,
        Outcome::Status(401 | 403) | Outcome::Alert(_) => Reading::Refused,
        Outcome::Status(404) if works(view, facts) => Reading::Refused,
        Outcome::Status(404) => {
            Reading::Unclear("nobody was seen to get through, so the path may simply be wrong")
        }
        Outcome::Status(429 | 503) => Reading::Unclear("put off, not refused"),
        Outcome::Status(300..=399) => Reading::Unclear("sent elsewhere"),
        Outcome::Status(400 | 405 | 409 | 411 | 413 | 415 | 422) => {
            Reading::Unclear("judged by its content before, or instead of, its sender")
        }
        Outcome::Status(_) => Reading::Unclear("a failure is no refusal"),
        Outcome::Closed if alive(view, &facts.listener) => Reading::Refused,
        Outcome::Closed => Reading::Unclear("nothing was ever answered there"),
        Outcome::Silent => Reading::Unclear("silence is no refusal"),
        Outcome::Unreachable => Reading::Unclear("there was no connection"),
        Outcome::Garbage => Reading::Unclear("the answer is not understood"),
        Outcome::NotTried(_) => Reading::Unclear("not tried"),
    }
}

/// Somebody with the right got through, on this path.
fn works(view: &View<'_>, facts: &AccessFacts) -> bool {
    view.access()
        .filter(|(_, other)| other.path == facts.path && other.listener == facts.listener)
        .any(|(_, other)| {
            let through = |attempt: &&Attempt| {
                attempt.subject.may(other.access)
                    && matches!(attempt.outcome, Outcome::Status(200..=299))
            };
            other.attempts.iter().any(|attempt| through(&attempt))
        })
}

/// Somebody got a status from this listener.
fn alive(view: &View<'_>, listener: &RowId) -> bool {
    view.access().filter(|(_, other)| other.listener == *listener).any(|(_, other)| {
        other.attempts.iter().any(|attempt| matches!(attempt.outcome, Outcome::Status(_)))
    })
}

/// By those who may.
fn admission(facts: &AccessFacts) -> Finding {
    let subject = subject_of(facts);
    let entitled: Vec<&Attempt> =
        facts.attempts.iter().filter(|attempt| attempt.subject.may(facts.access)).collect();
    if entitled.is_empty() {
        let least = facts.access.least_role().map_or("", Role::as_str);
        return Finding::inconclusive(
            subject,
            format!("no credential with the role {least} or more was given"),
        );
    }
    let mut unclear = Vec::new();
    let mut seen = Vec::new();
    for attempt in &entitled {
        seen.push(format!("{}: {}", attempt.subject, attempt.outcome));
        match &attempt.outcome {
            Outcome::Status(200..=299) => {}
            Outcome::Status(401 | 403 | 404) | Outcome::Alert(_) => {
                let reason = format!("{} is entitled and was refused", attempt.subject);
                return Finding::fail(subject, reason, "access", attempt.outcome.to_string());
            }
            other => unclear.push(format!("{}: {other}", attempt.subject)),
        }
    }
    if unclear.is_empty() {
        Finding::pass(subject, "everybody who may got through").seen(seen.join("; "))
    } else {
        Finding::inconclusive(subject, unclear.join("; ")).seen(seen.join("; "))
    }
}

fn protected_as_declared(view: &View<'_>, row: &AuthMech) -> Vec<Finding> {
    let Some(mechanism) = row
        .cryptographic_details
        .typed
        .mechanism
        .as_ref()
        .and_then(|id| view.declaration().mechanism(id))
    else {
        let reason = "no secure communication mechanism is declared to carry it, so there was nothing to compare";
        return vec![Finding::inconclusive(row.id.as_str(), reason)];
    };
    cryptography::functional_row(view, mechanism)
        .into_iter()
        .map(|mut finding| {
            finding.subject = format!("{} by {}", row.id, finding.subject);
            finding
        })
        .collect()
}

/// Listeners that are excepted network services, for 5.5-5-2 b.
pub(super) fn is_excepted(listener: &Listener) -> bool {
    listener.network_service.is_some()
}
