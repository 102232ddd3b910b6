//! The one door to a cryptographic backend. Everything else in the product asks here, by registered name;
//! replacing the backend is replacing the file behind this one.

mod aws_lc;

pub use aws_lc::BACKEND;
pub(crate) use aws_lc::*;
