use super::*;
use serde_json::{Value, json};

fn package(name: &str, categories: &[&str], keywords: &[&str]) -> Value {
    json!({"id": name, "name": name, "version": "1.0.0", "source": "registry", "categories": categories, "keywords": keywords})
}

/// The binary uses `top`, which uses `below`.
fn metadata(top: Value, below: Value) -> Metadata {
    let edge = |to: &Value| json!([{"pkg": to["id"], "dep_kinds": [{"kind": null}]}]);
    let binary = json!({"id": BINARY, "name": BINARY, "version": "0.1.0", "source": null});
    let nodes = json!([
        {"id": BINARY, "deps": edge(&top)},
        {"id": top["id"], "deps": edge(&below)},
        {"id": below["id"], "deps": []},
    ]);
    let all = json!({"packages": [binary, top, below], "resolve": {"nodes": nodes}});
    serde_json::from_value(all).expect("a graph")
}

fn register(entries: &[(&str, &str, &str)]) -> Register {
    let entry = |(name, version, role): &(&str, &str, &str)| Entry {
        name: (*name).to_owned(),
        version: (*version).to_owned(),
        checksum: "aa".to_owned(),
        role: (*role).to_owned(),
    };
    Register { implementation: entries.iter().map(entry).collect(), no_role: Vec::new() }
}

fn lock(packages: &[(&str, &str)]) -> Lock {
    let locked = |(name, checksum): &(&str, &str)| Locked {
        name: (*name).to_owned(),
        version: "1.0.0".to_owned(),
        checksum: Some((*checksum).to_owned()),
    };
    Lock { package: packages.iter().map(locked).collect() }
}

fn messages(metadata: &Metadata, register: &Register, lock: &Lock) -> Vec<String> {
    check(metadata, register, lock).iter().map(ToString::to_string).collect()
}

//= specs/house.md#house-provider
//= type=test
//# A dependency with a cryptographic role and no entry in the review register MUST fail the build.
#[test]
fn a_planted_dependency_is_found_by_category_keyword_name_and_use() {
    let plain = || package("plain", &[], &[]);
    let lock = lock(&[]);
    for planted in [
        package("shiny", &["cryptography"], &[]),
        package("shiny", &[], &["tls"]),
        package("openssl-sys", &[], &[]),
        package("ring", &[], &[]),
    ] {
        for graph in [metadata(planted.clone(), plain()), metadata(plain(), planted.clone())] {
            let found = messages(&graph, &Register::default(), &lock);
            assert!(found.len() == 1 && found[0].contains("no entry"), "{found:?}");
        }
    }
    assert_eq!(
        messages(&metadata(plain(), package("dull", &[], &[])), &Register::default(), &lock),
        [""; 0]
    );

    // Whoever uses a registered primitive has a role, whatever it is called.
    let entries = register(&[("below", "1.0.0", "primitive")]);
    let locked = self::lock(&[("below", "aa")]);
    let found =
        messages(&metadata(plain(), package("below", &["cryptography"], &[])), &entries, &locked);
    assert!(
        found.len() == 1 && found[0].contains("plain 1.0.0") && found[0].contains("uses below"),
        "{found:?}"
    );
}

#[test]
fn an_entry_of_another_version_or_hash_or_of_nothing_is_found() {
    let graph = || metadata(package("rustls", &[], &[]), package("dull", &[], &[]));
    let good = register(&[("rustls", "1.0.0", "protocol")]);
    assert_eq!(messages(&graph(), &good, &lock(&[("rustls", "aa")])), [""; 0]);
    let other_hash = messages(&graph(), &good, &lock(&[("rustls", "bb")]));
    assert!(other_hash.len() == 1 && other_hash[0].contains("checksum"), "{other_hash:?}");
    let old = register(&[("rustls", "0.9.0", "protocol")]);
    let found = messages(&graph(), &old, &lock(&[("rustls", "aa")])).join("\n");
    assert!(found.contains("no entry") && found.contains("not that of Cargo.lock"), "{found}");
    let gone = register(&[("rustls", "1.0.0", "protocol"), ("gone", "1.0.0", "pki")]);
    let found = messages(&graph(), &gone, &lock(&[("rustls", "aa"), ("gone", "aa")]));
    assert!(found.len() == 1 && found[0].contains("not in the binary"), "{found:?}");
}

//= specs/house.md#house-provider
//= type=test
//# The second provider MUST NOT come into a binary that ships.
#[test]
fn the_second_provider_never_comes_into_the_binary() {
    let graph = metadata(package("graviola", &[], &[]), package("dull", &[], &[]));
    let entries = register(&[("graviola", "1.0.0", "primitive")]);
    let found = messages(&graph, &entries, &lock(&[("graviola", "aa")]));
    assert!(found.len() == 1 && found[0].contains("second provider"), "{found:?}");
}
