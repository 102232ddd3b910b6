//! The conversations of countersign, all halves of each: decisions without input, output, clock or randomness.
//!
//! ```text
//!  bytes, events, now, random ─►┌───────────────────────────────────────┐
//!                               │ pairing     controller ◄─► device     │
//!                               │ discovery   device ─► controller      │
//!                               │ invitation  joiner ◄─► device         │
//!                               │ journal     who changed who may what  │
//!                               │ enrolment   device ◄─► authority      │
//!                               │ rotation    when to renew             │─► bytes, outputs, deadlines
//!                               │ telemetry   device ─► gateway         │
//!                               │ command     gateway ─► device         │
//!                               │ policy      which of two slots        │
//!                               │ anchors     gateway ◄─► device        │
//!                               │ fleet       what a policy would do    │
//!                               └───────────────────┬───────────────────┘
//!                                   permit: nothing happens without one
//! ```
//!
//! A shell feeds a machine and carries out what comes back, in order. So every conversation runs under a virtual clock, with
//! a seeded random source and an adversary in between, in milliseconds (crate `simulator`).
//!
//! ```
//! use countersign_model::{role::Role, state::DeviceState, time::Timestamp};
//! use countersign_model::thing::{Operation, ThingDescription};
//! use countersign_protocol::permit::device::{judge, Permit, Request, Subject};
//! let thing = ThingDescription::parse(br#"{
//!   "@context": ["https://www.w3.org/2022/wot/td/v1.1", {"countersign": "urn:countersign:td#"}],
//!   "title": "Lamp", "securityDefinitions": {"mtls": {"scheme": "auto"}}, "security": "mtls",
//!   "properties": {"on": {"type": "boolean"}}
//! }"#).map_err(|errors| format!("{errors:?}"))?;
//! let ada = Subject::Person { name: "ada".parse()?, role: Role::Member, until: Timestamp(2_000) };
//! let switch_on = Request::new(Operation::WriteProperty, "on", b"true")?;
//! let granted = judge(DeviceState::Initialised, &ada, &thing, &switch_on, Timestamp(1_000));
//! assert!(matches!(granted, Ok(Permit::Command(_))));
//! assert!(judge(DeviceState::Initialised, &ada, &thing, &switch_on, Timestamp(2_001)).is_err());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod permit;

pub mod invitation;
pub mod journal;
pub mod pairing;

pub mod discovery;

pub mod enrolment;
pub mod rotation;

pub mod anchors;
pub mod command;
pub mod telemetry;

pub mod fleet;
pub mod policy;

pub mod hex;
