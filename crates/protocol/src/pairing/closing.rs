//! The end of pairing, while somebody may be installing a home at that very moment.
//!
//! ```text
//!  open ─► its time is over ─┬─ no home is stored ─► closed: none is stored any more
//!                            └─ a home is stored ──► its controller is told, as long as a conversation takes ─► at home
//! ```
//! Both questions are asked of the stored record, by one who holds it: whatever was stored before the answer was seen, and
//! whatever comes after it is refused. So no device has a home and waits for a button.

use super::SESSION_TIMEOUT;
use super::window::Window;
use countersign_model::state::DeviceState;
use countersign_model::time::Timestamp;
use std::time::Duration;

/// What the device does when the time of its window seems to be over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Closing {
    /// Wait so long: the window is open still.
    Open(Duration),
    /// Wait so long: a home is stored, and its controller is being told.
    Telling(Duration),
    /// Serve its home, whether the controller heard of it or not.
    AtHome,
    /// Close the interface.
    Closed,
}

/// Why no home is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoInstall {
    /// Nobody's home is replaced.
    #[error("this device belongs to a home already")]
    Owned,
    /// Its time is over.
    #[error("pairing closed before the home was stored")]
    Closed,
}

impl Window {
    //= specs/house.md#house-pairing
    //# A home MUST NOT be installed over another one, nor after pairing has closed.
    /// Whether a home may be stored at `now`, where `window` and `state` are what is stored.
    ///
    /// # Errors
    /// [`NoInstall`].
    pub fn may_install(
        window: Option<&Self>,
        state: DeviceState,
        now: Timestamp,
    ) -> Result<(), NoInstall> {
        if state != DeviceState::FactoryDefault {
            return Err(NoInstall::Owned);
        }
        window.and_then(|window| window.left(now)).map(drop).ok_or(NoInstall::Closed)
    }

    //= specs/house.md#house-pairing
    //# A device that has stored a home MUST serve it, whether its controller was told or not.
    /// What the end of the window means at `now`, where `window` and `state` are what is stored and `telling` says that the
    /// controller had its time already.
    #[must_use]
    pub fn closing(
        window: Option<&Self>,
        state: DeviceState,
        telling: bool,
        now: Timestamp,
    ) -> Closing {
        match state {
            DeviceState::Initialised if telling => Closing::AtHome,
            DeviceState::Initialised => Closing::Telling(SESSION_TIMEOUT),
            _ => match window.and_then(|window| window.left(now)) {
                Some(left) => Closing::Open(left),
                None => Closing::Closed,
            },
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::pairing::{Attempts, Boot, Presence, WindowRules};

    /// What happens in a conversation, in this order, up to wherever it ends.
    const TALK: [&str; 3] = ["stored", "told", "over"];
    /// What happens beside it: the window's time passes, and timers say so, at once or late.
    const BESIDE: [&str; 3] = ["time passes", "timer", "timer"];

    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    enum Interface {
        Open,
        Closed,
        AtHome,
    }

    /// A device as its shell has it: what is stored, what is open, and a conversation.
    #[derive(Debug)]
    struct Device {
        state: DeviceState,
        window: Window,
        now: Timestamp,
        interface: Interface,
        telling: bool,
        told: bool,
        refused: Option<NoInstall>,
    }

    impl Device {
        fn new() -> Self {
            let rules = WindowRules { presence: Presence::None, length: Duration::from_secs(100) };
            let (boot, now) = (Boot::new("a").unwrap(), Timestamp::from_secs(7));
            let (window, _) = Window::at_start(None, Attempts::default(), rules, &boot, now);
            Self {
                state: DeviceState::FactoryDefault,
                window,
                now,
                interface: Interface::Open,
                telling: false,
                told: false,
                refused: None,
            }
        }

        fn step(&mut self, what: &str) {
            let window = Some(&self.window);
            match what {
                // The step of a conversation that is being ended may still be under way: its interface is not asked.
                "stored" => match Window::may_install(window, self.state, self.now) {
                    Ok(()) => self.state = DeviceState::Initialised,
                    Err(error) => self.refused = Some(error),
                },
                // What was not stored is not told, and a conversation that was ended tells nothing.
                "told" => {
                    self.told = self.interface == Interface::Open && self.refused.is_none();
                }
                // It gives the local API's socket, if it still can.
                "over" if self.interface == Interface::Open && self.refused.is_none() => {
                    self.interface = Interface::AtHome;
                }
                "time passes" => self.now = self.now.plus(Duration::from_secs(100)),
                "timer" if self.interface == Interface::Open => {
                    match Window::closing(window, self.state, self.telling, self.now) {
                        Closing::Open(left) => assert!(left > Duration::ZERO),
                        Closing::Telling(left) => {
                            assert_eq!(left, SESSION_TIMEOUT);
                            self.telling = true;
                        }
                        Closing::AtHome => self.interface = Interface::AtHome,
                        Closing::Closed => self.interface = Interface::Closed,
                    }
                }
                _ => {}
            }
        }
    }

    /// Every order of both, each in its own order.
    fn interleaved(one: &[&'static str], other: &[&'static str]) -> Vec<Vec<&'static str>> {
        let (Some((first, rest)), Some((first_other, rest_other))) =
            (one.split_first(), other.split_first())
        else {
            return vec![[one, other].concat()];
        };
        let then = |step: &'static str, rest: Vec<Vec<&'static str>>| {
            rest.into_iter().map(move |rest| [vec![step], rest].concat())
        };
        then(first, interleaved(rest, other))
            .chain(then(first_other, interleaved(one, rest_other)))
            .collect()
    }

    //= specs/house.md#house-pairing
    //= type=test
    //# A device that has stored a home MUST serve it, whether its controller was told or not.
    #[test]
    fn a_home_that_is_stored_is_served_in_whatever_order_things_happen() {
        let mut seen = Vec::new();
        for spoken in 0..=TALK.len() {
            for order in interleaved(&TALK[..spoken], &BESIDE) {
                let mut device = Device::new();
                order.iter().for_each(|step| device.step(step));
                // However late: a timer is set for as long as the interface is open.
                for _ in 0..2 {
                    device.step("timer");
                }
                let owned = device.state == DeviceState::Initialised;
                let expected = if owned { Interface::AtHome } else { Interface::Closed };
                assert_eq!(device.interface, expected, "{order:?}: {device:?}");
                assert!(owned || !device.told, "{order:?}: {device:?}");
                // A conversation that stored in time has its time to tell: the first timer leaves it that.
                let before = |step, what| {
                    let until = order.iter().position(|one| *one == what)?;
                    Some(order[..until].iter().filter(|one| **one == step).count())
                };
                if before("time passes", "stored") == Some(0) {
                    assert!(owned, "{order:?}: {device:?}");
                    let telling = before("timer", "told").is_some_and(|timers| timers < 2);
                    assert!(!telling || device.told, "{order:?}: {device:?}");
                }
                seen.push((owned, device.told, device.refused));
            }
        }
        // All ends occur: told, not told, too late, and nobody came.
        for end in [
            (true, true, None),
            (true, false, None),
            (false, false, Some(NoInstall::Closed)),
            (false, false, None),
        ] {
            assert!(seen.contains(&end), "{end:?}");
        }
    }

    //= specs/house.md#house-pairing
    //= type=test
    //# A home MUST NOT be installed over another one, nor after pairing has closed.
    #[test]
    fn no_home_is_installed_over_another_into_a_reset_or_too_late() {
        let device = Device::new();
        let (window, open) = (Some(&device.window), device.now);
        let late = open.plus(Duration::from_secs(100));
        let (none, closed) = (DeviceState::FactoryDefault, Err(NoInstall::Closed));
        assert_eq!(Window::may_install(window, none, open), Ok(()));
        assert_eq!(Window::may_install(window, none, late), closed);
        assert_eq!(Window::may_install(Some(&device.window.ended()), none, open), closed);
        assert_eq!(Window::may_install(None, none, open), closed);
        for state in [DeviceState::Initialised, DeviceState::Resetting] {
            assert_eq!(Window::may_install(window, state, open), Err(NoInstall::Owned));
        }
    }
}
