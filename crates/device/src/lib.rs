//! x
pub mod agent;
pub mod api;
pub mod backoff;
pub mod clock;
pub mod config;
pub mod data;
pub mod est;
pub mod functions;
pub mod gate;
pub mod identity;
pub mod ixit;
pub mod listeners;
pub mod pairing;
mod refusal;
pub mod status;
pub mod uplink;
