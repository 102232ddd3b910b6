//! The only place where cryptography is named or chosen.
//!
//! ```text
//!  policy ── what is allowed, by name ──► tls ── channels that know their peer and their strength
//!                                          │
//!  certificate, csr, issue, pkcs7          ├── signature, second, keystore ── handles that sign
//!  cose, note_key ── signed documents      └── secret, seal, envelope ── what must not leak
//!  pake ── pairing by setup code
//!  custody ── a key that several people hold
//!                     provider (private): the one file that names a backend
//! ```
//!
//! ```
//! use countersign_crypto::{cose, signature::{KeyHandle, SignatureAlgorithm}};
//! let key = KeyHandle::ephemeral(SignatureAlgorithm::EcdsaP256Sha256)?;
//! let document = cose::sign1(&key, "application/example", b"hello")?;
//! assert_eq!(cose::verify1(&document, "application/example", key.spki_der())?, b"hello");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Nothing here invents a primitive: the provider's backend computes, maintained crates parse, and this crate
//! decides which of it the product may use.

pub mod policy;
pub mod retirement;
pub mod tls;

pub mod anchors;
pub mod certificate;
pub mod crl;
pub mod csr;
pub mod issue;
pub mod known_keys;
pub mod ocsp;
pub mod pkcs7;

pub mod keystore;
pub mod note_key;
pub mod second;
pub mod signature;
mod statements;

pub mod cose;
pub mod custody;
pub mod pake;

pub mod envelope;
pub mod seal;
pub mod secret;

pub mod digest;
pub mod file;
pub mod inventory;
pub mod random;
pub mod register;

mod provider;

pub use provider::BACKEND;
