//! The topics on which a maker's roots travel to a thing, and what a thing says about the newest root that it trusts.

use super::{Filter, MAX_REASON, MAX_REPORT, Topic, down_and_up};
use crate::id::ThingId;
use serde::{Deserialize, Serialize};

/// The level that names them.
const WORD: &str = "anchors";

/// The topics of the roots that a thing trusts.
///
/// ```
/// use countersign_model::topic::AnchorTopic;
/// let chain = AnchorTopic::Chain("plug-1".parse()?);
/// assert_eq!(chain.topic().as_str(), "things/plug-1/anchors");
/// assert_eq!(AnchorTopic::parse(&chain.topic()), Some(chain));
/// # Ok::<(), countersign_model::id::InvalidId>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum AnchorTopic {
    /// `things/{thing}/anchors`: statements by which roots name their successors, and withdraw those before them; from the gateway alone.
    Chain(ThingId),
    /// `things/{thing}/anchors/state`: the newest root that the device trusts, from the device alone.
    State(ThingId),
}

impl AnchorTopic {
    /// Reads a topic; `None` where it is none of these.
    #[must_use]
    pub fn parse(topic: &Topic) -> Option<Self> {
        let (thing, up) = down_and_up::parse(topic, WORD)?;
        Some(if up { Self::State(thing) } else { Self::Chain(thing) })
    }

    /// The topic name.
    #[must_use]
    pub fn topic(&self) -> Topic {
        match self {
            Self::Chain(thing) => down_and_up::topic(thing, WORD, false),
            Self::State(thing) => down_and_up::topic(thing, WORD, true),
        }
    }

    /// What a device subscribes to for its maker's roots.
    #[must_use]
    pub fn filter(thing: &ThingId) -> Filter {
        down_and_up::filter(thing, WORD)
    }
}

/// What a device says of its maker's roots whenever it connects and whenever a chain came.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AnchorReport {
    /// SHA-256 of the newest root that it trusts, 64 digits of lower-case hexadecimal.
    pub root: String,
    /// The place from which on it trusts roots: 0 before any was withdrawn. `None` from software that knows of no withdrawals, and is
    /// to be given none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub floor: Option<u64>,
    /// Why the last chain was not followed, for people, if it was not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
}

impl AnchorReport {
    /// As JSON, within [`MAX_REPORT`].
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        let mut report = self.clone();
        if let Some(refused) = &mut report.refused {
            let plain = refused.chars().filter(|c| !c.is_control());
            *refused = plain.take(MAX_REASON).collect();
        }
        serde_json::to_vec(&report).expect("text is JSON")
    }

    /// Reads what a device sent; `None` for anything else.
    #[must_use]
    pub fn from_json(payload: &[u8]) -> Option<Self> {
        if payload.len() > MAX_REPORT {
            return None;
        }
        let report: Self = serde_json::from_slice(payload).ok()?;
        let digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        (report.root.len() == 64 && report.root.bytes().all(digit)).then_some(report)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn topics_read_back_and_others_are_none() {
        for (text, mine) in [
            ("things/plug-1/anchors", AnchorTopic::Chain("plug-1".parse().unwrap())),
            ("things/plug-1/anchors/state", AnchorTopic::State("plug-1".parse().unwrap())),
        ] {
            assert_eq!(AnchorTopic::parse(&text.parse().unwrap()), Some(mine.clone()));
            assert_eq!(mine.topic().as_str(), text);
        }
        let filter = AnchorTopic::filter(&"plug-1".parse().unwrap());
        assert!(filter.matches(&"things/plug-1/anchors".parse().unwrap()));
        for other in ["things/plug-1", "things/plug-1/anchors/x", "thing/a/anchors"] {
            assert_eq!(AnchorTopic::parse(&other.parse().unwrap()), None, "{other}");
        }
    }

    #[test]
    fn a_report_reads_back_within_its_bound() {
        let root = "0a".repeat(32);
        let refused = Some("\u{fc}".repeat(5000));
        let report = AnchorReport { root: root.clone(), floor: Some(u64::MAX), refused };
        let json = report.to_json();
        assert!(json.len() <= MAX_REPORT, "{}", json.len());
        let back = AnchorReport::from_json(&json).unwrap();
        assert_eq!(back.refused.unwrap().chars().count(), MAX_REASON);
        assert_eq!((back.root, back.floor), (root.clone(), Some(u64::MAX)));
        // As software wrote it that knows of no withdrawals.
        let older = format!("{{\"root\":\"{root}\"}}");
        let back = AnchorReport::from_json(older.as_bytes()).unwrap();
        assert_eq!((back.floor, back.to_json()), (None, older.into_bytes()));
        for bad in ["0A".repeat(32), "0a".repeat(31), "0g".repeat(32), String::new()] {
            let json = AnchorReport { root: bad.clone(), floor: None, refused: None }.to_json();
            assert_eq!(AnchorReport::from_json(&json), None, "{bad}");
        }
        assert_eq!(AnchorReport::from_json(&[b' '; MAX_REPORT + 1]), None);
    }
}
