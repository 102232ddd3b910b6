//! placeholder
pub mod broker;
pub mod config;
pub mod directory;
