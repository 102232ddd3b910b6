//! `countersign demo`: the whole system on this machine, each part a real process or a real client.
//!
//! ```text
//!  demo ── starts ──► countersign serve        authority and gateway, a process
//!   │  └── starts ──► countersign device run   the plug, a process with an address of its own
//!   ├── owner (controller library), service (MQTT), strangers
//!   └── assessor, from outside, by the device's own declaration
//! ```

mod assessment;
mod home;
mod platform;
mod policy;
mod refusals;
mod revocation;
mod service;
mod stage;
mod status;

use std::path::PathBuf;

use serde_json::{Value, json};

use crate::console::{json as print_json, millis};
use crate::failure::{Ended, Failure, Named as _};
use assessment::Assessed;
use home::Paired;
use platform::{Made, Platform};
use policy::Replaced;
use stage::Stage;

#[derive(Debug, clap::Args)]
pub(crate) struct DemoArgs {
    /// Leave authority, gateway and device running, and say how to talk to them with ordinary clients.
    #[arg(long)]
    keep: bool,
    /// Print one JSON object last; people's output goes to standard error.
    #[arg(long)]
    json: bool,
    /// A fresh folder for everything; left out: one in the temporary directory.
    #[arg(long)]
    data: Option<PathBuf>,
}

pub(crate) async fn run(arguments: DemoArgs) -> Ended {
    let data = fresh_folder(arguments.data)?;
    let started = std::time::Instant::now();
    let mut stage = Stage::new(arguments.json);
    stage.line(&format!("countersign demo · data in {}", data.display()));
    let mut world = World { data: data.clone(), keep: arguments.keep, ..World::default() };
    let played = tokio::select! {
        played = play(&mut stage, &mut world) => played,
        () = crate::spawn::asked_to_end(false) => Err(Failure::found("interrupted")),
    };
    let steps = stage.outcomes();
    let held = steps.iter().filter(|step| step.ok).count();
    let whole = played.is_ok() && held == steps.len();
    stage.line(&format!(
        "\n{held} of {} steps held in {} ms.",
        steps.len(),
        millis(started.elapsed())
    ));
    if let Some(assessed) = &world.assessed {
        stage.line(&format!("Report: {}", assessed.html.display()));
    }
    if arguments.keep && whole {
        world.explain_keeping(&stage);
    } else {
        world.stop();
    }
    if arguments.json {
        let report = world.assessed.as_ref().map(|assessed| assessed.html.clone());
        let verdicts = world.assessed.as_ref().map_or_else(|| json!({}), |a| a.verdicts.clone());
        print_json(
            &json!({ "steps": steps, "policy": world.replaced, "verdicts": verdicts, "report": report, "data": data }),
        );
    }
    if whole { Ok(()) } else { Err(Failure::found("")) }
}

/// What the steps have made so far. Dropping it ends the processes that do not stay.
#[derive(Default)]
struct World {
    data: PathBuf,
    keep: bool,
    platform: Option<Platform>,
    made: Option<Made>,
    paired: Option<Paired>,
    replaced: Option<Replaced>,
    assessed: Option<Assessed>,
}

/// What an earlier step has made; the steps run in order, so it is there.
fn made<T>(part: &mut Option<T>) -> Ended<&mut T> {
    part.as_mut().ok_or_else(|| Failure::found("an earlier step did not hold"))
}

async fn play(stage: &mut Stage, world: &mut World) -> Ended {
    let teller = stage.teller();
    let (data, keep) = (world.data.clone(), world.keep);
    world.platform = Some(stage.step(Platform::start(&data, keep, teller)).await?);
    let platform = made(&mut world.platform)?;
    world.made = Some(stage.step(platform::make_device(platform, &data, keep, teller)).await?);
    let device = made(&mut world.made)?;
    stage.step(async { home::show_label(device, teller) }).await?;
    world.paired = Some(stage.step(home::pair(platform, device, &data, teller)).await?);
    let paired = made(&mut world.paired)?;
    stage.step(home::enrolled(device, teller)).await?;
    stage.step(service::exchange(platform, device, paired, teller)).await?;
    stage.step(refusals::all(platform, device, paired, &data, teller)).await?;
    stage.step(revocation::show(platform, device, teller)).await?;
    world.replaced = Some(stage.step(policy::show(platform, device, teller)).await?);
    world.assessed =
        Some(stage.step(assessment::run(platform, device, paired, &data, teller)).await?);
    Ok(())
}

impl World {
    fn stop(&mut self) {
        if let Some(made) = &mut self.made {
            made.process.stop_now();
        }
        if let Some(platform) = &mut self.platform {
            platform.process.stop_now();
        }
    }

    fn explain_keeping(&self, stage: &Stage) {
        let (Some(platform), Some(made)) = (&self.platform, &self.made) else { return };
        let (ready, certs) = (&platform.ready, self.data.join("certs"));
        let (roots, certs) = (ready.roots.display(), certs.display());
        let (mqtt, est) = (ready.mqtt, ready.est);
        let client = format!(
            "-h localhost -p {} --cafile {roots} --cert {certs}/backend.crt --key {certs}/backend.key -V mqttv5",
            mqtt.port()
        );
        stage.line(&format!(
            "\nIt all runs on. Talk to it with ordinary clients:\n\
             \n  mosquitto_sub {client} -t 'things/+/properties/#' -v\
             \n  mosquitto_pub {client} -q 1 -t things/{thing}/properties/relay/set -m true\
             \n  curl --cacert {roots} https://localhost:{est_port}/.well-known/est/cacerts\
             \n  countersign control get --home {home} --thing {thing}\
             \n\nEnd it:  kill {serve} {device}",
            thing = made.thing,
            est_port = est.port(),
            home = self.data.join("home").display(),
            serve = platform.process.id(),
            device = made.process.id(),
        ));
    }
}

fn fresh_folder(named: Option<PathBuf>) -> Ended<PathBuf> {
    let folder = named.unwrap_or_else(|| {
        let stamp = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .map_or(0, |since| since.as_millis());
        std::env::temp_dir().join(format!("countersign-demo-{}-{stamp}", std::process::id()))
    });
    let used = std::fs::read_dir(&folder).is_ok_and(|mut entries| entries.next().is_some());
    if used {
        return Err(Failure::environment(format!(
            "{}: is not empty: name a fresh folder with --data",
            folder.display()
        )));
    }
    countersign_crypto::file::private_folder(&folder).at(&folder)?;
    std::path::absolute(&folder).at(&folder)
}

/// One line of a JSON value, for people.
fn short(value: &Value) -> String {
    let text = value.to_string();
    if text.chars().count() > 100 { text.chars().take(99).chain(['…']).collect() } else { text }
}
