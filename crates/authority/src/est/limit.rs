//! How often one subject, and one address, may ask. Pure: time is an argument.

use std::collections::HashMap;
use std::hash::Hash;

use countersign_model::time::Timestamp;

/// So many, and then one at a time.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rate {
    /// At once.
    pub(super) burst: u32,
    /// Milliseconds until one more.
    pub(super) every_millis: u64,
}

/// A subject: a device asks once for a certificate, and again when an answer was lost.
pub(super) const PER_SUBJECT: Rate = Rate { burst: 20, every_millis: 30_000 };

/// An address: a factory or a whole town may stand behind one, so this only bounds what a flood costs.
pub(super) const PER_ADDRESS: Rate = Rate { burst: 2_000, every_millis: 50 };

/// The most that are remembered. Who was not heard of for long enough to be full again is forgotten first.
const MAX_KNOWN: usize = 65_536;

/// Token buckets by key.
#[derive(Debug)]
pub(super) struct Limiter<K> {
    rate: Rate,
    /// Tokens in milliseconds of refill, and when they were counted.
    known: HashMap<K, (u64, Timestamp)>,
}

impl<K: Eq + Hash> Limiter<K> {
    pub(super) fn new(rate: Rate) -> Self {
        Self { rate, known: HashMap::new() }
    }

    /// Takes one.
    ///
    /// # Errors
    /// How many seconds until there is one, 1 or more.
    //= specs/house.md#house-est
    //# Enrolment requests MUST be limited per subject and per address.
    pub(super) fn take(&mut self, key: K, now: Timestamp) -> Result<(), u64> {
        let (every, full) = (self.rate.every_millis, self.full());
        if self.known.len() >= MAX_KNOWN && !self.known.contains_key(&key) {
            self.known.retain(|_, (left, at)| left.saturating_add(elapsed(*at, now)) < full);
            if self.known.len() >= MAX_KNOWN {
                return Err(1);
            }
        }
        let (left, at) = self.known.entry(key).or_insert((full, now));
        *left = left.saturating_add(elapsed(*at, now)).min(full);
        *at = now;
        if *left < every {
            return Err((every - *left).div_ceil(1000).max(1));
        }
        *left -= every;
        Ok(())
    }

    fn full(&self) -> u64 {
        u64::from(self.rate.burst) * self.rate.every_millis
    }
}

/// A calendar that was set back gives nothing.
fn elapsed(since: Timestamp, now: Timestamp) -> u64 {
    now.0.saturating_sub(since.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    //= specs/house.md#house-est
    //= type=test
    //# Enrolment requests MUST be limited per subject and per address.
    #[test]
    fn a_burst_then_one_at_a_time_and_nobody_pays_for_another() {
        let mut limiter = Limiter::new(Rate { burst: 3, every_millis: 1_500 });
        let at = |millis: u64| Timestamp(1_000_000 + millis);
        for _ in 0..3 {
            assert_eq!(limiter.take("a", at(0)), Ok(()));
        }
        assert_eq!(limiter.take("a", at(0)), Err(2));
        assert_eq!(limiter.take("b", at(0)), Ok(()), "another is not concerned");
        assert_eq!(limiter.take("a", at(1_400)), Err(1));
        assert_eq!(limiter.take("a", at(1_500)), Ok(()));
        assert_eq!(
            limiter.take("a", Timestamp(0)),
            Err(2),
            "a clock that was set back gives nothing"
        );
        for _ in 0..3 {
            assert_eq!(
                limiter.take("a", at(1_000_000)),
                Ok(()),
                "no more than a burst is saved up"
            );
        }
        assert!(limiter.take("a", at(1_000_000)).is_err());
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut limiter = Limiter::new(Rate { burst: 1, every_millis: 1_000 });
        for number in 0..MAX_KNOWN {
            assert_eq!(limiter.take(number, Timestamp(10)), Ok(()));
        }
        assert_eq!(limiter.take(MAX_KNOWN, Timestamp(10)), Err(1), "full, and nobody is idle");
        assert_eq!(
            limiter.take(MAX_KNOWN, Timestamp(2_000)),
            Ok(()),
            "the idle ones are forgotten"
        );
        assert_eq!(limiter.known.len(), 1);
    }
}
