//! Enrolment over Secure Transport (RFC 7030): certificates for whoever proves a right to them, over mutual TLS.
//!
//! | Path | Who | Gets |
//! |---|---|---|
//! | `/.well-known/est/cacerts` | anybody | root and issuing CAs |
//! | `/.well-known/est/csrattrs` | anybody | which key and hash to use |
//! | `/.well-known/est/simpleenroll` | a factory identity | the same thing's operational certificate |
//! | `/.well-known/est/simplereenroll` | a current certificate | its successor |
//!
//! Nobody without a certificate gets one. Answers are base64 on one line with a Content-Length, because real clients
//! read neither folded nor chunked ones.

pub mod body;
mod handlers;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::{get, post};

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
            .with_state(self.clone())
    }
}

#[cfg(test)]
mod tests;
