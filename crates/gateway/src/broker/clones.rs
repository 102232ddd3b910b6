//! One identity in two places, as connections show it: who was displaced and answered, and who goes on beside another.

use super::{Broker, CloseReason, Conn, ConnId, Context, Now, Output};
use crate::clones::{BESIDE, CloneSeen, Overlaps, Place, Sighting};
use countersign_model::id::ThingId;
use countersign_model::time::Timestamp;
use countersign_protocol::permit::messaging::MessagingSubject;
use std::collections::HashMap;

/// A connection of the same device that began later, from another place.
#[derive(Debug, Clone, Copy)]
pub(super) struct Beside {
    newer: ConnId,
    /// When the first of them began, or when an overlap was last seen; on the monotonic clock.
    since: u64,
}

/// What is known of devices that may be in two places.
pub(super) struct Clones {
    overlaps: Overlaps,
    /// Displaced connections whose answer is listened for, until the shell has closed them.
    displaced: HashMap<ConnId, CloneSeen>,
    /// How many those are of each device.
    listened: HashMap<ThingId, usize>,
}

/// Connections of one device whose answers are listened for at once. More than one, since whoever displaces himself from
/// address to address must not keep us from hearing the device.
const LISTENED: usize = 4;

impl Clones {
    /// `room`: the most devices that are remembered.
    pub(super) fn new(room: usize) -> Self {
        Self { overlaps: Overlaps::new(room), displaced: HashMap::new(), listened: HashMap::new() }
    }

    /// The shell has closed it.
    pub(super) fn forget(&mut self, conn: ConnId) -> Option<CloneSeen> {
        let seen = self.displaced.remove(&conn)?;
        if let Some(count) = self.listened.get_mut(&seen.thing) {
            *count -= 1;
            if *count == 0 {
                self.listened.remove(&seen.thing);
            }
        }
        Some(seen)
    }

    fn may_listen(&self, thing: &ThingId, now: Now) -> bool {
        self.listened.get(thing).is_none_or(|count| *count < LISTENED)
            && self.overlaps.counts(thing, now.monotonic)
    }
}

impl Broker {
    /// Why `other` ends, whose session `conn` takes: where it could show that both live, its answer is listened for.
    pub(super) fn taken_over(&mut self, other: ConnId, conn: ConnId, now: Now) -> CloseReason {
        let both = (self.conns.get(&other), self.conns.get(&conn));
        let (Some(older), Some(newer)) = both else { return CloseReason::TakenOver };
        let seen = elsewhere(older, newer, now);
        let seen = seen.filter(|seen| self.clones.may_listen(&seen.thing, now));
        let Some(seen) = seen else { return CloseReason::TakenOver };
        *self.clones.listened.entry(seen.thing.clone()).or_default() += 1;
        self.clones.displaced.insert(other, seen);
        CloseReason::Displaced
    }

    //= specs/house.md#house-clones
    //# A device's identity that is used from two places at once MUST raise an alarm.
    /// Whoever was displaced has taken its goodbye: its client lived when the other one had begun.
    pub(super) fn answered(&mut self, conn: ConnId, context: &mut Context<'_>) {
        if let Some(mut seen) = self.clones.forget(conn) {
            seen.older.heard = context.now.wall;
            self.overlapped(seen, context.now);
        }
    }

    /// A session has begun: older ones of the same device in other places are beside it from now on. A host that speaks IPv4
    /// and IPv6 is in one place, whatever its clients chose.
    pub(super) fn beside_others(&mut self, conn: ConnId, now: Now) {
        let Some(newer) = self.conns.get(&conn) else { return };
        let Some(session) = newer.session.and_then(|id| self.sessions.get(&id)) else { return };
        let own = self.sessions_of(&session.name.subject);
        let others = own.iter().filter_map(|id| self.sessions.get(id)?.conn);
        let beside = |other: &ConnId| {
            let Some(older) = self.conns.get(other) else { return false };
            let (Some(a), Some(b)) = (place(older), place(newer)) else { return false };
            *other != conn && a.same_family(b) && elsewhere(older, newer, now).is_some()
        };
        let others: Vec<ConnId> = others.filter(beside).collect();
        for other in others {
            let Some(older) = self.conns.get_mut(&other) else { continue };
            let since = older.beside.map_or(now.monotonic, |beside| beside.since);
            older.beside = Some(Beside { newer: conn, since });
        }
    }

    /// A connection was heard that has, or had, another one beside it.
    pub(super) fn heard_beside(&mut self, conn: ConnId, now: Now) {
        let Some(older) = self.conns.get(&conn) else { return };
        let Some(beside) = older.beside else { return };
        let Some(newer) = self.conns.get(&beside.newer) else { return };
        // Both have spoken since.
        if now.monotonic < beside.since + BESIDE || newer.last_heard <= beside.since {
            return;
        }
        let Some(seen) = elsewhere(older, newer, now) else { return };
        if let Some(older) = self.conns.get_mut(&conn) {
            older.beside = Some(Beside { since: now.monotonic, ..beside });
        }
        self.overlapped(seen, now);
    }

    fn overlapped(&mut self, seen: CloneSeen, now: Now) {
        if self.clones.overlaps.note(&seen.thing, now.monotonic) {
            self.out.push(Output::Clone(Box::new(seen)));
        }
    }
}

fn place(open: &Conn) -> Option<Place> {
    open.channel.remote.map(|remote| Place::of(remote.ip()))
}

/// Two connections of one device from two places, as they stand.
fn elsewhere(older: &Conn, newer: &Conn, now: Now) -> Option<CloneSeen> {
    let MessagingSubject::Device(thing) = &newer.subject else { return None };
    if place(older)? == place(newer)? {
        return None;
    }
    let sighting = |open: &Conn| {
        let silent = now.monotonic.saturating_sub(open.last_heard);
        Some(Sighting {
            address: open.channel.remote?.ip().to_canonical(),
            since: open.opened_at,
            heard: Timestamp(now.wall.0.saturating_sub(silent)),
            serial: open.peer.serial_hex.clone(),
            spki_sha256: open.peer.spki_sha256.clone(),
        })
    };
    Some(CloneSeen { thing: thing.clone(), older: sighting(older)?, newer: sighting(newer)? })
}
