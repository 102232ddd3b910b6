//! The one door to a cryptographic backend. Everything else in the product asks here, by registered name;
//! replacing the backend is replacing the file behind this one.

//= specs/en-303-645.md#5.5-2
//= type=implication
//# Network and security functions, cryptography above all, SHOULD come from reviewed or evaluated implementations.
mod aws_lc;

pub use aws_lc::BACKEND;
pub(crate) use aws_lc::*;
