//! Security definitions: mutual TLS, or nothing at all for open data.

use super::parse::{Faults, step};
use super::{AffordanceKind, MAX_FORMS, MAX_SECURITY_DEFINITIONS, Operation};
use serde_json::{Map, Value};
use std::collections::BTreeSet;

/// The scheme names that mean our mutual TLS: the standard's `auto` (the protocol brings its own), and our own term.
const MUTUAL_TLS: [&str; 2] = ["auto", "countersign:MutualTls"];
/// The scheme of open data.
const NOSEC: &str = "nosec";

/// The names of the definitions, and what holds when a form says nothing.
#[derive(Default)]
pub(super) struct Schemes {
    known: BTreeSet<String>,
    open: BTreeSet<String>,
    open_by_default: bool,
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
                if scheme == NOSEC {
                    schemes.open.insert(name.clone());
                } else if !MUTUAL_TLS.contains(&scheme) {
                    faults.add(
                        format!("{}.scheme", step(base, name)),
                        "must be \"auto\" (mutual TLS with the home's certificates) or \"nosec\" (open data): a device offers nothing else",
                    );
                }
                schemes.known.insert(name.clone());
            }
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

impl Schemes {
    //= specs/en-303-645.md#5.5-4
    //# Open data MAY be read without authentication where the description declares it.
    /// Whether a `security` value means open data; names that are not defined are faults.
    fn open(&self, security: &Value, path: &str, faults: &mut Faults) -> bool {
        let names = match security {
            Value::String(name) => vec![name.as_str()],
            Value::Array(names) => names.iter().filter_map(Value::as_str).collect(),
            _ => Vec::new(),
        };
        if names.is_empty() {
            faults.add(path, "must name one of the securityDefinitions");
        }
        for name in &names {
            if !self.known.contains(*name) {
                faults.add(path, format!("{name:?} is not among the securityDefinitions"));
            }
        }
        // Several names mean that all of them are asked for, so one that asks for something closes the door.
        !names.is_empty() && names.iter().all(|name| self.open.contains(*name))
    }

    //= specs/house.md#house-gate
    //# An action, a writable property or a security-relevant affordance without authentication MUST refuse to start.
    /// Checks an affordance's forms and tells whether any of them opens it to everybody.
    pub(super) fn opened_by_forms(
        &self,
        member: &Map<String, Value>,
        kind: AffordanceKind,
        path: &str,
        faults: &mut Faults,
    ) -> bool {
        let base = step(path, "forms");
        let forms = match member.get("forms") {
            // A file from the maker may leave the forms to the device, which knows its own addresses.
            None => return self.open_by_default && !is_built_in(member),
            Some(Value::Array(forms)) if !forms.is_empty() && forms.len() <= MAX_FORMS => forms,
            Some(_) => {
                faults.add(base, format!("must be a list of 1 to {MAX_FORMS} forms, or left out"));
                return false;
            }
        };
        let mut open = false;
        for (index, form) in forms.iter().enumerate() {
            let path = format!("{base}[{index}]");
            let href = form.get("href").and_then(Value::as_str).unwrap_or_default();
            if href.is_empty() || href.len() > 256 {
                faults.add(format!("{path}.href"), "a form needs an address of 1 to 256 bytes");
            }
            operations(form, kind, &path, faults);
            if let Some(method) = form.get("htv:methodName")
                && !matches!(method.as_str(), Some("GET" | "PUT" | "POST"))
            {
                faults.add(step(&path, "htv:methodName"), "must be GET, PUT or POST");
            }
            open |= match form.get("security") {
                Some(security) => self.open(security, &format!("{path}.security"), faults),
                None => self.open_by_default,
            };
        }
        open
    }
}

fn operations(form: &Value, kind: AffordanceKind, path: &str, faults: &mut Faults) {
    /// What ends an observation or subscription needs no permission of its own.
    const ENDINGS: [(&str, AffordanceKind); 2] = [
        ("unobserveproperty", AffordanceKind::Property),
        ("unsubscribeevent", AffordanceKind::Event),
    ];
    let words = match form.get("op") {
        None => return,
        Some(Value::Array(words)) => words.as_slice(),
        Some(word) => std::slice::from_ref(word),
    };
    for word in words {
        let known = Operation::ALL.map(|op| (op.as_str(), op.kind()));
        let fits = known.iter().chain(&ENDINGS).any(|(name, of)| word == name && *of == kind);
        if !fits {
            faults.add(format!("{path}.op"), format!("{word} is not done to {}", kind.plural()));
        }
    }
}

/// The built-in affordances are security-relevant and never open, whatever the description says in general.
fn is_built_in(member: &Map<String, Value>) -> bool {
    let forms = !member.contains_key("forms");
    forms && member.get("countersign:securityRelevant") == Some(&Value::Bool(true))
}
