//! A PKCS#10 request, as EST receives it.

use countersign_crypto::csr;

/// A request that verifies proves its key: with one byte of the signature changed it does not.
pub fn target(data: &[u8]) {
    let Ok(request) = csr::verify(data) else { return };
    let _ = (request.common_name(), request.dns(), request.other_names());
    assert!(!request.spki_der().is_empty());
    let mut changed = data.to_vec();
    if let Some(last) = changed.last_mut() {
        *last ^= 1;
    }
    assert!(csr::verify(&changed).is_err(), "a changed signature still proves possession");
}
