//! Time without a clock that can be trusted: the machine's, but never before what is known to have passed.

use countersign_crypto::tls::{Clock, SystemClock};
use countersign_model::time::Timestamp;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// The device's clock with its floor.
#[derive(Debug)]
pub struct DeviceClock {
    floor: AtomicU64,
    began: (Timestamp, Instant),
}

impl DeviceClock {
    /// A clock that never shows less than `floor`.
    #[must_use]
    pub fn new(floor: Timestamp) -> Self {
        Self { floor: AtomicU64::new(floor.as_millis()), began: (floor, Instant::now()) }
    }

    /// An authenticated peer or issuer has vouched that it is `at` or later.
    pub fn raise(&self, at: Timestamp) {
        self.floor.fetch_max(at.as_millis(), Ordering::Relaxed);
    }

    /// An instant that has certainly passed, whatever the machine's clock says: the floor, and what has gone by since the start.
    #[must_use]
    pub fn certain(&self) -> Timestamp {
        let (floor, start) = self.began;
        floor.plus(start.elapsed()).max(self.floor())
    }

    /// The floor, to be kept over a restart.
    #[must_use]
    pub fn floor(&self) -> Timestamp {
        Timestamp(self.floor.load(Ordering::Relaxed))
    }
}

impl Clock for DeviceClock {
    fn now(&self) -> Timestamp {
        SystemClock.now().max(self.floor())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_floor_only_rises() {
        let far = Timestamp::from_secs(4_000_000_000);
        let clock = DeviceClock::new(Timestamp(0));
        assert!(clock.now() < far);
        clock.raise(far);
        clock.raise(Timestamp(1));
        assert_eq!(clock.now(), far);
        assert!(clock.certain() >= far);
        let unset = DeviceClock::new(Timestamp(7));
        assert!((Timestamp(7)..Timestamp::from_secs(3600)).contains(&unset.certain()));
    }
}
