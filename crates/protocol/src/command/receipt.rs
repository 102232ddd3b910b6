//! What became of a command.

use super::stamp::CommandId;
use countersign_model::id::{AffordanceName, ThingId};
use countersign_model::time::Timestamp;
use countersign_model::topic::{ThingTopic, Topic};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// The device did it.
    Done,
    /// The device would not.
    Refused,
    /// The device tried and could not.
    Failed,
}

/// A receipt: a JSON object, published at `things/{id}/actions/{name}/receipt`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Receipt {
    /// Of which command.
    pub command: CommandId,
    /// The action, or the property that was to be set.
    pub affordance: AffordanceName,
    /// How it ended.
    pub outcome: Outcome,
    /// For people: why it did not end well.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub detail: Option<String>,
    /// The action's output.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub output: Option<Value>,
    /// When, by the device's clock.
    pub at: Timestamp,
}

impl Receipt {
    /// Where it is published.
    #[must_use]
    pub fn topic(&self, thing: &ThingId) -> Topic {
        ThingTopic::Receipt { thing: thing.clone(), name: self.affordance.clone() }.topic()
    }

    /// Its JSON text.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a receipt has only text keys")
    }
}
