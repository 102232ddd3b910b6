//! What a probe tries, by code point (IANA TLS parameters).

/// TLS versions on the wire, oldest first.
pub const VERSIONS: [u16; 5] = [0x0300, 0x0301, 0x0302, 0x0303, 0x0304];

/// TLS 1.3 suites, with the two integrity-only ones of RFC 9150.
pub const SUITES_13: [u16; 7] = [0x1301, 0x1302, 0x1303, 0x1304, 0x1305, 0xc0b4, 0xc0b5];

/// Suites of TLS 1.2 and below: every modern one, and those that must not be there.
pub const SUITES_12: [u16; 64] = [
    0xc02b, 0xc02c, 0xc02f, 0xc030, 0xcca8, 0xcca9, 0xccaa, 0xc0ac, 0xc0ad, 0xc0ae, 0xc0af, 0xc023,
    0xc024, 0xc027, 0xc028, 0xc009, 0xc00a, 0xc013, 0xc014, 0xc008, 0xc012, 0xc007, 0xc011, 0x009e,
    0x009f, 0xc09e, 0xc09f, 0x0067, 0x006b, 0x0033, 0x0039, 0x0016, 0x009c, 0x009d, 0xc09c, 0xc09d,
    0x003c, 0x003d, 0x002f, 0x0035, 0x000a, 0x0005, 0x0004, 0x0007, 0x0096, 0x0041, 0x0084, 0x0009,
    0x0003, 0x0006, 0x0008, 0x0001, 0x0002, 0x003b, 0x0018, 0x001b, 0x0034, 0x003a, 0xc018, 0xc019,
    0x00a8, 0xc0a8, 0xd001, 0xc0b0,
];

/// Those of [`SUITES_12`] that agree keys over an elliptic curve.
pub const ECDHE_12: [u16; 22] = [
    0xc02b, 0xc02c, 0xc02f, 0xc030, 0xcca8, 0xcca9, 0xc0ac, 0xc0ad, 0xc0ae, 0xc0af, 0xc023, 0xc024,
    0xc027, 0xc028, 0xc009, 0xc00a, 0xc013, 0xc014, 0xc008, 0xc012, 0xc007, 0xc011,
];

/// Those of [`SUITES_12`] that agree keys over a finite field.
pub const DHE_12: [u16; 15] = [
    0xccaa, 0x009e, 0x009f, 0xc09e, 0xc09f, 0x0067, 0x006b, 0x0033, 0x0039, 0x0016, 0x0018, 0x001b,
    0x0034, 0x003a, 0xc0b0,
];

/// Groups: elliptic curves, finite fields, ML-KEM alone and hybrid, and some that must not be there.
pub const GROUPS: [u16; 28] = [
    0x11eb, 0x11ec, 0x11ed, 0x0200, 0x0201, 0x0202, 23, 24, 25, 29, 30, 26, 27, 28, 31, 32, 33,
    256, 257, 258, 259, 260, 0x6399, 0x639a, 19, 21, 22, 1,
];

/// Signature schemes offered in hand-made hellos.
pub const SCHEMES: [u16; 16] = [
    0x0403, 0x0503, 0x0603, 0x0807, 0x0808, 0x0804, 0x0805, 0x0806, 0x0809, 0x0401, 0x0501, 0x0601,
    0x0904, 0x0905, 0x0203, 0x0201,
];

/// The usual name of a version.
#[must_use]
pub fn version(code: u16) -> String {
    match code {
        0x0300 => "SSL 3.0".into(),
        0x0301 => "TLS 1.0".into(),
        0x0302 => "TLS 1.1".into(),
        0x0303 => "TLS 1.2".into(),
        0x0304 => "TLS 1.3".into(),
        other => format!("version 0x{other:04x}"),
    }
}

/// The name of an alert (RFC 9846 section 6).
#[must_use]
pub const fn alert(code: u8) -> &'static str {
    match code {
        0 => "close_notify",
        10 => "unexpected_message",
        20 => "bad_record_mac",
        40 => "handshake_failure",
        42 => "bad_certificate",
        43 => "unsupported_certificate",
        44 => "certificate_revoked",
        45 => "certificate_expired",
        46 => "certificate_unknown",
        47 => "illegal_parameter",
        48 => "unknown_ca",
        49 => "access_denied",
        50 => "decode_error",
        51 => "decrypt_error",
        70 => "protocol_version",
        71 => "insufficient_security",
        80 => "internal_error",
        86 => "inappropriate_fallback",
        109 => "missing_extension",
        110 => "unsupported_extension",
        112 => "unrecognized_name",
        116 => "certificate_required",
        120 => "no_application_protocol",
        _ => "alert",
    }
}
