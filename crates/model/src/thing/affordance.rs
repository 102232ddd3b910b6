//! Properties, actions and events, and what using one asks for.

use super::schema::DataSchema;
use crate::id::AffordanceName;
use crate::role::Role;

/// The three kinds of interaction affordance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AffordanceKind {
    /// A state that can be read, perhaps written and observed.
    Property,
    /// Something that the device can do.
    Action,
    /// Something that happens.
    Event,
}

impl AffordanceKind {
    /// The member of a Thing Description, the path segment and the topic level: `properties`, `actions`, `events`.
    #[must_use]
    pub const fn plural(self) -> &'static str {
        match self {
            Self::Property => "properties",
            Self::Action => "actions",
            Self::Event => "events",
        }
    }
}

/// What can be done with an affordance (WoT Thing Description 1.1, table of `op` values).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Operation {
    /// Read a property once.
    ReadProperty,
    /// Be told of a property's changes.
    ObserveProperty,
    /// Set a property.
    WriteProperty,
    /// Have the device do something.
    InvokeAction,
    /// Be told of an event.
    SubscribeEvent,
}

impl Operation {
    /// Every operation.
    pub const ALL: [Self; 5] = [
        Self::ReadProperty,
        Self::ObserveProperty,
        Self::WriteProperty,
        Self::InvokeAction,
        Self::SubscribeEvent,
    ];

    /// The word of the standard.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ReadProperty => "readproperty",
            Self::ObserveProperty => "observeproperty",
            Self::WriteProperty => "writeproperty",
            Self::InvokeAction => "invokeaction",
            Self::SubscribeEvent => "subscribeevent",
        }
    }

    /// The kind of affordance that it is done to.
    #[must_use]
    pub const fn kind(self) -> AffordanceKind {
        match self {
            Self::ReadProperty | Self::ObserveProperty | Self::WriteProperty => {
                AffordanceKind::Property
            }
            Self::InvokeAction => AffordanceKind::Action,
            Self::SubscribeEvent => AffordanceKind::Event,
        }
    }

    /// Whether it changes something.
    #[must_use]
    pub const fn changes(self) -> bool {
        matches!(self, Self::WriteProperty | Self::InvokeAction)
    }
}

/// Who may: what an operation asks of the one who wants it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Need {
    /// Nothing: open data. Only ever for reading.
    Open,
    /// At least this role.
    Role(Role),
}

/// The least roles for an affordance, and what kind of change it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rights {
    pub(super) open: bool,
    pub(super) security_relevant: bool,
    pub(super) read: Role,
    pub(super) change: Role,
}

impl Rights {
    /// Whether anybody may read it.
    #[must_use]
    pub const fn open(&self) -> bool {
        self.open
    }

    /// Whether a change of it is security-relevant configuration.
    #[must_use]
    pub const fn security_relevant(&self) -> bool {
        self.security_relevant
    }

    const fn need(&self, operation: Operation) -> Need {
        if operation.changes() {
            Need::Role(self.change)
        } else if self.open {
            Need::Open
        } else {
            Need::Role(self.read)
        }
    }
}

/// The rule for one operation on one affordance.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rule<'a> {
    /// The affordance.
    pub name: &'a AffordanceName,
    /// What is done to it.
    pub operation: Operation,
    /// Who may.
    pub need: Need,
    /// Whether it is security-relevant configuration when it changes something.
    pub security_relevant: bool,
    /// The schema of what comes with it: a property's new value or an action's input.
    pub input: Option<&'a DataSchema>,
}

/// A property.
#[derive(Debug, Clone, PartialEq)]
pub struct Property {
    pub(super) schema: DataSchema,
    pub(super) rights: Rights,
    pub(super) observable: bool,
}

impl Property {
    /// The shape of its value.
    #[must_use]
    pub const fn schema(&self) -> &DataSchema {
        &self.schema
    }

    /// Who may use it.
    #[must_use]
    pub const fn rights(&self) -> &Rights {
        &self.rights
    }

    /// Whether it tells of its changes.
    #[must_use]
    pub const fn observable(&self) -> bool {
        self.observable
    }

    /// Whether it can be read.
    #[must_use]
    pub const fn readable(&self) -> bool {
        !self.schema.write_only
    }

    /// Whether it can be set.
    #[must_use]
    pub const fn writable(&self) -> bool {
        !self.schema.read_only
    }

    pub(super) fn rule<'a>(
        &'a self,
        operation: Operation,
        name: &'a AffordanceName,
    ) -> Option<Rule<'a>> {
        let offered = match operation {
            Operation::ReadProperty => self.readable(),
            Operation::ObserveProperty => self.readable() && self.observable,
            Operation::WriteProperty => self.writable(),
            Operation::InvokeAction | Operation::SubscribeEvent => false,
        };
        offered.then(|| Rule {
            name,
            operation,
            need: self.rights.need(operation),
            security_relevant: self.rights.security_relevant,
            input: operation.changes().then_some(&self.schema),
        })
    }
}

/// An action.
#[derive(Debug, Clone, PartialEq)]
pub struct Action {
    pub(super) input: Option<DataSchema>,
    pub(super) output: Option<DataSchema>,
    pub(super) rights: Rights,
}

impl Action {
    /// The shape of what it is given; `None` when it takes nothing.
    #[must_use]
    pub const fn input(&self) -> Option<&DataSchema> {
        self.input.as_ref()
    }

    /// The shape of what it answers.
    #[must_use]
    pub const fn output(&self) -> Option<&DataSchema> {
        self.output.as_ref()
    }

    /// Who may use it.
    #[must_use]
    pub const fn rights(&self) -> &Rights {
        &self.rights
    }

    pub(super) fn rule<'a>(
        &'a self,
        operation: Operation,
        name: &'a AffordanceName,
    ) -> Option<Rule<'a>> {
        (operation == Operation::InvokeAction).then(|| Rule {
            name,
            operation,
            need: self.rights.need(operation),
            security_relevant: self.rights.security_relevant,
            input: self.input.as_ref(),
        })
    }
}

/// An event.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    pub(super) data: Option<DataSchema>,
    pub(super) rights: Rights,
}

impl Event {
    /// The shape of what it tells.
    #[must_use]
    pub const fn data(&self) -> Option<&DataSchema> {
        self.data.as_ref()
    }

    /// Who may use it.
    #[must_use]
    pub const fn rights(&self) -> &Rights {
        &self.rights
    }

    pub(super) fn rule<'a>(
        &'a self,
        operation: Operation,
        name: &'a AffordanceName,
    ) -> Option<Rule<'a>> {
        (operation == Operation::SubscribeEvent).then(|| Rule {
            name,
            operation,
            need: self.rights.need(operation),
            security_relevant: self.rights.security_relevant,
            input: None,
        })
    }
}
