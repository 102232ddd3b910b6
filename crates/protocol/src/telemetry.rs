//! Telemetry: from a value that the device's functions give to a message for the gateway.
//!
//! ```text
//!  value ─► ReadPermit of the gateway ─► fits its schema ─► bounded ─► topic and payload
//! ```
//!
//! The gateway is a subject like any other, with the rights of a viewer: what asks for more (the built-in `access`, or a
//! property for owners only) never leaves by this way.

use crate::permit::device::{Permit, ReadPermit, Refusal, Request, Subject, Target, judge};
use countersign_model::id::ThingId;
use countersign_model::role::Role;
use countersign_model::state::DeviceState;
use countersign_model::thing::{
    AffordanceKind, MAX_VALUE_BYTES, Need, Operation, Rule, ThingDescription, ValueError,
};
use countersign_model::time::Timestamp;
use countersign_model::topic::{DescriptionTopic, ThingTopic, Topic};
use serde_json::{Value, json};

/// A message for the gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publication {
    /// The topic, one of this device's own.
    pub topic: Topic,
    /// JSON text of at most [`MAX_VALUE_BYTES`].
    pub payload: Vec<u8>,
    /// Whether the gateway keeps it for those who come later: a property's value, never an event.
    pub retain: bool,
}

/// Why a value is not published.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TelemetryError {
    /// The gateway may not see it, or not now.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The product's fault: its functions gave a value that its own description does not allow.
    #[error("the device's functions gave a value that its description does not allow: {0}")]
    Value(#[from] ValueError),
    /// The product's fault: the value is too large.
    #[error("the device's functions gave a value of more than {MAX_VALUE_BYTES} bytes")]
    TooLarge,
}

/// A property's value as a message.
///
/// # Errors
/// [`TelemetryError`].
pub fn property(
    thing: &ThingId,
    description: &ThingDescription,
    state: DeviceState,
    name: &str,
    value: &Value,
    now: Timestamp,
) -> Result<Publication, TelemetryError> {
    let permit = permit(description, state, Operation::ReadProperty, name, now)?;
    if let Some(property) = description.property(name) {
        property.schema().validate(value)?;
    }
    publication(thing, &permit, value)
}

/// An event as a message; `data` is what it tells, `null` for nothing.
///
/// # Errors
/// [`TelemetryError`].
pub fn event(
    thing: &ThingId,
    description: &ThingDescription,
    state: DeviceState,
    name: &str,
    data: &Value,
    now: Timestamp,
) -> Result<Publication, TelemetryError> {
    let permit = permit(description, state, Operation::SubscribeEvent, name, now)?;
    if let Some(schema) = description.event(name).and_then(|event| event.data()) {
        schema.validate(data)?;
    }
    publication(thing, &permit, data)
}

/// What the device can do, as a message: no more of its description than services may use, with the topics of it.
#[must_use]
pub fn description(thing: &ThingId, description: &ThingDescription) -> Publication {
    let mut served = description.served(thing, "", services_may);
    let Some(members) = served.as_object_mut() else { unreachable!("a description is an object") };
    // Addresses in the home are the home's business.
    for local in ["base", "forms"] {
        members.remove(local);
    }
    for kind in [AffordanceKind::Property, AffordanceKind::Action, AffordanceKind::Event] {
        let affordances = members.get_mut(kind.plural()).and_then(Value::as_object_mut);
        for (name, affordance) in affordances.into_iter().flatten() {
            let forms = affordance["forms"].as_array_mut().into_iter().flatten();
            forms.for_each(|form| {
                let set = if form["op"] == Operation::WriteProperty.as_str() { "/set" } else { "" };
                let topic = format!("things/{thing}/{}/{name}{set}", kind.plural());
                *form =
                    json!({ "href": topic, "op": form["op"], "contentType": "application/json" });
            });
        }
    }
    let payload = served.to_string().into_bytes();
    Publication { topic: DescriptionTopic(thing.clone()).topic(), payload, retain: true }
}

/// A viewer's rights to read and a member's to command: what is told to the gateway, and what the device takes from services.
fn services_may(rule: &Rule<'_>) -> bool {
    let at_most = |most: Role| match rule.need {
        Need::Open => true,
        Need::Role(least) => most >= least,
    };
    match rule.operation.changes() {
        true => at_most(Role::Member) && !rule.security_relevant,
        false => at_most(Role::Viewer),
    }
}

fn permit(
    description: &ThingDescription,
    state: DeviceState,
    operation: Operation,
    name: &str,
    now: Timestamp,
) -> Result<ReadPermit, TelemetryError> {
    let malformed = |_| ValueError { path: "$".to_owned(), reason: "has no such name".to_owned() };
    let request = Request::new(operation, name, b"").map_err(malformed)?;
    // The channel is checked by TLS each time it is opened; what lasts here is this one message.
    let gateway = Subject::Gateway { until: now };
    match judge(state, &gateway, description, &request, now)? {
        Permit::Read(permit) => Ok(permit),
        Permit::Command(_) | Permit::Configure(_) => {
            unreachable!("reading operations are judged to read permits")
        }
    }
}

fn publication(
    thing: &ThingId,
    permit: &ReadPermit,
    value: &Value,
) -> Result<Publication, TelemetryError> {
    let payload = value.to_string().into_bytes();
    if payload.len() > MAX_VALUE_BYTES {
        return Err(TelemetryError::TooLarge);
    }
    let Target::Affordance { operation, name } = permit.target() else {
        unreachable!("telemetry asks for affordances only")
    };
    let (thing, name) = (thing.clone(), name.clone());
    let (topic, retain) = match operation {
        Operation::SubscribeEvent => (ThingTopic::Event { thing, name }, false),
        _ => (ThingTopic::Property { thing, name }, true),
    };
    Ok(Publication { topic: topic.topic(), payload, retain })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::permit::device::Cause;
    use serde_json::json;

    const PLUG: &[u8] = include_bytes!("../../model/tests/things/plug.td.json");
    const NOW: Timestamp = Timestamp(1_000);

    fn publish(
        state: DeviceState,
        name: &str,
        value: &Value,
    ) -> Result<Publication, TelemetryError> {
        let description = ThingDescription::parse(PLUG).unwrap();
        property(&"plug-1".parse().unwrap(), &description, state, name, value, NOW)
    }

    #[test]
    fn values_and_events_find_their_topics() {
        let power = publish(DeviceState::Initialised, "power", &json!(12.5)).unwrap();
        assert_eq!(power.topic.as_str(), "things/plug-1/properties/power");
        assert_eq!((power.payload.as_slice(), power.retain), (b"12.5".as_slice(), true));
        let description = ThingDescription::parse(PLUG).unwrap();
        let overload = |data| {
            let thing = "plug-1".parse().unwrap();
            event(&thing, &description, DeviceState::Initialised, "overload", &data, NOW)
        };
        let published = overload(json!({"power": 4000})).unwrap();
        assert_eq!(published.topic.as_str(), "things/plug-1/events/overload");
        assert!(!published.retain);
        assert!(matches!(overload(json!(null)), Err(TelemetryError::Value(_))));
    }

    #[test]
    fn what_is_not_a_viewers_does_not_leave() {
        let list = json!([{"person": "ada", "role": "owner"}]);
        for (state, name, value, cause) in [
            (DeviceState::Initialised, "access", &list, Cause::Forbidden),
            (DeviceState::Initialised, "nothing", &list, Cause::Unknown),
            (DeviceState::Recovery, "power", &json!(1), Cause::Forbidden),
            (DeviceState::Pairing, "power", &json!(1), Cause::State),
        ] {
            match publish(state, name, value) {
                Err(TelemetryError::Refused(refusal)) => assert_eq!(refusal.cause(), Some(cause)),
                other => panic!("{name}: {other:?}"),
            }
        }
    }

    #[test]
    fn the_products_mistakes_stay_inside() {
        for bad in [json!("warm"), json!(-1), json!(99_999)] {
            let refused = publish(DeviceState::Initialised, "power", &bad);
            assert!(matches!(refused, Err(TelemetryError::Value(_))), "{bad}");
        }
        let long = json!("x".repeat(MAX_VALUE_BYTES));
        let refused = publish(DeviceState::Initialised, "model", &long);
        assert_eq!(refused, Err(TelemetryError::TooLarge));
    }
}
