//! `countersign crypto`: what cryptography this binary contains, and what speaks for it.

use std::path::{Path, PathBuf};

use clap::Subcommand;
use countersign_crypto::policy::Policy;
use countersign_crypto::{BACKEND, inventory, register};
use serde_json::Value;

use super::policy::read::read;
use crate::complete::Known;
use crate::console::{json, say};
use crate::failure::{Ended, Named as _};

#[derive(Debug, Subcommand)]
pub(crate) enum CryptoCommand {
    /// What this binary contains and what a policy uses of it: a table, or a CycloneDX 1.7 bill of materials.
    #[command(
        after_help = "Examples:\n  countersign crypto inventory\n  countersign crypto inventory --policy data/policy/current.cose --out cbom.json"
    )]
    Inventory {
        /// A policy's TOML, or a signed policy; left out: the one that this build carries.
        #[arg(long, add = Known::POLICY)]
        policy: Option<PathBuf>,
        /// The policy key's public half to verify a signed policy with; left out: `policy-key.spki` beside it.
        #[arg(long, requires = "policy")]
        key: Option<PathBuf>,
        /// Print the bill of materials.
        #[arg(long)]
        json: bool,
        /// Write the bill of materials to this file.
        #[arg(long)]
        out: Option<PathBuf>,
    },
    /// The review register: each implementation with a security role, and what kind of review it had.
    #[command(after_help = "Example:\n  countersign crypto register --json")]
    Register {
        /// Print one JSON array.
        #[arg(long)]
        json: bool,
    },
}

pub(crate) fn run(command: CryptoCommand) -> Ended {
    match command {
        CryptoCommand::Inventory { policy, key, json: as_json, out } => {
            let (policy, origin) = load(policy.as_deref(), key.as_deref())?;
            let bill = inventory::bill_of_materials(&policy, &origin, env!("CARGO_PKG_VERSION"));
            if let Some(path) = &out {
                let text = serde_json::to_string_pretty(&bill)? + "\n";
                std::fs::write(path, text).at(path)?;
            }
            match (as_json, out) {
                (true, _) => json(&bill),
                (false, Some(path)) => say(&format!("{}: written", path.display())),
                (false, None) => table(&bill),
            }
        }
        CryptoCommand::Register { json: as_json } => {
            if as_json {
                json(&serde_json::to_value(register::implementations())?);
            } else {
                print_register();
            }
        }
    }
    Ok(())
}

/// The policy and where it is from. A signed one is believed only when it verifies.
fn load(path: Option<&Path>, key: Option<&Path>) -> Ended<(Policy, String)> {
    let Some(path) = path else { return Ok((Policy::built_in(), "built in".to_owned())) };
    let read = read(path, key)?;
    let how = if read.verified_with.is_some() { "signature verified" } else { "unsigned" };
    Ok((read.policy, format!("{}, {how}", path.display())))
}

fn table(bill: &Value) {
    let (name, version) = BACKEND;
    say(&format!("provider {name} {version}"));
    for property in bill["metadata"]["properties"].as_array().into_iter().flatten().skip(1) {
        say(&format!("{} {}", text(&property["name"]), text(&property["value"])));
    }
    say("");
    say(&format!("{:<46} {:<10} {:>5} {:>8}  used", "algorithm", "kind", "bits", "quantum"));
    for component in bill["components"].as_array().into_iter().flatten() {
        let algorithm = &component["cryptoProperties"]["algorithmProperties"];
        if !algorithm.is_object() {
            continue;
        }
        let marks: Vec<String> = component["properties"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|mark| text(&mark["value"]))
            .collect();
        let number = |value: &Value| value.as_u64().map_or("-".to_owned(), |n| n.to_string());
        say(&format!(
            "{:<46} {:<10} {:>5} {:>8}  {}",
            text(&component["name"]),
            text(&algorithm["primitive"]),
            number(&algorithm["classicalSecurityLevel"]),
            number(&algorithm["nistQuantumSecurityLevel"]),
            marks.join(", "),
        ));
    }
    say("");
    say(
        "quantum: 0 falls to a quantum computer; 1 to 5 are NIST's categories. The libraries: countersign crypto register",
    );
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn print_register() {
    for entry in register::implementations() {
        say(&format!("{} {}  [{}] {}", entry.name, entry.version, entry.role.as_str(), entry.what));
        for evidence in &entry.evidence {
            say(&format!(
                "    {} ({}): {}; {}",
                evidence.kind.as_str(),
                evidence.date,
                evidence.scope,
                evidence.reference
            ));
        }
    }
}
