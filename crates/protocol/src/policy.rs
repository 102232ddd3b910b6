//! Two slots for the crypto policy, so that no policy can lock a device or gateway out.
//!
//! ```text
//!  Steady(n) ──offer n+1──► Trial(n, n+1) ──handshake ok──► Probation(n+1, keeps n) ──session carried──► Steady(n+1)
//!      ▲                        │ handshake failed              │ sessions fail
//!      └────────────────────────┴───────────────────────────────┘ only while n is unexpired and not withdrawn
//! ```
//!
//! The signature was checked before (`crypto::policy`), and only what compiled can be offered: an offer takes the compiled
//! policy. Whoever may offer needs a `ConfigurePermit` or the policy key's signature; the shell asks for one of them.

use countersign_crypto::policy::CompiledPolicy;
use countersign_model::time::Timestamp;

/// What the slots know of a policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PolicyHead {
    version: u64,
    expires: Timestamp,
}

impl PolicyHead {
    /// Of a policy that compiled.
    #[must_use]
    pub fn of(policy: &CompiledPolicy) -> Self {
        Self { version: policy.version(), expires: policy.expires() }
    }

    /// Its version.
    #[must_use]
    pub const fn version(&self) -> u64 {
        self.version
    }

    /// Its last instant.
    #[must_use]
    pub const fn expires(&self) -> Timestamp {
        self.expires
    }
}

/// Which policy is in force, and which one waits. A value: each step makes a new one, which the shell stores.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PolicySlots {
    /// One policy, proven.
    Steady {
        /// In force.
        active: PolicyHead,
    },
    /// A newer one is being tried in a real handshake.
    Trial {
        /// In force.
        active: PolicyHead,
        /// To be tried.
        candidate: PolicyHead,
    },
    /// The newer one is in force, the older one is kept.
    Probation {
        /// In force.
        active: PolicyHead,
        /// Kept until the newer one has carried an authenticated session.
        previous: PolicyHead,
    },
}

/// Why an offered policy is not tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OfferRefused {
    /// Not newer than what is in force or being tried: a replay, or a return by the back door.
    #[error("version {offered} is not newer than {known}")]
    NotNewer {
        /// Of the offer.
        offered: u64,
        /// The newest known.
        known: u64,
    },
    /// Below what the software was built with.
    #[error("version {offered} is below the built-in floor {floor}")]
    BelowFloor {
        /// Of the offer.
        offered: u64,
        /// Built in.
        floor: u64,
    },
    /// Already over.
    #[error("the policy has expired")]
    Expired,
    /// Another one has not finished its trial or probation.
    #[error("version {0} is still on trial")]
    Busy(u64),
}

impl PolicySlots {
    /// The policy in force.
    #[must_use]
    pub const fn active(&self) -> PolicyHead {
        match self {
            Self::Steady { active }
            | Self::Trial { active, .. }
            | Self::Probation { active, .. } => *active,
        }
    }

    //= specs/house.md#house-policy
    //# A policy MUST be refused when its version does not grow.
    /// A newer policy has come, verified and compiled.
    ///
    /// # Errors
    /// [`OfferRefused`]; the slots stay as they are.
    pub fn offer(
        self,
        candidate: PolicyHead,
        floor: u64,
        now: Timestamp,
    ) -> Result<Self, OfferRefused> {
        let offered = candidate.version;
        let Self::Steady { active } = self else {
            let trial = match self {
                Self::Trial { candidate, .. } => candidate.version,
                _ => self.active().version,
            };
            return Err(OfferRefused::Busy(trial));
        };
        if offered < floor {
            return Err(OfferRefused::BelowFloor { offered, floor });
        }
        if offered <= active.version {
            return Err(OfferRefused::NotNewer { offered, known: active.version });
        }
        if candidate.expires < now {
            return Err(OfferRefused::Expired);
        }
        Ok(Self::Trial { active, candidate })
    }

    /// The trial's handshake has ended.
    #[must_use]
    pub const fn tried(self, succeeded: bool) -> Self {
        match self {
            Self::Trial { active, candidate } if succeeded => {
                Self::Probation { active: candidate, previous: active }
            }
            Self::Trial { active, .. } => Self::Steady { active },
            other => other,
        }
    }

    /// The policy in force has carried an authenticated session: what was kept is let go.
    #[must_use]
    pub const fn carried(self) -> Self {
        match self {
            Self::Probation { active, .. } => Self::Steady { active },
            other => other,
        }
    }

    /// Sessions under the new policy fail. Returns to the old one while that is unexpired and not withdrawn; otherwise the
    /// new one stays, for a weaker past is no refuge.
    #[must_use]
    pub fn failing(self, previous_withdrawn: bool, now: Timestamp) -> Self {
        match self {
            Self::Probation { previous, .. } if !previous_withdrawn && now <= previous.expires => {
                Self::Steady { active: previous }
            }
            other => other,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
