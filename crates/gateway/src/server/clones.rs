//! The engine's part in clones: whoever keeps the registry is told.

use super::engine::Engine;
use crate::clones::CloneSeen;

impl Engine {
    /// Somebody must hear of it. What is said here once an hour of a device is all that the log gets.
    pub(super) fn cloned(&self, seen: CloneSeen) {
        let (older, newer) = (&seen.older, &seen.newer);
        tracing::error!(
            target: "countersign::audit", thing = %seen.thing, shown = seen.shown(),
            older = %older.address, since = %older.since.to_rfc3339(), serial = older.serial,
            newer = %newer.address, newer_since = %newer.since.to_rfc3339(), newer_serial = newer.serial,
            "one identity is in two places"
        );
        // Where nobody takes them, or more come than anybody can, the line above is what there is.
        if self.clones.try_send(seen).is_err() {
            tracing::error!("it could not be told to the authority: too many wait already");
        }
    }
}
