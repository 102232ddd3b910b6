//! Configuration of the gateway: every key, its default and its bounds.

use crate::home_assistant::HomeAssistant;
use crate::revocation::RevocationConfig;
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use std::time::Duration;

/// The `[gateway]` table. Unknown keys are errors.
///
/// ```
/// use countersign_gateway::config::GatewayConfig;
/// let config = GatewayConfig::default();
/// config.validate()?;
/// assert_eq!(config.listen.port(), 8883);
/// # Ok::<(), countersign_gateway::config::InvalidConfig>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GatewayConfig {
    /// Address and port of the MQTT listener; port 0 takes any free one. Default `127.0.0.1:8883`.
    pub listen: SocketAddr,
    /// Seconds that a TLS handshake may take. Default 10, 1 to 120.
    pub handshake_timeout_secs: u64,
    /// Seconds between the handshake and a complete CONNECT. Default 10, 1 to 120.
    pub connect_timeout_secs: u64,
    /// Open connections in total, handshakes included. Default 16,384, 1 to 1,000,000.
    pub max_connections: usize,
    /// Open connections from one IP address, handshakes included. Default 4,096 (a loopback or a NAT is one address).
    pub max_connections_per_ip: usize,
    /// Bytes that wait to be written to one connection before it counts as too slow and is closed. Default 1 MiB.
    pub max_write_queue_bytes: usize,
    /// Seconds that a drain waits for connections to end. Default 5, 0 to 300.
    pub drain_secs: u64,
    /// What happens while the authority is not heard.
    pub revocation: RevocationConfig,
    /// What one client, one subject and all together may hold.
    pub limits: Limits,
    /// Whether Home Assistant is told of devices.
    pub home_assistant: HomeAssistant,
}

impl Default for GatewayConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8883)),
            handshake_timeout_secs: 10,
            connect_timeout_secs: 10,
            max_connections: 16_384,
            max_connections_per_ip: 4_096,
            max_write_queue_bytes: 1 << 20,
            drain_secs: 5,
            revocation: RevocationConfig::default(),
            limits: Limits::default(),
            home_assistant: HomeAssistant::default(),
        }
    }
}

/// Bounds on what the broker keeps. All defaults fit a gateway of 10,000 devices in 1 GiB.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// The largest MQTT packet in bytes, both ways. Default 256 KiB, 1 KiB to 16 MiB.
    pub max_packet_bytes: u32,
    /// Subscriptions of one session. Default 128.
    pub max_subscriptions: usize,
    /// Unacknowledged messages in flight, each way. Default 32.
    pub max_inflight: u16,
    /// Messages that wait for one session. Default 1,000.
    pub max_queue_messages: usize,
    /// Bytes of messages that wait for one session. Default 1 MiB.
    pub max_queue_bytes: usize,
    /// Bytes of all waiting and retained messages. Default 256 MiB.
    pub max_total_bytes: usize,
    /// Sessions, connected or kept. Default 20,000.
    pub max_sessions: usize,
    /// Sessions of one subject, connected or kept. Default 8.
    pub max_sessions_per_subject: usize,
    /// Retained messages in total. Default 200,000.
    pub max_retained: usize,
    /// Retained messages published by one subject. Default 256.
    pub max_retained_per_subject: usize,
    /// The longest that a session is kept after its connection, in seconds. Default 7 days.
    pub max_session_expiry_secs: u32,
    /// The longest keep-alive in seconds; a client that asks for none gets this. Default 1,200.
    pub max_keep_alive_secs: u16,
    /// The longest client identifier in bytes. Default 128.
    pub max_client_id_bytes: usize,
    /// Changes that may wait for the disk before further messages that need it are refused. Default 4,096.
    pub max_store_backlog: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_packet_bytes: 256 << 10,
            max_subscriptions: 128,
            max_inflight: 32,
            max_queue_messages: 1_000,
            max_queue_bytes: 1 << 20,
            max_total_bytes: 256 << 20,
            max_sessions: 20_000,
            max_sessions_per_subject: 8,
            max_retained: 200_000,
            max_retained_per_subject: 256,
            max_session_expiry_secs: 7 * 24 * 3600,
            max_keep_alive_secs: 1_200,
            max_client_id_bytes: 128,
            max_store_backlog: 4_096,
        }
    }
}

/// A key whose value is out of its range.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("gateway.{key} is {value}: use {low} to {high}")]
pub struct InvalidConfig {
    /// The key, with its table under `gateway`.
    pub key: &'static str,
    /// What was given.
    pub value: u64,
    /// The least that is allowed.
    pub low: u64,
    /// The most that is allowed.
    pub high: u64,
}

impl GatewayConfig {
    /// Checks every range.
    ///
    /// # Errors
    /// The first key that is out of its range.
    pub fn validate(&self) -> Result<(), InvalidConfig> {
        let limits = &self.limits;
        let wide = |value: usize| u64::try_from(value).unwrap_or(u64::MAX);
        let any = u64::from(u32::MAX);
        for (key, value, low, high) in [
            ("handshake_timeout_secs", self.handshake_timeout_secs, 1, 120),
            ("connect_timeout_secs", self.connect_timeout_secs, 1, 120),
            ("max_connections", wide(self.max_connections), 1, 1_000_000),
            ("max_connections_per_ip", wide(self.max_connections_per_ip), 1, 1_000_000),
            ("max_write_queue_bytes", wide(self.max_write_queue_bytes), 1 << 14, 1 << 30),
            ("drain_secs", self.drain_secs, 0, 300),
            ("revocation.max_age_secs", self.revocation.max_age_secs, 1, 366 * 24 * 3600),
            ("limits.max_packet_bytes", u64::from(limits.max_packet_bytes), 1 << 10, 1 << 24),
            ("limits.max_subscriptions", wide(limits.max_subscriptions), 1, 100_000),
            ("limits.max_inflight", u64::from(limits.max_inflight), 1, 65_535),
            ("limits.max_queue_messages", wide(limits.max_queue_messages), 1, any),
            ("limits.max_queue_bytes", wide(limits.max_queue_bytes), 1 << 10, u64::MAX),
            ("limits.max_total_bytes", wide(limits.max_total_bytes), 1 << 20, u64::MAX),
            ("limits.max_sessions", wide(limits.max_sessions), 1, any),
            ("limits.max_sessions_per_subject", wide(limits.max_sessions_per_subject), 1, any),
            ("limits.max_retained", wide(limits.max_retained), 0, any),
            ("limits.max_retained_per_subject", wide(limits.max_retained_per_subject), 0, any),
            ("limits.max_session_expiry_secs", u64::from(limits.max_session_expiry_secs), 0, any),
            ("limits.max_keep_alive_secs", u64::from(limits.max_keep_alive_secs), 1, 43_200),
            ("limits.max_client_id_bytes", wide(limits.max_client_id_bytes), 23, 1_024),
            ("limits.max_store_backlog", limits.max_store_backlog, 1, any),
        ] {
            if !(low..=high).contains(&value) {
                return Err(InvalidConfig { key, value, low, high });
            }
        }
        Ok(())
    }

    /// How long a TLS handshake may take.
    #[must_use]
    pub const fn handshake_timeout(&self) -> Duration {
        Duration::from_secs(self.handshake_timeout_secs)
    }

    /// How long a connection may exist without a complete CONNECT.
    #[must_use]
    pub const fn connect_timeout(&self) -> Duration {
        Duration::from_secs(self.connect_timeout_secs)
    }

    /// How long a drain waits.
    #[must_use]
    pub const fn drain(&self) -> Duration {
        Duration::from_secs(self.drain_secs)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_in_range_and_unknown_keys_are_errors() {
        GatewayConfig::default().validate().unwrap();
        assert_eq!(serde_json::from_str::<GatewayConfig>("{}").unwrap(), GatewayConfig::default());
        assert!(serde_json::from_str::<GatewayConfig>("{\"lisen\":\"127.0.0.1:1\"}").is_err());
        assert!(serde_json::from_str::<GatewayConfig>("{\"limits\":{\"max\":1}}").is_err());
    }

    #[test]
    fn a_key_out_of_range_is_named() {
        let mut config = GatewayConfig::default();
        config.limits.max_inflight = 0;
        let error = config.validate().unwrap_err();
        assert_eq!(error.key, "limits.max_inflight");
        assert!(error.to_string().contains("1 to 65535"), "{error}");
    }
}
