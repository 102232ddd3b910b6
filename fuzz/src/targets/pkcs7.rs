//! EST's certs-only PKCS#7, as a device reads it from a server.

use countersign_crypto::pkcs7;

/// What was read can be written, and says the same when read again.
pub fn target(data: &[u8]) {
    let Ok(certificates) = pkcs7::parse_certs_only(data) else { return };
    let Ok(written) = pkcs7::certs_only(&certificates) else { return };
    let again = pkcs7::parse_certs_only(&written).expect("what was written is read");
    let fingerprints = |all: &[countersign_crypto::certificate::Certificate]| {
        let mut all: Vec<_> = all.iter().map(|one| one.fingerprint()).collect();
        all.sort_unstable();
        all.dedup();
        all
    };
    assert_eq!(fingerprints(&again), fingerprints(&certificates));
}
