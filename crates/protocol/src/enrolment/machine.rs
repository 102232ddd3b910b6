//! The table with deadlines and back-off.

use super::table::{Action, Event, Identity, Ignored, Phase, Retire, action, step};
use crate::rotation::{Jitter, renewal_at};
use countersign_model::time::{Timestamp, Validity};
use std::time::Duration;

/// The wait after a first failure; it doubles with each.
pub const FIRST_DELAY: Duration = Duration::from_secs(1);
/// The longest wait: a device in a drawer asks once an hour, and a fleet that lost its authority does not flood it.
pub const LONGEST_DELAY: Duration = Duration::from_secs(3600);

/// How often a gateway may refuse a new identity before that is believed: it may hear of a certificate a moment later than
/// the device has it.
pub const REFUSALS: u32 = 3;

/// What comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Do this now, then report what happened.
    Do(Action),
    /// Nothing before this instant.
    Wait(Timestamp),
}

/// A device's enrolment over its whole life.
#[derive(Debug, Clone)]
pub struct Enrolment {
    phase: Phase,
    current: Option<Current>,
    failures: u32,
    not_before: Timestamp,
}

#[derive(Debug, Clone)]
struct Current {
    validity: Validity,
    renew_at: Timestamp,
    /// When its algorithm demands a renewal, if it does.
    early: Option<Timestamp>,
    /// The gateway refused it.
    refused: bool,
    /// The authority refused a request that was made with it.
    cannot_ask: bool,
}

impl Current {
    fn due(&self) -> Timestamp {
        self.early.map_or(self.renew_at, |early| early.min(self.renew_at))
    }
}

impl Enrolment {
    /// From what the device has stored: its phase, and the validity of the certificate in *current*, if there is one.
    #[must_use]
    pub fn new(phase: Phase, current: Option<Validity>, jitter: Jitter) -> Self {
        let mut enrolment = Self { phase, current: None, failures: 0, not_before: Timestamp(0) };
        enrolment.current_is(current, jitter);
        enrolment
    }

    /// What the device stores.
    #[must_use]
    pub const fn phase(&self) -> Phase {
        self.phase
    }

    /// Tells what *current* holds, after a swap or after [`Retire::NewOne`].
    pub fn current_is(&mut self, current: Option<Validity>, jitter: Jitter) {
        self.current = current.map(|validity| Current {
            validity,
            renew_at: renewal_at(&validity, jitter),
            early: None,
            refused: false,
            cannot_ask: false,
        });
    }

    /// Tells when *current* is to be renewed because of its algorithm, by [`crate::rotation::Outlook::renewal_at`]; `None`
    /// when its age alone decides. Forgotten with the next [`Enrolment::current_is`].
    pub fn retires_at(&mut self, early: Option<Timestamp>) {
        if let Some(current) = &mut self.current {
            current.early = early;
        }
    }

    /// Whether *current* can be used for the uplink: it exists, has not expired, and was not refused.
    #[must_use]
    pub fn usable(&self, now: Timestamp) -> bool {
        self.current.as_ref().is_some_and(|one| !one.refused && now <= one.validity.not_after)
    }

    /// What to do at `now`. Asking changes nothing.
    #[must_use]
    pub fn next(&self, now: Timestamp) -> Next {
        let usable = self.usable(now);
        let renew_at = self.current.as_ref().map_or(Timestamp(0), Current::due);
        let asks = usable && self.current.as_ref().is_some_and(|one| !one.cannot_ask);
        let with = if asks { Identity::Current } else { Identity::Idevid };
        let wanted = !usable || now >= renew_at;
        match action(self.phase, wanted, with) {
            None => Next::Wait(renew_at),
            Some(_) if now < self.not_before => Next::Wait(self.not_before),
            Some(action) => Next::Do(action),
        }
    }

    /// Takes what happened; gives what is to be retired with the new phase.
    ///
    /// # Errors
    /// [`Ignored`] for an event that came late or twice; nothing changed.
    pub fn report(
        &mut self,
        event: Event,
        now: Timestamp,
        jitter: Jitter,
    ) -> Result<Retire, Ignored> {
        let early = self.phase == Phase::Swapped && self.failures < REFUSALS;
        let event = match event {
            Event::CurrentRefused if early => Event::Unreachable,
            other => other,
        };
        let (phase, retire) = step(self.phase, event)?;
        self.phase = phase;
        match event {
            Event::Unreachable | Event::ProofRefused => self.back_off(now, jitter),
            Event::CurrentRefused => {
                if let Some(current) = &mut self.current {
                    current.refused = true;
                }
                self.back_off(now, jitter);
            }
            Event::RequestRefused => {
                // The other identity asks next time. The present one stays in use.
                if let Some(current) = &mut self.current {
                    current.cannot_ask = !current.cannot_ask;
                }
                self.back_off(now, jitter);
            }
            Event::Acknowledged => {
                if let Some(current) = &mut self.current {
                    current.refused = false;
                }
                (self.failures, self.not_before) = (0, now);
            }
            // Who asked for another key and gets it refused again must not run in circles.
            Event::KeyOutdated => self.back_off(now, jitter),
            Event::KeyMade => {}
            _ => (self.failures, self.not_before) = (0, now),
        }
        Ok(retire)
    }

    fn back_off(&mut self, now: Timestamp, jitter: Jitter) {
        let delay = FIRST_DELAY.saturating_mul(1 << self.failures.min(16)).min(LONGEST_DELAY);
        self.failures = self.failures.saturating_add(1);
        // Up to half as long again, so that those who failed together do not come back together.
        self.not_before = now.plus(delay).plus(jitter.of(delay / 2));
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
