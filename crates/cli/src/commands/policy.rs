//! `countersign policy`: show and check crypto policies.

mod dry_run;

use std::path::{Path, PathBuf};

use clap::Subcommand;
use countersign_crypto::certificate::certificates_from_pem;
use countersign_crypto::policy::{self, CompiledPolicy, Policy};
use countersign_crypto::tls::{Clock as _, SystemClock};
use countersign_model::time::Day;

use crate::console::{json, say};
use crate::failure::{Ended, Failure, Named as _};

#[derive(Debug, Subcommand)]
pub(crate) enum PolicyCommand {
    /// Show the built-in policy, or a file's, signed or not, as TOML.
    #[command(
        after_help = "Examples:\n  countersign policy show\n  countersign policy show data/policy/current.cose"
    )]
    Show {
        /// A policy's TOML, or a signed policy; left out: the one that this build carries.
        file: Option<PathBuf>,
        /// The policy key's public half (PEM certificate or SubjectPublicKeyInfo, DER) to verify a signed policy with.
        #[arg(long)]
        key: Option<PathBuf>,
    },
    /// Check that this build can carry a policy out; exit code 1 with every fault when it cannot.
    #[command(after_help = "Example:\n  countersign policy check my-policy.toml")]
    Check {
        /// A policy's TOML.
        file: PathBuf,
        /// Print one JSON object.
        #[arg(long)]
        json: bool,
    },
    /// What a policy would do to the fleet, from what it was seen to do; exit code 1 when somebody would be stranded.
    #[command(
        after_help = "Examples:\n  countersign policy dry-run next.toml --data ./data\n  countersign policy dry-run next.toml --data ./data --not-seen-for 7d --strict --json"
    )]
    DryRun(dry_run::DryRunArgs),
}

pub(crate) async fn run(command: PolicyCommand) -> Ended {
    match command {
        PolicyCommand::Show { file: None, .. } => say(policy::DEFAULT_TOML.trim_end()),
        PolicyCommand::Show { file: Some(path), key } => show(&path, key.as_deref())?,
        PolicyCommand::Check { file, json } => check(&file, json)?,
        PolicyCommand::DryRun(arguments) => dry_run::run(arguments).await?,
    }
    Ok(())
}

fn show(path: &Path, key: Option<&Path>) -> Ended {
    let bytes = std::fs::read(path).at(path)?;
    if let Some(policy) = std::str::from_utf8(&bytes).ok().and_then(|t| Policy::from_toml(t).ok()) {
        say(toml::to_string_pretty(&policy)?.trim_end());
        return Ok(());
    }
    let default_key = path.with_file_name("policy-key.spki");
    let key = key.unwrap_or(&default_key);
    let key_bytes = std::fs::read(key).named(format_args!(
        "{}: a signed policy is shown only when it verifies: name the policy key with --key",
        key.display()
    ))?;
    let spki = match certificates_from_pem(&key_bytes) {
        Ok(certificates) => certificates[0].spki_der(),
        Err(_) => key_bytes,
    };
    let policy = policy::verify(&bytes, &spki).at(path)?;
    say(&format!("# signature verified with {}", key.display()));
    say(toml::to_string_pretty(&policy)?.trim_end());
    Ok(())
}

fn check(path: &Path, as_json: bool) -> Ended {
    let text = std::fs::read_to_string(path).at(path)?;
    let policy = Policy::from_toml(&text).at(path)?;
    let faults = match CompiledPolicy::compile(policy, Day::of(SystemClock.now())) {
        Ok(compiled) => {
            if as_json {
                json(&serde_json::json!({ "version": compiled.version(), "faults": [] }));
            } else {
                let until = compiled.expires().to_rfc3339();
                say(&format!(
                    "{}: version {}, carried out as written until {until}",
                    path.display(),
                    compiled.version()
                ));
            }
            return Ok(());
        }
        Err(faults) => faults,
    };
    if as_json {
        let faults: Vec<_> = faults
            .iter()
            .map(|fault| serde_json::json!({ "field": fault.path, "fault": fault.fault, "line": fault.line, "item": fault.item, "mend": fault.mend }))
            .collect();
        json(&serde_json::json!({ "faults": faults }));
        return Err(Failure::found(""));
    }
    let list: Vec<String> = faults.iter().map(|fault| format!("  {fault}")).collect();
    Err(Failure::found(format!("{}:\n{}", path.display(), list.join("\n"))))
}
