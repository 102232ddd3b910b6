//! `policy show`.

use std::path::PathBuf;

use countersign_crypto::policy::{DEFAULT_TOML, Policy, judge};
use countersign_crypto::tls::{Clock as _, SystemClock};
use countersign_model::registry::{Profile, Registry};
use countersign_model::time::Day;
use serde_json::json;

use super::read::{Read, read};
use crate::complete::Known;
use crate::console::{json, say};
use crate::failure::Ended;

#[derive(Debug, clap::Args)]
pub(crate) struct ShowArgs {
    /// A policy's TOML, or a signed policy; left out: the one that this build carries.
    #[arg(add = Known::POLICY)]
    file: Option<PathBuf>,
    /// The policy key's public half (PEM certificate or SubjectPublicKeyInfo, DER) to verify a signed policy with; a second
    /// signature is held against `policy-key-second.spki` beside it.
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// Say of each item how the catalogues of the profile hold it today, and how well that is known.
    #[arg(long)]
    explain: bool,
    /// With --explain: judge by this profile instead of the policy's own.
    #[arg(long, requires = "explain", add = Known::Profile)]
    profile: Option<Profile>,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: ShowArgs) -> Ended {
    let Read { policy, verified_with } = match &arguments.file {
        Some(path) => read(path, arguments.key.as_deref())?,
        None => Read { policy: Policy::built_in(), verified_with: None },
    };
    let profile = arguments.profile.unwrap_or(policy.profile);
    let today = Day::of(SystemClock.now());
    if arguments.json {
        let mut shown = serde_json::to_value(&policy)?;
        if arguments.explain {
            shown = json!({ "policy": shown, "profile": profile, "judged_on": today,
                "items": explained(&policy, profile, today) });
        }
        json(&shown);
        return Ok(());
    }
    if let Some(key) = verified_with {
        say(&format!("# signature verified with {key}"));
    }
    if arguments.explain {
        explain(&policy, profile, today);
    } else if arguments.file.is_none() {
        say(DEFAULT_TOML.trim_end());
    } else {
        say(toml::to_string_pretty(&policy)?.trim_end());
    }
    Ok(())
}

fn explained(policy: &Policy, profile: Profile, today: Day) -> Vec<serde_json::Value> {
    judge(policy, profile, today)
        .iter()
        .map(|judged| {
            json!({
                "field": judged.path,
                "item": judged.item,
                "status": judged.verdict.standing,
                "allowed": judged.verdict.is_allowed(),
                "accepted_because": judged.accepted(),
                "source": judged.verdict.worst().map(|said| &said.statement.source),
                "provenance": judged.verdict.provenance(),
                "told": judged.told(),
            })
        })
        .collect()
}

fn explain(policy: &Policy, profile: Profile, today: Day) {
    let registry = Registry::built_in();
    say(&format!("Version {}, until {}, on {today}", policy.version, policy.expires));
    say(&format!(
        "Judged by {profile}: {} (registry of {})",
        registry.profile(profile).title,
        registry.edition()
    ));
    let mut list = String::new();
    for judged in judge(policy, profile, today) {
        if judged.list != list {
            say(&format!("\n{}", judged.list));
            list.clone_from(&judged.list);
        }
        let mark = match (judged.verdict.is_allowed(), judged.accepted()) {
            (true, _) => "+",
            (false, Some(_)) => "~",
            (false, None) => "-",
        };
        say(&format!("  {mark} {}", judged.item.name));
        if let Some(until) = judged.item.until {
            say(&format!("      offered until {until}"));
        }
        say(&format!("      {}", judged.told()));
    }
    say("\n+ allowed   ~ not listed, accepted by this policy   - refused");
}
