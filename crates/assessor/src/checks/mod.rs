//! Checks judge. Each is a pure function of the bundle: one file for each test case of TS 103 701, with
//! what several cases share in [`cryptography`] and [`authentication`].

mod applicability;
mod authentication;
mod cryptography;
mod parameters;
mod tc_5_5_1_1;
mod tc_5_5_1_2;
mod tc_5_5_2_1;
mod tc_5_5_2_2;
mod tc_5_5_3_1;
mod tc_5_5_4_1;
mod tc_5_5_4_2;
mod tc_5_5_5_1;
mod tc_5_5_5_2;
mod tc_5_5_6_1;
mod tc_5_5_6_2;
mod tc_5_5_7_1;
mod tc_5_5_7_2;
mod tc_5_5_8_1;

use crate::bundle::Bundle;
use crate::evidence::{AccessFacts, CanaryFacts, Facts, ScanFacts, TlsServerFacts};
use crate::statement::Statement;
use crate::verdict::{CaseVerdict, Finding, Unit, Verdict};
use countersign_model::ixit::{Declaration, RowId};

pub(crate) use applicability::applies;

/// The check of each test case, by the name that the registry knows it by.
pub(crate) fn units_of(id: &str, view: &View<'_>) -> Vec<Unit> {
    match id {
        "5.5-1-1" => tc_5_5_1_1::units(view),
        "5.5-1-2" => tc_5_5_1_2::units(view),
        "5.5-2-1" => tc_5_5_2_1::units(view),
        "5.5-2-2" => tc_5_5_2_2::units(view),
        "5.5-3-1" => tc_5_5_3_1::units(view),
        "5.5-4-1" => tc_5_5_4_1::units(view),
        "5.5-4-2" => tc_5_5_4_2::units(view),
        "5.5-5-1" => tc_5_5_5_1::units(view),
        "5.5-5-2" => tc_5_5_5_2::units(view),
        "5.5-6-1" => tc_5_5_6_1::units(view),
        "5.5-6-2" => tc_5_5_6_2::units(view),
        "5.5-7-1" => tc_5_5_7_1::units(view),
        "5.5-7-2" => tc_5_5_7_2::units(view),
        "5.5-8-1" => tc_5_5_8_1::units(view),
        _ => Vec::new(),
    }
}

/// Judges one test case: first whether it applies, then its units.
pub(crate) fn judge(id: &str, title: &str, view: &View<'_>) -> CaseVerdict {
    match applies(id, view.declaration()) {
        Some(finding) => CaseVerdict::new(
            id,
            title,
            vec![Unit::new("–", "Does the provision apply, and is it claimed?", vec![finding])],
        ),
        None => CaseVerdict::new(id, title, units_of(id, view)),
    }
}

/// A bundle, as checks look at it.
pub(crate) struct View<'a> {
    bundle: &'a Bundle,
    /// Statements that count.
    statements: Vec<&'a Statement>,
    /// Statements that do not, and why.
    rejected: Vec<(&'a str, String)>,
}

impl<'a> View<'a> {
    pub(crate) fn new(bundle: &'a Bundle) -> Self {
        let hash = Bundle::declaration_sha256(&bundle.declaration);
        let mut view = Self { bundle, statements: Vec::new(), rejected: Vec::new() };
        for signed in &bundle.statements {
            match signed.verify(&bundle.assessors, &hash) {
                Ok(statement) => view.statements.push(statement),
                Err(why) => view.rejected.push((&signed.statement.unit, why)),
            }
        }
        view
    }

    pub(crate) const fn bundle(&self) -> &'a Bundle {
        self.bundle
    }

    pub(crate) const fn declaration(&self) -> &'a Declaration {
        &self.bundle.declaration
    }

    fn facts(&self) -> impl Iterator<Item = (&'a str, &'a Facts)> + use<'a> {
        self.bundle.evidence.iter().map(|evidence| (evidence.id.as_str(), &evidence.facts))
    }

    pub(crate) fn tls(&self, listener: &RowId) -> Option<(&'a str, &'a TlsServerFacts)> {
        self.facts().find_map(|(id, facts)| match facts {
            Facts::TlsServer(tls) if tls.listener == *listener => Some((id, tls)),
            _ => None,
        })
    }

    pub(crate) fn access(&self) -> impl Iterator<Item = (&'a str, &'a AccessFacts)> + use<'a> {
        self.facts().filter_map(|(id, facts)| match facts {
            Facts::Access(access) => Some((id, access)),
            _ => None,
        })
    }

    pub(crate) fn scan(&self) -> Option<(&'a str, &'a ScanFacts)> {
        self.facts().find_map(|(id, facts)| match facts {
            Facts::PortScan(scan) => Some((id, scan)),
            _ => None,
        })
    }

    pub(crate) fn canaries(&self) -> impl Iterator<Item = (&'a str, &'a CanaryFacts)> + use<'a> {
        self.facts().filter_map(|(id, facts)| match facts {
            Facts::CanarySearch(search) => Some((id, search)),
            _ => None,
        })
    }

    /// What a person says about a subject of a unit; INCONCLUSIVE with `question` when nobody does.
    pub(crate) fn human(&self, unit: &str, subject: &str, question: &str) -> Finding {
        let about = |statement: &&&Statement| {
            statement.unit == unit
                && statement.subject.as_deref().is_none_or(|about| about == subject)
        };
        let stated: Vec<_> = self.statements.iter().filter(about).collect();
        // Where two assessors disagree, the worse judgement counts.
        if let Some(statement) = stated.iter().max_by_key(|statement| statement.verdict) {
            let reason = format!("{} (signed by {})", statement.reason, statement.assessor);
            return match statement.verdict {
                Verdict::Fail => Finding::fail(subject, reason, question, "judged not to hold"),
                _ => Finding::pass(subject, reason),
            };
        }
        let mut reason =
            format!("needs a person's judgement, and no signed statement answers: {question}");
        if let Some((_, why)) = self.rejected.iter().find(|(about, _)| *about == unit) {
            reason.push_str(&format!(" A statement about this unit does not count: {why}."));
        }
        Finding::inconclusive(subject, reason)
    }
}
