//! placeholder
pub mod permit;
