//! The paths. Everybody may ask; how much at once is bounded.

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use countersign_crypto::ocsp::{Failure, MAX_REQUEST, failure};
use tokio::sync::Semaphore;

use super::Scope;
use super::responder::ANSWER_LIFE;
use crate::authority::Authority;
use crate::error::AuthorityError;

/// The most answers that are made at once: each may cost a signature, and in a token that takes its time.
const AT_ONCE: usize = 16;

#[derive(Clone)]
struct Shared {
    authority: Authority,
    places: Arc<Semaphore>,
}

impl Authority {
    /// Lists and OCSP, for everybody.
    pub fn status_router(&self) -> Router {
        let shared = Shared { authority: self.clone(), places: Arc::new(Semaphore::new(AT_ONCE)) };
        Router::new()
            .route("/crl/{*path}", get(list))
            .route("/ocsp", post(posted))
            .route("/ocsp/{*request}", get(gotten))
            .layer(DefaultBodyLimit::max(MAX_REQUEST))
            .with_state(shared)
    }
}

async fn list(State(shared): State<Shared>, Path(path): Path<String>) -> Response {
    let Some(scope) = Scope::from_path(&path) else {
        return (StatusCode::NOT_FOUND, "there is no such list\n").into_response();
    };
    let _place = shared.places.acquire().await;
    match shared.authority.crl(&scope).await {
        Ok(crl) => {
            let kind = HeaderValue::from_static("application/pkix-crl");
            ([(header::CONTENT_TYPE, kind)], crl.der().to_vec()).into_response()
        }
        Err(AuthorityError::Unknown(_)) => {
            (StatusCode::NOT_FOUND, "there is no such list\n").into_response()
        }
        Err(error) => {
            tracing::error!(%error, "a revocation list could not be made");
            (StatusCode::SERVICE_UNAVAILABLE, "no list can be made now: try again later\n")
                .into_response()
        }
    }
}

async fn posted(State(shared): State<Shared>, body: Bytes) -> Response {
    let _place = shared.places.acquire().await;
    said(shared.authority.ocsp(&body).await, false)
}

/// RFC 6960 appendix A.1: the request in base64, in the path.
async fn gotten(State(shared): State<Shared>, Path(request): Path<String>) -> Response {
    let _place = shared.places.acquire().await;
    match BASE64.decode(request.as_bytes()) {
        Ok(der) => {
            let (der, for_everybody) = shared.authority.ocsp_answer(&der).await;
            said(der, for_everybody)
        }
        Err(_) => said(failure(Failure::MalformedRequest), false),
    }
}

fn said(der: Vec<u8>, for_everybody: bool) -> Response {
    let kind = HeaderValue::from_static("application/ocsp-response");
    let mut response = ([(header::CONTENT_TYPE, kind)], der).into_response();
    // RFC 5019 section 6: what was got, and is for everybody, may be kept for a part of its life.
    let keep = if for_everybody {
        format!("max-age={}, public, no-transform, must-revalidate", ANSWER_LIFE.as_secs() / 10)
    } else {
        "no-store".to_owned()
    };
    if let Ok(value) = HeaderValue::from_str(&keep) {
        response.headers_mut().insert(header::CACHE_CONTROL, value);
    }
    response
}

#[cfg(test)]
mod tests;
