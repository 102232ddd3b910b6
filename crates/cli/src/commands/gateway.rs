//! `countersign gateway`: what the gateway has recorded, read from its data folder, also while `serve` runs on it.

use std::path::{Path, PathBuf};

use clap::Subcommand;
use countersign_authority::Layout;
use countersign_authority::registration::State;
use countersign_authority::store::{Place, Store, SubjectRecord};
use countersign_authority::subject::Subject;
use countersign_gateway::store::fleet::read_fleet;
use countersign_protocol::fleet::{Record, Registration};
use serde_json::json;

use crate::config::ServeConfig;
use crate::console::{json as print_json, say};
use crate::failure::{Ended, Failure};

#[derive(Debug, Subcommand)]
pub(crate) enum GatewayCommand {
    /// Who was seen, when, and over what kind of channel.
    #[command(after_help = "Example:\n  countersign gateway sessions --data ./data")]
    Sessions(Args),
    /// What services may publish and subscribe to.
    #[command(after_help = "Example:\n  countersign gateway grants --data ./data --json")]
    Grants(Args),
}

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The data folder of `serve`.
    #[arg(long)]
    data: PathBuf,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

pub(crate) async fn run(command: GatewayCommand) -> Ended {
    match command {
        GatewayCommand::Sessions(arguments) => sessions(&arguments).await,
        GatewayCommand::Grants(arguments) => grants(&arguments).await,
    }
}

/// Everybody whom the gateway of this folder has seen; nobody where it never served.
pub(crate) async fn fleet(data: &Path) -> Ended<Vec<Record>> {
    let path = data.join("gateway/gateway.db");
    if !path.exists() {
        return Ok(Vec::new());
    }
    Ok(read_fleet(&path).await?)
}

async fn subjects(data: &Path) -> Ended<Vec<SubjectRecord>> {
    let path = Layout::new(data).database();
    let config = ServeConfig::read(None, data)?.authority;
    if config.database().is_none() && !path.exists() {
        return Err(Failure::environment(format!(
            "{}: no data folder of `serve`: there is no {}",
            data.display(),
            path.display()
        )));
    }
    Ok(Store::read_subjects(Place::of(&path, config.database())).await?)
}

/// The devices and services that the authority of this folder knows.
pub(crate) async fn registrations(data: &Path) -> Ended<Vec<Registration>> {
    let known = subjects(data).await?;
    let connects =
        |one: &&SubjectRecord| matches!(one.subject, Subject::Thing(_) | Subject::Service(_));
    Ok(known
        .iter()
        .filter(connects)
        .map(|one| Registration {
            subject: one.subject.to_string(),
            // One that is made and not yet enrolled, or let in again, will come.
            admitted: !matches!(one.state, State::Suspended | State::Retired),
        })
        .collect())
}

async fn sessions(arguments: &Args) -> Ended {
    subjects(&arguments.data).await?;
    let mut seen = fleet(&arguments.data).await?;
    seen.sort_by_key(|record| std::cmp::Reverse(record.last_seen));
    if arguments.json {
        print_json(&json!({ "sessions": seen }));
        return Ok(());
    }
    for record in &seen {
        let newest = record.negotiated.iter().max_by_key(|one| one.at);
        let channel =
            newest.map(|one| format!("{} · {}", one.group, one.suite)).unwrap_or_default();
        let policy = record.policy_version.map(|version| format!("  policy {version}"));
        say(&format!(
            "{}  {:<28} {channel}{}",
            record.last_seen.to_rfc3339(),
            record.subject,
            policy.unwrap_or_default()
        ));
    }
    Ok(())
}

async fn grants(arguments: &Args) -> Ended {
    let mut services = subjects(&arguments.data).await?;
    services.retain(|one| matches!(one.subject, Subject::Service(_)));
    services.sort_by(|a, b| a.subject.name().cmp(b.subject.name()));
    if arguments.json {
        let list: Vec<_> = services
            .iter()
            .map(|one| {
                let grants: Vec<String> = one.grants.iter().map(ToString::to_string).collect();
                json!({ "subject": one.subject.to_string(), "state": one.state.as_str(), "grants": grants })
            })
            .collect();
        print_json(&json!({ "services": list }));
        return Ok(());
    }
    for one in &services {
        say(&format!("{:12} {}", one.state.as_str(), one.subject));
        for grant in &one.grants {
            say(&format!("{:12}   {grant}", ""));
        }
    }
    Ok(())
}
