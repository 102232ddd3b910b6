//! Who gets how much of the local API: connections, requests, failures and streams, by address and by subject.
//!
//! ```text
//!  arrive(address) ─► handshaking ─► opened(person?) ─► request … denied … stream ─► left
//!        │                │                 │
//!        └ refused        └ gives way       └ gives way
//! ```
//! A core: the caller says what happens and when, and carries out what comes back. Whoever has most gives way, so that a
//! flood costs the one who makes it. Places are never waited for: a newcomer is let in or turned away at once.

mod rate;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

use countersign_model::id::PersonName;
use rate::{Bucket, Memory, Rate};
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

/// Connections with their handshake done: a household's telephones and one bridge.
pub const MAX_CONNECTIONS: usize = 32;
/// Connections of one person, or of one address without a certificate: a telephone, its streams, a bridge.
pub const MAX_CONNECTIONS_OF_ONE: usize = 8;
/// Connections in their handshake: each costs a signature and some 64 KiB.
pub const MAX_HANDSHAKES: usize = 16;
/// The same from one address.
pub(super) const MAX_HANDSHAKES_OF_ONE: usize = 8;
/// Event streams at once.
pub const MAX_STREAMS: usize = 32;
/// Event streams of one person, or of one address without a certificate.
pub const MAX_STREAMS_OF_ONE: usize = 8;
/// New connections from one address: an ordinary client makes one, a test laboratory some hundreds in a row.
const ARRIVALS: Rate = Rate { burst: 512, per_second: 32 };
/// Requests from one address, whoever makes them: a bridge speaks for a household.
const REQUESTS_OF_ADDRESS: Rate = Rate { burst: 512, per_second: 128 };
/// Requests of one person.
const REQUESTS_OF_PERSON: Rate = Rate { burst: 256, per_second: 64 };
/// Failed handshakes, and refusals without a person, from one address.
const FAILURES_OF_ADDRESS: Rate = Rate { burst: 512, per_second: 8 };
/// Refusals and malformed requests of one person.
const FAILURES_OF_PERSON: Rate = Rate { burst: 128, per_second: 4 };

/// Where from: an IPv4 address, or the network of an IPv6 one, all of whose addresses one machine can take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Source(IpAddr);

impl Source {
    pub(super) fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V6(v6) => Self(IpAddr::V6((u128::from(v6) >> 64 << 64).into())),
            v4 => Self(v4),
        }
    }
}

/// Whose connection: a person's, or an address's without one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Holder {
    Person(PersonName),
    Stranger(Source),
}

/// One connection, for as long as it lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ConnectionId(u64);

struct Connection {
    source: Source,
    /// None while in its handshake.
    holder: Option<Holder>,
}

/// Turned away: too much from there, or too much altogether.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TooMuch;

struct OfAddress {
    /// Somebody with a role at this device came from there.
    known: bool,
    arrivals: Bucket,
    requests: Bucket,
    failures: Bucket,
}

struct OfPerson {
    requests: Bucket,
    failures: Bucket,
}

/// The limits of one local API.
pub(super) struct Limits {
    connections: BTreeMap<ConnectionId, Connection>,
    next: u64,
    streams: BTreeMap<Holder, usize>,
    addresses: Memory<Source, OfAddress>,
    persons: Memory<PersonName, OfPerson>,
}

//= specs/house.md#house-gate
//# Failures and rates MUST be bounded per subject and per address.
impl Limits {
    pub(super) fn new() -> Self {
        Self {
            connections: BTreeMap::new(),
            next: 0,
            streams: BTreeMap::new(),
            addresses: Memory::new(),
            persons: Memory::new(),
        }
    }

    /// A connection from `source`: its number, and the one in its handshake that gives way to it.
    pub(super) fn arrive(
        &mut self,
        source: Source,
        now: Duration,
    ) -> Result<(ConnectionId, Option<ConnectionId>), TooMuch> {
        let address = self.address(source, now);
        if !address.failures.left(FAILURES_OF_ADDRESS, now)
            || !address.arrivals.spend(ARRIVALS, now)
        {
            return Err(TooMuch);
        }
        let counts = self.counts(|one| one.holder.is_none().then_some(one.source));
        let of_this = counts.get(&source).copied().unwrap_or(0);
        let gives_way = if of_this >= MAX_HANDSHAKES_OF_ONE {
            self.oldest(|one| one.holder.is_none() && one.source == source)
        } else if counts.values().sum::<usize>() >= MAX_HANDSHAKES {
            self.least_wanted(&counts)
        } else {
            None
        };
        gives_way.map(|one| self.connections.remove(&one));
        let id = ConnectionId(self.next);
        self.next += 1;
        self.connections.insert(id, Connection { source, holder: None });
        Ok((id, gives_way))
    }

    /// The handshake of `id` is done, and this is who it is, with a role at this device or without. The open connection that
    /// gives way to it, if one must.
    pub(super) fn opened(
        &mut self,
        id: ConnectionId,
        person: Option<PersonName>,
        has_role: bool,
        now: Duration,
    ) -> Result<Option<ConnectionId>, TooMuch> {
        let source = self.connections.get(&id).ok_or(TooMuch)?.source;
        self.address(source, now).known |= has_role;
        let holder = person.map_or(Holder::Stranger(source), Holder::Person);
        let counts = self.counts(|one| one.holder.clone());
        let of_this = counts.get(&holder).copied().unwrap_or(0);
        let gives_way = if of_this >= MAX_CONNECTIONS_OF_ONE {
            self.oldest(|one| one.holder.as_ref() == Some(&holder))
        } else if counts.values().sum::<usize>() >= MAX_CONNECTIONS {
            // Strangers go before persons, then whoever has most; nobody gives way to one who has as many.
            let weight = |holder: &Holder, count| (matches!(holder, Holder::Stranger(_)), count);
            let most = counts.iter().max_by_key(|(holder, count)| weight(holder, **count));
            let (most, count) = most.ok_or(TooMuch)?;
            if weight(most, *count) <= weight(&holder, of_this + 1) {
                self.connections.remove(&id);
                return Err(TooMuch);
            }
            self.oldest(|one| one.holder.as_ref() == Some(most))
        } else {
            None
        };
        gives_way.map(|one| self.connections.remove(&one));
        self.connections.get_mut(&id).ok_or(TooMuch)?.holder = Some(holder);
        Ok(gives_way)
    }

    /// The connection is over; nothing happens when it gave way already.
    pub(super) fn left(&mut self, id: ConnectionId) {
        self.connections.remove(&id);
    }

    /// Whether a request may be looked at.
    pub(super) fn request(
        &mut self,
        source: Source,
        holder: &Holder,
        now: Duration,
    ) -> Result<(), TooMuch> {
        let within = match holder {
            Holder::Stranger(_) => {
                self.address(source, now).failures.left(FAILURES_OF_ADDRESS, now)
            }
            Holder::Person(name) => {
                let person = self.person(name, now);
                person.failures.left(FAILURES_OF_PERSON, now)
                    && person.requests.spend(REQUESTS_OF_PERSON, now)
            }
        };
        // What a person is denied costs the address nothing: others share it.
        let within = within && self.address(source, now).requests.spend(REQUESTS_OF_ADDRESS, now);
        if within { Ok(()) } else { Err(TooMuch) }
    }

    /// A handshake that failed.
    pub(super) fn handshake_failed(&mut self, source: Source, now: Duration) {
        self.address(source, now).failures.spend(FAILURES_OF_ADDRESS, now);
    }

    /// A request that was refused or malformed.
    pub(super) fn failed(&mut self, holder: &Holder, now: Duration) {
        match holder {
            Holder::Stranger(source) => self.handshake_failed(*source, now),
            Holder::Person(name) => {
                self.person(name, now).failures.spend(FAILURES_OF_PERSON, now);
            }
        }
    }

    /// A place for one more event stream.
    pub(super) fn stream(&mut self, holder: &Holder) -> Result<(), TooMuch> {
        let of_this = self.streams.get(holder).copied().unwrap_or(0);
        if of_this >= MAX_STREAMS_OF_ONE || self.streams.values().sum::<usize>() >= MAX_STREAMS {
            return Err(TooMuch);
        }
        self.streams.insert(holder.clone(), of_this + 1);
        Ok(())
    }

    /// The stream is over.
    pub(super) fn stream_over(&mut self, holder: &Holder) {
        let left = self.streams.get(holder).copied().unwrap_or(0).saturating_sub(1);
        if left == 0 {
            self.streams.remove(holder);
        } else {
            self.streams.insert(holder.clone(), left);
        }
    }

    /// Of the handshakes, one from where nobody with a role has come from yet and where most come from; the oldest of those.
    fn least_wanted(&self, counts: &BTreeMap<Source, usize>) -> Option<ConnectionId> {
        let unknown =
            |source| !self.addresses.entries.get(source).is_some_and(|(_, one)| one.known);
        let waiting = self.connections.iter().filter(|(_, one)| one.holder.is_none());
        let weight = |source| (unknown(source), counts.get(source).copied());
        waiting.max_by_key(|(id, one)| (weight(&one.source), Reverse(**id))).map(|(id, _)| *id)
    }

    fn counts<K: Ord>(&self, key: impl Fn(&Connection) -> Option<K>) -> BTreeMap<K, usize> {
        let mut counts = BTreeMap::new();
        for key in self.connections.values().filter_map(key) {
            *counts.entry(key).or_insert(0) += 1;
        }
        counts
    }

    /// Numbers grow: the smallest is the oldest.
    fn oldest(&self, which: impl Fn(&Connection) -> bool) -> Option<ConnectionId> {
        self.connections.iter().find(|(_, one)| which(one)).map(|(id, _)| *id)
    }

    fn address(&mut self, source: Source, now: Duration) -> &mut OfAddress {
        self.addresses.of(&source, now, || OfAddress {
            known: false,
            arrivals: Bucket::full(ARRIVALS, now),
            requests: Bucket::full(REQUESTS_OF_ADDRESS, now),
            failures: Bucket::full(FAILURES_OF_ADDRESS, now),
        })
    }

    fn person(&mut self, name: &PersonName, now: Duration) -> &mut OfPerson {
        self.persons.of(name, now, || OfPerson {
            requests: Bucket::full(REQUESTS_OF_PERSON, now),
            failures: Bucket::full(FAILURES_OF_PERSON, now),
        })
    }
}
