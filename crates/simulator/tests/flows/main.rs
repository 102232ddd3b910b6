//! One file per flow of the design, each with the real halves and an adversary between them.
#![allow(clippy::unwrap_used)]

mod anchors;
mod command;
mod configuration;
mod enrolment;
mod pairing;
mod policy;
mod revocation;
mod rotation;
mod sharing;
mod telemetry;

use serde_json::Value;

/// What a service may usually do.
const GRANTS: &[&str] =
    &["subscribe things/#", "publish things/+/actions/+", "publish things/+/properties/+/set"];

/// The receipts among what a service has received.
fn receipts(received: &[(String, String)]) -> Vec<Value> {
    received
        .iter()
        .filter(|(topic, _)| topic.ends_with("/receipt"))
        .map(|(_, payload)| serde_json::from_str(payload).unwrap())
        .collect()
}
