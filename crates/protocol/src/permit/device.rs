//! The device's gate: one pure function from what is asked, and by whom, to a permit or a refusal.
//!
//! ```text
//!  HTTPS ─┐                                ┌─► Permit::Read ──────► read, observe, describe
//!  MQTT ──┼─► Request (bounded) ─► judge ──┼─► Permit::Command ───► write, invoke
//!  … ─────┘        ▲                       ├─► Permit::Configure ─► security-relevant write, invoke
//!             Subject from certificate     └─► Refusal: one answer for unknown, forbidden and wrong state
//!             and AccessList
//! ```
//!
//! Permits cannot be made elsewhere:
//!
//! ```compile_fail,E0451
//! use countersign_protocol::permit::device::{ReadPermit, Target};
//! let forged = ReadPermit { target: Target::Description, by: todo!(), at: todo!() };
//! ```
//! ```compile_fail,E0451
//! use countersign_protocol::permit::device::CommandPermit;
//! let forged = CommandPermit { granted: todo!() };
//! ```
//! ```compile_fail,E0451
//! use countersign_protocol::permit::device::ConfigurePermit;
//! let forged = ConfigurePermit { granted: todo!() };
//! ```

//= specs/house.md#house-permits
//= type=test
//# A permit MUST have private fields and come only from the function that authorises.
//= specs/house.md#house-permits
//= type=test
//# A handler MUST NOT be callable without a permit.
mod access;
mod judge;
mod request;
mod subject;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

pub use access::{AccessError, AccessList, MAX_PERSONS, Voucher};
pub use judge::{
    Cause, CommandPermit, ConfigurePermit, Permit, ReadPermit, Refusal, interfaces, judge, visible,
};
pub use request::{Malformed, Request, Target};
pub use subject::{Subject, SubjectName};

/// A way into the device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Interface {
    /// TLS with the IDevID, for the one who holds the label.
    Pairing,
    /// HTTPS in the home.
    LocalApi,
    /// The device's own connection to the gateway.
    Uplink,
}
