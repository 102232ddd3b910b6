//! From the policy key that is held to the one that signed: who else must have signed, and how far back nobody goes.

use super::refusal::Refusal;
use countersign_crypto::cose::CoseError;
use countersign_crypto::policy::{PolicyKeyId, SignedPolicyError, VerifiedPolicy};

/// The keys that led to a policy, in order: the held one first, the one that signed last. None for the policy of the build.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Way(Vec<Step>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Step {
    key: PolicyKeyId,
    /// Whether the maker's second key signed that this one follows.
    second: bool,
}

impl Way {
    /// Of a policy that verified under `held`, and the second key that signs policies at its end. A second signature under another
    /// second key than the maker's of that place is refused, whether anybody needs it or not. Whoever holds no second key learns none:
    /// the classical key alone would vouch for it.
    //= specs/house.md#house-policy
    //# A new key of second signatures MUST be believed only by the signatures of the second key before it and of the policy key, and by its own.
    pub(super) fn of(
        verified: &VerifiedPolicy,
        held: &[u8],
        makers_second: Option<&[u8]>,
    ) -> Result<(Self, Option<Vec<u8>>), Refusal> {
        let mut steps = vec![Step { key: PolicyKeyId::of(held), second: true }];
        let mut newest = makers_second.map(<[u8]>::to_vec);
        for step in verified.way() {
            let second = match (&step.second_spki_der, &newest) {
                (Some(key), Some(makers)) if key != makers => {
                    return Err(SignedPolicyError::Cose(CoseError::SecondKey).into());
                }
                (Some(_), Some(_)) => true,
                _ => false,
            };
            if let (Some(next), true) = (&step.next_second_spki_der, second) {
                newest = Some(next.clone());
            }
            steps.push(Step { key: PolicyKeyId::of(&step.spki_der), second });
        }
        Ok((Self(steps), newest))
    }

    /// The key that signed, where that is not the held one.
    pub(super) fn successor(&self) -> Option<PolicyKeyId> {
        self.0.get(1..)?.last().map(|step| step.key)
    }

    /// Whether the way leads on from the newest key that was ever believed here (`None`: the held one), by statements that bear
    /// a second signature where one is needed.
    //= specs/house.md#house-policy
    //# A policy whose chain of keys does not lead on from the newest key that was ever taken MUST be refused.
    pub(super) fn judge(
        &self,
        newest: Option<PolicyKeyId>,
        second_needed: bool,
    ) -> Result<(), WayError> {
        let known = match newest {
            None => 0,
            Some(newest) => {
                self.0.iter().position(|step| step.key == newest).ok_or(WayError::Behind(newest))?
            }
        };
        let later = self.0.iter().skip(known + 1);
        match second_needed && later.clone().any(|step| !step.second) {
            true => Err(WayError::Second),
            false => Ok(()),
        }
    }
}

/// Why a way is not gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WayError {
    /// It does not pass the newest key.
    Behind(PolicyKeyId),
    /// A statement lacks the second signature.
    Second,
}
