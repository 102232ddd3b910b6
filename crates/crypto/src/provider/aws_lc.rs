//! The backend: AWS-LC through `aws-lc-rs`, and rustls' use of it.
//!
//! Names are those of the IANA registries (TLS cipher suites, supported groups, signature schemes), so that
//! policy files, reports and captures all speak of the same thing.

use aws_lc_rs::{
    aead, digest,
    encoding::AsDer as _,
    hmac, rand,
    signature::{self, KeyPair as _},
};
use rustls::SignatureScheme;
use rustls::crypto::hpke::Hpke;
use rustls::crypto::{CryptoProvider, aws_lc_rs as backend};

use super::{BackendRefused, Group, Scheme, Suite};
use crate::second::SecondAlgorithm;
use crate::secret::Secret;
use crate::signature::SignatureAlgorithm;

/// The backend's name and version, for the review register and the inventory.
pub const BACKEND: (&str, &str) = ("aws-lc-rs", "1.19.0");

/// Bytes that the AEAD of sealed files needs as key.
pub(crate) const SEAL_KEY_LEN: usize = 32;
/// Bytes of its nonce.
pub(crate) const SEAL_NONCE_LEN: usize = 12;
/// The AEAD of sealed files, by its registered name (RFC 8452).
pub(crate) const SEAL_AEAD: &str = "AEAD_AES_256_GCM_SIV";

/// The suite of [`hpke_256`], by the names of RFC 9180.
pub(crate) const HPKE_256: &str = "DHKEM(P-521, HKDF-SHA512), HKDF-SHA512, AES-256-GCM";
/// The suite of [`hpke_192`].
pub(crate) const HPKE_192: &str = "DHKEM(P-384, HKDF-SHA384), HKDF-SHA384, AES-256-GCM";

/// Hybrid public key encryption (RFC 9180) of 256 bits.
pub(crate) fn hpke_256() -> Option<&'static dyn Hpke> {
    Some(backend::hpke::DH_KEM_P521_HKDF_SHA512_AES_256)
}

/// The same of 192 bits.
pub(crate) fn hpke_192() -> Option<&'static dyn Hpke> {
    Some(backend::hpke::DH_KEM_P384_HKDF_SHA384_AES_256)
}

/// Its random bit generator, as the inventory names it.
pub(crate) const DRBG: Option<&str> = Some("CTR_DRBG-AES-256");

pub(crate) fn random(out: &mut [u8]) {
    rand::fill(out).expect("the operating system's random source answers");
}

/// SHA-1 as OCSP requests name issuers by it (RFC 5019 section 2.1.1). It names and proves nothing.
pub(crate) fn sha1_name(bytes: &[u8]) -> Option<[u8; 20]> {
    let mut out = [0; 20];
    out.copy_from_slice(digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, bytes).as_ref());
    Some(out)
}

pub(crate) fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(digest::digest(&digest::SHA256, bytes).as_ref());
    out
}

pub(crate) fn hmac_sha256(key: &[u8], bytes: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    let key = hmac::Key::new(hmac::HMAC_SHA256, key);
    out.copy_from_slice(hmac::sign(&key, bytes).as_ref());
    out
}

pub(crate) fn sha384(bytes: &[u8]) -> [u8; 48] {
    let mut out = [0; 48];
    out.copy_from_slice(digest::digest(&digest::SHA384, bytes).as_ref());
    out
}

fn seal_key(key: &[u8]) -> Result<aead::LessSafeKey, BackendRefused> {
    aead::UnboundKey::new(&aead::AES_256_GCM_SIV, key)
        .map(aead::LessSafeKey::new)
        .map_err(|_| BackendRefused)
}

/// Encrypts in place and appends the tag.
pub(crate) fn aead_seal(
    key: &[u8],
    nonce: [u8; SEAL_NONCE_LEN],
    aad: &[u8],
    text: &mut Vec<u8>,
) -> Result<(), BackendRefused> {
    seal_key(key)?
        .seal_in_place_append_tag(
            aead::Nonce::assume_unique_for_key(nonce),
            aead::Aad::from(aad),
            text,
        )
        .map_err(|_| BackendRefused)
}

/// Decrypts in place; the returned length is that of the plaintext at the start of `text`.
pub(crate) fn aead_open(
    key: &[u8],
    nonce: [u8; SEAL_NONCE_LEN],
    aad: &[u8],
    text: &mut [u8],
) -> Result<usize, BackendRefused> {
    seal_key(key)?
        .open_in_place(aead::Nonce::assume_unique_for_key(nonce), aead::Aad::from(aad), text)
        .map(|plain| plain.len())
        .map_err(|_| BackendRefused)
}

/// A private key in this process's memory. The backend wipes it when it goes.
pub(crate) struct SoftwareKey {
    pair: signature::EcdsaKeyPair,
    spki: Vec<u8>,
}

fn signing_algorithm(algorithm: SignatureAlgorithm) -> &'static signature::EcdsaSigningAlgorithm {
    match algorithm {
        SignatureAlgorithm::EcdsaP256Sha256 => &signature::ECDSA_P256_SHA256_ASN1_SIGNING,
        SignatureAlgorithm::EcdsaP384Sha384 => &signature::ECDSA_P384_SHA384_ASN1_SIGNING,
    }
}

impl SoftwareKey {
    /// A new key as PKCS#8.
    pub(crate) fn generate(algorithm: SignatureAlgorithm) -> Result<Secret, BackendRefused> {
        let document = signature::EcdsaKeyPair::generate_pkcs8(
            signing_algorithm(algorithm),
            &rand::SystemRandom::new(),
        )
        .map_err(|_| BackendRefused)?;
        Ok(Secret::new(document.as_ref().to_vec(), algorithm.strength()))
    }

    pub(crate) fn from_pkcs8(
        algorithm: SignatureAlgorithm,
        pkcs8: &[u8],
    ) -> Result<Self, BackendRefused> {
        let pair = signature::EcdsaKeyPair::from_pkcs8(signing_algorithm(algorithm), pkcs8)
            .map_err(|_| BackendRefused)?;
        let spki = pair.public_key().as_der().map_err(|_| BackendRefused)?.as_ref().to_vec();
        Ok(Self { pair, spki })
    }

    pub(crate) fn spki_der(&self) -> &[u8] {
        &self.spki
    }

    pub(crate) fn sign(&self, message: &[u8]) -> Result<Vec<u8>, BackendRefused> {
        self.pair
            .sign(&rand::SystemRandom::new(), message)
            .map(|signature| signature.as_ref().to_vec())
            .map_err(|_| BackendRefused)
    }
}

/// Verifies an ASN.1 ECDSA signature under an uncompressed point (SEC 1 section 2.3.3).
pub(crate) fn verify(
    algorithm: SignatureAlgorithm,
    point: &[u8],
    message: &[u8],
    signature: &[u8],
) -> Result<(), BackendRefused> {
    let verifier: &dyn signature::VerificationAlgorithm = match algorithm {
        SignatureAlgorithm::EcdsaP256Sha256 => &signature::ECDSA_P256_SHA256_ASN1,
        SignatureAlgorithm::EcdsaP384Sha384 => &signature::ECDSA_P384_SHA384_ASN1,
    };
    verifier.verify_sig(point, message, signature).map_err(|_| BackendRefused)
}

/// Every algorithm for second signatures that the backend offers.
pub(crate) static SECOND: &[SecondAlgorithm] = &SecondAlgorithm::ALL;

fn second_algorithm(
    algorithm: SecondAlgorithm,
) -> (&'static signature::PqdsaSigningAlgorithm, &'static signature::PqdsaVerificationAlgorithm) {
    match algorithm {
        SecondAlgorithm::MlDsa44 => (&signature::ML_DSA_44_SIGNING, &signature::ML_DSA_44),
        SecondAlgorithm::MlDsa65 => (&signature::ML_DSA_65_SIGNING, &signature::ML_DSA_65),
        SecondAlgorithm::MlDsa87 => (&signature::ML_DSA_87_SIGNING, &signature::ML_DSA_87),
    }
}

/// A private key for second signatures in this process's memory. The backend wipes it when it goes.
pub(crate) struct SecondSoftwareKey {
    pair: signature::PqdsaKeyPair,
    spki: Vec<u8>,
}

impl SecondSoftwareKey {
    /// A new key as PKCS#8, the seed in it.
    pub(crate) fn generate(algorithm: SecondAlgorithm) -> Result<Secret, BackendRefused> {
        let document = signature::PqdsaKeyPair::generate(second_algorithm(algorithm).0)
            .and_then(|pair| pair.to_pkcs8v1())
            .map_err(|_| BackendRefused)?;
        Ok(Secret::new(document.as_ref().to_vec(), algorithm.strength()))
    }

    pub(crate) fn from_pkcs8(
        algorithm: SecondAlgorithm,
        pkcs8: &[u8],
    ) -> Result<Self, BackendRefused> {
        let pair = signature::PqdsaKeyPair::from_pkcs8(second_algorithm(algorithm).0, pkcs8)
            .map_err(|_| BackendRefused)?;
        let spki = pair.public_key().as_der().map_err(|_| BackendRefused)?.as_ref().to_vec();
        Ok(Self { pair, spki })
    }

    pub(crate) fn spki_der(&self) -> &[u8] {
        &self.spki
    }

    pub(crate) fn sign(&self, message: &[u8]) -> Result<Vec<u8>, BackendRefused> {
        let mut out = vec![0; self.pair.algorithm().signature_len()];
        let len = self.pair.sign(message, &mut out).map_err(|_| BackendRefused)?;
        out.truncate(len);
        Ok(out)
    }
}

/// Verifies a second signature under a raw public key (FIPS 204 section 7.2).
pub(crate) fn verify_second(
    algorithm: SecondAlgorithm,
    public_key: &[u8],
    message: &[u8],
    signature: &[u8],
) -> Result<(), BackendRefused> {
    signature::VerificationAlgorithm::verify_sig(
        second_algorithm(algorithm).1,
        public_key,
        message,
        signature,
    )
    .map_err(|_| BackendRefused)
}

/// Every group that the backend offers (IANA "TLS Supported Groups").
pub(crate) static GROUPS: &[Group] = &[
    Group {
        name: "SecP256r1MLKEM768",
        code: 0x11EB,
        bits: 128,
        group: backend::kx_group::SECP256R1MLKEM768,
    },
    Group {
        name: "X25519MLKEM768",
        code: 0x11EC,
        bits: 128,
        group: backend::kx_group::X25519MLKEM768,
    },
    Group { name: "MLKEM1024", code: 0x0202, bits: 256, group: backend::kx_group::MLKEM1024 },
    Group { name: "secp256r1", code: 23, bits: 128, group: backend::kx_group::SECP256R1 },
    Group { name: "secp384r1", code: 24, bits: 192, group: backend::kx_group::SECP384R1 },
    Group { name: "x25519", code: 29, bits: 128, group: backend::kx_group::X25519 },
];

/// Every TLS 1.3 suite that the backend offers.
pub(crate) static SUITES: &[Suite] = &[
    Suite {
        name: "TLS_AES_128_GCM_SHA256",
        code: 0x1301,
        bits: 128,
        suite: backend::cipher_suite::TLS13_AES_128_GCM_SHA256,
    },
    Suite {
        name: "TLS_AES_256_GCM_SHA384",
        code: 0x1302,
        bits: 256,
        suite: backend::cipher_suite::TLS13_AES_256_GCM_SHA384,
    },
    Suite {
        name: "TLS_CHACHA20_POLY1305_SHA256",
        code: 0x1303,
        bits: 256,
        suite: backend::cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
    },
];

/// Every signature scheme that the product may verify (IANA "TLS SignatureScheme").
pub(crate) static SCHEMES: &[Scheme] = &[
    Scheme {
        name: "ecdsa_secp256r1_sha256",
        scheme: SignatureScheme::ECDSA_NISTP256_SHA256,
        verifiers: &[webpki::aws_lc_rs::ECDSA_P256_SHA256],
    },
    Scheme {
        name: "ecdsa_secp384r1_sha384",
        scheme: SignatureScheme::ECDSA_NISTP384_SHA384,
        verifiers: &[webpki::aws_lc_rs::ECDSA_P384_SHA384],
    },
];

/// The whole backend as rustls sees it; `policy` narrows it before anything uses it.
pub(crate) fn tls_backend() -> CryptoProvider {
    backend::default_provider()
}

/// An Ed25519 key in this process's memory, for signed notes only. The backend wipes it when it goes.
pub(crate) struct Ed25519(signature::Ed25519KeyPair);

impl Ed25519 {
    pub(crate) fn from_seed(seed: &[u8]) -> Result<Self, BackendRefused> {
        signature::Ed25519KeyPair::from_seed_unchecked(seed).map(Self).map_err(|_| BackendRefused)
    }

    pub(crate) fn public(&self) -> [u8; 32] {
        let mut out = [0; 32];
        out.copy_from_slice(self.0.public_key().as_ref());
        out
    }

    pub(crate) fn sign(&self, message: &[u8]) -> [u8; 64] {
        let mut out = [0; 64];
        out.copy_from_slice(self.0.sign(message).as_ref());
        out
    }
}

pub(crate) fn ed25519_verify(
    public: &[u8],
    message: &[u8],
    signature: &[u8],
) -> Result<(), BackendRefused> {
    signature::UnparsedPublicKey::new(&signature::ED25519, public)
        .verify(message, signature)
        .map_err(|_| BackendRefused)
}
