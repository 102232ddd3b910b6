//! Messages from clients: judged, stamped, kept and passed on; then acknowledged.

use super::message::{Message, Qos};
use super::packet::{Outgoing, Publish, Version, code};
use super::record::Record;
use super::session::SessionId;
use super::{Broker, CloseReason, ConnId, Context};
use countersign_model::topic::Topic;
use countersign_protocol::permit::messaging::{PublishPermit, judge_publish};
use std::sync::Arc;
use std::time::Duration;

/// Unacknowledged messages that a client of MQTT 3.1.1 may have under way: it cannot be told our window, so it gets a
/// wider one, which its own libraries stay below.
const WINDOW_311: usize = 1024;

impl Broker {
    /// PUBLISH in numbered steps.
    pub(super) fn published(
        &mut self,
        conn: ConnId,
        id: SessionId,
        packet: Publish,
        context: &mut Context<'_>,
    ) {
        let Some(open) = self.conns.get(&conn) else { return };
        let Some(session) = self.sessions.get(&id) else { return };
        let version = open.decoder.version().unwrap_or(Version::V311);
        self.counters.messages_received += 1;

        // 1. A QoS 2 message that we have taken already is only confirmed again.
        let under_way = open.unacknowledged_inbound + session.inbound.len();
        if let (Qos::ExactlyOnce, Some(packet_id)) = (packet.qos, packet.id)
            && session.inbound.contains(&packet_id)
        {
            let again = Outgoing::Pubrec { id: packet_id, code: code::SUCCESS };
            return self.send_when_stored(conn, &again, false);
        }
        // 2. The window.
        let window = match version {
            Version::V5 => usize::from(self.limits.max_inflight),
            Version::V311 => WINDOW_311,
        };
        if packet.qos > Qos::AtMostOnce && under_way >= window {
            let reason = CloseReason::ClientFault(code::RECEIVE_MAXIMUM_EXCEEDED);
            return self.close(conn, reason, context);
        }
        // 3. The right, for this topic.
        let subject = &open.subject;
        let permit = match packet.topic.parse::<Topic>() {
            Ok(topic) => judge_publish(subject, &topic).map_err(|_| code::NOT_AUTHORIZED),
            Err(_) => Err(code::TOPIC_NAME_INVALID),
        };
        // 4. Room. What is not confirmed and not surely wanted is dropped without a word.
        let permit = match permit {
            Ok(_) if self.overloaded() && packet.qos == Qos::AtMostOnce => {
                self.counters.messages_dropped += 1;
                return;
            }
            Ok(_) if self.overloaded() => Err(code::QUOTA_EXCEEDED),
            other => other,
        };
        let permit = match permit {
            Ok(permit) => permit,
            Err(code) => return self.refuse_publish(conn, version, &packet, code, context),
        };
        // 5. On its way.
        let expiry = packet.expiry_secs.map(|secs| Duration::from_secs(u64::from(secs)));
        let message = Message {
            topic: permit.topic().clone(),
            payload: packet.payload,
            qos: packet.qos,
            retain: packet.retain,
            properties: packet.properties,
            expires_at: expiry.map(|expiry| context.now.wall.plus(expiry)),
            origin: permit.subject().into(),
        };
        if let (Qos::ExactlyOnce, Some(packet_id)) = (packet.qos, packet.id) {
            self.take(id, packet_id);
        }
        self.notice_policy_state(conn, &message);
        self.notice_anchor_state(conn, &message);
        self.notice_description(&message, context);
        self.publish(permit, message, Some(id), context);
        // 6. Confirmed when it is stored.
        match (packet.qos, packet.id) {
            (Qos::AtLeastOnce, Some(packet_id)) => {
                let ack = Outgoing::Puback { id: packet_id, code: code::SUCCESS };
                self.send_when_stored(conn, &ack, true);
            }
            (Qos::ExactlyOnce, Some(packet_id)) => {
                let ack = Outgoing::Pubrec { id: packet_id, code: code::SUCCESS };
                self.send_when_stored(conn, &ack, false);
            }
            _ => {}
        }
    }

    /// The refusal that the client's protocol has: a reason code, or the end of the connection.
    fn refuse_publish(
        &mut self,
        conn: ConnId,
        version: Version,
        packet: &Publish,
        code: u8,
        context: &mut Context<'_>,
    ) {
        self.counters.refused(code);
        match (version, packet.qos, packet.id) {
            (Version::V5, Qos::AtLeastOnce, Some(id)) => {
                self.send_when_stored(conn, &Outgoing::Puback { id, code }, false);
            }
            (Version::V5, Qos::ExactlyOnce, Some(id)) => {
                self.send_when_stored(conn, &Outgoing::Pubrec { id, code }, false);
            }
            _ => {
                let reason = match code {
                    code::NOT_AUTHORIZED => CloseReason::NotAuthorised,
                    code::QUOTA_EXCEEDED => CloseReason::Quota,
                    code => CloseReason::ClientFault(code),
                };
                self.close(conn, reason, context);
            }
        }
    }

    fn take(&mut self, id: SessionId, packet_id: u16) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        session.inbound.insert(packet_id);
        if session.durable() {
            self.records.push(Record::Taken { id, packet_id });
        }
    }

    /// PUBREL: the client will not send that QoS 2 message again.
    pub(super) fn pubrel(&mut self, conn: ConnId, id: SessionId, packet_id: u16) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        let known = session.inbound.remove(&packet_id);
        if known && session.durable() {
            self.records.push(Record::TakenDone { id, packet_id });
        }
        let code = if known { code::SUCCESS } else { code::PACKET_ID_NOT_FOUND };
        self.send_when_stored(conn, &Outgoing::Pubcomp { id: packet_id, code }, false);
    }

    //= specs/house.md#house-permits
    //# A handler MUST NOT be callable without a permit.
    /// A permitted message: stamped, retained where asked, and routed.
    pub(super) fn publish(
        &mut self,
        permit: PublishPermit,
        mut message: Message,
        from: Option<SessionId>,
        context: &mut Context<'_>,
    ) {
        message.stamp(&permit, context.now.wall, context.random);
        let message = Arc::new(message);
        if message.retain {
            self.retain(&message);
        }
        self.route(&permit, &message, from, context.now);
    }

    fn retain(&mut self, message: &Arc<Message>) {
        if message.payload.is_empty() {
            if self.retained.remove(&message.topic) {
                self.records.push(Record::RetainedGone { topic: message.topic.clone() });
            }
            return;
        }
        let limits = &self.limits;
        if self.retained.put(message.clone(), limits.max_retained, limits.max_retained_per_subject)
        {
            self.records.push(Record::Retained { message: message.clone() });
        } else {
            self.counters.retained_refused += 1;
        }
    }
}
