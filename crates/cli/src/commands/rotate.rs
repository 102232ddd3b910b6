//! `countersign authority rotate`: the issuing CAs' successors, by hand or as the policy in force demands; the root's and the policy
//! key's.

mod policy_key;
mod reach;

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::time::Duration;

use clap::ValueEnum;
use countersign_authority::rotation::follow::Finding;
use countersign_authority::rotation::root::{RootRolled, RootStep};
use countersign_authority::rotation::{
    GRACE, GenerationStatus, PUBLICATION, Retirement, RollStep, Rolled,
};
use countersign_authority::{Authority, IssuingCa};
use countersign_crypto::signature::SignatureAlgorithm;
use serde_json::json;

use super::authority::open;
use crate::complete::Known;
use crate::console::{json as print_json, say};
use crate::failure::{Ended, Failure};

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum What {
    /// Where every issuing CA stands, and what stands against the policy in force.
    Status,
    /// Roll the root itself.
    Root,
    /// Roll the key that signs policies.
    PolicyKey,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Step {
    /// Make the successor and publish it.
    Prepare,
    /// Let it issue in place of the one before.
    Activate,
    /// Destroy the one before, once all that it issued is replaced or has expired.
    Retire,
    /// Of the root alone: let devices let go of every root before the one that signs, for ever. After a compromise, directly after the
    /// issuing CAs have rolled.
    Withdraw,
}

#[derive(Debug, clap::Args)]
pub(crate) struct RotateArgs {
    /// `status`: only look. `root`: roll the root itself. `policy-key`: roll the key that signs policies.
    #[arg(value_enum)]
    what: Option<What>,
    /// The authority's data folder.
    #[arg(long)]
    data: PathBuf,
    /// The issuing CA to roll: idevid, ldevid or service.
    #[arg(long, conflicts_with = "for_policy", required_unless_present_any = ["what", "for_policy"],
        add = Known::Ca)]
    ca: Option<IssuingCa>,
    /// The new key's algorithm; left out: what the policy in force prefers of what lasts.
    #[arg(long, value_name = "NAME", add = Known::Algorithm)]
    algorithm: Option<String>,
    /// One step only; left out: prepare, activate, and retire if nothing waits for it.
    #[arg(long, value_enum)]
    step: Option<Step>,
    /// Roll every CA that the policy in force demands, and name what cannot be mended so.
    #[arg(long)]
    for_policy: bool,
    /// How many hours a successor must be out before the certificate before it counts as replaced.
    #[arg(long, requires = "ca", default_value_t = GRACE.as_secs() / 3600)]
    grace_hours: u64,
    /// Retire even where subjects have no successor yet: they are cut off until they enrol anew.
    #[arg(long, requires = "ca")]
    at_once: bool,
    /// Activate the next root, or withdraw the old ones, even where as many devices that were seen lately have not acknowledged a newer
    /// one: they come back by the cross-certificates, as those do that sleep.
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    without_acknowledgement: u64,
    /// Devices that were not seen for this long sleep, and no step of the root waits for them: 90m, 12h, 30d.
    #[arg(long, value_parser = super::policy::duration, default_value = "30d", value_name = "TIME")]
    not_seen_for: Duration,
    /// `policy-key`: another key of second signatures (ML-DSA) as well; the one before signs that it follows.
    #[arg(long, requires = "what")]
    second: bool,
    #[command(flatten)]
    access: super::authority::root::AccessArgs,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

impl RotateArgs {
    fn algorithm(&self) -> Ended<Option<SignatureAlgorithm>> {
        let named = |name: &String| {
            SignatureAlgorithm::from_name(name).ok_or_else(|| {
                let names = SignatureAlgorithm::ALL.map(SignatureAlgorithm::name).join(" or ");
                Failure::environment(format!("--algorithm {name}: use {names}"))
            })
        };
        self.algorithm.as_ref().map(named).transpose()
    }
}

pub(crate) async fn run(arguments: RotateArgs) -> Ended {
    if arguments.second && arguments.what != Some(What::PolicyKey) {
        return Err(Failure::environment(
            "--second: only the policy key has a second one: say `authority rotate policy-key --second`",
        ));
    }
    if arguments.step == Some(Step::Withdraw) && arguments.what != Some(What::Root) {
        return Err(Failure::environment(
            "--step withdraw: only roots are withdrawn, `authority rotate root --step withdraw`; a CA or a policy key is retired",
        ));
    }
    let authority = open(&arguments.data).await?;
    match (arguments.what, arguments.ca) {
        (Some(What::Status), _) => status(&authority, &arguments).await,
        (Some(What::Root), _) => roll_root(&authority, &arguments).await,
        (Some(What::PolicyKey), _) => policy_key::roll(&authority, &arguments).await,
        (None, Some(ca)) => roll(&authority, ca, &arguments).await,
        (None, None) => follow(&authority, arguments.json).await,
    }
}

async fn roll(authority: &Authority, ca: IssuingCa, arguments: &RotateArgs) -> Ended {
    let go_on = |_: RollStep| ControlFlow::Continue(());
    let wanted = |step: Step| arguments.step.is_none_or(|only| only == step);
    if wanted(Step::Prepare) {
        let algorithm = arguments.algorithm()?;
        let access = arguments.access.read()?;
        let prepared = authority.prepare_ca_with(ca, algorithm, &access, go_on).await;
        if let Rolled::Done { labels } = prepared.map_err(super::authority::root::refused)? {
            tell(arguments.json, &format!("prepared   {}", labels.join(", ")));
        }
    }
    if wanted(Step::Activate) {
        let mut rolled = authority.activate_ca(ca, go_on).await?;
        if let Rolled::NotBefore(_) = rolled {
            tokio::time::sleep(PUBLICATION).await;
            rolled = authority.activate_ca(ca, go_on).await?;
        }
        match rolled {
            Rolled::Done { labels } if labels.is_empty() => {
                tell(
                    arguments.json,
                    &format!("activated  nothing: {} has none prepared", ca.label()),
                );
            }
            Rolled::Done { labels } => {
                tell(arguments.json, &format!("activated  {}", labels.join(", ")));
            }
            _ => return Err(Failure::environment("the clock stands still: try again")),
        }
    }
    let mut waiting = false;
    if wanted(Step::Retire) {
        let grace = Duration::from_secs(arguments.grace_hours.saturating_mul(3600));
        let when = if arguments.at_once { Retirement::AtOnce } else { Retirement::Replaced(grace) };
        match authority.retire_ca(ca, when, go_on).await? {
            Rolled::Outstanding(all) => {
                waiting = true;
                for (label, outstanding) in all {
                    tell(
                        arguments.json,
                        &format!(
                            "waiting    {label}: {} of {} certificates have no successor of {} h yet; the last ends {}",
                            outstanding.alone,
                            outstanding.good,
                            arguments.grace_hours,
                            outstanding.last.to_rfc3339(),
                        ),
                    );
                }
            }
            Rolled::Done { labels } if labels.is_empty() => {}
            Rolled::Done { labels } => {
                tell(arguments.json, &format!("retired    {}", labels.join(", ")));
            }
            _ => {}
        }
    }
    if arguments.json {
        print_json(&json!({ "authorities": authority.rotation_status().await? }));
    }
    // Who asked for the retirement and did not get it, is told so by the exit code too.
    if waiting && arguments.step == Some(Step::Retire) {
        let text = "not retired: wait for the renewals, or say --at-once and cut the rest off";
        return Err(Failure::found(if arguments.json { "" } else { text }));
    }
    Ok(())
}

/// The root's roll: prepare and activate, or one step. What it needs next is said.
async fn roll_root(authority: &Authority, arguments: &RotateArgs) -> Ended {
    let go_on = |_: RootStep| ControlFlow::Continue(());
    let alone = [Step::Retire, Step::Withdraw];
    let wanted = |step: Step| arguments.step.map_or(!alone.contains(&step), |only| only == step);
    if wanted(Step::Withdraw) {
        return withdraw(authority, arguments).await;
    }
    let done = |word: &str, rolled: &RootRolled| {
        if let RootRolled::Done(label) = rolled {
            let label = label.as_deref().unwrap_or("nothing");
            tell(arguments.json, &format!("{word:10} {label}"));
        }
    };
    if wanted(Step::Prepare) {
        let algorithm = arguments.algorithm()?;
        let access = arguments.access.read()?;
        let prepared = authority.prepare_root(algorithm, &access, go_on).await;
        done("prepared", &prepared.map_err(super::authority::root::refused)?);
    }
    if wanted(Step::Activate) {
        let (lately, without) = (arguments.not_seen_for, arguments.without_acknowledgement);
        let (rolled, counted) =
            reach::activate(authority, &arguments.data, lately, without).await?;
        if let Some(counted) = &counted {
            tell(arguments.json, &reach::line("the next root", counted));
        }
        if let RootRolled::Unacknowledged(missing) = rolled {
            if arguments.json {
                let roots = authority.root_status().await?;
                print_json(&json!({ "roots": roots, "reached": counted }));
            }
            return Err(reach::too_few("activated", missing.len(), arguments.json));
        }
        done("activated", &rolled);
        tell(
            arguments.json,
            "next       roll each issuing CA: authority rotate --ca idevid, ldevid, service; then --step retire",
        );
    }
    let mut needed = None;
    if wanted(Step::Retire) {
        match authority.retire_root(go_on).await? {
            RootRolled::Needed(labels) => needed = Some(labels.join(", ")),
            rolled => done("retired", &rolled),
        }
    }
    if arguments.json {
        print_json(&json!({ "roots": authority.root_status().await?, "needed": needed }));
    }
    match needed {
        None => Ok(()),
        Some(labels) => Err(Failure::found(if arguments.json {
            String::new()
        } else {
            format!("not retired: {labels} issue below the old root: roll them first")
        })),
    }
}

/// Every root before the one that signs is withdrawn, or it is said who would be lost.
async fn withdraw(authority: &Authority, arguments: &RotateArgs) -> Ended {
    let (lately, without) = (arguments.not_seen_for, arguments.without_acknowledgement);
    let access = arguments.access.read()?;
    let (rolled, counted) =
        reach::withdraw(authority, &arguments.data, lately, without, &access).await?;
    tell(arguments.json, &reach::line("a root that is left", &counted));
    let refusal = match &rolled {
        RootRolled::Done(None) => {
            tell(
                arguments.json,
                "withdrawn  nothing: no root before the one that signs is an anchor",
            );
            None
        }
        RootRolled::Done(Some(label)) => {
            tell(arguments.json, &format!("withdrawn  every root before {label}"));
            tell(
                arguments.json,
                "next       give services the new roots.pem, and controllers device-roots.pem; `rotate status` shows which devices have let go",
            );
            None
        }
        RootRolled::Needed(labels) => Some(format!(
            "{} issue below the old roots, and devices that let go of those would not believe what they issue: roll them first, `authority rotate --ca NAME`",
            labels.join(", ")
        )),
        RootRolled::Serving(names) => Some(format!(
            "{} servers have no certificate below a root that is left ({}): let `serve` renew them, or revoke what is not used any more",
            names.len(),
            names.join(", ")
        )),
        RootRolled::Unacknowledged(missing) => {
            return match arguments.json {
                true => {
                    let roots = authority.root_status().await?;
                    print_json(&json!({ "roots": roots, "reached": counted }));
                    Err(reach::too_few("withdrawn", missing.len(), true))
                }
                false => Err(reach::too_few("withdrawn", missing.len(), false)),
            };
        }
        RootRolled::NotBefore(_) | RootRolled::Stopped(_) => None,
    };
    if arguments.json {
        let (needed, serving) = match &rolled {
            RootRolled::Needed(labels) => (Some(labels), None),
            RootRolled::Serving(names) => (None, Some(names)),
            _ => (None, None),
        };
        let roots = authority.root_status().await?;
        print_json(
            &json!({ "roots": roots, "reached": counted, "needed": needed, "serving": serving }),
        );
    }
    match refusal {
        None => Ok(()),
        Some(_) if arguments.json => Err(Failure::found("")),
        Some(why) => Err(Failure::found(format!("not withdrawn: {why}"))),
    }
}

async fn follow(authority: &Authority, as_json: bool) -> Ended {
    let followed = authority.follow_policy(tokio::time::sleep).await?;
    if as_json {
        print_json(&json!({ "rolled": followed.rolled, "findings": followed.findings }));
    } else {
        for label in &followed.rolled {
            say(&format!(
                "rolled     {label} issues now; what the one before issued counts until it is replaced"
            ));
        }
        if followed.rolled.is_empty() {
            say("rolled     nothing");
        }
    }
    found(&followed.findings, as_json)
}

async fn status(authority: &Authority, arguments: &RotateArgs) -> Ended {
    let as_json = arguments.json;
    let reached = reach::of_newest(authority, &arguments.data, arguments.not_seen_for).await?;
    let gone = reach::let_go(authority, &arguments.data, arguments.not_seen_for).await?;
    let all = authority.rotation_status().await?;
    let findings = authority.policy_findings()?;
    let roots = authority.root_status().await?;
    let needs = authority.root_needs()?;
    let keys = authority.policy_key_status().await?;
    if as_json {
        print_json(&json!({
            "roots": roots, "authorities": all, "policy_keys": keys, "findings": findings, "root_needed": needs,
            "reached": reached.map(|(label, counted)| json!({ "root": label, "devices": counted })),
            "let_go": gone.map(|(label, counted)| json!({ "before": label, "devices": counted })),
        }));
    } else {
        for one in &roots {
            let (state, algorithm) =
                (one.state.as_str(), one.algorithm.unwrap_or("unknown algorithm"));
            let withdrawn = one.withdrawn.as_ref();
            let withdrawn = withdrawn.map_or(String::new(), |at| format!(", withdrawn {at}"));
            say(&format!(
                "{state:14} {:14} {algorithm}, certificate {}{withdrawn}",
                one.label, one.certificate_sha256
            ));
        }
        if let Some((label, counted)) = &reached {
            say(&reach::line(label, counted));
        }
        if let Some((label, counted)) = &gone {
            say(&reach::let_go_line(label, counted));
        }
        for one in &needs {
            say(&format!("by {}  {}: {}", one.before, one.key, one.what));
        }
        for one in &all {
            say(&line(one));
        }
        for one in &keys {
            say(&policy_key::line(one));
        }
    }
    found(&findings, as_json)
}

fn line(one: &GenerationStatus) -> String {
    let since = one.since.as_deref().unwrap_or("the ceremony");
    let outstanding = one.outstanding;
    format!(
        "{:14} {:14} since {since}, {}, {} certificates count, {} of them without successor",
        one.state.as_str(),
        one.label,
        one.algorithm.unwrap_or("unknown algorithm"),
        outstanding.good,
        outstanding.alone,
    )
}

/// Exit code 1 names what stands against the policy.
fn found(findings: &[Finding], as_json: bool) -> Ended {
    if findings.is_empty() {
        return Ok(());
    }
    let lines: Vec<String> =
        findings.iter().map(|one| format!("{}: {}", one.key, one.what)).collect();
    Err(Failure::found(if as_json { String::new() } else { lines.join("\n") }))
}

fn tell(as_json: bool, text: &str) {
    if !as_json {
        say(text);
    }
}
