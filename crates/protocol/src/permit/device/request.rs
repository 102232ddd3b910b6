//! What is asked, bounded before anybody thinks about it.

use countersign_model::id::AffordanceName;
use countersign_model::thing::{AffordanceKind, Operation, ValueError, parse_value};
use serde_json::Value;

/// What a request is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Target {
    /// The Thing Description, as far as the subject may see it.
    Description,
    /// One operation on one affordance, which need not exist.
    Affordance {
        /// What is done.
        operation: Operation,
        /// To which.
        name: AffordanceName,
    },
}

/// One request, whatever it came in on: a target and at most one bounded JSON value.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    target: Target,
    input: Option<Value>,
}

/// Why bytes are no request. The sender learns only that it was malformed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// The name could not be an affordance's.
    #[error("not the name of an affordance")]
    Name,
    /// The input is not a JSON value within its bounds.
    #[error("the input {0}")]
    Input(#[from] ValueError),
    /// A reading operation brought an input.
    #[error("nothing may come with a request to read")]
    UnexpectedInput,
}

impl Request {
    /// A request for the Thing Description.
    #[must_use]
    pub const fn describe() -> Self {
        Self { target: Target::Description, input: None }
    }

    //= specs/house.md#house-gate
    //# A request MUST be bounded in size before it is judged.
    /// A request from the parts of a message. An empty `input` is none.
    ///
    /// # Errors
    /// [`Malformed`] for an impossible name or an input that is not one bounded JSON value.
    pub fn new(operation: Operation, name: &str, input: &[u8]) -> Result<Self, Malformed> {
        let name = name.parse().map_err(|_| Malformed::Name)?;
        let input = if input.is_empty() { None } else { Some(parse_value(input)?) };
        if input.is_some() && !operation.changes() {
            return Err(Malformed::UnexpectedInput);
        }
        Ok(Self { target: Target::Affordance { operation, name }, input })
    }

    /// What it is about.
    #[must_use]
    pub const fn target(&self) -> &Target {
        &self.target
    }

    /// What came with it, not yet checked against any schema.
    pub(super) const fn input(&self) -> Option<&Value> {
        self.input.as_ref()
    }

    /// The kind of affordance asked for.
    #[must_use]
    pub const fn kind(&self) -> Option<AffordanceKind> {
        match &self.target {
            Target::Description => None,
            Target::Affordance { operation, .. } => Some(operation.kind()),
        }
    }
}
