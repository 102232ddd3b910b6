//! The device: an SDK for firmware in Rust, and the agent that puts any product behind one gate.
//!
//! ```text
//!                 ┌──────────────────────── agent ────────────────────────┐
//!  owner ─► pairing (factory-default only)          identity ─► est ─► authority
//!  home ──► api ─────┐                                                    │
//!                    ├─► gate: judge ─► permit ─► functions               │
//!  gateway ◄─ uplink ┘        │                              policy: two  │
//!                 │      data: sealed state, two key slots, last good copy│
//!                 └── listeners: nothing is open that was not declared ───┘
//! ```
//!
//! A maker implements [`functions::Functions`], or writes one small program for each property
//! ([`functions::Programs`]), describes them in a Thing Description, and calls [`agent::run`]. Decisions are taken
//! in `protocol`; here are sockets, clocks, files and processes.
//!
//! ```no_run
//! use countersign_device::{agent, config::Config, functions::SimulatedPlug};
//! use std::{path::Path, sync::Arc};
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let config = Config::read(Path::new("device.toml"))?;
//! let shutdown = async {
//!     let _ = tokio::signal::ctrl_c().await;
//! };
//! agent::run(config, Arc::new(SimulatedPlug::new()), shutdown).await?;
//! # Ok(())
//! # }
//! ```
//!
//! | For | See |
//! |---|---|
//! | running a device | [`agent`], [`config`], [`status`] |
//! | making one in the factory | [`data::Blank`] |
//! | the maker's product | [`functions`], [`bindings`], [`sandbox`] |
//! | how the device is found | [`discovery`] |
//! | what every request passes | [`gate`], [`api`] |
//! | what the product tells by itself | [`changes`] |
//! | the test lab's declaration | [`ixit`] |

pub mod agent;
pub mod bindings;
pub mod config;
pub mod functions;
pub mod sandbox;
pub mod status;

pub mod changes;
pub mod discovery;
pub mod gate;

pub mod api;
pub mod pairing;
pub mod uplink;

pub mod anchors;
pub mod est;
pub mod identity;
pub mod policy;

pub mod clock;
pub mod data;
pub mod ixit;
pub mod listeners;

mod backoff;
mod refusal;

/// The Thing Description of the simulated smart plug, for demonstrations and tests.
pub const PLUG_DESCRIPTION: &str = include_str!("../things/plug.td.json");
