//! Why a policy is not taken, in one enum: a text for people, a word for machines.

use countersign_crypto::policy::{CompileError, PolicyKeyId, SignedPolicyError};
use countersign_model::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Why an offered policy is not tried. The slots stay as they are.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Another key's, cut short, changed, or no policy at all.
    #[error("{0}")]
    Signature(#[from] SignedPolicyError),
    /// It names a second signature, and nobody here knows the maker's second key.
    #[error(
        "the policy needs a second signature, and this side knows no second key of its maker: \
         a device that was provisioned without one must be provisioned again"
    )]
    NoSecondKey,
    /// The policy in force asks its successor for a second signature, which is not there.
    #[error(
        "version {by}, which is in force, asks for a second signature, and version {offered} bears none: \
         sign it with both keys"
    )]
    SecondAsked {
        /// Of the offer.
        offered: u64,
        /// In force.
        by: u64,
    },
    /// Signed by a key that was left behind, or that does not follow the newest one.
    #[error(
        "the policy is signed by a key that does not lead on from {newest}, the newest policy key that was taken here: \
         it was left behind, or never was the maker's"
    )]
    KeyBehind {
        /// The newest key.
        newest: PolicyKeyId,
    },
    /// Signed, for somebody else's devices.
    #[error("the policy is for the devices of {of:?}, not of {ours:?}")]
    Maker {
        /// Whom the policy names.
        of: String,
        /// Whose device or gateway this is.
        ours: String,
    },
    /// This build cannot carry it out. Every fault with its place.
    #[error("this build cannot carry the policy out: {}", list(.0))]
    Provider(Vec<CompileError>),
    /// Weaker than what the build takes from anybody.
    #[error("the policy is below the built-in floor: {0}")]
    BelowFloor(#[from] BelowFloor),
    /// Over.
    #[error("the policy expired at {}", .0.to_rfc3339())]
    Expired(Timestamp),
    /// Not newer than the newest ever taken: a replay, or a return by the back door.
    #[error("version {offered} is not newer than version {known}, which was taken before")]
    NotNewer {
        /// Of the offer.
        offered: u64,
        /// The newest ever taken.
        known: u64,
    },
    /// The policy in force withdraws it.
    #[error("version {offered} is withdrawn by version {by}")]
    Withdrawn {
        /// Of the offer.
        offered: u64,
        /// In force.
        by: u64,
    },
    /// This very policy waits for its next trial.
    #[error("version {version} is on trial already; it is tried again at {}", .again.to_rfc3339())]
    Busy {
        /// On trial.
        version: u64,
        /// When it is tried next.
        again: Timestamp,
    },
    /// To take it would shut the update door on devices that may still hold an older policy.
    #[error(
        "{kept} older policies would have to be kept, over {most}: \
         withdraw those that have expired, or that no device holds any more"
    )]
    TooManyKept {
        /// How many there would be.
        kept: usize,
        /// How many there may be.
        most: usize,
    },
}

impl From<Vec<CompileError>> for Refusal {
    fn from(errors: Vec<CompileError>) -> Self {
        Self::Provider(errors)
    }
}

fn list(errors: &[CompileError]) -> String {
    errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

impl Refusal {
    /// The word for machines. It stays the same from release to release.
    #[must_use]
    pub const fn word(&self) -> Word {
        match self {
            Self::Signature(_)
            | Self::NoSecondKey
            | Self::SecondAsked { .. }
            | Self::KeyBehind { .. } => Word::Signature,
            Self::Maker { .. } => Word::Maker,
            Self::Provider(_) => Word::Provider,
            Self::BelowFloor(_) => Word::BelowFloor,
            Self::Expired(_) => Word::Expired,
            Self::NotNewer { .. } => Word::NotNewer,
            Self::Withdrawn { .. } => Word::Withdrawn,
            Self::Busy { .. } => Word::Busy,
            Self::TooManyKept { .. } => Word::TooManyKept,
        }
    }
}

/// What of a policy is below the floor of the build.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BelowFloor {
    /// Its version.
    #[error("version {offered} is lower than the built-in version {floor}")]
    Version {
        /// Of the offer.
        offered: u64,
        /// Built in.
        floor: u64,
    },
    /// A protocol version that the build's own policy does not have.
    #[error("{place}: {version} is older than what this build speaks")]
    Protocol {
        /// The use.
        place: String,
        /// The protocol version.
        version: String,
    },
    /// Something too weak.
    #[error("{place}: {item} has {bits} bit, less than {floor}")]
    Strength {
        /// The use, or `document-signing`.
        place: String,
        /// What is too weak.
        item: String,
        /// Its strength.
        bits: u16,
        /// What is needed.
        floor: u16,
    },
}

/// What stands in the record of policies, as one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Word {
    /// Refused: signature, form or content type.
    Signature,
    /// Refused: another maker's.
    Maker,
    /// Refused: the provider cannot carry it out.
    Provider,
    /// Refused: below the built-in floor.
    BelowFloor,
    /// Refused: over.
    Expired,
    /// Refused: a lower or equal version.
    NotNewer,
    /// Refused: withdrawn by what is in force.
    Withdrawn,
    /// Refused: on trial already.
    Busy,
    /// Refused: too many older ones.
    TooManyKept,
    /// Taken, and to be tried.
    Taken,
    /// Its trial failed.
    TrialFailed,
    /// In force.
    Activated,
    /// It has carried an authenticated session.
    Proven,
    /// Its sessions failed; the one before is in force again.
    Returned,
    /// Its document was lost or damaged.
    Lost,
}

impl Word {
    /// Every word.
    pub const ALL: [Self; 15] = [
        Self::Signature,
        Self::Maker,
        Self::Provider,
        Self::BelowFloor,
        Self::Expired,
        Self::NotNewer,
        Self::Withdrawn,
        Self::Busy,
        Self::TooManyKept,
        Self::Taken,
        Self::TrialFailed,
        Self::Activated,
        Self::Proven,
        Self::Returned,
        Self::Lost,
    ];

    /// The word itself.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Signature => "signature",
            Self::Maker => "maker",
            Self::Provider => "provider",
            Self::BelowFloor => "below-floor",
            Self::Expired => "expired",
            Self::NotNewer => "not-newer",
            Self::Withdrawn => "withdrawn",
            Self::Busy => "busy",
            Self::TooManyKept => "too-many-kept",
            Self::Taken => "taken",
            Self::TrialFailed => "trial-failed",
            Self::Activated => "activated",
            Self::Proven => "proven",
            Self::Returned => "returned",
            Self::Lost => "lost",
        }
    }
}

impl fmt::Display for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
