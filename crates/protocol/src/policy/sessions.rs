//! Open sessions after a change of policy: which ones close, and when, so that they do not all come back at once.

use super::door::Door;
use crate::permit::door::{Admission, judge};
use crate::rotation::Jitter;
use countersign_crypto::policy::{ChannelNames, Use};
use countersign_model::time::Timestamp;
use std::time::Duration;

/// Handshakes a second that a gateway does beside its work. A core of a small server does several hundred mutual ones with a
/// hybrid group; this leaves it the rest.
pub const RECONNECTS_PER_SECOND: usize = 100;
/// Longest spread: what is forbidden may not stay open longer. Beyond 90,000 sessions the rate grows instead.
pub const LONGEST_SPREAD: Duration = Duration::from_secs(900);

/// Over how long this many sessions are to reconnect.
#[must_use]
pub fn spread(sessions: usize) -> Duration {
    let millis = sessions.saturating_mul(1000) / RECONNECTS_PER_SECOND;
    Duration::from_millis(u64::try_from(millis).unwrap_or(u64::MAX)).min(LONGEST_SPREAD)
}

/// One's own moment within a spread. A device is told the spread by its gateway; what is over [`LONGEST_SPREAD`] it does not
/// believe.
#[must_use]
pub fn within(spread: Duration, jitter: Jitter) -> Duration {
    jitter.of(spread.min(LONGEST_SPREAD))
}

/// What becomes of an open session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SessionVerdict {
    /// It goes on.
    Keep,
    /// It ends, after this long, and this is why.
    CloseAfter {
        /// From now.
        delay: Duration,
        /// For the log and, where the protocol has a place for it, for the peer.
        reason: String,
    },
}

/// Judges an open session again, as if it came now: `spread` is [`spread`] of the number of open sessions.
///
/// A session that would only get the update door ends too: its device reconnects, and finds it.
//= specs/house.md#house-permits
//# Open sessions MUST be judged again when policy, grants or revocation change.
//= specs/house.md#house-policy
//# Sessions that a change of policy ends MUST end spread over a time that grows with their number.
#[must_use]
pub fn rejudge(
    door: &Door,
    use_: Use,
    channel: &ChannelNames<'_>,
    now: Timestamp,
    spread: Duration,
    jitter: Jitter,
) -> SessionVerdict {
    let reason = match judge(door, use_, channel, None, now) {
        Admission::Admitted(_) => return SessionVerdict::Keep,
        Admission::UpdateOnly(permit) => permit.reason(),
        Admission::Refused(refused) => refused.to_string(),
    };
    SessionVerdict::CloseAfter { delay: within(spread, jitter), reason }
}
