//! From a request to one permit, and from the permit to the handler. A path that does not exist is judged like a name
//! that nobody knows: both take the same way through the gate and get the same answer.

use super::answer::Answer;
use super::connection::Peer;
use super::stream::{self, Wanted};
use crate::gate::{AccessChange, Gate};
use countersign_model::id::PersonName;
use countersign_model::role::Role;
use countersign_model::thing::{ACCESS, Operation};
use countersign_protocol::permit::device::{Malformed, Permit, Refusal, Request, Subject};
use hyper::Method;
use hyper::header::ACCEPT;
use hyper::http::request::Parts;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// A name that no affordance can have, for what is not there.
const NOWHERE: &str = "nowhere-to-be-found";

/// What may be sent to `/access/{person}`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RoleBody {
    role: Role,
}

/// Answers one request.
pub(super) async fn answer(peer: &Arc<Peer>, head: &Parts, body: &[u8]) -> Answer {
    let (gate, subject) = (&peer.gate, &peer.subject());
    let path: Vec<&str> = head.uri.path().split('/').skip(1).collect();
    let streamed = wants_events(head);
    match (&head.method, path.as_slice()) {
        (&Method::GET, [""] | [".well-known", "wot"]) => describe(gate, subject, peer.base()),
        (&Method::GET, ["properties"]) if streamed => all(peer, Operation::ObserveProperty).await,
        (&Method::GET, ["properties"]) => match may_see(gate, subject) {
            Ok(()) => Answer::Json(readable(gate, subject, Operation::ReadProperty).await),
            Err(refusal) => refusal.into(),
        },
        (&Method::GET, ["properties", name]) if streamed => {
            one_stream(peer, subject, Operation::ObserveProperty, name, body).await
        }
        (&Method::GET, ["properties", name]) => {
            one(gate, subject, Operation::ReadProperty, name, body).await
        }
        (&Method::PUT, ["properties", name]) => {
            one(gate, subject, Operation::WriteProperty, name, body).await
        }
        (&Method::POST, ["actions", name]) => {
            one(gate, subject, Operation::InvokeAction, name, body).await
        }
        (&Method::GET, ["events"]) => all(peer, Operation::SubscribeEvent).await,
        (&Method::GET, ["events", name]) => {
            one_stream(peer, subject, Operation::SubscribeEvent, name, body).await
        }
        (&Method::GET, ["access", person]) => {
            access(gate, subject, Operation::ReadProperty, &head.method, person, body)
        }
        (&(Method::PUT | Method::DELETE), ["access", person]) => {
            access(gate, subject, Operation::WriteProperty, &head.method, person, body)
        }
        _ => one(gate, subject, Operation::ReadProperty, NOWHERE, &[]).await,
    }
}

/// Whether the client asks for server-sent events, as the forms with `"subprotocol": "sse"` say.
fn wants_events(head: &Parts) -> bool {
    let accept = head.headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let mut kinds = accept.flat_map(|text| text.split(','));
    kinds.any(|kind| {
        let kind = kind.split(';').next().unwrap_or_default();
        kind.trim().eq_ignore_ascii_case("text/event-stream")
    })
}

fn describe(gate: &Gate, subject: &Subject, base: &str) -> Answer {
    match gate.judge(subject, &Request::describe()) {
        Ok(Permit::Read(permit)) => Answer::Description(gate.describe(&permit, subject, base)),
        Ok(_) => Answer::Denied,
        Err(refusal) => refusal.into(),
    }
}

fn may_see(gate: &Gate, subject: &Subject) -> Result<(), Refusal> {
    gate.judge(subject, &Request::describe()).map(|_| ())
}

/// What the asker may read, each under its own permit; a property that fails is left out.
async fn readable(gate: &Gate, subject: &Subject, operation: Operation) -> Value {
    let mut values = Map::new();
    let names = gate.description().rules().filter(|rule| rule.operation == operation);
    for name in names.map(|rule| rule.name.as_str()) {
        let Ok(request) = Request::new(operation, name, &[]) else { continue };
        let Some(permit) = gate.still(subject, &request) else { continue };
        match gate.read(permit).await {
            Ok(value) => {
                values.insert(name.to_owned(), value);
            }
            Err(failure) => tracing::error!(%failure, "left out of all properties"),
        }
    }
    Value::Object(values)
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
    let judged = |name| Request::new(operation, name, &[]).map(|one| gate.judge(subject, &one));
    match judged(name).or_else(|_| judged(NOWHERE)) {
        Ok(Err(Refusal::Denied(_))) | Err(_) => Answer::Denied,
        Ok(_) => Answer::Invalid(malformed.to_string()),
    }
}

/// A stream of one property, which begins with its present value, or of one event.
async fn one_stream(
    peer: &Arc<Peer>,
    subject: &Subject,
    operation: Operation,
    name: &str,
    body: &[u8],
) -> Answer {
    let gate = &peer.gate;
    let request = match Request::new(operation, name, body) {
        Ok(request) => request,
        Err(malformed) => return not_a_request(gate, subject, operation, name, &malformed),
    };
    let permit = match gate.judge(subject, &request) {
        Ok(Permit::Read(permit)) => permit,
        Ok(_) => return Answer::Denied,
        Err(refusal) => return refusal.into(),
    };
    let Some(place) = peer.stream_place() else { return Answer::TooMany };
    let changes = gate.changes().listen();
    let mut first = Vec::new();
    if operation == Operation::ObserveProperty {
        match gate.perform(Permit::Read(permit)).await {
            Ok(value) => first.push((name.to_owned(), value)),
            Err(failure) => return failure.into(),
        }
    }
    let wanted = Wanted::One(operation, name.to_owned());
    Answer::Events(stream::begin(peer, place, wanted, changes, first))
}

/// A stream of all properties, or of all events, that the subject may have.
async fn all(peer: &Arc<Peer>, operation: Operation) -> Answer {
    let (gate, subject) = (&peer.gate, &peer.subject());
    if let Err(refusal) = may_see(gate, subject) {
        return refusal.into();
    }
    let Some(place) = peer.stream_place() else { return Answer::TooMany };
    let changes = gate.changes().listen();
    let first = match (operation, readable(gate, subject, operation).await) {
        (Operation::ObserveProperty, Value::Object(values)) => values.into_iter().collect(),
        _ => Vec::new(),
    };
    Answer::Events(stream::begin(peer, place, Wanted::All(operation), changes, first))
}

/// `/access/{person}` is a view of the built-in property `access`: the same rule, the same permits.
fn access(
    gate: &Gate,
    subject: &Subject,
    operation: Operation,
    method: &Method,
    person: &str,
    body: &[u8],
) -> Answer {
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
