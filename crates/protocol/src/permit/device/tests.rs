use super::*;
use countersign_model::role::Role;
use countersign_model::state::DeviceState;
use countersign_model::thing::{Need, Operation, ThingDescription};
use countersign_model::time::Timestamp;
use proptest::prelude::*;
use std::fmt::Write;

const PLUG: &[u8] = include_bytes!("../../../../model/tests/things/plug.td.json");
const NOW: Timestamp = Timestamp(1_000);

/// An invitation that fits its schema.
const INVITE: &[u8] = br#"{"person":"sam","role":"viewer","seconds":600,
  "salt":"00000000000000000000000000000000","memory":8192,"passes":1,"lanes":1,
  "verifier":"00000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000"}"#;

fn plug() -> ThingDescription {
    ThingDescription::parse(PLUG).unwrap()
}

fn person(role: Role, until: Timestamp) -> Subject {
    Subject::Person { name: "ada".parse().unwrap(), role, until }
}

fn subjects() -> Vec<(&'static str, Subject)> {
    let service =
        Subject::Service { name: "backend".parse().unwrap(), role: Role::Member, until: NOW };
    vec![
        ("anonymous", Subject::Anonymous),
        ("viewer", person(Role::Viewer, NOW)),
        ("member", person(Role::Member, NOW)),
        ("owner", person(Role::Owner, NOW)),
        ("expired", person(Role::Owner, Timestamp(999))),
        ("service", service),
        ("gateway", Subject::Gateway { until: NOW }),
    ]
}

/// An input that fits, so that the table is about rights.
fn input(operation: Operation, name: &str) -> &'static [u8] {
    match (operation, name) {
        (Operation::WriteProperty, "relay") => b"true",
        (Operation::WriteProperty, "ledBrightness") => b"50",
        (Operation::WriteProperty, "powerLimit") => b"2000",
        (Operation::WriteProperty, "access") => br#"[{"person":"ada","role":"owner"}]"#,
        (Operation::WriteProperty, "networkCredentials") => br#"{"ssid":"home","key":"k"}"#,
        (Operation::InvokeAction, "invite") => INVITE,
        (Operation::InvokeAction, "setRelay") => br#"{"on":true}"#,
        _ => b"",
    }
}

fn word(result: &Result<Permit, Refusal>) -> &'static str {
    match result {
        Ok(Permit::Read(_)) => "read",
        Ok(Permit::Command(_)) => "command",
        Ok(Permit::Configure(_)) => "configure",
        Err(Refusal::Invalid(_)) => "invalid",
        Err(refusal) => match refusal.cause() {
            Some(Cause::Unknown) => "-unknown",
            Some(Cause::Unauthenticated) => "-who",
            Some(Cause::Forbidden) => "-role",
            Some(Cause::State) => "-state",
            None => "-?",
        },
    }
}

/// Every affordance with every operation on it, those that it does not offer too, and a name that nobody knows.
fn requests() -> Vec<(String, Request)> {
    let thing = plug();
    let mut all = vec![("description".to_owned(), Request::describe())];
    for operation in Operation::ALL {
        let mut names: Vec<String> = match operation.kind() {
            countersign_model::thing::AffordanceKind::Property => {
                thing.properties().keys().map(ToString::to_string).collect()
            }
            countersign_model::thing::AffordanceKind::Action => {
                thing.actions().keys().map(ToString::to_string).collect()
            }
            countersign_model::thing::AffordanceKind::Event => {
                thing.events().keys().map(ToString::to_string).collect()
            }
        };
        names.push("unheardOf".to_owned());
        for name in names {
            let request = Request::new(operation, &name, input(operation, &name)).unwrap();
            all.push((format!("{} {name}", operation.as_str()), request));
        }
    }
    all
}

//= specs/en-303-645.md#5.5-5
//= type=test
//# Security-relevant configuration over a network interface MUST follow authentication.
//= specs/en-303-645.md#5.5-4
//= type=test
//# Authorisation SHOULD grant what a subject's rights cover and deny the rest.
//= specs/house.md#house-gate
//= type=test
//# A request MUST be judged by one pure function of device state, subject, affordance and operation.
#[test]
fn every_combination() {
    let (thing, subjects) = (plug(), subjects());
    let mut table = String::new();
    for state in DeviceState::ALL {
        write!(table, "{state:<34}").unwrap();
        for (name, _) in &subjects {
            write!(table, " {name:<10}").unwrap();
        }
        table.push('\n');
        for (what, request) in requests() {
            write!(table, "  {what:<32}").unwrap();
            for (_, subject) in &subjects {
                let result = judge(state, subject, &thing, &request, NOW);
                write!(table, " {:<10}", word(&result)).unwrap();
            }
            table.push('\n');
        }
    }
    let table: String = table.lines().map(|line| format!("{}\n", line.trim_end())).collect();
    insta::assert_snapshot!(table);
}

//= specs/house.md#house-permits
//= type=test
//# A refusal MUST NOT tell an unknown name from a forbidden one.
//= specs/house.md#house-gate
//= type=test
//# A refusal of an unknown name, of a forbidden one and of the wrong state MUST be the same bytes after the same work.
#[test]
fn refusals_do_not_tell_unknown_from_forbidden_from_wrong_state() {
    let thing = plug();
    let viewer = person(Role::Viewer, NOW);
    let invoke = |name| Request::new(Operation::InvokeAction, name, b"").unwrap();
    let refused = |state, name| judge(state, &viewer, &thing, &invoke(name), NOW).unwrap_err();
    let all = [
        refused(DeviceState::Initialised, "unheardOf"),
        refused(DeviceState::Initialised, "toggle"),
        refused(DeviceState::Updating, "toggle"),
        // What is wrong with the input is nobody's business who may not send it.
        judge(
            DeviceState::Initialised,
            &viewer,
            &thing,
            &Request::new(Operation::InvokeAction, "setRelay", b"17").unwrap(),
            NOW,
        )
        .unwrap_err(),
    ];
    for refusal in &all {
        assert_eq!(refusal.to_string(), all[0].to_string());
        assert_eq!(format!("{refusal:?}"), format!("{:?}", all[0]));
        assert_eq!(refusal.http_status(), all[0].http_status());
    }
}

#[test]
fn null_is_no_input_where_none_is_taken() {
    let member = person(Role::Member, NOW);
    for (input, admitted) in [(b"null".as_slice(), true), (b"", true), (b"{}", false)] {
        let request = Request::new(Operation::InvokeAction, "toggle", input).unwrap();
        let judged = judge(DeviceState::Initialised, &member, &plug(), &request, NOW);
        match (judged, admitted) {
            (Ok(Permit::Command(permit)), true) => assert_eq!(permit.input(), None),
            (Err(Refusal::Invalid(_)), false) => {}
            (other, _) => panic!("{other:?}"),
        }
    }
}

#[test]
fn the_entitled_learn_what_is_wrong_with_their_input() {
    let thing = plug();
    let member = person(Role::Member, NOW);
    for (name, input, problem) in [
        ("setRelay", b"{\"on\":1}".as_slice(), "$.on: is not of type boolean"),
        ("setRelay", b"", "$: an input is required"),
        ("toggle", b"true", "$: takes no input"),
    ] {
        let request = Request::new(Operation::InvokeAction, name, input).unwrap();
        match judge(DeviceState::Initialised, &member, &thing, &request, NOW) {
            Err(Refusal::Invalid(error)) => assert_eq!(error.to_string(), problem),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn permits_carry_what_was_checked() {
    let request = Request::new(Operation::WriteProperty, "relay", b"true").unwrap();
    let owner = person(Role::Owner, NOW);
    let Ok(Permit::Command(permit)) =
        judge(DeviceState::Initialised, &owner, &plug(), &request, NOW)
    else {
        panic!("an owner commands");
    };
    assert_eq!(permit.name().as_str(), "relay");
    assert_eq!(permit.input(), Some(&serde_json::json!(true)));
    assert_eq!((permit.by().to_string().as_str(), permit.at()), ("person:ada", NOW));
}

//= specs/house.md#house-gate
//= type=test
//# A request MUST be bounded in size before it is judged.
#[test]
fn requests_are_bounded() {
    let long = vec![b' '; countersign_model::thing::MAX_VALUE_BYTES + 1];
    assert!(matches!(Request::new(Operation::InvokeAction, "a", &long), Err(Malformed::Input(_))));
    assert_eq!(Request::new(Operation::InvokeAction, "../a", b""), Err(Malformed::Name));
    assert_eq!(Request::new(Operation::ReadProperty, "a", b"1"), Err(Malformed::UnexpectedInput));
}

fn configure() -> ConfigurePermit {
    let input = br#"[{"person":"ada","role":"owner"}]"#;
    let request = Request::new(Operation::WriteProperty, "access", input).unwrap();
    match judge(DeviceState::Initialised, &person(Role::Owner, NOW), &plug(), &request, NOW) {
        Ok(Permit::Configure(permit)) => permit,
        other => panic!("{other:?}"),
    }
}

#[test]
fn there_is_always_an_owner() {
    let (ada, bob) = ("ada".parse().unwrap(), "bob".parse().unwrap());
    let permit = configure();
    let mut list = AccessList::first_owner("ada".parse().unwrap());
    assert_eq!(list.unshare(&permit, &ada), Err(AccessError::LastOwner));
    assert_eq!(
        list.share(&permit, "ada".parse().unwrap(), Role::Member),
        Err(AccessError::LastOwner)
    );
    let nobody: Result<AccessList, _> = serde_json::from_str("[]");
    assert!(nobody.is_err());
    list.share(&permit, "bob".parse().unwrap(), Role::Owner).unwrap();
    list.unshare(&permit, &ada).unwrap();
    assert_eq!(list.person(&ada, Voucher::Home, NOW), Subject::Anonymous);
    assert_eq!(list.role_of(&bob), Some(Role::Owner));
    let text = serde_json::to_string(&list).unwrap();
    assert_eq!(text, r#"[{"person":"bob","role":"owner"}]"#);
    assert_eq!(serde_json::from_str::<AccessList>(&text).unwrap(), list);
    let twice = r#"[{"person":"a","role":"owner"},{"person":"a","role":"viewer"}]"#;
    assert!(serde_json::from_str::<AccessList>(twice).is_err());
    for n in 1..MAX_PERSONS {
        list.share(&permit, format!("p{n}").parse().unwrap(), Role::Viewer).unwrap();
    }
    assert_eq!(
        list.share(&permit, "one-more".parse().unwrap(), Role::Viewer),
        Err(AccessError::TooMany)
    );
}

#[test]
fn only_these_interfaces_are_open() {
    let table = DeviceState::ALL.map(|state| format!("{state}: {:?}", interfaces(state)));
    assert_eq!(
        table,
        [
            "factory-default: []",
            "pairing: [Pairing]",
            "initialised: [LocalApi, Uplink]",
            "updating: [LocalApi, Uplink]",
            "recovery: [LocalApi]",
            "resetting: []",
        ]
    );
}

/// The rules once more, from the document itself and the words of the manual, without the product's tables.
fn model(
    state: DeviceState,
    subject: &Subject,
    document: &serde_json::Value,
    operation: Operation,
    name: &str,
    now: Timestamp,
) -> &'static str {
    let kind = match operation {
        Operation::InvokeAction => "actions",
        Operation::SubscribeEvent => "events",
        _ => "properties",
    };
    let affordance = &document[kind][name];
    let flag = |term: &str| affordance[term] == serde_json::Value::Bool(true);
    let changing = matches!(operation, Operation::WriteProperty | Operation::InvokeAction);
    let offered = affordance.is_object()
        && match operation {
            Operation::ReadProperty => !flag("writeOnly"),
            Operation::ObserveProperty => flag("observable"),
            Operation::WriteProperty => !flag("readOnly"),
            _ => true,
        };
    let rank = match subject {
        Subject::Person { role, until, .. } | Subject::Service { role, until, .. }
            if now <= *until =>
        {
            1 + *role as u32
        }
        Subject::Gateway { until } if now <= *until => 1,
        _ => 0,
    };
    let relevant = flag("countersign:securityRelevant");
    let said = &affordance["countersign:role"];
    let said = if said.is_object() { &said[if changing { "write" } else { "read" }] } else { said };
    let asked = match said.as_str() {
        Some("viewer") => 1,
        Some("member") => 2,
        Some("owner") => 3,
        _ if relevant => 3,
        _ => 1 + u32::from(changing),
    };
    let security = &affordance["forms"][0]["security"];
    let open = (security == "open" || security == "either") && !changing;
    let granted = offered
        && match state.as_str() {
            "initialised" => open || rank >= asked,
            "updating" => !changing && (open || rank >= asked),
            "recovery" => rank == 3 && (!changing || relevant),
            _ => false,
        };
    match (granted, changing, relevant) {
        (false, ..) => "refused",
        (true, false, _) => "read",
        (true, true, false) => "command",
        (true, true, true) => "configure",
    }
}

/// A description with any mixture of flags that may stand together.
fn made_up() -> impl Strategy<Value = serde_json::Value> {
    let role = || prop::sample::select(vec![None, Some("viewer"), Some("member"), Some("owner")]);
    let affordance = (any::<[bool; 5]>(), role(), role());
    prop::collection::vec(affordance, 1..8).prop_map(|all| {
        let mut document = serde_json::json!({
            "@context": [countersign_model::thing::TD_CONTEXT,
                {"countersign": countersign_model::thing::CONTEXT_IRI}],
            "title": "made up",
            "securityDefinitions": {
                "mtls": {"scheme": "auto"}, "open": {"scheme": "nosec"},
                "both": {"scheme": "combo", "allOf": ["open", "mtls"]},
                "either": {"scheme": "combo", "oneOf": ["mtls", "open"]},
            },
            "security": "both", "properties": {}, "actions": {}, "events": {},
        });
        for (index, ([read_only, write_only, observable, relevant, open], read, change)) in
            all.into_iter().enumerate()
        {
            // What may not stand together is mended as the description's own errors ask for.
            let read_only = read_only || open;
            let write_only = write_only && !read_only;
            let (observable, relevant) = (observable && !write_only, relevant && !open);
            let mut one = serde_json::json!({
                "type": "boolean", "readOnly": read_only, "writeOnly": write_only,
                "observable": observable, "countersign:securityRelevant": relevant,
            });
            if open {
                let op = if index % 2 == 0 { "open" } else { "either" };
                one["forms"] =
                    serde_json::json!([{"href": "/x", "op": "readproperty", "security": op}]);
            }
            let mut roles = serde_json::Map::new();
            roles.extend(read.map(|role| ("read".to_owned(), role.into())));
            roles
                .extend(change.filter(|_| !relevant).map(|role| ("write".to_owned(), role.into())));
            if !roles.is_empty() {
                one["countersign:role"] = roles.into();
            }
            document["properties"][format!("p{index}")] = one;
        }
        document
    })
}

proptest! {
    #[test]
    fn the_gate_agrees_with_the_model_on_any_description(
        document in made_up(),
        state in prop::sample::select(DeviceState::ALL.to_vec()),
        role in prop::option::of(prop::sample::select(Role::ALL.to_vec())),
        operation in prop::sample::select(Operation::ALL.to_vec()),
        at in 0..9_usize,
    ) {
        let thing = ThingDescription::parse(&serde_json::to_vec(&document).unwrap());
        let thing = thing.map_err(|errors| TestCaseError::fail(format!("{errors:?}")))?;
        let subject = role.map_or(Subject::Anonymous, |role| person(role, NOW));
        let name = format!("p{at}");
        let input: &[u8] = if operation.changes() { b"true" } else { b"" };
        let request = Request::new(operation, &name, input).unwrap();
        let expected = model(state, &subject, thing.document(), operation, &name, NOW);
        let result = judge(state, &subject, &thing, &request, NOW);
        let found = if result.is_ok() { word(&result) } else { "refused" };
        prop_assert_eq!(found, expected);
        // What is open is read, and nothing else is done to it without somebody.
        if subject == Subject::Anonymous && result.is_ok() {
            prop_assert!(!operation.changes());
        }
    }

    #[test]
    fn the_gate_agrees_with_the_model(
        state in prop::sample::select(DeviceState::ALL.to_vec()),
        who in 0..4_u8,
        role in prop::sample::select(Role::ALL.to_vec()),
        until in 998..1_003_u64,
        at in 0..1000_usize,
    ) {
        let thing = plug();
        let until = Timestamp(until);
        let subject = match who {
            0 => Subject::Anonymous,
            1 => person(role, until),
            2 => Subject::Service { name: "backend".parse().unwrap(), role, until },
            _ => Subject::Gateway { until },
        };
        let requests = requests();
        let (_, request) = &requests[1 + at % (requests.len() - 1)];
        let Target::Affordance { operation, name } = request.target() else { unreachable!() };
        let result = judge(state, &subject, &thing, request, NOW);
        let expected = model(state, &subject, thing.document(), *operation, name.as_str(), NOW);
        let found = match &result {
            Ok(_) => word(&result),
            Err(_) => "refused",
        };
        prop_assert_eq!(found, expected);
        // The description shows exactly what may be used.
        if let Some(rule) = thing.rule(*operation, name.as_str()) {
            prop_assert_eq!(visible(state, &subject, &rule, NOW), result.is_ok());
            prop_assert!(rule.need != Need::Open || !operation.changes());
        }
    }
}

/// One change of the access list, by whoever may.
#[derive(Debug, Clone)]
enum Change {
    Share(u8, Role),
    Unshare(u8),
    Replace(Vec<(u8, Role)>),
}

fn changes() -> impl Strategy<Value = Vec<Change>> {
    let (who, role) = (0..4_u8, prop::sample::select(Role::ALL.to_vec()));
    let one = prop_oneof![
        (who.clone(), role.clone()).prop_map(|(who, role)| Change::Share(who, role)),
        who.clone().prop_map(Change::Unshare),
        prop::collection::vec((who, role), 1..4).prop_map(Change::Replace),
    ];
    prop::collection::vec(one, 1..40)
}

proptest! {
    //= specs/house.md#house-sharing
    //= type=test
    //# A change that would leave a device without an owner MUST be refused, whoever asks.
    #[test]
    fn there_is_an_owner_whatever_is_asked_and_a_refusal_changes_nothing(changes in changes()) {
        let name = |who: u8| format!("p{who}").parse().unwrap();
        let mut list = AccessList::first_owner(name(0));
        // Kept beside: person to role, by rules of its own.
        let mut expected = std::collections::BTreeMap::from([(0_u8, Role::Owner)]);
        for change in changes {
            let before = list.clone();
            let mut wanted = expected.clone();
            let result = match change {
                Change::Share(who, role) => {
                    wanted.insert(who, role);
                    list.share(&configure(), name(who), role)
                }
                Change::Unshare(who) => {
                    wanted.remove(&who);
                    list.unshare(&configure(), &name(who))
                }
                Change::Replace(new) => {
                    wanted = new.iter().copied().collect();
                    let text: Vec<_> = wanted
                        .iter()
                        .map(|(who, role)| serde_json::json!({"person": format!("p{who}"), "role": role}))
                        .collect();
                    match serde_json::from_value::<AccessList>(serde_json::json!(text)) {
                        Ok(new) => list.replace(&configure(), new),
                        Err(_) => Err(AccessError::LastOwner),
                    }
                }
            };
            let owned = wanted.values().any(|role| *role == Role::Owner);
            prop_assert_eq!(result.is_ok(), owned);
            if owned {
                expected = wanted;
            } else {
                prop_assert_eq!(result, Err(AccessError::LastOwner));
                prop_assert_eq!(&list, &before);
            }
            let found: Vec<_> = list.persons().map(|(who, role)| (who.to_string(), role)).collect();
            let expected: Vec<_> =
                expected.iter().map(|(who, role)| (format!("p{who}"), *role)).collect();
            prop_assert_eq!(found, expected);
        }
    }
}
