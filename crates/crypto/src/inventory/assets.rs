//! What each algorithm that the provider may offer is, in the words of CycloneDX 1.7.

/// One algorithm. Names are those of policies, or of the algorithm's own standard where no policy names it.
pub(super) struct Asset {
    pub(super) name: &'static str,
    /// `primitive`.
    pub(super) primitive: &'static str,
    /// `algorithmFamily`; none where the list of families has nothing that fits.
    pub(super) family: Option<&'static str>,
    /// `parameterSetIdentifier`.
    pub(super) parameter: Option<&'static str>,
    /// `ellipticCurve`.
    pub(super) curve: Option<&'static str>,
    /// `mode`.
    pub(super) mode: Option<&'static str>,
    /// `cryptoFunctions`.
    pub(super) functions: &'static [&'static str],
    /// `classicalSecurityLevel` in bits; none where it is that of what the algorithm is used with.
    pub(super) bits: Option<u16>,
    /// `nistQuantumSecurityLevel`: 0 falls to a quantum computer, 1 to 5 are NIST's categories.
    pub(super) quantum: Option<u8>,
    pub(super) oid: Option<&'static str>,
    /// The names of the assets that it is made of.
    pub(super) made_of: &'static [&'static str],
}

/// The suite of [`crate::envelope`].
pub(super) const HPKE_256: &str = "HPKE-P521-SHA512-AES-256-GCM";
/// What custodians' parts are wrapped with.
pub(super) const HPKE_192: &str = "HPKE-P384-SHA384-AES-256-GCM";

const NONE: Asset = Asset {
    name: "",
    primitive: "unknown",
    family: None,
    parameter: None,
    curve: None,
    mode: None,
    functions: &[],
    bits: None,
    quantum: None,
    oid: None,
    made_of: &[],
};
const AGREE: &[&str] = &["keygen", "keyderive"];
const KEM: &[&str] = &["keygen", "encapsulate", "decapsulate"];
const SIGN: &[&str] = &["keygen", "sign", "verify"];
const SEAL: &[&str] = &["encrypt", "decrypt", "tag"];
const P256: Option<&str> = Some("secg/secp256r1");
const P384: Option<&str> = Some("secg/secp384r1");
const P521: Option<&str> = Some("secg/secp521r1");

const fn ecdh(
    name: &'static str,
    curve: Option<&'static str>,
    bits: u16,
    oid: &'static str,
) -> Asset {
    Asset {
        name,
        primitive: "key-agree",
        family: Some("ECDH"),
        curve,
        functions: AGREE,
        bits: Some(bits),
        quantum: Some(0),
        oid: Some(oid),
        ..NONE
    }
}

const fn hybrid(name: &'static str, made_of: &'static [&'static str]) -> Asset {
    Asset {
        name,
        primitive: "combiner",
        functions: KEM,
        bits: Some(128),
        quantum: Some(3),
        made_of,
        ..NONE
    }
}

const fn ml_kem(
    name: &'static str,
    parameter: &'static str,
    bits: u16,
    level: u8,
    oid: &'static str,
) -> Asset {
    Asset {
        name,
        primitive: "kem",
        family: Some("ML-KEM"),
        parameter: Some(parameter),
        functions: KEM,
        bits: Some(bits),
        quantum: Some(level),
        oid: Some(oid),
        ..NONE
    }
}

const fn ecdsa(
    name: &'static str,
    curve: Option<&'static str>,
    bits: u16,
    oid: &'static str,
    made_of: &'static [&'static str],
) -> Asset {
    Asset {
        name,
        primitive: "signature",
        family: Some("ECDSA"),
        curve,
        functions: SIGN,
        bits: Some(bits),
        quantum: Some(0),
        oid: Some(oid),
        made_of,
        ..NONE
    }
}

const fn ml_dsa(
    name: &'static str,
    parameter: &'static str,
    bits: u16,
    level: u8,
    oid: &'static str,
) -> Asset {
    Asset {
        name,
        primitive: "signature",
        family: Some("ML-DSA"),
        parameter: Some(parameter),
        functions: SIGN,
        bits: Some(bits),
        quantum: Some(level),
        oid: Some(oid),
        ..NONE
    }
}

const fn aead(
    name: &'static str,
    family: &'static str,
    mode: Option<&'static str>,
    bits: u16,
    level: u8,
    oid: Option<&'static str>,
) -> Asset {
    let parameter = if bits == 128 { "128" } else { "256" };
    Asset {
        name,
        primitive: "ae",
        family: Some(family),
        parameter: Some(parameter),
        mode,
        functions: SEAL,
        bits: Some(bits),
        quantum: Some(level),
        oid,
        ..NONE
    }
}

const fn sha2(
    name: &'static str,
    parameter: &'static str,
    bits: u16,
    level: u8,
    oid: &'static str,
) -> Asset {
    Asset {
        name,
        primitive: "hash",
        family: Some("SHA-2"),
        parameter: Some(parameter),
        functions: &["digest"],
        bits: Some(bits),
        quantum: Some(level),
        oid: Some(oid),
        ..NONE
    }
}

/// Every algorithm that this table can describe, wholes before their parts. What of it is in a binary, the provider says.
pub(super) const ASSETS: &[Asset] = &[
    Asset {
        name: "SPAKE2+-P256-SHA256-HKDF-SHA256-HMAC-SHA256",
        primitive: "key-agree",
        family: Some("SPAKE2PLUS"),
        curve: P256,
        functions: AGREE,
        bits: Some(128),
        quantum: Some(0),
        made_of: &["SHA-256", "HKDF-SHA-256", "HMAC-SHA-256", "Argon2id"],
        ..NONE
    },
    // Files sealed to recipients.
    Asset {
        name: HPKE_256,
        primitive: "combiner",
        functions: &["encapsulate", "decapsulate", "encrypt", "decrypt"],
        bits: Some(crate::envelope::BITS),
        quantum: Some(0),
        made_of: &["secp521r1", "AES-256-GCM", "HKDF-SHA-512"],
        ..NONE
    },
    Asset {
        name: HPKE_192,
        primitive: "combiner",
        functions: &["encapsulate", "decapsulate", "encrypt", "decrypt"],
        bits: Some(crate::custody::BITS),
        quantum: Some(0),
        made_of: &["secp384r1", "AES-256-GCM", "HKDF-SHA-384"],
        ..NONE
    },
    hybrid("SecP256r1MLKEM768", &["secp256r1", "ML-KEM-768"]),
    hybrid("X25519MLKEM768", &["x25519", "ML-KEM-768"]),
    ml_kem("ML-KEM-768", "768", 192, 3, "2.16.840.1.101.3.4.4.2"),
    ml_kem("MLKEM1024", "1024", 256, 5, "2.16.840.1.101.3.4.4.3"),
    ecdh("secp256r1", P256, 128, "1.2.840.10045.3.1.7"),
    ecdh("secp384r1", P384, 192, "1.3.132.0.34"),
    ecdh("secp521r1", P521, 256, "1.3.132.0.35"),
    ecdh("x25519", Some("other/Curve25519"), 128, "1.3.101.110"),
    ecdsa("ecdsa_secp256r1_sha256", P256, 128, "1.2.840.10045.4.3.2", &["SHA-256"]),
    ecdsa("ecdsa_secp384r1_sha384", P384, 192, "1.2.840.10045.4.3.3", &["SHA-384"]),
    // Signed notes: the ledger's checkpoints and their witnesses.
    Asset {
        name: crate::note_key::NAME,
        primitive: "signature",
        family: Some("EdDSA"),
        curve: Some("other/Ed25519"),
        functions: SIGN,
        bits: Some(128),
        quantum: Some(0),
        oid: Some("1.3.101.112"),
        ..NONE
    },
    ml_dsa("ML-DSA-44", "44", 128, 2, "2.16.840.1.101.3.4.3.17"),
    ml_dsa("ML-DSA-65", "65", 192, 3, "2.16.840.1.101.3.4.3.18"),
    ml_dsa("ML-DSA-87", "87", 256, 5, "2.16.840.1.101.3.4.3.19"),
    aead("AES-128-GCM", "AES", Some("gcm"), 128, 1, Some("2.16.840.1.101.3.4.1.6")),
    aead("AES-256-GCM", "AES", Some("gcm"), 256, 5, Some("2.16.840.1.101.3.4.1.46")),
    aead("ChaCha20-Poly1305", "ChaCha20", None, 256, 5, Some("1.2.840.113549.1.9.16.3.18")),
    aead("AEAD_AES_256_GCM_SIV", "AES", Some("other"), 256, 5, None),
    Asset {
        name: "HMAC-SHA-256",
        primitive: "mac",
        family: Some("HMAC"),
        parameter: Some("256"),
        functions: &["tag"],
        bits: Some(256),
        quantum: Some(5),
        oid: Some("1.2.840.113549.2.9"),
        made_of: &["SHA-256"],
        ..NONE
    },
    Asset {
        name: "HKDF-SHA-256",
        primitive: "kdf",
        family: Some("HKDF"),
        parameter: Some("256"),
        functions: &["keyderive"],
        bits: Some(256),
        quantum: Some(5),
        oid: Some("1.2.840.113549.1.9.16.3.28"),
        made_of: &["SHA-256"],
        ..NONE
    },
    Asset {
        name: "HKDF-SHA-384",
        primitive: "kdf",
        family: Some("HKDF"),
        parameter: Some("384"),
        functions: &["keyderive"],
        bits: Some(384),
        quantum: Some(5),
        oid: Some("1.2.840.113549.1.9.16.3.29"),
        made_of: &["SHA-384"],
        ..NONE
    },
    Asset {
        name: "HKDF-SHA-512",
        primitive: "kdf",
        family: Some("HKDF"),
        parameter: Some("512"),
        functions: &["keyderive"],
        bits: Some(512),
        quantum: Some(5),
        oid: Some("1.2.840.113549.1.9.16.3.30"),
        made_of: &["SHA-512"],
        ..NONE
    },
    Asset {
        name: "Argon2id",
        primitive: "kdf",
        family: Some("Argon2"),
        functions: &["keyderive"],
        ..NONE
    },
    Asset {
        name: "CTR_DRBG-AES-256",
        primitive: "drbg",
        family: Some("CTR_DRBG"),
        parameter: Some("256"),
        functions: &["generate"],
        bits: Some(256),
        quantum: Some(5),
        ..NONE
    },
    sha2("SHA-256", "256", 128, 2, "2.16.840.1.101.3.4.2.1"),
    sha2("SHA-384", "384", 192, 4, "2.16.840.1.101.3.4.2.2"),
    sha2("SHA-512", "512", 256, 5, "2.16.840.1.101.3.4.2.3"),
];

pub(super) fn asset(name: &str) -> Option<&'static Asset> {
    ASSETS.iter().find(|asset| asset.name == name)
}

/// What a TLS 1.3 suite is made of (RFC 8446 appendix B.4).
pub(super) fn of_suite(name: &str) -> &'static [&'static str] {
    match name {
        "TLS_AES_128_GCM_SHA256" => &["AES-128-GCM", "SHA-256", "HKDF-SHA-256"],
        "TLS_AES_256_GCM_SHA384" => &["AES-256-GCM", "SHA-384", "HKDF-SHA-384"],
        "TLS_CHACHA20_POLY1305_SHA256" => &["ChaCha20-Poly1305", "SHA-256", "HKDF-SHA-256"],
        _ => &[],
    }
}
