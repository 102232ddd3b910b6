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
        for text in
            ["@type", "title", "titles", "description", "descriptions", "version", "support"]
        {
            if let Some(value) = self.document.get(text) {
                served.insert(text.to_owned(), value.clone());
            }
        }
        served.insert(
            "securityDefinitions".to_owned(),
            json!({"mtls": {"scheme": "auto"}, "open": {"scheme": "nosec"}}),
        );
        served.insert("security".to_owned(), json!(["mtls"]));
        for kind in [AffordanceKind::Property, AffordanceKind::Action, AffordanceKind::Event] {
            let members = self.served_affordances(kind, &may);
            if !members.is_empty() {
                served.insert(kind.plural().to_owned(), Value::Object(members));
            }
        }
        Value::Object(served)
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
    if matches!(rule.operation, Operation::ObserveProperty | Operation::SubscribeEvent) {
        form["subprotocol"] = json!("sse");
    }
    if rule.need == Need::Open {
        form["security"] = json!(["open"]);
    }
    form
}
