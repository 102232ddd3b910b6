//! What the broker can say about itself: sessions for people, counters for machines. No payloads, no secrets.

use super::packet::{Version, code};
use super::{Broker, CloseReason};
use crate::directory::PeerFacts;
use countersign_crypto::tls::Offered;
use countersign_model::time::Timestamp;
use serde::Serialize;
use std::collections::BTreeMap;
use std::net::SocketAddr;

/// What a channel is made of, as the handshake settled it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct ChannelFacts {
    /// The peer's address and port; none where there is no socket.
    pub remote: Option<SocketAddr>,
    /// The protocol version, such as `TLSv1.3`.
    pub version: String,
    /// The cipher suite's registered name.
    pub suite: String,
    /// The key exchange group's registered name.
    pub group: String,
    /// Whether an application protocol was agreed on.
    pub alpn: bool,
    /// What the client had offered.
    pub offered: Option<Offered>,
    /// The algorithm of the key that the peer proved, by scheme name.
    pub key_algorithm: Option<String>,
    /// The algorithm of the signature under its certificate, by scheme name.
    pub certificate_signature: Option<String>,
}

//= specs/house.md#house-shell
//# A log MUST NOT contain payloads or secrets.
/// One open connection with its session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SessionStatus {
    /// `thing:NAME` or `service:NAME`.
    pub subject: String,
    /// Absent before CONNECT.
    pub client_id: Option<String>,
    /// `3.1.1` or `5`; absent before CONNECT.
    pub mqtt: Option<&'static str>,
    /// When the connection was opened.
    pub since: Timestamp,
    /// The certificate's facts.
    pub peer: PeerFacts,
    /// What was negotiated.
    pub channel: ChannelFacts,
    /// The filters subscribed to.
    pub subscriptions: Vec<String>,
    /// Messages that wait or are under way.
    pub queued: usize,
    /// Messages that the session's bounds did not admit.
    pub dropped: u64,
}

/// Numbers that only grow.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Counters {
    /// Connections that were admitted.
    pub connections_opened: u64,
    /// Ended connections by reason.
    pub connections_closed: BTreeMap<&'static str, u64>,
    /// Whole packets from clients.
    pub packets_received: u64,
    /// Packets to clients.
    pub packets_sent: u64,
    /// PUBLISH packets from clients.
    pub messages_received: u64,
    /// PUBLISH packets to clients.
    pub messages_sent: u64,
    /// Messages that bounds did not admit.
    pub messages_dropped: u64,
    /// Publications and subscriptions that were not authorised.
    pub refused_not_authorised: u64,
    /// Publications and subscriptions beyond a quota.
    pub refused_quota: u64,
    /// Retained messages that bounds did not admit.
    pub retained_refused: u64,
}

impl Counters {
    pub(super) fn closed(&mut self, reason: &CloseReason) {
        let label = match reason {
            CloseReason::ClientLeft => "client_left",
            CloseReason::ClientFault(_) => "client_fault",
            CloseReason::ConnectRefused(_) => "connect_refused",
            CloseReason::NotAuthorised => "not_authorised",
            CloseReason::KeepAlive => "keep_alive",
            CloseReason::ConnectTimeout => "connect_timeout",
            CloseReason::TakenOver => "taken_over",
            CloseReason::Displaced => "displaced",
            CloseReason::CertificateExpired => "certificate_expired",
            CloseReason::Administrative(_) => "administrative",
            CloseReason::Policy(_) => "policy",
            CloseReason::Quota => "quota",
            CloseReason::ShuttingDown => "shutting_down",
        };
        *self.connections_closed.entry(label).or_default() += 1;
    }

    pub(super) const fn refused(&mut self, reason: u8) {
        match reason {
            code::NOT_AUTHORIZED => self.refused_not_authorised += 1,
            code::QUOTA_EXCEEDED => self.refused_quota += 1,
            _ => {}
        }
    }
}

/// The broker as a whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BrokerStatus {
    /// Open connections, by subject.
    pub sessions: Vec<SessionStatus>,
    /// Sessions kept, connected or not.
    pub kept_sessions: usize,
    /// Retained messages.
    pub retained: usize,
    /// What queued and retained messages cost, in bytes.
    pub bytes: usize,
    /// Batches that wait for the disk.
    pub store_backlog: u64,
    /// Since the start.
    pub counters: Counters,
}

impl Broker {
    /// Everything that is going on.
    #[must_use]
    pub fn status(&self) -> BrokerStatus {
        let mut sessions: Vec<_> = self
            .conns
            .values()
            .map(|open| {
                let session = open.session.and_then(|id| self.sessions.get(&id));
                SessionStatus {
                    subject: open.subject.to_string(),
                    client_id: session.map(|s| s.name.client_id.to_string()),
                    mqtt: open.decoder.version().map(|version| match version {
                        Version::V311 => "3.1.1",
                        Version::V5 => "5",
                    }),
                    since: open.opened_at,
                    peer: open.peer.clone(),
                    channel: open.channel.clone(),
                    subscriptions: session
                        .map(|s| s.subscriptions.keys().map(ToString::to_string).collect())
                        .unwrap_or_default(),
                    queued: session.map_or(0, |s| s.queue.len() + s.inflight.len()),
                    dropped: session.map_or(0, |s| s.dropped),
                }
            })
            .collect();
        sessions.sort_by(|a, b| (&a.subject, &a.client_id).cmp(&(&b.subject, &b.client_id)));
        BrokerStatus {
            sessions,
            kept_sessions: self.sessions.len(),
            retained: self.retained.len(),
            bytes: self.queued_bytes + self.retained.bytes(),
            store_backlog: self.issued.0 - self.stored.0,
            counters: self.counters.clone(),
        }
    }
}

impl BrokerStatus {
    /// The numbers in Prometheus' text format (version 0.0.4). No subject appears in it: names are for `status`.
    #[must_use]
    pub fn to_prometheus(&self) -> String {
        let counters = &self.counters;
        let gauges = [
            ("connections", self.sessions.len() as u64, "Open connections."),
            ("sessions_kept", self.kept_sessions as u64, "Sessions, connected or not."),
            ("retained_messages", self.retained as u64, "Retained messages."),
            ("message_bytes", self.bytes as u64, "Cost of queued and retained messages."),
            ("store_backlog", self.store_backlog, "Batches that wait for the disk."),
        ];
        let totals = [
            ("connections_opened", counters.connections_opened, "Admitted connections."),
            ("packets_received", counters.packets_received, "Whole packets from clients."),
            ("packets_sent", counters.packets_sent, "Packets to clients."),
            ("messages_received", counters.messages_received, "PUBLISH from clients."),
            ("messages_sent", counters.messages_sent, "PUBLISH to clients."),
            ("messages_dropped", counters.messages_dropped, "Messages beyond a bound."),
            ("refused_not_authorised", counters.refused_not_authorised, "Not authorised."),
            ("refused_quota", counters.refused_quota, "Beyond a quota."),
            ("retained_refused", counters.retained_refused, "Retained messages beyond a bound."),
        ];
        let mut text = String::new();
        let mut family = |name: &str, kind: &str, help: &str, samples: &[(String, u64)]| {
            text.push_str(&format!("# HELP {name} {help}\n# TYPE {name} {kind}\n"));
            for (labels, value) in samples {
                text.push_str(&format!("{name}{labels} {value}\n"));
            }
        };
        for (name, value, help) in gauges {
            let name = format!("countersign_gateway_{name}");
            family(&name, "gauge", help, &[(String::new(), value)]);
        }
        for (name, value, help) in totals {
            let name = format!("countersign_gateway_{name}_total");
            family(&name, "counter", help, &[(String::new(), value)]);
        }
        let closed: Vec<_> = counters
            .connections_closed
            .iter()
            .map(|(reason, count)| (format!("{{reason=\"{reason}\"}}"), *count))
            .collect();
        let name = "countersign_gateway_connections_closed_total";
        family(name, "counter", "Ended connections.", &closed);
        text
    }
}
