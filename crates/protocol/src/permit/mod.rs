//! placeholder
pub mod messaging;
