//! Who asks too often is told when to come back.

use std::net::{IpAddr, Ipv6Addr};
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
            known.take(counted(*address), now)?;
        }
        if let Some(ConnectedPeer(Some(peer))) = extensions.get() {
            let mut known = self.subjects.lock().unwrap_or_else(PoisonError::into_inner);
            known.take(format!("{:?}:{}", peer.kind(), peer.name()), now)?;
        }
        Ok(())
    }
}

/// What an address is counted as. Whoever has one of IPv6 has the 2^64 others of its subnet (RFC 4291 section 2.5.4).
fn counted(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(own) => IpAddr::V6(Ipv6Addr::from_bits(own.to_bits() & !u128::from(u64::MAX))),
        v4 @ IpAddr::V4(_) => v4,
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

#[cfg(test)]
mod tests {
    use super::*;

    //= specs/house.md#house-est
    //= type=test
    //# Enrolment requests MUST be limited per subject and per address.
    #[test]
    fn a_subnet_is_one_address_and_its_neighbour_another() {
        let counted = |text: &str| counted(text.parse().expect("an address"));
        assert_eq!(counted("2001:db8:1:2:3:4:5:6"), counted("2001:db8:1:2::1"));
        assert_ne!(counted("2001:db8:1:2::1"), counted("2001:db8:1:3::1"));
        assert_eq!(counted("::ffff:192.0.2.1"), counted("192.0.2.1"));
        assert_ne!(counted("192.0.2.1"), counted("192.0.2.2"));
        assert_ne!(counted("::ffff:192.0.2.1"), counted("::ffff:192.0.2.2"));
    }
}
