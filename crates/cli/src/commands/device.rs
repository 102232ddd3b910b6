//! `countersign device`: run a device, and what belongs to it.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use clap::{Subcommand, ValueEnum};
use countersign_authority::evidence::EvidenceReport;
use countersign_crypto::policy::CompiledPolicy;
use countersign_crypto::seal::{self, SealKey};
use countersign_device::agent::{self, Button};
use countersign_device::bindings::Bindings;
use countersign_device::config::Config;
use countersign_device::data::{Blank, Factory};
use countersign_device::functions::{Functions, Programs, SimulatedPlug, bind};
use countersign_device::ixit::{Maker, declare};
use countersign_device::sandbox::{Launcher, RunsAs, Sandbox};
use countersign_model::factory;
use countersign_model::thing::{Need, Rule, ThingDescription};
use serde_json::json;

use crate::args::address;
use crate::complete::Known;
use crate::console::{json as print_json, say};
use crate::failure::{Ended, Failure, Named as _};
use crate::spawn::asked_to_end;

#[derive(Debug, Subcommand)]
pub(crate) enum DeviceCommand {
    /// Run a device: its interfaces behind the gate, its functions from programs or simulated.
    #[command(
        after_help = "Examples:\n  countersign device run --data ./factory/plug-000001/device --thing plug.td.json --simulate plug\n  countersign device run --data ./device --thing lamp.td.json --bindings lamp.bindings.toml --address 192.168.1.20\n  countersign device run --config device.toml --functions ./programs"
    )]
    Run(RunArgs),
    /// Check a Thing Description, and bindings against it: every fault by its place with the mend, or who may do what.
    #[command(
        after_help = "Examples:\n  countersign device check plug.td.json\n  countersign device check lamp.td.json --bindings lamp.bindings.toml\n  countersign device check plug.td.json --json\n\nExit codes: 0 it can be used; 1 it has faults; 2 it cannot be read."
    )]
    Check {
        /// The W3C Thing Description.
        #[arg(add = Known::DESCRIPTION)]
        file: PathBuf,
        /// What stands behind each affordance, to be checked against the description and this machine.
        #[arg(long, add = Known::TOML)]
        bindings: Option<PathBuf>,
        /// Print one JSON object.
        #[arg(long)]
        json: bool,
    },
    /// Who the device is: the certificate of its factory identity. Or, in the factory: ask for one, and install it.
    #[command(
        after_help = "Examples:\n  countersign device identity --data ./factory/plug-000001/device\n  countersign device identity --data ./device --request plug-000001 >> requests.jsonl\n  countersign device identity --data ./device --install out/plug-000001.factory --transport-key out/transport.key"
    )]
    Identity {
        /// The device's data folder.
        #[arg(long)]
        data: PathBuf,
        /// Make the key of this serial in the device, and print the request for its certificate as a JSON line.
        #[arg(long, value_name = "SERIAL", conflicts_with = "install")]
        request: Option<String>,
        /// Install this sealed factory file.
        #[arg(long, value_name = "FILE", requires = "transport_key")]
        install: Option<PathBuf>,
        /// The key that opens it.
        #[arg(long, value_name = "FILE", requires = "install")]
        transport_key: Option<PathBuf>,
    },
    /// The declaration for a test lab (ICS and IXIT), made from the device as it stands.
    #[command(
        after_help = "Example:\n  countersign device ixit --ready-file ./device.json --data ./device --thing plug.td.json \\\n      --maker plug.maker.toml --evidence evidence.json > ixit.json"
    )]
    Ixit(IxitArgs),
    /// Destroy what a stopped device knows of its home; it is factory-default afterwards.
    #[command(
        after_help = "Example:\n  countersign device reset --data ./factory/plug-000001/device"
    )]
    Reset {
        /// The device's data folder.
        #[arg(long)]
        data: PathBuf,
    },
    /// Write the commented configuration of a device.
    #[command(after_help = "Example:\n  countersign device config device.toml")]
    Config {
        /// The file; left out: standard output.
        file: Option<PathBuf>,
    },
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Simulated {
    /// A smart plug with a relay and a power meter.
    Plug,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Place {
    /// The device's configuration; the options here win over what stands in it. Without it, --data and --thing are needed.
    #[arg(long, add = Known::TOML)]
    config: Option<PathBuf>,
    /// The device's data folder.
    #[arg(long, required_unless_present = "config")]
    data: Option<PathBuf>,
    /// Its W3C Thing Description.
    #[arg(long, required_unless_present = "config", add = Known::DESCRIPTION)]
    thing: Option<PathBuf>,
    /// The address of its interfaces; ports are any free ones.
    #[arg(long, conflicts_with_all = ["pairing", "api"])]
    address: Option<IpAddr>,
    /// Where the pairing interface listens.
    #[arg(long, value_parser = address, value_name = "ADDR")]
    pairing: Option<SocketAddr>,
    /// Where the local API listens.
    #[arg(long, value_parser = address, value_name = "ADDR")]
    api: Option<SocketAddr>,
    /// Written as JSON at each change: state, addresses, how the uplink stands; `ixit` reads the addresses from it.
    #[arg(long)]
    ready_file: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    place: Place,
    /// Functions: a simulated product.
    #[arg(long, value_enum)]
    simulate: Option<Simulated>,
    /// Functions: a folder of programs, `properties/NAME` and `actions/NAME`.
    #[arg(long, conflicts_with = "simulate")]
    functions: Option<PathBuf>,
    /// Functions: what stands behind each affordance, a file, a program, HTTP on loopback or a Unix socket; TOML.
    #[arg(long, conflicts_with_all = ["simulate", "functions"], add = Known::TOML)]
    bindings: Option<PathBuf>,
    /// Run as root with a product behind it, which is otherwise refused.
    #[arg(long)]
    allow_root: bool,
    /// End when standard input ends: for a parent that may be killed.
    #[arg(long, hide = true)]
    until_input_ends: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct IxitArgs {
    #[command(flatten)]
    place: Place,
    /// What only the maker knows: model, support period, review register, processes; TOML.
    #[arg(long)]
    maker: Option<PathBuf>,
    /// Records of the key management processes: what `authority evidence --thing ID --json` wrote.
    #[arg(long)]
    evidence: Option<PathBuf>,
}

impl Place {
    fn configuration(&self) -> Ended<Config> {
        let mut config = match &self.config {
            Some(path) => Config::read(path)?,
            None => Config::default(),
        };
        if let Some(data) = &self.data {
            config.data.clone_from(data);
        }
        if let Some(thing) = &self.thing {
            config.thing.clone_from(thing);
        }
        if let Some(ip) = self.address {
            config.pairing.listen = SocketAddr::new(ip, 0);
            config.api.listen = SocketAddr::new(ip, 0);
        }
        if let Some(pairing) = self.pairing {
            config.pairing.listen = pairing;
        }
        if let Some(api) = self.api {
            config.api.listen = api;
        }
        if self.ready_file.is_some() {
            config.ready_file.clone_from(&self.ready_file);
        }
        Ok(config)
    }
}

pub(crate) async fn run(command: DeviceCommand, launcher: Launcher) -> Ended {
    match command {
        DeviceCommand::Run(arguments) => run_device(arguments, launcher).await,
        DeviceCommand::Check { file, bindings, json } => check(&file, bindings.as_deref(), json),
        DeviceCommand::Identity { data, request: Some(serial), .. } => request(&data, &serial),
        DeviceCommand::Identity { data, install: Some(file), transport_key: Some(key), .. } => {
            install(&data, &file, &key)
        }
        DeviceCommand::Identity { data, .. } => identity(&data),
        DeviceCommand::Ixit(arguments) => ixit(&arguments),
        DeviceCommand::Reset { data } => {
            agent::reset(&data)?;
            say(&format!("{}: factory-default; the home's keys are destroyed", data.display()));
            Ok(())
        }
        DeviceCommand::Config { file: None } => {
            say(countersign_device::config::DEFAULT_TOML.trim_end());
            Ok(())
        }
        DeviceCommand::Config { file: Some(path) } => {
            let text = countersign_device::config::DEFAULT_TOML.as_bytes();
            countersign_crypto::file::create_new(&path, text, 0o644).at(&path)?;
            say(&format!("wrote {}", path.display()));
            Ok(())
        }
    }
}

async fn run_device(arguments: RunArgs, launcher: Launcher) -> Ended {
    let mut config = arguments.place.configuration()?;
    if arguments.bindings.is_some() {
        config.bindings.clone_from(&arguments.bindings);
    }
    config.allow_root |= arguments.allow_root;
    let functions = product(&arguments, &config, launcher)?;
    let button = button()?;
    let end = asked_to_end(arguments.until_input_ends);
    agent::run_with_button(config, functions, button, end).await?;
    Ok(())
}

/// The device's button, which whoever watches the pin presses by SIGUSR1.
fn button() -> Ended<Button> {
    use tokio::signal::unix::{SignalKind, signal};
    let button = Button::new();
    let mut presses = signal(SignalKind::user_defined1()).named("SIGUSR1")?;
    let pressed = button.clone();
    tokio::spawn(async move {
        while presses.recv().await.is_some() {
            pressed.press();
        }
    });
    Ok(button)
}

/// What is behind the gate.
fn product(
    arguments: &RunArgs,
    config: &Config,
    launcher: Launcher,
) -> Result<Arc<dyn Functions>, Failure> {
    if arguments.simulate.is_some() {
        return Ok(Arc::new(SimulatedPlug::new()));
    }
    let user = RunsAs::accepted(config.allow_root)?;
    if let Some(folder) = &arguments.functions {
        let (sandbox, data) = (config.sandbox.clone(), &config.data);
        return Ok(Arc::new(Programs::new(folder, launcher, sandbox, data, user).at(folder)?));
    }
    let Some(file) = &config.bindings else {
        return Err(Failure::environment("--bindings, --functions or --simulate is needed"));
    };
    if config.sandbox != Sandbox::default() {
        let text = "sandbox: is for --functions; with bindings, it stands in their file";
        return Err(Failure::environment(text));
    }
    let thing = &config.thing;
    let text = std::fs::read(thing).at(thing)?;
    let thing = ThingDescription::parse(&text).map_err(|faults| {
        let faults: Vec<_> = faults.iter().map(ToString::to_string).collect();
        Failure::environment(format!("{}: {}", thing.display(), faults.join("; ")))
    })?;
    let bound = bind(file, &thing, &config.data, launcher, user).map_err(Failure::environment)?;
    Ok(Arc::new(bound))
}

fn check(file: &Path, bindings: Option<&Path>, as_json: bool) -> Ended {
    let parsed = ThingDescription::parse(&std::fs::read(file).at(file)?);
    let bound = match (&parsed, bindings) {
        (Ok(thing), Some(path)) => {
            path.metadata().at(path)?;
            Bindings::read(path, thing, None).err()
        }
        _ => None,
    };
    let unbound = bound.as_ref().map(|error| error.faults.as_slice()).unwrap_or_default();
    if as_json {
        let faults = parsed.as_ref().err().map(Vec::as_slice).unwrap_or_default();
        let faults: Vec<_> = faults
            .iter()
            .map(|fault| json!({ "path": fault.path, "problem": fault.problem }))
            .collect();
        let rules: Vec<_> = parsed.iter().flat_map(|thing| thing.rules().map(rule)).collect();
        let ok = parsed.is_ok() && unbound.is_empty();
        let mut told = json!({ "file": file, "ok": ok, "errors": faults, "rules": rules });
        if let Some(path) = bindings {
            told["bindings"] = json!({ "file": path, "errors": unbound });
        }
        print_json(&told);
    } else {
        match &parsed {
            Ok(thing) => {
                say(&format!("{}: {} can be used", file.display(), thing.title()));
                for row in thing.rules().map(rule) {
                    let text = |name: &str| row[name].as_str().unwrap_or_default().to_owned();
                    let relevant = row["securityRelevant"] == true;
                    let mark = if relevant { "  security-relevant" } else { "" };
                    let (name, operation, least) = (text("name"), text("op"), text("least"));
                    say(format!("  {operation:<16} {name:<24} {least:<8}{mark}").trim_end());
                }
                if let Some(path) = bindings {
                    match &bound {
                        None => say(&format!("{}: everything is bound", path.display())),
                        Some(error) => error.faults.iter().for_each(|fault| say(fault)),
                    }
                }
            }
            Err(faults) => faults.iter().for_each(|fault| say(&format!("{fault}"))),
        }
    }
    match parsed {
        Ok(_) => match bound {
            None => Ok(()),
            Some(error) => {
                let count = error.faults.len();
                Err(Failure::found(format!("{}: {count} faults", error.file.display())))
            }
        },
        Err(faults) => Err(Failure::found(format!("{}: {} faults", file.display(), faults.len()))),
    }
}

/// A row of the access table.
fn rule(rule: Rule<'_>) -> serde_json::Value {
    let least = match rule.need {
        Need::Open => "anybody".to_owned(),
        Need::Role(role) => role.to_string(),
    };
    json!({
        "name": rule.name, "op": rule.operation.as_str(), "least": least,
        "securityRelevant": rule.security_relevant && rule.operation.changes(),
    })
}

fn identity(data: &Path) -> Ended {
    let seal = SealKey::load(&data.join("seal.key"))?;
    let factory = Factory::load(&data.join("factory"), &seal)?;
    let leaf = factory.identity().chain().leaf();
    print_json(&json!({
        "thing": factory.thing(),
        "idevid": {
            "name": leaf.name().map(|name| name.to_string()),
            "issuer": leaf.issuer_cn(),
            "serial": leaf.serial_hex(),
            "notAfter": leaf.validity().not_after.to_rfc3339(),
            "publicKeySha256": leaf.spki_sha256(),
        },
    }));
    Ok(())
}

/// The key is made in the device's folder; what is printed is its request.
fn request(data: &Path, serial: &str) -> Ended {
    let thing = serial.parse().named("--request")?;
    let blank = Blank::prepare(data, thing, CompiledPolicy::built_in().signing_algorithm())?;
    print_json(&json!({ "serial": serial, "csr": BASE64.encode(blank.request()?) }));
    Ok(())
}

fn install(data: &Path, file: &Path, key: &Path) -> Ended {
    let key = SealKey::load(key)?;
    let opened = seal::open(&key, factory::PURPOSE, &std::fs::read(file).at(file)?).at(file)?;
    let package = opened.expose(factory::Package::decode).at(file)?;
    let thing = countersign_device::data::install(data, &package)?;
    say(&format!("{thing}: its factory identity is in {}", data.display()));
    Ok(())
}

fn ixit(arguments: &IxitArgs) -> Ended {
    let mut maker = match &arguments.maker {
        Some(path) => {
            let text = std::fs::read_to_string(path).at(path)?;
            toml::from_str(&text).at(path)?
        }
        None => Maker::default(),
    };
    let mut config = arguments.place.configuration()?;
    as_it_stands(&mut config)?;
    let report = arguments.evidence.as_deref().map(records).transpose()?;
    let about = report.as_ref().and_then(|report| report.thing.clone());
    maker.evidence.extend(report.into_iter().flat_map(|report| report.evidence));
    let declaration = declare(&config, &maker)?;
    match (&arguments.evidence, about) {
        (Some(path), Some(thing)) if thing.as_str() != declaration.dut.serial => {
            return Err(Failure::environment(format!(
                "{}: thing: these are records of {thing}, not of {}: run `authority evidence --thing {1} --json`",
                path.display(),
                declaration.dut.serial
            )));
        }
        _ => {}
    }
    say(&serde_json::to_string_pretty(&declaration)?);
    Ok(())
}

fn records(path: &Path) -> Ended<EvidenceReport> {
    serde_json::from_slice(&std::fs::read(path).at(path)?).at(path)
}

/// Takes the addresses from the running device's ready file: free ports, and the interface that is open now.
fn as_it_stands(config: &mut Config) -> Ended {
    let Some(path) = &config.ready_file else { return Ok(()) };
    let now: serde_json::Value = serde_json::from_slice(&std::fs::read(path).at(path)?).at(path)?;
    let open = |name: &str| now[name].as_str().and_then(|text| text.parse::<SocketAddr>().ok());
    let (pairing, api) = (open("pairing"), open("api"));
    for (here, other, configured) in
        [(pairing, api, &mut config.pairing.listen), (api, pairing, &mut config.api.listen)]
    {
        match (here, other) {
            (Some(here), _) => *configured = here,
            // The interface that is closed now opens at the same address.
            (None, Some(other)) if configured.port() == 0 => configured.set_ip(other.ip()),
            _ => {}
        }
    }
    Ok(())
}
