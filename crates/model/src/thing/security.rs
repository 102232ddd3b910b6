//! Security definitions: mutual TLS, or nothing at all for open data, and combinations of the two.

use super::MAX_SECURITY_DEFINITIONS;
use super::parse::{Faults, step};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// The scheme names that mean our mutual TLS: the standard's `auto` (the protocol brings its own), and our own term.
const MUTUAL_TLS: [&str; 2] = ["auto", "countersign:MutualTls"];
/// The scheme of open data.
const NOSEC: &str = "nosec";
/// The scheme that is made of others.
const COMBO: &str = "combo";

/// For each definition whether it lets everybody in, and what holds when a form says nothing.
#[derive(Default)]
pub(super) struct Schemes {
    open: BTreeMap<String, bool>,
    pub(super) open_by_default: bool,
}

pub(super) fn definitions(root: &Map<String, Value>, faults: &mut Faults) -> Schemes {
    let mut schemes = Schemes::default();
    let base = "$.securityDefinitions";
    match root.get("securityDefinitions") {
        Some(Value::Object(definitions))
            if !definitions.is_empty() && definitions.len() <= MAX_SECURITY_DEFINITIONS =>
        {
            for (name, definition) in definitions {
                let scheme = definition.get("scheme").and_then(Value::as_str).unwrap_or_default();
                if scheme != NOSEC && scheme != COMBO && !MUTUAL_TLS.contains(&scheme) {
                    faults.add(
                        format!("{}.scheme", step(base, name)),
                        "must be \"auto\" (mutual TLS with the home's certificates), \"nosec\" (open data), or \"combo\" of these: a device offers nothing else",
                    );
                }
                if scheme != COMBO {
                    schemes.open.insert(name.clone(), scheme == NOSEC);
                }
            }
            combinations(definitions, &mut schemes, faults);
        }
        _ => faults.add(
            base,
            format!("1 to {MAX_SECURITY_DEFINITIONS} definitions are required, such as {{\"mtls\": {{\"scheme\": \"auto\"}}}}"),
        ),
    }
    match root.get("security") {
        Some(security) => schemes.open_by_default = schemes.open(security, "$.security", faults),
        None => faults.add("$.security", "is required: name one of the securityDefinitions"),
    }
    schemes
}

/// Settles what is made of others, innermost first; what is made of itself never settles.
fn combinations(definitions: &Map<String, Value>, schemes: &mut Schemes, faults: &mut Faults) {
    let mut waiting: Vec<(&String, &Value)> = definitions
        .iter()
        .filter(|(_, one)| one.get("scheme").and_then(Value::as_str) == Some(COMBO))
        .collect();
    loop {
        let before = waiting.len();
        waiting.retain(|(name, definition)| match combination(definition, &schemes.open) {
            Some(open) => {
                schemes.open.insert((*name).clone(), open);
                false
            }
            None => true,
        });
        if waiting.len() == before {
            break;
        }
    }
    for (name, _) in waiting {
        faults.add(
            step("$.securityDefinitions", name),
            "a combo names, in either oneOf or allOf, two or more other securityDefinitions",
        );
        // The careful reading: it asks for something.
        schemes.open.insert(name.clone(), false);
    }
}

/// Whether a combination lets everybody in: all of it must, or one of it. None where it cannot be told.
fn combination(definition: &Value, known: &BTreeMap<String, bool>) -> Option<bool> {
    let list = |word: &str| definition.get(word).and_then(Value::as_array);
    let (names, one_is_enough) = match (list("oneOf"), list("allOf")) {
        (Some(names), None) => (names, true),
        (None, Some(names)) => (names, false),
        _ => return None,
    };
    if names.len() < 2 {
        return None;
    }
    let open: Option<Vec<bool>> =
        names.iter().map(|name| known.get(name.as_str()?).copied()).collect();
    open.map(|open| if one_is_enough { open.contains(&true) } else { !open.contains(&false) })
}

impl Schemes {
    //= specs/en-303-645.md#5.5-4
    //# Open data MAY be read without authentication where the description declares it.
    /// Whether a `security` value means open data; names that are not defined are faults.
    pub(super) fn open(&self, security: &Value, path: &str, faults: &mut Faults) -> bool {
        let names = match security {
            Value::String(name) => vec![name.as_str()],
            Value::Array(names) => names.iter().filter_map(Value::as_str).collect(),
            _ => Vec::new(),
        };
        if names.is_empty() {
            faults.add(path, "must name one of the securityDefinitions");
        }
        for name in &names {
            if !self.open.contains_key(*name) {
                faults.add(path, format!("{name:?} is not among the securityDefinitions"));
            }
        }
        // Several names mean that all of them are asked for, so one that asks for something closes the door.
        !names.is_empty() && names.iter().all(|name| self.open.get(*name) == Some(&true))
    }
}
