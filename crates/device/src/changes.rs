//! What the product tells by itself, for whoever listens: the uplink and the local API's streams.
//!
//! ```text
//!  look at observable properties ─► changed? ─┐
//!  next_event ────────────────────────────────┴─► Change ─► every listener, each under its own permit
//! ```
//! A listener that is [`BACKLOG`] changes behind has lost some, and is told so.

use countersign_model::id::AffordanceName;
use countersign_model::thing::Operation;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{Notify, broadcast};

/// Changes kept for the slowest listener; more say nothing about the present.
pub const BACKLOG: usize = 64;

/// One change, ready to be told.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// [`Operation::ObserveProperty`] or [`Operation::SubscribeEvent`].
    pub operation: Operation,
    /// Which property or event.
    pub name: AffordanceName,
    /// Its value, which fits its schema.
    pub value: Arc<Value>,
}

/// Where changes are told.
#[derive(Debug)]
pub struct Changes {
    told: broadcast::Sender<Change>,
    last: Mutex<BTreeMap<AffordanceName, Arc<Value>>>,
    look: Notify,
}

impl Default for Changes {
    fn default() -> Self {
        Self { told: broadcast::Sender::new(BACKLOG), last: Mutex::default(), look: Notify::new() }
    }
}

impl Changes {
    /// Hears every change from now on.
    #[must_use]
    pub fn listen(&self) -> broadcast::Receiver<Change> {
        self.told.subscribe()
    }

    /// Whether anybody listens.
    #[must_use]
    pub fn heard(&self) -> bool {
        self.told.receiver_count() > 0
    }

    /// Asks for a look at the properties before it is due: something was done that may have changed them.
    pub(crate) fn look_soon(&self) {
        self.look.notify_one();
    }

    /// Waits until somebody asks for that.
    pub(crate) async fn asked(&self) {
        self.look.notified().await;
    }

    /// A property as it was just read.
    pub(crate) fn seen(&self, name: &AffordanceName, value: &Value) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.get(name).is_some_and(|before| **before == *value) {
            return;
        }
        let value = Arc::new(value.clone());
        last.insert(name.clone(), value.clone());
        self.tell(Change { operation: Operation::ObserveProperty, name: name.clone(), value });
    }

    /// Something that happened.
    pub(crate) fn happened(&self, name: AffordanceName, data: Value) {
        let value = Arc::new(data);
        self.tell(Change { operation: Operation::SubscribeEvent, name, value });
    }

    fn tell(&self, change: Change) {
        // Nobody listens: nobody is told.
        let _ = self.told.send(change);
    }
}
