//! What a gateway lets in: the policies in force in full, older ones at the update door.

use super::prepared::PreparedPolicy;
use super::refusal::Refusal;
use countersign_crypto::policy::{ChannelNames, TlsRules, Use};
use countersign_model::time::Timestamp;
use std::sync::Arc;

/// Most older policies that a gateway keeps for devices that have not been seen since. None is ever dropped by itself, not even
/// for having expired, since the clock that says so may be wrong: a newer policy is refused until it withdraws some.
/// Sixteen is a policy a year for longer than a device is supported; each adds a set of rules that every ClientHello is held
/// against.
pub const MAX_KEPT: usize = 16;

/// What a policy opens at the gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Everything: it is in force, or what replaces it is unproven, or it is newer than what is in force.
    InForce,
    /// The update door: to receive the policy in force, and nothing else.
    UpdateOnly,
}

/// The policies under which a connection may come about, the most preferred first. A snapshot: made anew after each change of
/// the slots. Judged by [`crate::permit::door::judge`].
#[derive(Debug, Clone)]
pub struct Door {
    active: Arc<PreparedPolicy>,
    others: Vec<(Arc<PreparedPolicy>, Standing)>,
}

impl Door {
    pub(super) fn new(active: Arc<PreparedPolicy>) -> Self {
        Self { active, others: Vec::new() }
    }

    pub(super) fn also<'a>(
        &mut self,
        policies: impl IntoIterator<Item = &'a Arc<PreparedPolicy>>,
        standing: Standing,
    ) {
        self.others.extend(policies.into_iter().map(|policy| (policy.clone(), standing)));
    }

    /// The policy in force: what is given out at the update door.
    #[must_use]
    pub const fn active(&self) -> &Arc<PreparedPolicy> {
        &self.active
    }

    /// Every policy that opens something at `now`, the one in force first. Expired ones open nothing.
    //= specs/house.md#house-policy
    //# A gateway MUST let a device that holds an older, unexpired and not withdrawn policy in to receive
    //# the newer one.
    pub fn open(&self, now: Timestamp) -> impl Iterator<Item = (&Arc<PreparedPolicy>, Standing)> {
        let others = self.others.iter().filter(move |(policy, _)| !policy.expired(now));
        let others = others.map(|(policy, standing)| (policy, *standing));
        [(&self.active, Standing::InForce)].into_iter().chain(others)
    }

    /// The rules to listen by at `now`, in the order in which they are to be tried on a ClientHello: the first under which a
    /// handshake is possible serves it, so that nobody who could use the policy in force comes to the update door.
    #[must_use]
    pub fn rules(&self, use_: Use, now: Timestamp) -> Vec<TlsRules> {
        self.open(now).map(|(policy, _)| policy.compiled().rules(use_).clone()).collect()
    }

    /// When the next of them expires: build the listener anew then.
    #[must_use]
    pub fn next_expiry(&self, now: Timestamp) -> Option<Timestamp> {
        self.open(now).skip(1).map(|(policy, _)| policy.expires()).min()
    }

    /// The first policy under which the channel could have come about.
    pub(crate) fn find(
        &self,
        use_: Use,
        channel: &ChannelNames<'_>,
        now: Timestamp,
    ) -> Option<(&Arc<PreparedPolicy>, Standing)> {
        self.open(now).find(|(policy, _)| policy.compiled().rules(use_).allow(channel).is_ok())
    }
}

/// Puts a policy among those kept, newest first. [`must_keep`] has made sure that there is room.
pub(super) fn keep(kept: &mut Vec<Arc<PreparedPolicy>>, policy: Arc<PreparedPolicy>) {
    kept.retain(|other| other.digest() != policy.digest());
    kept.push(policy);
    kept.sort_by_key(|policy| std::cmp::Reverse(policy.version()));
}

/// Whether everything that devices may still hold can be kept beside `newer`.
pub(super) fn must_keep<'a>(
    held: impl Iterator<Item = &'a Arc<PreparedPolicy>>,
    newer: &PreparedPolicy,
) -> Result<(), Refusal> {
    let kept = held.filter(|old| !newer.withdraws(old.version())).count();
    if kept > MAX_KEPT {
        return Err(Refusal::TooManyKept { kept, most: MAX_KEPT });
    }
    Ok(())
}
