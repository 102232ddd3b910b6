//! What a shell stores of the slots, in whatever form it likes.

use super::history::History;
use super::prepared::{Origin, PreparedPolicy};
use super::slots::{PolicySlots, Side, Trust};
use countersign_crypto::policy::{PolicyDigest, PolicyKeyId};
use countersign_model::time::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Which policy sits in a slot. Its document is stored beside, under the digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoredPolicy {
    /// Its version.
    pub version: u64,
    /// Which one it is; in text, 64 hexadecimal digits.
    #[serde(serialize_with = "to_hex", deserialize_with = "from_hex")]
    pub digest: PolicyDigest,
    /// Where it comes from. The build's own has no document.
    pub origin: Origin,
}

/// What waits for its trial.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoredCandidate {
    /// Which one.
    pub policy: StoredPolicy,
    /// Failed trials so far.
    pub tries: u32,
    /// When it is tried next, at the earliest.
    pub not_before: Timestamp,
}

/// The slots, for storage. Replaced as a whole, after the documents that it names were written and before those that it no
/// longer names are deleted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoredSlots {
    /// In force.
    pub active: StoredPolicy,
    /// Whether it has carried an authenticated session.
    pub proven: bool,
    /// What can be returned to while it has not.
    pub previous: Option<StoredPolicy>,
    /// Sessions that failed in a row under it.
    pub failures: u32,
    /// What waits for its trial.
    pub candidate: Option<StoredCandidate>,
    /// At a gateway: older ones for the update door, newest first.
    pub kept: Vec<StoredPolicy>,
    /// The newest ever taken: the floor that survives a return.
    pub highest: StoredPolicy,
    /// The newest policy key whose policy was ever taken; none while that is the one that was held from the beginning. In text, 64
    /// hexadecimal digits.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        serialize_with = "key_to_hex",
        deserialize_with = "key_from_hex"
    )]
    pub key: Option<PolicyKeyId>,
    /// What happened.
    pub history: History,
}

impl StoredPolicy {
    pub(super) fn of(policy: &PreparedPolicy) -> Self {
        Self { version: policy.version(), digest: policy.digest(), origin: policy.origin() }
    }
}

impl StoredSlots {
    /// The documents that must be there. Every other one may be deleted.
    pub fn documents(&self) -> impl Iterator<Item = StoredPolicy> {
        let candidate = self.candidate.map(|candidate| candidate.policy);
        let all = [self.active].into_iter().chain(self.previous).chain(candidate);
        all.chain(self.kept.clone()).filter(|policy| policy.origin == Origin::Signed)
    }
}

impl PolicySlots {
    /// What to store after every change, before acting on it.
    #[must_use]
    pub fn stored(&self) -> StoredSlots {
        let (proven, failures) = match self.trust {
            Trust::Proven => (true, 0),
            Trust::Unproven { failures, .. } => (false, failures),
        };
        StoredSlots {
            active: StoredPolicy::of(&self.active),
            proven,
            previous: self.previous().map(|policy| StoredPolicy::of(policy)),
            failures,
            candidate: self.candidate.as_ref().map(|candidate| StoredCandidate {
                policy: StoredPolicy::of(&candidate.policy),
                tries: candidate.tries,
                not_before: candidate.not_before,
            }),
            kept: match self.side {
                Side::Device => Vec::new(),
                Side::Gateway => self.kept.iter().map(|policy| StoredPolicy::of(policy)).collect(),
            },
            highest: self.highest,
            key: self.key,
            history: self.history.clone(),
        }
    }
}

fn to_hex<S: Serializer>(digest: &PolicyDigest, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(digest)
}

fn from_hex<'de, D: Deserializer<'de>>(from: D) -> Result<PolicyDigest, D::Error> {
    let text = String::deserialize(from)?;
    text.parse().map_err(serde::de::Error::custom)
}

fn key_to_hex<S: Serializer>(key: &Option<PolicyKeyId>, to: S) -> Result<S::Ok, S::Error> {
    key.map(|key| key.to_string()).serialize(to)
}

fn key_from_hex<'de, D: Deserializer<'de>>(from: D) -> Result<Option<PolicyKeyId>, D::Error> {
    let text = Option::<String>::deserialize(from)?;
    text.map(|text| text.parse().map_err(serde::de::Error::custom)).transpose()
}
