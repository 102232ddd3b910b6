//! The budget of guesses: a few, ever slower, kept across restarts.
//!
//! Waits are measured on the device's own count since it was switched on, never on a date: nobody can shorten one by
//! setting a clock. After a new power-on nothing is known of the time between, so the wait begins anew.

use countersign_model::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Failed attempts after which pairing stays closed until somebody is present at the device.
pub const MAX_ATTEMPTS: u32 = 10;
/// The longest delay between two attempts.
pub const MAX_DELAY: Duration = Duration::from_secs(600);
/// Attempts that switching off and on gives back, where it counts as presence: at the slowest pace of all, since what
/// switches a socket may be anybody's timer.
const AFTER_POWER_ON: u32 = 3;
/// Failed attempts that cost no delay: people mistype.
const FREE: u32 = 2;
/// The delay after the first failed attempt that costs one; it doubles with each.
const FIRST_DELAY: Duration = Duration::from_secs(1);

/// Failed attempts so far. A value that the device stores before each answer, and reads back at its start.
/// Instants are counted from when the device was switched on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Attempts {
    failed: u32,
    /// When the last one was counted.
    last: Timestamp,
}

/// No attempt is heard now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Locked {
    /// Wait so long.
    #[error("too many wrong setup codes: try again in {} seconds", .0.as_secs_f64().ceil())]
    For(Duration),
    /// Until somebody is present at the device.
    #[error(
        "too many wrong setup codes: press the device's button, or switch it off and on, to try again"
    )]
    UntilPresence,
}

impl Attempts {
    /// From a device's own storage.
    #[must_use]
    pub const fn new(failed: u32, last: Timestamp) -> Self {
        Self { failed, last }
    }

    /// When the last attempt was counted.
    #[must_use]
    pub const fn last(&self) -> Timestamp {
        self.last
    }

    /// Failed attempts in a row.
    #[must_use]
    pub const fn failed(&self) -> u32 {
        self.failed
    }

    //= specs/house.md#house-pairing
    //# A wrong setup code MUST cost one of a bounded number of attempts.
    /// Whether an attempt is heard at `now`. A count that ran backwards makes nobody wait longer than [`MAX_DELAY`].
    ///
    /// # Errors
    /// [`Locked`].
    pub fn check(&self, now: Timestamp) -> Result<(), Locked> {
        if self.failed >= MAX_ATTEMPTS {
            return Err(Locked::UntilPresence);
        }
        let delay = self.delay();
        let waited = if now < self.last { Duration::ZERO } else { now.since(self.last) };
        if waited < delay { Err(Locked::For(delay.saturating_sub(waited))) } else { Ok(()) }
    }

    /// With one more attempt, which counts as failed until it has succeeded.
    #[must_use]
    pub const fn charged(&self, now: Timestamp) -> Self {
        Self { failed: self.failed.saturating_add(1), last: now }
    }

    /// After somebody was present: one more round of attempts, from the first delay on.
    #[must_use]
    pub const fn renewed(&self) -> Self {
        Self { failed: 0, last: self.last }
    }

    //= specs/house.md#house-pairing
    //# The count of attempts and the wait between them MUST survive a restart and MUST NOT depend on a date.
    /// After a new power-on: the wait begins anew in full. `presence` says whether switching off and on counts as somebody's
    /// presence; it then gives a used-up budget a few slow attempts back.
    #[must_use]
    pub const fn after_power_on(&self, now: Timestamp, presence: bool) -> Self {
        let used_up = self.failed >= MAX_ATTEMPTS;
        let failed = if used_up && presence { MAX_ATTEMPTS - AFTER_POWER_ON } else { self.failed };
        Self { failed, last: now }
    }

    fn delay(&self) -> Duration {
        let Some(doublings) = self.failed.checked_sub(FREE) else { return Duration::ZERO };
        FIRST_DELAY.saturating_mul(1 << doublings.min(16)).min(MAX_DELAY)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn attempts_slow_down_and_end() {
        let (mut attempts, mut now, mut waits) =
            (Attempts::default(), Timestamp(1_000_000), Vec::new());
        loop {
            match attempts.check(now) {
                Ok(()) => {
                    waits.push(0);
                    attempts = attempts.charged(now);
                }
                Err(Locked::For(wait)) => {
                    now = now.plus(wait);
                    assert_eq!(attempts.check(now), Ok(()));
                    waits.push(wait.as_secs());
                    attempts = attempts.charged(now);
                }
                Err(Locked::UntilPresence) => break,
            }
        }
        assert_eq!(waits, [0, 0, 1, 2, 4, 8, 16, 32, 64, 128]);
        assert!(attempts.renewed().check(now).is_ok());
    }

    //= specs/house.md#house-pairing
    //= type=test
    //# The count of attempts and the wait between them MUST survive a restart and MUST NOT depend on a date.
    #[test]
    fn a_power_on_begins_the_wait_anew_and_forgives_little() {
        let tried = |n| (0..n).fold(Attempts::default(), |a, _| a.charged(Timestamp(900_000)));
        let on = Timestamp(3_000);
        let five = tried(5).after_power_on(on, true);
        assert_eq!(five.failed(), 5);
        assert_eq!(five.check(on), Err(Locked::For(Duration::from_secs(8))));
        assert_eq!(tried(10).after_power_on(on, false).check(on), Err(Locked::UntilPresence));
        let mut again = tried(10).after_power_on(on, true);
        let (mut now, mut heard) = (on, 0);
        while let Err(Locked::For(wait)) = again.check(now) {
            assert!(wait >= Duration::from_secs(32), "{wait:?}");
            now = now.plus(wait);
            again = again.charged(now);
            heard += 1;
        }
        assert_eq!(heard, 3);
    }

    #[test]
    fn a_count_that_ran_backwards_does_not_lock_for_ever() {
        let attempts = (0..5).fold(Attempts::default(), |a, _| a.charged(Timestamp(u64::MAX)));
        assert_eq!(attempts.check(Timestamp(5)), Err(Locked::For(Duration::from_secs(8))));
    }

    #[test]
    fn the_stored_form_reads_back() {
        let attempts = Attempts::default().charged(Timestamp(7));
        let text = serde_json::to_string(&attempts).unwrap();
        assert_eq!(serde_json::from_str::<Attempts>(&text).unwrap(), attempts);
        assert!(serde_json::from_str::<Attempts>("{}").is_err());
    }
}
