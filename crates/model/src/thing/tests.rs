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
            "readproperty history: Role(Owner) security-relevant",
            "readproperty ledBrightness: Role(Viewer)",
            "readproperty model: Open",
            "readproperty power: Role(Viewer)",
            "readproperty powerLimit: Role(Viewer)",
            "readproperty relay: Role(Viewer)",
            "observeproperty power: Role(Viewer)",
            "observeproperty relay: Role(Viewer)",
            "writeproperty access: Role(Owner) security-relevant",
            "writeproperty ledBrightness: Role(Member)",
            "writeproperty networkCredentials: Role(Owner) security-relevant",
            "writeproperty powerLimit: Role(Owner)",
            "writeproperty relay: Role(Member)",
            "invokeaction invite: Role(Owner) security-relevant",
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
        (
            "/properties/model/pattern",
            json!("(a)\\1"),
            "$.properties.model.pattern: cannot be checked",
        ),
        ("/properties/model/format", json!("email"), "$.properties.model.format: is not checked"),
        (
            "/properties/power/pattern",
            json!("a"),
            "$.properties.power.pattern: says something only",
        ),
        (
            "/properties/power/additionalProperties",
            json!(false),
            "$.properties.power.additionalProperties: is not checked",
        ),
        (
            "/properties/power/default",
            json!(4000),
            "$.properties.power.default: does not fit the schema that it stands in",
        ),
        (
            "/properties/power/enum",
            json!([1, "2"]),
            "$.properties.power.enum[1]: does not fit the schema",
        ),
        ("/titles", json!({"not a tag": "x"}), "$.titles['not a tag']: is no language tag"),
        (
            "/properties/power/descriptions",
            json!(["x"]),
            "$.properties.power.descriptions: must be",
        ),
        ("/version", json!({"model": "1"}), "$.version.instance: is required"),
        ("/modified", json!("yesterday"), "$.modified: must be a date and time"),
        ("/support", json!("call us"), "$.support: must be an address"),
        ("/links", json!([{"rel": "icon"}]), "$.links[0].href: a link needs an address"),
        ("/@type", json!(7), "$['@type']: must be a term"),
        ("/uriVariables", json!({}), "$.uriVariables: the local API takes no variables"),
        (
            "/actions/toggle/synchronous",
            json!(false),
            "$.actions.toggle.synchronous: the local API answers",
        ),
        (
            "/events/overload/subscription",
            json!({"type": "string"}),
            "$.events.overload.subscription: nothing travels",
        ),
        (
            "/forms",
            json!([{"href": "/properties", "op": "writeallproperties"}]),
            "$.forms[0].op: \"writeallproperties\" is not offered",
        ),
        (
            "/properties/power/forms",
            json!([{"href": "/p", "op": "observeproperty", "subprotocol": "longpoll"}]),
            "$.properties.power.forms[0].subprotocol: must be \"sse\"",
        ),
        (
            "/properties/power/forms",
            json!([{"href": "/p", "contentType": "application/cbor"}]),
            "$.properties.power.forms[0].contentType: must be application/json",
        ),
        (
            "/properties/power/forms",
            json!([{"href": "/p", "additionalResponses": [{"schema": "oops"}]}]),
            "$.properties.power.forms[0].additionalResponses[0].schema: \"oops\" is not among",
        ),
        (
            "/securityDefinitions/loop",
            json!({"scheme": "combo", "oneOf": ["loop", "open"]}),
            "$.securityDefinitions.loop: a combo names",
        ),
        (
            "/schemaDefinitions",
            json!({"fault": {"type": "text"}}),
            "$.schemaDefinitions.fault.type: must be boolean",
        ),
        (
            "/securityDefinitions/basic",
            json!({"scheme": "basic"}),
            "$.securityDefinitions.basic.scheme: must be",
        ),
        ("/security", json!("none"), "$.security: \"none\" is not among"),
        ("/title", json!(""), "$.title: a text"),
        ("/@context", json!("https://www.w3.org/2019/wot/td/v1"), "$['@context']: must begin"),
        ("/@context", json!(TD_CONTEXT), "$['@context']: must define"),
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
    // A combination opens what its parts open.
    for (parts, opens) in [
        (json!({"scheme": "combo", "oneOf": ["mtls", "open"]}), true),
        (json!({"scheme": "combo", "allOf": ["mtls", "open"]}), false),
    ] {
        let mut document: Value = serde_json::from_slice(PLUG).unwrap();
        document["securityDefinitions"]["mixed"] = parts;
        document["actions"]["toggle"]["forms"] = json!([{"href": "/x", "security": "mixed"}]);
        let parsed = ThingDescription::parse(&serde_json::to_vec(&document).unwrap());
        assert_eq!(parsed.is_err(), opens);
    }
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
fn texts_lists_and_equal_numbers_are_checked() {
    let schema = |value: Value| {
        let mut document: Value = serde_json::from_slice(PLUG).unwrap();
        document["properties"]["p"] = value;
        let thing = ThingDescription::parse(&serde_json::to_vec(&document).unwrap());
        thing.map(|thing| thing.property("p").unwrap().schema().clone()).unwrap()
    };
    let code = schema(json!({"type": "string", "pattern": "^[A-Z]{2}[0-9]+$", "maxLength": 4}));
    assert!(code.validate(&json!("AB1")).is_ok() && code.validate(&json!("AB123")).is_err());
    assert_eq!(code.validate(&json!("ab1")).unwrap_err().reason, "does not match ^[A-Z]{2}[0-9]+$");
    let since = schema(json!({"type": "string", "format": "date-time"}));
    assert!(since.validate(&json!("2026-11-25T18:00:00Z")).is_ok());
    assert_eq!(since.validate(&json!("now")).unwrap_err().reason, "is no date-time");
    let pair = schema(json!({"type": "array", "items": [{"type": "string"}, {"type": "integer"}]}));
    assert!(pair.validate(&json!(["a", 1])).is_ok() && pair.validate(&json!(["a"])).is_ok());
    assert_eq!(pair.validate(&json!(["a", "b"])).unwrap_err().path, "$[1]");
    assert!(pair.validate(&json!(["a", 1, 2])).is_err());
    let one = schema(json!({"const": {"n": [1]}}));
    assert!(
        one.validate(&json!({"n": [1.0]})).is_ok() && one.validate(&json!({"n": [2]})).is_err()
    );
    let large = schema(json!({"type": "integer", "enum": [9_007_199_254_740_993_u64]}));
    assert!(large.validate(&json!(9_007_199_254_740_992_u64)).is_err());
}

/// What the standard's own examples are made of: a lamp with everything that one file can hold.
#[test]
fn everything_that_a_device_can_keep_may_stand_in_a_file() {
    let thing = ThingDescription::parse(include_bytes!("../../tests/things/lamp.td.json"));
    let thing = thing.unwrap_or_else(|errors| panic!("{errors:#?}"));
    let served = thing.served(&"lamp-1".parse().unwrap(), "https://lamp-1.local:8443", |_| true);
    assert_eq!(served["titles"]["de"], "Lampe");
    assert_eq!(served["links"][0]["rel"], "service-doc");
    let all: Vec<_> = served["forms"].as_array().unwrap().iter().map(|form| &form["op"]).collect();
    assert_eq!(
        all,
        [
            &json!("readallproperties"),
            &json!(["observeallproperties", "unobserveallproperties"]),
            &json!(["subscribeallevents", "unsubscribeallevents"]),
        ]
    );
    assert_eq!(served["events"]["overheated"]["forms"][0]["subprotocol"], "sse");
    // What it serves is a description too.
    let mut again = served.clone();
    for (kind, name) in [("properties", ACCESS), ("properties", HISTORY), ("properties", NETWORK)]
        .into_iter()
        .chain([("actions", INVITE), ("actions", RESET)])
    {
        assert!(again[kind].as_object_mut().unwrap().remove(name).is_some(), "{name}");
    }
    let bytes = serde_json::to_vec(&again).unwrap();
    assert!(ThingDescription::parse(&bytes).is_ok(), "{:#?}", ThingDescription::parse(&bytes));
}

/// The faults of a file that was written for another kind of server are all told, with what to do.
#[test]
fn a_file_for_another_server_is_explained() {
    let errors = ThingDescription::parse(include_bytes!("../../tests/things/foreign.td.json"));
    let text: Vec<_> = errors.unwrap_err().iter().map(ToString::to_string).collect();
    for path in [
        "$.securityDefinitions.basic_sc.scheme",
        "$.uriVariables",
        "$.properties.status.forms[0].scopes",
        "$.properties.status.forms[0].contentType",
        "$.properties.level.uriVariables",
        "$.actions.fade.synchronous",
        "$.events.overheating.cancellation",
    ] {
        assert!(
            text.iter().any(|error| error.starts_with(&format!("{path}: "))),
            "{path}\n{text:#?}"
        );
    }
    assert!(!text.iter().any(|error| error.contains("@context")), "{text:#?}");
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
    assert_eq!(names(&owner, "actions"), ["invite", "reset", "setRelay", "toggle"]);
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
    assert!(errors_of("/properties", Value::Object(many))[0].starts_with("$.properties: has 203"));
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
