//! Commands that come through the gateway, and the receipts that go back.
//!
//! ```text
//!  service ─► gateway: stamps subject, id, time ─► device
//!     1. stamped by the gateway        4. not seen before
//!     2. for this device               5. within the device's own limits
//!     3. fresh, and after the floor    6. a bounded request ─► FreshCommand ─► judge ─► permit ─► receipt
//! ```
//!
//! The channel from the gateway is authenticated; these checks are for what the channel cannot know: a message that was
//! held back, one that is delivered twice after a reconnection, a service that floods.

mod inbox;
mod receipt;
mod stamp;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

pub use inbox::{
    BURST, CommandInbox, CommandRefusal, FRESHNESS, FreshCommand, PER_SECOND, REMEMBERED,
};
pub use receipt::{Outcome, Receipt};
pub use stamp::{
    AT_PROPERTY, COMMAND_PROPERTY, CommandId, InvalidStamp, SUBJECT_PROPERTY, Stamp, is_stamp,
};
