//! Policies of a maker for tests, and what each file of this folder does with them.

use super::*;
use crate::rotation::Jitter;
use countersign_crypto::policy::{self, Policy, PolicyDigest, Use};
use countersign_crypto::signature::{KeyHandle, SignatureAlgorithm};
use countersign_model::time::{Day, Timestamp};
use std::sync::LazyLock;
use std::time::Duration;

mod door;
mod keys;
mod offers;
mod restart;
mod second;
mod transitions;

pub(super) const MAKER: &str = "Example";
pub(super) const STILL: Jitter = Jitter(0);
pub(super) const SOON: Duration = Duration::ZERO;

static KEY: LazyLock<KeyHandle> =
    LazyLock::new(|| KeyHandle::ephemeral(SignatureAlgorithm::EcdsaP256Sha256).unwrap());

pub(super) fn today() -> Day {
    "2026-11-25".parse().unwrap()
}

pub(super) fn now() -> Timestamp {
    today().start()
}

pub(super) fn trust() -> PolicyTrust {
    PolicyTrust::new(KEY.spki_der(), MAKER)
}

pub(super) fn floor() -> PolicyFloor {
    PolicyFloor::of_build()
}

/// The built-in rules as a policy of the maker.
pub(super) fn written(version: u64, change: impl FnOnce(&mut Policy)) -> Policy {
    let mut policy = Policy::built_in();
    (policy.version, policy.maker) = (version, Some(MAKER.to_owned()));
    change(&mut policy);
    policy
}

pub(super) fn document(version: u64, change: impl FnOnce(&mut Policy)) -> Vec<u8> {
    policy::sign(&written(version, change), &KEY).unwrap()
}

pub(super) fn prepared(version: u64, change: impl FnOnce(&mut Policy)) -> PreparedPolicy {
    PreparedPolicy::prepare(&document(version, change), &trust(), today()).unwrap()
}

pub(super) fn plain(version: u64) -> PreparedPolicy {
    prepared(version, |_| {})
}

pub(super) fn groups(policy: &mut Policy, names: &[&str]) {
    for tls in policy.uses.values_mut() {
        tls.groups = names.iter().map(|name| (*name).into()).collect();
    }
}

/// Offers as a gateway or authority does.
pub(super) fn offer(
    slots: &mut PolicySlots,
    policy: PreparedPolicy,
    at: Timestamp,
) -> Result<PolicyDigest, Refusal> {
    let digest = policy.digest();
    slots.offer(Ok(policy), &floor(), Source::Peer("gateway.example"), at, SOON)?;
    Ok(digest)
}

pub(super) fn steady(side: Side, version: u64) -> PolicySlots {
    PolicySlots::new(side, plain(version))
}

/// Steady(n) to Probation(n+1, keeps n).
pub(super) fn probation(side: Side, from: u64, to: PreparedPolicy) -> PolicySlots {
    let mut slots = steady(side, from);
    let digest = offer(&mut slots, to, now()).unwrap();
    assert_eq!(slots.report(Event::TrialSucceeded(digest), now(), STILL), Ok(Change::Activated));
    slots
}

pub(super) fn word(slots: &PolicySlots) -> String {
    let version = |policy: &std::sync::Arc<PreparedPolicy>| policy.version();
    let mut text = format!("{:?}({}", slots.phase(), slots.active().version());
    if let Some(candidate) = slots.candidate() {
        text += &format!(", tries {}", version(candidate));
    }
    if let Some(previous) = slots.previous() {
        text += &format!(", keeps {}", version(previous));
    }
    let kept = slots.stored().kept;
    if !kept.is_empty() {
        let kept: Vec<_> = kept.iter().map(|policy| policy.version.to_string()).collect();
        text += &format!(", door {}", kept.join(" "));
    }
    text + ")"
}
