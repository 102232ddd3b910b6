//! Two slots for the crypto policy, so that no policy can lock a device or gateway out and none can come back.
//!
//! ```text
//!            offer n+1          handshake ok               session carried
//!  Steady(n) ────────► Trial(n, n+1) ────► Probation(n+1, keeps n) ────► Steady(n+1)
//!                       ▲  │ handshake failed: n+1 waits, and is tried again later
//!                       └──┘◄──────────────────────┘ device only: sessions fail, n is unexpired and not withdrawn
//! ```
//!
//! | Who | When | What serves |
//! |---|---|---|
//! | device | Trial | sessions under n; now and then a handshake under n+1 |
//! | device | Probation | sessions under n+1; n is kept |
//! | gateway | Probation | both in full: nobody has followed yet |
//! | gateway | Steady(n+1) | n+1 in full; older ones, while unexpired and not withdrawn, at the *update door* only ([`Door`]) |
//!
//! [`PreparedPolicy::prepare`] verifies, checks the maker and compiles. [`PolicySlots`] decides what is taken and when it
//! counts. A shell stores [`PolicySlots::stored`] after every change and *before* it acts on it, each document before the
//! slots that name it; after a restart it calls [`PolicySlots::resume`].
//!
//! **Time.** `now` is an instant that has certainly passed. A device without a clock gives its floor of time (the build's,
//! raised by every authenticated time): it may then think a policy valid that has expired, which costs nothing, since the
//! gateway judges by its own clock, and never the other way round, which could lock it out. Nothing is thrown away for
//! having expired, so that a clock that jumped forward and back again has done no harm.

mod door;
mod history;
mod offer;
mod prepared;
mod refusal;
mod resume;
mod sessions;
mod slots;
mod stored;
mod way;

pub use door::{Door, MAX_KEPT, Standing};
pub use history::{HISTORY, History, Recorded};
pub use offer::Source;
pub use prepared::{Origin, PolicyFloor, PolicyTrust, PreparedPolicy};
pub use refusal::{BelowFloor, Refusal, Word};
pub use resume::ResumeError;
pub use sessions::{
    LONGEST_SPREAD, RECONNECTS_PER_SECOND, SessionVerdict, rejudge, spread, within,
};
pub use slots::{
    Change, Event, FAILURES_BEFORE_RETURN, FIRST_WAIT, Ignored, LONGEST_WAIT, Next, Phase,
    PolicySlots, Side,
};
pub use stored::{StoredCandidate, StoredPolicy, StoredSlots};

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
