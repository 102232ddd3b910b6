//! The button on the device: how whoever watches a pin tells the agent that somebody is there.

use tokio::sync::watch;

/// A button. Its copies are the same button; a press counts while the device waits to be paired, and is not kept.
#[derive(Debug, Clone)]
pub struct Button(watch::Sender<u64>);

impl Default for Button {
    fn default() -> Self {
        Self::new()
    }
}

impl Button {
    /// A button that nobody has pressed.
    #[must_use]
    pub fn new() -> Self {
        Self(watch::Sender::new(0))
    }

    /// Somebody pressed it.
    pub fn press(&self) {
        self.0.send_modify(|presses| *presses = presses.wrapping_add(1));
    }

    /// Presses from now on.
    pub(super) fn presses(&self) -> watch::Receiver<u64> {
        self.0.subscribe()
    }
}
