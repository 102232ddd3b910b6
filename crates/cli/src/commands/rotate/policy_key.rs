//! `countersign authority rotate policy-key`: another key that signs policies.

use std::ops::ControlFlow;

use countersign_authority::Authority;
use countersign_authority::rotation::policy_key::{
    PolicyKeyRolled, PolicyKeyStatus, PolicyKeyStep,
};
use countersign_crypto::second::SecondAlgorithm;
use serde_json::json;

use super::{RotateArgs, Step, tell};
use crate::commands::policy::signing::{heard, outcome, serves};
use crate::console::json as print_json;
use crate::failure::{Ended, Failure};

/// Prepare and activate, or one step. Where `serve` runs, what became of the policy by the new key is waited for.
pub(super) async fn roll(authority: &Authority, arguments: &RotateArgs) -> Ended {
    if let Some(name) = arguments.algorithm.as_deref()
        && SecondAlgorithm::offered().iter().any(|one| one.name() == name)
    {
        return Err(Failure::environment(format!(
            "--algorithm {name}: that is the kind of the key of second signatures: say --second to roll it as well"
        )));
    }
    let go_on = |_: PolicyKeyStep| ControlFlow::Continue(());
    let wanted = |step: Step| arguments.step.map_or(step != Step::Retire, |only| only == step);
    let said = |word: &str, label: Option<String>| {
        let label = label.as_deref().unwrap_or("nothing");
        tell(arguments.json, &format!("{word:10} {label}"));
    };
    if wanted(Step::Prepare) {
        let algorithm = arguments.algorithm()?;
        let prepared = authority.prepare_policy_key(algorithm, arguments.second, go_on).await?;
        if let PolicyKeyRolled::Done { label, .. } = prepared {
            said("prepared", label);
        }
    }
    let mut failed = None;
    if wanted(Step::Activate) {
        let earlier = outcome(authority);
        if let PolicyKeyRolled::Done { label, published } =
            authority.activate_policy_key(go_on).await?
        {
            said("activated", label);
            if let Some(policy) = published {
                failed = followed(authority, arguments, &policy.document, earlier).await?;
            }
        }
        tell(
            arguments.json,
            "next       when that policy is in force: authority rotate policy-key --step retire",
        );
    }
    let mut awaited = false;
    if wanted(Step::Retire) {
        match authority.retire_policy_key(go_on).await? {
            PolicyKeyRolled::Done { label, .. } => said("retired", label),
            _ => awaited = true,
        }
    }
    if arguments.json {
        print_json(&json!({ "policy_keys": authority.policy_key_status().await? }));
    }
    let text = match (failed, awaited) {
        (Some(text), _) => text,
        (None, true) => "not retired: no policy by the new key is in force yet: let `serve` take it up, or publish one that can be in force".to_owned(),
        (None, false) => return Ok(()),
    };
    Err(Failure::found(if arguments.json { String::new() } else { text }))
}

/// What `serve` says of the policy by the new key; a text where it is not in force.
async fn followed(
    authority: &Authority,
    arguments: &RotateArgs,
    document: &[u8],
    earlier: Option<countersign_authority::PolicyOutcome>,
) -> Ended<Option<String>> {
    if !serves(&arguments.data)? {
        tell(
            arguments.json,
            "published  `countersign serve` takes the policy up at its next start",
        );
        return Ok(None);
    }
    match heard(authority, document, earlier).await? {
        Some(outcome) if outcome.activated() => {
            let version = outcome.version.unwrap_or_default();
            tell(arguments.json, &format!("in force   policy version {version}; devices follow"));
            Ok(None)
        }
        Some(outcome) => Ok(Some(format!(
            "the new key signs, and its first policy is not in force: {}: {}: publish one that can be",
            outcome.word, outcome.text
        ))),
        None => Ok(None),
    }
}

pub(super) fn line(one: &PolicyKeyStatus) -> String {
    format!(
        "{:14} {:14} {}, key {}{}{}",
        one.state.as_str(),
        one.label,
        one.algorithm.unwrap_or("unknown algorithm"),
        one.key_sha256,
        one.second_key_sha256.as_ref().map_or(String::new(), |key| format!(", second key {key}")),
        if one.in_force { ", signed the policy in force" } else { "" },
    )
}
