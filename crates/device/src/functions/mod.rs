//! What the product does: the only part that a maker writes.
//!
//! The agent calls a [`Functions`] only after the gate has judged the request; a backend never sees who asked.
//!
//! ```text
//!  gate ─► Permit ─► handler ─► Functions::{read, write, invoke}
//!                                Functions::next_event ─► uplink
//! ```

mod bound;
mod plug;
mod programs;

mod files;
mod http;
mod running;
pub mod socket;

pub use bound::{Bound, bind};
pub use plug::SimulatedPlug;
pub use programs::{MAX_AT_ONCE, MAX_OUTPUT, Programs, TIME_LIMIT};

use countersign_model::id::AffordanceName;
use serde_json::Value;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;

/// A pending answer of a backend.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, FunctionError>> + Send + 'a>>;

/// Something that happened in the product by itself.
#[derive(Debug, Clone, PartialEq)]
pub struct ProductEvent {
    /// The event's name in the Thing Description.
    pub name: AffordanceName,
    /// Its data.
    pub data: Value,
}

/// Why the product did not do it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FunctionError {
    /// The caller's fault: the product does not take this value.
    #[error("not accepted: {0}")]
    Input(String),
    /// Declared in the Thing Description, but the backend has nothing behind it. The configuration's fault.
    #[error("{0:?} is declared, but nothing is behind it")]
    NotThere(String),
    /// The product failed or did not answer in time.
    #[error("{0}")]
    Failed(String),
}

/// The product behind the gate. Methods are called concurrently and must bound their own time.
///
/// ```
/// use countersign_device::functions::{Answer, FunctionError, Functions, ProductEvent};
/// use countersign_model::id::AffordanceName;
/// use serde_json::{Value, json};
///
/// struct Thermometer;
/// impl Functions for Thermometer {
///     fn read<'a>(&'a self, property: &'a AffordanceName) -> Answer<'a, Value> {
///         Box::pin(async move {
///             match property.as_str() {
///                 "celsius" => Ok(json!(21.5)),
///                 other => Err(FunctionError::NotThere(other.to_owned())),
///             }
///         })
///     }
///     fn write<'a>(&'a self, property: &'a AffordanceName, _: Value) -> Answer<'a, ()> {
///         Box::pin(async move { Err(FunctionError::NotThere(property.to_string())) })
///     }
///     fn invoke<'a>(&'a self, action: &'a AffordanceName, _: Value) -> Answer<'a, Value> {
///         Box::pin(async move { Err(FunctionError::NotThere(action.to_string())) })
///     }
///     fn next_event(&self) -> Answer<'_, ProductEvent> {
///         Box::pin(std::future::pending())
///     }
/// }
/// ```
pub trait Functions: Send + Sync + 'static {
    /// The present value of a property.
    ///
    /// # Errors
    /// See [`FunctionError`].
    fn read<'a>(&'a self, property: &'a AffordanceName) -> Answer<'a, Value>;

    /// Gives a property a new value, already checked against its data schema.
    ///
    /// # Errors
    /// See [`FunctionError`].
    fn write<'a>(&'a self, property: &'a AffordanceName, value: Value) -> Answer<'a, ()>;

    /// Performs an action; `input` is null where the Thing Description names none.
    ///
    /// # Errors
    /// See [`FunctionError`].
    fn invoke<'a>(&'a self, action: &'a AffordanceName, input: Value) -> Answer<'a, Value>;

    /// The next event; waits until there is one. Called by one task at a time.
    ///
    /// # Errors
    /// A failure ends the source of events: the agent logs it and asks again after a pause.
    fn next_event(&self) -> Answer<'_, ProductEvent>;

    /// Where the product itself listens on loopback, when it is a process of its own: the agent asks it there, and stops
    /// when it can be reached from anywhere else.
    fn behind(&self) -> Option<SocketAddr> {
        None
    }
}
