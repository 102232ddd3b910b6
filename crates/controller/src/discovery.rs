//! Finding devices by multicast DNS: which of the home answer where, and which wait to be paired.
//!
//! Anybody on the network can announce anything. What is found is an address to try; who is there shows the certificate.

use crate::door::PAIRING;
use crate::error::ControlError;
use crate::home::{Home, PairedThing};
use crate::session::Session;
use countersign_crypto::certificate::Certificate;
use countersign_model::id::{PersonName, ThingId};
use countersign_protocol::discovery::{HomeKey, IN_HOME, WAITING, may_be};
use mdns_sd::{Receiver, ScopedIp, ServiceDaemon, ServiceEvent};
use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// How long devices have to answer: a question goes out at once and again after one second.
pub const WAIT: Duration = Duration::from_secs(3);
/// The port of multicast DNS.
pub const PORT: u16 = 5353;
/// Announcements that are looked at in one search: far more than a home has, and no room for a flood.
const MAX_SEEN: usize = 1024;
/// Addresses of one announcement that are tried.
const MAX_ADDRESSES: usize = 8;

/// One announcement.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Seen {
    /// What the device calls itself now.
    pub name: String,
    /// Whether it waits to be paired; else it belongs to some home.
    pub waiting: bool,
    /// Where its interface is, best first.
    pub addresses: Vec<SocketAddr>,
}

impl Seen {
    /// Whether it may be the waiting device whose label says `thing`.
    #[must_use]
    pub fn may_be(&self, thing: &ThingId) -> bool {
        self.waiting && may_be(thing, &self.name)
    }
}

/// A search under way. Dropping it ends it.
pub struct Search {
    daemon: ServiceDaemon,
    in_home: Receiver<ServiceEvent>,
    waiting: Receiver<ServiceEvent>,
    seen: BTreeSet<Seen>,
}

impl Search {
    /// Begins to ask on every network of this machine, at the group's `port`: [`PORT`], but for tests.
    ///
    /// # Errors
    /// [`ControlError::NoMulticast`] where this machine cannot ask.
    pub fn start(port: u16) -> Result<Self, ControlError> {
        let failed = |error: mdns_sd::Error| ControlError::NoMulticast(error.to_string());
        let daemon = ServiceDaemon::new_with_port(port).map_err(failed)?;
        let in_home = daemon.browse(IN_HOME).map_err(failed)?;
        let waiting = daemon.browse(WAITING).map_err(failed)?;
        Ok(Self { daemon, in_home, waiting, seen: BTreeSet::new() })
    }

    /// The next announcement that was not told yet; none when the search has ended, or has seen too much.
    pub async fn next(&mut self) -> Option<Seen> {
        while self.seen.len() < MAX_SEEN {
            let (event, waiting) = tokio::select! {
                event = self.in_home.recv_async() => (event.ok()?, false),
                event = self.waiting.recv_async() => (event.ok()?, true),
            };
            let ServiceEvent::ServiceResolved(found) = event else { continue };
            let Some((name, _)) = found.fullname.split_once('.') else { continue };
            let addresses = sorted(found.addresses.iter(), found.port);
            let seen = Seen { name: name.to_owned(), waiting, addresses };
            if !seen.addresses.is_empty() && self.seen.insert(seen.clone()) {
                return Some(seen);
            }
        }
        None
    }
}

impl Drop for Search {
    fn drop(&mut self) {
        let _ = self.daemon.shutdown();
    }
}

impl std::fmt::Debug for Search {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Search").field("seen", &self.seen).finish_non_exhaustive()
    }
}

/// IPv4 first: it needs no scope, and every device of a home has it.
fn sorted<'a>(found: impl Iterator<Item = &'a ScopedIp>, port: u16) -> Vec<SocketAddr> {
    let usable = |ip: &ScopedIp| match ip {
        ScopedIp::V4(ip) => Some(IpAddr::V4(*ip.addr())),
        // A link-local address is of no use without its link, which an address of ours does not hold.
        ScopedIp::V6(ip) if !ip.addr().is_unicast_link_local() => Some(IpAddr::V6(*ip.addr())),
        _ => None,
    };
    let ips: BTreeSet<IpAddr> = found.filter_map(usable).collect();
    ips.into_iter().take(MAX_ADDRESSES).map(|ip| SocketAddr::new(ip, port)).collect()
}

impl Home {
    /// Which of our things announces itself so, those that we joined by invitation among them; none for somebody else's.
    ///
    /// # Errors
    /// [`ControlError::Damaged`].
    pub fn recognise(&self, seen: &Seen) -> Result<Option<ThingId>, ControlError> {
        if seen.waiting {
            return Ok(None);
        }
        let home = HomeKey::of_anchor(&self.anchor().spki_der());
        let ours = |one: &PairedThing| match &one.discovery {
            Some(key) => key.recognises(&seen.name),
            None => home.of_thing(&one.thing).recognises(&seen.name),
        };
        Ok(self.things()?.into_iter().find(ours).map(|one| one.thing))
    }

    /// A session with `thing` where it announces itself now: each place is tried until one shows its certificate, which is
    /// then remembered.
    ///
    /// # Errors
    /// [`ControlError::NotFound`] when none does within `wait`; [`ControlError::NoMulticast`].
    pub async fn session_found(
        &self,
        person: &PersonName,
        thing: &ThingId,
        port: u16,
        wait: Duration,
    ) -> Result<Session, ControlError> {
        let mut search = Search::start(port)?;
        let end = tokio::time::Instant::now() + wait;
        while let Ok(Some(seen)) = tokio::time::timeout_at(end, search.next()).await {
            if self.recognise(&seen)?.as_ref() != Some(thing) {
                continue;
            }
            for address in seen.addresses {
                match self.session(person, thing, Some(address)).await {
                    Ok(session) => {
                        self.moved(thing, address)?;
                        return Ok(session);
                    }
                    Err(error) => tracing::info!(%address, %error, "discovery: not there"),
                }
            }
        }
        Err(ControlError::NotFound(thing.to_string(), wait))
    }

    //= specs/house.md#house-discovery
    //# An address that discovery gave MUST be believed only after the device there has shown its certificate.
    /// The waiting device whose label says `thing`, searched for `wait`: each that may be it is asked for its factory
    /// certificate under `roots`, and nothing else is said.
    ///
    /// # Errors
    /// [`ControlError::NotFound`], [`ControlError::NoMulticast`].
    pub async fn find_waiting(
        &self,
        thing: &ThingId,
        roots: &[Certificate],
        port: u16,
        wait: Duration,
    ) -> Result<SocketAddr, ControlError> {
        let mut search = Search::start(port)?;
        let end = tokio::time::Instant::now() + wait;
        while let Ok(Some(seen)) = tokio::time::timeout_at(end, search.next()).await {
            if !seen.may_be(thing) {
                continue;
            }
            for address in seen.addresses {
                if self.open_door(&PAIRING, thing, address, roots).await.is_ok() {
                    return Ok(address);
                }
            }
        }
        Err(ControlError::NotFound(thing.to_string(), wait))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use countersign_crypto::random::SystemRandom;
    use countersign_crypto::tls::{Clock, SystemClock};
    use countersign_protocol::discovery::Pseudonym;

    //= specs/house.md#house-discovery
    //= type=test
    //# A controller of the home MUST recognise its devices, and nobody else MUST be able to tell two epochs of one device from two devices.
    #[test]
    fn who_joined_recognises_the_device_in_somebody_else_s_home() {
        let folder = tempfile::tempdir().unwrap();
        let home =
            |name: &str| Home::create(&folder.path().join(name), name.parse().unwrap()).unwrap();
        let [ada, sam, eve] = ["ada", "sam", "eve"].map(home);
        let thing: ThingId = "plug-000001".parse().unwrap();
        let key = HomeKey::of_anchor(&ada.anchor().spki_der()).of_thing(&thing);
        let known = |discovery, person: Option<&str>| PairedThing {
            thing: thing.clone(),
            address: SocketAddr::from(([127, 0, 0, 1], 8443)),
            paired_at: SystemClock.now(),
            description_sha256: String::new(),
            person: person.map(|person| person.parse().unwrap()),
            discovery,
        };
        ada.remember(&known(None, None), &[]).unwrap();
        sam.remember(&known(Some(key.clone()), Some("sam")), &[]).unwrap();
        eve.remember(&known(None, Some("eve")), &[]).unwrap();
        let name = Pseudonym::in_home(&key, &mut SystemRandom).as_str().to_owned();
        let seen = Seen { name, waiting: false, addresses: Vec::new() };
        assert_eq!(ada.recognise(&seen).unwrap(), Some(thing.clone()));
        assert_eq!(sam.recognise(&seen).unwrap(), Some(thing.clone()));
        assert_eq!(eve.recognise(&seen).unwrap(), None);
    }
}
