//! The manufacturer's key management: ceremony, factory, enrolment, rotation, revocation, ledger. The only holder of
//! issuing keys.
//!
//! ```text
//!              ┌──────────── est ────────────┐  devices and services renew over mutual TLS (RFC 7030)
//!              │                             │
//!  registration ─► profile ─► prepare ─► lint ─► issuance ─► store (subjects, certificates, revocations)
//!     EnrolmentPermit            LintedCertificate   │              │
//!                                                    ▼              ▼
//!  ceremony ── root, issuing CAs, policy key      ledger        registry ── what gateways ask, live
//!  root ── its use, by its custodians' permit
//!  rotation ── their successors, as `in_force` (the policy) demands          evidence ── that processes were carried out
//! ```
//!
//! What cannot be skipped is a type: a signature needs a [`lint::LintedCertificate`], which only linting makes; an
//! issuance needs a [`registration::EnrolmentPermit`], which only registration makes.
//!
//! ```
//! use countersign_authority::{Authority, AuthorityConfig, CeremonyPlan, Sources};
//! # #[tokio::main] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = tempfile::tempdir()?; let data = folder.path();
//! let authority = Authority::open(data, AuthorityConfig::default(), Sources::system()).await?;
//! authority.ceremony(&CeremonyPlan::example(), |_| std::ops::ControlFlow::Continue(())).await?;
//! assert!(data.join("roots.pem").exists());
//! assert!(authority.verify_ledger().await?.entries > 0);
//! # Ok(()) }
//! ```

pub mod config;
pub mod error;

mod authorities;
mod authority;
pub mod ceremony;

pub mod alarm;
pub mod lint;
pub mod profile;
pub mod registration;
pub mod subject;

mod every_core;
mod in_force;
mod issuance;

pub mod policies;
mod probe;

pub mod code;
pub mod enrol;
pub mod est;
pub mod factory;
pub mod revocation;
pub mod rotation;
mod server_identity;
pub mod status;

pub mod backup;
pub mod evidence;
pub mod expiry;
pub mod ledger;
mod records;
pub mod registry;
pub mod root;
pub mod store;

pub mod admin;
mod rate;
mod serve;

#[cfg(test)]
mod testing;

pub use authorities::{Authorities, IssuingCa, UnknownCa};
pub use authority::{Authority, Layout, Sources};
pub use ceremony::{CeremonyOutcome, CeremonyPlan};
pub use config::AuthorityConfig;
pub use error::{AuthorityError, Fault};
pub use issuance::Issued;
pub use policies::{PolicyOutcome, SignedPolicy};
pub use records::ExportForm;
pub use serve::{ConnectedFrom, ConnectedPeer, serve, serve_connection, serve_plain};
