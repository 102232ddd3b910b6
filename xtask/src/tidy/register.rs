//! Every part of the binary with a cryptographic or network-security role stands in the review register, as locked.

use super::Finding;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

const RULE: &str = "register";
/// The package that becomes the binary.
const BINARY: &str = "countersign-cli";
/// The platform whose packages are looked at.
const TARGET: &str = "x86_64-unknown-linux-gnu";
const FOLDER: &str = "crates/crypto/register";
/// Fewest packages that the binary can have: fewer means that the graph was read wrongly.
const PLAUSIBLE: usize = 50;

/// Categories of crates.io that give a package a role.
const CATEGORIES: &[&str] = &["cryptography", "authentication"];
/// Keywords that do.
const KEYWORDS: &[&str] = &["crypto", "cryptography", "tls", "ssl", "x509", "pki", "aead", "mac"];
/// Names that do, whatever their manifests say; one that ends in `-` stands for all that begin so.
const NAMES: &[&str] = &[
    "aes",
    "aes-",
    "asn1-",
    "axum",
    "boring",
    "chacha20",
    "chacha20-",
    "ciborium",
    "cms",
    "coset",
    "crypto-",
    "curve25519-",
    "dtls",
    "ecdsa",
    "ed25519",
    "ed25519-",
    "getrandom",
    "graviola",
    "hkdf",
    "hmac",
    "http-auth",
    "httparse",
    "hyper",
    "jose-",
    "lakers",
    "minicbor",
    "mqtt-",
    "native-tls",
    "openssl",
    "openssl-",
    "pbkdf2",
    "quinn",
    "rand",
    "rand_",
    "rand-",
    "rcgen",
    "ring",
    "rsa",
    "rustls",
    "rustls-",
    "sha1",
    "sha2",
    "sha3",
    "spake2",
    "untrusted",
    "webpki",
    "x25519-",
    "x509-",
    "yasna",
];
/// Packages of the second provider: they may come into tests and never into the binary.
const TESTS_ONLY: &[&str] = &["graviola", "rustls-graviola", "aes-gcm-siv"];

#[derive(Deserialize)]
pub(crate) struct Metadata {
    packages: Vec<Package>,
    resolve: Resolve,
}

#[derive(Deserialize)]
struct Package {
    id: String,
    name: String,
    version: String,
    source: Option<String>,
    #[serde(default)]
    categories: Vec<String>,
    #[serde(default)]
    keywords: Vec<String>,
}

#[derive(Deserialize)]
struct Resolve {
    nodes: Vec<Node>,
}

#[derive(Deserialize)]
struct Node {
    id: String,
    deps: Vec<Edge>,
}

#[derive(Deserialize)]
struct Edge {
    pkg: String,
    dep_kinds: Vec<Kind>,
}

#[derive(Deserialize)]
struct Kind {
    kind: Option<String>,
}

#[derive(Deserialize)]
struct Entry {
    name: String,
    version: String,
    checksum: String,
    role: String,
}

#[derive(Deserialize)]
struct Exempt {
    name: String,
    why: String,
}

/// The register's files, together.
#[derive(Deserialize, Default)]
pub(crate) struct Register {
    #[serde(default)]
    implementation: Vec<Entry>,
    #[serde(default, rename = "no-role")]
    no_role: Vec<Exempt>,
}

/// `Cargo.lock`.
#[derive(Deserialize)]
pub(crate) struct Lock {
    package: Vec<Locked>,
}

#[derive(Deserialize)]
struct Locked {
    name: String,
    version: String,
    checksum: Option<String>,
}

/// What `cargo` says, as text.
fn cargo(root: &Path, arguments: &[&str]) -> Result<Vec<u8>, String> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(arguments)
        .current_dir(root)
        .output()
        .map_err(|cause| format!("cargo {}: {cause}", arguments[0]))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(format!("cargo {}: {said}", arguments[0]));
    }
    Ok(output.stdout)
}

/// Name and version of every package that the binary is made of: `cargo tree` knows features, `cargo metadata`
/// lists what some feature might bring.
fn tree(root: &Path) -> Result<BTreeSet<(String, String)>, String> {
    let arguments =
        ["tree", "--edges", "normal", "--package", BINARY, "--prefix", "none", "--target", TARGET];
    let text = String::from_utf8_lossy(&cargo(root, &arguments)?).into_owned();
    let package = |line: &str| {
        let (name, rest) = line.split_once(" v")?;
        let version = rest.split_whitespace().next()?;
        Some((name.to_owned(), version.to_owned()))
    };
    Ok(text.lines().filter_map(package).collect())
}

pub(crate) fn read(root: &Path) -> Result<(Metadata, Register, Lock), String> {
    let arguments = ["metadata", "--format-version", "1", "--filter-platform", TARGET];
    let mut metadata: Metadata = serde_json::from_slice(&cargo(root, &arguments)?)
        .map_err(|cause| format!("cargo metadata: {cause}"))?;
    let tree = tree(root)?;
    metadata.packages.retain(|p| tree.contains(&(p.name.clone(), p.version.clone())));
    let text = |path: &Path| {
        std::fs::read_to_string(path).map_err(|cause| format!("{}: {cause}", path.display()))
    };
    let mut register = Register::default();
    let folder = root.join(FOLDER);
    let entries = std::fs::read_dir(&folder).map_err(|cause| format!("{FOLDER}: {cause}"))?;
    for entry in
        entries.flatten().filter(|entry| entry.path().extension().is_some_and(|e| e == "toml"))
    {
        let path = entry.path();
        let part: Register = toml::from_str(&text(&path)?)
            .map_err(|cause| format!("{}: {cause}", path.display()))?;
        register.implementation.extend(part.implementation);
        register.no_role.extend(part.no_role);
    }
    let lock = toml::from_str(&text(&root.join("Cargo.lock"))?)
        .map_err(|cause| format!("Cargo.lock: {cause}"))?;
    Ok((metadata, register, lock))
}

//= specs/house.md#house-provider
//# A dependency with a cryptographic role and no entry in the review register MUST fail the build.
pub(crate) fn check(metadata: &Metadata, register: &Register, lock: &Lock) -> Vec<Finding> {
    let linked = linked(metadata);
    let mut findings = Vec::new();
    if linked.len() < PLAUSIBLE.min(metadata.packages.len()) {
        let text = format!("the graph of {BINARY} has {} packages: read wrongly?", linked.len());
        findings.push(Finding::new(RULE, FOLDER, text));
    }
    let registered: BTreeSet<_> =
        register.implementation.iter().map(|e| (e.name.as_str(), e.version.as_str())).collect();
    let computing: BTreeSet<_> = register
        .implementation
        .iter()
        .filter(|entry| matches!(entry.role.as_str(), "primitive" | "protocol"))
        .map(|entry| (entry.name.as_str(), entry.version.as_str()))
        .collect();
    for (package, uses) in linked.values().filter(|(package, _)| package.source.is_some()) {
        let place = format!("{} {}", package.name, package.version);
        //= specs/house.md#house-provider
        //# The second provider MUST NOT come into a binary that ships.
        if TESTS_ONLY.contains(&package.name.as_str()) {
            let text = "belongs to the second provider and must not come into the binary";
            findings.push(Finding::new(RULE, &place, text));
        }
        let why = role(package).or_else(|| {
            let used = uses.iter().find(|used| computing.contains(*used))?;
            Some(format!("it uses {}", used.0))
        });
        let Some(why) = why else { continue };
        let exempt = register.no_role.iter().any(|exempt| exempt.name == package.name);
        if !exempt && !registered.contains(&(package.name.as_str(), package.version.as_str())) {
            let text = format!(
                "has a cryptographic or network-security role ({why}) and no entry of this version in {FOLDER}"
            );
            findings.push(Finding::new(RULE, &place, text));
        }
    }
    findings.extend(stale(register, lock, &linked));
    findings
}

/// Entries that say what is not so.
fn stale(register: &Register, lock: &Lock, linked: &Linked<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for entry in &register.implementation {
        let place = format!("{FOLDER}: {} {}", entry.name, entry.version);
        let locked =
            lock.package.iter().find(|p| p.name == entry.name && p.version == entry.version);
        if locked.and_then(|locked| locked.checksum.as_deref()) != Some(entry.checksum.as_str()) {
            findings.push(Finding::new(
                RULE,
                &place,
                "version or checksum is not that of Cargo.lock",
            ));
        }
        let used = linked.values().any(|(p, _)| p.name == entry.name && p.version == entry.version);
        if !used {
            findings.push(Finding::new(RULE, &place, "is not in the binary any more: take it out"));
        }
    }
    for exempt in &register.no_role {
        let place = format!("{FOLDER}: {}", exempt.name);
        if !linked.values().any(|(package, _)| package.name == exempt.name) {
            findings.push(Finding::new(RULE, &place, "is not in the binary any more: take it out"));
        }
        if exempt.why.len() < 20 {
            findings.push(Finding::new(RULE, &place, "needs a reason"));
        }
    }
    findings
}

/// Each package that is linked into the binary, with name and version of what it uses itself.
type Linked<'a> = BTreeMap<&'a str, (&'a Package, Vec<(&'a str, &'a str)>)>;

fn linked(metadata: &Metadata) -> Linked<'_> {
    let packages: BTreeMap<_, _> = metadata.packages.iter().map(|p| (p.id.as_str(), p)).collect();
    let nodes: BTreeMap<_, _> = metadata.resolve.nodes.iter().map(|n| (n.id.as_str(), n)).collect();
    let mut found = BTreeMap::new();
    let mut left: Vec<&str> =
        metadata.packages.iter().filter(|p| p.name == BINARY).map(|p| p.id.as_str()).collect();
    while let Some(id) = left.pop() {
        let (Some(package), Some(node)) = (packages.get(id), nodes.get(id)) else { continue };
        if found.contains_key(id) {
            continue;
        }
        let normal =
            node.deps.iter().filter(|edge| edge.dep_kinds.iter().any(|k| k.kind.is_none()));
        let uses: Vec<&str> = normal.map(|edge| edge.pkg.as_str()).collect();
        left.extend(&uses);
        let named = uses.iter().filter_map(|id| packages.get(id));
        let named = named.map(|p| (p.name.as_str(), p.version.as_str())).collect();
        found.insert(id, (*package, named));
    }
    found
}

/// Why a package has a role by itself.
fn role(package: &Package) -> Option<String> {
    let category =
        package.categories.iter().find(|category| CATEGORIES.contains(&category.as_str()));
    if let Some(category) = category {
        return Some(format!("category {category}"));
    }
    if let Some(keyword) = package.keywords.iter().find(|word| KEYWORDS.contains(&word.as_str())) {
        return Some(format!("keyword {keyword}"));
    }
    let named = NAMES.iter().find(|name| {
        if name.ends_with(['-', '_']) {
            package.name.starts_with(*name)
        } else {
            package.name == **name
        }
    });
    named.map(|_| "by its name".to_owned())
}

#[cfg(test)]
mod tests;
