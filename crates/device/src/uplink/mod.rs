//! The uplink: MQTT 5 to the gateway.
pub mod core;
pub mod outbox;
