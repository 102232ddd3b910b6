//! Will a device's support period outlive its cryptography (provision 5.5-3)?
//!
//! A device whose algorithms cannot be replaced must not be supported for longer than each of them is recommended. A device
//! whose policy can be replaced discharges that by the replacement, as long as its build has something to replace it with:
//! for that device a list fails only when nothing that the build offers lasts as long as the support.

use std::collections::BTreeSet;

use countersign_model::registry::{Profile, Provenance, Registry, Standing, Verdict};
use countersign_model::time::Day;

use super::judge::{instead, kind_of};
use super::{Item, Policy, judge};

/// What is asked.
#[derive(Debug, Clone, Copy)]
pub struct Question {
    /// By which catalogues.
    pub profile: Profile,
    /// The day on which the device is judged.
    pub today: Day,
    /// The last day of its support.
    pub support_until: Day,
    /// Whether a signed policy can replace this one in the field.
    pub replaceable: bool,
}

/// One item that is not allowed, or does not last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The use, such as `device-uplink`, `document-signing`, `storage`; `policy` for the policy itself.
    pub subject: String,
    /// Its path in the policy.
    pub path: String,
    /// Its line in the text.
    pub line: Option<usize>,
    /// The item.
    pub item: String,
    /// The source that ends it; none when all are silent, or the policy itself ends it.
    pub source: Option<String>,
    /// How well the source's statement is known.
    pub provenance: Option<Provenance>,
    /// The last day on which it is allowed; none when it is not allowed today.
    pub until: Option<Day>,
    /// How it stands on the first day on which it is not allowed.
    pub status: &'static str,
    /// The statement in words, and what follows.
    pub told: String,
}

/// The answer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lifetime {
    /// Why the answer is no; empty when the cryptography lasts.
    pub findings: Vec<Finding>,
    /// What ends within the support and is to be replaced by then, for a replaceable device.
    pub to_replace: Vec<Finding>,
    /// The first day of support that the cryptography would not cover; none when nobody has said an end.
    pub first_day: Option<Day>,
}

//= specs/en-303-645.md#5.5-3
//# Where algorithms cannot be replaced, the support period SHOULD NOT outlive their recommended lifetime.
/// Answers for one policy. Pure: nothing is read but the policy, the registry and what this build offers.
#[must_use]
pub fn lifetime(policy: &Policy, question: Question) -> Lifetime {
    let mut ends = Ends { policy, question, answer: Lifetime::default(), days: BTreeSet::new() };
    ends.not_allowed_today();
    for (list, items) in policy.lists() {
        ends.list(&list, items);
    }
    ends.expiry();
    ends.answer.first_day = ends.days.first().copied();
    ends.answer
}

struct Ends<'a> {
    policy: &'a Policy,
    question: Question,
    answer: Lifetime,
    /// First days on which something would fail.
    days: BTreeSet<Day>,
}

impl Ends<'_> {
    fn not_allowed_today(&mut self) {
        let Question { profile, today, .. } = self.question;
        for judged in judge(self.policy, profile, today) {
            if !judged.may_stand() {
                self.days.insert(today);
                let found = self.finding(&judged.path, &judged.item.name, &judged.verdict, None);
                self.answer.findings.push(found);
            }
        }
    }

    fn list(&mut self, list: &str, items: &[Item]) {
        let Question { profile, today, support_until, replaceable } = self.question;
        if items.is_empty() {
            return;
        }
        let registry = Registry::built_in();
        let refusal = |name: &str| registry.first_refusal(kind_of(list), name, profile, today);
        let offered = items.iter().enumerate().filter(|(_, item)| item.offered_on(today));
        let mut ending = Vec::new();
        for (index, item) in offered {
            match refusal(&item.name) {
                // Accepted with a reason, or found above.
                Some((day, _)) if day <= today => {}
                // Its own end comes first, and needs nobody.
                Some((day, _)) if item.until.is_some_and(|until| until < day) => {}
                Some((day, verdict)) => {
                    let path = format!("{list}[{index}]");
                    ending.push((day, self.finding(&path, &item.name, &verdict, Some(day))));
                }
                None => {}
            }
        }
        let empty_from = self.emptied(list, items);
        if !replaceable {
            for (day, found) in ending {
                self.days.insert(day);
                if day <= support_until {
                    self.answer.findings.push(found);
                }
            }
            if let Some((day, found)) = empty_from {
                self.days.insert(day);
                if day <= support_until {
                    self.answer.findings.push(found);
                }
            }
            return;
        }
        // Whatever this build offers may stand in the next policy.
        let successors = instead(list, profile, today);
        let accepted = judge(self.policy, profile, today)
            .iter()
            .any(|judged| judged.list == list && judged.accepted().is_some());
        let lasting: Vec<&str> = successors
            .iter()
            .copied()
            .filter(|name| refusal(name).is_none_or(|(day, _)| support_until < day))
            .collect();
        let last = successors
            .iter()
            .map(|name| refusal(name).map(|(day, _)| day))
            .try_fold(today, |last, day| day.map(|day| last.max(day)));
        if !accepted && let Some(day) = last {
            self.days.insert(day);
        }
        let due = ending.into_iter().chain(empty_from).filter(|(day, _)| *day <= support_until);
        for (_, mut found) in due {
            if lasting.is_empty() && !accepted {
                found.told += "; nothing that this build offers lasts as long: its successor needs an update of the firmware";
                self.answer.findings.push(found);
            } else {
                if !lasting.is_empty() {
                    found.told += &format!("; replace it by then: {}", lasting.join(" or "));
                }
                self.answer.to_replace.push(found);
            }
        }
    }

    /// The day on which the items' own ends leave a list empty.
    fn emptied(&self, list: &str, items: &[Item]) -> Option<(Day, Finding)> {
        let until = items
            .iter()
            .map(|item| item.until)
            .try_fold(None, |last, until| until.map(|until| last.max(Some(until))))??;
        let index = items.iter().position(|item| item.until == Some(until))?;
        let path = format!("{list}[{index}]");
        let found = Finding {
            source: None,
            provenance: None,
            until: Some(until),
            status: "ended",
            told: format!("the policy itself offers it until {until}, and nothing after it"),
            ..self.blank(&path, &items[index].name)
        };
        Some((until.next(), found))
    }

    fn expiry(&mut self) {
        let (expires, support) = (self.policy.expires, self.question.support_until);
        let found = Finding {
            until: Some(expires),
            status: "ended",
            told: format!("the policy expires on {expires}: sign its successor before"),
            ..self.blank("expires", &expires.to_string())
        };
        if expires < self.question.today {
            self.days.insert(self.question.today);
            let told = format!("the policy expired on {expires}: sign its successor");
            self.answer.findings.push(Finding { told, ..found });
            return;
        }
        if self.question.replaceable {
            if expires < support {
                self.answer.to_replace.push(found);
            }
            return;
        }
        self.days.insert(expires.next());
        if expires < support {
            let told = format!("the policy expires on {expires}, and no other can replace it");
            self.answer.findings.push(Finding { told, ..found });
        }
    }

    fn finding(&self, path: &str, item: &str, verdict: &Verdict<'_>, day: Option<Day>) -> Finding {
        let worst = verdict.worst();
        Finding {
            source: worst.map(|said| said.statement.source.clone()),
            provenance: verdict.provenance(),
            until: day.map(Day::previous),
            status: word(verdict.standing),
            told: verdict.to_string(),
            ..self.blank(path, item)
        }
    }

    fn blank(&self, path: &str, item: &str) -> Finding {
        let list = path.split('[').next().unwrap_or(path);
        let above = list.rsplit_once('.').map_or("policy", |(above, _)| above);
        Finding {
            subject: above.strip_prefix("uses.").unwrap_or(above).to_owned(),
            path: path.to_owned(),
            line: self.policy.line(path),
            item: item.to_owned(),
            source: None,
            provenance: None,
            until: None,
            status: "",
            told: String::new(),
        }
    }
}

/// The word for machines.
fn word(standing: Standing) -> &'static str {
    match standing {
        Standing::Recommended => "recommended",
        Standing::Acceptable => "acceptable",
        Standing::Legacy => "legacy",
        Standing::NotListed => "not-listed",
        Standing::Deprecated => "deprecated",
        Standing::Ended => "ended",
        Standing::Disallowed => "disallowed",
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
