//! When pairing is open: for a while after power-on or after a press of the button, and how it opens again.
//!
//! ```text
//!                    presence = none                        presence = button
//!  power-on          open for a while                       closed
//!  press             open for a while, attempts forgiven    the same
//!  killed, started   what is left of it                     what is left of it
//!  ended in order    as after power-on                      closed
//! ```
//! What is stored names the power-on by a word of the kernel's, so that a crash is told from a power cut: whoever can make
//! the agent crash gains neither time nor attempts.

use super::attempts::Attempts;
use countersign_model::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// How long pairing stays open after power-on, if nothing else is said.
pub const WINDOW: Duration = Duration::from_secs(15 * 60);
/// How long a press opens pairing where a press is needed: whoever pressed stands there with the label.
pub const BUTTON_WINDOW: Duration = Duration::from_secs(2 * 60);

/// What counts as somebody being at the device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Presence {
    /// Switching it on is enough.
    #[default]
    None,
    /// The button, and nothing else.
    Button,
}

/// One power-on, by the kernel's word for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Boot(String);

impl Boot {
    /// Longest word that is kept, in bytes: Linux has a UUID of 36.
    const MAX: usize = 64;

    /// From the kernel's word; nothing for an empty or endless one.
    #[must_use]
    pub fn new(word: &str) -> Option<Self> {
        let word = word.trim();
        (1..=Self::MAX).contains(&word.len()).then(|| Self(word.to_owned()))
    }
}

/// The rules of one device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WindowRules {
    /// What counts as presence.
    pub presence: Presence,
    /// How long pairing stays open.
    pub length: Duration,
}

/// Since which power-on, and until when on its count, pairing is open. A value that the device stores.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Window {
    boot: Boot,
    /// None after an orderly end: the next start is as good as a power-on.
    until: Option<Timestamp>,
}

//= specs/house.md#house-pairing
//# Pairing MUST be open for a bounded time only, and a crash of the device MUST NOT lengthen it.
impl Window {
    /// At the start of the device: how its window and its budget of guesses stand at `now` of `boot`.
    #[must_use]
    pub fn at_start(
        stored: Option<&Self>,
        attempts: Attempts,
        rules: WindowRules,
        boot: &Boot,
        now: Timestamp,
    ) -> (Self, Attempts) {
        let fresh = match rules.presence {
            Presence::None => now.plus(rules.length),
            Presence::Button => now,
        };
        let boot = boot.clone();
        match stored {
            // Started again in the same power-on: nothing is gained.
            Some(stored) if stored.boot == boot => {
                // A stored end beyond a whole window is no end of ours.
                let most = now.plus(rules.length);
                let until = stored.until.unwrap_or(fresh).min(most);
                (Self { boot, until: Some(until) }, attempts)
            }
            _ => {
                let attempts = attempts.after_power_on(now, rules.presence == Presence::None);
                (Self { boot, until: Some(fresh) }, attempts)
            }
        }
    }

    //= specs/house.md#house-pairing
    //# Where the device asks for physical presence, pairing MUST NOT open without it.
    /// Somebody pressed the button: open anew, and every guess is forgiven.
    #[must_use]
    pub fn pressed(
        &self,
        attempts: Attempts,
        rules: WindowRules,
        now: Timestamp,
    ) -> (Self, Attempts) {
        let until = Some(now.plus(rules.length));
        (Self { boot: self.boot.clone(), until }, attempts.renewed())
    }

    /// The device ends in order, as it was told to.
    #[must_use]
    pub fn ended(&self) -> Self {
        Self { boot: self.boot.clone(), until: None }
    }

    /// How much longer pairing is open at `now`; nothing when it is closed.
    #[must_use]
    pub fn left(&self, now: Timestamp) -> Option<Duration> {
        let left = self.until.filter(|until| *until > now).map(|until| until.since(now));
        left.filter(|left| !left.is_zero())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::pairing::{Locked, MAX_ATTEMPTS};

    const OPEN: WindowRules = WindowRules { presence: Presence::None, length: WINDOW };
    const BUTTON: WindowRules = WindowRules { presence: Presence::Button, length: BUTTON_WINDOW };

    fn boot(word: &str) -> Boot {
        Boot::new(word).unwrap()
    }

    fn at(secs: u64) -> Timestamp {
        Timestamp::from_secs(secs)
    }

    fn used_up() -> Attempts {
        (0..MAX_ATTEMPTS).fold(Attempts::default(), |attempts, _| attempts.charged(at(50)))
    }

    //= specs/house.md#house-pairing
    //= type=test
    //# Pairing MUST be open for a bounded time only, and a crash of the device MUST NOT lengthen it.
    #[test]
    fn a_crash_gains_neither_time_nor_attempts_and_a_power_on_does() {
        let none = Attempts::default();
        let (first, _) = Window::at_start(None, none, OPEN, &boot("a"), at(10));
        assert_eq!(first.left(at(10)), Some(WINDOW));
        let (killed, tried) = Window::at_start(Some(&first), used_up(), OPEN, &boot("a"), at(310));
        assert_eq!(killed.left(at(310)), Some(WINDOW - Duration::from_secs(300)));
        assert_eq!(tried.check(at(100_000)), Err(Locked::UntilPresence));
        let (late, _) = Window::at_start(Some(&killed), none, OPEN, &boot("a"), at(2_000));
        assert_eq!(late.left(at(2_000)), None, "the window stays closed");
        let (again, tried) = Window::at_start(Some(&late), used_up(), OPEN, &boot("b"), at(5));
        assert_eq!(again.left(at(5)), Some(WINDOW));
        assert!(matches!(tried.check(at(5)), Err(Locked::For(_))));
        let (told, tried) =
            Window::at_start(Some(&late.ended()), used_up(), OPEN, &boot("a"), at(2_000));
        assert_eq!(told.left(at(2_000)), Some(WINDOW));
        assert_eq!(tried, used_up(), "an orderly end forgives nothing");
    }

    //= specs/house.md#house-pairing
    //= type=test
    //# Where the device asks for physical presence, pairing MUST NOT open without it.
    #[test]
    fn with_a_button_nothing_else_opens_it_and_a_press_opens_it_briefly() {
        for stored in [None, Some(Window { boot: boot("a"), until: None })] {
            for word in ["a", "b"] {
                let begun =
                    Window::at_start(stored.as_ref(), used_up(), BUTTON, &boot(word), at(9));
                assert_eq!(begun.0.left(at(9)), None);
                assert_eq!(begun.1.check(at(9_999)), Err(Locked::UntilPresence));
            }
        }
        let (closed, _) = Window::at_start(None, used_up(), BUTTON, &boot("a"), at(9));
        let (open, tried) = closed.pressed(used_up(), BUTTON, at(100));
        assert_eq!((open.left(at(100)), tried.failed()), (Some(BUTTON_WINDOW), 0));
        assert_eq!(open.left(at(100).plus(BUTTON_WINDOW)), None);
        let (killed, _) = Window::at_start(Some(&open), tried, BUTTON, &boot("a"), at(160));
        assert_eq!(killed.left(at(160)), Some(Duration::from_secs(60)));
    }

    #[test]
    fn a_stored_end_far_away_is_not_believed() {
        let far = Window { boot: boot("a"), until: Some(Timestamp(u64::MAX)) };
        let begun = Window::at_start(Some(&far), Attempts::default(), OPEN, &boot("a"), at(7));
        assert_eq!(begun.0.left(at(7)), Some(WINDOW));
        let text = serde_json::to_string(&begun.0).unwrap();
        assert_eq!(serde_json::from_str::<Window>(&text).unwrap(), begun.0);
        assert!(Boot::new(" \n").is_none() && Boot::new(&"x".repeat(65)).is_none());
    }
}
