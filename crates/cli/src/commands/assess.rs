//! `countersign assess`: test a device against the test cases of TS 103 701.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use clap::Subcommand;
use countersign_assessor::{
    Assessment, Baseline, Canary, Capture, Credential, KnownAssessors, Profile, Progress, Report,
    SignedStatement, TEST_CASES, explain, replay, run as assess,
};
use countersign_crypto::tls::{Clock as _, SystemClock};
use countersign_model::ixit::Declaration;
use countersign_model::role::Role;

use crate::console::{Progress as Bar, say};
use crate::failure::{Ended, Failure, Named as _};

#[derive(Debug, Subcommand)]
pub(crate) enum AssessCommand {
    /// Test a running device by its declaration; exit code 1 when a test case fails.
    #[command(
        after_help = "Examples:\n  countersign device ixit --config device.toml > ixit.json\n  countersign assess run --declaration ixit.json --target 192.168.1.20 --roots roots.pem \\\n      --credential owner=./certs/owner --credential viewer=./certs/sam --out ./report"
    )]
    Run(RunArgs),
    /// Make the report again from its evidence, byte for byte.
    #[command(
        after_help = "Example:\n  countersign assess replay ./report/evidence.json --out ./again"
    )]
    Replay {
        /// The evidence bundle of a report.
        bundle: PathBuf,
        /// Where the report goes; left out: its table is printed.
        #[arg(long)]
        out: Option<PathBuf>,
    },
    /// What a test case asks, and how it is decided here.
    #[command(after_help = "Example:\n  countersign assess explain 5.5-1-1")]
    Explain {
        /// The test case; left out: all are listed.
        case: Option<String>,
    },
}

#[derive(Debug, clap::Args)]
pub(crate) struct RunArgs {
    /// The declaration (ICS and IXIT), JSON, as `device ixit` writes it.
    #[arg(long)]
    declaration: PathBuf,
    /// The device's address.
    #[arg(long)]
    target: IpAddr,
    /// Trust anchors of the device's certificates, PEM; a maker who withdrew a root gives `device-roots.pem`.
    #[arg(long)]
    roots: Option<PathBuf>,
    /// A credential of the home: ROLE=PATH, where PATH.crt and PATH.key exist.
    #[arg(long = "credential", value_name = "ROLE=PATH", value_parser = credential)]
    credentials: Vec<(Role, PathBuf)>,
    /// TCP ports at that address that are not the device's, such as those open before it was started.
    #[arg(long = "baseline-port", value_name = "PORT")]
    baseline: Vec<u16>,
    /// A file of recorded traffic to search for canaries; may stand several times.
    #[arg(long = "capture", value_name = "FILE")]
    captures: Vec<PathBuf>,
    /// A file with a secret that must not appear in the captures; may stand several times.
    #[arg(long = "canary", value_name = "FILE")]
    canaries: Vec<PathBuf>,
    /// A signed human judgement, JSON; may stand several times.
    #[arg(long = "statement", value_name = "FILE")]
    statements: Vec<PathBuf>,
    /// Whose judgements count, JSON: `{"name": "public key"}`.
    #[arg(long, requires = "statements")]
    assessors: Option<PathBuf>,
    /// Right credentials may write and invoke, too.
    #[arg(long)]
    allow_commands: bool,
    /// Leave out the UDP scan, which over a network is slow and mostly unclear.
    #[arg(long)]
    no_udp: bool,
    /// Where report.html, report.json and evidence.json go.
    #[arg(long, default_value = "report")]
    out: PathBuf,
    /// Print the report as JSON.
    #[arg(long)]
    json: bool,
}

fn credential(text: &str) -> Result<(Role, PathBuf), String> {
    let (role, path) = text
        .split_once('=')
        .ok_or_else(|| format!("{text:?}: write ROLE=PATH, such as owner=./certs/owner"))?;
    Ok((
        role.parse().map_err(|error: countersign_model::role::UnknownRole| error.to_string())?,
        path.into(),
    ))
}

pub(crate) async fn run(command: AssessCommand) -> Ended {
    match command {
        AssessCommand::Run(arguments) => run_assessment(arguments).await,
        AssessCommand::Replay { bundle, out } => {
            let report = replay(&bundle)?;
            match out {
                Some(folder) => {
                    let written = report.write(&folder).at(&folder)?;
                    say(&format!("{}", written.html.display()));
                }
                None => say(&report.to_text(width())),
            }
            ended(&report)
        }
        AssessCommand::Explain { case: None } => {
            for case in TEST_CASES {
                say(&format!("{:9} {}", case.id, case.title));
            }
            Ok(())
        }
        AssessCommand::Explain { case: Some(case) } => match explain(&case) {
            Some(text) => {
                say(text);
                Ok(())
            }
            None => Err(Failure::environment(format!(
                "{case:?} is no test case of clause 5.5: `countersign assess explain` lists them"
            ))),
        },
    }
}

async fn run_assessment(arguments: RunArgs) -> Ended {
    let assessment = given(&arguments)?;
    let bar = std::sync::Mutex::new(Bar::new("probing"));
    let report = assess(assessment, |at: Progress| {
        if let Ok(mut bar) = bar.lock() {
            bar.show(u64::from(at.done), u64::from(at.total));
        }
    })
    .await?;
    let written = report.write(&arguments.out).at(&arguments.out)?;
    if arguments.json {
        say(report.to_json().trim_end());
    } else {
        say(&report.to_text(width()));
        say(&format!(
            "report    {}\nevidence  {}",
            written.html.display(),
            written.evidence.display()
        ));
    }
    ended(&report)
}

fn ended(report: &Report) -> Ended {
    if report.has_failed() { Err(Failure::found("")) } else { Ok(()) }
}

fn given(arguments: &RunArgs) -> Ended<Assessment> {
    let declaration =
        Declaration::from_json(&text(&arguments.declaration)?).at(&arguments.declaration)?;
    let mut assessment = Assessment::new(declaration, arguments.target, SystemClock.now());
    if let Some(path) = &arguments.roots {
        assessment.roots_pem = text(path)?;
    }
    for (role, path) in &arguments.credentials {
        let with = |ending: &str| PathBuf::from(format!("{}.{ending}", path.display()));
        assessment.credentials.push(Credential {
            label: role.to_string(),
            role: *role,
            cert_pem: text(&with("crt"))?,
            key_pem: text(&with("key"))?,
        });
    }
    if !arguments.baseline.is_empty() {
        let tcp: BTreeSet<u16> = arguments.baseline.iter().copied().collect();
        assessment.baseline = Some(Baseline { tcp, udp: BTreeSet::new() });
    }
    for path in &arguments.captures {
        let label = path.display().to_string();
        let streams = vec![std::fs::read(path).at(path)?];
        assessment.captures.push(Capture { label, streams, ..Capture::default() });
    }
    for path in &arguments.canaries {
        let secret = std::fs::read(path).at(path)?.trim_ascii().to_vec();
        let label = path.file_name().map(|name| name.to_string_lossy().into_owned());
        assessment.canaries.push(Canary {
            label: label.unwrap_or_default(),
            parameter: None,
            secret,
        });
    }
    for path in &arguments.statements {
        let statement: SignedStatement = json(path)?;
        assessment.statements.push(statement);
    }
    if let Some(path) = &arguments.assessors {
        let known: KnownAssessors = json(path)?;
        assessment.assessors = known;
    }
    assessment.profile = Profile::Acm;
    assessment.allow_commands = arguments.allow_commands;
    assessment.scan_udp = !arguments.no_udp;
    Ok(assessment)
}

/// Columns for the verdict table.
pub(crate) fn width() -> usize {
    std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok()).unwrap_or(100)
}

fn text(path: &Path) -> Ended<String> {
    std::fs::read_to_string(path).at(path)
}

fn json<T: serde::de::DeserializeOwned>(path: &Path) -> Ended<T> {
    serde_json::from_slice(&std::fs::read(path).at(path)?).at(path)
}
