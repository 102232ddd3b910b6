//! From JSON text to a checked description, with every fault and its path.

use super::affordance::{Action, Event, Property, Rights};
use super::security::{self, Schemes};
use super::services::{NetworkProtocol, NetworkService};
use super::{
    ACCESS, AffordanceKind, CONTEXT_IRI, HISTORY, INVITE, MAX_AFFORDANCES, MAX_DOCUMENT,
    MAX_ERRORS, MAX_NETWORK_SERVICES, MAX_SCHEMA_DEFINITIONS, MAX_SCHEMA_DEPTH, MAX_TEXT, NETWORK,
    RESET, TD_CONTEXT, ThingDescription, ThingError,
};
use crate::id::AffordanceName;
use crate::role::Role;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};

mod built_in;
mod forms;
mod schemas;
mod words;

/// Nesting of the whole document: the path to a schema, its nesting twice (`properties` is a level too), and a value in it.
const MAX_DOCUMENT_DEPTH: usize = 4 + 2 * MAX_SCHEMA_DEPTH + 8;

pub(super) fn parse(bytes: &[u8]) -> Result<ThingDescription, Vec<ThingError>> {
    let mut faults = Faults::default();
    if bytes.len() > MAX_DOCUMENT {
        faults.add("$", format!("has {} bytes, at most {MAX_DOCUMENT} are read", bytes.len()));
        return Err(faults.list);
    }
    let mut document = super::json::parse_strict(bytes, MAX_DOCUMENT_DEPTH).map_err(|problem| {
        faults.add("$", format!("is not JSON that can be read: {problem}"));
        std::mem::take(&mut faults.list)
    })?;
    let Some(root) = document.as_object_mut() else {
        faults.add("$", "a Thing Description is a JSON object");
        return Err(faults.list);
    };
    let own_terms = uses_own_terms(root);
    add_built_in(root, &mut faults);
    let named_schemas = BTreeSet::new();
    let mut reader =
        Reader { faults, schemas: 0, schemes: Schemes::default(), named_schemas, own_terms };
    let description = reader.thing(root);
    if !reader.faults.list.is_empty() {
        return Err(reader.faults.list);
    }
    let Parts { title, properties, actions, events, services } = description;
    Ok(ThingDescription { title, properties, actions, events, services, document })
}

/// The faults found so far.
#[derive(Default)]
pub(super) struct Faults {
    list: Vec<ThingError>,
}

impl Faults {
    pub(super) fn add(&mut self, path: impl Into<String>, problem: impl Into<String>) {
        if self.list.len() < MAX_ERRORS {
            self.list.push(ThingError { path: path.into(), problem: problem.into() });
        }
    }
}

fn add_built_in(root: &mut Map<String, Value>, faults: &mut Faults) {
    let built_in = [
        (AffordanceKind::Property, ACCESS, built_in::access()),
        (AffordanceKind::Property, HISTORY, built_in::history()),
        (AffordanceKind::Property, NETWORK, built_in::network()),
        (AffordanceKind::Action, INVITE, built_in::invite()),
        (AffordanceKind::Action, RESET, built_in::reset()),
    ];
    for (kind, name, affordance) in built_in {
        let members = root.entry(kind.plural()).or_insert_with(|| json!({}));
        let Some(members) = members.as_object_mut() else { continue };
        if members.contains_key(name) {
            faults.add(
                format!("$.{}.{name}", kind.plural()),
                "is built into every device: leave it out, or choose another name",
            );
        } else {
            members.insert(name.to_owned(), affordance);
        }
    }
}

struct Parts {
    title: String,
    properties: BTreeMap<AffordanceName, Property>,
    actions: BTreeMap<AffordanceName, Action>,
    events: BTreeMap<AffordanceName, Event>,
    services: Vec<NetworkService>,
}

struct Reader {
    faults: Faults,
    schemas: usize,
    schemes: Schemes,
    /// The names of the `schemaDefinitions`.
    named_schemas: BTreeSet<String>,
    /// Whether the file uses terms of ours, so that its context must say so.
    own_terms: bool,
}

impl Reader {
    fn thing(&mut self, root: &Map<String, Value>) -> Parts {
        self.context(root.get("@context"));
        own_terms(root, "$", &["countersign:networkServices"], &mut self.faults);
        let title = match root.get("title") {
            Some(Value::String(title)) if !title.is_empty() && title.len() <= MAX_TEXT => {
                title.clone()
            }
            _ => {
                self.faults.add("$.title", format!("a text of 1 to {MAX_TEXT} bytes is required"));
                String::new()
            }
        };
        self.thing_words(root);
        self.not_offered(root, "$");
        self.schemes = security::definitions(root, &mut self.faults);
        self.schema_definitions(root);
        self.thing_forms(root);
        Parts {
            title,
            properties: self.affordances(root, AffordanceKind::Property, Self::property),
            actions: self.affordances(root, AffordanceKind::Action, Self::action),
            events: self.affordances(root, AffordanceKind::Event, Self::event),
            services: self.services(root.get("countersign:networkServices")),
        }
    }

    /// What the standard has and the local API does not: a promise of it would be broken.
    fn not_offered(&mut self, member: &Map<String, Value>, path: &str) {
        if member.contains_key("uriVariables") {
            self.faults.add(
                step(path, "uriVariables"),
                "the local API takes no variables in its addresses: make them members of an action's input",
            );
        }
    }

    fn schema_definitions(&mut self, root: &Map<String, Value>) {
        let base = "$.schemaDefinitions";
        match root.get("schemaDefinitions") {
            None => {}
            Some(Value::Object(schemas)) if schemas.len() <= MAX_SCHEMA_DEFINITIONS => {
                for name in schemas.keys() {
                    self.sub_schema(schemas, name, base, 0);
                    self.named_schemas.insert(name.clone());
                }
            }
            Some(_) => self.faults.add(
                base,
                format!(
                    "must be an object of at most {MAX_SCHEMA_DEFINITIONS} data schemas by name"
                ),
            ),
        }
    }

    fn context(&mut self, context: Option<&Value>) {
        let entries = match context {
            Some(Value::Array(entries)) => entries.as_slice(),
            Some(one) => std::slice::from_ref(one),
            None => &[],
        };
        if entries.first().and_then(Value::as_str) != Some(TD_CONTEXT) {
            self.faults.add("$['@context']", format!("must begin with {TD_CONTEXT:?}"));
        }
        let ours = entries.iter().filter_map(|entry| entry.get("countersign")).next();
        let defined = ours.and_then(Value::as_str);
        if defined.is_some_and(|iri| iri != CONTEXT_IRI) || (self.own_terms && defined.is_none()) {
            let why = format!(
                "must define {{\"countersign\": {CONTEXT_IRI:?}}} where its terms are used"
            );
            self.faults.add("$['@context']", why);
        }
    }

    fn affordances<T>(
        &mut self,
        root: &Map<String, Value>,
        kind: AffordanceKind,
        read: fn(&mut Self, &Map<String, Value>, &str) -> T,
    ) -> BTreeMap<AffordanceName, T> {
        let base = format!("$.{}", kind.plural());
        let mut all = BTreeMap::new();
        let members = match root.get(kind.plural()) {
            None => return all,
            Some(Value::Object(members)) => members,
            Some(_) => {
                self.faults.add(base, "must be an object of affordances by name");
                return all;
            }
        };
        if members.len() > MAX_AFFORDANCES {
            self.faults.add(
                base,
                format!("has {} members, at most {MAX_AFFORDANCES} are allowed", members.len()),
            );
            return all;
        }
        for (name, member) in members {
            let path = step(&base, name);
            match (name.parse::<AffordanceName>(), member) {
                (Err(error), _) => self.faults.add(path, error.to_string()),
                (_, Value::Object(member)) => {
                    let affordance = read(self, member, &path);
                    if let Ok(name) = name.parse() {
                        all.insert(name, affordance);
                    }
                }
                _ => self.faults.add(path, "must be an object"),
            }
        }
        all
    }

    fn property(&mut self, member: &Map<String, Value>, path: &str) -> Property {
        let schema = self.schema(member, path, 0);
        if schema.read_only && schema.write_only {
            self.faults.add(
                format!("{path}.readOnly"),
                "nobody could use a property that is readOnly and writeOnly",
            );
        }
        let observable = self.flag(member, "observable", path);
        if observable && schema.write_only {
            self.faults
                .add(format!("{path}.observable"), "a writeOnly property cannot be observed");
        }
        let rights = self.rights(member, path, AffordanceKind::Property, !schema.read_only);
        Property { schema, rights, observable }
    }

    fn action(&mut self, member: &Map<String, Value>, path: &str) -> Action {
        self.words(member, path);
        self.flag(member, "safe", path);
        self.flag(member, "idempotent", path);
        if member.get("synchronous").is_some_and(|value| *value != Value::Bool(true)) {
            self.faults.add(
                format!("{path}.synchronous"),
                "the local API answers an action when it is done: true, or left out",
            );
        }
        let input = self.sub_schema(member, "input", path, 0);
        let output = self.sub_schema(member, "output", path, 0);
        Action { input, output, rights: self.rights(member, path, AffordanceKind::Action, true) }
    }

    fn event(&mut self, member: &Map<String, Value>, path: &str) -> Event {
        self.words(member, path);
        for name in ["subscription", "dataResponse", "cancellation"] {
            if member.contains_key(name) {
                self.faults.add(
                    step(path, name),
                    "nothing travels with a subscription to a stream of events: take it out",
                );
            }
        }
        let data = self.sub_schema(member, "data", path, 0);
        Event { data, rights: self.rights(member, path, AffordanceKind::Event, false) }
    }

    fn rights(
        &mut self,
        member: &Map<String, Value>,
        path: &str,
        kind: AffordanceKind,
        changeable: bool,
    ) -> Rights {
        own_terms(
            member,
            path,
            &["countersign:role", "countersign:securityRelevant"],
            &mut self.faults,
        );
        let security_relevant = self.flag(member, "countersign:securityRelevant", path);
        self.not_offered(member, path);
        let open = self.opened_by_forms(member, kind, path);
        if open && (changeable || security_relevant) {
            let why = match (kind, security_relevant) {
                (AffordanceKind::Action, _) => "an action",
                (_, true) => "what is security-relevant",
                (_, false) => "a property that can be written",
            };
            self.faults.add(path, format!("{why} must not be nosec: open data is only ever read (give it the mutual TLS security, or make it readOnly)"));
        }
        let (read, change) = self.roles(member, path, security_relevant);
        if security_relevant && changeable && change < Role::Owner {
            self.faults.add(
                step(path, "countersign:role"),
                "a change of what is security-relevant asks for the role owner",
            );
        }
        Rights { open, security_relevant, read, change }
    }

    /// The least roles for reading and for changing.
    fn roles(&mut self, member: &Map<String, Value>, path: &str, relevant: bool) -> (Role, Role) {
        let (read, change) =
            if relevant { (Role::Owner, Role::Owner) } else { (Role::Viewer, Role::Member) };
        let path = step(path, "countersign:role");
        match member.get("countersign:role") {
            None => (read, change),
            Some(Value::Object(by_use)) => {
                let mut roles = (read, change);
                for (use_, value) in by_use {
                    match use_.as_str() {
                        "read" => roles.0 = self.role(value, &step(&path, use_)),
                        "write" | "invoke" => roles.1 = self.role(value, &step(&path, use_)),
                        _ => self.faults.add(step(&path, use_), "is none of read, write, invoke"),
                    }
                }
                roles
            }
            Some(value) => {
                let role = self.role(value, &path);
                (role, role)
            }
        }
    }

    fn role(&mut self, value: &Value, path: &str) -> Role {
        value.as_str().and_then(|text| text.parse().ok()).unwrap_or_else(|| {
            self.faults.add(path, "must be viewer, member or owner");
            Role::Owner
        })
    }

    fn services(&mut self, value: Option<&Value>) -> Vec<NetworkService> {
        let base = "$['countersign:networkServices']";
        let list = match value {
            None => return Vec::new(),
            Some(Value::Array(list)) if list.len() <= MAX_NETWORK_SERVICES => list,
            Some(_) => {
                self.faults.add(
                    base,
                    format!("must be a list of at most {MAX_NETWORK_SERVICES} services"),
                );
                return Vec::new();
            }
        };
        let mut services = Vec::new();
        for (index, entry) in list.iter().enumerate() {
            let path = format!("{base}[{index}]");
            let word = entry.get("protocol").and_then(Value::as_str).unwrap_or_default();
            let protocol = NetworkProtocol::ALL.into_iter().find(|one| one.as_str() == word);
            let Some(protocol) = protocol else {
                self.faults.add(format!("{path}.protocol"), "must be one of ARP, DHCP, DNS, ICMP, NTP, mDNS: nothing else goes without authentication");
                continue;
            };
            let reason = entry.get("reason").and_then(Value::as_str).unwrap_or_default();
            if reason.trim().is_empty() || reason.len() > MAX_TEXT {
                self.faults.add(
                    format!("{path}.reason"),
                    "say why the device needs it; the test lab reads this",
                );
            }
            if services.iter().any(|one: &NetworkService| one.protocol == protocol) {
                self.faults.add(format!("{path}.protocol"), "is declared twice");
            }
            services.push(NetworkService { protocol, reason: reason.to_owned() });
        }
        services
    }

    fn flag(&mut self, member: &Map<String, Value>, name: &str, path: &str) -> bool {
        match member.get(name) {
            None => false,
            Some(Value::Bool(flag)) => *flag,
            Some(_) => {
                self.faults.add(step(path, name), "must be true or false");
                // The careful reading of a broken flag: security-relevant, read-only.
                true
            }
        }
    }
}

/// Whether any term of ours stands in the file; the document's depth is bounded already.
fn uses_own_terms(members: &Map<String, Value>) -> bool {
    members.iter().any(|(name, value)| {
        let inside = match value {
            Value::Object(members) => uses_own_terms(members),
            Value::Array(list) => list.iter().filter_map(Value::as_object).any(uses_own_terms),
            Value::String(text) => name == "scheme" && text.starts_with("countersign:"),
            _ => false,
        };
        inside || name.starts_with("countersign:")
    })
}

/// A word in our namespace that we do not know is a mistake that could open a door: `countersign:securityRelevent`.
fn own_terms(member: &Map<String, Value>, path: &str, known: &[&str], faults: &mut Faults) {
    for name in member.keys() {
        if name.starts_with("countersign:") && !known.contains(&name.as_str()) {
            faults
                .add(step(path, name), format!("is no term here; known are {}", known.join(", ")));
        }
    }
}

/// `path` and one member more, in JSONPath's notation (RFC 9535).
pub(super) fn step(path: &str, name: &str) -> String {
    let plain = |text: &str| {
        !text.is_empty()
            && !text.starts_with(|c: char| c.is_ascii_digit())
            && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    };
    if plain(name) {
        format!("{path}.{name}")
    } else {
        format!("{path}['{}']", name.escape_debug())
    }
}
