//! How a device gets its operational identity (LDevID) and keeps it for ever: *prepare, activate, retire*, in two slots.
//!
//! ```text
//!  Settled ──MakeKey──► Keyed ──Request──► Issued ──Prove──► Proven ──Swap──► Swapped ──Connect──► Settled
//!     ▲                                      │ refused                          │ refused             ▲
//!     └────────── next is thrown away ───────┘                                  └─ old one put back   │
//!                                                     acknowledged: only now is the old one destroyed ┘
//! ```
//!
//! At every instant at least one identity works: the one in *current* stays as it is until the one in *next* has proven
//! itself in a handshake, and is destroyed only after the gateway has acknowledged a session with the new one. A device
//! without a current identity, or with one that has expired or was refused, asks with its IDevID, which never expires.
//!
//! [`Phase`] is what a device stores; [`step`] is the table; [`Enrolment`] adds deadlines and back-off. The shell carries
//! out [`Action`]s, stores the phase with their result in one write, and reports an [`Event`].

mod machine;
mod table;

pub use machine::{Enrolment, FIRST_DELAY, LONGEST_DELAY, Next, REFUSALS};
pub use table::{Action, Event, Identity, Ignored, Phase, Retire, action, step};
