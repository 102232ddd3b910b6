//! A message as the broker keeps it, and the stamp that commands get.

use countersign_crypto::random::Random;
use countersign_model::time::Timestamp;
use countersign_model::topic::Topic;
use countersign_protocol::permit::messaging::PublishPermit;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Duration;

/// How surely a message arrives (MQTT 5.0 section 4.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Qos {
    /// 0.
    AtMostOnce,
    /// 1.
    AtLeastOnce,
    /// 2.
    ExactlyOnce,
}

impl Qos {
    /// From 0, 1 or 2.
    #[must_use]
    pub const fn from_u8(value: u8) -> Option<Self> {
        match value {
            0 => Some(Self::AtMostOnce),
            1 => Some(Self::AtLeastOnce),
            2 => Some(Self::ExactlyOnce),
            _ => None,
        }
    }

    /// 0, 1 or 2.
    #[must_use]
    pub const fn as_u8(self) -> u8 {
        match self {
            Self::AtMostOnce => 0,
            Self::AtLeastOnce => 1,
            Self::ExactlyOnce => 2,
        }
    }
}

/// A message's content, shared by all who wait for it.
pub type Payload = Arc<[u8]>;

/// What MQTT 5 forwards with a message, unchanged unless it begins with our prefix.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Properties {
    /// The payload is said to be UTF-8 text.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub utf8: bool,
    /// A MIME type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_type: Option<String>,
    /// Where the answer is expected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub response_topic: Option<String>,
    /// What the answer is to repeat.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub correlation: Option<Vec<u8>>,
    /// Names and values, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub user: Vec<(String, String)>,
}

/// One message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Where it was published.
    pub topic: Topic,
    /// Its content.
    pub payload: Payload,
    /// How it was published.
    pub qos: Qos,
    /// Whether it was published to be kept for later subscribers.
    pub retain: bool,
    /// What goes with it.
    pub properties: Properties,
    /// After this instant nobody gets it any more.
    pub expires_at: Option<Timestamp>,
    /// Who published it, as `thing:NAME` or `service:NAME`.
    pub origin: Arc<str>,
}

/// What one kept message costs beyond its own bytes: its queue entry, its shared counts, its place in maps.
const OVERHEAD_BYTES: usize = 256;

/// User properties with this prefix are the gateway's; a client's are removed.
pub const STAMP_PREFIX: &str = "countersign-";
/// Who commands: `service:NAME`.
pub const STAMP_SUBJECT: &str = "countersign-subject";
/// The command's fresh id: 32 hexadecimal digits.
pub const STAMP_COMMAND: &str = "countersign-command";
/// When the gateway took the command, in milliseconds since 1970 by its clock.
pub const STAMP_AT: &str = "countersign-at";

/// A command older than this is stale, and devices refuse it: it is dropped rather than delivered.
pub const COMMAND_LIFETIME: Duration = Duration::from_secs(30);

impl Message {
    /// Bytes that keeping this message costs, for the bounds on queues.
    #[must_use]
    pub fn cost(&self) -> usize {
        let text = |field: &Option<String>| field.as_ref().map_or(0, String::len);
        let user: usize = self.properties.user.iter().map(|(k, v)| k.len() + v.len() + 48).sum();
        OVERHEAD_BYTES
            + self.topic.as_str().len()
            + self.payload.len()
            + text(&self.properties.content_type)
            + text(&self.properties.response_topic)
            + self.properties.correlation.as_ref().map_or(0, Vec::len)
            + user
    }

    /// Whether nobody gets it any more.
    #[must_use]
    pub fn expired(&self, now: Timestamp) -> bool {
        self.expires_at.is_some_and(|at| at <= now)
    }

    /// Whole seconds that it may still travel, for MQTT 5.
    #[must_use]
    pub fn remaining_secs(&self, now: Timestamp) -> Option<u32> {
        self.expires_at.map(|at| {
            let millis = at.as_millis().saturating_sub(now.as_millis());
            u32::try_from(millis.div_ceil(1000)).unwrap_or(u32::MAX)
        })
    }

    //= specs/house.md#house-commands
    //# The gateway MUST stamp a forwarded command with its subject, a fresh identifier and the time.
    //= specs/house.md#house-commands
    //# The gateway MUST remove such stamps from what clients send.
    /// Makes a client's message ours: whatever a client claims under our prefix goes, and a command gets its stamp, an
    /// end of life and no place among the retained messages, since a kept command would be obeyed again and again.
    pub(crate) fn stamp(
        &mut self,
        permit: &PublishPermit,
        now: Timestamp,
        random: &mut dyn Random,
    ) {
        self.properties.user.retain(|(name, _)| {
            let head = name.as_bytes().get(..STAMP_PREFIX.len());
            !head.is_some_and(|head| head.eq_ignore_ascii_case(STAMP_PREFIX.as_bytes()))
        });
        if !permit.is_command() {
            return;
        }
        let user = &mut self.properties.user;
        user.push((STAMP_SUBJECT.to_owned(), permit.subject().to_owned()));
        user.push((STAMP_COMMAND.to_owned(), fresh_hex(random)));
        user.push((STAMP_AT.to_owned(), now.as_millis().to_string()));
        self.retain = false;
        let end = now.plus(COMMAND_LIFETIME);
        self.expires_at = Some(self.expires_at.map_or(end, |at| at.min(end)));
    }
}

/// 128 fresh bits as 32 hexadecimal digits.
pub(crate) fn fresh_hex(random: &mut dyn Random) -> String {
    let mut bytes = [0; 16];
    random.fill(&mut bytes);
    countersign_protocol::hex::write(&bytes)
}
