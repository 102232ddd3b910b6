//! The configuration of `serve`: one TOML file, every key documented in the default, unknown keys refused.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use countersign_authority::config::AuthorityConfig;
use countersign_gateway::config::GatewayConfig;
use serde::Deserialize;

use crate::failure::{Ended, Failure, Named as _};

/// The file in the data folder that is read when no other is named.
pub(crate) const FILE: &str = "config.toml";

/// The commented default, as `config new` writes it.
pub(crate) const DEFAULT_TOML: &str = include_str!("default.toml");

/// Everything that `serve` can be told.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ServeConfig {
    pub(crate) est: Listen,
    pub(crate) admin: Listen,
    pub(crate) metrics: Option<Listen>,
    pub(crate) status: Option<Listen>,
    pub(crate) server: Server,
    pub(crate) authority: AuthorityConfig,
    pub(crate) gateway: GatewayConfig,
}

/// Where a listener stands.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Listen {
    pub(crate) listen: SocketAddr,
}

/// What the server certificate says.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Server {
    pub(crate) names: Vec<String>,
    pub(crate) addresses: Vec<IpAddr>,
}

impl Default for Server {
    fn default() -> Self {
        Self {
            names: vec!["localhost".to_owned()],
            addresses: vec![
                IpAddr::from([127, 0, 0, 1]),
                IpAddr::V6(std::net::Ipv6Addr::LOCALHOST),
            ],
        }
    }
}

impl Default for ServeConfig {
    fn default() -> Self {
        Self {
            est: Listen { listen: SocketAddr::from(([127, 0, 0, 1], 8443)) },
            admin: Listen { listen: SocketAddr::from(([127, 0, 0, 1], 8444)) },
            metrics: None,
            status: None,
            server: Server::default(),
            authority: AuthorityConfig::default(),
            gateway: GatewayConfig::default(),
        }
    }
}

impl ServeConfig {
    /// Reads `named`, or the data folder's file if there is one, or takes the defaults.
    //= specs/house.md#house-shell
    //# An unknown configuration key MUST be an error that names the file and the key.
    pub(crate) fn read(named: Option<&Path>, data: &Path) -> Ended<Self> {
        let path = match named {
            Some(path) => path.to_owned(),
            None => match data.join(FILE) {
                path if path.exists() => path,
                _ => return Ok(Self::default()),
            },
        };
        let text = std::fs::read_to_string(&path).at(&path)?;
        Self::parse(&path, &text)
    }

    fn parse(path: &Path, text: &str) -> Ended<Self> {
        let config: Self = toml::from_str(text)
            .map_err(|error| Failure::environment(format!("{}: {error}", path.display())))?;
        config.gateway.validate().at(path)?;
        if let Some(Listen { listen }) = &config.metrics
            && !listen.ip().to_canonical().is_loopback()
        {
            return Err(Failure::environment(format!(
                "{}: metrics.listen = \"{listen}\": metrics are for this machine only, without TLS: use 127.0.0.1 or ::1",
                path.display()
            )));
        }
        if config.server.names.is_empty() && config.server.addresses.is_empty() {
            return Err(Failure::environment(format!(
                "{}: server.names and server.addresses are both empty: name at least one, such as \"localhost\"",
                path.display()
            )));
        }
        Ok(config)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_written_default_is_the_default() {
        let written = ServeConfig::parse(Path::new("config.toml"), DEFAULT_TOML).unwrap();
        assert_eq!(written, ServeConfig::default());
    }

    #[test]
    fn metrics_stay_on_this_machine() {
        let read = |text: &str| ServeConfig::parse(Path::new("config.toml"), text);
        for near in ["127.0.0.1:9464", "[::ffff:127.0.0.1]:9464"] {
            let on = read(&format!("[metrics]\nlisten = \"{near}\"")).unwrap();
            assert_eq!(on.metrics.unwrap().listen.port(), 9464);
        }
        for far in ["0.0.0.0:9464", "192.168.1.2:9464", "[::]:9464"] {
            let refused = read(&format!("[metrics]\nlisten = \"{far}\"")).unwrap_err().text;
            assert!(refused.contains("config.toml") && refused.contains(far), "{refused}");
        }
    }

    //= specs/house.md#house-shell
    //= type=test
    //# An unknown configuration key MUST be an error that names the file and the key.
    #[test]
    fn an_unknown_key_is_named_with_its_file() {
        for text in ["[gateway]\nlisten_on = \"x\"", "[admins]\nlisten = \"127.0.0.1:1\""] {
            let error = ServeConfig::parse(Path::new("my/config.toml"), text).unwrap_err().text;
            assert!(error.contains("my/config.toml"), "{error}");
            assert!(error.contains("listen_on") || error.contains("admins"), "{error}");
        }
    }
}
