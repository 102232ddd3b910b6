//! Messages to clients: routing, queues, the window of what is under way, acknowledgements.

use super::message::{Message, Qos};
use super::packet::{Outgoing, OutgoingPublish, code};
use super::record::{Record, Ticket};
use super::session::{Delivery, Inflight, SessionId};
use super::{Broker, ConnId, Now, Target};
use countersign_protocol::permit::messaging::{DeliverPermit, PublishPermit, judge_deliver};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The members of a shared subscription, served in turn.
#[derive(Debug, Default)]
pub(super) struct Group {
    pub(super) members: Vec<SessionId>,
    turn: usize,
}

/// What the matching subscriptions of one session ask for together.
struct Wanted {
    qos: Qos,
    retain_as_published: bool,
    subscription_ids: Vec<u32>,
}

impl Broker {
    /// Passes a permitted message to every session that asked for its topic; once to each, however many of its
    /// subscriptions match.
    pub(super) fn route(
        &mut self,
        permit: &PublishPermit,
        message: &Arc<Message>,
        from: Option<SessionId>,
        now: Now,
    ) {
        let mut wanted: BTreeMap<SessionId, Wanted> = BTreeMap::new();
        let mut groups = Vec::new();
        let (sessions, trie) = (&self.sessions, &self.trie);
        trie.matching(permit.topic(), |target| match target {
            Target::Group(filter) => groups.push(filter.clone()),
            Target::Session(id, filter) => {
                let Some(how) = sessions.get(id).and_then(|s| s.subscriptions.get(filter)) else {
                    return;
                };
                if how.no_local && from == Some(*id) {
                    return;
                }
                let entry = wanted.entry(*id).or_insert(Wanted {
                    qos: how.qos,
                    retain_as_published: false,
                    subscription_ids: Vec::new(),
                });
                entry.qos = entry.qos.max(how.qos);
                entry.retain_as_published |= how.retain_as_published;
                entry.subscription_ids.extend(how.id);
            }
        });
        for (id, how) in wanted {
            let retain = message.retain && how.retain_as_published;
            self.offer(id, message, how.qos, retain, how.subscription_ids, now);
        }
        for filter in groups {
            let Some(id) = self.next_member(&filter) else { continue };
            let how = self.sessions.get(&id).and_then(|s| s.subscriptions.get(&filter));
            let Some((qos, subscription)) = how.map(|how| (how.qos, how.id)) else { continue };
            self.offer(id, message, qos, false, subscription.into_iter().collect(), now);
        }
    }

    /// Whose turn it is in a shared subscription: members in order, those that are connected first.
    fn next_member(&mut self, filter: &countersign_model::topic::Filter) -> Option<SessionId> {
        let group = self.groups.get_mut(filter)?;
        let count = group.members.len();
        let in_turn = (0..count).map(|step| (group.turn + step) % count);
        let sessions = &self.sessions;
        let connected =
            |at: &usize| sessions.get(&group.members[*at]).is_some_and(|s| s.conn.is_some());
        let at = in_turn.clone().find(connected).or_else(|| in_turn.clone().next())?;
        group.turn = (at + 1) % count;
        Some(group.members[at])
    }

    /// Judges one delivery and makes it.
    pub(super) fn offer(
        &mut self,
        id: SessionId,
        message: &Arc<Message>,
        qos: Qos,
        retain: bool,
        subscription_ids: Vec<u32>,
        now: Now,
    ) {
        let Some(session) = self.sessions.get(&id) else { return };
        let Ok(permit) = judge_deliver(&session.subject, &message.topic) else { return };
        let qos = qos.min(message.qos);
        let message = message.clone();
        let delivery = Delivery { sequence: 0, message, qos, retain, subscription_ids };
        if qos == Qos::AtMostOnce {
            if let Some(conn) = session.conn {
                self.transmit(&permit, conn, &delivery, None, false, now);
            }
        } else {
            self.enqueue(&permit, id, delivery);
            self.pump(id, now);
        }
    }

    //= specs/house.md#house-mqtt
    //# Queues, packets and subscriptions MUST be bounded per connection.
    /// Lets a delivery wait in the session's queue, if its bounds admit it. What waits already is never displaced.
    fn enqueue(&mut self, _permit: &DeliverPermit, id: SessionId, mut delivery: Delivery) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        let cost = delivery.message.cost();
        let full = session.queue.len() >= self.limits.max_queue_messages
            || session.bytes + cost > self.limits.max_queue_bytes
            || self.queued_bytes + self.retained.bytes() + cost > self.limits.max_total_bytes;
        if full {
            session.dropped += 1;
            self.counters.messages_dropped += 1;
            return;
        }
        delivery.sequence = session.next_sequence;
        session.next_sequence += 1;
        session.bytes += cost;
        self.queued_bytes += cost;
        if session.durable() {
            self.records.push(Record::Queued {
                id,
                sequence: delivery.sequence,
                message: delivery.message.clone(),
                qos: delivery.qos,
                retain: delivery.retain,
                subscription_ids: delivery.subscription_ids.clone(),
            });
        }
        session.queue.push_back(delivery);
    }

    /// Sends from the queue while the client's window is open.
    pub(super) fn pump(&mut self, id: SessionId, now: Now) {
        while let Some(session) = self.sessions.get_mut(&id) {
            let Some(conn) = session.conn else { return };
            let window = self.conns.get(&conn).map_or(0, |open| open.window);
            if session.inflight.len() >= window {
                return;
            }
            let Some(delivery) = session.queue.pop_front() else { return };
            let judged = judge_deliver(&session.subject, &delivery.message.topic);
            let (Ok(permit), false) = (judged, delivery.message.expired(now.wall)) else {
                self.settle(id, &delivery);
                continue;
            };
            let Some(packet_id) = session.free_packet_id() else {
                session.queue.push_front(delivery);
                return;
            };
            session
                .inflight
                .insert(packet_id, Inflight { delivery: delivery.clone(), released: false });
            if delivery.qos == Qos::ExactlyOnce && session.durable() {
                let sequence = delivery.sequence;
                let record = Record::UnderWay { id, sequence, packet_id, released: false };
                self.records.push(record);
            }
            if !self.transmit(&permit, conn, &delivery, Some(packet_id), false, now) {
                // Too large for this client: for it the message does not exist (MQTT 5.0 section 3.1.2.11.4).
                self.take_inflight(id, packet_id);
            }
        }
    }

    /// Writes one PUBLISH. A QoS 2 message whose packet identifier is to be stored waits for that, since after a restart
    /// it must go out with the same one. `false`: the client takes no packet so large.
    fn transmit(
        &mut self,
        _permit: &DeliverPermit,
        conn: ConnId,
        delivery: &Delivery,
        id: Option<u16>,
        dup: bool,
        now: Now,
    ) -> bool {
        let message = &delivery.message;
        let packet = Outgoing::Publish(OutgoingPublish {
            topic: message.topic.as_str(),
            payload: &message.payload,
            qos: delivery.qos,
            retain: delivery.retain,
            dup,
            id,
            expiry_secs: message.remaining_secs(now.wall),
            properties: &message.properties,
            subscription_ids: &delivery.subscription_ids,
        });
        let limit = self.conns.get(&conn).map_or(0, |open| open.max_packet);
        match self.encoded(conn, &packet) {
            Some(bytes) if bytes.len() <= limit => {}
            _ => return false,
        }
        self.counters.messages_sent += 1;
        let ticket = match delivery.qos {
            Qos::ExactlyOnce if self.records.is_empty() => self.issued,
            Qos::ExactlyOnce => self.next_ticket(),
            _ => self.conns.get(&conn).map_or(Ticket(0), |open| open.held_publish),
        };
        if ticket > self.stored {
            self.hold(conn, ticket, &packet, false);
            if let Some(open) = self.conns.get_mut(&conn) {
                open.held_publish = ticket;
            }
        } else {
            self.send(conn, &packet);
        }
        true
    }

    /// Writes a packet once everything is stored that was ever asked for.
    fn send_after_all(&mut self, conn: ConnId, packet: &Outgoing<'_>) {
        let ticket = if self.records.is_empty() { self.issued } else { self.next_ticket() };
        if ticket > self.stored {
            self.hold(conn, ticket, packet, false);
        } else {
            self.send(conn, packet);
        }
    }

    /// After a CONNACK: first what was under way, again and in order, then what waits.
    pub(super) fn resume(&mut self, conn: ConnId, id: SessionId, now: Now) {
        let Some(session) = self.sessions.get(&id) else { return };
        for packet_id in session.inflight_in_order() {
            let Some(session) = self.sessions.get(&id) else { return };
            let Some(sent) = session.inflight.get(&packet_id).cloned() else { continue };
            if sent.released {
                let packet = Outgoing::Pubrel { id: packet_id, code: code::SUCCESS };
                self.send_after_all(conn, &packet);
                continue;
            }
            let judged = judge_deliver(&session.subject, &sent.delivery.message.topic);
            let sent = match judged {
                Ok(permit) if !sent.delivery.message.expired(now.wall) => {
                    self.transmit(&permit, conn, &sent.delivery, Some(packet_id), true, now)
                }
                _ => false,
            };
            if !sent {
                self.take_inflight(id, packet_id);
            }
        }
        self.pump(id, now);
    }

    /// PUBACK. One that answers nothing is ignored: the message may have expired meanwhile.
    pub(super) fn puback(&mut self, id: SessionId, packet_id: u16, now: Now) {
        let Some(session) = self.sessions.get(&id) else { return };
        let sent = session.inflight.get(&packet_id);
        if sent.is_some_and(|sent| sent.delivery.qos == Qos::AtLeastOnce) {
            self.take_inflight(id, packet_id);
            self.pump(id, now);
        }
    }

    /// PUBREC: the client has the message, so it is not sent again.
    pub(super) fn pubrec(
        &mut self,
        conn: ConnId,
        id: SessionId,
        packet_id: u16,
        refused: bool,
        now: Now,
    ) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        let durable = session.durable();
        let sent = session
            .inflight
            .get_mut(&packet_id)
            .filter(|sent| sent.delivery.qos == Qos::ExactlyOnce);
        let Some(sent) = sent else {
            let packet = Outgoing::Pubrel { id: packet_id, code: code::PACKET_ID_NOT_FOUND };
            return self.send(conn, &packet);
        };
        if refused {
            self.take_inflight(id, packet_id);
            return self.pump(id, now);
        }
        sent.released = true;
        let sequence = sent.delivery.sequence;
        if durable {
            self.records.push(Record::UnderWay { id, sequence, packet_id, released: true });
        }
        self.send_when_stored(
            conn,
            &Outgoing::Pubrel { id: packet_id, code: code::SUCCESS },
            false,
        );
    }

    /// PUBCOMP: the end of a QoS 2 flow.
    pub(super) fn pubcomp(&mut self, id: SessionId, packet_id: u16, now: Now) {
        let Some(session) = self.sessions.get(&id) else { return };
        if session.inflight.get(&packet_id).is_some_and(|sent| sent.released) {
            self.take_inflight(id, packet_id);
            self.pump(id, now);
        }
    }

    fn take_inflight(&mut self, id: SessionId, packet_id: u16) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        if let Some(sent) = session.inflight.remove(&packet_id) {
            self.settle(id, &sent.delivery);
        }
    }

    /// A delivery is done with, one way or the other.
    fn settle(&mut self, id: SessionId, delivery: &Delivery) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        let cost = delivery.message.cost();
        session.bytes -= cost;
        self.queued_bytes -= cost;
        if session.durable() {
            self.records.push(Record::Dequeued { id, sequence: delivery.sequence });
        }
    }
}
