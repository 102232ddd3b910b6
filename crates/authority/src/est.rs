//! Enrolment over Secure Transport (RFC 7030): certificates for whoever proves a right to them, over mutual TLS.
//!
//! | Path | Who | Gets |
//! |---|---|---|
//! | `/.well-known/est/cacerts` | anybody | root and issuing CAs |
//! | `/.well-known/est/csrattrs` | anybody | which key and hash to use |
//! | `/.well-known/est/simpleenroll` | a factory identity, or a code for one enrolment | the operational certificate |
//! | `/.well-known/est/simplereenroll` | a current certificate, or the factory identity where that has expired | its successor |
//!
//! Nobody without a certificate or a code gets one. Answers are base64 on one line with a Content-Length, because real clients
//! read neither folded nor chunked ones.

pub mod body;
mod handlers;
mod limits;

use axum::extract::DefaultBodyLimit;
use axum::routing::{get, post};
use axum::{Router, middleware};

use crate::authority::Authority;

/// The longest request body, in bytes: a request of 16 KiB in base64 with PEM armour, and room.
pub const MAX_BODY: usize = 64 * 1024;

/// ALPN of EST: it is HTTP.
pub const ALPN: &str = "http/1.1";

impl Authority {
    /// The four EST paths. The connection's peer must be there as a [`crate::ConnectedPeer`] extension, which
    /// [`crate::serve`] sees to.
    pub fn est_router(&self) -> Router {
        Router::new()
            .route("/.well-known/est/cacerts", get(handlers::cacerts))
            .route("/.well-known/est/csrattrs", get(handlers::csrattrs))
            .route("/.well-known/est/simpleenroll", post(handlers::simpleenroll))
            .route("/.well-known/est/simplereenroll", post(handlers::simplereenroll))
            .layer(DefaultBodyLimit::max(MAX_BODY))
            .layer(middleware::from_fn_with_state(limits::Limits::new(self), limits::limit))
            .with_state(self.clone())
            // Whoever enrols may ask for lists on the same listener.
            .merge(self.status_router())
    }
}

#[cfg(test)]
mod tests;
