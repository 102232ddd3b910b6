//! The affordances that every device has, as a description would declare them.

use serde_json::{Value, json};

/// Who has which role. Who joined by an invitation has an `anchor` too.
pub(super) fn access() -> Value {
    json!({
        "title": "Who has which role",
        "type": "array", "minItems": 1, "maxItems": 64,
        "items": {
            "type": "object",
            "properties": {
                "person": {"type": "string", "minLength": 1, "maxLength": 64},
                "role": {"type": "string", "enum": ["viewer", "member", "owner"]},
                "anchor": {"type": "string", "minLength": 64, "maxLength": 64}
            },
            "required": ["person", "role"]
        },
        "countersign:securityRelevant": true
    })
}

/// Who changed who may what.
pub(super) fn history() -> Value {
    json!({
        "title": "Who changed who may what",
        "type": "object", "readOnly": true,
        "properties": {
            "base": {"type": "object"},
            "head": {"type": "object"},
            "entries": {"type": "array", "maxItems": 128}
        },
        "required": ["base", "head", "entries"],
        "countersign:securityRelevant": true
    })
}

/// The network to join, and its key. Written, never read.
pub(super) fn network() -> Value {
    json!({
        "title": "The network to join",
        "type": "object", "writeOnly": true,
        "properties": {
            "ssid": {"type": "string", "minLength": 1, "maxLength": 32},
            "key": {"type": "string", "minLength": 1, "maxLength": 64}
        },
        "required": ["ssid", "key"],
        "countersign:securityRelevant": true
    })
}

/// Opens the device for one person, by the verifier of a one-time code.
pub(super) fn invite() -> Value {
    json!({
        "title": "Invite a person by a one-time code",
        "input": {
            "type": "object",
            "properties": {
                "person": {"type": "string", "minLength": 1, "maxLength": 64},
                "role": {"type": "string", "enum": ["viewer", "member", "owner"]},
                "seconds": {"type": "integer", "minimum": 30, "maximum": 3600},
                "salt": {"type": "string", "minLength": 32, "maxLength": 32},
                "memory": {"type": "integer", "minimum": 8192, "maximum": 65536},
                "passes": {"type": "integer", "minimum": 1, "maximum": 8},
                "lanes": {"type": "integer", "minimum": 1, "maximum": 4},
                "verifier": {"type": "string", "minLength": 194, "maxLength": 194}
            },
            "required": ["person", "role", "seconds", "salt", "memory", "passes", "lanes", "verifier"]
        },
        "countersign:securityRelevant": true
    })
}

/// The way out of the home.
pub(super) fn reset() -> Value {
    json!({
        "title": "Destroy the home's keys and return to factory-default",
        "countersign:securityRelevant": true
    })
}
