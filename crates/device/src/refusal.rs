//! Whether a peer refused our certificate, as opposed to being out of reach or out of order.

use std::error::Error;

/// TLS alerts that mean it (RFC 9846 section 6.2).
const ABOUT_CERTIFICATES: [&str; 8] = [
    "BadCertificate",
    "UnsupportedCertificate",
    "CertificateRevoked",
    "CertificateExpired",
    "CertificateUnknown",
    "UnknownCA",
    "AccessDenied",
    "CertificateRequired",
];

/// The alert by which the peer refused our certificate, anywhere in an error's causes. In TLS 1.3 it arrives with
/// the first read after the handshake, so it may be wrapped by whatever was reading.
pub(crate) fn of_certificate(error: &(dyn Error + 'static)) -> Option<&'static str> {
    let mut cause = Some(error);
    while let Some(present) = cause {
        let text = present.to_string();
        if let Some((_, alert)) = text.split_once("fatal alert: ") {
            let name = alert.split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default();
            return ABOUT_CERTIFICATES.into_iter().find(|known| *known == name);
        }
        cause = present.source();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;

    #[test]
    fn alerts_about_certificates_are_told_from_others() {
        let error = |text: &str| io::Error::other(text.to_owned());
        let revoked = error("received fatal alert: CertificateRevoked");
        assert_eq!(of_certificate(&revoked), Some("CertificateRevoked"));
        assert_eq!(of_certificate(&error("received fatal alert: InternalError")), None);
        assert_eq!(of_certificate(&error("connection reset")), None);
    }
}
