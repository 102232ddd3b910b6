//! The beginning and the end of a connection: CONNECT, take-over, DISCONNECT, wills.

use super::decode::{Decoder, TOPIC_ALIASES};
use super::lifetime::Timer;
use super::message::{Message, fresh_hex};
use super::packet::{ConnackFacts, Connect, Outgoing, Version, WillPacket, code};
use super::record::{Record, Ticket};
use super::session::{Session, SessionId, SessionName};
use super::status::ChannelFacts;
use super::{Broker, CloseReason, Conn, ConnId, Context, Now, Will};
use crate::directory::PeerFacts;
use countersign_model::topic::Topic;
use countersign_protocol::permit::messaging::{MessagingSubject, judge_publish, judge_subscribe};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

impl Broker {
    pub(super) fn opened(
        &mut self,
        conn: ConnId,
        peer: PeerFacts,
        subject: MessagingSubject,
        channel: ChannelFacts,
        now: Now,
    ) {
        let certificate_ends = lifetime_check(&peer, now);
        let open = Conn {
            peer,
            subject,
            channel,
            opened_at: now.wall,
            decoder: Decoder::new(self.limits.max_packet_bytes),
            session: None,
            last_heard: now.monotonic,
            patience: self.connect_patience,
            silence_at: now.monotonic + self.connect_patience,
            held: VecDeque::new(),
            unacknowledged_inbound: 0,
            held_publish: Ticket(0),
            beside: None,
            window: usize::from(self.limits.max_inflight),
            max_packet: usize::MAX,
            will: None,
        };
        self.timers.insert((open.silence_at, Timer::Silence(conn)));
        self.conns.insert(conn, open);
        self.counters.connections_opened += 1;
        self.timers.insert((certificate_ends, Timer::Certificate(conn)));
    }

    /// CONNECT in numbered steps: what is refused here leaves no trace.
    pub(super) fn connect(&mut self, conn: ConnId, packet: Connect, context: &mut Context<'_>) {
        let Some(open) = self.conns.get(&conn) else { return };
        let subject = open.subject.clone();
        let version = open.decoder.version().unwrap_or(Version::V311);

        // 1. The certificate is the identity; there is no other way to log in.
        if packet.enhanced_auth {
            return self.refuse_connect(conn, code::BAD_AUTHENTICATION_METHOD, context);
        }
        // 2. The client identifier is bounded and nobody else's name.
        let assigned = packet.client_id.is_empty();
        if assigned && version == Version::V311 && !packet.clean_start {
            return self.refuse_connect(conn, code::CLIENT_ID_NOT_VALID, context);
        }
        let client_id = match assigned {
            true => format!("auto-{}", fresh_hex(context.random)),
            false => packet.client_id,
        };
        let foreign =
            client_id != subject.name() && (context.names_other_subject)(client_id.as_str());
        if foreign || client_id.len() > self.limits.max_client_id_bytes {
            return self.refuse_connect(conn, code::CLIENT_ID_NOT_VALID, context);
        }
        //= specs/house.md#house-mqtt
        //# A will MUST be authorised like a publication.
        // 3. The will is a publication like any other.
        let will = match packet.will.map(|will| checked_will(will, &subject, context.now)) {
            None => None,
            Some(Ok(will)) => Some(will),
            Some(Err(code)) => return self.refuse_connect(conn, code, context),
        };
        //= specs/house.md#house-mqtt
        //# A session MUST be keyed by the certificate's subject together with the client identifier.
        //= specs/house.md#house-mqtt
        //# A client MUST NOT take over another subject's session.
        // 4. The session of this subject and client identifier: taken over, begun anew, or resumed.
        let name = SessionName {
            subject: subject.to_string().into(),
            client_id: client_id.as_str().into(),
        };
        if let Some(other) = self.names.get(&name).and_then(|id| self.sessions[id].conn) {
            let reason = self.taken_over(other, conn, context.now);
            self.close(other, reason, context);
        }
        if let Some(id) = self.names.get(&name).copied().filter(|_| packet.clean_start) {
            self.end_session(id, context);
        }
        let resumed = self.names.get(&name).copied();
        let Some(id) = resumed.or_else(|| self.new_session(name, &subject, context)) else {
            return self.refuse_connect(conn, code::QUOTA_EXCEEDED, context);
        };
        // 5. Bind it.
        let expiry_secs = packet.session_expiry.min(self.limits.max_session_expiry_secs);
        self.bind(id, conn, subject, expiry_secs);
        let keep_alive = match packet.keep_alive {
            0 => self.limits.max_keep_alive_secs,
            asked => asked.min(self.limits.max_keep_alive_secs),
        };
        let Some(open) = self.conns.get_mut(&conn) else { return };
        open.session = Some(id);
        open.will = will;
        // Half as much again as the keep-alive (MQTT 5.0 section 3.1.2.10).
        open.patience = u64::from(keep_alive) * 1500;
        open.window = usize::from(packet.receive_maximum.min(self.limits.max_inflight));
        open.max_packet = usize::try_from(packet.maximum_packet).unwrap_or(usize::MAX);
        self.timers.remove(&(open.silence_at, Timer::Silence(conn)));
        open.silence_at = context.now.monotonic + open.patience;
        self.timers.insert((open.silence_at, Timer::Silence(conn)));
        // 6. Answer, then go on with what was under way.
        let facts = ConnackFacts {
            assigned_client_id: assigned.then_some(client_id.as_str()),
            keep_alive: (keep_alive != packet.keep_alive).then_some(keep_alive),
            session_expiry: (expiry_secs != packet.session_expiry).then_some(expiry_secs),
            receive_maximum: self.limits.max_inflight,
            maximum_packet: self.limits.max_packet_bytes,
            topic_alias_maximum: TOPIC_ALIASES,
            why: None,
        };
        let session_present = resumed.is_some();
        self.send(conn, &Outgoing::Connack { session_present, code: code::SUCCESS, facts });
        self.resume(conn, id, context.now);
        self.notice_presence(conn, context);
        self.beside_others(conn, context.now);
    }

    /// A new session, if there is room. Where the subject's own share is full, its longest absent session goes.
    fn new_session(
        &mut self,
        name: SessionName,
        subject: &MessagingSubject,
        context: &mut Context<'_>,
    ) -> Option<SessionId> {
        let own = self.sessions_of(&name.subject);
        if own.len() >= self.limits.max_sessions_per_subject {
            let absent = own
                .iter()
                .filter(|id| self.sessions[id].conn.is_none())
                .min_by_key(|id| self.sessions[id].offline_since)
                .copied()?;
            self.end_session(absent, context);
        } else if self.sessions.len() >= self.limits.max_sessions {
            return None;
        }
        let id = SessionId(self.next_session);
        self.next_session += 1;
        self.names.insert(name.clone(), id);
        self.sessions.insert(id, Session::new(name, subject.clone()));
        Some(id)
    }

    pub(super) fn sessions_of(&self, subject: &Arc<str>) -> Vec<SessionId> {
        let first = SessionName { subject: subject.clone(), client_id: "".into() };
        self.names
            .range(first..)
            .take_while(|(name, _)| name.subject == *subject)
            .map(|(_, id)| *id)
            .collect()
    }

    /// Ties session and connection together, drops what the subject may no longer hear, and says so to the store.
    fn bind(&mut self, id: SessionId, conn: ConnId, subject: MessagingSubject, expiry_secs: u32) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        let was_durable = session.durable();
        session.conn = Some(conn);
        session.offline_since = None;
        session.pending_will = None;
        session.expiry_secs = expiry_secs;
        session.subject = subject;
        let lost: Vec<_> = session
            .subscriptions
            .keys()
            .filter(|filter| judge_subscribe(&session.subject, filter).is_err())
            .cloned()
            .collect();
        match (session.durable(), was_durable) {
            (true, _) => self.record_session(id),
            (false, true) => self.records.push(Record::SessionGone { id }),
            (false, false) => {}
        }
        for filter in lost {
            self.remove_subscription(id, &filter);
        }
    }

    pub(super) fn record_session(&mut self, id: SessionId) {
        let Some(session) = self.sessions.get(&id).filter(|session| session.durable()) else {
            return;
        };
        self.records.push(Record::Session {
            id,
            name: session.name.clone(),
            subject: session.subject.clone(),
            expiry_secs: session.expiry_secs,
            offline_since: session.offline_since,
        });
    }

    pub(super) fn refuse_connect(&mut self, conn: ConnId, code: u8, context: &mut Context<'_>) {
        let facts = ConnackFacts::default();
        self.send(conn, &Outgoing::Connack { session_present: false, code, facts });
        self.close(conn, CloseReason::ConnectRefused(code), context);
    }

    /// The client's DISCONNECT.
    pub(super) fn disconnected(
        &mut self,
        conn: ConnId,
        id: SessionId,
        with_will: bool,
        session_expiry: Option<u32>,
        context: &mut Context<'_>,
    ) {
        if let (Some(asked), Some(session)) = (session_expiry, self.sessions.get_mut(&id)) {
            // A session without an afterlife cannot ask for one now (MQTT 5.0 section 3.14.2.2.2).
            if session.expiry_secs == 0 && asked != 0 {
                return self.close(conn, CloseReason::ClientFault(code::PROTOCOL_ERROR), context);
            }
            let expiry_secs = asked.min(self.limits.max_session_expiry_secs);
            if session.durable() && expiry_secs == 0 {
                self.records.push(Record::SessionGone { id });
            }
            session.expiry_secs = expiry_secs;
        }
        self.out.push(super::Output::Close { conn, reason: CloseReason::ClientLeft });
        self.detach(conn, &CloseReason::ClientLeft, with_will, context);
    }

    /// Ends a connection: a goodbye where the protocol has one, then the end.
    pub(super) fn close(&mut self, conn: ConnId, reason: CloseReason, context: &mut Context<'_>) {
        let Some(open) = self.conns.get(&conn) else { return };
        if let (Some(code), Some(Version::V5), true) =
            (reason.code(), open.decoder.version(), open.session.is_some())
        {
            let why = reason.sentence();
            self.send(conn, &Outgoing::Disconnect { code, why });
        }
        // A subject that is refused has no last word either; one that only has to reconnect has not left.
        let with_will = !matches!(
            reason,
            CloseReason::Administrative(_)
                | CloseReason::Policy(_)
                | CloseReason::CertificateExpired
        );
        self.out.push(super::Output::Close { conn, reason: reason.clone() });
        self.detach(conn, &reason, with_will, context);
    }

    /// Forgets a connection; its session stays if it has an afterlife.
    pub(super) fn detach(
        &mut self,
        conn: ConnId,
        reason: &CloseReason,
        with_will: bool,
        context: &mut Context<'_>,
    ) {
        let Some(open) = self.conns.remove(&conn) else { return };
        self.timers.remove(&(open.silence_at, Timer::Silence(conn)));
        self.counters.closed(reason);
        let Some(id) = open.session else { return };
        self.notice_absence(&open.subject, context);
        let Some(session) = self.sessions.get_mut(&id) else { return };
        session.conn = None;
        session.offline_since = Some(context.now.wall);
        let will = open.will.filter(|_| with_will);
        let expiry_secs = session.expiry_secs;
        let delay = will.as_ref().map_or(0, |will| will.delay_secs.min(expiry_secs));
        if delay > 0 {
            session.pending_will = will;
            let at = context.now.monotonic + u64::from(delay) * 1000;
            self.timers.insert((at, Timer::Will(id)));
        } else if let Some(will) = will {
            self.publish_will(id, will, context);
        }
        if expiry_secs == 0 {
            self.end_session(id, context);
        } else {
            self.record_session(id);
            let at = context.now.monotonic + u64::from(expiry_secs) * 1000;
            self.timers.insert((at, Timer::Session(id)));
        }
    }

    /// Publishes a will, judged by what its subject may do now.
    pub(super) fn publish_will(&mut self, id: SessionId, will: Will, context: &mut Context<'_>) {
        let Some(session) = self.sessions.get(&id) else { return };
        if let Ok(permit) = judge_publish(&session.subject, &will.message.topic) {
            self.publish(permit, will.message, Some(id), context);
        }
    }

    /// Removes a session with all that belongs to it. It must have no connection.
    pub(super) fn end_session(&mut self, id: SessionId, context: &mut Context<'_>) {
        let will = self.sessions.get_mut(&id).and_then(|session| session.pending_will.take());
        if let Some(will) = will {
            self.publish_will(id, will, context);
        }
        let Some(session) = self.sessions.get(&id) else { return };
        let filters: Vec<_> = session.subscriptions.keys().cloned().collect();
        let durable = session.durable();
        for filter in &filters {
            self.forget_subscription(id, filter);
        }
        if let Some(session) = self.sessions.remove(&id) {
            self.queued_bytes -= session.bytes;
            self.names.remove(&session.name);
        }
        if durable {
            self.records.push(Record::SessionGone { id });
        }
    }
}

/// When to look at the certificate's end again: at the end, and at least once a minute, since the calendar may jump.
pub(super) fn lifetime_check(peer: &PeerFacts, now: Now) -> u64 {
    const LOOK_AGAIN: Duration = Duration::from_secs(60);
    let left = peer.not_after.since(now.wall).min(LOOK_AGAIN);
    // One more, since the certificate holds through its last instant.
    now.monotonic + u64::try_from(left.as_millis()).unwrap_or(u64::MAX) + 1
}

fn checked_will(will: WillPacket, subject: &MessagingSubject, now: Now) -> Result<Will, u8> {
    let topic: Topic = will.topic.parse().map_err(|_| code::TOPIC_NAME_INVALID)?;
    judge_publish(subject, &topic).map_err(|_| code::NOT_AUTHORIZED)?;
    let expires_at =
        will.expiry_secs.map(|secs| now.wall.plus(Duration::from_secs(u64::from(secs))));
    let message = Message {
        topic,
        payload: will.payload,
        qos: will.qos,
        retain: will.retain,
        properties: will.properties,
        expires_at,
        origin: subject.to_string().into(),
    };
    Ok(Will { message, delay_secs: will.delay_secs })
}
