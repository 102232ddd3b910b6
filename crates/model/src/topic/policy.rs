//! The topics on which a thing's crypto policy travels, and what a thing says about the policy that it holds.

use super::{Filter, Topic, down_and_up};
use crate::id::ThingId;
use serde::{Deserialize, Serialize};

/// The level that names them.
const WORD: &str = "policy";

/// The topics of a thing's crypto policy.
///
/// ```
/// use countersign_model::topic::PolicyTopic;
/// let document = PolicyTopic::Document("plug-1".parse()?);
/// assert_eq!(document.topic().as_str(), "things/plug-1/policy");
/// assert_eq!(PolicyTopic::parse(&document.topic()), Some(document));
/// # Ok::<(), countersign_model::id::InvalidId>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum PolicyTopic {
    /// `things/{thing}/policy`: a signed policy, from the gateway alone.
    Document(ThingId),
    /// `things/{thing}/policy/state`: which policy the device holds, from the device alone.
    State(ThingId),
}

impl PolicyTopic {
    /// Reads a topic; `None` where it is none of these.
    #[must_use]
    pub fn parse(topic: &Topic) -> Option<Self> {
        let (thing, up) = down_and_up::parse(topic, WORD)?;
        Some(if up { Self::State(thing) } else { Self::Document(thing) })
    }

    /// The topic name.
    #[must_use]
    pub fn topic(&self) -> Topic {
        match self {
            Self::Document(thing) => down_and_up::topic(thing, WORD, false),
            Self::State(thing) => down_and_up::topic(thing, WORD, true),
        }
    }

    /// What a device subscribes to for its policy.
    #[must_use]
    pub fn filter(thing: &ThingId) -> Filter {
        down_and_up::filter(thing, WORD)
    }
}

/// The longest [`PolicyReport`] as JSON, in bytes: three numbers and a sentence.
pub const MAX_REPORT: usize = 2048;

/// The longest reason in a [`PolicyReport`], in characters; a longer one is cut.
pub const MAX_REASON: usize = 400;

/// How far a device is with its policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PolicyPhase {
    /// One policy, proven.
    Steady,
    /// A newer one is being tried in a handshake.
    Trial,
    /// The newer one is in force and has not carried a session yet.
    Probation,
}

impl PolicyPhase {
    /// The word in reports.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Steady => "steady",
            Self::Trial => "trial",
            Self::Probation => "probation",
        }
    }
}

/// What a device says of its policy whenever it connects and whenever that changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyReport {
    /// Version of the policy in force.
    pub version: u64,
    /// How far it is with the one after it.
    pub phase: PolicyPhase,
    /// The last policy that it refused, if it refused one since the one in force came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<RefusedPolicy>,
}

/// A policy that was not taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RefusedPolicy {
    /// Its version, where it could be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<u64>,
    /// Why, for people.
    pub reason: String,
}

impl PolicyReport {
    /// As JSON, within [`MAX_REPORT`].
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        let mut report = self.clone();
        if let Some(refused) = &mut report.refused {
            let plain = refused.reason.chars().filter(|c| !c.is_control());
            refused.reason = plain.take(MAX_REASON).collect();
        }
        serde_json::to_vec(&report).expect("numbers and text are JSON")
    }

    /// Reads what a device sent; `None` for anything else.
    #[must_use]
    pub fn from_json(payload: &[u8]) -> Option<Self> {
        if payload.len() > MAX_REPORT {
            return None;
        }
        serde_json::from_slice(payload).ok()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn topics_read_back_and_others_are_none() {
        for (text, mine) in [
            ("things/plug-1/policy", PolicyTopic::Document("plug-1".parse().unwrap())),
            ("things/plug-1/policy/state", PolicyTopic::State("plug-1".parse().unwrap())),
        ] {
            assert_eq!(PolicyTopic::parse(&text.parse().unwrap()), Some(mine.clone()));
            assert_eq!(mine.topic().as_str(), text);
        }
        assert!(
            PolicyTopic::filter(&"plug-1".parse().unwrap())
                .matches(&"things/plug-1/policy".parse().unwrap())
        );
        for other in [
            "things/plug-1",
            "things/plug-1/policy/x",
            "things/plug-1/policy/state/x",
            "thing/a/policy",
        ] {
            assert_eq!(PolicyTopic::parse(&other.parse().unwrap()), None, "{other}");
        }
    }

    #[test]
    fn a_report_reads_back_within_its_bound() {
        let refused = RefusedPolicy { version: Some(3), reason: "\u{fc}".repeat(5000) };
        let report =
            PolicyReport { version: 2, phase: PolicyPhase::Steady, refused: Some(refused) };
        let json = report.to_json();
        assert!(json.len() <= MAX_REPORT, "{}", json.len());
        let back = PolicyReport::from_json(&json).unwrap();
        assert_eq!((back.version, back.phase), (2, PolicyPhase::Steady));
        assert_eq!(back.refused.unwrap().reason.chars().count(), MAX_REASON);
        for bad in
            [&b"{}"[..], b"", b"{\"version\":-1,\"phase\":\"steady\"}", &[b' '; MAX_REPORT + 1]]
        {
            assert_eq!(PolicyReport::from_json(bad), None);
        }
    }
}
