//! Which channel opens what at the gateway: everything, the update door, or nothing.
//!
//! ```text
//!  Door (slots, now) ─┐                     ┌─► Admission::Admitted(SessionPermit)       on to authorisation by name
//!  channel by names ──┼──► judge ───────────┼─► Admission::UpdateOnly(PolicyUpdatePermit) the policy, then good-bye
//!  version it holds ──┘                     └─► Admission::Refused(why)
//! ```

use crate::policy::{Door, PreparedPolicy, Standing};
use countersign_crypto::policy::{ChannelNames, NotAllowed, PolicyDigest, Use};
use countersign_model::time::Timestamp;
use std::sync::Arc;

//= specs/house.md#house-permits
//# A permit MUST have private fields and come only from the function that authorises.
/// A channel that a policy in force allows.
///
/// ```compile_fail,E0451
/// use countersign_protocol::permit::door::SessionPermit;
/// let forged = SessionPermit { under: todo!(), version: 1 };
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionPermit {
    under: PolicyDigest,
    version: u64,
}

impl SessionPermit {
    /// The policy that allows it. Report [`crate::policy::Event::Carried`] with it.
    #[must_use]
    pub const fn under(&self) -> PolicyDigest {
        self.under
    }

    /// Its version.
    #[must_use]
    pub const fn version(&self) -> u64 {
        self.version
    }
}

/// A channel that only an older policy allows: whoever is at its other end may be sent the policy in force, and nothing else.
///
/// ```compile_fail,E0451
/// use countersign_protocol::permit::door::PolicyUpdatePermit;
/// let forged = PolicyUpdatePermit { gives: todo!(), under: 1, lacks: todo!() };
/// ```
#[derive(Debug, Clone)]
pub struct PolicyUpdatePermit {
    gives: Arc<PreparedPolicy>,
    under: u64,
    lacks: NotAllowed,
}

impl PolicyUpdatePermit {
    /// The policy to send.
    #[must_use]
    pub const fn gives(&self) -> &Arc<PreparedPolicy> {
        &self.gives
    }

    /// The version of the older policy that allows the channel.
    #[must_use]
    pub const fn under(&self) -> u64 {
        self.under
    }

    /// Why the channel is closed once the policy was sent.
    #[must_use]
    pub fn reason(&self) -> String {
        format!(
            "policy {} is in force and does not allow this channel, which policy {} does ({}): take the policy and reconnect",
            self.gives.version(),
            self.under,
            self.lacks
        )
    }
}

/// The answer "no": no policy that is in force or kept allows the channel.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "policy {version} does not allow this channel, and no older one that is still kept does: {lacks}"
)]
pub struct ChannelRefused {
    /// In force.
    pub version: u64,
    /// What it has against the channel.
    pub lacks: NotAllowed,
}

/// What a channel opens.
#[derive(Debug, Clone)]
pub enum Admission {
    /// Everything that the peer's name opens.
    Admitted(SessionPermit),
    /// The update door.
    UpdateOnly(PolicyUpdatePermit),
    /// Nothing.
    Refused(ChannelRefused),
}

//= specs/house.md#house-policy
//# A channel that only an older policy allows MUST be used for the newer policy and nothing else.
/// Judges a finished handshake. `held` is the version that the peer says it holds, if it said so: one that says it holds what is
/// in force and comes by an older policy all the same has nothing to fetch, and is refused.
#[must_use]
pub fn judge(
    door: &Door,
    use_: Use,
    channel: &ChannelNames<'_>,
    held: Option<u64>,
    now: Timestamp,
) -> Admission {
    let active = door.active();
    let lacks = match active.compiled().rules(use_).allow(channel) {
        Ok(()) => return Admission::Admitted(session(active)),
        Err(lacks) => lacks,
    };
    let refused = ChannelRefused { version: active.version(), lacks: lacks.clone() };
    match door.find(use_, channel, now) {
        Some((policy, Standing::InForce)) => Admission::Admitted(session(policy)),
        Some(_) if held.is_some_and(|held| held >= active.version()) => Admission::Refused(refused),
        Some((policy, Standing::UpdateOnly)) => Admission::UpdateOnly(PolicyUpdatePermit {
            gives: active.clone(),
            under: policy.version(),
            lacks,
        }),
        None => Admission::Refused(refused),
    }
}

fn session(policy: &PreparedPolicy) -> SessionPermit {
    SessionPermit { under: policy.digest(), version: policy.version() }
}
