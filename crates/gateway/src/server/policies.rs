//! The engine's part in a change of policy: whom a channel lets in, visits at the update door, documents and goodbyes in time.

use super::changeover::{Changeover, Due};
use super::connection::Outbox;
use super::engine::Engine;
use crate::broker::door::{Door, DoorOutput};
use crate::broker::message::Payload;
use crate::broker::status::ChannelFacts;
use crate::broker::{CloseReason, ConnId};
use crate::directory::PeerFacts;
use crate::policy::PolicyKeeper;
use crate::store::fleet::HeldPolicy;
use crate::store::writer::Job;
use countersign_crypto::policy::PolicyDigest;
use countersign_model::id::ThingId;
use countersign_model::topic::PolicyReport;
use countersign_protocol::permit::door::Admission;
use countersign_protocol::permit::messaging::MessagingSubject;
use std::collections::HashMap;
use std::sync::Arc;

/// Visits at the update door at once. A visit takes a second; the rest of a large fleet comes again after its own pause.
const MAX_VISITS: usize = 1024;

/// What the engine knows of policies.
pub(super) struct Policies {
    keeper: Option<Arc<PolicyKeeper>>,
    changeover: Changeover,
    visits: HashMap<ConnId, Visit>,
}

struct Visit {
    door: Door,
    peer: PeerFacts,
    subject: String,
    outbox: Outbox,
}

impl Policies {
    pub(super) fn new(keeper: Option<Arc<PolicyKeeper>>) -> Self {
        Self { keeper, changeover: Changeover::default(), visits: HashMap::new() }
    }

    /// When something is due, on the monotonic clock.
    pub(super) fn next(&self) -> Option<u64> {
        let visits = self.visits.values().map(|visit| visit.door.ends_at());
        visits.chain(self.changeover.next()).min()
    }

    pub(super) fn has_visit(&self, conn: ConnId) -> bool {
        self.visits.contains_key(&conn)
    }

    /// A connection has ended.
    pub(super) fn forget(&mut self, conn: ConnId) {
        self.visits.remove(&conn);
        self.changeover.forget(conn);
    }
}

impl Engine {
    /// Judges the channel of a peer whom the directory admits. The outbox comes back where it has a session; else this is a
    /// visit at the update door, or the end.
    //= specs/house.md#house-channel
    //# A channel MUST use only versions, suites, groups and signature schemes that the crypto
    //# policy allows.
    pub(super) fn by_policy(
        &mut self,
        conn: ConnId,
        peer: &PeerFacts,
        subject: &MessagingSubject,
        channel: &ChannelFacts,
        outbox: Outbox,
    ) -> Option<Outbox> {
        let Some(keeper) = self.policies.keeper.clone() else { return Some(outbox) };
        let now = self.clock.now();
        let (document, why) = match keeper.judge(channel, now.wall) {
            Admission::Admitted(permit) => {
                keeper.carried(&permit, now.wall);
                return Some(outbox);
            }
            Admission::UpdateOnly(permit) => {
                (keeper.document(permit.gives().digest()), permit.reason())
            }
            Admission::Refused(refused) => (None, refused.to_string()),
        };
        tracing::info!(conn = conn.0, %subject, %why, "at the update door");
        if self.policies.visits.len() >= MAX_VISITS {
            outbox.close();
            return None;
        }
        let door = match document {
            Some(document) => Door::new(subject, document, why, now.monotonic),
            None => Door::closed(why, now.monotonic),
        };
        let (peer, subject) = (peer.clone(), subject.to_string());
        self.policies.visits.insert(conn, Visit { door, peer, subject, outbox });
        None
    }

    /// Bytes from a visitor.
    pub(super) fn visitor_said(&mut self, conn: ConnId, bytes: &[u8]) {
        let now = self.clock.now().monotonic;
        let Some(visit) = self.policies.visits.get_mut(&conn) else { return };
        let outputs = visit.door.received(bytes, now);
        self.attend(conn, outputs);
    }

    fn attend(&mut self, conn: ConnId, outputs: Vec<DoorOutput>) {
        for output in outputs {
            let Some(visit) = self.policies.visits.get(&conn) else { return };
            match output {
                DoorOutput::Transmit(bytes) => {
                    if !visit.outbox.send(bytes) {
                        return self.visit_over(conn);
                    }
                }
                DoorOutput::State(_, payload) => {
                    let subject = visit.subject.clone();
                    self.note_report(&subject, &payload);
                }
                DoorOutput::Close => return self.visit_over(conn),
            }
        }
    }

    fn visit_over(&mut self, conn: ConnId) {
        if let Some(visit) = self.policies.visits.remove(&conn) {
            tracing::info!(conn = conn.0, subject = visit.subject, "the visit is over");
            visit.outbox.close();
        }
    }

    /// Whoever was revoked meanwhile leaves the door too.
    pub(super) fn rejudge_visits(&mut self) {
        let directory = self.directory.clone();
        let refused = |visit: &Visit| directory.admit(&visit.peer).is_err();
        let gone: Vec<ConnId> = self
            .policies
            .visits
            .iter()
            .filter(|(_, v)| refused(v))
            .map(|(conn, _)| *conn)
            .collect();
        gone.into_iter().for_each(|conn| self.visit_over(conn));
    }

    /// Another policy, or another use of the same: open sessions are judged again.
    pub(super) fn policy_changed(&mut self) {
        let Some(keeper) = self.policies.keeper.clone() else { return };
        let (door, now) = (keeper.door(), self.clock.now());
        let open = self.broker.connections();
        self.policies.changeover.plan(&door, &open, now.monotonic, now.wall, &mut self.random);
    }

    /// What a device says of its policy.
    pub(super) fn policy_state(&mut self, conn: ConnId, thing: &ThingId, payload: &Payload) {
        let subject = MessagingSubject::Device(thing.clone()).to_string();
        let Some(report) = self.note_report(&subject, payload) else { return };
        let Some(keeper) = self.policies.keeper.clone() else { return };
        if self.policies.changeover.holds(conn, report.version, &keeper.door()) {
            self.tell(conn, thing, &keeper);
        }
    }

    fn note_report(&self, subject: &str, payload: &Payload) -> Option<PolicyReport> {
        let Some(report) = PolicyReport::from_json(payload) else {
            tracing::info!(subject, "a policy report that is none");
            return None;
        };
        let (version, at) = (report.version, self.clock.now().wall);
        match &report.refused {
            Some(refused) => tracing::warn!(
                target: "countersign::audit", subject, version, phase = report.phase.as_str(),
                refused = refused.version, reason = refused.reason, "policy refused by a device"
            ),
            None => tracing::info!(subject, version, phase = report.phase.as_str(), "policy held"),
        }
        self.job(Job::Policy(HeldPolicy { subject: subject.to_owned(), version, at }));
        Some(report)
    }

    fn tell(&mut self, conn: ConnId, thing: &ThingId, keeper: &PolicyKeeper) {
        let digest: PolicyDigest = keeper.in_force().digest;
        let Some(document) = keeper.document(digest) else { return };
        tracing::info!(conn = conn.0, %thing, %digest, "policy given");
        self.policies.changeover.told(conn, digest);
        self.with(|broker, context, _| ((), broker.tell_policy(context, thing, &document)));
    }

    /// Does what is due.
    pub(super) fn policies_tick(&mut self) {
        let now = self.clock.now().monotonic;
        let late: Vec<ConnId> = self
            .policies
            .visits
            .iter()
            .filter(|(_, visit)| visit.door.ends_at() <= now)
            .map(|(conn, _)| *conn)
            .collect();
        for conn in late {
            let visit = self.policies.visits.get_mut(&conn);
            let outputs = visit.map(|visit| visit.door.tick(now)).unwrap_or_default();
            self.attend(conn, outputs);
        }
        while let Some((conn, due)) = self.policies.changeover.take(now) {
            match due {
                Due::Close(why) => self.with(|broker, context, _| {
                    ((), broker.close_one(context, conn, CloseReason::Policy(why)))
                }),
                Due::Tell => {
                    let keeper = self.policies.keeper.clone();
                    if let (Some(keeper), Some(thing)) = (keeper, self.broker.thing_of(conn)) {
                        self.tell(conn, &thing, &keeper);
                    }
                }
            }
        }
    }
}
