//! The description of the interface, OpenAPI 3.1: paths and permissions from [`Call::ALL`], forms from here.

use serde_json::{Map, Value, json};

use super::call::Call;
use super::role::Role;
use crate::expiry::What;
use crate::registration::{Reason, State};

//= specs/house.md#house-administration
//# Every path of the admin interface MUST be in its description, and nothing else.
/// The whole description.
#[must_use]
pub fn description() -> Value {
    let mut paths = Map::new();
    for call in Call::ALL {
        let path = paths.entry(call.path()).or_insert_with(|| json!({}));
        path[call.method().to_ascii_lowercase()] = operation(call);
    }
    json!({
        "openapi": "3.1.0",
        "jsonSchemaDialect": "https://json-schema.org/draft/2020-12/schema",
        "info": {
            "title": "countersign authority, administration",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "HTTPS with an operator's client certificate (mutual TLS 1.3). What an operator may call follows from its role; every call is an entry of the ledger.",
            "license": { "name": "Apache-2.0 OR MIT", "identifier": "Apache-2.0 OR MIT" },
        },
        "servers": [{ "url": "https://localhost:8444", "description": "where [admin] listen says" }],
        "security": [{ "operator": [] }],
        "paths": paths,
        "components": {
            "securitySchemes": {
                "operator": { "type": "mutualTLS", "description": "a certificate of an active operator" },
            },
            "schemas": schemas(),
        },
    })
}

fn operation(call: Call) -> Value {
    let (summary, answer) = told(call);
    let roles: Vec<_> =
        Role::ALL.into_iter().filter(|role| role.may(call)).map(Role::as_str).collect();
    let mut refusals = vec![
        (401, "no certificate was shown"),
        (403, "not an active operator, or its role does not have the permission"),
        (429, "too many calls; Retry-After says when"),
        (500, "a fault in the program"),
        (503, "database, ledger or keys could not be used; nothing was done"),
    ];
    if call.changes() {
        refusals.extend([
            (400, "the body is not as described"),
            (404, "the subject or serial number is not known"),
            (409, "its state does not admit it"),
            (413, "the body is too long"),
        ]);
    }
    let mut responses = Map::new();
    responses.insert("200".to_owned(), content("done", answer));
    for (status, why) in refusals {
        responses.insert(status.to_string(), content(why, "Error"));
    }
    let mut operation = json!({
        "operationId": call.permission(),
        "summary": summary,
        "x-permission": call.permission(),
        "x-roles": roles,
        "responses": responses,
    });
    if let Some(form) = asked(call) {
        operation["requestBody"] = content("", form);
        operation["requestBody"]["required"] = json!(true);
    }
    operation
}

/// What a call does, and the form of its answer.
const fn told(call: Call) -> (&'static str, &'static str) {
    match call {
        Call::Describe => ("This description.", "Description"),
        Call::ReadStatus => ("Counts, generation of the database, head of the ledger.", "Status"),
        Call::ListSubjects => {
            ("Who is registered, in which state; the newest change first.", "Subjects")
        }
        Call::Revoke => (
            "Takes back what a subject holds, or one certificate; sessions end within a second.",
            "Revoked",
        ),
        Call::Reinstate => {
            ("Lets a suspended subject come again; what was revoked stays revoked.", "Reinstated")
        }
        Call::VerifyLedger => ("Verifies the ledger from its first entry.", "Ledger"),
        Call::ReadExpiry => ("What expires when, and what is due within 90 days.", "Expiry"),
    }
}

/// The form of a call's body.
const fn asked(call: Call) -> Option<&'static str> {
    match call {
        Call::Revoke => Some("Revocation"),
        Call::Reinstate => Some("Reinstatement"),
        Call::Describe
        | Call::ReadStatus
        | Call::ListSubjects
        | Call::VerifyLedger
        | Call::ReadExpiry => None,
    }
}

fn content(description: &str, form: &str) -> Value {
    let schema = json!({ "$ref": format!("#/components/schemas/{form}") });
    json!({ "description": description, "content": { "application/json": { "schema": schema } } })
}

fn schemas() -> Value {
    let count = json!({ "type": "integer", "minimum": 0 });
    let instant = json!({ "type": "string", "format": "date-time" });
    let state = json!({ "enum": State::ALL.map(State::as_str) });
    let hash = json!({ "type": "string", "pattern": "^[0-9a-f]{64}$" });
    let subject = json!({
        "type": "string", "pattern": "^(thing|service|operator|server):.+$", "examples": ["thing:plug-000001"],
    });
    let roles = Role::ALL.map(Role::as_str);
    json!({
        "Description": {
            "type": "object", "required": ["openapi", "info", "paths", "components"],
            "properties": { "openapi": { "const": "3.1.0" } },
        },
        "Error": object(&json!({ "error": { "type": "string", "description": "what, and the mend" } }), &[]),
        "Status": object(&json!({
            "now": instant, "ceremony": { "type": "boolean" }, "subjects": count, "certificates": count,
            "revoked": count, "generation": count, "ledger": { "$ref": "#/components/schemas/Ledger" },
        }), &[]),
        "Ledger": object(&json!({ "entries": count, "head": hash, "root": hash }), &[]),
        "Subjects": object(&json!({
            "total": count,
            "subjects": { "type": "array", "items": { "$ref": "#/components/schemas/Subject" } },
        }), &[]),
        "Subject": object(&json!({
            "kind": { "enum": ["thing", "service", "operator", "server"] },
            "name": { "type": "string", "minLength": 1 },
            "state": state,
            "grants": { "type": "array", "items": { "type": "string" } },
            "since": instant,
            "role": { "enum": roles, "description": "of operators" },
        }), &["role"]),
        "Expiry": object(&json!({
            "now": instant, "within": count,
            "lines": { "type": "array", "items": { "$ref": "#/components/schemas/Expiring" } },
            "devices": object(&json!({ "good": count, "due": count, "expired": count }), &[]),
        }), &[]),
        "Expiring": object(&json!({
            "what": { "enum": What::ALL.map(What::as_str) },
            "name": { "type": "string" },
            "at": { "type": ["string", "null"], "format": "date-time" },
            "standing": { "enum": ["good", "due", "expired"] },
        }), &[]),
        "Revocation": object(&json!({
            "target": {
                "type": "string", "description": "kind:name, a thing's bare name, or serial:HEX",
                "examples": ["thing:plug-000001", "serial:0a1b2c"],
            },
            "reason": { "enum": Reason::ALL.map(Reason::as_str) },
        }), &[]),
        "Revoked": object(&json!({
            "subject": subject, "state": state,
            "serials": { "type": "array", "items": { "type": "string", "pattern": "^[0-9a-f]+$" } },
        }), &[]),
        "Reinstatement": object(&json!({ "subject": subject }), &[]),
        "Reinstated": object(&json!({ "subject": subject, "state": state }), &[]),
    })
}

/// An object with these members and no others; all of them required but those.
fn object(members: &Value, optional: &[&str]) -> Value {
    let names = members.as_object().into_iter().flatten().map(|(name, _)| name.as_str());
    let required: Vec<_> = names.filter(|name| !optional.contains(name)).collect();
    json!({
        "type": "object", "additionalProperties": false, "required": required, "properties": members,
    })
}
