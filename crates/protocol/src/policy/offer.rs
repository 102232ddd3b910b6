//! What may come into the slots, and from whom.

use super::door::{keep, must_keep};
use super::prepared::{PolicyFloor, PreparedPolicy};
use super::refusal::{Refusal, Word};
use super::slots::{Candidate, PolicySlots, Side};
use super::stored::StoredPolicy;
use super::way::WayError;
use crate::permit::device::ConfigurePermit;
use countersign_model::time::Timestamp;
use std::sync::Arc;
use std::time::Duration;

/// Who brings a policy. The signature says who wrote it; this says who may hand it in here.
#[derive(Debug, Clone, Copy)]
pub enum Source<'a> {
    /// The gateway on an authenticated channel, or the authority at a gateway, by name.
    Peer(&'a str),
    /// Somebody at the device's local API. A policy is security-relevant configuration (5.5-5): only with this permit.
    Local(&'a ConfigurePermit),
}

impl PolicySlots {
    /// A document has come and was prepared, or was not. What comes out is recorded either way. It is tried `wait` from now at
    /// the earliest: a device that was told so together with thousands of others waits [`super::within`] a spread.
    ///
    /// # Errors
    /// [`Refusal`]; only the record has changed, which the shell stores when it likes.
    //= specs/en-303-645.md#5.5-5
    //# Security-relevant configuration over a network interface MUST follow authentication.
    pub fn offer(
        &mut self,
        prepared: Result<PreparedPolicy, Refusal>,
        floor: &PolicyFloor,
        source: Source<'_>,
        now: Timestamp,
        wait: Duration,
    ) -> Result<(), Refusal> {
        let from = match source {
            Source::Peer(name) => name.to_owned(),
            Source::Local(permit) => permit.by().to_string(),
        };
        let version = prepared.as_ref().ok().map(PreparedPolicy::version);
        let judged = prepared.and_then(|policy| self.judge(&policy, floor, now).map(|()| policy));
        match judged {
            Ok(policy) => {
                self.history.record(now, version, &from, Word::Taken, "taken, to be tried");
                self.take(policy, now.plus(wait));
                Ok(())
            }
            Err(refusal) => {
                let (word, text) = (refusal.word(), refusal.to_string());
                self.history.record(now, version, &from, word, &text);
                Err(refusal)
            }
        }
    }

    fn judge(
        &self,
        policy: &PreparedPolicy,
        floor: &PolicyFloor,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        let (offered, known) = (policy.version(), self.highest.version);
        //= specs/house.md#house-policy
        //# A change of the policy key MUST bear a second signature where the policy in force asks its successor for one.
        match policy.way().judge(self.key, self.active.asks_second()) {
            Ok(()) => {}
            Err(WayError::Behind(newest)) => return Err(Refusal::KeyBehind { newest }),
            Err(WayError::Second) => {
                return Err(Refusal::SecondAsked { offered, by: self.active.version() });
            }
        }
        //= specs/house.md#house-policy
        //# A policy that names a second signature, or that follows one in force which does, MUST be refused without it.
        if !self.active.satisfied_by(policy) {
            return Err(Refusal::SecondAsked { offered, by: self.active.version() });
        }
        if let Some(candidate) =
            self.candidate.as_ref().filter(|c| c.policy.digest() == policy.digest())
        {
            return Err(Refusal::Busy { version: offered, again: candidate.not_before });
        }
        //= specs/house.md#house-policy
        //# Nobody MUST return to a version that the policy in force withdraws.
        if self.active.withdraws(offered) {
            return Err(Refusal::Withdrawn { offered, by: self.active.version() });
        }
        //= specs/house.md#house-policy
        //# A policy MUST be refused when its version does not grow.
        let lost =
            self.highest.digest == policy.digest() && self.active.digest() != policy.digest();
        if offered <= known && !lost {
            return Err(Refusal::NotNewer { offered, known });
        }
        floor.judge(policy.compiled())?;
        //= specs/house.md#house-policy
        //# An expired policy MUST be refused.
        if policy.expired(now) {
            return Err(Refusal::Expired(policy.expires()));
        }
        if self.side == Side::Gateway {
            must_keep(self.holdings(), policy)?;
        }
        Ok(())
    }

    pub(super) fn take(&mut self, policy: PreparedPolicy, not_before: Timestamp) {
        let policy = Arc::new(policy);
        self.highest = StoredPolicy::of(&policy);
        self.key = policy.way().successor().or(self.key);
        let before = self.candidate.replace(Candidate { policy, tries: 0, not_before });
        // Another gateway may have had more luck with it.
        if let (Side::Gateway, Some(before)) = (self.side, before) {
            keep(&mut self.kept, before.policy);
        }
    }
}
