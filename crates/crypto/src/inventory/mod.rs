//! What cryptography this binary contains and what a policy uses of it, as a bill of materials: CycloneDX 1.7.
//!
//! ```text
//! provider's tables ─┐
//! review register ───┼─► bill_of_materials ─► JSON
//! a policy ──────────┘
//! ```
//!
//! An algorithm stands in it because the provider offers it, not because somebody listed it; the policy adds
//! where it is used, and at which place in the order of preference.

mod assets;

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::policy::{Item, Policy, Use};
use crate::register::{self, Implementation, Role};
use crate::{note_key, provider};
use assets::{Asset, HPKE_192, HPKE_256, asset, of_suite};

/// The bill's own reference of the application.
const APPLICATION: &str = "countersign";
/// The package that computes SPAKE2+, and the one that computes Argon2id.
const PAIRING: [(&str, &str); 2] =
    [("SPAKE2+-P256-SHA256-HKDF-SHA256-HMAC-SHA256", "spake2plus"), ("Argon2id", "argon2")];

/// The bill of materials of this binary under `policy`. `origin` says where the policy is from; `version` is the
/// application's.
#[must_use]
pub fn bill_of_materials(policy: &Policy, origin: &str, version: &str) -> Value {
    let offered = offered();
    let uses = uses(policy, &offered);
    let libraries = register::implementations();
    let mut components: Vec<Value> = libraries.iter().map(library).collect();
    components.extend(offered.iter().map(|(asset, _)| algorithm(asset, &uses)));
    components.extend(Use::ALL.iter().map(|&use_| protocol(policy, use_)));
    json!({
        "$schema": "http://cyclonedx.org/schema/bom-1.7.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.7",
        "version": 1,
        "metadata": {
            "component": {
                "type": "application",
                "bom-ref": APPLICATION,
                "name": APPLICATION,
                "version": version,
            },
            "properties": [
                property("countersign:provider", &format!("{} {}", provider::BACKEND.0, provider::BACKEND.1)),
                property("countersign:policy:origin", origin),
                property("countersign:policy:version", &policy.version.to_string()),
            ],
        },
        "components": components,
        "dependencies": dependencies(libraries, &offered),
    })
}

/// Every algorithm of the provider and of pairing, with the package that computes it.
fn offered() -> Vec<(&'static Asset, &'static str)> {
    let backend = provider::BACKEND.0;
    let suites = provider::SUITES.iter().flat_map(|suite| of_suite(suite.name).iter().copied());
    let named = provider::GROUPS.iter().map(|group| group.name).chain(suites);
    let named = named.chain(provider::SCHEMES.iter().map(|scheme| scheme.name));
    let named = named.chain(provider::SECOND.iter().map(|second| second.name()));
    let named = named.chain([provider::SEAL_AEAD, note_key::NAME]).chain(provider::DRBG);
    let named = named.chain(provider::hpke_256().map(|_| HPKE_256));
    let named = named.chain(provider::hpke_192().map(|_| HPKE_192));
    let mut offered: Vec<(&'static Asset, &'static str)> =
        named.filter_map(|name| asset(name).map(|asset| (asset, backend))).collect();
    offered.extend(PAIRING.iter().filter_map(|(name, by)| asset(name).map(|asset| (asset, *by))));
    // Parts come with what is made of them.
    let mut next = 0;
    while let Some((whole, by)) = offered.get(next).copied() {
        for part in whole.made_of.iter().filter_map(|name| asset(name)) {
            if !offered.iter().any(|(known, _)| known.name == part.name) {
                let by = if part.name.starts_with("HMAC") { "hmac" } else { by };
                offered.push((part, by));
            }
        }
        next += 1;
    }
    offered.sort_by_key(|(asset, _)| asset.name);
    offered.dedup_by_key(|(asset, _)| asset.name);
    offered
}

fn reference(asset: &Asset) -> String {
    format!("crypto/algorithm/{}", asset.name)
}

fn purl(implementation: &Implementation) -> String {
    format!("pkg:cargo/{}@{}", implementation.name, implementation.version)
}

fn property(name: &str, value: &str) -> Value {
    json!({ "name": name, "value": value })
}

fn library(implementation: &Implementation) -> Value {
    let mut properties = vec![property("countersign:role", implementation.role.as_str())];
    properties.extend(implementation.evidence.iter().map(|evidence| {
        let text = format!(
            "{} ({}): {}: {}",
            evidence.kind.as_str(),
            evidence.date,
            evidence.reference,
            evidence.scope
        );
        property("countersign:evidence", &text)
    }));
    json!({
        "type": "library",
        "bom-ref": purl(implementation),
        "name": implementation.name,
        "version": implementation.version,
        "description": implementation.what,
        "purl": purl(implementation),
        "hashes": [{ "alg": "SHA-256", "content": implementation.checksum }],
        "properties": properties,
    })
}

/// What is used whatever a policy says.
const FIXED: [(&str, &str); 6] = [
    (HPKE_256, "backups, whatever the policy says"),
    (HPKE_192, "custodians' parts of the root, whatever the policy says"),
    ("SPAKE2+-P256-SHA256-HKDF-SHA256-HMAC-SHA256", "pairing, whatever the policy says"),
    ("Argon2id", "pairing, whatever the policy says"),
    ("CTR_DRBG-AES-256", "keys and nonces, whatever the policy says"),
    ("SHA-256", "fingerprints and ledger, whatever the policy says"),
];

/// Name of an algorithm → where it is used: places in the policy's lists, counted from 0, or words.
type Uses = BTreeMap<String, Vec<String>>;

fn uses(policy: &Policy, offered: &[(&'static Asset, &'static str)]) -> Uses {
    let mut uses = Uses::new();
    for (name, mark) in FIXED {
        uses.entry(name.to_owned()).or_default().push(mark.to_owned());
    }
    for (path, items) in policy.lists() {
        for (place, Item { name, until, .. }) in items.iter().enumerate() {
            let until = until.map(|day| format!(" until {day}")).unwrap_or_default();
            let mark = format!("{path}[{place}]{until}");
            uses.entry(name.clone()).or_default().push(mark.clone());
            for part in of_suite(name) {
                uses.entry((*part).to_owned()).or_default().push(mark.clone());
            }
        }
    }
    // Wholes before parts: what is made of something stands in this order in the table.
    for whole in assets::ASSETS {
        if uses.contains_key(whole.name)
            && offered.iter().any(|(known, _)| known.name == whole.name)
        {
            for part in whole.made_of {
                uses.entry((*part).to_owned()).or_default().push(format!("part of {}", whole.name));
            }
        }
    }
    uses
}

fn platform() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "x86_64",
        "aarch64" => "armv8-a",
        _ => "other",
    }
}

fn algorithm(asset: &Asset, uses: &Uses) -> Value {
    let mut properties = json!({
        "primitive": asset.primitive,
        "executionEnvironment": "software-plain-ram",
        "implementationPlatform": platform(),
        // The module that is linked has no certificate; the register says which older one has.
        "certificationLevel": ["none"],
        "cryptoFunctions": asset.functions,
    });
    let optional = [
        ("algorithmFamily", asset.family.map(Value::from)),
        ("parameterSetIdentifier", asset.parameter.map(Value::from)),
        ("ellipticCurve", asset.curve.map(Value::from)),
        ("mode", asset.mode.map(Value::from)),
        ("classicalSecurityLevel", asset.bits.map(Value::from)),
        ("nistQuantumSecurityLevel", asset.quantum.map(Value::from)),
    ];
    for (key, value) in optional {
        if let Some(value) = value {
            properties[key] = value;
        }
    }
    let mut crypto = json!({ "assetType": "algorithm", "algorithmProperties": properties });
    if let Some(oid) = asset.oid {
        crypto["oid"] = oid.into();
    }
    let marks: Vec<Value> = match uses.get(asset.name) {
        Some(marks) => marks.iter().map(|mark| property("countersign:use", mark)).collect(),
        None => vec![property("countersign:use", "none")],
    };
    json!({
        "type": "cryptographic-asset",
        "bom-ref": reference(asset),
        "name": asset.name,
        "cryptoProperties": crypto,
        "properties": marks,
    })
}

fn protocol_reference(use_: Use) -> String {
    format!("crypto/protocol/tls/{}", use_.as_str())
}

/// One use's TLS, in the policy's order of preference.
fn protocol(policy: &Policy, use_: Use) -> Value {
    let rules = policy.uses.get(&use_);
    let names = |items: &[Item]| items.iter().map(|item| item.name.clone()).collect::<Vec<_>>();
    let suites = rules.map(|rules| names(&rules.suites)).unwrap_or_default();
    let suites: Vec<Value> = suites
        .iter()
        .map(|name| {
            let code = provider::SUITES.iter().find(|suite| suite.name == name);
            let identifiers: Vec<String> = code
                .map(|suite| suite.code.to_be_bytes().map(|byte| format!("0x{byte:02X}")).to_vec())
                .unwrap_or_default();
            let algorithms: Vec<String> =
                of_suite(name).iter().filter_map(|part| asset(part)).map(reference).collect();
            json!({
                "name": name,
                "identifiers": identifiers,
                "algorithms": algorithms,
                "tlsGroups": rules.map(|rules| names(&rules.groups)),
                "tlsSignatureSchemes": rules.map(|rules| names(&rules.signatures)),
            })
        })
        .collect();
    json!({
        "type": "cryptographic-asset",
        "bom-ref": protocol_reference(use_),
        "name": format!("TLS ({})", use_.as_str()),
        "cryptoProperties": {
            "assetType": "protocol",
            "protocolProperties": { "type": "tls", "version": "1.3", "cipherSuites": suites },
        },
    })
}

fn dependencies(
    libraries: &[Implementation],
    offered: &[(&'static Asset, &'static str)],
) -> Vec<Value> {
    let mut out = Vec::new();
    let all: Vec<String> = libraries.iter().map(purl).collect();
    out.push(json!({ "ref": APPLICATION, "dependsOn": all }));
    for implementation in libraries {
        let mut provides: Vec<String> = offered
            .iter()
            .filter(|(_, by)| *by == implementation.name)
            .map(|(asset, _)| reference(asset))
            .collect();
        if implementation.role == Role::Protocol && implementation.name == "rustls" {
            provides.extend(Use::ALL.map(protocol_reference));
        }
        if !provides.is_empty() {
            out.push(json!({ "ref": purl(implementation), "provides": provides }));
        }
    }
    for (asset, _) in offered.iter().filter(|(asset, _)| !asset.made_of.is_empty()) {
        let parts: Vec<String> =
            asset.made_of.iter().filter_map(|name| assets::asset(name)).map(reference).collect();
        out.push(json!({ "ref": reference(asset), "dependsOn": parts }));
    }
    out
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
