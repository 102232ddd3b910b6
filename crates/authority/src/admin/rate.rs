//! How often an operator may call: every call is an entry of the ledger, and the ledger only grows.

use std::collections::HashMap;
use std::time::Duration;

use countersign_model::time::Timestamp;

/// Calls that one operator may make at once: a screen that opens asks for all that it shows.
pub(super) const BURST: u64 = 120;

/// How soon one more is allowed: five a second, some 35 MiB of ledger a day at the very most.
pub(super) const INTERVAL: Duration = Duration::from_millis(200);

/// Callers that are remembered; the table is emptied of those at rest when there are more.
const MAX_CALLERS: usize = 1024;

/// Who called how often. Reads no clock.
#[derive(Debug, Default)]
pub(super) struct Rates(HashMap<String, Caller>);

#[derive(Debug, Clone, Copy)]
struct Caller {
    left: u64,
    at: Timestamp,
    /// Refused since the last call that was admitted.
    refused: u64,
}

/// Whether a call is admitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rated {
    /// Go on; so many were refused since the last one, the first of which is in the ledger by itself.
    Admitted { refused_before: u64 },
    /// Too many; `first` of a row or not.
    Refused { first: bool },
}

impl Rates {
    /// Counts one call of `who`.
    pub(super) fn take(&mut self, who: &str, now: Timestamp) -> Rated {
        if self.0.len() >= MAX_CALLERS && !self.0.contains_key(who) {
            self.0.retain(|_, caller| caller.refill(now).left < BURST || caller.refused > 0);
        }
        let fresh = Caller { left: BURST, at: now, refused: 0 };
        let caller = self.0.entry(who.to_owned()).or_insert(fresh);
        *caller = caller.refill(now);
        if caller.left == 0 {
            caller.refused += 1;
            return Rated::Refused { first: caller.refused == 1 };
        }
        caller.left -= 1;
        Rated::Admitted { refused_before: std::mem::take(&mut caller.refused) }
    }
}

impl Caller {
    /// What came back since the last look; a clock that was set back gives nothing.
    fn refill(self, now: Timestamp) -> Self {
        let interval = u64::try_from(INTERVAL.as_millis()).unwrap_or(u64::MAX);
        let more = now.0.saturating_sub(self.at.0) / interval;
        let left = self.left.saturating_add(more).min(BURST);
        let at = match left {
            BURST => Timestamp(now.0.max(self.at.0)),
            _ => Timestamp(self.at.0 + more * interval),
        };
        Self { left, at, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: u64 = 1_000_000;

    #[test]
    fn a_burst_then_five_a_second_each() {
        let mut rates = Rates::default();
        let now = Timestamp(START);
        for _ in 0..BURST {
            assert_eq!(rates.take("anna", now), Rated::Admitted { refused_before: 0 });
        }
        assert_eq!(rates.take("anna", now), Rated::Refused { first: true });
        assert_eq!(rates.take("anna", Timestamp(START + 199)), Rated::Refused { first: false });
        assert_eq!(rates.take("bert", now), Rated::Admitted { refused_before: 0 });
        let later = Timestamp(START + 200);
        assert_eq!(rates.take("anna", later), Rated::Admitted { refused_before: 2 });
        assert_eq!(rates.take("anna", later), Rated::Refused { first: true });
        // Setting the clock back gives nothing, and takes nothing for ever.
        assert_eq!(rates.take("anna", Timestamp(0)), Rated::Refused { first: false });
        let day = Timestamp(START + 86_400_000);
        assert_eq!(rates.take("anna", day), Rated::Admitted { refused_before: 2 });
    }

    #[test]
    fn callers_at_rest_are_forgotten() {
        let mut rates = Rates::default();
        for number in 0..MAX_CALLERS {
            rates.take(&number.to_string(), Timestamp(START));
        }
        rates.take("one more", Timestamp(START + 60_000));
        assert_eq!(rates.0.len(), 1);
    }
}
