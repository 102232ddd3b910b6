//! Demanded by the certificate profile for constrained devices (draft-ietf-uta-tls13-iot-profile).

pub(super) mod depth;
pub(super) mod extended_key_usage;
pub(super) mod key;
pub(super) mod key_identifiers;
pub(super) mod key_usage;
pub(super) mod names;
pub(super) mod no_pointers;
