//! Forms. The device makes its own, with its own addresses; those in a maker's file are checked, because they say who
//! may use what, and must not promise what the local API does not do.

use super::super::format::is_uri_reference;
use super::super::{AffordanceKind, MAX_FORMS, MAX_RESPONSES, MAX_TEXT, Operation};
use super::{Reader, step};
use serde_json::{Map, Value};

/// The operations on the thing as a whole that the local API offers, and those that it does not.
const OF_THING: [(&str, bool); 9] = [
    ("readallproperties", true),
    ("observeallproperties", true),
    ("unobserveallproperties", true),
    ("subscribeallevents", true),
    ("unsubscribeallevents", true),
    ("writeallproperties", false),
    ("readmultipleproperties", false),
    ("writemultipleproperties", false),
    ("queryallactions", false),
];

/// What ends an observation or subscription; the client closes the stream and needs no permission for it.
const ENDINGS: [(&str, AffordanceKind); 2] =
    [("unobserveproperty", AffordanceKind::Property), ("unsubscribeevent", AffordanceKind::Event)];

/// Operations that are told by streams.
const STREAMED: [&str; 8] = [
    "observeproperty",
    "unobserveproperty",
    "subscribeevent",
    "unsubscribeevent",
    "observeallproperties",
    "unobserveallproperties",
    "subscribeallevents",
    "unsubscribeallevents",
];

impl Reader {
    //= specs/house.md#house-gate
    //# An action, a writable property or a security-relevant affordance without authentication MUST refuse to start.
    /// Checks an affordance's forms and tells whether any of them opens it to everybody.
    pub(super) fn opened_by_forms(
        &mut self,
        member: &Map<String, Value>,
        kind: AffordanceKind,
        path: &str,
    ) -> bool {
        let base = step(path, "forms");
        let Some(forms) = self.list_of_forms(member, &base) else {
            // A file from the maker may leave the forms to the device, which knows its own addresses.
            let left_out = !member.contains_key("forms");
            return left_out && self.schemes.open_by_default && !is_built_in(member);
        };
        let mut open = false;
        for (index, form) in forms.iter().enumerate() {
            let path = format!("{base}[{index}]");
            open |= self.form(form, &path);
            for word in operations(form) {
                let known = Operation::ALL.map(|op| (op.as_str(), op.kind()));
                let fits =
                    known.iter().chain(&ENDINGS).any(|(name, of)| word == name && *of == kind);
                if !fits {
                    self.faults.add(
                        format!("{path}.op"),
                        format!("{word} is not done to {}", kind.plural()),
                    );
                }
            }
        }
        open
    }

    /// The forms of the thing as a whole. They open nothing: each property is judged by itself.
    pub(super) fn thing_forms(&mut self, root: &Map<String, Value>) {
        let Some(forms) = self.list_of_forms(root, "$.forms") else { return };
        for (index, form) in forms.iter().enumerate() {
            let path = format!("$.forms[{index}]");
            self.form(form, &path);
            if form.get("op").is_none() {
                self.faults.add(format!("{path}.op"), "is required in the forms of a thing");
            }
            for word in operations(form) {
                let why = match OF_THING.iter().find(|(name, _)| word == name) {
                    Some((_, true)) => continue,
                    Some((_, false)) => "is not offered by the local API: take it out",
                    None => "is not done to a thing as a whole",
                };
                self.faults.add(format!("{path}.op"), format!("{word} {why}"));
            }
        }
    }

    fn list_of_forms<'a>(
        &mut self,
        member: &'a Map<String, Value>,
        base: &str,
    ) -> Option<&'a [Value]> {
        match member.get("forms")? {
            Value::Array(forms) if !forms.is_empty() && forms.len() <= MAX_FORMS => Some(forms),
            _ => {
                self.faults
                    .add(base, format!("must be a list of 1 to {MAX_FORMS} forms, or left out"));
                None
            }
        }
    }

    /// What all forms have in common; whether it opens its affordance to everybody.
    fn form(&mut self, form: &Value, path: &str) -> bool {
        let Some(form) = form.as_object() else {
            self.faults.add(path, "must be an object with an href");
            return false;
        };
        let href = form.get("href").and_then(Value::as_str).unwrap_or_default();
        if href.is_empty() || href.len() > MAX_TEXT || !is_uri_reference(href) {
            self.faults.add(format!("{path}.href"), "a form needs an address (RFC 3986)");
        }
        if let Some(method) = form.get("htv:methodName")
            && !matches!(method.as_str(), Some("GET" | "PUT" | "POST"))
        {
            self.faults.add(step(path, "htv:methodName"), "must be GET, PUT or POST");
        }
        self.content_type(form, path);
        for (name, why) in [
            ("contentCoding", "the local API codes nothing: take it out"),
            (
                "scopes",
                "are of OAuth, which a device does not offer: roles are said by countersign:role",
            ),
        ] {
            if form.contains_key(name) {
                self.faults.add(step(path, name), why);
            }
        }
        let words: Vec<&Value> = operations_of(form.get("op")).iter().collect();
        if let Some(subprotocol) = form.get("subprotocol")
            && (subprotocol != "sse"
                || !words.iter().all(|word| STREAMED.iter().any(|one| *word == one)))
        {
            self.faults.add(
                step(path, "subprotocol"),
                "must be \"sse\", on a form for observing or subscribing: the local API has no other",
            );
        }
        self.responses(form, path);
        match form.get("security") {
            Some(security) => {
                self.schemes.open(security, &format!("{path}.security"), &mut self.faults)
            }
            None => self.schemes.open_by_default,
        }
    }

    fn content_type(&mut self, form: &Map<String, Value>, path: &str) {
        if let Some(kind) = form.get("contentType")
            && !matches!(kind.as_str(), Some("application/json" | "text/event-stream"))
        {
            self.faults.add(
                step(path, "contentType"),
                "must be application/json, which the local API speaks",
            );
        }
    }

    fn responses(&mut self, form: &Map<String, Value>, path: &str) {
        if let Some(response) = form.get("response") {
            match response.as_object() {
                Some(response) if response.contains_key("contentType") => {
                    self.content_type(response, &format!("{path}.response"));
                }
                _ => self
                    .faults
                    .add(format!("{path}.response"), "must be an object with a contentType"),
            }
        }
        let additional = match form.get("additionalResponses") {
            None => return,
            Some(Value::Array(list)) if list.len() <= MAX_RESPONSES => list.as_slice(),
            Some(one @ Value::Object(_)) => std::slice::from_ref(one),
            Some(_) => &[Value::Null],
        };
        for (index, response) in additional.iter().enumerate() {
            let path = format!("{path}.additionalResponses[{index}]");
            let Some(response) = response.as_object() else {
                self.faults.add(path, format!("must be one of at most {MAX_RESPONSES} objects"));
                continue;
            };
            self.flag(response, "success", &path);
            self.text(response, "contentType", &path);
            if let Some(name) = self.text(response, "schema", &path)
                && !self.named_schemas.contains(&name)
            {
                self.faults.add(
                    format!("{path}.schema"),
                    format!("{name:?} is not among the schemaDefinitions"),
                );
            }
        }
    }
}

fn operations(form: &Value) -> &[Value] {
    operations_of(form.get("op"))
}

fn operations_of(op: Option<&Value>) -> &[Value] {
    match op {
        None => &[],
        Some(Value::Array(words)) => words,
        Some(word) => std::slice::from_ref(word),
    }
}

/// The built-in affordances are security-relevant and never open, whatever the description says in general.
fn is_built_in(member: &Map<String, Value>) -> bool {
    let forms = !member.contains_key("forms");
    forms && member.get("countersign:securityRelevant") == Some(&Value::Bool(true))
}
