//! An OCSP request, as the responder receives it.

use countersign_crypto::ocsp::{MAX_CERTIFICATES, MAX_REQUEST, Request};

/// Whatever is read is within its bounds, and names what is asked in hexadecimal.
pub fn target(data: &[u8]) {
    let Ok(request) = Request::from_der(data) else { return };
    assert!(data.len() <= MAX_REQUEST);
    assert!((1..=MAX_CERTIFICATES).contains(&request.asked().len()));
    for one in request.asked() {
        assert!(one.serial_hex().bytes().all(|byte| byte.is_ascii_hexdigit()));
    }
    let _ = request.has_nonce();
}
