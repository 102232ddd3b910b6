//! What a device says of itself, of which Home Assistant is told.

use countersign_gateway::home_assistant::{HomeAssistant, entities};
use countersign_model::id::ThingId;

/// Whatever a device says, each message is an object within bounds, below the prefix and this thing's level.
pub fn target(data: &[u8]) {
    let Ok(thing) = "plug-000001".parse::<ThingId>() else { return };
    let prefix = HomeAssistant::default().prefix;
    for (topic, payload) in entities(&prefix, &thing, data) {
        let levels: Vec<&str> = topic.levels().collect();
        assert!(matches!(levels.as_slice(), ["homeassistant", _, "plug-000001", _, "config"]));
        assert!(payload.len() < 4096, "{} bytes", payload.len());
        let value: serde_json::Value = serde_json::from_slice(&payload).unwrap_or_default();
        assert!(value.is_object());
    }
}
