//! The gate: what every request passes, whatever it came in on, and the handlers behind it.
//!
//! ```text
//!  local API ─┐                              ┌─ read(ReadPermit)
//!  uplink ────┴─► judge(subject, request) ───┼─ command(CommandPermit) ─────► Functions
//!                                            └─ configure(ConfigurePermit) ─► Functions, access list, reset
//! ```
//! A handler takes a permit by value: there is no other way in, and one permit is good for one call.

use crate::clock::DeviceClock;
use crate::data::{Store, StoreError};
use crate::functions::{FunctionError, Functions};
use countersign_crypto::certificate::IdentityKind;
use countersign_crypto::tls::{Clock, VerifiedPeer};
use countersign_model::id::{PersonName, ThingId};
use countersign_model::role::Role;
use countersign_model::state::DeviceState;
use countersign_model::thing::{ACCESS, Operation, RESET, ThingDescription};
use countersign_model::time::Timestamp;
use countersign_protocol::permit::device::{
    AccessError, AccessList, CommandPermit, ConfigurePermit, Permit, ReadPermit, Refusal, Request,
    Subject, SubjectName, Target, judge, visible,
};
use serde_json::Value;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::Notify;

/// The gate with what lies behind it.
pub struct Gate {
    thing: ThingId,
    description: ThingDescription,
    store: Arc<Store>,
    functions: Arc<dyn Functions>,
    clock: Arc<DeviceClock>,
    reset: Notify,
    refused: AtomicU64,
}

/// A change of one person's rights, as the local API's `/access/{person}` asks for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AccessChange {
    /// Give this role.
    Share(PersonName, Role),
    /// Take every role away.
    Unshare(PersonName),
}

/// What a permitted request came to.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The product did not do it.
    #[error(transparent)]
    Function(#[from] FunctionError),
    /// The access list would lose its last owner, or burst.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// The disk refused; nothing changed.
    #[error("the change could not be stored, and did not happen")]
    Store(#[from] StoreError),
}

impl Gate {
    /// A gate for `thing` as `description` says.
    #[must_use]
    pub fn new(
        thing: ThingId,
        description: ThingDescription,
        store: Arc<Store>,
        functions: Arc<dyn Functions>,
        clock: Arc<DeviceClock>,
    ) -> Self {
        Self {
            thing,
            description,
            store,
            functions,
            clock,
            reset: Notify::new(),
            refused: AtomicU64::new(0),
        }
    }

    /// Whose gate it is.
    #[must_use]
    pub const fn thing(&self) -> &ThingId {
        &self.thing
    }

    /// What the device can do.
    #[must_use]
    pub const fn description(&self) -> &ThingDescription {
        &self.description
    }

    /// Whether anything may be read without a certificate.
    #[must_use]
    pub fn has_open_data(&self) -> bool {
        self.description.properties().values().any(|property| property.rights().open())
            || self.description.events().values().any(|event| event.rights().open())
    }

    /// Requests refused since the start.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// Waits until an owner has asked for a reset.
    pub async fn reset_asked(&self) {
        self.reset.notified().await;
    }

    /// The subject behind a connection of the home, by the access list of this moment.
    #[must_use]
    pub fn subject(&self, peer: Option<&VerifiedPeer>) -> Subject {
        let Some(peer) = peer.filter(|peer| peer.kind() == IdentityKind::Person) else {
            return Subject::Anonymous;
        };
        let Ok(name) = peer.name().parse() else { return Subject::Anonymous };
        let until = peer.certificate().validity().not_after;
        self.store.with(|record| {
            record.home.as_ref().map_or(Subject::Anonymous, |home| home.access.person(&name, until))
        })
    }

    /// Judges one request at this moment. Refusals are counted; nothing of the request is logged.
    ///
    /// # Errors
    /// [`Refusal`].
    //= specs/en-303-645.md#5.5-4
    pub fn judge(&self, subject: &Subject, request: &Request) -> Result<Permit, Refusal> {
        let judged = judge(self.state(), subject, &self.description, request, self.clock.now());
        if let Err(refusal) = &judged {
            self.refused.fetch_add(1, Ordering::Relaxed);
            tracing::info!(cause = ?refusal.cause(), subject = %subject.name(), "refused");
        }
        judged
    }

    /// Does what a permit allows and gives what there is to answer.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn perform(&self, permit: Permit) -> Result<Value, Failure> {
        match permit {
            Permit::Read(permit) => self.read(permit).await,
            Permit::Command(permit) => self.command(permit).await,
            Permit::Configure(permit) => self.configure(permit).await,
        }
    }

    /// Reads a property.
    ///
    /// # Errors
    /// [`Failure::Function`].
    pub async fn read(&self, permit: ReadPermit) -> Result<Value, Failure> {
        let Target::Affordance { name, .. } = permit.target() else {
            return Err(FunctionError::NotThere("the description has no value".to_owned()).into());
        };
        if name.as_str() == ACCESS {
            return Ok(self.access(&permit));
        }
        Ok(self.functions.read(name).await?)
    }

    /// The description as a subject may see it, with forms at `base`.
    #[must_use]
    pub fn describe(&self, _permit: &ReadPermit, subject: &Subject, base: &str) -> Value {
        let (state, now) = (self.state(), self.clock.now());
        // The local API answers questions and takes changes; it does not push yet.
        let pushed =
            |operation| matches!(operation, Operation::ObserveProperty | Operation::SubscribeEvent);
        self.description.served(&self.thing, base, |rule| {
            !pushed(rule.operation) && visible(state, subject, rule, now)
        })
    }

    /// Does something that is not security-relevant.
    ///
    /// # Errors
    /// [`Failure::Function`].
    pub async fn command(&self, permit: CommandPermit) -> Result<Value, Failure> {
        let input = permit.input().cloned().unwrap_or_default();
        Ok(self.call(permit.operation(), permit.name(), input).await?)
    }

    /// Changes security-relevant configuration. Who did what is written to the device's record.
    ///
    /// # Errors
    /// [`Failure`].
    //= specs/en-303-645.md#5.5-5
    pub async fn configure(&self, permit: ConfigurePermit) -> Result<Value, Failure> {
        record(permit.by(), permit.name().as_str());
        let input = permit.input().cloned().unwrap_or_default();
        match (permit.operation(), permit.name().as_str()) {
            (Operation::WriteProperty, ACCESS) => {
                let list: AccessList = serde_json::from_value(input)
                    .map_err(|error| FunctionError::Input(error.to_string()))?;
                self.change_access(|access| access.replace(&permit, list))?;
                Ok(Value::Null)
            }
            (Operation::InvokeAction, RESET) => {
                // Durable before the answer: a reset that was begun is finished, even over a power cut.
                self.store.update(|record| record.phase = DeviceState::Resetting)?;
                self.reset.notify_one();
                Ok(Value::Null)
            }
            (operation, _) => Ok(self.call(operation, permit.name(), input).await?),
        }
    }

    /// Changes one person's rights, under a permit to write the property `access`.
    ///
    /// # Errors
    /// [`Failure::Access`] for the last owner; [`Failure::Store`].
    //= specs/en-303-645.md#5.5-5
    pub fn change_person(
        &self,
        permit: &ConfigurePermit,
        change: AccessChange,
    ) -> Result<(), Failure> {
        record(permit.by(), ACCESS);
        self.change_access(|access| match change {
            AccessChange::Share(person, role) => access.share(permit, person, role),
            AccessChange::Unshare(person) => access.unshare(permit, &person),
        })
    }

    /// Who has which role, under a permit to read the property `access`.
    #[must_use]
    pub fn access(&self, _permit: &ReadPermit) -> Value {
        self.store.with(|state| {
            let list = state.home.as_ref().map(|home| serde_json::to_value(&home.access));
            list.and_then(Result::ok).unwrap_or_else(|| Value::Array(Vec::new()))
        })
    }

    /// The instant by the device's clock.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// What the functions say of an observable property, for telemetry. Only the device itself asks so.
    pub(crate) fn functions(&self) -> &Arc<dyn Functions> {
        &self.functions
    }

    /// The device's state at this moment.
    #[must_use]
    pub fn state(&self) -> DeviceState {
        self.store.with(|record| record.phase)
    }

    fn change_access(
        &self,
        change: impl FnOnce(&mut AccessList) -> Result<(), AccessError>,
    ) -> Result<(), Failure> {
        let changed = self.store.update(|record| match &mut record.home {
            Some(home) => change(&mut home.access),
            None => Err(AccessError::LastOwner),
        })?;
        Ok(changed?)
    }

    async fn call(
        &self,
        operation: Operation,
        name: &countersign_model::id::AffordanceName,
        input: Value,
    ) -> Result<Value, FunctionError> {
        if operation == Operation::WriteProperty {
            self.functions.write(name, input).await.map(|()| Value::Null)
        } else {
            self.functions.invoke(name, input).await
        }
    }
}

/// Everything that changes permissions or configuration is recorded, without values.
fn record(by: &SubjectName, what: &str) {
    tracing::warn!(target: "countersign::audit", %by, what, "configuration changed");
}
