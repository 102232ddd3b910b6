//! Announcing the device by multicast DNS and DNS-SD (RFC 6762, RFC 6763): that there is one, under which pseudonym, and
//! at which address. What it calls itself is decided in `protocol::discovery`.
//!
//! ```text
//!  agent ─► Announcer ── pseudonym of the epoch ─► responder ─► UDP 5353, on the interfaces of the listener alone
//!             └ a new one when the epoch is over      (mdns-sd, a thread of its own)
//! ```
//! It is a convenience: when it fails, the device goes on and says so in its log.

use countersign_crypto::random::SystemRandom;
use countersign_model::id::ThingId;
use countersign_protocol::discovery::{IN_HOME, Pseudonym, ThingKey, WAITING, epoch};
use mdns_sd::{DaemonEvent, IfKind, IfPredicate, Receiver, ServiceDaemon, ServiceInfo};
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use tokio::task::JoinHandle;

/// The port of multicast DNS.
pub const PORT: u16 = 5353;
/// Pause before the responder is started again after it has ended.
const PAUSE: Duration = Duration::from_secs(60);
/// All that is said beside name, address and port: the form of these records (RFC 6763, section 6.7).
const TEXT: [(&str, &str); 1] = [("txtvers", "1")];

/// The `[discovery]` table.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Discovery {
    /// Where the device announces itself.
    pub announce: Announce,
    /// The port of the multicast group; another than 5353 is for tests.
    pub port: u16,
}

/// Where the device announces itself, if its description declares mDNS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Announce {
    /// Nowhere.
    Never,
    /// Where its interfaces listen on a network, and not on loopback.
    Network,
    /// On loopback too.
    Always,
}

impl Default for Discovery {
    fn default() -> Self {
        Self { announce: Announce::Network, port: PORT }
    }
}

impl Discovery {
    /// Whether an interface that listens on `ip` is announced.
    #[must_use]
    pub fn announces(&self, ip: IpAddr) -> bool {
        match self.announce {
            Announce::Never => false,
            Announce::Network => !ip.to_canonical().is_loopback(),
            Announce::Always => true,
        }
    }
}

/// As what the device is announced.
pub(crate) enum As {
    /// One of a home.
    InHome(ThingKey),
    /// One that waits to be paired.
    Waiting,
}

/// Announces until it is dropped; then says good-bye.
pub(crate) struct Announcer(JoinHandle<()>);

impl Announcer {
    pub(crate) fn start(port: u16, thing: ThingId, address: SocketAddr, role: As) -> Self {
        Self(tokio::spawn(async move {
            loop {
                if let Err(error) = announce(port, &thing, address, &role).await {
                    tracing::warn!(%error, "discovery: the device is not announced");
                }
                tokio::time::sleep(PAUSE).await;
            }
        }))
    }
}

impl Drop for Announcer {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A running responder. It withdraws what it announced when it goes.
struct Responder(ServiceDaemon);

impl Drop for Responder {
    fn drop(&mut self) {
        // Only a responder that has ended already cannot be told to end.
        let _ = self.0.shutdown();
    }
}

/// Announces, one pseudonym after the other, until the responder ends.
async fn announce(
    port: u16,
    thing: &ThingId,
    address: SocketAddr,
    role: &As,
) -> Result<(), mdns_sd::Error> {
    let responder = Responder(ServiceDaemon::new_with_port(port)?);
    let news = responder.0.monitor()?;
    // The group is joined where the listener is, and nowhere else.
    responder.0.disable_interface(IfKind::All)?;
    responder.0.enable_interface(interfaces(address.ip()))?;
    let mut former: Option<String> = None;
    loop {
        let info = record(thing, address, role)?;
        let name = info.get_fullname().to_owned();
        responder.0.register(info)?;
        if let Some(former) = former.replace(name) {
            // Whether the good-bye has left is of no interest: without one the name runs out by itself.
            drop(responder.0.unregister(&former)?);
        }
        let lasts = match role {
            As::InHome(_) => Some(epoch(&mut SystemRandom)),
            As::Waiting => None,
        };
        watch(&news, lasts).await?;
    }
}

/// Waits for the end of the epoch; for ever without one.
async fn watch(
    news: &Receiver<DaemonEvent>,
    lasts: Option<Duration>,
) -> Result<(), mdns_sd::Error> {
    let end = async {
        match lasts {
            Some(lasts) => tokio::time::sleep(lasts).await,
            None => std::future::pending().await,
        }
    };
    let mut end = std::pin::pin!(end);
    loop {
        let event = tokio::select! {
            () = &mut end => return Ok(()),
            event = news.recv_async() => event.map_err(|_| mdns_sd::Error::DaemonShutdown)?,
        };
        if let DaemonEvent::Error(error) = event {
            tracing::info!(%error, "discovery");
        }
    }
}

fn record(thing: &ThingId, address: SocketAddr, role: &As) -> Result<ServiceInfo, mdns_sd::Error> {
    let random = &mut SystemRandom;
    let (service, pseudonym) = match role {
        As::InHome(key) => (IN_HOME, Pseudonym::in_home(key, random)),
        As::Waiting => (WAITING, Pseudonym::waiting(thing, random)),
    };
    // The host is called like the instance: the machine's own name would tell who made it, or whose it is.
    let host = format!("{}.local.", pseudonym.as_str());
    let (ip, port) = (address.ip().to_canonical(), address.port());
    let mut info = if ip.is_unspecified() {
        ServiceInfo::new(service, pseudonym.as_str(), &host, "", port, &TEXT[..])?
            .enable_addr_auto()
    } else {
        ServiceInfo::new(service, pseudonym.as_str(), &host, ip, port, &TEXT[..])?
    };
    info.set_interfaces(interfaces(ip));
    // Nobody else has the name: it holds 64 fresh random bits.
    info.set_requires_probe(false);
    Ok(info)
}

fn interfaces(listens: IpAddr) -> Vec<IfKind> {
    let kind = match listens.to_canonical() {
        IpAddr::V4(ip) if ip.is_loopback() => IfKind::LoopbackV4,
        IpAddr::V6(ip) if ip.is_loopback() => IfKind::LoopbackV6,
        IpAddr::V4(ip) if ip.is_unspecified() => IfKind::Predicate(IfPredicate::new(|interface| {
            !interface.is_loopback() && interface.ip().is_ipv4()
        })),
        IpAddr::V6(ip) if ip.is_unspecified() => {
            IfKind::Predicate(IfPredicate::new(|interface| !interface.is_loopback()))
        }
        ip => IfKind::Addr(ip),
    };
    vec![kind]
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_not_announced_unless_it_is_asked_for() {
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        for (announce, address, announced) in [
            (Announce::Network, "192.168.1.20", true),
            (Announce::Network, "0.0.0.0", true),
            (Announce::Network, "127.0.0.1", false),
            (Announce::Network, "::1", false),
            (Announce::Network, "::ffff:127.0.0.1", false),
            (Announce::Network, "::ffff:192.168.1.20", true),
            (Announce::Always, "127.0.0.1", true),
            (Announce::Never, "192.168.1.20", false),
        ] {
            let discovery = Discovery { announce, port: PORT };
            assert_eq!(discovery.announces(ip(address)), announced, "{announce:?} {address}");
        }
    }
}
