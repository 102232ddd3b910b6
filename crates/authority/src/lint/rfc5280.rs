//! Demanded by RFC 5280.

pub(super) mod extensions;
pub(super) mod issuer;
pub(super) mod issuing_ca;
pub(super) mod serial;
pub(super) mod signature_algorithm;
pub(super) mod time_form;
pub(super) mod version;
