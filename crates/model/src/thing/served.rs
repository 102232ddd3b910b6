//! The description as one subject sees it: what it may not use is not there.

use super::{AffordanceKind, CONTEXT_IRI, Need, Operation, Rule, TD_CONTEXT, ThingDescription};
use crate::id::{AffordanceName, ThingId};
use serde_json::{Map, Value, json};

/// The path of an affordance in the local API: `/properties/power`.
#[must_use]
pub fn href(kind: AffordanceKind, name: &AffordanceName) -> String {
    format!("/{}/{name}", kind.plural())
}

impl ThingDescription {
    /// The description for a subject, with the forms of the local API at `base` (such as `https://plug-000001.local:8443`).
    ///
    /// `may` tells for each rule whether the subject may use it. Operations that it may not use are left out, and an
    /// affordance with none left is left out whole, so that nobody learns of what is not theirs. The roles are left out
    /// too: they are the business of the device.
    #[must_use]
    pub fn served(&self, thing: &ThingId, base: &str, may: impl Fn(&Rule<'_>) -> bool) -> Value {
        let mut served = Map::new();
        served.insert("@context".to_owned(), json!([TD_CONTEXT, {"countersign": CONTEXT_IRI}]));
        served.insert("id".to_owned(), json!(format!("urn:countersign:thing:{thing}")));
        served.insert("base".to_owned(), json!(base));
        for text in [
            "@type",
            "title",
            "titles",
            "description",
            "descriptions",
            "version",
            "created",
            "modified",
            "support",
            "links",
        ] {
            if let Some(value) = self.document.get(text) {
                served.insert(text.to_owned(), value.clone());
            }
        }
        served.insert(
            "securityDefinitions".to_owned(),
            json!({"mtls": {"scheme": "auto"}, "open": {"scheme": "nosec"}}),
        );
        served.insert("security".to_owned(), json!(["mtls"]));
        let forms = self.thing_forms(&may);
        if !forms.is_empty() {
            served.insert("forms".to_owned(), Value::Array(forms));
        }
        for kind in [AffordanceKind::Property, AffordanceKind::Action, AffordanceKind::Event] {
            let members = self.served_affordances(kind, &may);
            if !members.is_empty() {
                served.insert(kind.plural().to_owned(), Value::Object(members));
            }
        }
        Value::Object(served)
    }

    /// The forms for everything at once that the subject may use.
    fn thing_forms(&self, may: &impl Fn(&Rule<'_>) -> bool) -> Vec<Value> {
        let any = |operation| self.rules().any(|rule| rule.operation == operation && may(&rule));
        let mut forms = Vec::new();
        if any(Operation::ReadProperty) {
            forms.push(json!({
                "href": "/properties", "op": "readallproperties",
                "htv:methodName": "GET", "contentType": "application/json",
            }));
        }
        for (operation, href, begin, end) in [
            (
                Operation::ObserveProperty,
                "/properties",
                "observeallproperties",
                "unobserveallproperties",
            ),
            (Operation::SubscribeEvent, "/events", "subscribeallevents", "unsubscribeallevents"),
        ] {
            if any(operation) {
                forms.push(json!({
                    "href": href, "op": [begin, end],
                    "htv:methodName": "GET", "contentType": "text/event-stream", "subprotocol": "sse",
                }));
            }
        }
        forms
    }

    fn served_affordances(
        &self,
        kind: AffordanceKind,
        may: &impl Fn(&Rule<'_>) -> bool,
    ) -> Map<String, Value> {
        let mut members = Map::new();
        let source = self.document.get(kind.plural()).and_then(Value::as_object);
        for (name, affordance) in source.into_iter().flatten() {
            let forms: Vec<Value> = Operation::ALL
                .into_iter()
                .filter(|operation| operation.kind() == kind)
                .filter_map(|operation| self.rule(operation, name))
                .filter(|rule| may(rule))
                .map(|rule| form(&rule))
                .collect();
            let Some(mut member) = affordance.as_object().cloned() else { continue };
            if forms.is_empty() {
                continue;
            }
            member.remove("countersign:role");
            if kind == AffordanceKind::Property && !has(&forms, Operation::WriteProperty) {
                member.insert("readOnly".to_owned(), json!(true));
            }
            member.insert("forms".to_owned(), Value::Array(forms));
            members.insert(name.clone(), Value::Object(member));
        }
        members
    }
}

fn has(forms: &[Value], operation: Operation) -> bool {
    forms.iter().any(|form| form.get("op") == Some(&json!(operation.as_str())))
}

fn form(rule: &Rule<'_>) -> Value {
    let method = match rule.operation {
        Operation::WriteProperty => "PUT",
        Operation::InvokeAction => "POST",
        Operation::ReadProperty | Operation::ObserveProperty | Operation::SubscribeEvent => "GET",
    };
    let mut form = json!({
        "href": href(rule.operation.kind(), rule.name),
        "op": rule.operation.as_str(),
        "htv:methodName": method,
        "contentType": "application/json",
    });
    let ending = match rule.operation {
        Operation::ObserveProperty => Some("unobserveproperty"),
        Operation::SubscribeEvent => Some("unsubscribeevent"),
        _ => None,
    };
    if let Some(ending) = ending {
        form["op"] = json!([rule.operation.as_str(), ending]);
        form["contentType"] = json!("text/event-stream");
        form["subprotocol"] = json!("sse");
    }
    if rule.need == Need::Open {
        form["security"] = json!(["open"]);
    }
    form
}
