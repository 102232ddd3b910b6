//! A certificate's content as facts. Total: what cannot be parsed is a fact of its own.

use crate::evidence::{CertificateFacts, sha256_hex};
use std::collections::BTreeSet;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::public_key::PublicKey;

/// Reads one certificate in DER form.
#[must_use]
pub fn read(der: &[u8]) -> CertificateFacts {
    let mut facts = CertificateFacts { sha256: sha256_hex(der), ..CertificateFacts::default() };
    let Ok((rest, certificate)) = X509Certificate::from_der(der) else { return facts };
    if !rest.is_empty() {
        return facts;
    }
    facts.parsed = true;
    facts.subject = certificate.subject().to_string();
    facts.issuer = certificate.issuer().to_string();
    facts.serial_bits = u32::try_from(certificate.serial.bits()).unwrap_or(u32::MAX);
    facts.not_before = certificate.validity().not_before.timestamp();
    facts.not_after = certificate.validity().not_after.timestamp();
    (facts.key_algorithm, facts.key_bits) = key(&certificate);
    facts.signature_algorithm =
        signature(&certificate.signature_algorithm.algorithm.to_id_string());
    for extension in certificate.extensions() {
        let oid = extension.oid.to_id_string();
        facts.extensions.insert(short(&oid));
        match extension.parsed_extension() {
            ParsedExtension::BasicConstraints(basic) => facts.ca = basic.ca,
            ParsedExtension::KeyUsage(usage) => {
                let set = usage
                    .to_string()
                    .split(", ")
                    .map(|word| word.replace(' ', "-").to_lowercase())
                    .collect();
                facts.key_usage = Some((set, extension.critical));
            }
            ParsedExtension::ExtendedKeyUsage(usage) => {
                let known = [
                    ("server-auth", usage.server_auth),
                    ("client-auth", usage.client_auth),
                    ("any", usage.any),
                ];
                facts.extended_key_usage = known
                    .into_iter()
                    .filter(|(_, set)| *set)
                    .map(|(name, _)| name.to_owned())
                    .collect();
                facts.extended_key_usage.extend(usage.other.iter().map(|oid| oid.to_id_string()));
            }
            ParsedExtension::SubjectAlternativeName(names) => {
                facts.names = names.general_names.iter().map(name).collect::<BTreeSet<_>>();
            }
            _ => {}
        }
    }
    facts
}

fn name(name: &GeneralName<'_>) -> String {
    match name {
        GeneralName::DNSName(text) => format!("dns:{text}"),
        GeneralName::URI(text) => format!("uri:{text}"),
        GeneralName::IPAddress(bytes) => match *bytes {
            [a, b, c, d] => format!("ip:{a}.{b}.{c}.{d}"),
            other => <[u8; 16]>::try_from(other).map_or_else(
                |_| "ip:?".to_owned(),
                |v6| format!("ip:{}", std::net::Ipv6Addr::from(v6)),
            ),
        },
        _ => "other".to_owned(),
    }
}

fn key(certificate: &X509Certificate<'_>) -> (String, u32) {
    let info = certificate.public_key();
    let oid = info.algorithm.algorithm.to_id_string();
    let bits = info.parsed().map_or(0, |key| match key {
        PublicKey::RSA(rsa) => u32::try_from(rsa.key_size()).unwrap_or(0),
        PublicKey::EC(point) => u32::try_from(point.key_size()).unwrap_or(0),
        _ => 0,
    });
    match oid.as_str() {
        "1.2.840.113549.1.1.1" => ("RSA".into(), bits),
        "1.2.840.10045.2.1" => {
            let curve = info.algorithm.parameters.as_ref().and_then(|any| any.as_oid().ok());
            match curve.map(|oid| oid.to_id_string()).as_deref() {
                Some("1.2.840.10045.3.1.7") => ("P-256".into(), 256),
                Some("1.3.132.0.34") => ("P-384".into(), 384),
                Some("1.3.132.0.35") => ("P-521".into(), 521),
                Some(other) => (other.to_owned(), bits),
                None => ("EC without named curve".into(), bits),
            }
        }
        "1.3.101.112" => ("Ed25519".into(), 256),
        "1.3.101.113" => ("Ed448".into(), 456),
        "2.16.840.1.101.3.4.3.17" => ("ML-DSA-44".into(), 10_496),
        "2.16.840.1.101.3.4.3.18" => ("ML-DSA-65".into(), 15_616),
        "2.16.840.1.101.3.4.3.19" => ("ML-DSA-87".into(), 20_736),
        other => (other.to_owned(), bits),
    }
}

fn signature(oid: &str) -> String {
    match oid {
        "1.2.840.10045.4.3.2" => "ecdsa-with-SHA256",
        "1.2.840.10045.4.3.3" => "ecdsa-with-SHA384",
        "1.2.840.10045.4.3.4" => "ecdsa-with-SHA512",
        "1.2.840.10045.4.1" => "ecdsa-with-SHA1",
        "1.2.840.113549.1.1.11" => "sha256WithRSAEncryption",
        "1.2.840.113549.1.1.12" => "sha384WithRSAEncryption",
        "1.2.840.113549.1.1.13" => "sha512WithRSAEncryption",
        "1.2.840.113549.1.1.5" => "sha1WithRSAEncryption",
        "1.2.840.113549.1.1.4" => "md5WithRSAEncryption",
        "1.2.840.113549.1.1.10" => "rsassa-pss",
        "1.3.101.112" => "Ed25519",
        "2.16.840.1.101.3.4.3.17" => "ML-DSA-44",
        "2.16.840.1.101.3.4.3.18" => "ML-DSA-65",
        "2.16.840.1.101.3.4.3.19" => "ML-DSA-87",
        other => other,
    }
    .to_owned()
}

fn short(oid: &str) -> String {
    match oid {
        "2.5.29.14" => "ski",
        "2.5.29.35" => "aki",
        "2.5.29.15" => "key-usage",
        "2.5.29.37" => "extended-key-usage",
        "2.5.29.17" => "san",
        "2.5.29.19" => "basic-constraints",
        "2.5.29.31" => "crl-distribution-points",
        "1.3.6.1.5.5.7.1.1" => "authority-information-access",
        "2.5.29.32" => "certificate-policies",
        other => other,
    }
    .to_owned()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::disallowed_methods)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sample() -> Vec<u8> {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new(vec!["plug.local".into()]).unwrap();
        params.key_usages = vec![rcgen::KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth];
        params.self_signed(&key).unwrap().der().to_vec()
    }

    #[test]
    fn a_certificate_is_read() {
        let facts = read(&sample());
        assert!(facts.parsed && !facts.ca);
        assert_eq!((facts.key_algorithm.as_str(), facts.key_bits), ("P-256", 256));
        assert_eq!(facts.signature_algorithm, "ecdsa-with-SHA256");
        assert!(facts.names.contains("dns:plug.local"));
        assert_eq!(facts.key_usage, Some((BTreeSet::from(["digital-signature".into()]), true)));
        assert!(facts.extended_key_usage.contains("server-auth"));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn reading_is_total(bytes in proptest::collection::vec(any::<u8>(), 0..300), at in any::<usize>(), with in any::<u8>()) {
            let _ = read(&bytes);
            let mut broken = sample();
            let length = broken.len();
            broken[at % length] = with;
            let _ = read(&broken);
            let _ = read(&broken[..at % length]);
        }
    }
}
