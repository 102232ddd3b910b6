//! When to renew a certificate: at two thirds of its life, or earlier when the policy retires what it was made with; each
//! device at a moment of its own.
//!
//! ```text
//!  validity ─────────────────────► renewal_at ──┐
//!                                               ├──► the earlier of the two
//!  policy ──► Lasts of the identity ──► Outlook ┘
//! ```
//!
//! *With what* the next key is made is decided by [`countersign_crypto::retirement::Signatures`].

use countersign_crypto::retirement::Lasts;
use countersign_model::time::{Timestamp, Validity};
use std::time::Duration;

/// How long before the end of its algorithm an identity is renewed at the earliest. A device that is switched on once a
/// month is met in that time.
pub const LEAD: Duration = Duration::from_secs(30 * 86_400);

/// Over how long a fleet's renewals are spread when it is told later than [`LEAD`] before the end, unless a device is
/// configured otherwise: ten thousand devices are then seventeen requests a second, which one authority answers.
pub const SPREAD: Duration = Duration::from_secs(600);

/// How long a device waits after a renewal that brought nothing that lasts longer: the issuing CA may not have been
/// rolled yet. Doubled with each.
pub const AGAIN: Duration = Duration::from_secs(3600);

/// The most that [`AGAIN`] is doubled: to once in eleven days.
const MOST_DOUBLINGS: u32 = 8;

/// A fraction from 0 (included) to 1 (excluded), in 65,536ths: randomness that the shell draws once per certificate and
/// stores, so that a restart does not move the day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Jitter(pub u16);

impl Jitter {
    /// This fraction of `whole`.
    #[must_use]
    pub fn of(self, whole: Duration) -> Duration {
        let millis = whole.as_millis().saturating_mul(u128::from(self.0)) >> 16;
        Duration::from_millis(u64::try_from(millis).unwrap_or(u64::MAX))
    }
}

/// When a certificate is to be renewed: two thirds into its life, and up to a tenth of its life later, so that a fleet that
/// was made on one day does not knock on one day. A third less a tenth remains for retries. [`Validity::FOREVER`] is never
/// renewed.
#[must_use]
pub fn renewal_at(validity: &Validity, jitter: Jitter) -> Timestamp {
    if validity.not_after >= Validity::FOREVER {
        return Validity::FOREVER;
    }
    let life = validity.not_after.since(validity.not_before);
    validity.not_before.plus(life * 2 / 3).plus(jitter.of(life / 10))
}

/// How the present identity stands under the policy, and since when that is known.
///
/// An identity is renewed early only for a successor that lasts longer: without one, asking again and again would help
/// nobody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outlook {
    lasts: Lasts,
    successor: Lasts,
    told: Timestamp,
    vain: u32,
}

impl Outlook {
    /// An identity that `lasts`, whose successor would last to `successor`, as it is known at `now`.
    #[must_use]
    pub const fn new(lasts: Lasts, successor: Lasts, now: Timestamp) -> Self {
        Self { lasts, successor, told: now, vain: 0 }
    }

    /// The same identity under another policy. One that changes nothing for it does not start the wait anew.
    pub fn policy_is(&mut self, lasts: Lasts, successor: Lasts, now: Timestamp) {
        if (lasts, successor) != (self.lasts, self.successor) {
            *self = Self::new(lasts, successor, now);
        }
    }

    /// Another identity under the same policy: a renewal came to its end.
    pub fn identity_is(&mut self, lasts: Lasts, successor: Lasts, now: Timestamp) {
        let vain = if lasts > self.lasts { 0 } else { self.vain.saturating_add(1) };
        *self = Self { vain, ..Self::new(lasts, successor, now) };
    }

    /// When the identity is to be renewed because of its algorithm; `None` when that lasts, or when nothing lasts longer.
    ///
    /// Told in time, within the three quarters of [`LEAD`] before the end that come first. Told later, within `spread`, for a
    /// device may be switched off tomorrow, and within three quarters of the time that is left. A quarter remains for
    /// retries. After the end, within `spread`.
    //= specs/house.md#house-rotation
    //# An identity whose algorithm the policy retires MUST be renewed before that algorithm ends.
    //= specs/house.md#house-rotation
    //# The renewals of a fleet MUST be spread over time.
    #[must_use]
    pub fn renewal_at(&self, spread: Duration, jitter: Jitter) -> Option<Timestamp> {
        if self.successor <= self.lasts {
            return None;
        }
        let told = match self.vain {
            0 => self.told,
            vain => self.told.plus(AGAIN * (1 << (vain - 1).min(MOST_DOUBLINGS))),
        };
        match self.lasts {
            Lasts::Open => None,
            Lasts::Until(end) if end > told => {
                let lead = u64::try_from(LEAD.as_millis()).unwrap_or(u64::MAX);
                let in_time = Timestamp(end.0.saturating_sub(lead));
                let (begin, window) = match told <= in_time {
                    true => (in_time, end.since(in_time) * 3 / 4),
                    false => (told, spread.min(end.since(told) * 3 / 4)),
                };
                Some(begin.plus(jitter.of(window)))
            }
            Lasts::Until(_) | Lasts::Ended => Some(told.plus(jitter.of(spread))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const DAY: u64 = 86_400;

    fn day(number: u64) -> Timestamp {
        Timestamp::from_secs(number * DAY)
    }

    fn early(lasts: Lasts, told: Timestamp, jitter: u16) -> Option<Timestamp> {
        Outlook::new(lasts, Lasts::Open, told).renewal_at(SPREAD, Jitter(jitter))
    }

    #[test]
    fn what_lasts_is_not_renewed_early() {
        assert_eq!(early(Lasts::Open, day(1), 7), None);
        // Nothing lasts longer than what is there.
        let nothing_better = Outlook::new(Lasts::Until(day(9)), Lasts::Until(day(9)), day(1));
        assert_eq!(nothing_better.renewal_at(SPREAD, Jitter(0)), None);
        let no_way_out = Outlook::new(Lasts::Ended, Lasts::Ended, day(1));
        assert_eq!(no_way_out.renewal_at(SPREAD, Jitter(0)), None);
    }

    #[test]
    fn told_in_time_a_month_before_the_end_and_told_late_at_once() {
        let end = Lasts::Until(day(100));
        assert_eq!(early(end, day(1), 0), Some(day(70)));
        assert_eq!(early(end, day(90), 0), Some(day(90)));
        assert_eq!(early(end, day(100), 0), Some(day(100)), "over: at once");
        assert_eq!(early(Lasts::Ended, day(5), 0), Some(day(5)));
        let half = early(Lasts::Ended, day(5), 0x8000);
        assert_eq!(half, Some(day(5).plus(SPREAD / 2)));
    }

    #[test]
    fn a_policy_that_changes_nothing_does_not_move_the_day() {
        let mut outlook = Outlook::new(Lasts::Ended, Lasts::Open, day(5));
        let before = outlook;
        outlook.policy_is(Lasts::Ended, Lasts::Open, day(6));
        assert_eq!(outlook, before);
        outlook.policy_is(Lasts::Open, Lasts::Open, day(6));
        assert_eq!(outlook.renewal_at(SPREAD, Jitter(0)), None);
    }

    #[test]
    fn a_renewal_in_vain_is_tried_again_ever_more_rarely() {
        let mut outlook = Outlook::new(Lasts::Ended, Lasts::Open, day(5));
        let mut waits = Vec::new();
        for _ in 0..12 {
            outlook.identity_is(Lasts::Ended, Lasts::Open, day(6));
            let at =
                outlook.renewal_at(SPREAD, Jitter(0)).map(|at| at.since(day(6)).as_secs() / 3600);
            waits.extend(at);
        }
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 64, 128, 256, 256, 256, 256]);
        outlook.identity_is(Lasts::Open, Lasts::Open, day(7));
        assert_eq!(outlook.renewal_at(SPREAD, Jitter(0)), None);
    }

    //= specs/house.md#house-rotation
    //= type=test
    //# An identity whose algorithm the policy retires MUST be renewed before that algorithm ends.
    //= specs/house.md#house-rotation
    //= type=test
    //# The renewals of a fleet MUST be spread over time.
    proptest! {
        #[test]
        fn always_before_the_end_never_before_being_told_and_the_same_for_one_device(
            end in 1..4_000_000_000_000_u64,
            left in 1..100_000_000_000_u64,
            jitter in any::<u16>(),
        ) {
            let told = Timestamp(end.saturating_sub(left));
            let end = Timestamp(end);
            let at = early(Lasts::Until(end), told, jitter);
            prop_assert_eq!(at, early(Lasts::Until(end), told, jitter));
            let at = at.unwrap_or_default();
            prop_assert!(told <= at && at < end, "{told:?} {at:?} {end:?}");
            // A quarter of the time is left for retries, and nobody goes more than a month early.
            let begin = told.max(Timestamp(end.0.saturating_sub(30 * DAY * 1000)));
            prop_assert!(end.since(at) * 4 >= end.since(begin));
            prop_assert!(at >= begin);
            // Two devices far apart in jitter are far apart in time.
            let other = early(Lasts::Until(end), told, jitter ^ 0x8000).unwrap_or_default();
            let apart = at.since(other).max(other.since(at)) + Duration::from_millis(1);
            prop_assert!(apart >= (end.since(begin) * 3 / 8).min(SPREAD / 2));
        }
    }

    #[test]
    fn between_two_thirds_and_well_before_the_end() {
        let month = Validity {
            not_before: Timestamp::from_secs(1_000_000),
            not_after: Timestamp::from_secs(1_000_000 + 30 * 86_400),
        };
        assert_eq!(renewal_at(&month, Jitter(0)), Timestamp::from_secs(1_000_000 + 20 * 86_400));
        let latest = renewal_at(&month, Jitter(u16::MAX));
        assert!(latest < Timestamp::from_secs(1_000_000 + 23 * 86_400));
        assert!(latest > Timestamp::from_secs(1_000_000 + 22 * 86_400));
        let factory = Validity { not_after: Validity::FOREVER, ..month };
        assert_eq!(renewal_at(&factory, Jitter(7)), Validity::FOREVER);
    }
}
