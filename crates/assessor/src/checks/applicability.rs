//! Whether a test case applies: conditions, features and the conformance statement.

use crate::verdict::Finding;
use countersign_model::ixit::{Condition, Configuration, Declaration, Edition, Reach, Support};

/// None when the units are to be judged; else the one finding that stands for them.
pub(crate) fn applies(case: &str, declaration: &Declaration) -> Option<Finding> {
    let provision = case.rsplit_once('-').map_or(case, |(provision, _)| provision);
    if let Some(finding) = by_condition(provision, declaration) {
        return Some(finding);
    }
    by_statement(provision, declaration)
}

fn by_condition(provision: &str, declaration: &Declaration) -> Option<Finding> {
    // V2.1.1 of the provisions knows no conditions here.
    if declaration.edition == Edition::V2 {
        return None;
    }
    let conditions = &declaration.conditions;
    let (name, condition, contradiction) = match provision {
        "5.5-5" => {
            ("F(n)", &conditions.network_configuration, configures_over_network(declaration))
        }
        "5.5-6" | "5.5-7" => ("F(o)", &conditions.csps_leave, parameter_leaves(declaration)),
        "5.5-8" => (
            "C(16)",
            &conditions.csps_exist,
            declaration
                .critical_parameters()
                .next()
                .map(|row| format!("10-SecParam {} is critical", row.id)),
        ),
        _ => return None,
    };
    judge_condition(name, condition, contradiction)
}

fn judge_condition(
    name: &str,
    condition: &Condition,
    contradiction: Option<String>,
) -> Option<Finding> {
    if condition.holds {
        return None;
    }
    if let Some(contradiction) = contradiction {
        let reason = format!("{name} is declared not to hold, but the tables say otherwise");
        return Some(Finding::fail(name, reason, format!("{name} holds"), contradiction));
    }
    if condition.reason.trim().is_empty() {
        let reason =
            format!("{name} is declared not to hold without a reason, and that excuses nothing");
        return Some(Finding::inconclusive(name, reason));
    }
    Some(Finding::not_applicable(name, format!("{name} does not hold: {}", condition.reason)))
}

fn configures_over_network(declaration: &Declaration) -> Option<String> {
    let service = declaration.soft_serv.iter().find(|row| {
        row.description.typed.network
            && row.allows_configuration.typed == Configuration::SecurityRelevant
    });
    let affordance =
        declaration.affordances.iter().find(|row| row.security_relevant && row.operation.changes());
    service
        .map(|row| {
            format!("13-SoftServ {} allows security-relevant configuration over a network", row.id)
        })
        .or_else(|| {
            affordance.map(|row| {
                format!("affordance {} changes security-relevant configuration", row.name)
            })
        })
}

fn parameter_leaves(declaration: &Declaration) -> Option<String> {
    declaration
        .critical_parameters()
        .find(|row| {
            row.description.typed.leaves_device > Reach::Never || !row.mechanisms.is_empty()
        })
        .map(|row| format!("10-SecParam {} is critical and travels", row.id))
}

fn by_statement(provision: &str, declaration: &Declaration) -> Option<Finding> {
    let row = declaration.ics_row(provision)?;
    let word = match row.support {
        Support::Yes => return None,
        Support::No => "N",
        Support::NotApplicable => "N/A",
    };
    let subject = format!("ICS {provision}");
    let recommended = matches!(provision, "5.5-2" | "5.5-3" | "5.5-4" | "5.5-6");
    if !recommended {
        let reason = "the provision is mandatory and its condition, if any, holds";
        return Some(Finding::fail(
            subject,
            reason,
            "support Y",
            format!("support {word}: {}", row.detail),
        ));
    }
    if row.detail.trim().is_empty() {
        let reason = "a recommendation that is not followed needs a justification";
        return Some(Finding::fail(
            subject,
            reason,
            "a justification",
            format!("support {word} without one"),
        ));
    }
    Some(Finding::not_applicable(subject, format!("declared {word}, justified: {}", row.detail)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verdict::Verdict;
    use countersign_model::ixit::{Conditions, IcsRow, SecParam};

    fn verdict(case: &str, declaration: &Declaration) -> Option<Verdict> {
        applies(case, declaration).map(|finding| finding.verdict)
    }

    #[test]
    fn a_condition_excuses_only_with_a_reason_and_without_contradiction() {
        let mut declaration = Declaration::default();
        assert_eq!(verdict("5.5-8-1", &declaration), Some(Verdict::Inconclusive));
        declaration.conditions = Conditions {
            csps_exist: Condition::fails("the device holds no secret"),
            ..Conditions::default()
        };
        assert_eq!(verdict("5.5-8-1", &declaration), Some(Verdict::NotApplicable));
        declaration.sec_param.push(SecParam { id: "SecParam-1".into(), ..SecParam::default() });
        assert_eq!(verdict("5.5-8-1", &declaration), Some(Verdict::Fail));
        declaration.edition = Edition::V2;
        assert_eq!(verdict("5.5-8-1", &declaration), None);
    }

    #[test]
    fn a_recommendation_may_be_declined_with_a_justification_only() {
        let mut declaration = Declaration::default();
        assert_eq!(verdict("5.5-4-1", &declaration), None);
        let row = |provision: &str, detail: &str| IcsRow {
            provision: provision.into(),
            support: Support::No,
            detail: detail.into(),
        };
        declaration.ics = vec![row("5.5-4", "  ")];
        assert_eq!(verdict("5.5-4-2", &declaration), Some(Verdict::Fail));
        declaration.ics = vec![row("5.5-4", "serves open weather data")];
        assert_eq!(verdict("5.5-4-2", &declaration), Some(Verdict::NotApplicable));
        declaration.ics = vec![row("5.5-1", "serves open weather data")];
        assert_eq!(verdict("5.5-1-2", &declaration), Some(Verdict::Fail));
    }
}
