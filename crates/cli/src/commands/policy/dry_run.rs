//! `countersign policy dry-run`: what a policy would do to the fleet, before it is signed.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use countersign_crypto::policy::{CompiledPolicy, Policy, Use};
use countersign_crypto::tls::{Clock as _, SystemClock};
use countersign_model::time::{Day, Timestamp};
use countersign_protocol::fleet::{
    Basis, Candidate, Class, DryRun, Judged, Lack, LackKind, Part, Verdict, dry_run,
};
use serde_json::json;

use super::read::verified;
use crate::commands::gateway::{fleet, registrations};
use crate::complete::Known;
use crate::console::{json as print_json, say};
use crate::failure::{Ended, Failure, Named as _};

/// Subjects of one class that the table names; `--json` has all of them.
const MOST_LINES: usize = 20;

#[derive(Debug, clap::Args)]
pub(crate) struct DryRunArgs {
    /// The policy that may come: its TOML, or a signed policy.
    #[arg(add = Known::POLICY)]
    file: PathBuf,
    /// The data folder of `serve`, which may be running on it. Nothing in it is changed.
    #[arg(long)]
    data: PathBuf,
    /// Whoever was not seen for this long is not known: 90m, 12h, 30d.
    #[arg(long, value_parser = duration, default_value = "30d", value_name = "TIME")]
    not_seen_for: Duration,
    /// Judge as the policy stands on this day, YYYY-MM-DD, when items whose time is over are not offered; left out: today.
    #[arg(long, value_name = "DAY")]
    on: Option<Day>,
    /// The policy key's public half, for a signed policy; left out: the one in the data folder.
    #[arg(long)]
    key: Option<PathBuf>,
    /// End with exit code 1 also when somebody must get a new certificate first, or was not seen.
    #[arg(long)]
    strict: bool,
    /// Print one JSON object with every subject.
    #[arg(long)]
    json: bool,
}

/// A number and one of d, h, m, s.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is no time: write 30d, 12h, 90m or 45s");
    let unit = text.chars().last().ok_or_else(wrong)?;
    let number: u64 = text[..text.len() - unit.len_utf8()].parse().map_err(|_| wrong())?;
    let seconds = match unit {
        'd' => 86_400,
        'h' => 3_600,
        'm' => 60,
        's' => 1,
        _ => return Err(wrong()),
    };
    number.checked_mul(seconds).map(Duration::from_secs).ok_or_else(wrong)
}

pub(crate) async fn run(arguments: DryRunArgs) -> Ended {
    let policy = read(&arguments)?;
    let candidate = Candidate::of(&policy, Use::DeviceUplink);
    let records = fleet(&arguments.data).await?;
    let registered = registrations(&arguments.data).await?;
    let now = SystemClock.now();
    let outcome = dry_run(&records, &registered, &candidate, now, arguments.not_seen_for);
    if arguments.json {
        print_json(&json!({
            "policy": { "file": arguments.file, "version": policy.version(), "day": policy.day() },
            "use": Use::DeviceUplink,
            "judged_at": now.to_rfc3339(),
            "not_seen_for_seconds": arguments.not_seen_for.as_secs(),
            "counts": outcome.counts,
            "moves": outcome.moves,
            "subjects": outcome.subjects,
        }));
    } else {
        say(table(&outcome, &policy, &arguments).trim_end());
    }
    verdict(&outcome, &arguments)
}

fn verdict(outcome: &DryRun, arguments: &DryRunArgs) -> Ended {
    let counts = outcome.counts;
    let unsure = counts.must_reissue + counts.not_seen + counts.never_seen;
    if counts.stranded == 0 && !(arguments.strict && unsure > 0) {
        return Ok(());
    }
    Err(Failure::found(match (arguments.json, counts.stranded) {
        (true, _) => String::new(),
        (false, 0) => format!("{unsure} are not sure to stay connected"),
        (false, stranded) => format!("{stranded} would be stranded"),
    }))
}

fn read(arguments: &DryRunArgs) -> Ended<CompiledPolicy> {
    let path = arguments.file.as_path();
    let bytes = std::fs::read(path).at(path)?;
    let policy = match std::str::from_utf8(&bytes) {
        Ok(text) => Policy::from_toml(text).at(path)?,
        Err(_) => signed(path, &bytes, arguments)?,
    };
    let day = arguments.on.unwrap_or_else(|| Day::of(SystemClock.now()));
    CompiledPolicy::compile(policy, day).map_err(|faults| {
        let list: Vec<String> = faults.iter().map(|fault| format!("  {fault}")).collect();
        Failure::found(format!("{}:\n{}", path.display(), list.join("\n")))
    })
}

fn signed(path: &Path, document: &[u8], arguments: &DryRunArgs) -> Ended<Policy> {
    let in_folder = arguments.data.join("policy/policy-key.spki");
    let key = arguments.key.as_deref().unwrap_or(&in_folder);
    Ok(verified(path, document, key)?.policy)
}

/// Numbers with a comma every three digits.
fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn table(outcome: &DryRun, policy: &CompiledPolicy, arguments: &DryRunArgs) -> String {
    let counts = outcome.counts;
    let days = arguments.not_seen_for.as_secs() / 86_400;
    let long = if days > 0 {
        format!("{days} days")
    } else {
        format!("{} s", arguments.not_seen_for.as_secs())
    };
    let mut text = format!(
        "{} (version {}) at the gateway's door, for {} devices and {} services\n\n",
        arguments.file.display(),
        policy.version(),
        grouped(counts.devices),
        grouped(counts.services),
    );
    let as_they_were = match counts.not_seen_stranded {
        0 => String::new(),
        some => format!("; {} of them would be stranded as they were", grouped(some)),
    };
    let rows = [
        ("stranded", counts.stranded, "could not connect".to_owned()),
        (
            "must reissue",
            counts.must_reissue,
            "could not connect with the certificate of now".to_owned(),
        ),
        ("loses preferred", counts.loses_preferred, "would connect with something else".to_owned()),
        ("not seen", counts.not_seen, format!("not for {long}{as_they_were}")),
        ("never seen", counts.never_seen, "registered, and never at the gateway".to_owned()),
        ("unaffected", counts.unaffected, String::new()),
    ];
    for (name, count, words) in rows {
        let line = format!("  {name:<16}{:>9}  {words}", grouped(count));
        text += line.trim_end();
        text.push('\n');
    }
    if counts.not_admitted > 0 {
        let _ = writeln!(
            text,
            "  {:<16}{:>9}  may not connect now, and are not judged",
            "not admitted",
            grouped(counts.not_admitted)
        );
    }
    if counts.by_negotiation_only > 0 {
        let _ = writeln!(
            text,
            "\nOf {} only finished handshakes are known: they are taken to be able to do that and no more.",
            grouped(counts.by_negotiation_only)
        );
    }
    for (class, title) in [
        (Class::Stranded, "Stranded"),
        (Class::MustReissue, "Must get another certificate first"),
        (Class::LosesPreferred, "Lose what they prefer"),
        (Class::NotSeen, "Not seen"),
        (Class::NeverSeen, "Never seen"),
    ] {
        section(
            &mut text,
            title,
            outcome.subjects.iter().filter(|one| one.verdict.class() == class),
        );
    }
    if !outcome.moves.is_empty() {
        text += "\nWhat would be negotiated instead\n";
        for one in outcome.moves.iter().take(MOST_LINES) {
            let (now, then) = (&one.now, &one.then);
            let _ = writeln!(
                text,
                "  {:>9}  {} · {}  →  {} · {}",
                grouped(one.count),
                now.group,
                now.suite,
                then.group,
                then.suite
            );
        }
    }
    text
}

fn section<'a>(text: &mut String, title: &str, subjects: impl Iterator<Item = &'a Judged>) {
    let all: Vec<&Judged> = subjects.collect();
    if all.is_empty() {
        return;
    }
    let _ = writeln!(text, "\n{title}");
    for one in all.iter().take(MOST_LINES) {
        let line = format!("  {:<28} {}", one.subject, words(one));
        text.push_str(line.trim_end());
        text.push('\n');
    }
    if all.len() > MOST_LINES {
        let _ = writeln!(text, "  … and {} more, see --json", grouped(all.len() - MOST_LINES));
    }
}

fn day(at: Timestamp) -> String {
    Day::of(at).to_string()
}

fn words(one: &Judged) -> String {
    let mut text = match &one.verdict {
        Verdict::Stranded { why } => why.iter().map(lack).collect::<Vec<_>>().join("; "),
        Verdict::MustReissue { retired, not_after } => {
            let parts: Vec<String> = retired
                .iter()
                .map(|one| match one.part {
                    Part::Key => format!("its key is for {}", one.algorithm),
                    Part::Signature => format!("it is signed with {}", one.algorithm),
                })
                .collect();
            format!("{}; valid until {}", parts.join(", "), day(*not_after))
        }
        Verdict::LosesPreferred { now, then } => {
            format!("{} · {}  →  {} · {}", now.group, now.suite, then.group, then.suite)
        }
        Verdict::NotSeen { .. } | Verdict::NeverSeen | Verdict::Unaffected { .. } => String::new(),
    };
    if let Verdict::NotSeen { as_it_was } = &one.verdict {
        text = format!("last seen {}", one.last_seen.map(day).unwrap_or_default());
        if let Some(Verdict::Stranded { why }) = as_it_was.as_deref() {
            let why: Vec<String> = why.iter().map(lack).collect();
            let _ = write!(text, "; as it was, stranded: {}", why.join("; "));
        }
    }
    if one.basis == Some(Basis::Negotiated) {
        text += " (known by handshakes only)";
    }
    if let Some(version) = one.policy_version {
        let _ = write!(text, " (holds policy {version})");
    }
    text
}

/// One reason. Of what was offered, code points that this build cannot name are counted only.
fn lack(lack: &Lack) -> String {
    if lack.kind == LackKind::Alpn {
        return "alpn: offers none, the policy requires it".to_owned();
    }
    let named: Vec<&str> =
        lack.offers.iter().map(String::as_str).filter(|name| !name.starts_with("0x")).collect();
    let others = lack.offers.len() - named.len();
    let mut offers = named.join(", ");
    if others > 0 {
        let _ = match offers.is_empty() {
            true => write!(offers, "{others} that this build does not know"),
            false => write!(offers, " and {others} others"),
        };
    }
    format!("{}: offers {offers}; the policy has {}", lack.kind.as_str(), lack.policy.join(", "))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn times_have_a_unit() {
        assert_eq!(duration("30d").unwrap(), Duration::from_secs(30 * 86_400));
        assert_eq!(duration("90m").unwrap(), Duration::from_secs(5_400));
        for bad in ["", "d", "30", "3w", "-1d", "1.5h", "99999999999999999999d", "30ü"] {
            assert!(duration(bad).unwrap_err().contains("30d"), "{bad}");
        }
    }

    #[test]
    fn large_numbers_are_grouped() {
        for (number, text) in [(0, "0"), (999, "999"), (1_000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(grouped(number), text);
        }
    }
}
