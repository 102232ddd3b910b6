//! What everybody may know of a certificate's standing: revocation lists (RFC 5280) and OCSP (RFC 6960), for those who are not a gateway
//! of ours and get no denylist pushed.
//!
//! | Path | Gives |
//! |---|---|
//! | `GET /crl/LABEL.crl` | the complete list of an issuing CA (`root` too, where the plan lets this process use its key alone), never older than a change and [`FRESH`] |
//! | `GET /crl/LABEL-delta.crl` | what came since the base that it names |
//! | `GET /crl/LABEL/N.crl`, `GET /crl/LABEL/N-delta.crl` | the same for shard N of [`SHARDS`] of the serial numbers, 0 on |
//! | `POST /ocsp`, `GET /ocsp/BASE64` | the standing of up to sixteen certificates |
//!
//! Lists and answers are signed by the CA that issued, through its key handle. A CA that is retired signs a last list before
//! its key is destroyed. Nothing here needs a client certificate, and nothing here is secret.

mod http;
mod lists;
mod responder;

pub(crate) use self::lists::Cache;

#[cfg(test)]
mod tests;
pub use self::lists::{FRESH, Form, SHARDS, Scope};
