//! What ends by itself or by decision: silence, certificates, sessions, wills; re-judging, drain; and the restart.

use super::connect::lifetime_check;
use super::record::{Snapshot, StoredSession};
use super::session::{Delivery, Inflight, Session, SessionId};
use super::status::ChannelFacts;
use super::{Broker, CloseReason, Conn, ConnId, Context, Now, Output};
use crate::directory::PeerFacts;
use countersign_protocol::permit::messaging::{MessagingSubject, judge_subscribe};
use std::sync::Arc;
use std::time::Duration;

/// What a timer looks at. Each is checked anew when it fires, so a late or needless one does no harm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Timer {
    Silence(ConnId),
    Certificate(ConnId),
    Session(SessionId),
    Will(SessionId),
}

impl Broker {
    /// When [`super::Input::Tick`] is due, on the monotonic clock.
    #[must_use]
    pub fn next_timeout(&self) -> Option<u64> {
        self.timers.first().map(|(at, _)| *at)
    }

    pub(super) fn tick(&mut self, context: &mut Context<'_>) {
        while let Some((at, timer)) = self.timers.first().copied() {
            if at > context.now.monotonic {
                return;
            }
            self.timers.pop_first();
            match timer {
                Timer::Silence(conn) => self.check_silence(conn, context),
                Timer::Certificate(conn) => self.check_certificate(conn, context),
                Timer::Session(id) => self.check_session(id, context),
                Timer::Will(id) => {
                    let will = self.sessions.get_mut(&id).and_then(|s| s.pending_will.take());
                    if let Some(will) = will {
                        self.publish_will(id, will, context);
                    }
                }
            }
        }
    }

    fn check_silence(&mut self, conn: ConnId, context: &mut Context<'_>) {
        let Some(open) = self.conns.get_mut(&conn) else { return };
        let end = open.last_heard + open.patience;
        if end > context.now.monotonic {
            open.silence_at = end;
            self.timers.insert((end, Timer::Silence(conn)));
        } else if open.session.is_some() {
            self.close(conn, CloseReason::KeepAlive, context);
        } else {
            self.close(conn, CloseReason::ConnectTimeout, context);
        }
    }

    fn check_certificate(&mut self, conn: ConnId, context: &mut Context<'_>) {
        let Some(open) = self.conns.get(&conn) else { return };
        if open.peer.not_after < context.now.wall {
            self.close(conn, CloseReason::CertificateExpired, context);
        } else {
            let at = lifetime_check(&open.peer, context.now);
            self.timers.insert((at, Timer::Certificate(conn)));
        }
    }

    fn check_session(&mut self, id: SessionId, context: &mut Context<'_>) {
        let Some(session) = self.sessions.get(&id) else { return };
        let (None, Some(since)) = (session.conn, session.offline_since) else { return };
        let end = since.plus(Duration::from_secs(u64::from(session.expiry_secs)));
        if end <= context.now.wall {
            self.end_session(id, context);
        } else {
            // It was used again meanwhile, or the calendar was set back: look again when it says so.
            let left = u64::try_from(end.since(context.now.wall).as_millis()).unwrap_or(u64::MAX);
            let at = context.now.monotonic.saturating_add(left.max(1));
            self.timers.insert((at, Timer::Session(id)));
        }
    }

    //= specs/en-303-645.md#5.5-8
    //# Expiry and compromise MUST be handled by a process that takes effect on the connections in use.
    //= specs/house.md#house-permits
    //# Open sessions MUST be judged again when policy, grants or revocation change.
    /// Asks `judge` anew about every open connection. Whoever is refused is closed at once; whoever is admitted with
    /// other rights keeps the connection unless a subscription has lost its ground, which is taken away with it.
    #[must_use]
    pub fn rejudge(
        &mut self,
        context: &mut Context<'_>,
        judge: &mut dyn FnMut(&PeerFacts) -> Result<MessagingSubject, String>,
    ) -> Vec<Output> {
        let judged: Vec<_> =
            self.conns.iter().map(|(conn, open)| (*conn, judge(&open.peer))).collect();
        for (conn, verdict) in judged {
            match verdict {
                Err(why) => self.close(conn, CloseReason::Administrative(why), context),
                Ok(subject) => self.rejudged(conn, subject, context),
            }
        }
        self.finish()
    }

    fn rejudged(&mut self, conn: ConnId, subject: MessagingSubject, context: &mut Context<'_>) {
        let Some(open) = self.conns.get_mut(&conn) else { return };
        if open.subject == subject {
            return;
        }
        // Another name behind the same certificate is another subject.
        if open.subject.to_string() != subject.to_string() {
            let why = "the certificate's subject has changed".to_owned();
            return self.close(conn, CloseReason::Administrative(why), context);
        }
        open.subject = subject.clone();
        let Some(id) = open.session else { return };
        let Some(session) = self.sessions.get_mut(&id) else { return };
        session.subject = subject;
        let lost: Vec<_> = session
            .subscriptions
            .keys()
            .filter(|filter| judge_subscribe(&session.subject, filter).is_err())
            .cloned()
            .collect();
        self.record_session(id);
        for filter in &lost {
            self.remove_subscription(id, filter);
        }
        if !lost.is_empty() {
            let why = "a subscription is no longer granted".to_owned();
            self.close(conn, CloseReason::Administrative(why), context);
        }
    }

    /// Closes every connection whose peer is meant.
    #[must_use]
    pub fn close_where(
        &mut self,
        context: &mut Context<'_>,
        reason: &CloseReason,
        meant: &dyn Fn(&PeerFacts, &ChannelFacts) -> bool,
    ) -> Vec<Output> {
        let meant = |open: &Conn| meant(&open.peer, &open.channel);
        let conns: Vec<_> =
            self.conns.iter().filter(|(_, open)| meant(open)).map(|(conn, _)| *conn).collect();
        for conn in conns {
            self.close(conn, reason.clone(), context);
        }
        self.finish()
    }

    /// Closes one connection for the shell's reasons: its write queue is full, its socket failed.
    #[must_use]
    pub fn close_one(
        &mut self,
        context: &mut Context<'_>,
        conn: ConnId,
        reason: CloseReason,
    ) -> Vec<Output> {
        self.close(conn, reason, context);
        self.finish()
    }

    /// Forgets retained messages that have expired. Called now and then; they are never delivered meanwhile.
    #[must_use]
    pub fn sweep(&mut self, now: Now) -> Vec<Output> {
        for topic in self.retained.expired(now.wall) {
            self.retained.remove(&topic);
            self.records.push(super::record::Record::RetainedGone { topic });
        }
        self.finish()
    }

    pub(super) fn restore(&mut self, snapshot: Snapshot, now: Now) {
        for message in snapshot.retained {
            // The bounds may have been lowered since; what was kept stays until it is replaced.
            self.retained.put(Arc::new(message), usize::MAX, usize::MAX);
        }
        for stored in snapshot.sessions {
            self.restore_session(stored, now);
        }
    }

    fn restore_session(&mut self, stored: StoredSession, now: Now) {
        let id = stored.id;
        self.next_session = self.next_session.max(id.0 + 1);
        let mut session = Session::new(stored.name.clone(), stored.subject);
        session.expiry_secs = stored.expiry_secs;
        let since = stored.offline_since.unwrap_or(now.wall);
        session.offline_since = Some(since);
        session.inbound = stored.taken.into_iter().collect();
        for (filter, how) in stored.subscriptions {
            session.subscriptions.insert(filter.clone(), how);
            self.enter_subscription(id, filter);
        }
        for waiting in stored.messages {
            session.next_sequence = session.next_sequence.max(waiting.sequence + 1);
            let delivery = Delivery {
                sequence: waiting.sequence,
                message: Arc::new(waiting.message),
                qos: waiting.qos,
                retain: waiting.retain,
                subscription_ids: waiting.subscription_ids,
            };
            session.bytes += delivery.message.cost();
            match waiting.under_way {
                Some((packet_id, released)) => {
                    session.inflight.insert(packet_id, Inflight { delivery, released });
                }
                None => session.queue.push_back(delivery),
            }
        }
        self.queued_bytes += session.bytes;
        let end = since.plus(Duration::from_secs(u64::from(session.expiry_secs)));
        let left = u64::try_from(end.since(now.wall).as_millis()).unwrap_or(u64::MAX);
        self.timers.insert((now.monotonic.saturating_add(left), Timer::Session(id)));
        self.names.insert(stored.name, id);
        self.sessions.insert(id, session);
    }
}
