//! `countersign authority expiry`.

use std::path::PathBuf;
use std::time::Duration;

use countersign_authority::expiry::{Report, Standing};

use super::open;
use crate::console::{json as print_json, say};
use crate::failure::{Ended, Failure};

#[derive(Debug, clap::Args)]
pub(crate) struct ExpiryArgs {
    /// The authority's data folder.
    #[arg(long)]
    data: PathBuf,
    /// How far ahead to look, in days: 90d or 90. What lives shorter is due in the last third of its life.
    #[arg(long, default_value = "90d", value_parser = days)]
    within: Duration,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// A number of days, 1 to 36500.
fn days(text: &str) -> Result<Duration, String> {
    let number = text.strip_suffix('d').unwrap_or(text).parse::<u64>();
    match number {
        Ok(days @ 1..=36_500) => Ok(Duration::from_secs(days * 24 * 60 * 60)),
        _ => Err(format!("{text:?} is no number of days: write 90d (1 to 36500)")),
    }
}

pub(super) async fn run(arguments: ExpiryArgs) -> Ended {
    let report = open(&arguments.data).await?.expiry(arguments.within).await?;
    if arguments.json {
        print_json(&serde_json::to_value(&report)?);
    } else {
        tell(&report);
    }
    let devices = report.devices.due + report.devices.expired;
    match report.due().count() {
        0 if devices == 0 => Ok(()),
        _ if arguments.json => Err(Failure::found("")),
        count => Err(Failure::found(format!("{} are due or expired", count as u64 + devices))),
    }
}

fn tell(report: &Report) {
    for line in &report.lines {
        let (what, name) = (line.expiring.what.as_str(), &line.expiring.name);
        let at = line.at.as_deref().unwrap_or("never");
        let told = match line.standing {
            Standing::Good => String::new(),
            Standing::Due => format!("  DUE: {}", line.expiring.what.mend()),
            Standing::Expired => format!("  EXPIRED: {}", line.expiring.what.mend()),
        };
        say(&format!("{what:10} {at:24} {name}{told}"));
    }
    let devices = report.devices;
    say(&format!(
        "devices    {} renewed in time, {} overdue, {} expired",
        devices.good, devices.due, devices.expired
    ));
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn days_are_days() {
        assert_eq!(days("2d").unwrap(), Duration::from_secs(172_800));
        assert_eq!(days("90").unwrap(), days("90d").unwrap());
        for bad in ["", "d", "0", "-1d", "9h", "36501"] {
            assert!(days(bad).unwrap_err().contains("90d"), "{bad}");
        }
    }
}
