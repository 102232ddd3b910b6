//! Request bodies as clients really send them: base64 with or without line ends, PEM, or plain DER.

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

/// Some clients leave the padding out.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The tag of an ASN.1 SEQUENCE: base64 of one begins with `M`, never with this octet, which is the digit 0.
const SEQUENCE: u8 = 0x30;

/// The DER in a body; `None` when it is in no form that is known.
#[must_use]
pub fn request_der(body: &[u8]) -> Option<Vec<u8>> {
    if body.first() == Some(&SEQUENCE) {
        return Some(body.to_vec());
    }
    let text = std::str::from_utf8(body).ok()?.trim();
    let inner = match text.strip_prefix("-----BEGIN ") {
        None => text,
        Some(rest) => {
            let (label, rest) = rest.split_once("-----")?;
            if !matches!(label, "CERTIFICATE REQUEST" | "NEW CERTIFICATE REQUEST") {
                return None;
            }
            rest.split_once("-----END ")?.0
        }
    };
    let compact: Vec<u8> = inner.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    LENIENT.decode(compact).ok().filter(|der| !der.is_empty())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use base64::engine::general_purpose::STANDARD as BASE64;

    #[test]
    fn every_form_of_real_clients_is_read() {
        let der: Vec<u8> = [0x30, 0x82, 1, 0].into_iter().chain((0..=255).take(256)).collect();
        let line = BASE64.encode(&der);
        let folded: String = line
            .as_bytes()
            .chunks(64)
            .map(|c| format!("{}\r\n", std::str::from_utf8(c).unwrap()))
            .collect();
        let pem = |label: &str| format!("-----BEGIN {label}-----\n{folded}-----END {label}-----\n");
        for body in [
            line.clone().into_bytes(),
            folded.clone().into_bytes(),
            line.trim_end_matches('=').as_bytes().to_vec(),
            pem("CERTIFICATE REQUEST").into_bytes(),
            pem("NEW CERTIFICATE REQUEST").into_bytes(),
            der.clone(),
        ] {
            assert_eq!(request_der(&body).unwrap(), der);
        }
        assert_eq!(request_der(pem("PRIVATE KEY").as_bytes()), None);
    }

    #[test]
    fn garbage_is_none() {
        for body in [
            &b""[..],
            b"\xff\xfe",
            b"{}",
            b"-----BEGIN ",
            b"-----BEGIN CERTIFICATE REQUEST-----",
            b"   ",
        ] {
            assert_eq!(request_der(body), None);
        }
    }
}
