//! Open sessions after a change of policy: who is told, and who is closed, each at a moment of its own.
//!
//! No clock and no randomness: the engine brings both. The verdicts are `protocol::policy::rejudge`'s.

use crate::broker::ConnId;
use crate::broker::policy::Judged;
use crate::policy::with_names;
use countersign_crypto::policy::{PolicyDigest, Use};
use countersign_crypto::random::Random;
use countersign_model::time::Timestamp;
use countersign_protocol::policy::{Door, SessionVerdict, rejudge, spread, within};
use countersign_protocol::rotation::Jitter;
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

/// How long a device has to follow a policy by itself before its session, which only an older one allows, is closed.
const GRACE: Duration = Duration::from_secs(5);

/// What is to be done about one connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Due {
    /// Give the device the policy in force.
    Tell,
    /// Close it, and say this.
    Close(String),
}

/// Everything that is still to be done. Each connection has at most one of each kind in it, so it is bounded by the connections.
#[derive(Debug, Default)]
pub(super) struct Changeover {
    due: BTreeMap<(u64, ConnId, bool), Due>,
    /// Which policy each connection was given last: once is enough, and a device that refused it must not be asked in a loop.
    told: HashMap<ConnId, PolicyDigest>,
    /// Which version each device says that it holds.
    held: HashMap<ConnId, u64>,
}

impl Changeover {
    /// The policy has changed: plans anew for every open connection. `monotonic`: milliseconds.
    pub(super) fn plan(
        &mut self,
        door: &Door,
        open: &[Judged],
        monotonic: u64,
        now: Timestamp,
        random: &mut dyn Random,
    ) {
        self.due.clear();
        let spread = spread(open.len());
        for one in open {
            let mut jitter = || Jitter(u16::from_le_bytes(random.array()));
            let verdict = with_names(&one.channel, |names| {
                rejudge(door, Use::DeviceUplink, names, now, spread, jitter())
            });
            if let SessionVerdict::CloseAfter { delay, reason } = verdict {
                let at = monotonic + millis(GRACE + delay);
                self.due.insert((at, one.conn, true), Due::Close(reason));
            }
            let active = door.active();
            let behind = self.held.get(&one.conn).is_none_or(|held| *held < active.version());
            if one.thing.is_some() && behind && self.told.get(&one.conn) != Some(&active.digest()) {
                let at = monotonic + millis(within(spread, jitter()));
                self.due.insert((at, one.conn, false), Due::Tell);
            }
        }
    }

    /// A device says that it holds `version`. Whether it is to be given the policy in force now.
    pub(super) fn holds(&mut self, conn: ConnId, version: u64, door: &Door) -> bool {
        self.held.insert(conn, version);
        let active = door.active();
        version < active.version() && self.told.get(&conn) != Some(&active.digest())
    }

    /// The device was given this policy.
    pub(super) fn told(&mut self, conn: ConnId, digest: PolicyDigest) {
        self.told.insert(conn, digest);
    }

    /// The connection is gone.
    pub(super) fn forget(&mut self, conn: ConnId) {
        self.told.remove(&conn);
        self.held.remove(&conn);
    }

    /// When something is due, on the monotonic clock.
    pub(super) fn next(&self) -> Option<u64> {
        self.due.keys().next().map(|(at, ..)| *at)
    }

    /// What is due at `monotonic`.
    pub(super) fn take(&mut self, monotonic: u64) -> Option<(ConnId, Due)> {
        let first = self.due.first_entry()?;
        let (at, conn, _) = *first.key();
        (at <= monotonic).then(|| (conn, first.remove()))
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
