//! The device as TLS server: what it accepts, and what it presents.
//!
//! ```text
//!  hello ──► bytes on the wire ──► answer          one offer, one fact
//!  enumerate: versions, suites, groups one by one, between two control offers
//!  handshake: a whole TLS 1.3 handshake; certificate, signature, ALPN, client certificate
//! ```

pub mod answer;
mod certificate;
mod enumerate;
mod handshake;
pub mod hello;
pub mod names;
mod offer;

pub use certificate::read as read_certificate;
pub use enumerate::examine;
pub(crate) use handshake::{Dial, DialError, Identity, alert_of, dial};
pub use offer::{Offered, Version, ask, offers};
