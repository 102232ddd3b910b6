//! The engine's part in a root's roll: devices are given what their authority stated, and what they say of it is noted.

use super::engine::Engine;
use crate::broker::ConnId;
use crate::broker::message::Payload;
use crate::store::fleet::HeldRoot;
use crate::store::writer::Job;
use countersign_model::id::ThingId;
use countersign_model::topic::AnchorReport;
use countersign_protocol::anchors::RootLine;
use countersign_protocol::permit::messaging::MessagingSubject;

impl Engine {
    /// The authority has stated another line of roots, or the gateway has begun.
    pub(super) fn roots_stated(&mut self, line: RootLine) {
        if self.telling.is(&line) {
            return;
        }
        // Whoever is connected now is awake, however long ago the connection began.
        let at = self.clock.now().wall;
        for thing in self.broker.connections().into_iter().filter_map(|one| one.thing) {
            let subject = MessagingSubject::Device(thing).to_string();
            self.job(Job::Root(HeldRoot { subject, root: None, floor: None, at }));
        }
        for (conn, chain) in self.telling.replace(line) {
            self.tell_anchors(conn, &chain);
        }
    }

    /// What a device says of the newest root that it trusts.
    //= specs/house.md#house-anchors
    //# A gateway MUST note the newest root that each device has acknowledged.
    //= specs/house.md#house-anchors
    //# A gateway MUST note from which place on each device says that it trusts roots.
    pub(super) fn anchor_state(&mut self, conn: ConnId, thing: &ThingId, payload: &Payload) {
        let subject = MessagingSubject::Device(thing.clone()).to_string();
        let Some(report) = AnchorReport::from_json(payload) else {
            return tracing::info!(subject, "a report about roots that is none");
        };
        match &report.refused {
            Some(reason) => tracing::warn!(
                target: "countersign::audit", subject, root = report.root, reason,
                "a chain of roots was refused by a device"
            ),
            None => {
                tracing::info!(subject, root = report.root, floor = report.floor, "root trusted")
            }
        }
        if self.telling.is_strange(&report.root, report.floor) {
            tracing::warn!(
                target: "countersign::audit", subject, root = report.root, floor = report.floor,
                "a device trusts a root that is none of its maker's, or let go of what nobody withdrew: somebody may have led it away"
            );
        }
        let at = self.clock.now().wall;
        let (root, floor) = (Some(report.root.clone()), report.floor);
        self.job(Job::Root(HeldRoot { subject, root, floor, at }));
        if let Some(chain) = self.telling.hear(conn, &report.root, report.floor) {
            self.tell_anchors(conn, &chain);
        }
    }

    fn tell_anchors(&mut self, conn: ConnId, chain: &[u8]) {
        let Some(thing) = self.broker.thing_of(conn) else { return };
        tracing::info!(conn = conn.0, %thing, "statements about roots given");
        self.with(|broker, context, _| ((), broker.tell_anchors(context, &thing, chain)));
    }
}
