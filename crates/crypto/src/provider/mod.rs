//! The one door to a cryptographic backend. Everything else in the product asks here, by registered name;
//! replacing the backend is replacing the file behind this one. `graviola` is there to prove it, in tests alone.

use rustls::crypto::SupportedKxGroup;
use rustls::pki_types::SignatureVerificationAlgorithm;
use rustls::{SignatureScheme, SupportedCipherSuite};

//= specs/en-303-645.md#5.5-2
//= type=implication
//# Network and security functions, cryptography above all, SHOULD come from reviewed or evaluated implementations.
#[cfg(not(feature = "second-provider"))]
mod aws_lc;
#[cfg(not(feature = "second-provider"))]
use aws_lc as backend;

#[cfg(feature = "second-provider")]
mod graviola;
#[cfg(feature = "second-provider")]
use graviola as backend;

mod pairing;

pub use backend::BACKEND;
pub(crate) use backend::{
    DRBG, Ed25519, GROUPS, HPKE_192, HPKE_256, SCHEMES, SEAL_AEAD, SEAL_KEY_LEN, SEAL_NONCE_LEN,
    SECOND, SUITES, SecondSoftwareKey, SoftwareKey, aead_open, aead_seal, ed25519_verify,
    hmac_sha256, hpke_192, hpke_256, random, sha1_name, sha256, sha384, tls_backend, verify,
    verify_second,
};
pub(crate) use pairing::{Argon2Refused, argon2id, spake2plus};

/// The backend failed where only a broken platform makes it fail, or refused its input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BackendRefused;

/// What the backend knows of a TLS group: its registered name and its strength in bits.
pub(crate) struct Group {
    pub(crate) name: &'static str,
    pub(crate) code: u16,
    pub(crate) bits: u16,
    pub(crate) group: &'static dyn SupportedKxGroup,
}

/// A TLS 1.3 cipher suite by its registered name, with its strength in bits.
pub(crate) struct Suite {
    pub(crate) name: &'static str,
    pub(crate) code: u16,
    pub(crate) bits: u16,
    pub(crate) suite: SupportedCipherSuite,
}

/// A TLS signature scheme and the algorithm that verifies it.
pub(crate) struct Scheme {
    pub(crate) name: &'static str,
    pub(crate) scheme: SignatureScheme,
    pub(crate) verifiers: &'static [&'static dyn SignatureVerificationAlgorithm],
}
