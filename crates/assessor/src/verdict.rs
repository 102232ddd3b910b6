//! Verdicts and how they add up. A reason stands beside every verdict; there is no constructor without one.

use serde::{Deserialize, Serialize};

/// The verdict of a finding, unit or test case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Verdict {
    /// It does not apply, for a stated reason.
    #[serde(rename = "NOT APPLICABLE")]
    NotApplicable,
    /// Seen to hold.
    #[serde(rename = "PASS")]
    Pass,
    /// Not known.
    #[serde(rename = "INCONCLUSIVE")]
    Inconclusive,
    /// Seen not to hold.
    #[serde(rename = "FAIL")]
    Fail,
}

impl Verdict {
    /// The words in documents.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotApplicable => "NOT APPLICABLE",
            Self::Pass => "PASS",
            Self::Inconclusive => "INCONCLUSIVE",
            Self::Fail => "FAIL",
        }
    }

    //= specs/house.md#house-assessor
    //# A verdict MUST be the worst of its units.
    /// The worst of several: FAIL, then INCONCLUSIVE, then PASS. What does not apply adds nothing; when
    /// nothing applies, neither does the whole. Of nothing at all, nothing is known.
    pub fn worst_of(parts: impl IntoIterator<Item = Self>) -> Self {
        parts.into_iter().max().unwrap_or(Self::Inconclusive)
    }
}

impl std::fmt::Display for Verdict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A verdict about one subject, with its reason and its evidence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Finding {
    /// What it is about: a row's id, a listener, an affordance, a parameter.
    pub subject: String,
    /// The verdict.
    pub verdict: Verdict,
    /// Why.
    pub reason: String,
    /// What the declaration says, where the two are compared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected: Option<String>,
    /// What was seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed: Option<String>,
    /// Ids of the evidence.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub evidence: Vec<String>,
}

impl Finding {
    fn new(subject: impl Into<String>, verdict: Verdict, reason: impl Into<String>) -> Self {
        Self {
            subject: subject.into(),
            verdict,
            reason: reason.into(),
            expected: None,
            observed: None,
            evidence: Vec::new(),
        }
    }

    /// Seen to hold.
    pub fn pass(subject: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::new(subject, Verdict::Pass, reason)
    }

    /// Seen not to hold: what was expected, and what was seen instead.
    pub fn fail(
        subject: impl Into<String>,
        reason: impl Into<String>,
        expected: impl Into<String>,
        observed: impl Into<String>,
    ) -> Self {
        let mut finding = Self::new(subject, Verdict::Fail, reason);
        finding.expected = Some(expected.into());
        finding.observed = Some(observed.into());
        finding
    }

    /// Not known, and why not.
    pub fn inconclusive(subject: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::new(subject, Verdict::Inconclusive, reason)
    }

    /// Does not apply, and why not.
    pub fn not_applicable(subject: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::new(subject, Verdict::NotApplicable, reason)
    }

    /// Points at evidence.
    #[must_use]
    pub fn with_evidence(mut self, id: &str) -> Self {
        if !self.evidence.iter().any(|known| known == id) {
            self.evidence.push(id.to_owned());
        }
        self
    }

    /// Tells what was seen, where that is not already said.
    #[must_use]
    pub fn seen(mut self, observed: impl Into<String>) -> Self {
        self.observed = Some(observed.into());
        self
    }
}

/// One test unit of a test case.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Unit {
    /// `a`, `b`, ….
    pub id: String,
    /// What it asks, in our words.
    pub asks: String,
    /// The worst of its findings.
    pub verdict: Verdict,
    /// One for each subject.
    pub findings: Vec<Finding>,
}

impl Unit {
    //= specs/house.md#house-assessor
    //# A verdict MUST NOT come from absence.
    /// Adds findings up. No finding at all is INCONCLUSIVE, and says so.
    #[must_use]
    pub fn new(id: &str, asks: &str, mut findings: Vec<Finding>) -> Self {
        if findings.is_empty() {
            findings.push(Finding::inconclusive(
                "declaration",
                "the declaration has no row that this unit could be about",
            ));
        }
        let verdict = Verdict::worst_of(findings.iter().map(|finding| finding.verdict));
        Self { id: id.to_owned(), asks: asks.to_owned(), verdict, findings }
    }
}

/// One test case.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CaseVerdict {
    /// For example `5.5-1-1`.
    pub id: String,
    /// Its title, in our words.
    pub title: String,
    /// The worst of its units.
    pub verdict: Verdict,
    /// The first reason for that verdict.
    pub reason: String,
    /// Its units.
    pub units: Vec<Unit>,
}

impl CaseVerdict {
    /// Adds units up.
    #[must_use]
    pub fn new(id: &str, title: &str, units: Vec<Unit>) -> Self {
        let verdict = Verdict::worst_of(units.iter().map(|unit| unit.verdict));
        let deciding: Vec<&Finding> = units
            .iter()
            .flat_map(|unit| &unit.findings)
            .filter(|finding| finding.verdict == verdict)
            .collect();
        let reason = match deciding.as_slice() {
            [] => "no unit was judged".to_owned(),
            [only] => format!("{}: {}", only.subject, only.reason),
            _ if verdict == Verdict::Pass => format!("all {} findings hold", deciding.len()),
            [first, rest @ ..] => {
                format!("{}: {} (and {} more)", first.subject, first.reason, rest.len())
            }
        };
        Self { id: id.to_owned(), title: title.to_owned(), verdict, reason, units }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    //= specs/house.md#house-assessor
    //= type=test
    //# A verdict MUST be the worst of its units.
    #[test]
    fn the_worst_counts_and_nothing_is_not_a_pass() {
        use Verdict::{Fail, Inconclusive, NotApplicable, Pass};
        assert_eq!(Verdict::worst_of([Pass, Inconclusive, Fail]), Fail);
        assert_eq!(Verdict::worst_of([Pass, Inconclusive, NotApplicable]), Inconclusive);
        assert_eq!(Verdict::worst_of([NotApplicable, Pass]), Pass);
        assert_eq!(Verdict::worst_of([NotApplicable]), NotApplicable);
        assert_eq!(Verdict::worst_of([]), Inconclusive);
        assert_eq!(Unit::new("a", "?", vec![]).verdict, Inconclusive);
        assert_eq!(CaseVerdict::new("x", "y", vec![]).verdict, Inconclusive);
    }

    proptest! {
        #[test]
        fn a_pass_needs_every_part_to_pass(parts in proptest::collection::vec(0..4u8, 0..8)) {
            let all = [Verdict::NotApplicable, Verdict::Pass, Verdict::Inconclusive, Verdict::Fail];
            let parts: Vec<Verdict> = parts.into_iter().map(|part| all[usize::from(part)]).collect();
            let whole = Verdict::worst_of(parts.iter().copied());
            if whole == Verdict::Pass {
                prop_assert!(parts.contains(&Verdict::Pass));
                prop_assert!(!parts.contains(&Verdict::Fail) && !parts.contains(&Verdict::Inconclusive));
            }
        }
    }
}
