//! How long to wait before trying again: twice as long each time, with jitter, so that a fleet does not come back at once.

use countersign_crypto::random::Random;
use std::time::Duration;

/// Growing pauses between `first` and `longest`.
#[derive(Debug, Clone)]
pub(crate) struct Backoff {
    first: Duration,
    longest: Duration,
    failures: u32,
}

impl Backoff {
    /// Starts at `first` and never exceeds `longest`.
    #[must_use]
    pub(crate) const fn new(first: Duration, longest: Duration) -> Self {
        Self { first, longest, failures: 0 }
    }

    /// It worked: the next pause is the first again.
    pub(crate) const fn reset(&mut self) {
        self.failures = 0;
    }

    /// The next pause: between half and all of the present step.
    pub(crate) fn next(&mut self, random: &mut dyn Random) -> Duration {
        let step = self.first.saturating_mul(1 << self.failures.min(16)).min(self.longest);
        self.failures = self.failures.saturating_add(1);
        let fraction = f64::from(u16::from_le_bytes(random.array())) / f64::from(u16::MAX);
        step.mul_f64(0.5 + 0.5 * fraction)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use countersign_crypto::random::SystemRandom;

    #[test]
    fn pauses_grow_to_the_longest_and_start_again() {
        let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(8));
        for step in [1, 2, 4, 8, 8, 8] {
            let pause = backoff.next(&mut SystemRandom).as_secs_f64();
            assert!((f64::from(step) * 0.5..=f64::from(step)).contains(&pause), "{step}: {pause}");
        }
        backoff.reset();
        assert!(backoff.next(&mut SystemRandom) <= Duration::from_secs(1));
    }
}
