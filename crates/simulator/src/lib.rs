//! A world in one process: the real halves of every conversation under a virtual clock, with an adversary on the wire.
//!
//! ```text
//!            Maker (authority in a folder)          Gateway (broker core)
//!               ▲ EST over TLS in memory               ▲ MQTT, admitted by TLS in memory
//!               │                                      │
//!   Owner ──────┼──────► Wire + Adversary ─────────────┼──────► Plug (device)
//!  (home, code) │  cut, flip, swap, repeat, record     │   pairing, enrolment, gate, inbox, uplink
//!               └────────────── VirtualClock ──────────┘
//! ```
//!
//! What runs here is the product: `protocol`'s machines and permits, the gateway's broker, the authority with its database
//! and ledger, the device's MQTT session, the owner's home, and TLS 1.3 with real certificates. What is ours is the world
//! between them. Nothing waits for real time (but a stalled channel, for a second), no socket is opened, and shares, setup
//! codes and command ids come from a seed. Keys and TLS randomness come from the provider, which takes no seed.
//!
//! ```
//! use countersign_simulator::{Adversary, World};
//! let mut world = World::new(1);
//! let mut plug = world.manufacture("plug-000001");
//! let label = plug.take_label();
//! let paired = world.pair(&mut plug, label.into_parts().1, Adversary::honest());
//! assert!(paired.controller.is_ok());
//! ```
#![allow(clippy::unwrap_used, reason = "a world that cannot be built fails its test by panicking")]
#![allow(missing_docs, reason = "a development tool: names and module pages suffice")]

mod clock;
mod enrol;
pub mod fleet;
mod gateway;
mod invitation;
mod maker;
mod owner;
mod pairing;
mod plug;
mod random;
mod wire;
mod world;

pub use clock::VirtualClock;
pub use gateway::{Endpoint, SimGateway};
pub use invitation::JoinResult;
pub use maker::Maker;
pub use owner::{NETWORK_KEY, Owner};
pub use pairing::PairingResult;
pub use plug::{Plug, SlotContent};
pub use random::Seeded;
pub use wire::{Adversary, Fault, Recording};
pub use world::World;
