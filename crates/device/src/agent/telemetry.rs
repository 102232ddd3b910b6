//! What the device says without being asked: observable properties when they change, and events.

use crate::config::Telemetry;
use crate::gate::Gate;
use crate::uplink::outbox::{Outgoing, Weight};
use countersign_model::id::AffordanceName;
use countersign_protocol::telemetry::{self, Publication, TelemetryError};
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

/// Pause after the product's source of events failed.
const EVENT_PAUSE: Duration = Duration::from_secs(5);

/// Pause before a look that was asked for: several commands in a row need one only.
const SETTLE: Duration = Duration::from_millis(50);

/// Looks at every observable property, for ever, and tells what changed: the listeners in the home, and the uplink
/// where there is one.
pub(super) async fn readings(
    gate: Arc<Gate>,
    config: Telemetry,
    to_uplink: Option<mpsc::Sender<Outgoing>>,
) {
    let observable: Vec<AffordanceName> = gate
        .description()
        .properties()
        .iter()
        .filter(|(_, property)| property.observable() && property.readable())
        .map(|(name, _)| name.clone())
        .collect();
    let mut last: BTreeMap<AffordanceName, (Value, Instant)> = BTreeMap::new();
    let mut ticks = interval(config.interval());
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = gate.changes().asked() => sleep(SETTLE).await,
        }
        if to_uplink.is_none() && !gate.changes().heard() {
            continue;
        }
        for name in &observable {
            let value = match gate.sample(name).await {
                Ok(value) => value,
                Err(error) => {
                    tracing::warn!(%error, %name, "telemetry");
                    continue;
                }
            };
            gate.changes().seen(name, &value);
            let Some(to_uplink) = &to_uplink else { continue };
            let now = Instant::now();
            let known = last.get(name).is_some_and(|(before, at)| {
                *before == value && now.duration_since(*at) < config.repeat()
            });
            if known {
                continue;
            }
            let made = telemetry::property(
                gate.thing(),
                gate.description(),
                gate.state(),
                name.as_str(),
                &value,
                gate.now(),
            );
            match made {
                Ok(publication) => {
                    if to_uplink.send(outgoing(publication, Weight::Reading)).await.is_err() {
                        return;
                    }
                    last.insert(name.clone(), (value, now));
                }
                // What is not a viewer's is observed in the home only.
                Err(TelemetryError::Refused(_)) => {}
                Err(error) => tracing::warn!(%error, %name, "telemetry"),
            }
        }
    }
}

/// Tells what happens in the product, for ever.
pub(super) async fn events(gate: Arc<Gate>, to_uplink: Option<mpsc::Sender<Outgoing>>) {
    loop {
        let event = match gate.functions().next_event().await {
            Ok(event) => event,
            Err(error) => {
                tracing::warn!(%error, "events");
                sleep(EVENT_PAUSE).await;
                continue;
            }
        };
        let name = event.name.as_str();
        let (thing, description) = (gate.thing(), gate.description());
        let made =
            telemetry::event(thing, description, gate.state(), name, &event.data, gate.now());
        match made {
            Ok(publication) => {
                gate.changes().happened(event.name, event.data);
                let Some(to_uplink) = &to_uplink else { continue };
                if to_uplink.send(outgoing(publication, Weight::Kept)).await.is_err() {
                    return;
                }
            }
            // Not a viewer's: for those in the home who may, if it is what it should be.
            Err(TelemetryError::Refused(_)) if gate.fits(&event.name, &event.data) => {
                gate.changes().happened(event.name, event.data);
            }
            Err(error) => tracing::warn!(%error, name, "events"),
        }
    }
}

fn outgoing(publication: Publication, weight: Weight) -> Outgoing {
    Outgoing {
        topic: publication.topic.as_str().to_owned(),
        payload: publication.payload,
        retain: publication.retain,
        correlation: None,
        weight,
    }
}
