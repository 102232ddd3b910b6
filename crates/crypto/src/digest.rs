//! Hashes, for names of things rather than for security protocols: fingerprints, ledger leaves, evidence.

use crate::provider;

/// SHA-256 (FIPS 180-4) of `bytes`.
#[must_use]
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    provider::sha256(bytes)
}

/// SHA-384 (FIPS 180-4) of `bytes`.
#[must_use]
pub fn sha384(bytes: &[u8]) -> [u8; 48] {
    provider::sha384(bytes)
}

#[cfg(test)]
mod tests {
    #[test]
    fn fips_180_example() {
        assert_eq!(
            hex::encode(super::sha256(b"abc")),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
        assert!(hex::encode(super::sha384(b"abc")).starts_with("cb00753f45a35e8bb5a03d699ac65007"));
    }
}
