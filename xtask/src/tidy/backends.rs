//! Only `crypto` names a cipher backend; the assessor carries its own probing stack.

use super::Finding;
use super::source::Tree;

const RULE: &str = "backends";

/// Who may ask for them: `crypto` for the product, the assessor to speak what `crypto` refuses.
const HOLDERS: &[&str] = &["crates/crypto/", "crates/assessor/"];

/// Packages with a cryptographic role. A name that ends in `-` stands for all that begin so.
/// `zeroize` is not among them: it wipes memory and decides nothing.
const BACKENDS: &[&str] = &[
    "aes-",
    "aes",
    "argon2",
    "aws-lc-",
    "boring",
    "boring-",
    "chacha20",
    "chacha20poly1305",
    "cms",
    "coset",
    "cryptoki",
    "curve25519-",
    "der",
    "ecdsa",
    "ed25519-",
    "graviola",
    "hkdf",
    "hmac",
    "mbedtls",
    "native-",
    "openssl",
    "openssl-",
    "p256",
    "p384",
    "pbkdf2",
    "rand",
    "rcgen",
    "ring",
    "rsa",
    "rustls",
    "rustls-",
    "scrypt",
    "sha1",
    "sha2",
    "sha3",
    "spake2",
    "spake2plus",
    "tokio-rustls",
    "webpki",
    "webpki-",
    "x25519-",
    "x509-",
];

pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in tree.files().filter(|file| file.path.ends_with("/Cargo.toml")) {
        if !file.path.starts_with("crates/") {
            continue;
        }
        if HOLDERS.iter().any(|holder| file.path.starts_with(holder)) {
            continue;
        }
        let manifest: toml::Table = match file.text.parse() {
            Ok(manifest) => manifest,
            Err(cause) => {
                findings.push(Finding::new(RULE, &file.path, cause.to_string()));
                continue;
            }
        };
        //= specs/house.md#house-core
        //# Product code outside the crate `crypto` MUST NOT name a cipher backend.
        for table in ["dependencies", "dev-dependencies", "build-dependencies"] {
            let Some(dependencies) = manifest.get(table).and_then(|table| table.as_table()) else {
                continue;
            };
            for name in dependencies.keys().filter(|name| is_backend(name)) {
                findings.push(Finding::new(
                    RULE,
                    &file.path,
                    format!("{table} names {name}; cryptography is reached through crypto only"),
                ));
            }
        }
    }
    findings
}

fn is_backend(name: &str) -> bool {
    BACKENDS.iter().any(|backend| {
        if backend.ends_with('-') { name.starts_with(backend) } else { name == *backend }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    //= specs/house.md#house-core
    //= type=test
    //# Product code outside the crate `crypto` MUST NOT name a cipher backend.
    #[test]
    fn a_backend_outside_crypto_is_found_in_every_table() {
        for table in ["dependencies", "dev-dependencies", "build-dependencies"] {
            let manifest = format!("[{table}]\naws-lc-rs.workspace = true\nserde = \"1\"\n");
            let tree = Tree::of(&[("crates/gateway/Cargo.toml", &manifest)]);
            assert_eq!(check(&tree).len(), 1, "{table}");
        }
    }

    #[test]
    fn holders_are_exempt() {
        let manifest = "[dependencies]\nrustls = \"0.23\"\n";
        let tree = Tree::of(&[
            ("crates/crypto/Cargo.toml", manifest),
            ("crates/assessor/Cargo.toml", manifest),
        ]);
        assert_eq!(check(&tree), []);
    }
}
