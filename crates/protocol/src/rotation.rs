//! When to renew a certificate: at two thirds of its life, each device at a moment of its own.

use countersign_model::time::{Timestamp, Validity};
use std::time::Duration;

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

#[cfg(test)]
mod tests {
    use super::*;

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
