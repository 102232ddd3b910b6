//! After a restart: from what was stored back to slots.
//!
//! A crash leaves the slots as they were before a change or after it, since the shell replaces them as a whole and writes
//! documents first; every phase goes on where it stood. What is missing all the same was damaged. Then the rule is: never
//! without a policy, never back to one that was left behind.

use super::door::MAX_KEPT;
use super::history::History;
use super::prepared::{Origin, PreparedPolicy};
use super::refusal::Word;
use super::slots::{Candidate, PolicySlots, Side, Trust};
use super::stored::{StoredPolicy, StoredSlots};
use countersign_model::time::Timestamp;
use std::sync::Arc;

/// The policy in force is lost, and nothing may take its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the document of policy {} ({}) is missing or damaged, and an older one may not take its place: \
     put the signed policy back, or a newer one", .0.version, .0.digest
)]
pub struct ResumeError(pub StoredPolicy);

impl PolicySlots {
    /// The slots as they were stored. `find` gives the policy of a digest as [`PreparedPolicy::restore`] makes it from its
    /// document, or nothing where that is missing, damaged, or beyond what this build can carry out. `built_in` is this build's
    /// own ([`PreparedPolicy::built_in`]).
    ///
    /// A build that carries a newer policy than what is in force offers it: it is tried like any other.
    ///
    /// # Errors
    /// [`ResumeError`] when the policy in force is lost and neither the one before may be returned to, nor a newer one is there.
    //= specs/house.md#house-policy
    //# A crash at any point of a change of policy MUST leave a usable policy and MUST NOT lower the version floor.
    pub fn resume(
        side: Side,
        stored: StoredSlots,
        mut find: impl FnMut(&StoredPolicy) -> Option<PreparedPolicy>,
        built_in: PreparedPolicy,
        now: Timestamp,
    ) -> Result<Self, ResumeError> {
        let built_in = Arc::new(built_in);
        let mut lost = Vec::new();
        let mut restore = |wanted: StoredPolicy| {
            let found = match wanted.origin {
                // Of another build's policy nothing is left; this build's stands for it.
                Origin::BuiltIn => Some(built_in.clone()),
                Origin::Signed => {
                    find(&wanted).filter(|found| StoredPolicy::of(found) == wanted).map(Arc::new)
                }
            };
            if found.is_none() {
                lost.push(wanted);
            }
            found
        };
        let active = restore(stored.active);
        let previous = stored.previous.filter(|_| !stored.proven).and_then(&mut restore);
        let mut candidate = stored.candidate.and_then(|waiting| {
            let policy = restore(waiting.policy)?;
            Some(Candidate { policy, tries: waiting.tries, not_before: waiting.not_before })
        });
        let kept = match side {
            Side::Device => Vec::new(),
            Side::Gateway => {
                stored.kept.iter().take(MAX_KEPT).filter_map(|one| restore(*one)).collect()
            }
        };
        let (active, trust) = match active {
            Some(active) if stored.proven => (active, Trust::Proven),
            Some(active) => (active, Trust::Unproven { previous, failures: stored.failures }),
            None => {
                let (active, from_candidate) =
                    instead(&stored, previous, candidate.as_ref(), &built_in, now)
                        .ok_or(ResumeError(stored.active))?;
                if from_candidate {
                    candidate = None;
                    (active, Trust::Unproven { previous: None, failures: 0 })
                } else {
                    (active, Trust::Proven)
                }
            }
        };
        let (history, key): (History, _) = (stored.history.bounded(), stored.key);
        let mut slots =
            Self { side, active, trust, candidate, kept, highest: stored.highest, key, history };
        for policy in lost {
            let text =
                "its document is missing or damaged, or beyond what this build can carry out";
            slots.history.record(now, Some(policy.version), "", Word::Lost, text);
        }
        slots.offer_built_in(&built_in, now);
        Ok(slots)
    }

    fn offer_built_in(&mut self, built_in: &Arc<PreparedPolicy>, now: Timestamp) {
        if built_in.version() > self.highest.version {
            self.take(PreparedPolicy::clone(built_in), now);
            let text = "this build carries it; to be tried";
            self.history.record(now, Some(built_in.version()), "this build", Word::Taken, text);
        }
    }
}

/// What may take the place of a policy that was lost while in force; whether it is the candidate.
fn instead(
    stored: &StoredSlots,
    previous: Option<Arc<PreparedPolicy>>,
    candidate: Option<&Candidate>,
    built_in: &Arc<PreparedPolicy>,
    now: Timestamp,
) -> Option<(Arc<PreparedPolicy>, bool)> {
    // 1. A newer one loses nothing, though it is untried.
    if let Some(candidate) = candidate {
        return Some((candidate.policy.clone(), true));
    }
    // 2. The one before, as if sessions had failed. What the lost one withdrew had gone from this slot.
    if let Some(previous) = previous.filter(|policy| !policy.expired(now)) {
        return Some((previous, false));
    }
    // 3. The build's own, if it is as new as anything that was ever taken.
    (built_in.version() >= stored.highest.version).then(|| (built_in.clone(), false))
}
