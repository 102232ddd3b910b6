//! `countersign control`: the owner's side.

mod discover;
mod table;
mod with;

use std::io::Read as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use clap::Subcommand;
use countersign_controller::{ControlError, Home, Setup, Wanted, What};

use super::observe::{self, ObserveArgs};
use super::sharing;
use countersign_crypto::certificate::{Certificate, certificates_from_pem};
use countersign_crypto::secret::{Secret, Strength};
use countersign_model::id::{PersonName, ThingId};
use countersign_model::label::{Label, SetupCode};
use countersign_protocol::pairing::{GatewayAddress, NetworkCredentials};
use discover::{DiscoverArgs, Multicast};
use serde_json::{Value, json};
pub(crate) use with::With;

use crate::args::{HOME, address};
use crate::complete::Known;
use crate::console::{json as print_json, say};
use crate::failure::{Ended, Failure, Named as _};

/// How strong a Wi-Fi key counts: WPA's pairwise master key derives from it, and no channel of ours is weaker.
const NETWORK_KEY_STRENGTH: Strength = Strength(128);

#[derive(Debug, Subcommand)]
pub(crate) enum ControlCommand {
    /// What is on the network: devices of the home, and devices that wait to be paired.
    #[command(
        after_help = "Examples:\n  countersign control discover --home ./home\n  countersign control discover --serial plug-000001\n  countersign control discover --home ./home --wait 10 --json\n\nA name found on the network is an address to try: who is there shows its certificate when it is used."
    )]
    Discover(DiscoverArgs),
    /// Pair with a factory-default device by the code on its label; makes the home on first use.
    #[command(
        after_help = "Examples:\n  countersign control pair --home ./home --label 'CS1:PLUG-000001:…' --roots roots.pem\n  countersign control pair --home ./home --label 'CS1:PLUG-000001:…' --device 192.168.1.20:5540 --roots roots.pem\n  countersign control pair --home ./home --serial plug-000001 --code 8ZK3M-… --device 192.168.1.20:5540 --roots roots.pem \\\n      --mqtt gateway.example:8883 --est gateway.example:8443 --server-name gateway.example"
    )]
    Pair(PairArgs),
    /// The devices of the home.
    #[command(after_help = "Example:\n  countersign control things --home ./home")]
    Things {
        /// The home's folder.
        #[arg(long, env = HOME)]
        home: PathBuf,
        /// Print one JSON object, on a terminal too.
        #[arg(long)]
        json: bool,
    },
    /// What a device can do, as far as this person may see it: its Thing Description.
    #[command(
        after_help = "Example:\n  countersign control describe --home ./home --thing plug-000001"
    )]
    Describe {
        #[command(flatten)]
        with: With,
    },
    /// Read one property, or all that this person may read.
    #[command(
        after_help = "Examples:\n  countersign control get --home ./home --thing plug-000001\n  countersign control get --home ./home --thing plug-000001 power --json"
    )]
    Get {
        #[command(flatten)]
        with: With,
        /// The property; left out: all.
        #[arg(add = Known::Affordance(Wanted::Read))]
        name: Option<String>,
        /// Print JSON, on a terminal too.
        #[arg(long)]
        json: bool,
    },
    /// Show values as they change, until Ctrl-C.
    #[command(
        after_help = "Examples:\n  countersign control observe --home ./home --thing plug-000001 power\n  countersign control observe --home ./home --thing plug-000001 --json --count 10\n  countersign control observe --home ./home --thing plug-000001 --event overload"
    )]
    Observe(ObserveArgs),
    /// Set a property.
    #[command(
        after_help = "Examples:\n  countersign control set --home ./home --thing plug-000001 relay true\n  countersign control set --home ./home --thing lamp-000001 mode '\"night\"'\n\nA value is JSON: true, 21.5, or a text in double quotes, which single quotes keep from the shell."
    )]
    Set {
        #[command(flatten)]
        with: With,
        /// The property.
        #[arg(add = Known::Affordance(Wanted::Write))]
        name: String,
        /// Its new value, JSON.
        #[arg(add = Known::Value)]
        value: String,
    },
    /// Invoke an action.
    #[command(
        after_help = "Examples:\n  countersign control invoke --home ./home --thing plug-000001 toggle\n  countersign control invoke --home ./home --thing lamp-000001 fade '{\"seconds\": 5}'"
    )]
    Invoke {
        #[command(flatten)]
        with: With,
        /// The action.
        #[arg(add = Known::Affordance(Wanted::Invoke))]
        name: String,
        /// Its input, JSON.
        input: Option<String>,
    },
    /// Invite a second person by a one-time code; a key is made on their side and nowhere else. Owners only.
    #[command(
        after_help = "Examples:\n  countersign control share --home ./home --thing plug-000001 --role viewer --person sam\n  countersign control share --home ./home --thing plug-000001 --role member --for 5m\n\nThe code works once, for minutes, for this person and role. What the other person types is printed with it.\n`unshare` withdraws an invitation that is open, and ends a role that somebody has."
    )]
    Share(sharing::ShareArgs),
    /// Accept an invitation. Works while the owner is away; makes the home on first use.
    #[command(
        after_help = "Examples:\n  countersign control join --home ./sam --roots roots.pem --invitation 'CSI1:PLUG-000001:…'\n  countersign control join --home ./sam --roots roots.pem --thing plug-000001 --device 192.168.1.20:5541 --code -"
    )]
    Join(sharing::JoinArgs),
    /// Take a person's role at a device away, or withdraw their invitation. Closes their connections. Owners only.
    #[command(
        after_help = "Example:\n  countersign control unshare --home ./home --thing plug-000001 --person sam"
    )]
    Unshare {
        #[command(flatten)]
        with: With,
        /// Who.
        #[arg(long, add = Known::Holder)]
        person: PersonName,
    },
    /// Give somebody who has a role another one. Owners only.
    #[command(
        after_help = "Example:\n  countersign control role --home ./home --thing plug-000001 --person sam --role member"
    )]
    Role(sharing::RoleArgs),
    /// Give a role to a program or telephone of your own, whose key this home makes and keeps. Owners only.
    #[command(
        after_help = "Example:\n  countersign control admit --home ./home --thing plug-000001 --person hub --role member --out ./hub\n\nFor what cannot type a code, such as a home automation: with --out, key and certificate are written for it.\nOther people are invited with `share`: then nobody but they ever has their key."
    )]
    Admit(sharing::AdmitArgs),
    /// Who changed who may what at a device: its own record, verified. Owners only.
    #[command(
        after_help = "Example:\n  countersign control history --home ./home --thing plug-000001\n\nThe record is chained. What was seen before is remembered in the home: a record that does not continue it is refused (exit code 1)."
    )]
    History(sharing::HistoryArgs),
    /// Replace the credentials of the network that a device joins. Owners only.
    #[command(
        after_help = "Example:\n  countersign control network --home ./home --thing plug-000001 --ssid 'Our home' --network-key-file wifi.key"
    )]
    Network(sharing::NetworkArgs),
}

#[derive(Debug, clap::Args)]
pub(crate) struct PairArgs {
    /// The home's folder; made when it is not there.
    #[arg(long, env = HOME)]
    home: PathBuf,
    /// Who owns a home that is made now.
    #[arg(long, default_value = "owner")]
    owner: PersonName,
    /// The text of the label's QR code; `-` reads it from standard input.
    #[arg(long, required_unless_present = "code", conflicts_with_all = ["code", "serial"])]
    label: Option<String>,
    /// The printed code; `-` reads it from standard input.
    #[arg(long, requires = "serial")]
    code: Option<String>,
    /// The printed serial.
    #[arg(long, requires = "code")]
    serial: Option<ThingId>,
    /// Where the device's pairing interface is; left out: searched on the network.
    #[arg(long, value_parser = address, value_name = "ADDR")]
    device: Option<SocketAddr>,
    #[command(flatten)]
    multicast: Multicast,
    /// The maker's roots, PEM: `roots.pem`, or `device-roots.pem` for a device that was made before a root was withdrawn.
    #[arg(long)]
    roots: PathBuf,
    /// The maker's gateway, host:port.
    #[arg(long, requires = "est")]
    mqtt: Option<String>,
    /// The maker's enrolment, host:port.
    #[arg(long, requires = "mqtt")]
    est: Option<String>,
    /// The name in the certificate of gateway and enrolment.
    #[arg(long, default_value = "localhost")]
    server_name: String,
    /// The wireless network to join.
    #[arg(long, requires = "network_key_file")]
    ssid: Option<String>,
    /// A file with the network's key; it travels inside the pairing channel only.
    #[arg(long, requires = "ssid")]
    network_key_file: Option<PathBuf>,
}

/// A refusal is something found; all else is the environment's.
pub(crate) fn judged(error: ControlError) -> Failure {
    let text = error.to_string();
    match error {
        ControlError::WrongCode
        | ControlError::Locked(_)
        | ControlError::Busy
        | ControlError::NotThisMaker
        | ControlError::NotThisDevice(_)
        | ControlError::NotOurs(_)
        | ControlError::Refused
        | ControlError::TooMany
        | ControlError::Invalid(_)
        | ControlError::Invitation(_)
        | ControlError::Unacknowledged(_)
        | ControlError::Lost(_)
        | ControlError::History(_)
        | ControlError::Device(..) => Failure::found(text),
        _ => Failure::environment(text),
    }
}

pub(crate) async fn run(command: ControlCommand) -> Ended {
    match command {
        ControlCommand::Discover(arguments) => discover::run(arguments).await,
        ControlCommand::Pair(arguments) => pair(arguments).await,
        ControlCommand::Things { home, json } => {
            let things = Home::open(&home)?.things()?;
            if table::wanted(json) {
                table::things(&things);
                return Ok(());
            }
            let list: Vec<Value> = things
                .iter()
                .map(|one| json!({ "thing": one.thing, "address": one.address, "pairedAt": one.paired_at.to_rfc3339() }))
                .collect();
            print_json(&json!({ "things": list }));
            Ok(())
        }
        ControlCommand::Describe { with } => {
            let (home, mut session) = with.session().await?;
            let description = with.describe(&home, &mut session).await.map_err(judged)?;
            say(&serde_json::to_string_pretty(&description)?);
            Ok(())
        }
        ControlCommand::Get { with, name, json } => {
            let (home, mut session) = with.session().await?;
            let value = match &name {
                Some(name) => session.get(name).await,
                None => session.properties().await,
            };
            let value = value.map_err(judged)?;
            if table::wanted(json) {
                let description = with.describe(&home, &mut session).await.map_err(judged)?;
                table::values(name.as_deref(), &value, &description);
                return Ok(());
            }
            print_json(&value);
            with.get_to_know(&home, &mut session).await;
            Ok(())
        }
        ControlCommand::Observe(arguments) => observe::run(arguments).await,
        ControlCommand::Set { with, name, value } => {
            let value = parse(&value)?;
            let (home, mut session) = with.session().await?;
            session.set(&name, &value).await.map_err(judged)?;
            with.get_to_know(&home, &mut session).await;
            Ok(())
        }
        ControlCommand::Invoke { with, name, input } => {
            let input = input.as_deref().map(parse).transpose()?;
            let (home, mut session) = with.session().await?;
            print_json(&session.invoke(&name, input.as_ref()).await.map_err(judged)?);
            with.get_to_know(&home, &mut session).await;
            Ok(())
        }
        ControlCommand::Unshare { with, person } => {
            let (home, mut session) = with.session().await?;
            session.unshare(&person).await.map_err(judged)?;
            home.lost_person(&with.thing, &person);
            say(&format!("{person}: no role at {} any more", with.thing));
            Ok(())
        }
        ControlCommand::Share(arguments) => sharing::share(arguments).await,
        ControlCommand::Join(arguments) => sharing::join(arguments).await,
        ControlCommand::Role(arguments) => sharing::role(arguments).await,
        ControlCommand::Admit(arguments) => sharing::admit(arguments).await,
        ControlCommand::History(arguments) => sharing::history(arguments).await,
        ControlCommand::Network(arguments) => sharing::network(arguments).await,
    }
}

async fn pair(arguments: PairArgs) -> Ended {
    // Everything that the owner gave is checked before anything is made or sent.
    let setup = match (&arguments.label, &arguments.code, &arguments.serial) {
        (Some(label), _, _) => Setup::Label(Label::parse(&given(label)?).named("--label")?),
        (None, Some(code), Some(serial)) => {
            Setup::Code(serial.clone(), SetupCode::parse(&given(code)?).named("--code")?)
        }
        _ => return Err(Failure::environment("--label, or --code with --serial, is needed")),
    };
    let roots = roots(&arguments.roots)?;
    let network = match (arguments.ssid, &arguments.network_key_file) {
        (Some(ssid), Some(path)) => Some(network(ssid, path)?),
        _ => None,
    };
    let gateway = arguments.mqtt.zip(arguments.est).map(|(mqtt, est)| GatewayAddress {
        mqtt,
        est,
        server_name: arguments.server_name,
    });
    let home = home(&arguments.home, arguments.owner)?;
    let device = match arguments.device {
        Some(device) => device,
        None => discover::waiting(&home, setup.thing(), &roots, arguments.multicast).await?,
    };
    let paired =
        home.pair(setup, device, &roots, What { network, gateway }).await.map_err(judged)?;
    print_json(&json!({
        "thing": paired.thing, "address": paired.address, "owner": home.owner(),
    }));
    Ok(())
}

/// A network's name, with its key from a file.
pub(crate) fn network(ssid: String, path: &Path) -> Ended<NetworkCredentials> {
    let mut key = std::fs::read(path).at(path)?;
    key.truncate(key.trim_ascii_end().len());
    Ok(NetworkCredentials { ssid, key: Secret::new(key, NETWORK_KEY_STRENGTH) })
}

/// Opens a home, or makes it.
pub(crate) fn home(folder: &Path, owner: PersonName) -> Ended<Home> {
    let home = if folder.join("home.json").exists() {
        Home::open(folder)
    } else {
        Home::create(folder, owner)
    };
    Ok(home?)
}

/// The maker's roots from a file.
pub(crate) fn roots(path: &Path) -> Ended<Vec<Certificate>> {
    certificates_from_pem(&std::fs::read(path).at(path)?).at(path)
}

/// An argument, or standard input where it is `-`: a code on the command line shows in the list of processes.
pub(crate) fn given(text: &str) -> Ended<String> {
    if text != "-" {
        return Ok(text.trim().to_owned());
    }
    let mut line = String::new();
    std::io::stdin().lock().take(1024).read_to_string(&mut line).named("standard input")?;
    Ok(line.trim().to_owned())
}

fn parse(text: &str) -> Ended<Value> {
    serde_json::from_str(text).map_err(|error| {
        Failure::environment(format!(
            "{text:?} is no JSON value ({error}): write true, 21.5 or '\"text\"'"
        ))
    })
}
