//! A second backend, to prove that replacing the first is replacing one file: Graviola, with RFC 8452 from
//! RustCrypto. Compiled with the feature `second-provider`, for tests; no build that ships enables it.
//!
//! It has no ML-DSA, so a policy that needs a second signature does not compile with it.

use aes_gcm_siv::aead::{Aead as _, KeyInit as _, Payload};
use aes_gcm_siv::{Aes256GcmSiv, Nonce};
use graviola::hashing::hmac::Hmac;
use graviola::hashing::{Hash as _, Sha256, Sha384};
use graviola::key_agreement::mlkem768;
use graviola::signing::ecdsa::{P256, P384, SigningKey, VerifyingKey};
use graviola::signing::eddsa::{Ed25519SigningKey, Ed25519VerifyingKey};
use rustls::crypto::{
    ActiveKeyExchange, CompletedKeyExchange, CryptoProvider, SharedSecret, SupportedKxGroup,
};
use rustls::pki_types::{
    AlgorithmIdentifier, InvalidSignature, SignatureVerificationAlgorithm, alg_id,
};
use rustls::{Error, NamedGroup, PeerMisbehaved, ProtocolVersion, SignatureScheme};
use rustls_graviola::{kx, suites};

use super::{BackendRefused, Group, Scheme, Suite};
use crate::second::SecondAlgorithm;
use crate::secret::Secret;
use crate::signature::SignatureAlgorithm;

/// The backend's name and version, for the review register and the inventory.
pub const BACKEND: (&str, &str) = ("graviola", "0.4.4");

/// Bytes that the AEAD of sealed files needs as key.
pub(crate) const SEAL_KEY_LEN: usize = 32;
/// Bytes of its nonce.
pub(crate) const SEAL_NONCE_LEN: usize = 12;
/// The AEAD of sealed files, by its registered name (RFC 8452).
pub(crate) const SEAL_AEAD: &str = "AEAD_AES_256_GCM_SIV";

/// The suite that [`hpke_256`] would have.
pub(crate) const HPKE_256: &str = "DHKEM(P-521, HKDF-SHA512), HKDF-SHA512, AES-256-GCM";
/// The suite that [`hpke_192`] would have.
pub(crate) const HPKE_192: &str = "DHKEM(P-384, HKDF-SHA384), HKDF-SHA384, AES-256-GCM";

/// It has no HPKE: nothing is sealed to recipients with it.
pub(crate) fn hpke_256() -> Option<&'static dyn rustls::crypto::hpke::Hpke> {
    None
}

/// Nor is anything wrapped to custodians.
pub(crate) fn hpke_192() -> Option<&'static dyn rustls::crypto::hpke::Hpke> {
    None
}

/// Longest PKCS#8, SubjectPublicKeyInfo or ECDSA-Sig-Value of the two curves, with room to spare.
const MAX_DER: usize = 256;

/// Its random bit generator: it has none of its own and asks the operating system.
pub(crate) const DRBG: Option<&str> = None;

pub(crate) fn random(out: &mut [u8]) {
    graviola::random::fill(out).expect("the operating system's random source answers");
}

/// It has no SHA-1: issuers that are named so stay unknown.
pub(crate) fn sha1_name(_: &[u8]) -> Option<[u8; 20]> {
    None
}

pub(crate) fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(Sha256::hash(bytes).as_ref());
    out
}

pub(crate) fn hmac_sha256(key: &[u8], bytes: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    let mut mac = Hmac::<Sha256>::new(key);
    mac.update(bytes);
    out.copy_from_slice(mac.finish().as_ref());
    out
}

pub(crate) fn sha384(bytes: &[u8]) -> [u8; 48] {
    let mut out = [0; 48];
    out.copy_from_slice(Sha384::hash(bytes).as_ref());
    out
}

/// Encrypts in place and appends the tag.
pub(crate) fn aead_seal(
    key: &[u8],
    nonce: [u8; SEAL_NONCE_LEN],
    aad: &[u8],
    text: &mut Vec<u8>,
) -> Result<(), BackendRefused> {
    let cipher = Aes256GcmSiv::new_from_slice(key).map_err(|_| BackendRefused)?;
    *text = cipher
        .encrypt(&Nonce::from(nonce), Payload { msg: text, aad })
        .map_err(|_| BackendRefused)?;
    Ok(())
}

/// Decrypts in place; the returned length is that of the plaintext at the start of `text`.
pub(crate) fn aead_open(
    key: &[u8],
    nonce: [u8; SEAL_NONCE_LEN],
    aad: &[u8],
    text: &mut [u8],
) -> Result<usize, BackendRefused> {
    let cipher = Aes256GcmSiv::new_from_slice(key).map_err(|_| BackendRefused)?;
    let plain = cipher
        .decrypt(&Nonce::from(nonce), Payload { msg: text, aad })
        .map_err(|_| BackendRefused)?;
    text[..plain.len()].copy_from_slice(&plain);
    Ok(plain.len())
}

/// A private key in this process's memory. The backend wipes it when it goes.
pub(crate) struct SoftwareKey {
    key: Key,
    spki: Vec<u8>,
}

enum Key {
    P256(SigningKey<P256>),
    P384(SigningKey<P384>),
}

impl SoftwareKey {
    /// A new key as PKCS#8.
    pub(crate) fn generate(algorithm: SignatureAlgorithm) -> Result<Secret, BackendRefused> {
        let mut out = [0; MAX_DER];
        let pkcs8 = match algorithm {
            SignatureAlgorithm::EcdsaP256Sha256 => SigningKey::<P256>::generate()
                .and_then(|key| der(|out| key.to_pkcs8_der(out), &mut out)),
            SignatureAlgorithm::EcdsaP384Sha384 => SigningKey::<P384>::generate()
                .and_then(|key| der(|out| key.to_pkcs8_der(out), &mut out)),
        };
        zeroize::Zeroize::zeroize(&mut out);
        Ok(Secret::new(pkcs8.map_err(|_| BackendRefused)?, algorithm.strength()))
    }

    pub(crate) fn from_pkcs8(
        algorithm: SignatureAlgorithm,
        pkcs8: &[u8],
    ) -> Result<Self, BackendRefused> {
        let mut out = [0; MAX_DER];
        let made = match algorithm {
            SignatureAlgorithm::EcdsaP256Sha256 => {
                SigningKey::from_pkcs8_der(pkcs8).and_then(|key| {
                    let spki = der(|out| key.to_spki_der(out), &mut out)?;
                    Ok(Self { key: Key::P256(key), spki })
                })
            }
            SignatureAlgorithm::EcdsaP384Sha384 => {
                SigningKey::from_pkcs8_der(pkcs8).and_then(|key| {
                    let spki = der(|out| key.to_spki_der(out), &mut out)?;
                    Ok(Self { key: Key::P384(key), spki })
                })
            }
        };
        made.map_err(|_| BackendRefused)
    }

    pub(crate) fn spki_der(&self) -> &[u8] {
        &self.spki
    }

    pub(crate) fn sign(&self, message: &[u8]) -> Result<Vec<u8>, BackendRefused> {
        let mut out = [0; MAX_DER];
        let message = &[message];
        let signature = match &self.key {
            Key::P256(key) => der(|out| key.sign_asn1::<Sha256>(message, out), &mut out),
            Key::P384(key) => der(|out| key.sign_asn1::<Sha384>(message, out), &mut out),
        };
        signature.map_err(|_| BackendRefused)
    }
}

fn der(
    write: impl FnOnce(&mut [u8]) -> Result<&[u8], graviola::Error>,
    out: &mut [u8],
) -> Result<Vec<u8>, graviola::Error> {
    write(out).map(<[u8]>::to_vec)
}

/// Verifies an ASN.1 ECDSA signature under an uncompressed point (SEC 1 section 2.3.3).
pub(crate) fn verify(
    algorithm: SignatureAlgorithm,
    point: &[u8],
    message: &[u8],
    signature: &[u8],
) -> Result<(), BackendRefused> {
    let message = &[message];
    match algorithm {
        SignatureAlgorithm::EcdsaP256Sha256 => VerifyingKey::<P256>::from_x962_uncompressed(point)
            .and_then(|key| key.verify_asn1::<Sha256>(message, signature)),
        SignatureAlgorithm::EcdsaP384Sha384 => VerifyingKey::<P384>::from_x962_uncompressed(point)
            .and_then(|key| key.verify_asn1::<Sha384>(message, signature)),
    }
    .map_err(|_| BackendRefused)
}

/// Every algorithm for second signatures that the backend offers: none.
pub(crate) static SECOND: &[SecondAlgorithm] = &[];

/// There is no such key here, as the type says.
pub(crate) enum SecondSoftwareKey {}

impl SecondSoftwareKey {
    pub(crate) fn generate(_: SecondAlgorithm) -> Result<Secret, BackendRefused> {
        Err(BackendRefused)
    }

    pub(crate) fn from_pkcs8(_: SecondAlgorithm, _: &[u8]) -> Result<Self, BackendRefused> {
        Err(BackendRefused)
    }

    pub(crate) fn spki_der(&self) -> &[u8] {
        match *self {}
    }

    pub(crate) fn sign(&self, _: &[u8]) -> Result<Vec<u8>, BackendRefused> {
        match *self {}
    }
}

/// Verifies nothing.
pub(crate) fn verify_second(
    _: SecondAlgorithm,
    _: &[u8],
    _: &[u8],
    _: &[u8],
) -> Result<(), BackendRefused> {
    Err(BackendRefused)
}

/// SecP256r1MLKEM768 (draft-ietf-tls-ecdhe-mlkem section 4): the P-256 half stands first in shares and secret.
#[derive(Debug)]
struct SecP256r1MlKem768;

/// Bytes of an uncompressed P-256 point.
const POINT: usize = 65;
const BAD_SHARE: Error = Error::PeerMisbehaved(PeerMisbehaved::InvalidKeyShare);

impl SupportedKxGroup for SecP256r1MlKem768 {
    fn start(&self) -> Result<Box<dyn ActiveKeyExchange>, Error> {
        let classical = kx::P256.start()?;
        let quantum = mlkem768::DecapKey::generate().map_err(|_| Error::FailedToGetRandomBytes)?;
        let share = [classical.pub_key(), &quantum.encapsulation_key().as_bytes()].concat();
        Ok(Box::new(Started { classical, quantum, share }))
    }

    fn start_and_complete(&self, peer: &[u8]) -> Result<CompletedKeyExchange, Error> {
        let (point, encapsulation) = peer.split_at_checked(POINT).ok_or(BAD_SHARE)?;
        let key = mlkem768::EncapKey::from_bytes(encapsulation.try_into().map_err(|_| BAD_SHARE)?)
            .map_err(|_| BAD_SHARE)?;
        let classical = kx::P256.start_and_complete(point)?;
        let (secret, ciphertext) = key.encaps().map_err(|_| Error::FailedToGetRandomBytes)?;
        Ok(CompletedKeyExchange {
            group: self.name(),
            pub_key: [&classical.pub_key[..], ciphertext.as_ref()].concat(),
            secret: both(&classical.secret, secret.as_ref()),
        })
    }

    fn name(&self) -> NamedGroup {
        NamedGroup::secp256r1MLKEM768
    }

    fn usable_for_version(&self, version: ProtocolVersion) -> bool {
        version == ProtocolVersion::TLSv1_3
    }
}

fn both(classical: &SharedSecret, quantum: &[u8]) -> SharedSecret {
    SharedSecret::from([classical.secret_bytes(), quantum].concat())
}

struct Started {
    classical: Box<dyn ActiveKeyExchange>,
    quantum: mlkem768::DecapKey,
    share: Vec<u8>,
}

impl ActiveKeyExchange for Started {
    fn complete(self: Box<Self>, peer: &[u8]) -> Result<SharedSecret, Error> {
        let (point, ciphertext) = peer.split_at_checked(POINT).ok_or(BAD_SHARE)?;
        let ciphertext: [u8; 1088] = ciphertext.try_into().map_err(|_| BAD_SHARE)?;
        let classical = self.classical.complete(point)?;
        let quantum = self.quantum.decaps(&mlkem768::Ciphertext::from(ciphertext));
        Ok(both(&classical, quantum.as_ref()))
    }

    fn hybrid_component(&self) -> Option<(NamedGroup, &[u8])> {
        Some((self.classical.group(), self.classical.pub_key()))
    }

    fn complete_hybrid_component(self: Box<Self>, peer: &[u8]) -> Result<SharedSecret, Error> {
        self.classical.complete(peer)
    }

    fn pub_key(&self) -> &[u8] {
        &self.share
    }

    fn group(&self) -> NamedGroup {
        SecP256r1MlKem768.name()
    }
}

/// Every group that the backend offers (IANA "TLS Supported Groups").
pub(crate) static GROUPS: &[Group] = &[
    Group { name: "SecP256r1MLKEM768", code: 0x11EB, bits: 128, group: &SecP256r1MlKem768 },
    Group { name: "X25519MLKEM768", code: 0x11EC, bits: 128, group: kx::X25519MLKEM768 },
    Group { name: "secp256r1", code: 23, bits: 128, group: &kx::P256 },
    Group { name: "secp384r1", code: 24, bits: 192, group: &kx::P384 },
    Group { name: "x25519", code: 29, bits: 128, group: &kx::X25519 },
];

/// Every TLS 1.3 suite that the backend offers.
pub(crate) static SUITES: &[Suite] = &[
    Suite {
        name: "TLS_AES_128_GCM_SHA256",
        code: 0x1301,
        bits: 128,
        suite: suites::TLS13_AES_128_GCM_SHA256,
    },
    Suite {
        name: "TLS_AES_256_GCM_SHA384",
        code: 0x1302,
        bits: 256,
        suite: suites::TLS13_AES_256_GCM_SHA384,
    },
    Suite {
        name: "TLS_CHACHA20_POLY1305_SHA256",
        code: 0x1303,
        bits: 256,
        suite: suites::TLS13_CHACHA20_POLY1305_SHA256,
    },
];

/// ECDSA in certificates and handshakes, by the one function above.
#[derive(Debug)]
struct Ecdsa(SignatureAlgorithm);

impl SignatureVerificationAlgorithm for Ecdsa {
    fn verify_signature(
        &self,
        point: &[u8],
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), InvalidSignature> {
        verify(self.0, point, message, signature).map_err(|_| InvalidSignature)
    }

    fn public_key_alg_id(&self) -> AlgorithmIdentifier {
        match self.0 {
            SignatureAlgorithm::EcdsaP256Sha256 => alg_id::ECDSA_P256,
            SignatureAlgorithm::EcdsaP384Sha384 => alg_id::ECDSA_P384,
        }
    }

    fn signature_alg_id(&self) -> AlgorithmIdentifier {
        match self.0 {
            SignatureAlgorithm::EcdsaP256Sha256 => alg_id::ECDSA_SHA256,
            SignatureAlgorithm::EcdsaP384Sha384 => alg_id::ECDSA_SHA384,
        }
    }
}

/// Every signature scheme that the product may verify (IANA "TLS SignatureScheme").
pub(crate) static SCHEMES: &[Scheme] = &[
    Scheme {
        name: "ecdsa_secp256r1_sha256",
        scheme: SignatureScheme::ECDSA_NISTP256_SHA256,
        verifiers: &[&Ecdsa(SignatureAlgorithm::EcdsaP256Sha256)],
    },
    Scheme {
        name: "ecdsa_secp384r1_sha384",
        scheme: SignatureScheme::ECDSA_NISTP384_SHA384,
        verifiers: &[&Ecdsa(SignatureAlgorithm::EcdsaP384Sha384)],
    },
];

/// The whole backend as rustls sees it; `policy` narrows it before anything uses it.
pub(crate) fn tls_backend() -> CryptoProvider {
    rustls_graviola::default_provider()
}

/// An Ed25519 key in this process's memory, for signed notes only. The backend wipes it when it goes.
pub(crate) struct Ed25519(Ed25519SigningKey);

impl Ed25519 {
    pub(crate) fn from_seed(seed: &[u8]) -> Result<Self, BackendRefused> {
        Ed25519SigningKey::from_bytes(seed).map(Self).map_err(|_| BackendRefused)
    }

    pub(crate) fn public(&self) -> [u8; 32] {
        self.0.public_key().as_bytes()
    }

    pub(crate) fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.0.sign(message)
    }
}

pub(crate) fn ed25519_verify(
    public: &[u8],
    message: &[u8],
    signature: &[u8],
) -> Result<(), BackendRefused> {
    Ed25519VerifyingKey::from_bytes(public)
        .and_then(|key| key.verify(signature, message))
        .map_err(|_| BackendRefused)
}
