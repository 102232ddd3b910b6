//! W3C Web of Things Thing Description 1.1, as far as a device needs it.
//!
//! One file says what a device can do and who may use it. It drives the gate, the local API, the MQTT topics, the
//! gateway's directory and the declaration for the test lab. Parsing turns it into values with private fields, or into
//! a list of errors, each with its JSON path; nothing that is kept was left unchecked.
//!
//! ```text
//!  plug.td.json ─► parse ─┬─► properties, actions, events ─► rule(operation, name) ─► the gate
//!                         ├─► data schemas ─────────────────► check of every value that comes in
//!                         └─► served(…) ───────────────────► what one subject may see of it
//! ```
//!
//! Our own terms, in the namespace [`CONTEXT_IRI`] (prefix `countersign`):
//!
//! | Term | On | Meaning |
//! |---|---|---|
//! | `countersign:role` | affordance | least role: `"member"` for every operation, or `{"read":"viewer","write":"owner"}` |
//! | `countersign:securityRelevant` | affordance | its change is security-relevant configuration: owners only |
//! | `countersign:networkServices` | thing | the network service protocols that the device relies on, each with its reason |
//!
//! Roles when nothing is said: reading asks for a viewer, commanding for a member, what is security-relevant for an owner.
//! Some affordances are built in, since every device has them: the properties `access` (who has which role), `history` (who
//! changed that) and `networkCredentials`, the actions `invite` and `reset`. A description must not declare them itself.
//!
//! ```
//! use countersign_model::thing::{Need, Operation, ThingDescription};
//! # use countersign_model::role::Role;
//! let td = ThingDescription::parse(br#"{
//!   "@context": ["https://www.w3.org/2022/wot/td/v1.1", {"countersign": "urn:countersign:td#"}],
//!   "title": "Plug", "securityDefinitions": {"mtls": {"scheme": "auto"}}, "security": "mtls",
//!   "properties": {"power": {"type": "number", "unit": "W", "readOnly": true}}
//! }"#).map_err(|errors| format!("{errors:?}"))?;
//! let rule = td.rule(Operation::ReadProperty, "power").ok_or("unknown")?;
//! assert_eq!(rule.need, Need::Role(Role::Viewer));
//! assert!(td.rule(Operation::WriteProperty, "power").is_none());
//! # Ok::<(), String>(())
//! ```

mod affordance;
mod format;
mod json;
mod parse;
mod schema;
mod security;
mod served;
mod services;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

pub use affordance::{Action, AffordanceKind, Event, Need, Operation, Property, Rights, Rule};
pub use format::MAX_PATTERN;
pub use json::{MAX_VALUE_BYTES, MAX_VALUE_DEPTH, parse_value};
pub use schema::{DataSchema, ValueError};
pub use served::href;
pub use services::{NetworkProtocol, NetworkService};

use crate::id::AffordanceName;
use serde_json::Value;
use std::collections::BTreeMap;

/// The context that makes a JSON document a Thing Description 1.1.
pub const TD_CONTEXT: &str = "https://www.w3.org/2022/wot/td/v1.1";
/// What the prefix `countersign` stands for.
pub const CONTEXT_IRI: &str = "urn:countersign:td#";
/// Largest description, in bytes: it is read by small devices and sent over slow links.
pub const MAX_DOCUMENT: usize = 64 * 1024;
/// Most properties, actions or events, each: one MQTT subscription and one row in every table per affordance.
pub const MAX_AFFORDANCES: usize = 128;
/// Most forms of one affordance, or of the thing as a whole.
pub const MAX_FORMS: usize = 8;
/// Most additional responses of one form.
pub const MAX_RESPONSES: usize = 8;
/// Most links.
pub const MAX_LINKS: usize = 16;
/// Most languages of one text.
pub const MAX_TRANSLATIONS: usize = 32;
/// Most named schemas.
pub const MAX_SCHEMA_DEFINITIONS: usize = 32;
/// Most security definitions.
pub const MAX_SECURITY_DEFINITIONS: usize = 8;
/// Most declared network services.
pub const MAX_NETWORK_SERVICES: usize = 16;
/// Longest text for people, in bytes.
pub const MAX_TEXT: usize = 1024;
/// Deepest nesting of data schemas.
pub const MAX_SCHEMA_DEPTH: usize = 8;
/// Most schemas in one description: bounds the work of checking one value.
pub const MAX_SCHEMAS: usize = 1024;
/// Most values in an `enum`.
pub const MAX_ENUM: usize = 256;
/// Most errors that are listed; whoever has more has another kind of file.
pub const MAX_ERRORS: usize = 32;

/// The built-in property that says who has which role: a list of `{"person": …, "role": …}`.
pub const ACCESS: &str = "access";
/// The built-in action that destroys the home's keys and returns the device to its factory-default state.
pub const RESET: &str = "reset";
/// The built-in action that opens the device for one invited person.
pub const INVITE: &str = "invite";
/// The built-in property that tells who changed who may what: the device's own record.
pub const HISTORY: &str = "history";
/// The built-in property that replaces the network's credentials; nobody can read it.
pub const NETWORK: &str = "networkCredentials";
/// Properties that are built into every device, and so no description may declare.
pub const BUILT_IN_PROPERTIES: [&str; 3] = [ACCESS, HISTORY, NETWORK];
/// The same for actions.
pub const BUILT_IN_ACTIONS: [&str; 2] = [INVITE, RESET];

/// One error of a description.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {problem}")]
pub struct ThingError {
    /// Where, as a JSON path from the document's root `$`.
    pub path: String,
    /// What is wrong, and what would mend it.
    pub problem: String,
}

/// A checked Thing Description.
#[derive(Debug, Clone, PartialEq)]
pub struct ThingDescription {
    title: String,
    properties: BTreeMap<AffordanceName, Property>,
    actions: BTreeMap<AffordanceName, Action>,
    events: BTreeMap<AffordanceName, Event>,
    services: Vec<NetworkService>,
    /// The document as read, with the built-in affordances.
    document: Value,
}

impl ThingDescription {
    /// Reads and checks a description.
    ///
    /// # Errors
    /// Every fault that was found, at most [`MAX_ERRORS`], in the order of the document.
    pub fn parse(bytes: &[u8]) -> Result<Self, Vec<ThingError>> {
        parse::parse(bytes)
    }

    /// The name for people.
    #[must_use]
    pub fn title(&self) -> &str {
        &self.title
    }

    /// The properties, by name; the built-in ones too.
    #[must_use]
    pub const fn properties(&self) -> &BTreeMap<AffordanceName, Property> {
        &self.properties
    }

    /// The actions, by name; the built-in ones too.
    #[must_use]
    pub const fn actions(&self) -> &BTreeMap<AffordanceName, Action> {
        &self.actions
    }

    /// The events, by name.
    #[must_use]
    pub const fn events(&self) -> &BTreeMap<AffordanceName, Event> {
        &self.events
    }

    /// The property of this name.
    #[must_use]
    pub fn property(&self, name: &str) -> Option<&Property> {
        by_name(&self.properties, name).map(|(_, property)| property)
    }

    /// The action of this name.
    #[must_use]
    pub fn action(&self, name: &str) -> Option<&Action> {
        by_name(&self.actions, name).map(|(_, action)| action)
    }

    /// The event of this name.
    #[must_use]
    pub fn event(&self, name: &str) -> Option<&Event> {
        by_name(&self.events, name).map(|(_, event)| event)
    }

    /// The network service protocols that the device relies on: the only things it listens to without authentication.
    #[must_use]
    pub fn network_services(&self) -> &[NetworkService] {
        &self.services
    }

    /// The document that was read, with the built-in affordances in it: the whole, for the declaration.
    #[must_use]
    pub const fn document(&self) -> &Value {
        &self.document
    }

    /// The rule for one operation on one affordance; `None` when there is no such thing to do.
    #[must_use]
    pub fn rule(&self, operation: Operation, name: &str) -> Option<Rule<'_>> {
        match operation.kind() {
            AffordanceKind::Property => {
                let (name, property) = by_name(&self.properties, name)?;
                property.rule(operation, name)
            }
            AffordanceKind::Action => {
                let (name, action) = by_name(&self.actions, name)?;
                action.rule(operation, name)
            }
            AffordanceKind::Event => {
                let (name, event) = by_name(&self.events, name)?;
                event.rule(operation, name)
            }
        }
    }

    /// Every operation that the device offers, with its rule: the rows of its access table.
    pub fn rules(&self) -> impl Iterator<Item = Rule<'_>> {
        Operation::ALL.into_iter().flat_map(move |operation| {
            let names: Vec<&AffordanceName> = match operation.kind() {
                AffordanceKind::Property => self.properties.keys().collect(),
                AffordanceKind::Action => self.actions.keys().collect(),
                AffordanceKind::Event => self.events.keys().collect(),
            };
            names.into_iter().filter_map(move |name| self.rule(operation, name.as_str()))
        })
    }
}

fn by_name<'a, T>(
    map: &'a BTreeMap<AffordanceName, T>,
    name: &str,
) -> Option<(&'a AffordanceName, &'a T)> {
    map.get_key_value(&name.parse::<AffordanceName>().ok()?)
}
