//! The operators' interface: HTTPS with operator certificates, JSON in and out.
//!
//! | Call | Does |
//! |---|---|
//! | `GET /v1/status` | counts, generation, ledger head |
//! | `GET /v1/subjects` | who is registered, in which state |
//! | `POST /v1/revocations` | `{"target":"thing:plug-1"\|"serial:…","reason":"suspended"}` |
//! | `POST /v1/reinstatements` | `{"subject":"thing:plug-1"}` |
//! | `GET /v1/ledger/verify` | verifies the whole ledger |

use axum::extract::rejection::JsonRejection;
use axum::extract::{DefaultBodyLimit, Extension, Request, State};
use axum::http::StatusCode;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use countersign_crypto::certificate::IdentityKind;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::authority::Authority;
use crate::error::{AuthorityError, Fault};
use crate::registration::{Reason, State as SubjectState};
use crate::revocation::Target;
use crate::serve::ConnectedPeer;
use crate::subject::Subject;

/// The longest request body, in bytes: a target and a reason.
const MAX_BODY: usize = 16 * 1024;

/// The most subjects in one answer; the newest changes come first.
const MAX_LISTED: usize = 10_000;

impl Authority {
    /// The admin paths, for operators only.
    pub fn admin_router(&self) -> Router {
        Router::new()
            .route("/v1/status", get(status))
            .route("/v1/subjects", get(subjects))
            .route("/v1/revocations", post(revoke))
            .route("/v1/reinstatements", post(reinstate))
            .route("/v1/ledger/verify", get(verify_ledger))
            // Every path, unknown ones too, is behind this.
            .layer(middleware::from_fn_with_state(self.clone(), operators_only))
            .layer(DefaultBodyLimit::max(MAX_BODY))
            .with_state(self.clone())
    }
}

/// An operator whose certificate counts and who is active; nobody else learns even which paths there are.
async fn operators_only(
    State(authority): State<Authority>,
    Extension(ConnectedPeer(peer)): Extension<ConnectedPeer>,
    request: Request,
    next: Next,
) -> Response {
    let Some(peer) = peer else {
        return answer(StatusCode::UNAUTHORIZED, "show an operator certificate");
    };
    let registry = authority.registry();
    let active = peer
        .name()
        .parse()
        .ok()
        .and_then(|name| registry.subject(&Subject::Operator(name)))
        .is_some_and(|known| known.state == SubjectState::Active);
    if peer.kind() != IdentityKind::Operator || !active || registry.is_revoked(peer.certificate()) {
        return answer(StatusCode::FORBIDDEN, "this certificate is not that of an active operator");
    }
    tracing::info!(operator = peer.name(), method = %request.method(), path = request.uri().path(), "admin call");
    next.run(request).await
}

async fn status(State(authority): State<Authority>) -> Response {
    reply(async {
        let core = &authority.core;
        let ledger = authority.ledger_summary().await?;
        Ok(json!({
            "now": core.now().to_rfc3339(),
            "ceremony": authority.authorities().is_ok(),
            "subjects": core.registry.subject_count(),
            "certificates": core.store.count_good(core.now()).await?,
            "revoked": core.registry.denylist().len(),
            "generation": core.store.generation().await?,
            "ledger": ledger,
        }))
    })
    .await
}

async fn subjects(State(authority): State<Authority>) -> Response {
    reply(async {
        let all = authority.subjects().await?;
        let total = all.len();
        let listed: Vec<Value> = all
            .into_iter()
            .rev()
            .take(MAX_LISTED)
            .map(|one| {
                let grants: Vec<String> = one.grants.iter().map(ToString::to_string).collect();
                json!({
                    "kind": one.subject.kind(), "name": one.subject.name(), "state": one.state.as_str(),
                    "grants": grants, "since": one.created_at.to_rfc3339(),
                })
            })
            .collect();
        Ok(json!({"total": total, "subjects": listed}))
    })
    .await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Revocation {
    target: String,
    reason: Reason,
}

async fn revoke(
    State(authority): State<Authority>,
    body: Result<Json<Revocation>, JsonRejection>,
) -> Response {
    let Json(asked) = match body {
        Ok(asked) => asked,
        Err(error) => return answer(StatusCode::BAD_REQUEST, &error.body_text()),
    };
    let target: Target = match asked.target.parse() {
        Ok(target) => target,
        Err(error) => return answer(StatusCode::BAD_REQUEST, &format!("target: {error}")),
    };
    reply(async {
        let done = authority.revoke(&target, asked.reason).await?;
        Ok(json!({
            "subject": done.subject.to_string(), "state": done.state.as_str(), "serials": done.serials,
        }))
    })
    .await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Reinstatement {
    subject: String,
}

async fn reinstate(
    State(authority): State<Authority>,
    body: Result<Json<Reinstatement>, JsonRejection>,
) -> Response {
    let Json(asked) = match body {
        Ok(asked) => asked,
        Err(error) => return answer(StatusCode::BAD_REQUEST, &error.body_text()),
    };
    let subject: Subject = match asked.subject.parse() {
        Ok(subject) => subject,
        Err(error) => return answer(StatusCode::BAD_REQUEST, &format!("subject: {error}")),
    };
    reply(async {
        let state = authority.reinstate(&subject).await?;
        Ok(json!({"subject": subject.to_string(), "state": state.as_str()}))
    })
    .await
}

async fn verify_ledger(State(authority): State<Authority>) -> Response {
    reply(async {
        let summary = authority.verify_ledger().await?;
        Ok(serde_json::to_value(summary).expect("counts and hashes serialise"))
    })
    .await
}

/// Operators are told the whole cause: file, field, mend.
async fn reply(work: impl Future<Output = Result<Value, AuthorityError>>) -> Response {
    match work.await {
        Ok(value) => Json(value).into_response(),
        Err(error) => {
            let status = match error.fault() {
                Fault::Request => StatusCode::BAD_REQUEST,
                Fault::Refused => StatusCode::CONFLICT,
                Fault::Operator => StatusCode::NOT_FOUND,
                Fault::Environment => StatusCode::SERVICE_UNAVAILABLE,
                Fault::Program => StatusCode::INTERNAL_SERVER_ERROR,
            };
            answer(status, &error.to_string())
        }
    }
}

fn answer(status: StatusCode, text: &str) -> Response {
    (status, Json(json!({"error": text}))).into_response()
}

#[cfg(test)]
mod tests;
