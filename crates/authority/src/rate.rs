//! How often somebody may ask: token buckets. Pure: time is an argument.

use std::collections::HashMap;
use std::hash::Hash;

use countersign_model::time::Timestamp;

/// So many, and then one at a time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rate {
    /// At once.
    pub(crate) burst: u32,
    /// Milliseconds until one more.
    pub(crate) every_millis: u64,
}

/// The most that are remembered. Who was not heard of for long enough to be full again is forgotten first.
const MAX_KNOWN: usize = 65_536;

/// Token buckets by key.
#[derive(Debug)]
pub(crate) struct Limiter<K> {
    rate: Rate,
    known: HashMap<K, Bucket>,
}

#[derive(Debug, Clone, Copy)]
struct Bucket {
    /// Tokens in milliseconds of refill, and when they were counted.
    left: u64,
    at: Timestamp,
    /// Refused since the last one that was admitted.
    refused: u64,
}

/// There is none to take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TooOften {
    /// How many seconds until there is one, 1 or more.
    pub(crate) seconds: u64,
    /// Whether it is the first in a row.
    pub(crate) first: bool,
}

impl<K: Eq + Hash> Limiter<K> {
    pub(crate) fn new(rate: Rate) -> Self {
        Self { rate, known: HashMap::new() }
    }

    /// Takes one; how many were refused since the last one that was admitted.
    ///
    /// # Errors
    /// [`TooOften`].
    //= specs/house.md#house-est
    //# Enrolment requests MUST be limited per subject and per address.
    pub(crate) fn take(&mut self, key: K, now: Timestamp) -> Result<u64, TooOften> {
        let Rate { burst, every_millis: every } = self.rate;
        let full = u64::from(burst) * every;
        if self.known.len() >= MAX_KNOWN && !self.known.contains_key(&key) {
            self.known.retain(|_, bucket| bucket.refilled(now) < full);
            if self.known.len() >= MAX_KNOWN {
                return Err(TooOften { seconds: 1, first: false });
            }
        }
        let fresh = Bucket { left: full, at: now, refused: 0 };
        let bucket = self.known.entry(key).or_insert(fresh);
        bucket.left = bucket.refilled(now).min(full);
        bucket.at = now;
        if bucket.left < every {
            bucket.refused += 1;
            let seconds = (every - bucket.left).div_ceil(1000).max(1);
            return Err(TooOften { seconds, first: bucket.refused == 1 });
        }
        bucket.left -= every;
        Ok(std::mem::take(&mut bucket.refused))
    }
}

impl Bucket {
    /// A clock that was set back gives nothing.
    fn refilled(&self, now: Timestamp) -> u64 {
        self.left.saturating_add(now.0.saturating_sub(self.at.0))
    }
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
        let refused = |seconds, first| Err(TooOften { seconds, first });
        for _ in 0..3 {
            assert_eq!(limiter.take("a", at(0)), Ok(0));
        }
        assert_eq!(limiter.take("a", at(0)), refused(2, true));
        assert_eq!(limiter.take("b", at(0)), Ok(0), "another is not concerned");
        assert_eq!(limiter.take("a", at(1_400)), refused(1, false));
        assert_eq!(limiter.take("a", at(1_500)), Ok(2), "those that were refused are told");
        let back = limiter.take("a", Timestamp(0));
        assert_eq!(back, refused(2, true), "a clock that was set back gives nothing");
        assert_eq!(limiter.take("a", at(1_000_000)), Ok(1));
        for _ in 0..2 {
            assert_eq!(limiter.take("a", at(1_000_000)), Ok(0));
        }
        let more = limiter.take("a", at(1_000_000));
        assert_eq!(more, refused(2, true), "no more than a burst is saved up");
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut limiter = Limiter::new(Rate { burst: 1, every_millis: 1_000 });
        for number in 0..MAX_KNOWN {
            assert_eq!(limiter.take(number, Timestamp(10)), Ok(0));
        }
        let full = Err(TooOften { seconds: 1, first: false });
        assert_eq!(limiter.take(MAX_KNOWN, Timestamp(10)), full, "nobody is idle");
        assert_eq!(limiter.take(MAX_KNOWN, Timestamp(2_000)), Ok(0), "the idle ones are forgotten");
        assert_eq!(limiter.known.len(), 1);
    }
}
