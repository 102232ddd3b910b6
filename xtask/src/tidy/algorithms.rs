//! Nothing in the product names an algorithm outside `crypto`: names come from the policy, or from `crypto` by function.

use super::Finding;
use super::source::{Tree, has_word};
use std::collections::BTreeSet;

const RULE: &str = "algorithms";

/// Product code that may not name one. The assessor may: it must ask for what the product refuses.
const PRODUCT: &[&str] = &[
    "crates/model/src/",
    "crates/protocol/src/",
    "crates/device/src/",
    "crates/controller/src/",
    "crates/gateway/src/",
    "crates/authority/src/",
    "crates/cli/src/",
];

/// The kinds of the registry whose ids are looked for. Links and features are no algorithms.
const FILES: &[&str] =
    &["suites", "groups", "signatures", "hashes", "macs", "ciphers", "kdfs", "drbgs"];

/// How code spells algorithms as identifiers, besides the registry's ids.
const SPELLINGS: &[&str] = &[
    "EcdsaP256Sha256",
    "EcdsaP384Sha384",
    "MlDsa44",
    "MlDsa65",
    "MlDsa87",
    "Ed25519",
    "AES_128_GCM",
    "AES_256_GCM",
    "CHACHA20_POLY1305",
    "SECP256R1",
    "SECP384R1",
    "X25519",
    "ECDSA_NISTP256_SHA256",
    "ECDSA_NISTP384_SHA384",
];

//= specs/house.md#house-core
//# Product code outside the crate `crypto` MUST NOT name an algorithm.
pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    let names = names(tree);
    let mut findings = Vec::new();
    for file in tree.rust() {
        if !PRODUCT.iter().any(|part| file.path.starts_with(part)) || is_test(&file.path) {
            continue;
        }
        let (code, _) = file.text.split_once("\n#[cfg(test)]").unwrap_or((&file.text, ""));
        for (at, line) in code.lines().enumerate() {
            let line = without_comment(line);
            for name in names.iter().filter(|name| has_word(line, name)) {
                findings.push(Finding::new(
                    RULE,
                    file.place(at + 1),
                    format!("names {name}; take it from the policy, or from crypto by function"),
                ));
            }
        }
    }
    findings
}

/// The ids of the registry that are one word, and the spellings of identifiers.
fn names(tree: &Tree) -> BTreeSet<String> {
    let mut names: BTreeSet<String> = SPELLINGS.iter().map(|name| (*name).to_owned()).collect();
    for file in tree.files() {
        let Some(name) = file.path.strip_prefix("crates/model/registry/") else { continue };
        if !FILES.iter().any(|known| name.strip_suffix(".toml") == Some(known)) {
            continue;
        }
        let Ok(table) = file.text.parse::<toml::Table>() else { continue };
        let entries = table.get("entry").and_then(toml::Value::as_array);
        for entry in entries.into_iter().flatten() {
            let also = entry.get("also").and_then(toml::Value::as_array);
            let ids = entry.get("id").into_iter().chain(also.into_iter().flatten());
            let ids = ids.filter_map(toml::Value::as_str).filter(|id| !id.contains(' '));
            names.extend(ids.map(str::to_owned));
        }
    }
    names
}

/// Tests hold the product to what it names nowhere.
fn is_test(path: &str) -> bool {
    path.ends_with("/tests.rs") || path.contains("/tests/") || path.contains("/testing")
}

/// A line up to a comment: text speaks of algorithms, code does not.
fn without_comment(line: &str) -> &str {
    let trimmed = line.trim_start();
    if trimmed.starts_with("//") {
        return "";
    }
    line.split_once(" // ").map_or(line, |(code, _)| code)
}

#[cfg(test)]
mod tests {
    use super::*;

    const REGISTRY: (&str, &str) = (
        "crates/model/registry/groups.toml",
        "[[entry]]\nid = \"secp256r1\"\nalso = [\"P-256\"]\n",
    );

    fn findings(path: &str, text: &str) -> usize {
        check(&Tree::of(&[REGISTRY, (path, text)])).len()
    }

    //= specs/house.md#house-core
    //= type=test
    //# Product code outside the crate `crypto` MUST NOT name an algorithm.
    #[test]
    fn names_are_found_in_literals_and_identifiers() {
        let path = "crates/gateway/src/x.rs";
        assert_eq!(findings(path, "let group = \"secp256r1\";"), 1);
        assert_eq!(findings(path, "let group = \"P-256\";"), 1);
        assert_eq!(findings(path, "SignatureAlgorithm::EcdsaP256Sha256"), 1);
        assert_eq!(findings(path, "let group = rules.groups()[0]; // not secp256r1"), 0);
        assert_eq!(findings(path, "/// By default secp256r1.\nfn f() {}"), 0);
    }

    #[test]
    fn crypto_the_assessor_and_tests_are_free() {
        let text = "let group = \"secp256r1\";";
        for path in [
            "crates/crypto/src/x.rs",
            "crates/assessor/src/x.rs",
            "crates/gateway/src/x/tests.rs",
            "crates/gateway/tests/x.rs",
        ] {
            assert_eq!(findings(path, text), 0, "{path}");
        }
        let inside = format!("fn f() {{}}\n\n#[cfg(test)]\nmod tests {{ {text} }}\n");
        assert_eq!(findings("crates/gateway/src/x.rs", &inside), 0);
    }
}
