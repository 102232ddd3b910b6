//! Stations of the factory: what the authority says of them, and what they do away from it.

use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use clap::{Subcommand, ValueEnum};
use countersign_authority::est::body::request_der;
use countersign_authority::factory::Outcome;
use countersign_authority::factory::station::Station;
use countersign_crypto::digest::sha256;
use countersign_crypto::file;
use countersign_crypto::policy::CompiledPolicy;
use countersign_crypto::tls::{Clock as _, SystemClock};
use countersign_model::factory::ENDING;
use countersign_model::id::ThingId;
use countersign_protocol::hex;
use serde_json::json;

use super::open;
use crate::console::{json as print_json, say};
use crate::failure::{Ended, Failure, Named as _};

#[derive(Debug, Subcommand)]
pub(crate) enum StationCommand {
    /// Register a station.
    #[command(
        after_help = "Example:\n  countersign authority station add line-1 --data ./data --quota 50000 --request ./station.csr"
    )]
    Add {
        /// Its name.
        name: String,
        /// The authority's data folder.
        #[arg(long)]
        data: PathBuf,
        /// How many identities it may take in all its life, over all batches.
        #[arg(long)]
        quota: u64,
        /// The request that `station init` wrote, for a station that works away from here.
        #[arg(long)]
        request: Option<PathBuf>,
    },
    /// The stations, and what each has taken of its quota.
    #[command(after_help = "Example:\n  countersign authority station list --data ./data --json")]
    List {
        /// The authority's data folder.
        #[arg(long)]
        data: PathBuf,
        /// Print one JSON object.
        #[arg(long)]
        json: bool,
    },
    /// Give a station another quota, or open it again.
    #[command(
        after_help = "Example:\n  countersign authority station set line-1 --data ./data --quota 60000"
    )]
    Set {
        /// Its name.
        name: String,
        /// The authority's data folder.
        #[arg(long)]
        data: PathBuf,
        /// The new quota; below what it has taken it takes no more.
        #[arg(long, required_unless_present = "open")]
        quota: Option<u64>,
        /// Open it again.
        #[arg(long)]
        open: bool,
    },
    /// Give a batch to its station, to be handed out away from here: a kit with its identities and a signed authorisation.
    #[command(
        after_help = "Example:\n  countersign authority station export --data ./data --batch 2026-11-plug-a --made ./out --out ./kit\n\nCarry transport.key another way than the kit: with both, the identities can be read."
    )]
    Export {
        /// The authority's data folder.
        #[arg(long)]
        data: PathBuf,
        /// The batch.
        #[arg(long)]
        batch: String,
        /// Where `provision` put the sealed files of the batch.
        #[arg(long)]
        made: PathBuf,
        /// The folder for the kit.
        #[arg(long)]
        out: PathBuf,
        /// How many days the station may work with it.
        #[arg(long, default_value_t = 30)]
        days: u32,
    },
    /// At the station: make its key, and the request by which the authority registers it.
    #[command(
        after_help = "Example:\n  countersign authority station init line-1 --folder ./station > station.csr"
    )]
    Init {
        /// Its name.
        name: String,
        /// The station's folder.
        #[arg(long)]
        folder: PathBuf,
    },
    /// At the station: verify a kit and take it over.
    #[command(
        after_help = "Example:\n  countersign authority station import --folder ./station --kit ./kit --transport-key ./transport.key --authority 5f3c…"
    )]
    Import {
        /// The station's folder.
        #[arg(long)]
        folder: PathBuf,
        /// The kit.
        #[arg(long)]
        kit: PathBuf,
        /// The key that opens its files.
        #[arg(long)]
        transport_key: PathBuf,
        /// SHA-256 of the authority's factory key, as `station add` printed it; needed once.
        #[arg(long)]
        authority: Option<String>,
    },
    /// At the station: hand out the next identity, or that of a serial; its sealed file is for one device.
    #[command(
        after_help = "Example:\n  countersign authority station take --folder ./station --batch 2026-11-plug-a --out ./next"
    )]
    Take {
        /// The station's folder.
        #[arg(long)]
        folder: PathBuf,
        /// The batch.
        #[arg(long)]
        batch: String,
        /// The folder for SERIAL.factory.
        #[arg(long)]
        out: PathBuf,
        /// Which; left out: the next.
        #[arg(long)]
        serial: Option<ThingId>,
        /// Once more, because its file did not arrive.
        #[arg(long, requires = "serial")]
        again: bool,
    },
    /// At the station: say that a device was shipped, or scrapped.
    #[command(
        after_help = "Example:\n  countersign authority station mark scrapped --folder ./station --batch 2026-11-plug-a --serial plug-000007 --why 'does not boot'"
    )]
    Mark {
        /// What became of it.
        #[arg(value_enum)]
        outcome: Marked,
        /// The station's folder.
        #[arg(long)]
        folder: PathBuf,
        /// The batch.
        #[arg(long)]
        batch: String,
        /// Which; may stand several times.
        #[arg(long = "serial", required = true)]
        serials: Vec<ThingId>,
        /// Why, up to 200 bytes.
        #[arg(long, default_value = "")]
        why: String,
    },
    /// At the station: what it has of a batch, and where the manifest is that the authority reconciles.
    #[command(
        after_help = "Example:\n  countersign authority station status --folder ./station --batch 2026-11-plug-a --json"
    )]
    Status {
        /// The station's folder.
        #[arg(long)]
        folder: PathBuf,
        /// The batch.
        #[arg(long)]
        batch: String,
        /// Print one JSON object.
        #[arg(long)]
        json: bool,
    },
    /// Close a station: it takes no identity any more.
    #[command(after_help = "Example:\n  countersign authority station close line-1 --data ./data")]
    Close {
        /// Its name.
        name: String,
        /// The authority's data folder.
        #[arg(long)]
        data: PathBuf,
    },
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Marked {
    /// The device left the factory.
    Shipped,
    /// The device will never leave it; its identity is revoked when the manifest is reconciled.
    Scrapped,
}

pub(crate) async fn run(command: StationCommand) -> Ended {
    match command {
        StationCommand::Add { name, data, quota, request } => {
            let request = request.map(|path| std::fs::read(&path).at(&path)).transpose()?;
            let request = match request {
                Some(bytes) => Some(request_der(&bytes).ok_or_else(|| {
                    Failure::environment("--request: is no certification request in PEM or DER")
                })?),
                None => None,
            };
            let authority = open(&data).await?;
            let station = authority.add_station(&name, quota, request.as_deref()).await?;
            say(&format!("station {}: may take {} identities", station.name, station.quota));
            if request.is_some() {
                let key = hex::write(&sha256(&authority.factory_key()?));
                say(&format!("for its first kit: --authority {key}"));
            }
            Ok(())
        }
        StationCommand::Export { data, batch, made, out, days } => {
            let count = open(&data).await?.export_kit(&batch, &made, &out, days).await?;
            say(&format!("batch {batch}: a kit with {count} identities in {}", out.display()));
            say("Carry transport.key another way than the kit.");
            Ok(())
        }
        StationCommand::Init { name, folder } => {
            let algorithm = CompiledPolicy::built_in().signing_algorithm();
            let station = Station::init(&folder, &name, algorithm)?;
            say(&BASE64.encode(station.request()?));
            Ok(())
        }
        StationCommand::Import { folder, kit, transport_key, authority } => {
            let station = Station::open(&folder)?;
            let may =
                station.import(&kit, &transport_key, authority.as_deref(), SystemClock.now())?;
            say(&format!(
                "station {}: batch {}, {} identities, until {}",
                may.station,
                may.batch,
                may.count,
                may.until.to_rfc3339()
            ));
            Ok(())
        }
        StationCommand::Take { folder, batch, out, serial, again } => {
            let station = Station::open(&folder)?;
            let (serial, sealed) =
                station.take(&batch, serial.as_ref(), again, SystemClock.now())?;
            file::private_folder(&out).at(&out)?;
            let path = out.join(format!("{serial}.{ENDING}"));
            file::write_atomic(&path, &sealed, file::PRIVATE).at(&path)?;
            say(&path.display().to_string());
            Ok(())
        }
        StationCommand::Mark { outcome, folder, batch, serials, why } => {
            let station = Station::open(&folder)?;
            let outcome = match outcome {
                Marked::Shipped => Outcome::Shipped,
                Marked::Scrapped => Outcome::Scrapped,
            };
            for serial in &serials {
                station.mark(&batch, serial, outcome, &why, SystemClock.now())?;
                say(&format!("{serial}: {outcome}"));
            }
            Ok(())
        }
        StationCommand::Status { folder, batch, json } => status(&folder, &batch, json),
        StationCommand::List { data, json } => stations(&data, json).await,
        StationCommand::Set { name, data, quota, open: reopen } => {
            let opened = reopen.then_some(true);
            let station = open(&data).await?.set_station(&name, quota, opened).await?;
            let state = if station.open { "open" } else { "closed" };
            say(&format!(
                "station {}: may take {} identities, {state}",
                station.name, station.quota
            ));
            Ok(())
        }
        StationCommand::Close { name, data } => {
            open(&data).await?.set_station(&name, None, Some(false)).await?;
            say(&format!("station {name}: closed; it takes no identity any more"));
            Ok(())
        }
    }
}

fn status(folder: &Path, batch: &str, as_json: bool) -> Ended {
    let station = Station::open(folder)?;
    let state = station.batch(batch)?;
    let count = |outcome| state.count(outcome);
    let said = state.outcomes.len() as u64;
    let left = state.authorisation.count.saturating_sub(said);
    let manifest = station.manifest(batch);
    let until = state.authorisation.until.to_rfc3339();
    if as_json {
        print_json(&json!({
            "station": station.name(), "batch": batch, "identities": state.authorisation.count,
            "handed_out": count(Outcome::Issued), "shipped": count(Outcome::Shipped),
            "scrapped": count(Outcome::Scrapped), "left": left, "until": until, "manifest": manifest,
        }));
        return Ok(());
    }
    say(&format!("station {}, batch {batch}, until {until}", station.name()));
    for (count, what) in [
        (left, "left"),
        (count(Outcome::Issued), "handed out"),
        (count(Outcome::Shipped), "shipped"),
        (count(Outcome::Scrapped), "scrapped"),
    ] {
        say(&format!("  {count:>7}  {what}"));
    }
    say(&format!("{}  for `countersign authority reconcile`", manifest.display()));
    Ok(())
}

async fn stations(data: &Path, as_json: bool) -> Ended {
    let all = open(data).await?.stations().await?;
    let state = |open: bool| if open { "open" } else { "closed" };
    if as_json {
        let list: Vec<_> = all
            .iter()
            .map(|one| {
                let station = &one.station;
                json!({
                    "station": station.name, "state": state(station.open), "quota": station.quota,
                    "used": one.used,
                })
            })
            .collect();
        print_json(&json!({ "stations": list }));
    } else {
        for one in all {
            let station = one.station;
            say(&format!(
                "{:7} {:>9} of {:>9}  {}",
                state(station.open),
                one.used,
                station.quota,
                station.name
            ));
        }
    }
    Ok(())
}
