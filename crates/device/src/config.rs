//! The device's configuration: one TOML file, every key documented, unknown keys refused.

use crate::discovery::Discovery;
use crate::sandbox::Sandbox;
use countersign_protocol::pairing::{BUTTON_WINDOW, Presence, WINDOW, WindowRules};
use countersign_protocol::rotation::SPREAD;
use serde::Deserialize;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The configuration with every key, its default and its meaning.
pub const DEFAULT_TOML: &str = include_str!("default.toml");

/// Least pause between two looks at the product's properties, in milliseconds: more often only fills the outbox.
const MIN_INTERVAL_MS: u64 = 100;

/// Longest spread of renewals, in seconds: a week. Whoever renews later is long refused.
const MAX_SPREAD_SECS: u64 = 7 * 24 * 3600;

/// What [`crate::agent::run`] needs to know. See [`DEFAULT_TOML`].
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The data folder.
    pub data: PathBuf,
    /// The Thing Description.
    pub thing: PathBuf,
    /// What stands behind each affordance; none: programs or functions of the maker's.
    pub bindings: Option<PathBuf>,
    /// How programs of a folder (`--functions`) are confined; bindings say it themselves.
    pub sandbox: Sandbox,
    /// Whether the agent may run as root with a product behind it.
    pub allow_root: bool,
    /// Written as JSON at every change of state, whole or not at all; none: not written.
    pub ready_file: Option<PathBuf>,
    /// The pairing interface.
    pub pairing: PairingConfig,
    /// The local API.
    pub api: Listen,
    /// Whether and where the device announces itself.
    pub discovery: Discovery,
    /// The connection to the gateway.
    pub uplink: UplinkConfig,
    /// The operational identity.
    pub identity: IdentityConfig,
    /// What is published without being asked.
    pub telemetry: Telemetry,
    /// TCP listeners of the product around the agent and of its programs. Every other listener ends the agent.
    pub product_listeners: Vec<ProductListener>,
}

/// Shortest and longest time that pairing may stay open, in seconds: to type a code, and an hour.
const WINDOW_SECS: std::ops::RangeInclusive<u64> = 5..=3600;

/// The pairing interface.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PairingConfig {
    /// `address:port`; port 0 takes any free one.
    pub listen: SocketAddr,
    /// Who has to be at the device before it can be paired.
    pub presence: Presence,
    /// Seconds for which pairing is open after power-on, or after a press, 5 to 3600; none: 900, with a button 120.
    pub window_secs: Option<u64>,
}

impl Default for PairingConfig {
    fn default() -> Self {
        let listen = SocketAddr::from(([127, 0, 0, 1], 0));
        Self { listen, presence: Presence::None, window_secs: None }
    }
}

impl PairingConfig {
    /// When pairing is open.
    #[must_use]
    pub fn rules(&self) -> WindowRules {
        let usual = match self.presence {
            Presence::None => WINDOW,
            Presence::Button => BUTTON_WINDOW,
        };
        let length = self.window_secs.map_or(usual, Duration::from_secs);
        WindowRules { presence: self.presence, length }
    }

    /// How people open it, in words.
    #[must_use]
    pub const fn how_to_open(&self) -> &'static str {
        match self.presence {
            Presence::None => "press the button, or switch the device off and on",
            Presence::Button => "press the button",
        }
    }
}

/// Where an interface listens.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Listen {
    /// `address:port`; port 0 takes any free one.
    pub listen: SocketAddr,
}

/// The connection to the gateway.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct UplinkConfig {
    /// Seconds of silence after which the device pings, 5 to 3600.
    pub keep_alive_secs: u16,
}

/// The operational identity.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct IdentityConfig {
    /// Seconds over which the devices of a fleet spread their renewals when the policy ends their algorithm in less than
    /// thirty days, or has ended it, 1 to 604800.
    pub renewal_spread_secs: u64,
}

impl Default for IdentityConfig {
    fn default() -> Self {
        Self { renewal_spread_secs: SPREAD.as_secs() }
    }
}

/// What is published without being asked: every observable property.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Telemetry {
    /// Milliseconds between two looks at the observable properties; a changed value is published.
    pub interval_ms: u64,
    /// Seconds after which a value is published although it did not change.
    pub repeat_secs: u64,
}

/// A TCP listener that the product opens by itself, in this process or in a program that the agent runs.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProductListener {
    /// Where.
    pub address: SocketAddr,
    /// What for; it appears in the declaration for the test lab.
    pub purpose: String,
}

impl Default for Config {
    fn default() -> Self {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        Self {
            data: "device".into(),
            thing: "plug.td.json".into(),
            bindings: None,
            sandbox: Sandbox::default(),
            allow_root: false,
            ready_file: None,
            pairing: PairingConfig::default(),
            api: Listen { listen: any },
            discovery: Discovery::default(),
            uplink: UplinkConfig::default(),
            identity: IdentityConfig::default(),
            telemetry: Telemetry::default(),
            product_listeners: Vec::new(),
        }
    }
}

impl Default for UplinkConfig {
    fn default() -> Self {
        Self { keep_alive_secs: 60 }
    }
}

impl Default for Telemetry {
    fn default() -> Self {
        Self { interval_ms: 1_000, repeat_secs: 60 }
    }
}

impl Telemetry {
    /// Between two looks.
    #[must_use]
    pub const fn interval(&self) -> Duration {
        Duration::from_millis(self.interval_ms)
    }

    /// Until an unchanged value is repeated.
    #[must_use]
    pub const fn repeat(&self) -> Duration {
        Duration::from_secs(self.repeat_secs)
    }
}

impl Config {
    /// Reads a file. Relative paths in it start at the file's folder.
    ///
    /// # Errors
    /// [`ConfigError`], with file, field and mend.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| ConfigError(format!("{}: {error}", path.display())))?;
        let mut config = Self::parse(&text)
            .map_err(|error| ConfigError(format!("{}: {}", path.display(), error.0)))?;
        let base = path.parent().unwrap_or(Path::new("."));
        config.data = base.join(&config.data);
        config.thing = base.join(&config.thing);
        config.bindings = config.bindings.map(|file| base.join(file));
        config.sandbox = config.sandbox.based_at(base);
        config.ready_file = config.ready_file.map(|file| base.join(file));
        Ok(config)
    }

    /// Reads a text.
    ///
    /// # Errors
    /// [`ConfigError`] for unknown keys, wrong types and values out of range.
    pub fn parse(text: &str) -> Result<Self, ConfigError> {
        let config: Self = toml::from_str(text).map_err(|error| ConfigError(error.to_string()))?;
        if !(5..=3600).contains(&config.uplink.keep_alive_secs) {
            return Err(ConfigError("uplink.keep_alive_secs: use 5 to 3600".to_owned()));
        }
        if config.discovery.port == 0 {
            return Err(ConfigError(
                "discovery.port: use 1 to 65535, 5353 but for tests".to_owned(),
            ));
        }
        if config.pairing.window_secs.is_some_and(|secs| !WINDOW_SECS.contains(&secs)) {
            let (least, most) = WINDOW_SECS.into_inner();
            return Err(ConfigError(format!("pairing.window_secs: use {least} to {most}")));
        }
        if !(1..=MAX_SPREAD_SECS).contains(&config.identity.renewal_spread_secs) {
            let text = format!("identity.renewal_spread_secs: use 1 to {MAX_SPREAD_SECS}");
            return Err(ConfigError(text));
        }
        if config.telemetry.interval_ms < MIN_INTERVAL_MS {
            let text = format!("telemetry.interval_ms: use {MIN_INTERVAL_MS} or more");
            return Err(ConfigError(text));
        }
        Ok(config)
    }
}

/// A configuration that cannot be used, with the file, the field and the mend.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ConfigError(String);

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_documented_default_is_the_default() {
        assert_eq!(Config::parse(DEFAULT_TOML).unwrap(), Config::default());
        assert_eq!(Config::parse("").unwrap(), Config::default());
    }

    #[test]
    fn unknown_keys_and_wild_values_are_named() {
        for (text, field) in [
            ("colour = 1", "colour"),
            ("[api]\nlisten = \"127.0.0.1:0\"\nopen = true", "open"),
            ("[uplink]\nkeep_alive_secs = 0", "uplink.keep_alive_secs"),
            ("[discovery]\nannounce = \"loudly\"", "announce"),
            ("[discovery]\nport = 0", "discovery.port"),
            ("[telemetry]\ninterval_ms = 1", "telemetry.interval_ms"),
            ("[identity]\nrenewal_spread_secs = 0", "identity.renewal_spread_secs"),
            ("[pairing]\nlisten = \"localhost\"", "listen"),
            ("[pairing]\npresence = \"voice\"", "presence"),
            ("[pairing]\nwindow_secs = 4", "pairing.window_secs"),
        ] {
            let error = Config::parse(text).unwrap_err().to_string();
            assert!(error.contains(field), "{text}: {error}");
        }
    }
}
