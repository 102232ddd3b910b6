//! x
pub mod api;
pub mod clock;
pub mod config;
pub mod data;
pub mod functions;
pub mod gate;
pub mod listeners;
pub mod uplink;
