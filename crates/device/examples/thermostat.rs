//! A whole device in Rust: a thermostat that keeps a wanted temperature. See `docs/guides/rust-sdk.md`.
//!
//!     cargo run -p countersign-device --example thermostat -- factory/thermostat-1/device

use countersign_device::functions::{Answer, FunctionError, Functions, ProductEvent};
use countersign_device::{agent, config::Config};
use countersign_model::id::AffordanceName;
use serde_json::{Value, json};
use std::sync::{Arc, Mutex, PoisonError};

const DESCRIPTION: &str = r#"{
  "@context": ["https://www.w3.org/2022/wot/td/v1.1", { "countersign": "urn:countersign:td#" }],
  "title": "Thermostat",
  "securityDefinitions": { "home": { "scheme": "auto" } },
  "security": ["home"],
  "properties": {
    "target": {
      "type": "number", "minimum": 5, "maximum": 30, "unit": "Cel", "observable": true,
      "countersign:role": { "read": "viewer", "write": "member" }
    }
  }
}"#;

struct Thermostat {
    target: Mutex<f64>,
}

impl Functions for Thermostat {
    fn read<'a>(&'a self, property: &'a AffordanceName) -> Answer<'a, Value> {
        Box::pin(async move {
            match property.as_str() {
                "target" => Ok(json!(*self.target.lock().unwrap_or_else(PoisonError::into_inner))),
                other => Err(FunctionError::NotThere(other.to_owned())),
            }
        })
    }

    fn write<'a>(&'a self, property: &'a AffordanceName, value: Value) -> Answer<'a, ()> {
        Box::pin(async move {
            match (property.as_str(), value.as_f64()) {
                ("target", Some(celsius)) => {
                    *self.target.lock().unwrap_or_else(PoisonError::into_inner) = celsius;
                    Ok(())
                }
                (other, _) => Err(FunctionError::NotThere(other.to_owned())),
            }
        })
    }

    fn invoke<'a>(&'a self, action: &'a AffordanceName, _: Value) -> Answer<'a, Value> {
        Box::pin(async move { Err(FunctionError::NotThere(action.to_string())) })
    }

    fn next_event(&self) -> Answer<'_, ProductEvent> {
        Box::pin(std::future::pending())
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let data = std::env::args().nth(1).ok_or("the device's data folder is needed")?;
    let thing = std::env::temp_dir().join(format!("thermostat-{}.td.json", std::process::id()));
    std::fs::write(&thing, DESCRIPTION)?;
    let config = Config { data: data.into(), thing, ..Config::default() };
    let product = Thermostat { target: Mutex::new(20.0) };
    let shutdown = async {
        let _ = tokio::signal::ctrl_c().await;
    };
    agent::run(config, Arc::new(product), shutdown).await?;
    Ok(())
}
