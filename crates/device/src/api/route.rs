//! From method and path to one [`Request`], and from its permit to the handler.

use super::answer::Answer;
use crate::gate::{AccessChange, Gate};
use countersign_model::id::PersonName;
use countersign_model::role::Role;
use countersign_model::thing::{ACCESS, AffordanceKind, Operation};
use countersign_protocol::permit::device::{Malformed, Permit, Request, Subject};
use hyper::Method;
use hyper::http::request::Parts;
use serde::Deserialize;
use serde_json::{Map, Value, json};

/// What may be sent to `/access/{person}`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RoleBody {
    role: Role,
}

/// Answers one request.
pub(super) async fn answer(
    gate: &Gate,
    subject: &Subject,
    base: &str,
    head: &Parts,
    body: &[u8],
) -> Answer {
    let path: Vec<&str> = head.uri.path().split('/').skip(1).collect();
    match (&head.method, path.as_slice()) {
        (&Method::GET, ["thing"]) => describe(gate, subject, base),
        (&Method::GET, ["properties"]) => all_properties(gate, subject).await,
        (&Method::GET, ["properties", name]) => {
            one(gate, subject, Operation::ReadProperty, name, body).await
        }
        (&Method::PUT, ["properties", name]) => {
            one(gate, subject, Operation::WriteProperty, name, body).await
        }
        (&Method::POST, ["actions", name]) => {
            one(gate, subject, Operation::InvokeAction, name, body).await
        }
        (method, ["access", person]) => access(gate, subject, method, person, body),
        // A path that does not exist looks like one that is forbidden.
        _ => Answer::Denied,
    }
}

fn describe(gate: &Gate, subject: &Subject, base: &str) -> Answer {
    match gate.judge(subject, &Request::describe()) {
        Ok(Permit::Read(permit)) => Answer::Json(gate.describe(&permit, subject, base)),
        Ok(_) => Answer::Denied,
        Err(refusal) => refusal.into(),
    }
}

/// What the asker may read, each under its own permit; a property that fails is left out.
async fn all_properties(gate: &Gate, subject: &Subject) -> Answer {
    if let Err(refusal) = gate.judge(subject, &Request::describe()) {
        return refusal.into();
    }
    let mut values = Map::new();
    let readable = gate
        .description()
        .rules()
        .filter(|rule| rule.operation == Operation::ReadProperty)
        .filter(|rule| rule.operation.kind() == AffordanceKind::Property);
    for rule in readable {
        let name = rule.name.as_str();
        let Ok(request) = Request::new(Operation::ReadProperty, name, &[]) else { continue };
        let Ok(Permit::Read(permit)) = gate.judge(subject, &request) else { continue };
        if let Ok(value) = gate.read(permit).await {
            values.insert(name.to_owned(), value);
        }
    }
    Answer::Json(Value::Object(values))
}

async fn one(
    gate: &Gate,
    subject: &Subject,
    operation: Operation,
    name: &str,
    body: &[u8],
) -> Answer {
    let request = match Request::new(operation, name, body) {
        Ok(request) => request,
        Err(malformed) => return not_a_request(gate, subject, operation, name, &malformed),
    };
    let permit = match gate.judge(subject, &request) {
        Ok(permit) => permit,
        Err(refusal) => return refusal.into(),
    };
    match gate.perform(permit).await {
        Ok(Value::Null) if operation.changes() => Answer::Done,
        Ok(value) => Answer::Json(value),
        Err(failure) => failure.into(),
    }
}

/// Whoever may not gets the stranger's answer, however badly the request was made.
fn not_a_request(
    gate: &Gate,
    subject: &Subject,
    operation: Operation,
    name: &str,
    malformed: &Malformed,
) -> Answer {
    match Request::new(operation, name, &[]).map(|request| gate.judge(subject, &request)) {
        Ok(Err(countersign_protocol::permit::device::Refusal::Denied(_))) | Err(_) => {
            Answer::Denied
        }
        Ok(_) => Answer::Invalid(malformed.to_string()),
    }
}

/// `/access/{person}` is a view of the built-in property `access`: the same rule, the same permits.
fn access(gate: &Gate, subject: &Subject, method: &Method, person: &str, body: &[u8]) -> Answer {
    let operation = match *method {
        Method::GET => Operation::ReadProperty,
        Method::PUT | Method::DELETE => Operation::WriteProperty,
        _ => return Answer::Denied,
    };
    // The value judged is a well-formed list: whether the real one may become what is asked, the handler decides.
    let stand_in: &[u8] =
        if operation.changes() { br#"[{"person":"someone","role":"owner"}]"# } else { b"" };
    let Ok(request) = Request::new(operation, ACCESS, stand_in) else { return Answer::Denied };
    let permit = match gate.judge(subject, &request) {
        Ok(permit) => permit,
        Err(refusal) => return refusal.into(),
    };
    let Ok(name) = person.parse::<PersonName>() else {
        return Answer::Invalid("not the name of a person".to_owned());
    };
    match permit {
        Permit::Read(permit) => {
            let list = gate.access(&permit);
            let found =
                list.as_array().into_iter().flatten().find(|e| e["person"] == name.as_str());
            Answer::Json(found.cloned().unwrap_or_else(|| json!({ "person": name, "role": null })))
        }
        Permit::Configure(permit) => {
            let change = match (method, serde_json::from_slice::<RoleBody>(body)) {
                (&Method::DELETE, _) if body.is_empty() => AccessChange::Unshare(name),
                (&Method::PUT, Ok(asked)) => AccessChange::Share(name, asked.role),
                _ => {
                    return Answer::Invalid(
                        "PUT takes {\"role\": viewer, member or owner}".to_owned(),
                    );
                }
            };
            match gate.change_person(&permit, change) {
                Ok(()) => Answer::Done,
                Err(failure) => failure.into(),
            }
        }
        Permit::Command(_) => Answer::Denied,
    }
}
