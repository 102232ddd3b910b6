//! Who asks too often is told when to come back.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::{Request, State};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use countersign_model::time::Timestamp;

use super::limit::{Limiter, PER_ADDRESS, PER_SUBJECT};
use crate::authority::Authority;
use crate::serve::{ConnectedFrom, ConnectedPeer};

/// The counts of one router.
pub(super) struct Limits {
    authority: Authority,
    subjects: Mutex<Limiter<String>>,
    addresses: Mutex<Limiter<IpAddr>>,
}

impl Limits {
    pub(super) fn new(authority: &Authority) -> Arc<Self> {
        Arc::new(Self {
            authority: authority.clone(),
            subjects: Mutex::new(Limiter::new(PER_SUBJECT)),
            addresses: Mutex::new(Limiter::new(PER_ADDRESS)),
        })
    }

    fn take(&self, request: &Request, now: Timestamp) -> Result<(), u64> {
        let extensions = request.extensions();
        if let Some(ConnectedFrom(address)) = extensions.get() {
            let mut known = self.addresses.lock().unwrap_or_else(PoisonError::into_inner);
            known.take(address.to_canonical(), now)?;
        }
        if let Some(ConnectedPeer(Some(peer))) = extensions.get() {
            let mut known = self.subjects.lock().unwrap_or_else(PoisonError::into_inner);
            known.take(format!("{:?}:{}", peer.kind(), peer.name()), now)?;
        }
        Ok(())
    }
}

/// Only what may issue is counted; the rest costs little.
pub(super) async fn limit(
    State(limits): State<Arc<Limits>>,
    request: Request,
    next: Next,
) -> Response {
    if request.method() == Method::POST
        && let Err(seconds) = limits.take(&request, limits.authority.core.now())
    {
        let text = format!("too many requests: ask again in {seconds} seconds\n");
        let mut response = (StatusCode::TOO_MANY_REQUESTS, text).into_response();
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        return response;
    }
    next.run(request).await
}
