//! `countersign control observe`: values as they change.

use std::collections::BTreeMap;
use std::time::Duration;

use countersign_controller::{ControlError, Home, Observed, Told, Wanted};
use serde_json::{Value, json};

use super::control::{With, judged};
use crate::complete::Known;
use crate::console::{json as print_json, say};
use crate::failure::Ended;

/// Pause before the first attempt to connect again; each further one doubles it.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// Longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

#[derive(Debug, clap::Args)]
pub(crate) struct ObserveArgs {
    #[command(flatten)]
    with: With,
    /// The property; left out: all that this person may observe.
    #[arg(add = Known::Affordance(Wanted::Observe))]
    name: Option<String>,
    /// An event instead of a property.
    #[arg(long, conflicts_with = "name", value_name = "NAME", add = Known::Affordance(Wanted::Event))]
    event: Option<String>,
    /// All events instead of properties.
    #[arg(long, conflicts_with_all = ["name", "event"])]
    events: bool,
    /// One JSON object a line.
    #[arg(long)]
    json: bool,
    /// End after so many values.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
}

/// What was shown so far.
struct Shown {
    json: bool,
    left: Option<u64>,
    last: BTreeMap<String, Value>,
    properties: bool,
}

pub(crate) async fn run(arguments: ObserveArgs) -> Ended {
    let home = arguments.with.home()?;
    let what = match (&arguments.name, &arguments.event, arguments.events) {
        (Some(name), _, _) => Observed::Property(name.clone()),
        (_, Some(event), _) => Observed::Event(event.clone()),
        (_, _, true) => Observed::Events,
        _ => Observed::Properties,
    };
    let mut shown = Shown {
        json: arguments.json,
        left: arguments.count,
        last: BTreeMap::new(),
        properties: matches!(what, Observed::Property(_) | Observed::Properties),
    };
    let watching = watch(&arguments.with, &home, &what, &mut shown);
    tokio::select! {
        ended = watching => ended,
        signal = tokio::signal::ctrl_c() => Ok(signal?),
    }
}

/// Observes, and connects again when the connection is lost. Who may not, or not any more, is told so.
async fn watch(with: &With, home: &Home, what: &Observed, shown: &mut Shown) -> Ended {
    let mut connected = false;
    let mut pause = FIRST_PAUSE;
    loop {
        match follow(with, home, what, shown, &mut connected, &mut pause).await {
            Ok(true) => return Ok(()),
            // The device ended the stream; why shows when it is asked again.
            Ok(false) => {}
            Err(error) if lasting(&error, connected) => return Err(judged(error)),
            Err(error) => {
                eprintln!("{}: {error}; trying again in {} s", with.thing, pause.as_secs());
            }
        }
        tokio::time::sleep(pause).await;
        pause = (2 * pause).min(LONGEST_PAUSE);
    }
}

/// Whether another attempt would bring nothing else.
fn lasting(error: &ControlError, connected: bool) -> bool {
    match error {
        ControlError::Unreachable(_) | ControlError::TimedOut | ControlError::Protocol(_) => {
            !connected
        }
        ControlError::TooMany => false,
        _ => true,
    }
}

/// One connection; whether everything that was asked for was shown.
async fn follow(
    with: &With,
    home: &Home,
    what: &Observed,
    shown: &mut Shown,
    connected: &mut bool,
    pause: &mut Duration,
) -> Result<bool, ControlError> {
    let mut session = with.connect(home).await?;
    let mut observation = session.observe(what).await?;
    *connected = true;
    while let Some(told) = observation.next().await? {
        *pause = FIRST_PAUSE;
        if shown.show(told) {
            return Ok(true);
        }
    }
    Ok(false)
}

impl Shown {
    /// Shows a change; whether it was the last one that was asked for.
    fn show(&mut self, told: Told) -> bool {
        let Told { name, value } = told;
        // After a new connection the present value comes once more.
        if self.properties && self.last.get(&name) == Some(&value) {
            return false;
        }
        if self.json {
            print_json(&json!({ "name": name, "value": value }));
        } else {
            say(&format!("{name} {value}"));
        }
        if self.properties {
            self.last.insert(name, value);
        }
        self.left = self.left.map(|left| left - 1);
        self.left == Some(0)
    }
}
