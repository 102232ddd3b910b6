//! A peer's certificate, single and as a chain.

use countersign_crypto::certificate::{Certificate, certificates_from_pem};
use countersign_crypto::issue::Facts;

/// What was parsed answers every question about itself; nothing but its own bytes verifies it.
pub fn target(data: &[u8]) {
    if let Ok(certificate) = Certificate::from_der(data) {
        assert_eq!(certificate.der(), data);
        let _ = (certificate.subject_cn(), certificate.issuer_cn(), certificate.serial_hex());
        let _ = (certificate.validity(), certificate.name(), certificate.dns_names());
        let _ = (certificate.ip_addresses(), certificate.is_ca(), certificate.key_usage());
        let _ = (certificate.basic_constraints(), certificate.extended_key_usage());
        let _ = (certificate.subject_key_id(), certificate.authority_key_id());
        let _ = (certificate.key_algorithm(), certificate.verify_signed_by(&certificate));
        let _ = Facts::of(&certificate);
        let again = Certificate::from_der(certificate.der()).map(|again| again.fingerprint());
        assert_eq!(again.ok(), Some(certificate.fingerprint()));
    }
    let _ = certificates_from_pem(data);
}
