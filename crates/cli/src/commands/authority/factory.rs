//! The factory: batches, stations, labels.

use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::{Subcommand, ValueEnum};
use countersign_authority::AuthorityError;
use countersign_authority::factory::batch::{Batch, EXAMPLE, KeySource};
use countersign_authority::factory::requests::Requests;
use countersign_authority::factory::sheet::{pdf, svg};
use countersign_authority::factory::{BatchReport, LabelFiles, Layout};
use countersign_crypto::file;
use countersign_model::id::ThingId;
use countersign_model::label::Label;
use serde_json::json;

use super::{make_device, open};
use crate::complete::Known;
use crate::console::{Progress, asked, json as print_json, say};
use crate::failure::{Ended, Failure, Named as _};

#[derive(Debug, clap::Args)]
pub(crate) struct ProvisionArgs {
    /// The authority's data folder.
    #[arg(long, required_unless_present = "example")]
    data: Option<PathBuf>,
    /// One device: its serial, which becomes its thing id.
    #[arg(long, required_unless_present_any = ["batch", "example"], requires = "out")]
    serial: Option<String>,
    /// Where the folder SERIAL/ with the device's data and its label goes.
    #[arg(long, conflicts_with = "batch")]
    out: Option<PathBuf>,
    /// A batch: its file.
    #[arg(long, conflicts_with = "serial")]
    batch: Option<PathBuf>,
    /// Look what would be made, and make nothing.
    #[arg(long, requires = "batch")]
    dry_run: bool,
    /// Print the commented example of a batch file.
    #[arg(long, conflicts_with_all = ["data", "serial", "batch"])]
    example: bool,
    /// Print one JSON object.
    #[arg(long, requires = "batch")]
    json: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum BatchCommand {
    /// Every batch.
    #[command(after_help = "Example:\n  countersign authority batch list --data ./data")]
    List {
        /// The authority's data folder.
        #[arg(long)]
        data: PathBuf,
        /// Print one JSON object.
        #[arg(long)]
        json: bool,
    },
    /// What became of a batch's identities: issued, shipped, scrapped, unaccounted.
    #[command(
        after_help = "Example:\n  countersign authority batch show 2026-11-plug-a --data ./data --json"
    )]
    Show {
        /// Its name.
        name: String,
        /// The authority's data folder.
        #[arg(long)]
        data: PathBuf,
        /// Print one JSON object, with every serial.
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    /// Documents of up to 100 pages.
    Pdf,
    /// A file a page.
    Svg,
}

#[derive(Debug, clap::Args)]
pub(crate) struct LabelArgs {
    /// The authority's data folder.
    #[arg(long)]
    data: PathBuf,
    /// The batch.
    #[arg(long)]
    batch: String,
    /// The folder for the sheets, mode 0600.
    #[arg(long, required_unless_present = "printed")]
    out: Option<PathBuf>,
    /// What to write.
    #[arg(long, value_enum, default_value = "pdf")]
    format: Format,
    /// How labels lie on the paper: a4-24, a4-65 or roll.
    #[arg(long, default_value = "a4-24", add = Known::Layout)]
    layout: Layout,
    /// Only this serial; may stand several times.
    #[arg(long = "serial")]
    serials: Vec<ThingId>,
    /// The labels are printed and the devices have their files: destroy the batch's setup codes and keys for ever.
    #[arg(long, conflicts_with_all = ["out", "serials"])]
    printed: bool,
    /// With --printed: destroy them without being asked.
    #[arg(long, requires = "printed")]
    yes: bool,
}

pub(crate) async fn provision(arguments: ProvisionArgs) -> Ended {
    let data = arguments.data.unwrap_or_default();
    match (arguments.serial, arguments.out, arguments.batch) {
        _ if arguments.example => {
            say(EXAMPLE.trim_end());
            Ok(())
        }
        (Some(serial), Some(out), None) => one_device(&data, &serial, &out).await,
        (None, None, Some(batch)) => {
            many_devices(&data, &batch, arguments.dry_run, arguments.json).await
        }
        _ => Err(Failure::environment("--serial with --out, or --batch, is needed")),
    }
}

async fn one_device(data: &Path, serial: &str, out: &Path) -> Ended {
    let authority = open(data).await?;
    let thing = serial.parse().named("--serial")?;
    let folder = out.join(serial);
    let label = make_device(&authority, thing, &folder.join("device")).await?;
    let files = LabelFiles::write(&label, &folder)?;
    say(&format!("{}  the device's data folder", folder.join("device").display()));
    say(&format!("{}  its label; the code stands nowhere else", files.svg.display()));
    say(&format!("{}  the same as text", files.text.display()));
    Ok(())
}

async fn many_devices(data: &Path, file: &Path, dry_run: bool, as_json: bool) -> Ended {
    let batch = Batch::read(file)?;
    let requests = match batch.keys() {
        KeySource::Device(folder) if folder == Path::new("-") => {
            Requests::in_lines("standard input", std::io::stdin().lock())?
        }
        KeySource::Device(folder) => Requests::in_folder(folder)?,
        _ => Requests::default(),
    };
    let authority = open(data).await?;
    let mut progress = Progress::new("identities");
    let start = Instant::now();
    let show = |done, total| progress.show(done, total);
    let report = authority.provision_batch(&batch, requests, dry_run, show).await?;
    authority.close().await;
    let seconds = start.elapsed().as_secs_f64();
    if as_json {
        print_json(&report_json(&batch, &report, dry_run, seconds));
    } else {
        tell(&batch, &report, dry_run, seconds);
    }
    match report.refused.len() {
        0 => Ok(()),
        count => Err(Failure::found(format!("batch {}: {count} refused", batch.name()))),
    }
}

fn report_json(
    batch: &Batch,
    report: &BatchReport,
    dry_run: bool,
    seconds: f64,
) -> serde_json::Value {
    let refused: Vec<_> =
        report.refused.iter().map(|(what, why)| json!({ "what": what, "why": why })).collect();
    json!({
        "batch": batch.name(), "station": batch.station(), "dry_run": dry_run, "serials": report.total,
        "made": report.made, "completed": report.completed, "already": report.already,
        "waiting": report.waiting, "refused": refused, "station_left": report.station_left,
        "batch_left": report.batch_left, "out": batch.out(), "seconds": seconds,
    })
}

fn tell(batch: &Batch, report: &BatchReport, dry_run: bool, seconds: f64) {
    let would = if dry_run { "to be made" } else { "made" };
    let rate = report.made as f64 / seconds.max(0.001);
    say(&format!("batch {}, {} serials", batch.name(), report.total));
    let speed =
        if dry_run { String::new() } else { format!(" in {seconds:.1} s, {rate:.0} a second") };
    say(&format!("  {:>7}  {would}{speed}", report.made));
    for (count, what) in [
        (report.completed, "issued before; their files completed"),
        (report.already, "there already"),
        (report.waiting.len() as u64, "wait for their device's request"),
        (report.refused.len() as u64, "refused"),
    ] {
        if count > 0 {
            say(&format!("  {count:>7}  {what}"));
        }
    }
    for (what, why) in &report.refused {
        say(&format!("  refused: {what}: {why}"));
    }
    say(&format!(
        "left: {} of the batch's quota, {} of station {}'s",
        report.batch_left,
        report.station_left,
        batch.station()
    ));
    if !dry_run && report.made + report.completed > 0 {
        say(&format!(
            "{}  a sealed file a device, and transport.key, which opens them",
            batch.out().display()
        ));
        say(&format!(
            "labels: countersign authority label --data DIR --batch {} --layout {} --out DIR",
            batch.name(),
            batch.layout().as_str()
        ));
    }
}

pub(crate) async fn batch(command: BatchCommand) -> Ended {
    match command {
        BatchCommand::List { data, json } => {
            let all = open(&data).await?.batches().await?;
            if json {
                let list: Vec<_> = all
                    .iter()
                    .map(|one| {
                        json!({
                            "batch": one.name, "station": one.station, "product": one.product,
                            "quota": one.quota, "begun": one.created_at.to_rfc3339(),
                        })
                    })
                    .collect();
                print_json(&json!({ "batches": list }));
                return Ok(());
            }
            for one in all {
                say(&format!(
                    "{}  {}  {}  {}",
                    one.created_at.to_rfc3339(),
                    one.name,
                    one.station,
                    one.product
                ));
            }
            Ok(())
        }
        BatchCommand::Show { name, data, json } => show_batch(&data, &name, json).await,
    }
}

async fn show_batch(data: &Path, name: &str, as_json: bool) -> Ended {
    let (batch, items) = open(data).await?.batch_items(name).await?;
    let count = |word: &str| items.iter().filter(|item| item.state.as_str() == word).count();
    let (shipped, scrapped, unaccounted) = (count("shipped"), count("scrapped"), count("issued"));
    let (reserved, refused) = (count("reserved"), count("refused"));
    let issued = shipped + scrapped + unaccounted;
    if as_json {
        let list: Vec<_> = items
            .iter()
            .map(|item| {
                let state = match item.state.as_str() {
                    "issued" => "unaccounted",
                    other => other,
                };
                json!({
                    "serial": item.serial, "state": state, "key_sha256": item.spki_sha256,
                    "verifier_sha256": item.verifier_sha256, "note": item.note,
                })
            })
            .collect();
        print_json(&json!({
            "batch": batch.name, "station": batch.station, "product": batch.product, "quota": batch.quota,
            "issued": issued, "shipped": shipped, "scrapped": scrapped, "unaccounted": unaccounted,
            "reserved": reserved, "refused": refused, "items": list,
        }));
        return Ok(());
    }
    say(&format!("batch {}  {}  station {}", batch.name, batch.product, batch.station));
    for (count, what) in [
        (issued, "issued"),
        (shipped, "shipped"),
        (scrapped, "scrapped"),
        (unaccounted, "unaccounted"),
        (reserved, "reserved, not issued"),
        (refused, "refused"),
    ] {
        say(&format!("  {count:>7}  {what}"));
    }
    Ok(())
}

pub(crate) async fn reconcile(data: &Path, manifest: &Path, as_json: bool) -> Ended {
    let bytes = std::fs::read(manifest).at(manifest)?;
    let done = match open(data).await?.reconcile(&bytes).await {
        Err(error @ AuthorityError::Manifest(_)) => {
            return Err(Failure::found(format!("{}: {error}", manifest.display())));
        }
        other => other?,
    };
    if as_json {
        print_json(&json!({
            "batch": done.batch, "records": done.records, "shipped": done.shipped, "scrapped": done.scrapped,
        }));
    } else {
        say(&format!(
            "batch {}: {} new records; {} shipped, {} scrapped and revoked",
            done.batch, done.records, done.shipped, done.scrapped
        ));
    }
    Ok(())
}

pub(crate) async fn label(arguments: LabelArgs) -> Ended {
    let authority = open(&arguments.data).await?;
    let Some(out) = arguments.out else {
        if !arguments.yes {
            confirm(&arguments.batch)?;
        }
        let count = authority.destroy_labels(&arguments.batch).await?;
        say(&format!(
            "batch {}: {count} setup codes destroyed; no label is printed again",
            arguments.batch
        ));
        return Ok(());
    };
    let labels = authority.batch_labels(&arguments.batch, &arguments.serials).await?;
    let written = sheets(&labels, arguments.format, arguments.layout, &arguments.batch, &out)?;
    say(&format!("{} labels in {written} files in {}", labels.len(), out.display()));
    say("They hold the setup codes: remove them when they are printed, and say so with --printed.");
    Ok(())
}

/// Somebody at a terminal types the batch's name; a script says `--yes`.
fn confirm(batch: &str) -> Ended {
    let refused = |why: &str| {
        let what = "its setup codes and the keys that were made here would be destroyed, for good";
        Failure::found(format!("batch {batch}: {what}: {why}; nothing was changed"))
    };
    let question = format!(
        "batch {batch}: its setup codes and the keys that were made here will be destroyed, for good; no label is printed \
         again. Type {batch} to do it: "
    );
    match asked(&question)? {
        None => Err(refused("say --yes if that is meant")),
        Some(typed) if typed == batch => Ok(()),
        Some(_) => Err(refused("not confirmed")),
    }
}

fn sheets(
    labels: &[Label],
    format: Format,
    layout: Layout,
    batch: &str,
    out: &Path,
) -> Ended<usize> {
    file::private_folder(out).at(out)?;
    let name = |number: usize, ending: &str| format!("{batch}-{number:04}.{ending}");
    match format {
        Format::Pdf => {
            let all = pdf::sheets(labels, layout)?;
            let files: Vec<_> =
                (1..).zip(&all).map(|(number, one)| (name(number, "pdf"), &one[..])).collect();
            file::write_all_atomic(out, &files, file::PRIVATE).at(out)?;
            Ok(all.len())
        }
        Format::Svg => {
            let all = svg::sheets(labels, layout)?;
            let files: Vec<_> = (1..)
                .zip(&all)
                .map(|(number, one)| (name(number, "svg"), one.as_bytes()))
                .collect();
            file::write_all_atomic(out, &files, file::PRIVATE).at(out)?;
            Ok(all.len())
        }
    }
}
