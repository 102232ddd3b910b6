//! Commands that come through the gateway: noted, judged, carried out, and answered with a receipt.

use super::core::Incoming;
use super::outbox::{Outgoing, Weight};
use crate::data::Store;
use crate::gate::Gate;
use countersign_model::topic::Topic;
use countersign_protocol::command::{CommandInbox, FreshCommand, Receipt};
use serde_json::Value;
use std::sync::{Arc, Mutex, PoisonError};

/// Commands that wait for the one that is being carried out: more than anybody has patience for.
pub const MAX_WAITING: usize = 8;

/// The device's side of commands. One for all sessions with the gateway.
pub struct Commands {
    gate: Arc<Gate>,
    store: Arc<Store>,
    inbox: Mutex<CommandInbox>,
}

/// A message that was looked at: a command to be judged, or at most a receipt.
#[derive(Debug)]
pub struct Noted {
    outcome: Result<FreshCommand, Option<Receipt>>,
    correlation: Option<Vec<u8>>,
}

impl Commands {
    /// Goes on from the floor that the state remembers: what was carried out before a restart never is again.
    #[must_use]
    pub fn new(gate: Arc<Gate>, store: Arc<Store>) -> Self {
        let floor = store.with(|record| record.command_floor);
        let inbox = Mutex::new(CommandInbox::new(gate.thing().clone(), floor));
        Self { gate, store, inbox }
    }

    /// Checks stamp, address, freshness and rate, and stores that the command was seen.
    #[must_use]
    pub fn note(&self, message: &Incoming) -> Noted {
        let correlation = message.correlation.clone();
        let Ok(topic) = message.topic.parse::<Topic>() else {
            return Noted { outcome: Err(None), correlation };
        };
        let properties = message.user_properties.iter().map(|(k, v)| (k.as_str(), v.as_str()));
        let now = self.gate.now();
        let mut inbox = self.inbox.lock().unwrap_or_else(PoisonError::into_inner);
        let outcome = match inbox.accept(&topic, &message.payload, properties.clone(), now) {
            Err(refusal) => {
                tracing::info!(%refusal, "command not taken");
                Err(refusal.receipt(&topic, properties, now))
            }
            Ok(command) => {
                let floor = inbox.floor();
                match self.store.update(|record| record.command_floor = floor) {
                    Ok(()) => Ok(command),
                    Err(error) => {
                        tracing::error!(%error, "command could not be noted");
                        Err(Some(command.failed("the device could not note the command", now)))
                    }
                }
            }
        };
        Noted { outcome, correlation }
    }

    //= specs/house.md#house-commands
    //# A device MUST answer every command that it receives with a receipt.
    /// Judges and does it. The receipt, if one is due.
    pub async fn carry_out(&self, noted: Noted) -> Option<Outgoing> {
        let command = match noted.outcome {
            Ok(command) => command,
            Err(receipt) => return self.outgoing(receipt?, noted.correlation),
        };
        let receipt = match self.gate.judge(command.subject(), command.request()) {
            Err(refusal) => command.refused(&refusal, self.gate.now()),
            Ok(permit) => match self.gate.perform(permit).await {
                Ok(Value::Null) => command.done(None, self.gate.now()),
                Ok(output) => command.done(Some(output), self.gate.now()),
                Err(failure) => command.failed(&failure.told(), self.gate.now()),
            },
        };
        self.outgoing(receipt, noted.correlation)
    }

    /// Not done: as many as may wait already.
    #[must_use]
    pub fn too_many(&self, noted: Noted) -> Option<Outgoing> {
        let receipt = match noted.outcome {
            Ok(command) => command.failed("the device is busy", self.gate.now()),
            Err(receipt) => receipt?,
        };
        self.outgoing(receipt, noted.correlation)
    }

    fn outgoing(&self, receipt: Receipt, correlation: Option<Vec<u8>>) -> Option<Outgoing> {
        Some(Outgoing {
            topic: receipt.topic(self.gate.thing()).as_str().to_owned(),
            payload: receipt.to_json(),
            retain: false,
            correlation,
            weight: Weight::Kept,
        })
    }
}
