//! Hashes, for names of things rather than for security protocols: fingerprints, ledger leaves, evidence, pseudonyms.

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

/// HMAC-SHA-256 (RFC 2104) of `bytes` under `key`.
#[must_use]
pub fn hmac_sha256(key: &[u8], bytes: &[u8]) -> [u8; 32] {
    provider::hmac_sha256(key, bytes)
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

    #[test]
    fn rfc_4231_case_2() {
        let tag = super::hmac_sha256(b"Jefe", b"what do ya want for nothing?");
        assert_eq!(
            hex::encode(tag),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
    }
}
