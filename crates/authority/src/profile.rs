//! From a permit to a template: issuer, names, key usages and life follow from the purpose alone.

use std::net::IpAddr;
use std::time::Duration;

use countersign_crypto::issue::{Eku, Serial, Template};
use countersign_model::time::{Timestamp, Validity};

use crate::authorities::IssuingCa;
use crate::config::AuthorityConfig;
use crate::error::AuthorityError;
use crate::registration::EnrolmentPermit;
use crate::subject::Purpose;

/// How long before now certificates begin, for clocks that are a little behind.
pub const BACKDATE: Duration = Duration::from_secs(5 * 60);

/// Names that only a server's certificate takes from its configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ServerNames {
    /// dNSNames, lower case.
    pub dns: Vec<String>,
    /// iPAddresses.
    pub ips: Vec<IpAddr>,
}

/// Which CA issues for a purpose.
#[must_use]
pub const fn issuer(purpose: Purpose) -> IssuingCa {
    match purpose {
        Purpose::FactoryIdentity => IssuingCa::FactoryIdentity,
        Purpose::Operation => IssuingCa::Operation,
        Purpose::Service | Purpose::Operator | Purpose::Server => IssuingCa::Service,
    }
}

/// Extended key usages for a purpose. A device is a server at home and a client at the gateway.
#[must_use]
pub const fn eku(purpose: Purpose) -> Eku {
    match purpose {
        Purpose::FactoryIdentity | Purpose::Operation => Eku { server: true, client: true },
        Purpose::Service | Purpose::Operator => Eku { server: false, client: true },
        Purpose::Server => Eku { server: true, client: false },
    }
}

/// The longest life of a purpose's certificates; `None` for those without end.
#[must_use]
pub fn life(purpose: Purpose, config: &AuthorityConfig) -> Option<Duration> {
    match purpose {
        Purpose::FactoryIdentity => None,
        Purpose::Operation => Some(config.device()),
        Purpose::Service => Some(config.service()),
        Purpose::Operator => Some(config.operator()),
        Purpose::Server => Some(config.server()),
    }
}

/// The dNSNames that the profile gives to a subject.
#[must_use]
pub fn dns_names(purpose: Purpose, name: &str, server: &ServerNames) -> Vec<String> {
    match purpose {
        // A host name label has no underscore and no dot inside ".local" (RFC 1123, RFC 6762).
        Purpose::FactoryIdentity | Purpose::Operation if is_label(name) => {
            vec![format!("{}.local", name.to_ascii_lowercase())]
        }
        Purpose::Server => server.dns.clone(),
        _ => Vec::new(),
    }
}

/// The template of the certificate that `permit` allows.
pub(crate) fn template(
    permit: &EnrolmentPermit,
    spki_der: &[u8],
    server: &ServerNames,
    issuer_from: Timestamp,
    config: &AuthorityConfig,
    serial: Serial,
    now: Timestamp,
) -> Result<Template, AuthorityError> {
    let (purpose, name) = (permit.purpose(), permit.subject().name());
    let backdated = Timestamp(now.0.saturating_sub(millis(BACKDATE)));
    let not_before = Timestamp::from_secs(backdated.max(issuer_from).as_secs());
    let not_after = match life(purpose, config) {
        Some(life) => Timestamp::from_secs(now.plus(life).as_secs()),
        None => Validity::FOREVER,
    };
    Ok(Template {
        common_name: name.to_owned(),
        identity: purpose.identity_name(permit.subject())?,
        dns: dns_names(purpose, name, server),
        ips: if purpose == Purpose::Server { server.ips.clone() } else { Vec::new() },
        eku: eku(purpose),
        validity: Validity { not_before, not_after },
        serial,
        spki_der: spki_der.to_vec(),
    })
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn is_label(name: &str) -> bool {
    let inner = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    inner && name.len() <= 63 && !name.ends_with('-')
}
