//! The body of an EST request, and the certification request inside.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use countersign_authority::est::body::request_der;
use countersign_crypto::csr;

/// What begins as a request does is read as the same from plain base64 again.
pub fn target(data: &[u8]) {
    let Some(der) = request_der(data) else { return };
    if der.first() == Some(&0x30) {
        let line = STANDARD.encode(&der);
        assert_eq!(request_der(line.as_bytes()).as_ref(), Some(&der));
    }
    let _ = csr::verify(&der);
}
