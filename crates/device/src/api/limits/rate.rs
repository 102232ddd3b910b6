//! Rates as buckets of tokens, and a bounded memory of who has which.

use std::collections::BTreeMap;
use std::time::Duration;

/// Addresses and persons that are remembered, each: more than a home has.
pub(super) const MAX_REMEMBERED: usize = 256;

/// So many at once, and so many each second in the long run.
#[derive(Clone, Copy)]
pub(super) struct Rate {
    pub(super) burst: u32,
    pub(super) per_second: u32,
}

/// What is left of a rate: a bucket of tokens, in thousandths.
#[derive(Clone, Copy)]
pub(super) struct Bucket {
    millis: u64,
    at: Duration,
}

impl Bucket {
    /// All of it.
    pub(super) fn full(rate: Rate, now: Duration) -> Self {
        Self { millis: u64::from(rate.burst) * 1_000, at: now }
    }

    /// Whether there is something left.
    pub(super) fn left(&mut self, rate: Rate, now: Duration) -> bool {
        let passed = now.saturating_sub(self.at).as_millis();
        let gained =
            u64::try_from(passed).unwrap_or(u64::MAX).saturating_mul(rate.per_second.into());
        self.millis = self.millis.saturating_add(gained).min(u64::from(rate.burst) * 1_000);
        self.at = now;
        self.millis >= 1_000
    }

    /// Takes one, and tells whether there was one.
    pub(super) fn spend(&mut self, rate: Rate, now: Duration) -> bool {
        let left = self.left(rate, now);
        self.millis = self.millis.saturating_sub(1_000);
        left
    }
}

/// A bounded memory: of more than [`MAX_REMEMBERED`], the one not seen for longest is forgotten.
pub(super) struct Memory<K, V> {
    pub(super) entries: BTreeMap<K, (Duration, V)>,
}

impl<K: Clone + Ord, V> Memory<K, V> {
    pub(super) const fn new() -> Self {
        Self { entries: BTreeMap::new() }
    }

    pub(super) fn of(&mut self, key: &K, now: Duration, new: impl FnOnce() -> V) -> &mut V {
        if !self.entries.contains_key(key) && self.entries.len() >= MAX_REMEMBERED {
            let oldest = self.entries.iter().min_by_key(|(_, (seen, _))| *seen);
            if let Some(oldest) = oldest.map(|(key, _)| key.clone()) {
                self.entries.remove(&oldest);
            }
        }
        let entry = self.entries.entry(key.clone()).or_insert_with(|| (now, new()));
        entry.0 = now;
        &mut entry.1
    }
}
