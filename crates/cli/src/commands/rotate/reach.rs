//! Whom the next root has reached, from what the gateway of the same data folder noted; also while `serve` runs on it.

use std::path::Path;
use std::time::Duration;

use countersign_authority::Authority;
use countersign_authority::rotation::root::{Reached, RootRolled, RootStep};
use countersign_crypto::tls::{Clock as _, SystemClock};
use countersign_protocol::anchors::Acknowledgements;

use crate::commands::gateway;
use crate::failure::{Ended, Failure};

/// How long devices that are awake have to acknowledge a root that was prepared just now.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often their acknowledgements are looked for meanwhile.
const LOOK: Duration = Duration::from_millis(250);
/// How many of the missing are named to people; `--json` has all.
const NAMED: usize = 10;

/// Who acknowledged the newest root of this folder; `None` before there is a second one.
pub(super) async fn of_newest(
    authority: &Authority,
    data: &Path,
    lately: Duration,
) -> Ended<Option<(String, Acknowledgements)>> {
    let all = authority.root_status().await?;
    match all.iter().max_by_key(|one| one.position) {
        Some(newest) if newest.position > 0 => {
            let wanted = [newest.certificate_sha256.clone()];
            Ok(Some((newest.label.clone(), count(data, &wanted, lately).await?)))
        }
        _ => Ok(None),
    }
}

async fn count(data: &Path, wanted: &[String], lately: Duration) -> Ended<Acknowledgements> {
    let (records, registered) = (gateway::fleet(data).await?, gateway::registrations(data).await?);
    Ok(Acknowledgements::count(&records, &registered, wanted, SystemClock.now(), lately))
}

/// Activates the root that is prepared, once enough devices have acknowledged it.
pub(super) async fn activate(
    authority: &Authority,
    data: &Path,
    lately: Duration,
    without: u64,
) -> Ended<(RootRolled, Option<Acknowledgements>)> {
    let go_on = |_: RootStep| std::ops::ControlFlow::Continue(());
    let Some(next) = authority.prepared_root().await? else {
        let rolled = authority.activate_root(&Reached::nobody_to_reach(), go_on).await?;
        return Ok((rolled, None));
    };
    let wanted = [next.certificate_sha256];
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        let counted = count(data, &wanted, lately).await?;
        let number = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
        let reached = Reached {
            acknowledged: number(counted.acknowledged),
            missing: counted.missing.clone(),
            asleep: number(counted.asleep),
            without,
        };
        let rolled = authority.activate_root(&reached, go_on).await?;
        let waits = matches!(rolled, RootRolled::NotBefore(_) | RootRolled::Unacknowledged(_));
        if !waits || tokio::time::Instant::now() >= deadline {
            return Ok((rolled, Some(counted)));
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// The numbers in one line, and some who are missing.
pub(super) fn line(label: &str, counted: &Acknowledgements) -> String {
    let Acknowledgements { acknowledged, missing, asleep } = counted;
    let mut line = format!(
        "reached    {label}: {acknowledged} devices acknowledged it, {} that were seen lately have not, {asleep} others have not",
        missing.len(),
    );
    if !missing.is_empty() {
        let named: Vec<&str> = missing.iter().take(NAMED).map(String::as_str).collect();
        let more = if missing.len() > NAMED { ", …" } else { "" };
        line.push_str(&format!(" (missing: {}{more})", named.join(", ")));
    }
    line
}

/// What is to be done where the root has not reached enough.
pub(super) fn not_activated(missing: usize, as_json: bool) -> Failure {
    Failure::found(if as_json {
        String::new()
    } else {
        format!(
            "not activated: {missing} devices that were seen lately have not acknowledged the next root. Wait, and say `--step activate` again; or \
             leave them to come back by the cross-certificates: --without-acknowledgement {missing}"
        )
    })
}
