//! Who asks too often is told when to come back.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::{Request, State};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use countersign_model::time::Timestamp;

use crate::authority::Authority;
use crate::rate::{Limiter, Rate, TooOften};
use crate::serve::{ConnectedFrom, ConnectedPeer};

/// A subject: a device asks once for a certificate, and again when an answer was lost.
const PER_SUBJECT: Rate = Rate { burst: 20, every_millis: 30_000 };

/// An address: a factory or a whole town may stand behind one, so this only bounds what a flood costs.
const PER_ADDRESS: Rate = Rate { burst: 2_000, every_millis: 50 };

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

    fn take(&self, request: &Request, now: Timestamp) -> Result<(), TooOften> {
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
        && let Err(TooOften { seconds, .. }) = limits.take(&request, limits.authority.core.now())
    {
        let text = format!("too many requests: ask again in {seconds} seconds\n");
        let mut response = (StatusCode::TOO_MANY_REQUESTS, text).into_response();
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        return response;
    }
    next.run(request).await
}
