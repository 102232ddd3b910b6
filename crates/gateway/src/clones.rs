//! One identity in two places at once: what shows it, how often it must be seen, and what is said of it.
//!
//! ```text
//!  place a  ──●─────────●────────┃──► takes its goodbye, or goes on speaking      an *overlap*: the client at a lives
//!  place b                ○──────┃── has begun as the same device                 after the one at b has begun
//! ```
//! A device that moved has given its old connection up before it opens the next, so nobody answers there, however often it
//! moves and wherever it comes back to. Two devices with one identity answer each other for as long as both want in.
//! Services are not looked at: several clients of one service in several places are what services are made of.

use countersign_model::id::ThingId;
use countersign_model::time::Timestamp;
use serde::Serialize;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};

/// Overlaps within [`WINDOW`] that make a clone. A client that opens its next connection before it gives up the last has one
/// overlap a move, and may move five times an hour; two clients that want the same session reach six within six of their
/// pauses, which is half a minute for most.
pub const OVERLAPS: usize = 6;

/// How long overlaps count, and how long a device's alarm is not repeated, in milliseconds: an hour. Pauses between attempts
/// to connect are seconds to minutes, moves between networks minutes to hours.
pub const WINDOW: u64 = 3_600_000;

/// Overlaps closer than this count as one, in milliseconds: what crossed on the way at one change of hands.
pub const APART: u64 = 1_000;

/// How long two connections must both go on speaking for one overlap, in milliseconds: a client that moves may drain its old
/// connection for as long.
pub const BESIDE: u64 = 60_000;

/// How long one may take to answer its goodbye, in milliseconds: a round trip over a satellite, and a slow device.
pub const ANSWER: u64 = 2_000;

/// Where a connection comes from, as far as one host may have several addresses: an IPv6 network of 64 bits is one place, for
/// its hosts change their addresses in it as they like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place(Network);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Network {
    V4(Ipv4Addr),
    V6(u64),
}

impl Place {
    /// The place of an address; IPv4 in IPv6's clothes is IPv4.
    #[must_use]
    pub fn of(address: IpAddr) -> Self {
        Self(match address.to_canonical() {
            IpAddr::V4(address) => Network::V4(address),
            IpAddr::V6(address) => {
                let high = u128::from(address) >> 64;
                Network::V6(u64::try_from(high).unwrap_or_default())
            }
        })
    }

    /// Whether one host cannot be at both by speaking IPv4 and IPv6 at once.
    #[must_use]
    pub const fn same_family(self, other: Self) -> bool {
        matches!(
            (self.0, other.0),
            (Network::V4(_), Network::V4(_)) | (Network::V6(_), Network::V6(_))
        )
    }
}

/// One of the two connections. No secret is in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Sighting {
    /// Where it came from.
    pub address: IpAddr,
    /// When it was opened.
    pub since: Timestamp,
    /// When its client was heard last.
    pub heard: Timestamp,
    /// The serial number of its certificate, lower-case hexadecimal.
    pub serial: String,
    /// SHA-256 of its public key (SubjectPublicKeyInfo, DER), lower-case hexadecimal.
    pub spki_sha256: String,
}

/// A device's identity is in two places. Told once in [`WINDOW`] of each device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CloneSeen {
    /// Whose identity.
    pub thing: ThingId,
    /// The connection that lived on.
    pub older: Sighting,
    /// The one that had begun elsewhere meanwhile.
    pub newer: Sighting,
}

impl CloneSeen {
    /// Both addresses, the same for either order: what an alarm is counted by.
    #[must_use]
    pub fn places(&self) -> String {
        let [a, b] = [self.older.address, self.newer.address];
        format!("{} and {}", a.min(b), a.max(b))
    }

    /// What the two had to show.
    #[must_use]
    pub fn shown(&self) -> &'static str {
        match (self.older.serial == self.newer.serial, self.same_key()) {
            (true, _) => "one certificate",
            (false, true) => "two certificates of one key",
            (false, false) => "two certificates of two keys",
        }
    }

    fn same_key(&self) -> bool {
        self.older.spki_sha256 == self.newer.spki_sha256
    }
}

/// The overlaps of the last hour, of as many devices as there is room for.
#[derive(Debug)]
pub(crate) struct Overlaps {
    /// The most devices: each has overlapped within the hour, and had a session for that.
    room: usize,
    devices: HashMap<ThingId, Record>,
}

#[derive(Debug, Default)]
struct Record {
    /// When, on the monotonic clock, oldest first; [`OVERLAPS`] at most.
    at: Vec<u64>,
    /// When it was told.
    told: Option<u64>,
}

impl Record {
    fn newest(&self) -> u64 {
        self.at.last().copied().max(self.told).unwrap_or_default()
    }
}

//= specs/house.md#house-clones
//# What is remembered of clones MUST be bounded, and a device's alarm MUST be raised once an hour at most.
impl Overlaps {
    pub(crate) fn new(room: usize) -> Self {
        Self { room: room.max(1), devices: HashMap::new() }
    }

    /// Whether an overlap would count now.
    pub(crate) fn counts(&self, thing: &ThingId, now: u64) -> bool {
        let last = self.devices.get(thing).and_then(|one| one.at.last());
        last.is_none_or(|last| now.saturating_sub(*last) >= APART)
    }

    /// An overlap. Whether it shall be told that the device has a clone. `now`: milliseconds on the monotonic clock.
    pub(crate) fn note(&mut self, thing: &ThingId, now: u64) -> bool {
        if !self.counts(thing, now) {
            return false;
        }
        if !self.devices.contains_key(thing) {
            self.make_room(now);
        }
        let one = self.devices.entry(thing.clone()).or_default();
        one.at.retain(|at| now.saturating_sub(*at) < WINDOW);
        if one.at.len() >= OVERLAPS {
            one.at.remove(0);
        }
        one.at.push(now);
        let quiet = one.told.is_none_or(|told| now.saturating_sub(told) >= WINDOW);
        let told = quiet && one.at.len() >= OVERLAPS;
        if told {
            one.told = Some(now);
        }
        told
    }

    /// Forgets what counts no more, and where that is not enough, whoever was quiet for longest.
    fn make_room(&mut self, now: u64) {
        if self.devices.len() < self.room {
            return;
        }
        self.devices.retain(|_, one| now.saturating_sub(one.newest()) < WINDOW);
        while self.devices.len() >= self.room {
            let quietest = self.devices.iter().min_by_key(|(_, one)| one.newest());
            let Some(thing) = quietest.map(|(thing, _)| thing.clone()) else { return };
            self.devices.remove(&thing);
        }
    }
}

#[cfg(test)]
mod tests;
