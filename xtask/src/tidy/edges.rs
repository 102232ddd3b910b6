//! Which crate may depend on which: the picture in `ARCHITECTURE.md`, held by `cargo metadata`.

use super::Finding;
use serde::Deserialize;
use std::path::Path;
use std::process::Command;

const RULE: &str = "edges";
const PREFIX: &str = "countersign-";

/// Every workspace crate and the workspace crates that it may depend on, in tests too.
const ALLOWED: &[(&str, &[&str])] = &[
    ("model", &[]),
    ("crypto", &["model"]),
    ("protocol", &["crypto", "model"]),
    ("device", &["protocol", "crypto", "model"]),
    ("controller", &["protocol", "crypto", "model"]),
    ("gateway", &["protocol", "crypto", "model"]),
    ("authority", &["crypto", "model"]),
    ("assessor", &["model"]),
    (
        "cli",
        &[
            "device",
            "controller",
            "gateway",
            "authority",
            "assessor",
            // To wire the parts together.
            "protocol",
            "crypto",
            "model",
        ],
    ),
    (
        "simulator",
        &[
            "device",
            "controller",
            "gateway",
            "authority",
            "assessor",
            "protocol",
            "crypto",
            "model",
        ],
    ),
    ("xtask", &[]),
];

/// What `protocol` and `model` may use from outside: encodings, error types and the patterns of data schemas, nothing
/// that acts.
const PURE: &[(&str, &[&str])] = &[
    (
        "model",
        &["serde", "serde_json", "thiserror", "minicbor", "regex-lite", "time", "toml", "zeroize"],
    ),
    ("protocol", &["serde", "serde_json", "thiserror", "minicbor", "base64", "hex", "zeroize"]),
];

/// The workspace's packages and what each asks for.
#[derive(Deserialize)]
pub(crate) struct Graph {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    dependencies: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Dependency {
    name: String,
    kind: Option<String>,
    path: Option<String>,
}

impl Graph {
    pub(crate) fn of_workspace(root: &Path) -> Result<Self, String> {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let output = Command::new(cargo)
            .args(["metadata", "--format-version", "1", "--no-deps"])
            .current_dir(root)
            .output()
            .map_err(|cause| format!("cargo metadata: {cause}"))?;
        if !output.status.success() {
            return Err(format!("cargo metadata: {}", String::from_utf8_lossy(&output.stderr)));
        }
        serde_json::from_slice(&output.stdout).map_err(|cause| format!("cargo metadata: {cause}"))
    }
}

pub(crate) fn check(graph: &Graph) -> Vec<Finding> {
    let mut findings = Vec::new();
    for package in &graph.packages {
        let name = short(&package.name);
        let Some((_, allowed)) = ALLOWED.iter().find(|(known, _)| *known == name) else {
            findings.push(Finding::new(
                RULE,
                name,
                "is not in the table of crates; a new crate needs a reason and a line there",
            ));
            continue;
        };
        for dependency in package.dependencies.iter().filter(|other| other.path.is_some()) {
            let other = short(&dependency.name);
            //= specs/house.md#house-core
            //# The assessor MUST NOT link the code that it judges.
            //= specs/house.md#house-core
            //# A product crate MUST NOT depend on the simulator.
            if !allowed.contains(&other) {
                findings.push(Finding::new(
                    RULE,
                    name,
                    format!("may not depend on {other}; allowed: {}", allowed.join(", ")),
                ));
            }
        }
        let Some((_, outside)) = PURE.iter().find(|(known, _)| *known == name) else { continue };
        for dependency in package.dependencies.iter().filter(|other| other.path.is_none()) {
            if dependency.kind.is_none() && !outside.contains(&dependency.name.as_str()) {
                findings.push(Finding::new(
                    RULE,
                    name,
                    format!("is a core without I/O and may not use {}", dependency.name),
                ));
            }
        }
    }
    findings
}

fn short(name: &str) -> &str {
    name.strip_prefix(PREFIX).unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn graph(packages: serde_json::Value) -> Graph {
        serde_json::from_value(serde_json::json!({ "packages": packages })).expect("a graph")
    }

    fn findings(name: &str, dependency: serde_json::Value) -> Vec<Finding> {
        check(&graph(serde_json::json!([{ "name": name, "dependencies": [dependency] }])))
    }

    #[test]
    fn allowed_edge_is_silent() {
        let edge = serde_json::json!({"name": "countersign-model", "kind": null, "path": "x"});
        assert_eq!(findings("countersign-crypto", edge), []);
    }

    //= specs/house.md#house-core
    //= type=test
    //# The assessor MUST NOT link the code that it judges.
    #[test]
    fn assessor_may_not_link_crypto() {
        let edge = serde_json::json!({"name": "countersign-crypto", "kind": null, "path": "x"});
        assert_eq!(findings("countersign-assessor", edge).len(), 1);
    }

    //= specs/house.md#house-core
    //= type=test
    //# A product crate MUST NOT depend on the simulator.
    #[test]
    fn nobody_depends_on_the_simulator_even_in_tests() {
        for (name, _) in ALLOWED {
            let edge =
                serde_json::json!({"name": "countersign-simulator", "kind": "dev", "path": "x"});
            assert_eq!(findings(&format!("countersign-{name}"), edge).len(), 1, "{name}");
        }
    }

    #[test]
    fn unknown_crate_is_found() {
        assert_eq!(
            check(&graph(
                serde_json::json!([{ "name": "countersign-common", "dependencies": [] }])
            ))
            .len(),
            1
        );
    }

    #[test]
    fn protocol_may_not_use_a_runtime() {
        let tokio = serde_json::json!({"name": "tokio", "kind": null, "path": null});
        assert_eq!(findings("countersign-protocol", tokio).len(), 1);
        let dev = serde_json::json!({"name": "proptest", "kind": "dev", "path": null});
        assert_eq!(findings("countersign-protocol", dev), []);
    }
}
