//! `countersign control discover`: what is on the network, and finding again what moved.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use countersign_controller::{ControlError, Home, MULTICAST_PORT, Search, Seen, Session, WAIT};
use countersign_crypto::certificate::Certificate;
use countersign_model::id::{PersonName, ThingId};
use countersign_model::label::Label;
use serde_json::json;

use crate::console::{json as print_json, say};
use crate::failure::{Ended, Failure, Named as _};

/// How to search the network.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(crate) struct Multicast {
    /// The port of the multicast group, for tests.
    #[arg(
        long,
        hide = true,
        env = "COUNTERSIGN_MDNS_PORT",
        hide_env = true,
        default_value_t = MULTICAST_PORT
    )]
    mdns_port: u16,
}

#[derive(Debug, clap::Args)]
pub(crate) struct DiscoverArgs {
    /// The home's folder; left out: only what waits to be paired.
    #[arg(long)]
    home: Option<PathBuf>,
    /// The text of a label's QR code: tells which waiting device it may belong to; `-` reads it from standard input.
    #[arg(long, conflicts_with = "serial")]
    label: Option<String>,
    /// The same by the printed serial.
    #[arg(long)]
    serial: Option<ThingId>,
    /// How long to search, in seconds, 1 to 60.
    #[arg(long, value_name = "SECS", default_value_t = WAIT.as_secs(),
        value_parser = clap::value_parser!(u64).range(1..=60))]
    wait: u64,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    multicast: Multicast,
}

/// What a search has found.
#[derive(Default)]
struct Found {
    /// Every device of the home, with where it was seen; empty: not seen.
    home: BTreeMap<ThingId, Vec<SocketAddr>>,
    waiting: Vec<Seen>,
    /// Devices of other homes.
    others: usize,
}

pub(crate) async fn run(arguments: DiscoverArgs) -> Ended {
    let home = arguments.home.as_deref().map(Home::open).transpose()?;
    let wanted = match (&arguments.label, &arguments.serial) {
        (Some(label), _) => {
            Some(Label::parse(&super::given(label)?).named("--label")?.thing().clone())
        }
        (None, serial) => serial.clone(),
    };
    let wait = Duration::from_secs(arguments.wait);
    let found = search(home.as_ref(), arguments.multicast, wait).await?;
    if arguments.json {
        print_json(&found.json(wanted.as_ref()));
    } else {
        found.show(home.as_ref(), wanted.as_ref())?;
    }
    let missed = wanted.filter(|thing| {
        let paired = found.home.get(thing).is_some_and(|at| !at.is_empty());
        !paired && !found.waiting.iter().any(|seen| seen.may_be(thing))
    });
    match missed {
        Some(thing) => {
            Err(Failure::found(ControlError::NotFound(thing.to_string(), wait).to_string()))
        }
        None if found.is_empty() => Err(Failure::found(format!(
            "no device announced itself within {} s: is this machine on the devices' network? Guest networks and some routers hold multicast back; then give addresses with --at and --device",
            wait.as_secs()
        ))),
        None => Ok(()),
    }
}

async fn search(home: Option<&Home>, multicast: Multicast, wait: Duration) -> Ended<Found> {
    let mut found = Found::default();
    for thing in home.map(Home::things).transpose()?.unwrap_or_default() {
        found.home.insert(thing.thing, Vec::new());
    }
    let mut search = Search::start(multicast.mdns_port)?;
    let end = tokio::time::Instant::now() + wait;
    while let Ok(Some(seen)) = tokio::time::timeout_at(end, search.next()).await {
        if seen.waiting {
            found.waiting.retain(|other| other.name != seen.name);
            found.waiting.push(seen);
            continue;
        }
        match home.map(|home| home.recognise(&seen)).transpose()?.flatten() {
            Some(thing) => drop(found.home.insert(thing, seen.addresses)),
            None => found.others += 1,
        }
    }
    Ok(found)
}

impl Found {
    fn is_empty(&self) -> bool {
        self.others == 0
            && self.waiting.is_empty()
            && self.home.values().all(std::vec::Vec::is_empty)
    }

    fn json(&self, wanted: Option<&ThingId>) -> serde_json::Value {
        let home: Vec<_> = self
            .home
            .iter()
            .map(|(thing, at)| json!({ "thing": thing, "seen": !at.is_empty(), "addresses": at }))
            .collect();
        let waiting: Vec<_> = self
            .waiting
            .iter()
            .map(|seen| {
                let fits = wanted.map(|wanted| seen.may_be(wanted));
                json!({ "addresses": seen.addresses, "mayBe": fits })
            })
            .collect();
        json!({ "home": home, "waiting": waiting, "others": self.others })
    }

    fn show(&self, home: Option<&Home>, wanted: Option<&ThingId>) -> Ended {
        let listed =
            |at: &[SocketAddr]| at.iter().map(ToString::to_string).collect::<Vec<_>>().join("  ");
        if let Some(home) = home {
            say("In the home");
            for (thing, at) in &self.home {
                let place = match at.as_slice() {
                    [] => format!("not seen; was at {}", home.thing(thing)?.address),
                    at => listed(at),
                };
                say(&format!("  {:<24} {place}", thing.as_str()));
            }
            if self.home.is_empty() {
                say("  nothing is paired yet");
            }
        }
        if !self.waiting.is_empty() {
            say("Waiting to be paired");
        }
        for seen in &self.waiting {
            let fits = wanted.filter(|wanted| seen.may_be(wanted));
            let fits = fits.map(|wanted| format!("   may be {wanted}")).unwrap_or_default();
            say(&format!("  {}{fits}", listed(&seen.addresses)));
        }
        if self.others > 0 && home.is_some() {
            say(&format!("Of other homes: {}", self.others));
        } else if self.others > 0 {
            say(&format!("Of homes: {} (name yours with --home)", self.others));
        }
        Ok(())
    }
}

/// Whether a device that could not be reached at its last address may be at another by now.
pub(crate) fn may_have_moved(error: &ControlError) -> bool {
    matches!(
        error,
        ControlError::Unreachable(_) | ControlError::TimedOut | ControlError::NotThisDevice(_)
    )
}

/// A session with a thing where it announces itself now; the first error where it does not.
pub(crate) async fn where_it_is_now(
    home: &Home,
    person: &PersonName,
    thing: &ThingId,
    multicast: Multicast,
    error: ControlError,
) -> Result<Session, ControlError> {
    match home.session_found(person, thing, multicast.mdns_port, WAIT).await {
        Ok(session) => Ok(session),
        Err(searched) => {
            tracing::info!(%searched, "discovery");
            Err(error)
        }
    }
}

/// Where the device waits that a label names.
pub(crate) async fn waiting(
    home: &Home,
    thing: &ThingId,
    roots: &[Certificate],
    multicast: Multicast,
) -> Ended<SocketAddr> {
    let found = home.find_waiting(thing, roots, multicast.mdns_port, 3 * WAIT).await;
    found.map_err(|error| match error {
        ControlError::NotFound(..) => Failure::found(format!("{error}: --device ADDR")),
        other => other.into(),
    })
}
