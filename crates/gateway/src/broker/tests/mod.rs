//! The broker under a virtual clock, with clients whose protocol machine is mqtt-protocol-core's, not ours.
#![allow(clippy::unwrap_used)]

mod acknowledge;
mod authorise;
mod clones;
mod deliver;
mod hostile;
pub(crate) mod kit;
mod lifetime;
mod model;
