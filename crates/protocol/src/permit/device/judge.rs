//! The judgement itself.

use super::Interface;
use super::request::{Request, Target};
use super::subject::{Subject, SubjectName};
use countersign_model::id::AffordanceName;
use countersign_model::role::Role;
use countersign_model::state::DeviceState;
use countersign_model::thing::{Need, Operation, Rule, ThingDescription, ValueError};
use countersign_model::time::Timestamp;
use serde_json::Value;

/// The interfaces that are open in a state; all others have no listener at all.
//= specs/house.md#house-pairing
//# The pairing interface MUST exist only before the device is initialised.
#[must_use]
pub const fn interfaces(state: DeviceState) -> &'static [Interface] {
    match state {
        DeviceState::FactoryDefault | DeviceState::Resetting => &[],
        DeviceState::Pairing => &[Interface::Pairing],
        DeviceState::Initialised | DeviceState::Updating => {
            &[Interface::LocalApi, Interface::Uplink]
        }
        DeviceState::Recovery => &[Interface::LocalApi],
    }
}

//= specs/en-303-645.md#5.5-5
//# Security-relevant configuration over a network interface MUST follow authentication.
//= specs/en-303-645.md#5.5-4
//# In the initialised state, functionality behind a network interface SHOULD be reached only after authentication on that interface.
//= specs/en-303-645.md#5.5-4
//# Authorisation SHOULD grant what a subject's rights cover and deny the rest.
//= specs/house.md#house-gate
//# A request MUST be judged by one pure function of device state, subject, affordance and operation.
/// Judges one request.
///
/// | State | open data | reading | commanding | configuring |
/// |---|---|---|---|---|
/// | initialised | everybody | by role | by role | owners |
/// | updating | everybody | by role | – | – |
/// | recovery | – | owners | – | owners |
/// | all others | – | – | – | – |
///
/// # Errors
/// [`Refusal::Denied`] looks the same for an unknown name, a forbidden one and the wrong state. [`Refusal::Invalid`] goes
/// only to those who may do what they asked for, and tells them what is wrong with their input.
pub fn judge(
    state: DeviceState,
    subject: &Subject,
    thing: &ThingDescription,
    request: &Request,
    now: Timestamp,
) -> Result<Permit, Refusal> {
    let role = subject.role(now);
    let (operation, name) = match request.target() {
        Target::Description => {
            let permit = ReadPermit { target: Target::Description, by: subject.name(), at: now };
            // Whoever may see nothing at all gets the stranger's answer rather than an empty page.
            let sees = thing.rules().any(|rule| allowed(state, role, &rule).is_ok());
            let cause = match state {
                DeviceState::Initialised | DeviceState::Updating | DeviceState::Recovery => {
                    Cause::Unauthenticated
                }
                _ => Cause::State,
            };
            return sees.then_some(Permit::Read(permit)).ok_or(Refusal::denied(cause));
        }
        Target::Affordance { operation, name } => (*operation, name),
    };
    // 1. Who may? Nothing of the input is looked at before this is settled.
    //    A name that nobody knows is judged by a rule that nobody fulfils: unknown, forbidden and wrong state take
    //    the same steps, and end here.
    //= specs/house.md#house-gate
    //# A refusal of an unknown name, of a forbidden one and of the wrong state MUST be the same bytes after the same work.
    let rule = thing.rule(operation, name.as_str());
    let known = rule.is_some();
    let rule = rule.unwrap_or_else(|| unknown(operation, name));
    let judged = allowed(state, role, &rule);
    let judged = if known { judged } else { Err(Cause::Unknown) };
    judged.map_err(Refusal::denied)?;
    // 2. Does the input fit?
    if operation.changes() {
        check_input(&rule, request.input())?;
    }
    // 3. The permit, with everything that the handler needs and nothing that was not checked.
    Ok(permit(&rule, subject.name(), request.input(), now))
}

/// Whether a subject may use a rule now: the filter for the description that it is served.
#[must_use]
pub fn visible(state: DeviceState, subject: &Subject, rule: &Rule<'_>, now: Timestamp) -> bool {
    allowed(state, subject.role(now), rule).is_ok()
}

/// The rule of what is not there.
const fn unknown(operation: Operation, name: &AffordanceName) -> Rule<'_> {
    let need = Need::Role(Role::Owner);
    Rule { name, operation, need, security_relevant: false, input: None }
}

fn allowed(state: DeviceState, role: Option<Role>, rule: &Rule<'_>) -> Result<(), Cause> {
    let changes = rule.operation.changes();
    let least = match state {
        DeviceState::Initialised => rule.need,
        DeviceState::Updating if !changes => rule.need,
        DeviceState::Recovery if !changes || rule.security_relevant => Need::Role(Role::Owner),
        _ => return Err(Cause::State),
    };
    match (least, role) {
        (Need::Open, _) => Ok(()),
        (Need::Role(_), None) => Err(Cause::Unauthenticated),
        (Need::Role(least), Some(role)) if role >= least => Ok(()),
        (Need::Role(_), Some(_)) => Err(Cause::Forbidden),
    }
}

fn check_input(rule: &Rule<'_>, input: Option<&Value>) -> Result<(), Refusal> {
    let invalid = |reason: &str| {
        Refusal::Invalid(ValueError { path: "$".to_owned(), reason: reason.to_owned() })
    };
    match (rule.input, input) {
        (Some(schema), Some(value)) => schema.validate(value).map_err(Refusal::Invalid),
        // Clients that must send JSON send null where there is nothing to say.
        (None, None | Some(Value::Null)) => Ok(()),
        (Some(_), None) => Err(invalid("an input is required")),
        (None, Some(_)) => Err(invalid("takes no input")),
    }
}

fn permit(rule: &Rule<'_>, by: SubjectName, input: Option<&Value>, at: Timestamp) -> Permit {
    let (name, operation) = (rule.name.clone(), rule.operation);
    if !operation.changes() {
        return Permit::Read(ReadPermit { target: Target::Affordance { operation, name }, by, at });
    }
    let input = input.filter(|_| rule.input.is_some()).cloned();
    let granted = Granted { operation, name, input, by, at };
    if rule.security_relevant {
        Permit::Configure(ConfigurePermit { granted })
    } else {
        Permit::Command(CommandPermit { granted })
    }
}

/// What the judgement allows.
#[derive(Debug, PartialEq)]
pub enum Permit {
    /// To read, observe or subscribe, or to see the description.
    Read(ReadPermit),
    /// To write a property or invoke an action.
    Command(CommandPermit),
    /// The same for what is security-relevant.
    Configure(ConfigurePermit),
}

/// Leave to read one thing once, or to begin an observation that is judged again at every change of rights.
#[derive(Debug, PartialEq)]
pub struct ReadPermit {
    target: Target,
    by: SubjectName,
    at: Timestamp,
}

impl ReadPermit {
    /// What may be read.
    #[must_use]
    pub const fn target(&self) -> &Target {
        &self.target
    }

    /// By whom.
    #[must_use]
    pub const fn by(&self) -> &SubjectName {
        &self.by
    }

    /// When it was judged.
    #[must_use]
    pub const fn at(&self) -> Timestamp {
        self.at
    }
}

#[derive(PartialEq)]
struct Granted {
    operation: Operation,
    name: AffordanceName,
    input: Option<Value>,
    by: SubjectName,
    at: Timestamp,
}

/// Without the input, which may hold a secret.
impl std::fmt::Debug for Granted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { operation, name, input: _, by, at } = self;
        let mut shown = f.debug_struct("Granted");
        shown.field("operation", operation).field("name", name).field("by", by).field("at", at);
        shown.finish_non_exhaustive()
    }
}

macro_rules! changing_permit {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, PartialEq)]
        pub struct $name {
            granted: Granted,
        }

        impl $name {
            /// [`Operation::WriteProperty`] or [`Operation::InvokeAction`].
            #[must_use]
            pub const fn operation(&self) -> Operation {
                self.granted.operation
            }

            /// The affordance.
            #[must_use]
            pub const fn name(&self) -> &AffordanceName {
                &self.granted.name
            }

            /// The new value or the action's input, which fits its schema.
            #[must_use]
            pub const fn input(&self) -> Option<&Value> {
                self.granted.input.as_ref()
            }

            /// By whom.
            #[must_use]
            pub const fn by(&self) -> &SubjectName {
                &self.granted.by
            }

            /// When it was judged.
            #[must_use]
            pub const fn at(&self) -> Timestamp {
                self.granted.at
            }
        }
    };
}

changing_permit!(
    /// Leave to change one thing once.
    CommandPermit
);
changing_permit!(
    /// Leave to change security-relevant configuration once.
    ConfigurePermit
);

/// A request was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// One answer for all who may not, whatever the reason.
    #[error("not permitted")]
    Denied(Denied),
    /// The subject may, but the input does not fit.
    #[error("the input does not fit: {0}")]
    Invalid(ValueError),
}

/// Holds the cause for the device's own counters; nothing of it goes out.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Denied {
    cause: Cause,
}

impl std::fmt::Debug for Denied {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Denied")
    }
}

/// Why, for metrics and the device's record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Cause {
    /// There is no such affordance or operation.
    Unknown,
    /// The subject is a stranger, or is believed no more.
    Unauthenticated,
    /// The subject's role is too small.
    Forbidden,
    /// Not in this state.
    State,
}

impl Refusal {
    const fn denied(cause: Cause) -> Self {
        Self::Denied(Denied { cause })
    }

    /// The status of the answer on HTTP, the only thing that tells refusals apart there.
    #[must_use]
    pub const fn http_status(&self) -> u16 {
        match self {
            Self::Denied(_) => 403,
            Self::Invalid(_) => 400,
        }
    }

    /// The cause of a denial, for counters and the device's own record; never for an answer.
    #[must_use]
    pub const fn cause(&self) -> Option<Cause> {
        match self {
            Self::Denied(denied) => Some(denied.cause),
            Self::Invalid(_) => None,
        }
    }
}
