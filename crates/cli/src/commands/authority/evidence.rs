//! `countersign authority evidence`: how critical parameters were managed, by the ledger's records.

use std::path::PathBuf;

use countersign_authority::evidence::EvidenceReport;
use countersign_model::id::ThingId;
use countersign_model::processes::{Evidence, Process, Rule, built_in};

use super::open;
use crate::console::say;
use crate::failure::{Ended, Failure};

#[derive(Debug, clap::Args)]
pub(crate) struct EvidenceArgs {
    /// The authority's data folder.
    #[arg(long)]
    data: PathBuf,
    /// One device; left out: records of any device count.
    #[arg(long)]
    thing: Option<ThingId>,
    /// One parameter by its id in the declaration (IXIT 10-SecParam), such as SecParam-LDevIDKey; left out: all.
    #[arg(long, value_name = "ID")]
    csp: Option<String>,
    /// Print one JSON object, which `device ixit --evidence` reads.
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(arguments: EvidenceArgs) -> Ended {
    let processes = chosen(arguments.csp.as_deref())?;
    let authority = open(&arguments.data).await?;
    let mut report = authority.evidence(arguments.thing).await?;
    report.evidence.retain(|one| processes.iter().any(|two| two.parameter == one.parameter));
    if arguments.json {
        say(&serde_json::to_string_pretty(&report)?);
        return Ok(());
    }
    for process in processes {
        show(process, &report);
    }
    Ok(())
}

fn chosen(csp: Option<&str>) -> Ended<Vec<&'static Process>> {
    let Some(csp) = csp else { return Ok(built_in().iter().collect()) };
    let found = built_in().iter().find(|process| process.parameter.as_str() == csp);
    found.map(|process| vec![process]).ok_or_else(|| {
        let known: Vec<_> = built_in().iter().map(|one| one.parameter.as_str()).collect();
        Failure::environment(format!("--csp: {csp:?} is none of {}", known.join(", ")))
    })
}

fn show(process: &Process, report: &EvidenceReport) {
    say(&format!("{}: {}", process.parameter, process.title));
    let of = |one: &&Evidence| one.parameter == process.parameter;
    let records = report.evidence.iter().find(of).map_or(&[][..], |one| &one.records);
    for (phase, what) in &process.phase {
        say(&format!("  {}  ({})", phase.as_str(), what.by));
        let of_phase: Vec<_> = records.iter().filter(|record| record.phase == *phase).collect();
        for record in &of_phase {
            say(&format!("    {}  {}: {}", record.at.to_rfc3339(), record.place, record.shows));
        }
        if of_phase.is_empty() {
            let seen = what.record.iter().any(|rule| !matches!(rule, Rule::Ledger { .. }));
            say(if seen {
                "    the device looks when it declares itself"
            } else {
                "    no record"
            });
        }
    }
    say("");
}
