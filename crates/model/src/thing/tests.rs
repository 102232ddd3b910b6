use super::*;
use crate::role::Role;
use serde_json::json;

const PLUG: &[u8] = include_bytes!("../../tests/things/plug.td.json");

fn plug() -> ThingDescription {
    ThingDescription::parse(PLUG).unwrap()
}

/// The plug with one place changed, and the errors that this makes.
fn errors_of(pointer: &str, value: Value) -> Vec<String> {
    let mut document: Value = serde_json::from_slice(PLUG).unwrap();
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    document.pointer_mut(parent).unwrap()[name] = value;
    match ThingDescription::parse(&serde_json::to_vec(&document).unwrap()) {
        Ok(_) => Vec::new(),
        Err(errors) => errors.iter().map(ToString::to_string).collect(),
    }
}

#[test]
fn the_plug_has_these_rules() {
    let table: Vec<String> = plug()
        .rules()
        .map(|rule| {
            let relevant = if rule.security_relevant { " security-relevant" } else { "" };
            format!("{} {}: {:?}{relevant}", rule.operation.as_str(), rule.name, rule.need)
        })
        .collect();
    assert_eq!(
        table,
        [
            "readproperty access: Role(Owner) security-relevant",
            "readproperty ledBrightness: Role(Viewer)",
            "readproperty model: Open",
            "readproperty power: Role(Viewer)",
            "readproperty powerLimit: Role(Viewer)",
            "readproperty relay: Role(Viewer)",
            "observeproperty power: Role(Viewer)",
            "observeproperty relay: Role(Viewer)",
            "writeproperty access: Role(Owner) security-relevant",
            "writeproperty ledBrightness: Role(Member)",
            "writeproperty powerLimit: Role(Owner)",
            "writeproperty relay: Role(Member)",
            "invokeaction reset: Role(Owner) security-relevant",
            "invokeaction setRelay: Role(Member)",
            "invokeaction toggle: Role(Member)",
            "subscribeevent overload: Role(Viewer)",
        ]
    );
}

#[test]
fn every_fault_is_named_by_its_path() {
    let cases = [
        ("/properties/power/minimum", json!("low"), "$.properties.power.minimum: must be a number"),
        (
            "/properties/power/minimum",
            json!(4000),
            "$.properties.power.minimum: 4000 is above the maximum 3680",
        ),
        ("/properties/relay/minimum", json!(1), "$.properties.relay.minimum: says something only"),
        ("/properties/power/type", json!("float"), "$.properties.power.type: must be boolean"),
        ("/properties/a b", json!({"type": "null"}), "$.properties['a b']: a name holds only"),
        ("/properties/access", json!({"type": "null"}), "$.properties.access: is built into"),
        (
            "/actions/toggle/countersign:role",
            json!("root"),
            "$.actions.toggle['countersign:role']: must be viewer",
        ),
        (
            "/actions/toggle/countersign:securityRelevent",
            json!(true),
            "$.actions.toggle['countersign:securityRelevent']: is no term",
        ),
        ("/actions/toggle/forms", json!([]), "$.actions.toggle.forms: must be a list"),
        (
            "/actions/toggle/forms",
            json!([{"href": "/x", "op": "readproperty"}]),
            "$.actions.toggle.forms[0].op: \"readproperty\" is not done to actions",
        ),
        (
            "/actions/setRelay/input/required",
            json!(["off"]),
            "$.actions.setRelay.input.required[0]: must name one",
        ),
        ("/properties/model/pattern", json!(".*"), "$.properties.model.pattern: is not checked"),
        (
            "/securityDefinitions/basic",
            json!({"scheme": "basic"}),
            "$.securityDefinitions.basic.scheme: must be",
        ),
        ("/security", json!("none"), "$.security: \"none\" is not among"),
        ("/title", json!(""), "$.title: a text"),
        ("/@context", json!("https://www.w3.org/2019/wot/td/v1"), "$['@context']: must begin"),
        (
            "/countersign:networkServices/0",
            json!({"protocol": "Telnet", "reason": "x"}),
            "$['countersign:networkServices'][0].protocol: must be one of",
        ),
        (
            "/countersign:networkServices/0",
            json!({"protocol": "ARP"}),
            "$['countersign:networkServices'][0].reason: say why",
        ),
    ];
    for (pointer, value, expected) in cases {
        let errors = if pointer == "/countersign:networkServices/0" {
            errors_of("/countersign:networkServices", json!([value]))
        } else {
            errors_of(pointer, value)
        };
        assert!(errors.iter().any(|error| error.starts_with(expected)), "{expected}\n{errors:#?}");
    }
}

//= specs/en-303-645.md#5.5-4
//= type=test
//# Open data MAY be read without authentication where the description declares it.
//= specs/house.md#house-gate
//= type=test
//# An action, a writable property or a security-relevant affordance without authentication MUST refuse to start.
#[test]
fn open_data_is_only_ever_read() {
    let open = |op: &str| json!([{"href": "/x", "op": op, "security": "open"}]);
    for (pointer, forms) in [
        ("/actions/toggle/forms", open("invokeaction")),
        ("/properties/relay/forms", open("readproperty")),
        ("/properties/ledBrightness/forms", open("writeproperty")),
    ] {
        let errors = errors_of(pointer, forms);
        assert!(errors.iter().any(|error| error.contains("must not be nosec")), "{errors:?}");
    }
    let errors = errors_of(
        "/properties/model",
        json!({"type": "string", "readOnly": true, "countersign:securityRelevant": true,
               "forms": open("readproperty")}),
    );
    assert!(errors.iter().any(|error| error.contains("must not be nosec")), "{errors:?}");
    // The whole thing declared open: everything that changes something is a fault, the built-in parts are not.
    let errors = errors_of("/security", json!("open"));
    assert!(errors.iter().any(|error| error.starts_with("$.actions.toggle:")), "{errors:?}");
    assert!(!errors.iter().any(|error| error.contains("access") || error.contains("reset")));
}

#[test]
fn a_security_relevant_change_asks_for_the_owner() {
    let member = json!({"type": "string", "countersign:securityRelevant": true, "countersign:role": "member"});
    let errors = errors_of("/properties/networkKey", member);
    assert!(errors[0].contains("asks for the role owner"), "{errors:?}");
}

#[test]
fn values_are_checked() {
    let td = plug();
    let power = td.property("power").unwrap().schema();
    for good in [json!(0), json!(12.5), json!(3680)] {
        assert_eq!(power.validate(&good), Ok(()));
    }
    for bad in [json!(-1), json!(3681), json!("12"), json!(null)] {
        assert!(power.validate(&bad).is_err(), "{bad}");
    }
    let brightness = td.property("ledBrightness").unwrap().schema();
    assert!(brightness.validate(&json!(50.0)).is_ok() && brightness.validate(&json!(0.5)).is_err());
    let input = td.action("setRelay").unwrap().input().unwrap();
    assert_eq!(input.validate(&json!({"on": true})), Ok(()));
    assert_eq!(
        input.validate(&json!({"on": 1})).unwrap_err().to_string(),
        "$.on: is not of type boolean"
    );
    assert_eq!(input.validate(&json!({})).unwrap_err().path, "$");
    assert!(input.validate(&json!({"on": true, "by": "me"})).is_err());
    let access = td.property(ACCESS).unwrap().schema();
    assert!(access.validate(&json!([{"person": "ada", "role": "owner"}])).is_ok());
    assert_eq!(
        access.validate(&json!([{"person": "ada", "role": "god"}])).unwrap_err().path,
        "$[0].role"
    );
    assert!(access.validate(&json!([])).is_err());
}

#[test]
fn alternatives_and_steps() {
    let schema = |text: &str| {
        let text = format!(
            r#"{{"@context": ["{TD_CONTEXT}", {{"countersign": "{CONTEXT_IRI}"}}], "title": "t",
            "securityDefinitions": {{"m": {{"scheme": "auto"}}}}, "security": ["m"], "properties": {{"p": {text}}}}}"#
        );
        ThingDescription::parse(text.as_bytes()).unwrap().property("p").unwrap().schema().clone()
    };
    let either = schema(
        r#"{"oneOf": [{"type": "string", "maxLength": 2}, {"type": "integer", "enum": [1, 2]}]}"#,
    );
    assert!(either.validate(&json!("ab")).is_ok() && either.validate(&json!(2)).is_ok());
    assert!(either.validate(&json!("abc")).is_err() && either.validate(&json!(3)).is_err());
    let steps = schema(r#"{"type": "number", "multipleOf": 0.1, "exclusiveMaximum": 1}"#);
    assert!(steps.validate(&json!(0.3)).is_ok() && steps.validate(&json!(0.35)).is_err());
    assert!(steps.validate(&json!(1)).is_err());
    let list = schema(r#"{"type": "array", "items": {"const": null}, "maxItems": 2}"#);
    assert!(
        list.validate(&json!([null, null])).is_ok() && list.validate(&json!([null, 1])).is_err()
    );
}

#[test]
fn what_a_subject_may_not_use_it_does_not_see() {
    let thing = "plug-000001".parse().unwrap();
    let td = plug();
    let served = |role: Option<Role>| {
        td.served(&thing, "https://plug.local", |rule| match rule.need {
            Need::Open => true,
            Need::Role(least) => role.is_some_and(|role| role >= least),
        })
    };
    let names = |td: &Value, kind: &str| -> Vec<String> {
        td[kind].as_object().map(|all| all.keys().cloned().collect()).unwrap_or_default()
    };
    let nobody = served(None);
    assert_eq!(names(&nobody, "properties"), ["model"]);
    assert!(names(&nobody, "actions").is_empty() && names(&nobody, "events").is_empty());
    assert_eq!(nobody["properties"]["model"]["forms"][0]["security"], json!(["open"]));
    let viewer = served(Some(Role::Viewer));
    assert!(!names(&viewer, "properties").contains(&ACCESS.to_owned()));
    assert!(names(&viewer, "actions").is_empty());
    assert_eq!(viewer["properties"]["relay"]["readOnly"], json!(true));
    let owner = served(Some(Role::Owner));
    assert_eq!(names(&owner, "actions"), ["reset", "setRelay", "toggle"]);
    assert!(!owner.to_string().contains("countersign:role"));
    assert_eq!(owner["actions"]["toggle"]["forms"][0]["href"], "/actions/toggle");
}

#[test]
fn large_or_strange_documents_get_an_answer() {
    for bytes in [b"".as_slice(), b"[]", b"{", b"null", b"\xff", &b"[".repeat(5000)] {
        assert!(ThingDescription::parse(bytes).is_err());
    }
    assert!(ThingDescription::parse(&vec![b' '; MAX_DOCUMENT + 1]).is_err());
    let many: serde_json::Map<String, Value> =
        (0..200).map(|n| (format!("p{n}"), json!({"type": "null"}))).collect();
    assert!(errors_of("/properties", Value::Object(many))[0].starts_with("$.properties: has 201"));
    let mut deep = json!({"type": "null"});
    for _ in 0..MAX_SCHEMA_DEPTH {
        deep = json!({"type": "array", "items": deep});
    }
    assert!(errors_of("/properties/deep", deep)[0].contains("nest at most"));
    let twice = String::from_utf8(PLUG.to_vec()).unwrap().replacen(
        "\"title\"",
        "\"title\": \"x\", \"title\"",
        1,
    );
    assert!(ThingDescription::parse(twice.as_bytes()).unwrap_err()[0].problem.contains("twice"));
}
