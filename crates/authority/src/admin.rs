//! The operators' interface: HTTPS with operator certificates, JSON in and out.
//!
//! ```text
//!  request ─► who? (certificate, registry, role) ─► how often? ─► which call? ─► CallPermit ─► handler ─► answer
//!                    │ 401, 403                      │ 429         │ 404, 405    │ 403                     │
//!                    └──────────────────────────────┴──── each of them an entry of the ledger ────────────┘
//! ```
//!
//! The calls are [`Call::ALL`]; `GET /openapi.json`, or `countersign authority openapi`, describes them. A call that
//! changes something is in the ledger before it is carried out and again, with its outcome, before it is answered.

mod call;
mod handlers;
pub mod openapi;
mod permit;
mod role;
mod roles;

use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Extension, Request, State};
use axum::http::header::{ALLOW, CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use countersign_crypto::tls::VerifiedPeer;
use serde_json::{Value, json};

pub use self::call::Call;
use self::call::Missed;
pub use self::permit::{
    CallPermit, CallType, Describe, KnownOperator, ListSubjects, NotPermitted, ReadExpiry,
    ReadStatus, Reinstate, Revoke, VerifyLedger, permit,
};
pub use self::role::{Role, UnknownRole};
use crate::authority::Authority;
use crate::error::{AuthorityError, Fault};
use crate::ledger::Kind;
use crate::rate::{Limiter, Rate, TooOften};
use crate::serve::ConnectedPeer;

/// The longest request body, in bytes: a target and a reason.
const MAX_BODY: usize = 16 * 1024;

/// How often an operator may call: every call is an entry of the ledger, and the ledger only grows. At once, what a screen that
/// opens asks for; then five a second, some 35 MiB of ledger a day at the very most.
const PER_OPERATOR: Rate = Rate { burst: 120, every_millis: 200 };

/// The interface, as every connection shares it.
#[derive(Clone)]
struct Desk {
    authority: Authority,
    rates: Arc<Mutex<Limiter<String>>>,
}

/// One call on its way to the ledger.
struct Calling<'a> {
    desk: &'a Desk,
    who: KnownOperator,
    call: Call,
    refused_before: u64,
}

/// Why there is no answer but this.
struct Refused {
    status: StatusCode,
    text: String,
    header: Option<(HeaderName, HeaderValue)>,
}

impl Authority {
    /// The admin paths, for operators only.
    pub fn admin_router(&self) -> Router {
        let desk = Desk::new(self.clone());
        // One door for every path and method, unknown ones too: nothing is answered beside it.
        Router::new().fallback(answer_call).with_state(desk)
    }
}

async fn answer_call(
    State(desk): State<Desk>,
    Extension(ConnectedPeer(peer)): Extension<ConnectedPeer>,
    request: Request,
) -> Response {
    // In a task of its own: a caller who hangs up leaves no change half-way, and none without its outcome.
    let called = tokio::spawn(async move { desk.call(peer.as_deref(), request).await });
    match called.await {
        Ok(Ok(value)) => axum::Json(value).into_response(),
        Ok(Err(refused)) => refused.into_response(),
        Err(_) => Refused::from(AuthorityError::Worker).into_response(),
    }
}

impl Desk {
    fn new(authority: Authority) -> Self {
        Self { authority, rates: Arc::new(Mutex::new(Limiter::new(PER_OPERATOR))) }
    }

    /// One call, from the door to its answer.
    //= specs/house.md#house-administration
    //# Every admin call MUST be in the ledger with its caller and its outcome before it is answered.
    async fn call(&self, peer: Option<&VerifiedPeer>, request: Request) -> Result<Value, Refused> {
        // 1. Who? Nobody else learns even which paths there are.
        let who = match peer.and_then(|peer| KnownOperator::of(peer, &self.authority.registry())) {
            Some(who) => who,
            None => return Err(self.turn_away(peer).await?),
        };
        // 2. How often?
        let refused_before = match self.rate(who.name().as_str()) {
            Ok(refused_before) => refused_before,
            Err(TooOften { first, .. }) => return Err(self.too_often(&who, first).await?),
        };
        // 3. Which call?
        let call = match Call::find(request.method().as_str(), request.uri().path()) {
            Ok(call) => call,
            Err(missed) => {
                let refused = Refused::from(missed);
                let body = json!({"operator": who.name().as_str(), "role": who.role().as_str(), "call": "unknown", "status": refused.status.as_u16()});
                self.enter(body).await?;
                return Err(refused);
            }
        };
        tracing::info!(operator = %who.name(), role = %who.role(), call = call.permission(), "admin call");
        // 4. The permit, the work, the entry; only then the answer.
        let calling = Calling { desk: self, who, call, refused_before };
        let outcome = calling.carry_out(request.into_body()).await;
        let status = outcome.as_ref().err().map_or(StatusCode::OK, |refused| refused.status);
        self.enter(calling.body("status", json!(status.as_u16()))).await?;
        outcome
    }

    /// So many were refused since the last one, the first of which is in the ledger by itself.
    fn rate(&self, who: &str) -> Result<u64, TooOften> {
        let now = self.authority.core.now();
        self.rates.lock().unwrap_or_else(PoisonError::into_inner).take(who.to_owned(), now)
    }

    /// Somebody who is no operator, or no longer.
    async fn turn_away(&self, peer: Option<&VerifiedPeer>) -> Result<Refused, Refused> {
        let (status, text) = match peer {
            None => (StatusCode::UNAUTHORIZED, "show an operator certificate"),
            Some(_) => {
                (StatusCode::FORBIDDEN, "this certificate is not that of an active operator")
            }
        };
        let name = peer.map(|peer| peer.name().to_owned());
        let caller = format!("no operator: {}", name.as_deref().unwrap_or_default());
        // A door that is knocked at for ever does not fill the disk.
        if !matches!(self.rate(&caller), Err(TooOften { first: false, .. })) {
            self.enter(json!({"refused": name, "call": "unknown", "status": status.as_u16()}))
                .await?;
        }
        Ok(Refused::new(status, text))
    }

    async fn too_often(&self, who: &KnownOperator, first: bool) -> Result<Refused, Refused> {
        let status = StatusCode::TOO_MANY_REQUESTS;
        if first {
            let body = json!({"operator": who.name().as_str(), "role": who.role().as_str(), "call": "unknown", "status": status.as_u16()});
            self.enter(body).await?;
        }
        let text = format!("too many calls: one every {} ms is allowed", PER_OPERATOR.every_millis);
        let header = Some((RETRY_AFTER, HeaderValue::from_static("1")));
        Ok(Refused { status, text, header })
    }

    /// Into the ledger; what cannot be written down is not done and not answered.
    async fn enter(&self, body: Value) -> Result<(), Refused> {
        self.authority.core.record(Kind::AdminCall, body).await.map(drop).map_err(Refused::from)
    }
}

impl Calling<'_> {
    async fn carry_out(&self, body: Body) -> Result<Value, Refused> {
        let (authority, who) = (&self.desk.authority, &self.who);
        match self.call {
            Call::Describe => Ok(handlers::describe(&permit::<Describe>(who)?)),
            Call::ReadStatus => Ok(handlers::status(authority, &permit(who)?).await?),
            Call::ListSubjects => Ok(handlers::subjects(authority, &permit(who)?).await?),
            Call::VerifyLedger => Ok(handlers::verify_ledger(authority, &permit(who)?).await?),
            Call::ReadExpiry => Ok(handlers::expiry(authority, &permit(who)?).await?),
            Call::Revoke => {
                let permit = permit(who)?;
                let asked = handlers::Revocation::read(&read(body).await?)?;
                self.begin(&asked.about()).await?;
                Ok(handlers::revoke(authority, &permit, &asked).await?)
            }
            Call::Reinstate => {
                let permit = permit(who)?;
                let asked = handlers::Reinstatement::read(&read(body).await?)?;
                self.begin(&asked.about()).await?;
                Ok(handlers::reinstate(authority, &permit, &asked).await?)
            }
        }
    }

    /// What is about to change, before it does.
    async fn begin(&self, about: &str) -> Result<(), Refused> {
        self.desk.enter(self.body("begins", json!(about))).await
    }

    /// Who and what; never a body or an error's text, which may hold anything.
    fn body(&self, what: &str, value: Value) -> Value {
        let mut body = json!({
            "operator": self.who.name().as_str(), "role": self.who.role().as_str(), "call": self.call.permission(),
        });
        body[what] = value;
        if self.refused_before > 0 {
            body["refused_before"] = json!(self.refused_before);
        }
        body
    }
}

async fn read(body: Body) -> Result<Vec<u8>, Refused> {
    match to_bytes(body, MAX_BODY).await {
        Ok(bytes) => Ok(bytes.to_vec()),
        Err(_) => {
            let text = format!("the body does not end within {MAX_BODY} bytes");
            Err(Refused::new(StatusCode::PAYLOAD_TOO_LARGE, text))
        }
    }
}

impl Refused {
    fn new(status: StatusCode, text: impl Into<String>) -> Self {
        Self { status, text: text.into(), header: None }
    }

    fn bad(text: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, text)
    }
}

/// Operators are told the whole cause: file, field, mend.
impl From<AuthorityError> for Refused {
    fn from(error: AuthorityError) -> Self {
        let status = match error.fault() {
            Fault::Request => StatusCode::BAD_REQUEST,
            Fault::Refused => StatusCode::CONFLICT,
            Fault::Operator => StatusCode::NOT_FOUND,
            Fault::Environment => StatusCode::SERVICE_UNAVAILABLE,
            Fault::Program => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self::new(status, error.to_string())
    }
}

impl From<NotPermitted> for Refused {
    fn from(error: NotPermitted) -> Self {
        Self::new(StatusCode::FORBIDDEN, error.to_string())
    }
}

impl From<Missed> for Refused {
    fn from(missed: Missed) -> Self {
        match missed {
            Missed::Path => {
                Self::new(StatusCode::NOT_FOUND, "no such path: GET /openapi.json tells which are")
            }
            Missed::Method(method) => Self {
                status: StatusCode::METHOD_NOT_ALLOWED,
                text: format!("this path is for {method}"),
                header: Some((ALLOW, HeaderValue::from_static(method))),
            },
        }
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let body = json!({"error": self.text}).to_string();
        let json = (CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let mut response = (self.status, [json], body).into_response();
        if let Some((name, value)) = self.header {
            response.headers_mut().insert(name, value);
        }
        response
    }
}

#[cfg(test)]
mod tests;
