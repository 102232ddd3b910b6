//! The slots: what is in force, what is on trial, what can be returned to, and what each event makes of them.

use super::door::{Door, Standing, keep};
use super::history::{History, Recorded};
use super::prepared::PreparedPolicy;
use super::refusal::Word;
use super::stored::StoredPolicy;
use crate::rotation::Jitter;
use countersign_crypto::policy::{PolicyDigest, PolicyKeyId};
use countersign_model::time::{Day, Timestamp};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Duration;

/// The wait after a first failed trial; it doubles with each.
pub const FIRST_WAIT: Duration = Duration::from_secs(60);
/// The longest wait between two trials of one policy. There is no last trial: a device whose network swallowed large handshakes
/// for a month would otherwise be out of reach when its old policy ends. So the tries are a dozen on the first day, then
/// one a day, and they end with the policy.
pub const LONGEST_WAIT: Duration = Duration::from_secs(86_400);
/// Sessions that must fail in a row, for whatever reason, before a device returns to the policy before. One or two are an
/// ordinary network; that the peer was out of reach counts too, since some networks drop what they do not know without a word.
pub const FAILURES_BEFORE_RETURN: u32 = 5;

/// Whose slots these are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Side {
    /// Connects. Returns to the policy before when sessions under the new one fail.
    Device,
    /// Is connected to. Never returns, since it serves both while the new one is unproven; keeps older ones for the door.
    Gateway,
}

/// Where the slots stand. The word is stable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// One policy, which carried a session.
    Steady,
    /// A newer one waits for its trial.
    Trial,
    /// The newer one is in force and has carried no session yet.
    Probation,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A handshake under this candidate succeeded: with the gateway for a device, with itself for a gateway.
    TrialSucceeded(PolicyDigest),
    /// A handshake under this candidate did not come about, and why.
    TrialFailed(PolicyDigest, String),
    /// A session under this policy was authenticated: for a device, the gateway acknowledged it (by CONNACK, or by a message at
    /// the update door); for a gateway, a client was admitted. A gateway stores this *before* it acknowledges the session.
    Carried(PolicyDigest),
    /// A device could not have a session under what is in force.
    SessionFailed,
}

/// What the shell is to do about a change, after it has stored the slots.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// Nothing.
    Nothing,
    /// Another policy is in force. A device reconnects; a gateway rebuilds its listeners, offers the policy to its devices and
    /// judges open sessions again.
    Activated,
    /// What is in force is proven. A gateway rebuilds its listeners and judges open sessions again; others that could
    /// connect only under the policy before now find the update door.
    Proven,
    /// The policy before is in force again. A device reconnects.
    Returned,
}

/// What comes next.
#[derive(Debug, Clone)]
pub enum Next {
    /// Nothing, until something is offered.
    Idle,
    /// Nothing before this instant.
    Wait(Timestamp),
    /// Make one handshake under this policy and hang up; report [`Event::TrialSucceeded`] or [`Event::TrialFailed`].
    Try(Arc<PreparedPolicy>),
}

/// The event does not belong here: it came late, or twice. Nothing changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{event:?} means nothing in {phase:?}")]
pub struct Ignored {
    /// Where the slots stand.
    pub phase: Phase,
    /// What came.
    pub event: Event,
}

/// Whether what is in force has carried a session.
#[derive(Debug, Clone)]
pub(super) enum Trust {
    Proven,
    Unproven { previous: Option<Arc<PreparedPolicy>>, failures: u32 },
}

/// A policy that waits for its trial.
#[derive(Debug, Clone)]
pub(super) struct Candidate {
    pub(super) policy: Arc<PreparedPolicy>,
    pub(super) tries: u32,
    pub(super) not_before: Timestamp,
}

/// The slots of one device or gateway, for life.
#[derive(Debug, Clone)]
pub struct PolicySlots {
    pub(super) side: Side,
    pub(super) active: Arc<PreparedPolicy>,
    pub(super) trust: Trust,
    pub(super) candidate: Option<Candidate>,
    /// At a gateway: older ones, newest first.
    pub(super) kept: Vec<Arc<PreparedPolicy>>,
    /// The newest ever taken. It outlives a return.
    pub(super) highest: StoredPolicy,
    /// The newest policy key whose policy was ever taken, where that is not the one from the factory.
    pub(super) key: Option<PolicyKeyId>,
    pub(super) history: History,
}

impl PolicySlots {
    /// Slots that hold one policy, for the first start: the build's, or the one from the ceremony.
    #[must_use]
    pub fn new(side: Side, first: PreparedPolicy) -> Self {
        Self {
            side,
            highest: StoredPolicy::of(&first),
            key: first.way().successor(),
            active: Arc::new(first),
            trust: Trust::Proven,
            candidate: None,
            kept: Vec::new(),
            history: History::default(),
        }
    }

    /// Where they stand.
    #[must_use]
    pub const fn phase(&self) -> Phase {
        match (&self.candidate, &self.trust) {
            (Some(_), _) => Phase::Trial,
            (None, Trust::Unproven { .. }) => Phase::Probation,
            (None, Trust::Proven) => Phase::Steady,
        }
    }

    /// Whose they are.
    #[must_use]
    pub const fn side(&self) -> Side {
        self.side
    }

    /// The policy in force. A device connects by it, a gateway prefers it. It stays in force when it expires, since
    /// without it nothing could ask for the next one.
    #[must_use]
    pub const fn active(&self) -> &Arc<PreparedPolicy> {
        &self.active
    }

    /// The policy that waits for its trial.
    #[must_use]
    pub fn candidate(&self) -> Option<&Arc<PreparedPolicy>> {
        self.candidate.as_ref().map(|candidate| &candidate.policy)
    }

    /// The policy that could be returned to, if what is in force has carried no session.
    #[must_use]
    pub const fn previous(&self) -> Option<&Arc<PreparedPolicy>> {
        match &self.trust {
            Trust::Unproven { previous, .. } => previous.as_ref(),
            Trust::Proven => None,
        }
    }

    /// Whether the policy in force has carried an authenticated session.
    #[must_use]
    pub const fn proven(&self) -> bool {
        matches!(self.trust, Trust::Proven)
    }

    /// The highest version ever taken on trial. Nothing below it is taken any more, and of its own version only itself.
    #[must_use]
    pub const fn highest(&self) -> u64 {
        self.highest.version
    }

    /// The newest policy key whose policy was ever taken; none while that is the one that was held from the beginning. Policies
    /// by keys that this one has left behind are refused.
    #[must_use]
    pub const fn newest_key(&self) -> Option<PolicyKeyId> {
        self.key
    }

    /// What happened here.
    #[must_use]
    pub const fn history(&self) -> &History {
        &self.history
    }

    /// What happened here, newest first.
    pub fn recent(&self) -> impl Iterator<Item = &Recorded> {
        self.history.entries().iter().rev()
    }

    /// What to do at `now`. Asking changes nothing.
    #[must_use]
    pub fn next(&self, now: Timestamp) -> Next {
        match &self.candidate {
            None => Next::Idle,
            // It stays: the clock may be wrong, and a newer one takes its place in any case.
            Some(candidate) if candidate.policy.expired(now) => Next::Idle,
            Some(candidate) if now < candidate.not_before => Next::Wait(candidate.not_before),
            Some(candidate) => Next::Try(candidate.policy.clone()),
        }
    }

    /// Takes what happened. Each trial names its policy, so that a late report about one is not taken for another's.
    ///
    /// # Errors
    /// [`Ignored`] for an event that came late or twice; nothing changed.
    pub fn report(
        &mut self,
        event: Event,
        now: Timestamp,
        jitter: Jitter,
    ) -> Result<Change, Ignored> {
        match event {
            Event::TrialSucceeded(digest) if self.is_candidate(digest) => Ok(self.activate(now)),
            Event::TrialFailed(digest, why) if self.is_candidate(digest) => {
                Ok(self.trial_failed(&why, now, jitter))
            }
            Event::Carried(digest) if self.active.digest() == digest => Ok(self.carried(now)),
            Event::SessionFailed if self.side == Side::Device => {
                Ok(self.session_failed(now, jitter))
            }
            event => Err(Ignored { phase: self.phase(), event }),
        }
    }

    fn is_candidate(&self, digest: PolicyDigest) -> bool {
        self.candidate.as_ref().is_some_and(|candidate| candidate.policy.digest() == digest)
    }

    //= specs/house.md#house-policy
    //# A policy MUST be tried in a handshake before it is in force.
    fn activate(&mut self, now: Timestamp) -> Change {
        let Some(candidate) = self.candidate.take() else { return Change::Nothing };
        let replaced = std::mem::replace(&mut self.active, candidate.policy);
        let active = self.active.clone();
        // What was proven last is what can be returned to, however many unproven ones came after it.
        let before = std::mem::replace(&mut self.trust, Trust::Proven);
        let previous = match before {
            Trust::Proven => Some(replaced),
            Trust::Unproven { previous, .. } => {
                if self.side == Side::Gateway {
                    keep(&mut self.kept, replaced);
                }
                previous
            }
        };
        //= specs/house.md#house-policy
        //# Nobody MUST return to a version that the policy in force withdraws.
        let previous = previous.filter(|policy| !active.withdraws(policy.version()));
        self.kept.retain(|policy| !active.withdraws(policy.version()));
        self.trust = Trust::Unproven { previous, failures: 0 };
        self.record(now, &active, Word::Activated, "in force; has carried no session yet");
        Change::Activated
    }

    fn trial_failed(&mut self, why: &str, now: Timestamp, jitter: Jitter) -> Change {
        let Some(candidate) = &mut self.candidate else { return Change::Nothing };
        candidate.not_before = after_failure(candidate.tries, now, jitter);
        candidate.tries = candidate.tries.saturating_add(1);
        let policy = candidate.policy.clone();
        self.record(now, &policy, Word::TrialFailed, why);
        Change::Nothing
    }

    //= specs/house.md#house-policy
    //# The policy before MUST be kept until the new one has carried an authenticated session.
    fn carried(&mut self, now: Timestamp) -> Change {
        let Trust::Unproven { previous, .. } = std::mem::replace(&mut self.trust, Trust::Proven)
        else {
            return Change::Nothing;
        };
        if let (Side::Gateway, Some(previous)) = (self.side, previous) {
            keep(&mut self.kept, previous);
        }
        let active = self.active.clone();
        self.record(now, &active, Word::Proven, "has carried an authenticated session");
        Change::Proven
    }

    fn session_failed(&mut self, now: Timestamp, jitter: Jitter) -> Change {
        // Whatever is in force does not serve: what waits may be tried before its time. The shell's own back-off between
        // connections bounds how often.
        if let Some(candidate) = &mut self.candidate {
            candidate.not_before = candidate.not_before.min(now);
        }
        let Trust::Unproven { previous, failures } = &mut self.trust else {
            return Change::Nothing;
        };
        *failures = failures.saturating_add(1);
        //= specs/house.md#house-policy
        //# A device MUST return to the policy before only while that is unexpired and not withdrawn.
        let usable = previous.as_ref().filter(|policy| !policy.expired(now)).cloned();
        let Some(previous) = usable.filter(|_| *failures >= FAILURES_BEFORE_RETURN) else {
            return Change::Nothing;
        };
        let left = std::mem::replace(&mut self.active, previous);
        self.trust = Trust::Proven;
        self.record(
            now,
            &left,
            Word::Returned,
            "its sessions failed; the policy before is in force",
        );
        if self.candidate.is_none() {
            let not_before = after_failure(0, now, jitter);
            self.candidate = Some(Candidate { policy: left, tries: 1, not_before });
        }
        Change::Returned
    }

    fn record(&mut self, at: Timestamp, policy: &PreparedPolicy, word: Word, text: &str) {
        self.history.record(at, Some(policy.version()), "", word, text);
    }

    /// Another day has begun: items past their `until` go. Whether anything changed, so that the shell builds its channels
    /// anew and judges open sessions again.
    pub fn on_day(&mut self, day: Day) -> bool {
        let mut changed = false;
        for policy in self.holdings_mut() {
            let other = policy.on(day);
            changed |= !other.same_rules(policy);
            *policy = Arc::new(other);
        }
        changed
    }

    /// Everything that may serve a connection at a gateway, the most preferred first.
    #[must_use]
    pub fn door(&self) -> Door {
        let mut door = Door::new(self.active.clone());
        door.also(self.previous(), Standing::InForce);
        door.also(self.candidate(), Standing::InForce);
        door.also(&self.kept, Standing::UpdateOnly);
        door
    }

    /// Every policy that is held in any slot.
    pub(super) fn holdings(&self) -> impl Iterator<Item = &Arc<PreparedPolicy>> {
        [&self.active].into_iter().chain(self.previous()).chain(self.candidate()).chain(&self.kept)
    }

    fn holdings_mut(&mut self) -> impl Iterator<Item = &mut Arc<PreparedPolicy>> {
        let previous = match &mut self.trust {
            Trust::Unproven { previous, .. } => previous.as_mut(),
            Trust::Proven => None,
        };
        let candidate = self.candidate.as_mut().map(|candidate| &mut candidate.policy);
        [&mut self.active].into_iter().chain(previous).chain(candidate).chain(&mut self.kept)
    }
}

/// When to try again after `tries` failures before this one, up to half as long again, so that those who failed together do not
/// come back together.
fn after_failure(tries: u32, now: Timestamp, jitter: Jitter) -> Timestamp {
    let wait = FIRST_WAIT.saturating_mul(1 << tries.min(16)).min(LONGEST_WAIT);
    now.plus(wait).plus(jitter.of(wait / 2))
}
