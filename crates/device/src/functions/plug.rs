//! A smart plug without the plug: relay, power meter, energy counter, overload cut-off.
//!
//! The load is a kettle on a thermostat seen through a meter with noise: plausible, and different at every reading.

use super::{Answer, FunctionError, Functions, ProductEvent};
use countersign_model::id::AffordanceName;
use serde_json::{Value, json};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{Mutex as AsyncMutex, mpsc};

/// What the simulated load draws when the relay is on, in watts, before thermostat and noise.
const LOAD_WATTS: f64 = 1_180.0;

/// One round of the thermostat.
const THERMOSTAT_PERIOD: Duration = Duration::from_secs(90);

/// The plug's rating (16 A at 230 V): an owner may set any limit up to it.
const RATED_WATTS: f64 = 3_680.0;

/// Events waiting for the agent; more than this many unread cut-offs say nothing new.
const EVENT_QUEUE: usize = 8;

#[derive(Debug)]
struct Meter {
    relay: bool,
    limit_watts: f64,
    energy_wh: f64,
    since: Instant,
    noise: u64,
}

/// The plug. Properties `relay`, `power`, `energy`, `maxPower`; actions `toggle`, `resetEnergy`; event `overload`.
#[derive(Debug)]
pub struct SimulatedPlug {
    meter: Mutex<Meter>,
    started: Instant,
    events: mpsc::Sender<ProductEvent>,
    unread: AsyncMutex<mpsc::Receiver<ProductEvent>>,
}

impl Default for SimulatedPlug {
    fn default() -> Self {
        Self::new()
    }
}

impl SimulatedPlug {
    /// A plug that is switched off and has counted nothing.
    #[must_use]
    pub fn new() -> Self {
        let (events, unread) = mpsc::channel(EVENT_QUEUE);
        let now = Instant::now();
        let meter = Meter {
            relay: false,
            limit_watts: RATED_WATTS,
            energy_wh: 0.0,
            since: now,
            noise: 0x9E37_79B9_7F4A_7C15,
        };
        Self { meter: Mutex::new(meter), started: now, events, unread: AsyncMutex::new(unread) }
    }

    /// Counts the energy since the last look, measures, and cuts off an overload.
    fn measure(&self) -> (MutexGuard<'_, Meter>, f64) {
        let mut meter = self.meter.lock().unwrap_or_else(PoisonError::into_inner);
        let watts = if meter.relay { self.load(&mut meter) } else { 0.0 };
        let now = Instant::now();
        meter.energy_wh += watts * now.duration_since(meter.since).as_secs_f64() / 3_600.0;
        meter.since = now;
        if watts > meter.limit_watts {
            meter.relay = false;
            let data = json!({ "watts": round(watts), "limit": meter.limit_watts });
            if let Ok(name) = "overload".parse() {
                // A full queue already tells of an overload.
                let _ = self.events.try_send(ProductEvent { name, data });
            }
        }
        (meter, watts)
    }

    fn load(&self, meter: &mut Meter) -> f64 {
        let phase = self.started.elapsed().as_secs_f64() / THERMOSTAT_PERIOD.as_secs_f64();
        let thermostat = 0.9 + 0.1 * (phase * std::f64::consts::TAU).sin();
        // xorshift: meter noise, nothing secret.
        meter.noise ^= meter.noise << 13;
        meter.noise ^= meter.noise >> 7;
        meter.noise ^= meter.noise << 17;
        let noise = (meter.noise >> 40) as f64 / (1_u64 << 24) as f64 - 0.5;
        LOAD_WATTS * thermostat + 12.0 * noise
    }

    fn switch(&self, on: Option<bool>) -> bool {
        let (mut meter, _) = self.measure();
        meter.relay = on.unwrap_or(!meter.relay);
        meter.relay
    }
}

impl Functions for SimulatedPlug {
    fn read<'a>(&'a self, property: &'a AffordanceName) -> Answer<'a, Value> {
        Box::pin(async move {
            let (meter, watts) = self.measure();
            match property.as_str() {
                "relay" => Ok(json!(meter.relay)),
                "power" => Ok(json!(round(watts))),
                "energy" => Ok(json!(round(meter.energy_wh))),
                "maxPower" => Ok(json!(meter.limit_watts)),
                other => Err(FunctionError::NotThere(other.to_owned())),
            }
        })
    }

    fn write<'a>(&'a self, property: &'a AffordanceName, value: Value) -> Answer<'a, ()> {
        Box::pin(async move {
            match (property.as_str(), &value) {
                ("relay", Value::Bool(on)) => {
                    self.switch(Some(*on));
                    Ok(())
                }
                ("maxPower", limit) => match limit.as_f64() {
                    Some(watts) if (1.0..=RATED_WATTS).contains(&watts) => {
                        self.measure().0.limit_watts = watts;
                        Ok(())
                    }
                    _ => Err(FunctionError::Input(format!("maxPower is 1 to {RATED_WATTS} W"))),
                },
                ("relay", _) => Err(FunctionError::Input("relay is true or false".to_owned())),
                (other, _) => Err(FunctionError::NotThere(other.to_owned())),
            }
        })
    }

    fn invoke<'a>(&'a self, action: &'a AffordanceName, _input: Value) -> Answer<'a, Value> {
        Box::pin(async move {
            match action.as_str() {
                "toggle" => Ok(json!({ "relay": self.switch(None) })),
                "resetEnergy" => {
                    let (mut meter, _) = self.measure();
                    let counted = std::mem::take(&mut meter.energy_wh);
                    Ok(json!({ "energy": round(counted) }))
                }
                other => Err(FunctionError::NotThere(other.to_owned())),
            }
        })
    }

    fn next_event(&self) -> Answer<'_, ProductEvent> {
        Box::pin(async move {
            let mut unread = self.unread.lock().await;
            unread.recv().await.ok_or_else(|| FunctionError::Failed("no more events".to_owned()))
        })
    }
}

/// Meters show three decimals.
fn round(value: f64) -> f64 {
    (value * 1_000.0).round() / 1_000.0
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn name(text: &str) -> AffordanceName {
        text.parse().unwrap()
    }

    #[tokio::test]
    async fn watts_flow_only_while_the_relay_is_on_and_vary() {
        let plug = SimulatedPlug::new();
        assert_eq!(plug.read(&name("power")).await.unwrap(), json!(0.0));
        plug.write(&name("relay"), json!(true)).await.unwrap();
        let first = plug.read(&name("power")).await.unwrap().as_f64().unwrap();
        let second = plug.read(&name("power")).await.unwrap().as_f64().unwrap();
        assert!((900.0..1_400.0).contains(&first) && (900.0..1_400.0).contains(&second));
        assert!((first - second).abs() > f64::EPSILON);
        assert!(plug.read(&name("energy")).await.unwrap().as_f64().unwrap() >= 0.0);
    }

    #[tokio::test]
    async fn an_overload_cuts_off_and_tells() {
        let plug = SimulatedPlug::new();
        plug.write(&name("maxPower"), json!(100)).await.unwrap();
        plug.invoke(&name("toggle"), Value::Null).await.unwrap();
        plug.read(&name("power")).await.unwrap();
        assert_eq!(plug.read(&name("relay")).await.unwrap(), json!(false));
        let event = plug.next_event().await.unwrap();
        assert_eq!(event.name.as_str(), "overload");
        assert_eq!(event.data["limit"], json!(100.0));
    }

    #[tokio::test]
    async fn what_it_does_not_have_or_take_is_said() {
        let plug = SimulatedPlug::new();
        let write = |property: &str, value: Value| {
            let property = name(property);
            let plug = &plug;
            async move { plug.write(&property, value).await }
        };
        assert!(matches!(write("relay", json!("on")).await, Err(FunctionError::Input(_))));
        assert!(matches!(write("maxPower", json!(1e9)).await, Err(FunctionError::Input(_))));
        assert!(matches!(write("colour", json!(1)).await, Err(FunctionError::NotThere(_))));
    }
}
