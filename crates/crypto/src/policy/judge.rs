//! A policy held against the catalogues of its profile.

use countersign_model::registry::{Kind, Profile, Registry, Standing, Verdict};
use countersign_model::time::Day;

use super::{CompileError, Item, Policy};
use crate::provider;
use crate::second::SecondAlgorithm;

/// One item of a policy, and how its profile holds it.
#[derive(Debug, Clone)]
pub struct Judged<'a> {
    /// The list that it stands in, such as `uses.pairing.groups`.
    pub list: String,
    /// Its path, such as `uses.pairing.groups[1]`.
    pub path: String,
    /// The item.
    pub item: &'a Item,
    /// What the catalogues say.
    pub verdict: Verdict<'static>,
}

impl Judged<'_> {
    /// Whether it may stand in a policy that is put in force: allowed, or listed nowhere and accepted with a reason. The
    /// latter is shown as *not listed, accepted because …*, never as allowed.
    #[must_use]
    pub fn may_stand(&self) -> bool {
        self.verdict.is_allowed() || self.accepted().is_some()
    }

    /// The reason why it was accepted although no source lists it.
    #[must_use]
    pub fn accepted(&self) -> Option<&str> {
        (self.verdict.standing == Standing::NotListed).then_some(self.item.because.as_deref())?
    }

    /// How it stands, in words: the catalogue's, and the policy's own reason where one counts.
    #[must_use]
    pub fn told(&self) -> String {
        match self.accepted() {
            Some(because) => format!("{}, accepted because {because}", self.verdict),
            None => self.verdict.to_string(),
        }
    }
}

/// Every item that is offered on `day`, held against `profile`, in the order of the document.
#[must_use]
pub fn judge(policy: &Policy, profile: Profile, day: Day) -> Vec<Judged<'_>> {
    let registry = Registry::built_in();
    let mut judged = Vec::new();
    for (list, items) in policy.lists() {
        let kind = kind_of(&list);
        for (index, item) in items.iter().enumerate().filter(|(_, item)| item.offered_on(day)) {
            let verdict = registry.verdict(kind, &item.name, profile, day);
            judged.push(Judged {
                list: list.clone(),
                path: format!("{list}[{index}]"),
                item,
                verdict,
            });
        }
    }
    judged
}

/// What the profile refuses, as errors of the policy's author.
pub(super) fn faults(policy: &Policy, day: Day) -> Vec<CompileError> {
    let profile = policy.profile;
    judge(policy, profile, day)
        .into_iter()
        .filter(|judged| !judged.may_stand())
        .map(|judged| {
            let not_listed = judged.verdict.standing == Standing::NotListed;
            let instead = instead(&judged.list, profile, day);
            let mend = match (not_listed, instead.is_empty()) {
                (true, _) => format!(
                    "use {}, or accept it with because = \"…\"",
                    if instead.is_empty() { "another".to_owned() } else { instead.join(" or ") }
                ),
                (false, false) => format!("use {}", instead.join(" or ")),
                (false, true) => {
                    format!("nothing that this build offers is allowed by {profile}: choose another profile")
                }
            };
            CompileError {
                line: policy.line(&judged.path),
                item: Some(judged.item.name.clone()),
                fault: match judged.verdict.standing {
                    Standing::NotListed => format!("is not listed by profile {profile}"),
                    standing => format!("is {standing} on {day} by profile {profile}"),
                },
                statement: judged.verdict.worst().map(|said| said.to_string()),
                mend,
                path: judged.path,
            }
        })
        .collect()
}

/// What the provider offers for a list and the profile allows on the day.
pub(super) fn instead(list: &str, profile: Profile, day: Day) -> Vec<&'static str> {
    let allowed = |name: &&'static str| {
        Registry::built_in().verdict(kind_of(list), name, profile, day).is_allowed()
    };
    offered(list).into_iter().filter(allowed).collect()
}

/// What the registry calls the items of a list.
pub(super) fn kind_of(list: &str) -> Kind {
    match field(list) {
        "versions" => Kind::Protocol,
        "groups" => Kind::Group,
        "suites" => Kind::Suite,
        "aead" => Kind::Cipher,
        _ => Kind::Signature,
    }
}

/// Everything that the provider offers for a list, by name.
fn offered(list: &str) -> Vec<&'static str> {
    match field(list) {
        "versions" => super::compile::VERSIONS.to_vec(),
        "groups" => provider::GROUPS.iter().map(|group| group.name).collect(),
        "suites" => provider::SUITES.iter().map(|suite| suite.name).collect(),
        "aead" => vec![provider::SEAL_AEAD],
        "second" => SecondAlgorithm::offered().iter().map(|second| second.name()).collect(),
        _ => provider::SCHEMES.iter().map(|scheme| scheme.name).collect(),
    }
}

fn field(list: &str) -> &str {
    list.rsplit('.').next().unwrap_or(list)
}
