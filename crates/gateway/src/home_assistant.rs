//! What Home Assistant is told of a device, so that it shows up there by itself (its MQTT discovery).
//!
//! ```text
//!  things/ID/description ─► entities ─► PREFIX/COMPONENT/ID/NAME/config   (retained)
//!    boolean, writable      switch          number with bounds, writable    number
//!    boolean                binary_sensor   number, text                    sensor
//!    action without input   button          event                           event
//! ```
//!
//! The topics inside are the thing's own: Home Assistant reads values and sends commands there, as any service, under
//! its own grants. Payloads are JSON both ways, so that nothing has to be translated. Derived without I/O from what the
//! device has said; whatever it says, sizes and names stay bounded.

use countersign_model::id::{AffordanceName, ThingId};
use countersign_model::thing::MAX_AFFORDANCES;
use countersign_model::topic::{ThingTopic, Topic};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// Longest text for people that is passed on, in characters.
const MAX_TEXT: usize = 128;
/// Longest unit, in characters.
const MAX_UNIT: usize = 16;
/// The level of our availability topics below the prefix: no component of Home Assistant is called so.
const NODE: &str = "countersign";

/// The `[gateway.home_assistant]` table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HomeAssistant {
    /// Whether devices are told of. Default false.
    pub enabled: bool,
    /// The discovery prefix, as set in Home Assistant. Default `homeassistant`.
    pub prefix: Prefix,
}

impl Default for HomeAssistant {
    fn default() -> Self {
        Self { enabled: false, prefix: Prefix("homeassistant".to_owned()) }
    }
}

/// A topic level or several, outside `things/` and the reserved names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Prefix(String);

/// Longest prefix, in bytes.
const MAX_PREFIX: usize = 64;

impl TryFrom<String> for Prefix {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        let topic = text.parse::<Topic>().map_err(|error| error.to_string())?;
        let ours = topic.levels().next() == Some("things") || topic.is_reserved();
        if ours || text.len() > MAX_PREFIX || topic.levels().any(str::is_empty) {
            return Err(format!(
                "{text:?} cannot be the discovery prefix: use at most {MAX_PREFIX} bytes outside things/ and $, such as \"homeassistant\""
            ));
        }
        Ok(Self(text))
    }
}

impl From<Prefix> for String {
    fn from(prefix: Prefix) -> Self {
        prefix.0
    }
}

impl Prefix {
    /// Where it stands whether a device is there: `online` or `offline`, retained.
    #[must_use]
    pub fn availability(&self, thing: &ThingId) -> Topic {
        self.topic(&format!("{NODE}/{}/availability", node(thing.as_str())))
    }

    /// Whether a topic is one of [`Prefix::availability`].
    #[must_use]
    pub fn is_availability(&self, topic: &Topic) -> bool {
        let rest = topic.as_str().strip_prefix(&self.0).and_then(|rest| rest.strip_prefix('/'));
        rest.is_some_and(|rest| {
            rest.starts_with(&format!("{NODE}/")) && rest.ends_with("/availability")
        })
    }

    /// The filter of a device's entities.
    #[must_use]
    pub fn entities_of(&self, thing: &ThingId) -> String {
        format!("{}/+/{}/+/config", self.0, node(thing.as_str()))
    }

    fn topic(&self, rest: &str) -> Topic {
        format!("{}/{rest}", self.0).parse().expect("bounded levels of safe characters are a topic")
    }
}

/// Home Assistant takes letters, digits, `_` and `-` in these levels; names of ours have dots too.
fn node(name: &str) -> String {
    name.replace('.', "_2e")
}

/// A description, as far as entities are made of it.
#[derive(Deserialize)]
struct Described {
    #[serde(default)]
    title: String,
    #[serde(default)]
    properties: BTreeMap<AffordanceName, Property>,
    #[serde(default)]
    actions: BTreeMap<AffordanceName, Other>,
    #[serde(default)]
    events: BTreeMap<AffordanceName, Other>,
}

#[derive(Deserialize)]
struct Property {
    #[serde(default)]
    title: String,
    #[serde(default, rename = "type")]
    kind: String,
    unit: Option<String>,
    minimum: Option<f64>,
    maximum: Option<f64>,
    #[serde(default)]
    forms: Vec<Form>,
}

#[derive(Deserialize)]
struct Other {
    #[serde(default)]
    title: String,
    input: Option<Value>,
}

#[derive(Deserialize)]
struct Form {
    op: Value,
}

impl Property {
    fn may(&self, operation: &str) -> bool {
        self.forms.iter().any(|form| match &form.op {
            Value::String(op) => op == operation,
            Value::Array(ops) => ops.iter().any(|op| op == operation),
            _ => false,
        })
    }
}

/// The discovery messages of a device that has described itself so, by topic; none for what is no description.
#[must_use]
pub fn entities(prefix: &Prefix, thing: &ThingId, description: &[u8]) -> Vec<(Topic, Vec<u8>)> {
    let Ok(described) = serde_json::from_slice::<Described>(description) else { return Vec::new() };
    let about = About { prefix, thing, title: shown(&described.title, thing.as_str()) };
    let properties =
        described.properties.iter().filter_map(|(name, one)| about.property(name, one));
    let actions = described.actions.iter().filter(|(_, action)| action.input.is_none());
    let actions = actions.map(|(name, action)| about.button(name, action));
    let events = described.events.iter().map(|(name, event)| about.event(name, event));
    let all = properties.take(MAX_AFFORDANCES).chain(actions.take(MAX_AFFORDANCES));
    all.chain(events.take(MAX_AFFORDANCES)).collect()
}

struct About<'a> {
    prefix: &'a Prefix,
    thing: &'a ThingId,
    title: String,
}

impl About<'_> {
    fn property(&self, name: &AffordanceName, one: &Property) -> Option<(Topic, Vec<u8>)> {
        // What is not published has no state to show.
        if !one.may("observeproperty") {
            return None;
        }
        let (thing, writable) = (self.thing.clone(), one.may("writeproperty"));
        let state = ThingTopic::Property { thing: thing.clone(), name: name.clone() }.topic();
        let set = ThingTopic::SetProperty { thing, name: name.clone() }.topic();
        let mut config = self.common(name, &one.title);
        config.insert("state_topic".to_owned(), json!(state));
        let mut also = |more: Value| {
            config.extend(more.as_object().cloned().unwrap_or_default());
        };
        let bounds = one.minimum.zip(one.maximum).filter(|(low, high)| low < high);
        let component = match (one.kind.as_str(), writable, bounds) {
            ("boolean", _, _) => {
                also(json!({ "payload_on": "true", "payload_off": "false" }));
                if writable { "switch" } else { "binary_sensor" }
            }
            ("number" | "integer", true, Some((low, high))) => {
                let step = if one.kind == "integer" { 1.0 } else { 0.1 };
                also(json!({ "min": low, "max": high, "step": step, "mode": "box" }));
                "number"
            }
            ("number" | "integer", ..) => {
                also(meaning(one.unit.as_deref()));
                "sensor"
            }
            ("string", ..) => {
                also(json!({ "value_template": "{{ value_json }}" }));
                "sensor"
            }
            _ => return None,
        };
        if matches!(component, "switch" | "number") {
            also(json!({ "command_topic": set, "qos": 1 }));
        }
        if let (Some(unit), "sensor" | "number", true) =
            (&one.unit, component, one.kind != "string")
        {
            also(json!({ "unit_of_measurement": shown_to(unit, MAX_UNIT) }));
        }
        Some(self.message(component, name, config))
    }

    fn button(&self, name: &AffordanceName, action: &Other) -> (Topic, Vec<u8>) {
        let command = ThingTopic::Action { thing: self.thing.clone(), name: name.clone() }.topic();
        let mut config = self.common(name, &action.title);
        config.insert("command_topic".to_owned(), json!(command));
        // An action without input takes an empty message.
        config.insert("payload_press".to_owned(), json!(""));
        config.insert("qos".to_owned(), json!(1));
        self.message("button", name, config)
    }

    fn event(&self, name: &AffordanceName, event: &Other) -> (Topic, Vec<u8>) {
        let topic = ThingTopic::Event { thing: self.thing.clone(), name: name.clone() }.topic();
        let mut config = self.common(name, &event.title);
        let template = format!("{{\"event_type\": \"{name}\", \"data\": {{{{ value }}}}}}");
        config.insert("state_topic".to_owned(), json!(topic));
        config.insert("event_types".to_owned(), json!([name]));
        config.insert("value_template".to_owned(), json!(template));
        self.message("event", name, config)
    }

    fn common(&self, name: &AffordanceName, title: &str) -> Map<String, Value> {
        let (thing, availability) = (self.thing, self.prefix.availability(self.thing));
        let config = json!({
            "name": shown(title, name.as_str()),
            "unique_id": format!("countersign_{thing}_{name}"),
            "availability_topic": availability,
            "device": { "identifiers": [format!("countersign_{thing}")], "name": self.title },
            "origin": { "name": "countersign", "sw_version": env!("CARGO_PKG_VERSION") },
        });
        config.as_object().cloned().unwrap_or_default()
    }

    fn message(
        &self,
        component: &str,
        name: &AffordanceName,
        config: Map<String, Value>,
    ) -> (Topic, Vec<u8>) {
        let (thing, name) = (node(self.thing.as_str()), node(name.as_str()));
        let topic = self.prefix.topic(&format!("{component}/{thing}/{name}/config"));
        (topic, Value::Object(config).to_string().into_bytes())
    }
}

/// What a unit tells about a sensor; nothing for units that many quantities share.
fn meaning(unit: Option<&str>) -> Value {
    let (class, state) = match unit.unwrap_or_default() {
        "W" | "kW" => ("power", "measurement"),
        "Wh" | "kWh" => ("energy", "total_increasing"),
        "V" | "mV" => ("voltage", "measurement"),
        "A" | "mA" => ("current", "measurement"),
        "°C" | "°F" => ("temperature", "measurement"),
        "Hz" => ("frequency", "measurement"),
        "hPa" | "Pa" => ("pressure", "measurement"),
        "lx" => ("illuminance", "measurement"),
        _ => return json!({}),
    };
    json!({ "device_class": class, "state_class": state })
}

fn shown(text: &str, otherwise: &str) -> String {
    shown_to(if text.is_empty() { otherwise } else { text }, MAX_TEXT)
}

fn shown_to(text: &str, length: usize) -> String {
    text.chars().filter(|character| !character.is_control()).take(length).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn made(description: &Value) -> BTreeMap<String, Value> {
        let thing = "plug.1".parse().unwrap();
        let all =
            entities(&HomeAssistant::default().prefix, &thing, description.to_string().as_bytes());
        let value = |bytes: Vec<u8>| serde_json::from_slice(&bytes).unwrap();
        all.into_iter().map(|(topic, bytes)| (topic.to_string(), value(bytes))).collect()
    }

    #[test]
    fn a_plug_becomes_a_switch_sensors_a_button_and_an_event() {
        let observed = json!([{ "op": ["observeproperty", "unobserveproperty"] }]);
        let both = json!([{ "op": "observeproperty" }, { "op": "writeproperty" }]);
        let all = made(&json!({
            "title": "Smart Plug",
            "properties": {
                "relay": { "type": "boolean", "title": "Relay", "forms": both },
                "hot": { "type": "boolean", "forms": observed },
                "power": { "type": "number", "unit": "W", "forms": observed },
                "level": { "type": "integer", "minimum": 0, "maximum": 9, "unit": "%", "forms": both },
                "unseen": { "type": "number", "forms": [{ "op": "readproperty" }] },
                "table": { "type": "object", "forms": observed },
            },
            "actions": { "toggle": {}, "dim": { "input": { "type": "number" } } },
            "events": { "overload": { "title": "Overload" } },
        }));
        let topics: Vec<&str> = all.keys().map(String::as_str).collect();
        assert_eq!(
            topics,
            [
                "homeassistant/binary_sensor/plug_2e1/hot/config",
                "homeassistant/button/plug_2e1/toggle/config",
                "homeassistant/event/plug_2e1/overload/config",
                "homeassistant/number/plug_2e1/level/config",
                "homeassistant/sensor/plug_2e1/power/config",
                "homeassistant/switch/plug_2e1/relay/config",
            ]
        );
        let switch = &all["homeassistant/switch/plug_2e1/relay/config"];
        assert_eq!(switch["state_topic"], "things/plug.1/properties/relay");
        assert_eq!(switch["command_topic"], "things/plug.1/properties/relay/set");
        assert_eq!((&switch["payload_on"], &switch["name"]), (&json!("true"), &json!("Relay")));
        assert_eq!(switch["availability_topic"], "homeassistant/countersign/plug_2e1/availability");
        let power = &all["homeassistant/sensor/plug_2e1/power/config"];
        assert_eq!(power["device_class"], "power");
        assert_eq!(power["unit_of_measurement"], "W");
        let event = &all["homeassistant/event/plug_2e1/overload/config"];
        assert_eq!(
            event["value_template"],
            "{\"event_type\": \"overload\", \"data\": {{ value }}}"
        );
        let level = &all["homeassistant/number/plug_2e1/level/config"];
        assert_eq!((&level["max"], &level["step"]), (&json!(9.0), &json!(1.0)));
        assert_eq!(all["homeassistant/button/plug_2e1/toggle/config"]["payload_press"], "");
    }

    #[test]
    fn whatever_a_device_says_stays_within_bounds() {
        assert!(made(&json!("nothing")).is_empty());
        assert!(made(&json!({ "properties": { "a/b": { "type": "boolean" } } })).is_empty());
        let long = "x".repeat(60_000);
        let all = made(&json!({ "title": long, "actions": { "a": { "title": long } } }));
        assert!(all.values().all(|config| config.to_string().len() < 1024));
    }

    #[test]
    fn a_prefix_is_not_ours() {
        for bad in ["things", "things/x", "$SYS", "", "a//b", "a/+", &"x".repeat(65)] {
            let read = serde_json::from_value::<Prefix>(json!(bad));
            assert!(read.is_err(), "{bad}");
        }
        let prefix: Prefix = serde_json::from_value(json!("home/ha")).unwrap();
        let thing = "plug-1".parse().unwrap();
        let topic = prefix.availability(&thing);
        assert!(prefix.is_availability(&topic));
        assert!(!prefix.is_availability(&"home/ha/switch/plug-1/relay/config".parse().unwrap()));
    }
}
