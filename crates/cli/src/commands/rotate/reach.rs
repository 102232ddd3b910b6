//! Whom a root or a withdrawal has reached, from what the gateway of the same data folder noted; also while `serve` runs on it.

use std::path::Path;
use std::time::Duration;

use countersign_authority::Authority;
use countersign_authority::root::RootAccess;
use countersign_authority::rotation::KeyState;
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

/// Who has let go of the roots that are withdrawn; `None` where none is.
pub(super) async fn let_go(
    authority: &Authority,
    data: &Path,
    lately: Duration,
) -> Ended<Option<(String, Acknowledgements)>> {
    let all = authority.root_status().await?;
    let last = all.iter().filter(|one| one.withdrawn.is_some()).map(|one| one.position).max();
    let first = last.and_then(|last| all.iter().find(|one| one.position == last + 1));
    let Some(first) = first else { return Ok(None) };
    let (records, registered) = (gateway::fleet(data).await?, gateway::registrations(data).await?);
    let now = SystemClock.now();
    let counted = Acknowledgements::let_go(&records, &registered, first.position, now, lately);
    Ok(Some((first.label.clone(), counted)))
}

fn reached(counted: &Acknowledgements, without: u64) -> Reached {
    let number = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
    Reached {
        acknowledged: number(counted.acknowledged),
        missing: counted.missing.clone(),
        asleep: number(counted.asleep),
        without,
    }
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
        let rolled = authority.activate_root(&reached(&counted, without), go_on).await?;
        let waits = matches!(rolled, RootRolled::NotBefore(_) | RootRolled::Unacknowledged(_));
        if !waits || tokio::time::Instant::now() >= deadline {
            return Ok((rolled, Some(counted)));
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Withdraws the roots before the one that signs, once enough devices have acknowledged that one or a later one, and servers that run
/// have renewed their certificates below it.
pub(super) async fn withdraw(
    authority: &Authority,
    data: &Path,
    lately: Duration,
    without: u64,
    access: &RootAccess,
) -> Ended<(RootRolled, Acknowledgements)> {
    let go_on = |_: RootStep| std::ops::ControlFlow::Continue(());
    let all = authority.root_status().await?;
    let active = all.iter().find(|one| one.state == KeyState::Active).map(|one| one.position);
    let left = all.iter().filter(|one| active.is_some_and(|active| one.position >= active));
    let wanted: Vec<String> = left.map(|one| one.certificate_sha256.clone()).collect();
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        let counted = count(data, &wanted, lately).await?;
        let rolled = authority.withdraw_roots(&reached(&counted, without), access, go_on).await;
        let rolled = rolled.map_err(super::super::authority::root::refused)?;
        let waits = matches!(rolled, RootRolled::Serving(_) | RootRolled::Unacknowledged(_));
        if !waits || tokio::time::Instant::now() >= deadline {
            return Ok((rolled, counted));
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// The numbers in one line, and some who are missing.
pub(super) fn line(label: &str, counted: &Acknowledgements) -> String {
    numbers(&format!("reached    {label}"), "acknowledged it", counted)
}

/// The same of a withdrawal.
pub(super) fn let_go_line(label: &str, counted: &Acknowledgements) -> String {
    numbers(&format!("let go     of the roots before {label}"), "have", counted)
}

fn numbers(begin: &str, verb: &str, counted: &Acknowledgements) -> String {
    let Acknowledgements { acknowledged, missing, asleep } = counted;
    let mut line = format!(
        "{begin}: {acknowledged} devices {verb}, {} that were seen lately have not, {asleep} others have not",
        missing.len(),
    );
    if !missing.is_empty() {
        let named: Vec<&str> = missing.iter().take(NAMED).map(String::as_str).collect();
        let more = if missing.len() > NAMED { ", …" } else { "" };
        line.push_str(&format!(" (missing: {}{more})", named.join(", ")));
    }
    line
}

/// What is to be done where a root has not reached enough.
pub(super) fn too_few(what: &str, missing: usize, as_json: bool) -> Failure {
    let (which, step) = match what {
        "withdrawn" => ("a root that is left", "withdraw"),
        _ => ("the next root", "activate"),
    };
    Failure::found(if as_json {
        String::new()
    } else {
        format!(
            "not {what}: {missing} devices that were seen lately have not acknowledged {which}. Wait, and say `--step {step}` again; or \
             leave them to come back by the cross-certificates: --without-acknowledgement {missing}"
        )
    })
}
