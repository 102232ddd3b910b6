//! What the device says without being asked: observable properties when they change, and events.

use crate::config::Telemetry;
use crate::gate::Gate;
use crate::uplink::outbox::{Outgoing, Weight};
use countersign_model::id::AffordanceName;
use countersign_protocol::telemetry::{self, Publication};
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval};

/// Pause after the product's source of events failed.
const EVENT_PAUSE: Duration = Duration::from_secs(5);

/// Looks at every observable property, for ever, and publishes what changed.
pub(super) async fn readings(
    gate: Arc<Gate>,
    config: Telemetry,
    to_uplink: mpsc::Sender<Outgoing>,
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
        ticks.tick().await;
        for name in &observable {
            let value = match gate.functions().read(name).await {
                Ok(value) => value,
                Err(error) => {
                    tracing::warn!(%error, %name, "telemetry");
                    continue;
                }
            };
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
                Err(error) => tracing::warn!(%error, %name, "telemetry"),
            }
        }
    }
}

/// Publishes what happens in the product, for ever.
pub(super) async fn events(gate: Arc<Gate>, to_uplink: mpsc::Sender<Outgoing>) {
    loop {
        let event = match gate.functions().next_event().await {
            Ok(event) => event,
            Err(error) => {
                tracing::warn!(%error, "events");
                tokio::time::sleep(EVENT_PAUSE).await;
                continue;
            }
        };
        let name = event.name.as_str();
        let (thing, description) = (gate.thing(), gate.description());
        let made =
            telemetry::event(thing, description, gate.state(), name, &event.data, gate.now());
        match made {
            Ok(publication) => {
                if to_uplink.send(outgoing(publication, Weight::Kept)).await.is_err() {
                    return;
                }
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
