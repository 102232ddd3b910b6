//! Configuration: TOML, unknown keys refused, validated once into [`AuthorityConfig`].

use std::time::Duration;

use countersign_crypto::keystore::TokenConfig;
use serde::Deserialize;

use crate::error::AuthorityError;
use crate::store::DatabaseConfig;

const DAY: u64 = 24 * 60 * 60;

/// The longest life of a certificate that is renewed on line, in days: a stolen key dies with it even where
/// revocation does not reach.
pub const MAX_LIFE_DAYS: u32 = 398;

/// The commented default, as `config new` writes it.
pub const DEFAULT_TOML: &str = r#"# Life of certificates, in days (1 to 398). Devices and services renew at two thirds of it.

# Operational certificates of devices (LDevIDs).
device_days = 30

# Certificates of services that connect to the gateway.
service_days = 90

# Certificates of operators of this authority.
operator_days = 90

# TLS certificates of gateway, EST and admin servers.
server_days = 90

# What follows when one identity is found in two places, at enrolment or where devices connect, besides the alarm: "alarm"
# alone, or "revoke" its subject too.
on_clone = "alarm"

# Where others reach revocation lists and OCSP; stands in the lists that are cut into shards.
status_url = "http://127.0.0.1:8080"

# The database in PostgreSQL (13 or newer) instead of a file of SQLite. On another machine: with sslmode=verify-full.
# Made by: createdb --template template0 --encoding UTF8 --locale C countersign
# [database]
# url = "postgresql://countersign@localhost/countersign"  # no password in here
# password_file = "/etc/countersign/database.password"    # its first line; mode 0600; not needed where the server asks none

# Keys of the authority in a PKCS#11 token: made inside, never extractable. Without it they are sealed files. A folder
# stays with what its ceremony used.
# [token]
# module = "/usr/lib/softhsm/libsofthsm2.so"  # the token's shared library
# label = "countersign"                       # the token's label
# pin_file = "/etc/countersign/token.pin"     # its user PIN; mode 0600
# prefix = ""                                 # stands before every key's label, where a token has several users
"#;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawConfig {
    device_days: u32,
    service_days: u32,
    operator_days: u32,
    server_days: u32,
    on_clone: OnClone,
    status_url: String,
    database: Option<DatabaseConfig>,
    token: Option<TokenConfig>,
}

impl Default for RawConfig {
    fn default() -> Self {
        Self {
            device_days: 30,
            service_days: 90,
            operator_days: 90,
            server_days: 90,
            on_clone: OnClone::Alarm,
            status_url: "http://127.0.0.1:8080".to_owned(),
            database: None,
            token: None,
        }
    }
}

/// What follows a clone, besides the alarm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum OnClone {
    Alarm,
    Revoke,
}

/// How the authority issues.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "RawConfig")]
pub struct AuthorityConfig {
    device: Duration,
    service: Duration,
    operator: Duration,
    server: Duration,
    on_clone: OnClone,
    status_url: String,
    database: Option<DatabaseConfig>,
    token: Option<TokenConfig>,
}

impl Default for AuthorityConfig {
    fn default() -> Self {
        Self::try_from(RawConfig::default()).expect("the default is valid: a test holds it")
    }
}

impl TryFrom<RawConfig> for AuthorityConfig {
    type Error = String;
    fn try_from(raw: RawConfig) -> Result<Self, String> {
        let life = |field: &str, days: u32| {
            if (1..=MAX_LIFE_DAYS).contains(&days) {
                Ok(Duration::from_secs(u64::from(days) * DAY))
            } else {
                Err(format!("{field} = {days} is out of range: choose 1 to {MAX_LIFE_DAYS} days"))
            }
        };
        let url = &raw.status_url;
        let plain = url.bytes().all(|b| b.is_ascii_graphic()) && url.len() <= 200;
        if !plain || !url.starts_with("http://") || url.ends_with('/') {
            return Err(format!(
                "status_url = {url:?}: an http address without a slash at its end is expected, such as \"http://pki.example:8080\""
            ));
        }
        Ok(Self {
            device: life("device_days", raw.device_days)?,
            service: life("service_days", raw.service_days)?,
            operator: life("operator_days", raw.operator_days)?,
            server: life("server_days", raw.server_days)?,
            on_clone: raw.on_clone,
            status_url: raw.status_url,
            database: raw.database,
            token: raw.token,
        })
    }
}

impl AuthorityConfig {
    /// Reads TOML; `file` names it in errors.
    ///
    /// # Errors
    /// [`AuthorityError::Configuration`] with field and mend.
    pub fn from_toml(file: &str, text: &str) -> Result<Self, AuthorityError> {
        toml::from_str(text).map_err(|error| AuthorityError::Configuration {
            file: file.to_owned(),
            detail: error.to_string(),
        })
    }

    /// Life of a device's operational certificate.
    #[must_use]
    pub fn device(&self) -> Duration {
        self.device
    }
    /// Life of a service's certificate.
    #[must_use]
    pub fn service(&self) -> Duration {
        self.service
    }
    /// The PostgreSQL database; none: SQLite, in a file of the data folder.
    #[must_use]
    pub fn database(&self) -> Option<&DatabaseConfig> {
        self.database.as_ref()
    }
    /// The same, with its database on a PostgreSQL server.
    #[must_use]
    pub fn with_database(self, database: DatabaseConfig) -> Self {
        Self { database: Some(database), ..self }
    }
    /// The PKCS#11 token that holds the authority's keys; none: they are sealed files.
    #[must_use]
    pub fn token(&self) -> Option<&TokenConfig> {
        self.token.as_ref()
    }
    /// The same, with the authority's keys in a PKCS#11 token.
    #[must_use]
    pub fn with_token(self, token: TokenConfig) -> Self {
        Self { token: Some(token), ..self }
    }
    /// Whether a subject whose identity is in two places is revoked.
    #[must_use]
    pub fn revokes_clones(&self) -> bool {
        self.on_clone == OnClone::Revoke
    }
    /// Where others reach revocation lists and OCSP.
    #[must_use]
    pub fn status_url(&self) -> &str {
        &self.status_url
    }
    /// Life of an operator's certificate.
    #[must_use]
    pub fn operator(&self) -> Duration {
        self.operator
    }
    /// Life of a server's certificate.
    #[must_use]
    pub fn server(&self) -> Duration {
        self.server
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_written_default_is_the_default() {
        let written = AuthorityConfig::from_toml("config.toml", DEFAULT_TOML).unwrap();
        assert_eq!(written, AuthorityConfig::default());
    }

    #[test]
    fn unknown_keys_and_long_lives_are_refused_with_the_mend() {
        for (text, expected) in [
            ("device_day = 1", "device_day"),
            ("device_days = 0", "1 to 398"),
            ("server_days = 399", "server_days"),
            ("[database]\nurl = \"postgresql://db.example/x\"", "verify-full"),
            ("[token]\nmodule = \"x\"", "label"),
            ("[token]\nmodule = \"x\"\nlabel = \"\"\npin_file = \"p\"", "1 to 32"),
        ] {
            let refused = AuthorityConfig::from_toml("config.toml", text).unwrap_err().to_string();
            assert!(refused.contains("config.toml") && refused.contains(expected), "{refused}");
        }
    }
}
