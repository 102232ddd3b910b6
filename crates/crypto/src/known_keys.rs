//! Public keys that nobody may use: their private keys are published, or are small or regular numbers.
//!
//! Other weaknesses have no place here: a point that is not on its curve fails the proof of possession, the curves of this product
//! have no small subgroups, and RSA, whose known faults (ROCA, shared primes) would need checks of their own, is refused by kind.

use std::collections::HashMap;
use std::sync::OnceLock;

const LIST: &str = include_str!("known_keys.txt");

/// Where the private key of a public key is known from, by SHA-256 of the SubjectPublicKeyInfo in lower-case hexadecimal.
#[must_use]
pub fn known_from(spki_sha256: &str) -> Option<&'static str> {
    static KNOWN: OnceLock<HashMap<&'static str, &'static str>> = OnceLock::new();
    let known = KNOWN.get_or_init(|| {
        let lines = LIST.lines().filter(|line| !line.starts_with('#'));
        lines.filter_map(|line| line.split_once(' ')).collect()
    });
    known.get(spki_sha256).copied()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::digest::sha256;
    use crate::signature::SignatureAlgorithm;

    /// The base point of P-256 is the public key of the private key 1.
    #[test]
    fn the_base_point_and_a_standards_test_key_are_known_and_a_fresh_key_is_not() {
        let head = "3059301306072a8648ce3d020106082a8648ce3d03010703420004";
        let base = "6b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c2964fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5";
        let test = "60fed4ba255a9d31c961eb74c6356d68c049b8923b61fa6ce669622e60f29fb67903fe1008b8bc99a41ae9e95628bc64f2f1b20c2d7e9f5177a3c294d4462299";
        for (point, source) in [(base, "private key 1"), (test, "RFC 6979")] {
            let spki = hex::decode(format!("{head}{point}")).unwrap();
            assert_eq!(
                SignatureAlgorithm::of_spki(&spki),
                Some(SignatureAlgorithm::EcdsaP256Sha256)
            );
            let known = known_from(&hex::encode(sha256(&spki))).unwrap();
            assert!(known.contains(source), "{known}");
        }
        let fresh = crate::signature::KeyHandle::ephemeral(SignatureAlgorithm::EcdsaP256Sha256);
        assert_eq!(known_from(&hex::encode(sha256(fresh.unwrap().spki_der()))), None);
    }

    #[test]
    fn every_line_is_a_hash_with_its_source() {
        for line in LIST.lines().filter(|line| !line.starts_with('#')) {
            let (hash, source) = line.split_once(' ').unwrap();
            assert_eq!(hex::decode(hash).unwrap().len(), 32, "{line}");
            assert!(source.len() > 5, "{line}");
        }
    }
}
