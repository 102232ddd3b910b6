//! `policy check`.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use countersign_crypto::policy::{
    CompileError, CompiledPolicy, Finding, Lifetime, Policy, Question, judge, lifetime,
};
use countersign_crypto::tls::{Clock as _, SystemClock};
use countersign_model::registry::{Profile, Registry};
use countersign_model::time::Day;
use serde_json::json;

use super::read::read;
use crate::complete::Known;
use crate::console::{json, say};
use crate::failure::{Ended, Failure};

/// Years of support when none are named: the least that the Cyber Resilience Act asks for (article 13, paragraph 8).
const SUPPORT_YEARS: u16 = 5;

pub(super) const HELP: &str = "\
Examples:
  countersign policy check policy.toml
  countersign policy check policy.toml --profile bsi --support-until 2034-12-31 --json
  countersign policy check policy.toml --support-until 2034-12-31 --not-replaceable

Provision 5.5-3. A device whose algorithms cannot be replaced must not be supported for longer than each of them
is recommended: with --not-replaceable, every item that is still offered when a catalogue ends it is a finding.
A device that takes a signed policy in the field is discharged by the replacement, as long as its build has one:
without the flag, an end within the support is told as something to replace, and is a finding only when nothing
that this build offers lasts as long as the support.

Exit codes: 0 the cryptography lasts, with the first day on which it would not · 1 findings · 2 not a policy";

#[derive(Debug, clap::Args)]
pub(crate) struct CheckArgs {
    /// A policy's TOML, or a signed policy.
    #[arg(add = Known::POLICY)]
    file: PathBuf,
    /// Judge by this profile instead of the policy's own: acm, bsi, nist, ietf-iot or cnsa2.
    #[arg(long, add = Known::Profile)]
    profile: Option<Profile>,
    /// The last day of the device's support; left out: five years from today.
    #[arg(long, value_name = "DATE")]
    support_until: Option<Day>,
    /// The device cannot take another policy.
    #[arg(long)]
    not_replaceable: bool,
    /// The policy key's public half, for a signed policy.
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: CheckArgs) -> Ended {
    let mut policy = read(&arguments.file, arguments.key.as_deref())?.policy;
    let today = Day::of(SystemClock.now());
    policy.profile = arguments.profile.unwrap_or(policy.profile);
    let question = Question {
        profile: policy.profile,
        today,
        support_until: arguments.support_until.unwrap_or(today.plus_years(SUPPORT_YEARS)),
        replaceable: !arguments.not_replaceable,
    };
    let faults = CompiledPolicy::compile(policy.clone(), today).err().unwrap_or_default();
    let answer = lifetime(&policy, question);
    let good = faults.is_empty() && answer.findings.is_empty();
    if arguments.json {
        json(&as_json(&arguments.file, &policy, question, &faults, &answer));
        return if good { Ok(()) } else { Err(Failure::found("")) };
    }
    let text = told(&arguments.file, &policy, question, &faults, &answer);
    if good {
        say(text.trim_end());
        Ok(())
    } else {
        Err(Failure::found(text.trim_end()))
    }
}

fn as_json(
    file: &Path,
    policy: &Policy,
    question: Question,
    faults: &[CompileError],
    answer: &Lifetime,
) -> serde_json::Value {
    let finding = |found: &Finding| {
        json!({
            "use": found.subject, "item": found.item, "source": found.source,
            "until": found.until, "status": found.status, "provenance": found.provenance,
            "field": found.path, "line": found.line, "told": found.told,
        })
    };
    let fault = |fault: &CompileError| {
        json!({
            "field": fault.path, "line": fault.line, "item": fault.item, "fault": fault.fault,
            "statement": fault.statement, "mend": fault.mend,
        })
    };
    json!({
        "file": file.display().to_string(),
        "version": policy.version,
        "profile": question.profile,
        "registry": Registry::built_in().edition(),
        "judged_on": question.today,
        "support_until": question.support_until,
        "replaceable": question.replaceable,
        "faults": faults.iter().map(fault).collect::<Vec<_>>(),
        "findings": answer.findings.iter().map(finding).collect::<Vec<_>>(),
        "to_replace": answer.to_replace.iter().map(finding).collect::<Vec<_>>(),
        "first_day": answer.first_day,
    })
}

fn told(
    file: &Path,
    policy: &Policy,
    question: Question,
    faults: &[CompileError],
    answer: &Lifetime,
) -> String {
    let Question { profile, today, support_until, replaceable } = question;
    let mut out = format!("{}: version {} ", file.display(), policy.version);
    let outlived: Vec<&Finding> = answer
        .findings
        .iter()
        .filter(|found| faults.iter().all(|fault| fault.path != found.path))
        .collect();
    out += match (faults.is_empty(), outlived.is_empty()) {
        (true, true) => "can be put in force, and its cryptography lasts\n",
        (true, false) => "does not last as long as the support\n",
        (false, _) => "cannot be put in force\n",
    };
    for fault in faults {
        let _ = writeln!(out, "  {fault}");
    }
    lines(&mut out, &outlived);
    let title = &Registry::built_in().profile(profile).title;
    let _ = writeln!(out, "  judged by    {profile}: {title}, on {today}");
    let how = if replaceable { "replaceable by a signed policy" } else { "not replaceable" };
    let _ = writeln!(out, "  support      until {support_until}, {how}");
    let _ = match answer.first_day {
        Some(day) => writeln!(out, "  first day    that it would not cover: {day}"),
        None => {
            writeln!(out, "  first day    that it would not cover: none that anybody has named")
        }
    };
    if !answer.to_replace.is_empty() {
        out += "  To replace within the support:\n";
        lines(&mut out, &answer.to_replace.iter().collect::<Vec<_>>());
    }
    let judged = judge(policy, profile, today);
    let mut accepted: Vec<(&str, String)> = judged
        .iter()
        .filter(|judged| judged.accepted().is_some())
        .map(|judged| (judged.item.name.as_str(), judged.told()))
        .collect();
    accepted.sort_unstable();
    accepted.dedup();
    if !accepted.is_empty() {
        out += "  Not listed, accepted by this policy:\n";
        for (item, told) in accepted {
            let _ = writeln!(out, "    {item}: {told}");
        }
    }
    out
}

/// One line for what is said of one item in several places.
fn lines(out: &mut String, findings: &[&Finding]) {
    let mut told: Vec<&Finding> = Vec::new();
    for found in findings {
        if told.iter().any(|earlier| earlier.item == found.item && earlier.told == found.told) {
            continue;
        }
        told.push(found);
        let places: Vec<String> = findings
            .iter()
            .filter(|other| other.item == found.item && other.told == found.told)
            .map(|other| match other.line {
                Some(line) => format!("{} (line {line})", other.subject),
                None => other.subject.clone(),
            })
            .collect();
        let _ = writeln!(out, "    {} in {}:", found.item, places.join(", "));
        let _ = writeln!(out, "      {}", found.told);
    }
}
