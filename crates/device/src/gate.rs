//! The gate: what every request passes, whatever it came in on, and the handlers behind it.
//!
//! ```text
//!  local API ─┐                              ┌─ read(ReadPermit)
//!  uplink ────┴─► judge(subject, request) ───┼─ command(CommandPermit) ─────► Functions
//!                                            └─ configure(ConfigurePermit) ─► Functions, access list, reset
//! ```
//! A handler takes a permit by value: there is no other way in, and one permit is good for one call.

use crate::changes::Changes;
use crate::clock::DeviceClock;
use crate::data::{Store, StoreError};
use crate::functions::{FunctionError, Functions};
use countersign_crypto::certificate::IdentityKind;
use countersign_crypto::tls::{Clock, VerifiedPeer};
use countersign_model::id::{AffordanceName, PersonName, ThingId};
use countersign_model::role::Role;
use countersign_model::state::DeviceState;
use countersign_model::thing::{
    ACCESS, DataSchema, HISTORY, INVITE, MAX_VALUE_BYTES, NETWORK, Operation, RESET,
    ThingDescription, ValueError,
};
use countersign_model::time::Timestamp;
use countersign_protocol::invitation::{Door, InviteError};
use countersign_protocol::permit::device::{
    AccessError, AccessList, CommandPermit, ConfigurePermit, Permit, ReadPermit, Refusal, Request,
    Subject, SubjectName, Target, Voucher, judge, visible,
};
use serde_json::Value;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;
use tokio::sync::watch;

mod sharing;

/// The gate with what lies behind it.
pub struct Gate {
    thing: ThingId,
    description: ThingDescription,
    store: Arc<Store>,
    functions: Arc<dyn Functions>,
    clock: Arc<DeviceClock>,
    changes: Changes,
    /// Counts the changes of who may what.
    rights: watch::Sender<u64>,
    /// Where the invited come in, by the gate's own time.
    door: Mutex<Door>,
    began: Instant,
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
    /// The product gave what its own description does not allow. The asker learns nothing of it.
    #[error("{0} gave a value that its description does not allow: {1}")]
    Value(AffordanceName, ValueError),
    /// The access list would lose its last owner, or burst.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// Nobody can be invited so.
    #[error(transparent)]
    Invite(#[from] InviteError),
    /// The disk refused; nothing changed.
    #[error("the change could not be stored, and did not happen")]
    Store(#[from] StoreError),
}

impl Failure {
    /// What the asker is told. Where the product or the device is at fault, the cause is for the log alone.
    #[must_use]
    pub fn told(&self) -> String {
        match self {
            Self::Function(FunctionError::Input(reason)) => reason.clone(),
            Self::Access(error) => error.to_string(),
            Self::Invite(error) => error.to_string(),
            Self::Function(_) | Self::Value(..) => "the device could not do it".to_owned(),
            Self::Store(_) => "the change could not be stored, and did not happen".to_owned(),
        }
    }

    /// Whether what came with the request was at fault.
    #[must_use]
    pub const fn is_askers(&self) -> bool {
        matches!(self, Self::Function(FunctionError::Input(_)) | Self::Access(_) | Self::Invite(_))
    }
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
            changes: Changes::default(),
            rights: watch::Sender::new(0),
            door: Mutex::default(),
            began: Instant::now(),
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

    /// Waits until an owner has asked for a reset of this home: what was asked of the one before is over with it.
    pub async fn reset_asked(&self) {
        let mut rights = self.rights.subscribe();
        while self.state() != DeviceState::Resetting {
            if rights.changed().await.is_err() {
                return std::future::pending().await;
            }
        }
    }

    /// Whose signature a connection's certificate bears, of those that are believed about its name. Found once for each
    /// connection; what it is worth is judged anew each time.
    #[must_use]
    pub fn voucher(&self, peer: Option<&VerifiedPeer>) -> Option<Voucher> {
        let peer = peer.filter(|peer| peer.kind() == IdentityKind::Person)?;
        let name = peer.name().parse().ok()?;
        let (voucher, anchor) = self.store.with(|record| {
            let home = record.home.as_ref()?;
            match home.access.voucher_of(&name).unwrap_or(Voucher::Home) {
                Voucher::Home => Some((Voucher::Home, home.anchor.clone())),
                Voucher::Own(sha256) => {
                    let own = record.guests.iter().find(|one| one.fingerprint() == sha256);
                    own.map(|anchor| (Voucher::Own(sha256), anchor.clone()))
                }
            }
        })?;
        peer.certificate().verify_signed_by(&anchor).ok().map(|()| voucher)
    }

    /// The subject behind a connection of the home, by the access list of this moment.
    #[must_use]
    pub fn subject(&self, peer: Option<&VerifiedPeer>, voucher: Option<Voucher>) -> Subject {
        let (Some(peer), Some(voucher)) = (peer, voucher) else { return Subject::Anonymous };
        let Ok(name) = peer.name().parse() else { return Subject::Anonymous };
        let until = peer.certificate().validity().not_after;
        self.store.with(|record| {
            let access = record.home.as_ref().map(|home| &home.access);
            access.map_or(Subject::Anonymous, |access| access.person(&name, voucher, until))
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

    /// A permit to read, observe or subscribe if this subject has one at this moment. For what was begun before and goes
    /// on, and for lists of what may be read: not having one is no refusal and is not counted.
    //= specs/house.md#house-permits
    //# Open sessions MUST be judged again when policy, grants or revocation change.
    #[must_use]
    pub fn still(&self, subject: &Subject, request: &Request) -> Option<ReadPermit> {
        match judge(self.state(), subject, &self.description, request, self.clock.now()) {
            Ok(Permit::Read(permit)) => Some(permit),
            _ => None,
        }
    }

    /// Tells when who may what has changed: whatever goes on is to be judged again.
    #[must_use]
    pub fn rights(&self) -> watch::Receiver<u64> {
        self.rights.subscribe()
    }

    /// What the product tells by itself. Each listener asks for a permit before it tells it on.
    #[must_use]
    pub const fn changes(&self) -> &Changes {
        &self.changes
    }

    /// Does what a permit allows and gives what there is to answer.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn perform(&self, permit: Permit) -> Result<Value, Failure> {
        let done = match permit {
            Permit::Read(permit) => self.read(permit).await,
            Permit::Command(permit) => self.command(permit).await,
            Permit::Configure(permit) => self.configure(permit).await,
        };
        if let Err(failure) = &done
            && !failure.is_askers()
        {
            tracing::error!(%failure, "the device could not do what it was asked");
        }
        done
    }

    /// Reads a property.
    ///
    /// # Errors
    /// [`Failure::Function`], [`Failure::Value`].
    pub async fn read(&self, permit: ReadPermit) -> Result<Value, Failure> {
        let Target::Affordance { name, .. } = permit.target() else {
            return Err(FunctionError::NotThere("the description has no value".to_owned()).into());
        };
        if name.as_str() == ACCESS {
            return Ok(self.access(&permit));
        }
        if name.as_str() == HISTORY {
            return Ok(self.history(&permit));
        }
        self.sample(name).await
    }

    /// What the functions say of a property, for those who have a permit and for the device's own telemetry.
    pub(crate) async fn sample(&self, name: &AffordanceName) -> Result<Value, Failure> {
        let value = self.functions.read(name).await?;
        let schema = self.description.property(name.as_str()).map(|property| property.schema());
        checked(name, schema, value)
    }

    /// Whether an event's data is what the description says.
    pub(crate) fn fits(&self, name: &AffordanceName, data: &Value) -> bool {
        let event = self.description.event(name.as_str());
        event.is_some_and(|event| event.data().is_none_or(|schema| schema.validate(data).is_ok()))
    }

    /// The description as a subject may see it, with forms at `base`.
    #[must_use]
    pub fn describe(&self, _permit: &ReadPermit, subject: &Subject, base: &str) -> Value {
        let (state, now) = (self.state(), self.clock.now());
        self.description.served(&self.thing, base, |rule| visible(state, subject, rule, now))
    }

    /// Does something that is not security-relevant.
    ///
    /// # Errors
    /// [`Failure::Function`].
    pub async fn command(&self, permit: CommandPermit) -> Result<Value, Failure> {
        let input = permit.input().cloned().unwrap_or_default();
        self.call(permit.operation(), permit.name(), input).await
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
                self.change_access(permit.by(), |access| access.replace(&permit, list))?;
                Ok(Value::Null)
            }
            (Operation::InvokeAction, INVITE) => {
                self.invite(&permit, &input)?;
                Ok(Value::Null)
            }
            (Operation::WriteProperty, NETWORK) => {
                self.replace_network(&permit, input)?;
                Ok(Value::Null)
            }
            (Operation::InvokeAction, RESET) => {
                // Durable before the answer: a reset that was begun is finished, even over a power cut.
                self.store.update(|record| {
                    if record.home.is_some() {
                        record.phase = DeviceState::Resetting;
                    }
                })?;
                self.rights.send_modify(|count| *count += 1);
                Ok(Value::Null)
            }
            (operation, _) => self.call(operation, permit.name(), input).await,
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
        if let AccessChange::Unshare(person) = &change {
            self.uninvite(permit, person)?;
        }
        self.change_access(permit.by(), |access| match change {
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

    /// How long there has been this gate, as an instant: what nobody can set, and what stands still for nobody.
    pub(crate) fn uptime(&self) -> Timestamp {
        Timestamp(0).plus(self.began.elapsed())
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
        by: &SubjectName,
        change: impl FnOnce(&mut AccessList) -> Result<(), AccessError>,
    ) -> Result<(), Failure> {
        let changed = self.store.update_by(&by.to_string(), |record| match &mut record.home {
            Some(home) => change(&mut home.access),
            None => Err(AccessError::LastOwner),
        })?;
        changed?;
        // Whoever is no owner any more has invited nobody.
        self.look_at_door();
        self.rights.send_modify(|count| *count += 1);
        Ok(())
    }

    async fn call(
        &self,
        operation: Operation,
        name: &AffordanceName,
        input: Value,
    ) -> Result<Value, Failure> {
        let done = if operation == Operation::WriteProperty {
            self.functions.write(name, input).await.map(|()| Value::Null)?
        } else {
            let output = self.functions.invoke(name, input).await?;
            let schema = self.description.action(name.as_str()).and_then(|action| action.output());
            checked(name, schema, output)?
        };
        self.changes.look_soon();
        Ok(done)
    }
}

//= specs/house.md#house-gate
//# A value that the device's functions give MUST fit its description, or it is not served.
fn checked(
    name: &AffordanceName,
    schema: Option<&DataSchema>,
    value: Value,
) -> Result<Value, Failure> {
    let fail = |error| Err(Failure::Value(name.clone(), error));
    if let Some(schema) = schema
        && let Err(error) = schema.validate(&value)
    {
        return fail(error);
    }
    if value.to_string().len() > MAX_VALUE_BYTES {
        let reason = format!("is longer than {MAX_VALUE_BYTES} bytes");
        return fail(ValueError { path: "$".to_owned(), reason });
    }
    Ok(value)
}

/// Everything that changes permissions or configuration is recorded, without values.
fn record(by: &SubjectName, what: &str) {
    tracing::warn!(target: "countersign::audit", %by, what, "configuration changed");
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
