//! x
pub mod data;
pub mod functions;
pub mod uplink;
