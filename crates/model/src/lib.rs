//! The pure vocabulary of countersign: what the parts say to each other, without input or output and
//! without cryptography.
//!
//! ```text
//!  id ── names of things, people, services          thing ── W3C Thing Description
//!  role ─ viewer < member < owner                    topic ── MQTT topic names bound to identities
//!  time ─ instants and validity windows              ixit ─── the declaration that a test lab needs
//!  state  factory-default … initialised … reset       label ── serial, setup code, QR text
//!  factory  what the factory puts into a device, as one package
//!  invite ── a one-time code for a second person
//!  registry ── what catalogues say of algorithms, as data
//!  processes ─ how keys and codes are managed over their life, as data
//! ```
//!
//! ```
//! use countersign_model::{id::ThingId, role::Role};
//! let plug: ThingId = "plug-000001".parse()?;
//! assert!(Role::Owner > Role::Viewer);
//! assert!("../etc/passwd".parse::<ThingId>().is_err());
//! # Ok::<(), countersign_model::id::InvalidId>(())
//! ```

pub mod factory;
pub mod grant;
pub mod id;
pub mod invite;
pub mod ixit;
pub mod label;
pub mod processes;
pub mod registry;
pub mod role;
pub mod state;
pub mod thing;
pub mod time;
pub mod topic;
