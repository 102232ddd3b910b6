//! Time without a clock that can be trusted: the machine's, but never before what is known to have passed.

use countersign_crypto::tls::{Clock, SystemClock};
use countersign_model::time::Timestamp;
use countersign_protocol::pairing::Boot;
use std::io;
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

/// The time since the machine was switched on, which nobody can set, and which power-on it was.
#[derive(Debug)]
pub struct BootClock {
    boot: Boot,
    began: (Timestamp, Instant),
}

impl BootClock {
    /// Asks the kernel.
    ///
    /// # Errors
    /// When `/proc` does not tell: a crash could then not be told from a power cut.
    pub fn read() -> io::Result<Self> {
        let word = std::fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
        let boot = Boot::new(&word).ok_or(io::ErrorKind::InvalidData)?;
        let uptime = std::fs::read_to_string("/proc/uptime")?;
        let secs = uptime.split_whitespace().next().and_then(|secs| secs.parse().ok());
        let since = secs.and_then(|secs| std::time::Duration::try_from_secs_f64(secs).ok());
        let since = since.ok_or(io::ErrorKind::InvalidData)?;
        Ok(Self { boot, began: (Timestamp(0).plus(since), Instant::now()) })
    }

    /// Which power-on this is.
    #[must_use]
    pub const fn boot(&self) -> &Boot {
        &self.boot
    }

    /// How long ago it was, as an instant.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.began.0.plus(self.began.1.elapsed())
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

    #[test]
    fn every_process_of_one_power_on_counts_alike() {
        let (one, other) = (BootClock::read().expect("/proc"), BootClock::read().expect("/proc"));
        assert_eq!(one.boot(), other.boot());
        let (first, second) = (one.now(), other.now());
        let apart = if first < second { second.since(first) } else { first.since(second) };
        assert!(apart < std::time::Duration::from_secs(60) && first > Timestamp(0));
    }
}
