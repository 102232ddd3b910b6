//! The owner's side: a home, its people, pairing, and control of its devices over the local API.
//!
//! ```text
//!  Home ── the home's own CA (sealed), its persons, its paired things
//!   ├─ pair(setup, address, …)   TLS with the IDevID ─► SPAKE2+ ─► anchor, owner, network, gateway installed
//!   ├─ Search, find_waiting       multicast DNS: where it is now, and what waits to be paired
//!   ├─ session(person, thing)    mutual TLS ─► get, set, invoke, observe, describe, invite, unshare, history
//!   └─ join(invitation, …)       TLS ─► SPAKE2+ ─► on the device's access list, with a key made here
//! ```
//!
//! The device is verified twice: its certificate under the maker's root whose fingerprint the label carries, and its
//! knowledge of the label's setup code. After that it is recognised by its certificate alone.
//!
//! ```
//! use countersign_controller::Home;
//! let folder = tempfile::tempdir()?;
//! let home = Home::create(folder.path(), "ada".parse()?)?;
//! home.issue_person("bob".parse()?)?;
//! assert_eq!(Home::open(folder.path())?.persons(), ["ada".parse()?, "bob".parse()?]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod certify;
mod discovery;
mod door;
mod error;
mod home;
mod observe;
mod pairing;
mod remembered;
mod session;
mod sharing;
mod sse;

pub use discovery::{PORT as MULTICAST_PORT, Search, Seen, WAIT};
pub use error::ControlError;
pub use home::{Home, PairedThing};
pub use observe::{Observation, Observed, Told};
pub use pairing::{Setup, What};
pub use remembered::{Remembered, Suggestion, Wanted};
pub use session::{Reply, Session};
pub use sharing::{Invitation, Membership};

pub use countersign_protocol::pairing::{GatewayAddress, NetworkCredentials};
