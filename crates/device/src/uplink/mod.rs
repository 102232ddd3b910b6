//! The uplink: MQTT 5 over mutual TLS to the maker's gateway.
//!
//! ```text
//!  core    ── the session: bytes and timers in, bytes, timers and messages out
//!  outbox  ── what is owed to the gateway, bounded, at least once
//!  command ── what the gateway brings: noted, judged, done, receipted
//!  shell   ── sockets, clocks, reconnection
//! ```

pub mod command;
pub mod core;
pub mod outbox;
pub mod shell;
