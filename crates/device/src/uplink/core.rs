//! The uplink's core: an MQTT 5 client session that takes bytes and timers and yields bytes, timers and messages.
//!
//! No socket, no clock, no random source. The session outlives connections: `clean_start` is off, the gateway
//! keeps our subscriptions, and whatever it has not acknowledged is sent again.
//!
//! ```text
//!   opened, received, fired, closed, publish ─► Uplink ─► poll(): Send, SetTimer, StopTimer, Close, Event
//! ```

use super::outbox::{Full, Outbox, Outgoing};
use mqtt_protocol_core::mqtt::common::Cursor;
use mqtt_protocol_core::mqtt::connection::{Connection, ConnectionOptions, Event as CoreEvent};
use mqtt_protocol_core::mqtt::packet::{
    self, GenericPacketTrait, Packet, Property, Qos, RetainHandling, SubEntry, SubOpts, v5_0,
};
use mqtt_protocol_core::mqtt::result_code::{
    ConnectReasonCode, MqttError, PubackReasonCode, SubackReasonCode,
};
use mqtt_protocol_core::mqtt::{Version, role};
use std::collections::VecDeque;

pub use mqtt_protocol_core::mqtt::connection::TimerKind;

/// Largest packet taken from the gateway: a command's input is at most 64 KiB, the rest is topic and properties.
pub const MAX_PACKET_BYTES: u32 = 80 * 1024;

/// Commands that the gateway may have outstanding: a plug does one thing at a time.
pub const MAX_COMMANDS_IN_FLIGHT: u16 = 16;

/// How long the gateway keeps our session while we are away, in seconds: a day, longer than a power cut.
pub const SESSION_EXPIRY_SECS: u32 = 24 * 60 * 60;

/// Reason codes from here on are refusals (MQTT 5.0 section 2.4).
const FIRST_REFUSAL: u8 = 0x80;

/// How long the gateway may take to answer a ping, in milliseconds, before the connection counts as dead.
pub const PING_TIMEOUT_MS: u64 = 10_000;

/// A message from the gateway, not yet judged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Incoming {
    /// The topic it was published to.
    pub topic: String,
    /// Its payload, untouched.
    pub payload: Vec<u8>,
    /// MQTT 5 user properties, in order.
    pub user_properties: Vec<(String, String)>,
    /// MQTT 5 correlation data, echoed in the receipt.
    pub correlation: Option<Vec<u8>>,
    /// What [`Uplink::acknowledge`] takes; none for QoS 0.
    pub packet_id: Option<u16>,
}

/// What happened on the session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SessionEvent {
    /// CONNACK with success.
    Connected {
        /// Whether the gateway still had our session.
        session_present: bool,
    },
    /// The gateway refused the connection, by this reason code.
    Refused(u8),
    /// Every subscription was granted: commands reach us from here on.
    Subscribed,
    /// Only the policy's subscription was granted: this is the update door. Our channel is one that the policy in force at
    /// the gateway does not allow.
    Door,
    /// The gateway refused one of our subscriptions.
    SubscriptionRefused(String),
    /// The gateway refused a publication, by this reason code. It is not sent again.
    PublicationRefused {
        /// Where to.
        topic: String,
        /// Why (MQTT 5.0 section 3.4.2.1).
        reason: u8,
    },
    /// A message on one of our command topics.
    Message(Incoming),
    /// The gateway ended the connection.
    Disconnected {
        /// By this reason code.
        reason: u8,
        /// What it said about it.
        text: Option<String>,
    },
    /// The peer broke the protocol; the connection is being closed.
    PeerFault(String),
}

/// What the shell must do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Write these bytes.
    Send(Vec<u8>),
    /// (Re)start a timer.
    SetTimer(TimerKind, u64),
    /// Stop a timer.
    StopTimer(TimerKind),
    /// Close the connection.
    Close,
    /// Tell the agent.
    Event(SessionEvent),
}

/// The session with the gateway.
pub struct Uplink {
    connection: Connection<role::Client>,
    client_id: String,
    filters: Vec<String>,
    /// Which of the filters is the policy's.
    policy_filter: Option<usize>,
    /// Which of them is the roots', which a gateway may not know.
    anchor_filter: Option<usize>,
    keep_alive_secs: u16,
    outbox: Outbox,
    connected: bool,
    outputs: VecDeque<Output>,
}

impl Uplink {
    /// A session for `client_id`, subscribing to `filters` at every connection.
    #[must_use]
    pub fn new(client_id: &str, filters: Vec<String>, keep_alive_secs: u16) -> Self {
        Self {
            connection: codec(),
            client_id: client_id.to_owned(),
            filters,
            policy_filter: None,
            anchor_filter: None,
            keep_alive_secs,
            outbox: Outbox::default(),
            connected: false,
            outputs: VecDeque::new(),
        }
    }

    /// Also subscribes to the crypto policy, which may be all that it is granted.
    #[must_use]
    pub fn with_policy(mut self, filter: &str) -> Self {
        self.policy_filter = Some(self.filters.len());
        self.filters.push(filter.to_owned());
        self
    }

    /// Also subscribes to statements about the maker's roots. A gateway that refuses this one alone serves all the same: they
    /// spare the device nothing that it needs today.
    #[must_use]
    pub fn with_anchors(mut self, filter: &str) -> Self {
        self.anchor_filter = Some(self.filters.len());
        self.filters.push(filter.to_owned());
        self
    }

    /// The next thing to do, until there is none.
    pub fn poll(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// A secured connection is there: say CONNECT.
    ///
    /// The codec is new for each connection. Its own store of unacknowledged messages would outlive connections, but
    /// it counts re-sent messages wrongly (0.7.9: an underflow at the first acknowledgement); the outbox does that work.
    pub fn opened(&mut self) {
        self.connection = codec();
        let connect = v5_0::Connect::builder()
            .client_id(self.client_id.as_str())
            .map(|connect| connect.clean_start(false).keep_alive(self.keep_alive_secs))
            .and_then(|connect| {
                let expiry = packet::SessionExpiryInterval::new(SESSION_EXPIRY_SECS)?;
                connect.props(vec![Property::SessionExpiryInterval(expiry)]).build()
            });
        match connect {
            Ok(connect) => {
                let events = self.connection.checked_send(connect);
                self.digest(events);
            }
            Err(error) => self.fault(&error),
        }
    }

    /// Bytes arrived, in any slices.
    pub fn received(&mut self, bytes: &[u8]) {
        let mut cursor = Cursor::new(bytes);
        while (cursor.position() as usize) < bytes.len() {
            let events = self.connection.recv(&mut cursor);
            let over = events.iter().any(|event| matches!(event, CoreEvent::RequestClose));
            self.digest(events);
            if over {
                return;
            }
        }
    }

    /// A timer ran out.
    pub fn fired(&mut self, timer: TimerKind) {
        let events = self.connection.notify_timer_fired(timer);
        self.digest(events);
    }

    /// The connection is gone, whoever ended it. The session and the outbox stay.
    pub fn closed(&mut self) {
        self.connected = false;
        self.outbox.unsend();
        let events = self.connection.notify_closed();
        self.digest(events);
    }

    /// Queues a message; it is sent at QoS 1 as soon as the gateway lets us.
    ///
    /// # Errors
    /// [`Full`] when the outbox holds nothing that may give way.
    pub fn publish(&mut self, message: Outgoing) -> Result<(), Full> {
        self.outbox.push(message)?;
        self.flush();
        Ok(())
    }

    /// Says something at most once, now, past the outbox and past whatever waits: a word at the update door.
    pub fn say(&mut self, topic: &str, payload: &[u8]) {
        if !self.connected {
            return;
        }
        let publish = v5_0::Publish::builder()
            .topic_name(topic)
            .and_then(|publish| publish.qos(Qos::AtMostOnce).payload(payload).build());
        match publish {
            Ok(publish) => {
                let events = self.connection.checked_send(publish);
                self.digest(events);
            }
            Err(error) => self.fault(&error),
        }
    }

    /// Thanks the gateway for a message, once what it asked is durably noted.
    pub fn acknowledge(&mut self, packet_id: u16) {
        let puback = v5_0::Puback::builder()
            .packet_id(packet_id)
            .reason_code(PubackReasonCode::Success)
            .build();
        match puback {
            Ok(puback) if self.connected => {
                let events = self.connection.checked_send(puback);
                self.digest(events);
            }
            Ok(_) => {} // The gateway delivers it again on the next connection.
            Err(error) => self.fault(&error),
        }
    }

    /// Messages that the gateway has not thanked us for.
    #[must_use]
    pub fn owed(&self) -> usize {
        self.outbox.len()
    }

    /// Readings let go for want of room.
    #[must_use]
    pub const fn dropped(&self) -> u64 {
        self.outbox.dropped()
    }

    fn digest(&mut self, events: Vec<CoreEvent>) {
        for event in events {
            match event {
                CoreEvent::RequestSendPacket { packet, .. } => {
                    self.outputs.push_back(Output::Send(packet.to_continuous_buffer()));
                }
                CoreEvent::NotifyPacketReceived(packet) => self.packet(packet),
                CoreEvent::RequestTimerReset { kind, duration_ms } => {
                    self.outputs.push_back(Output::SetTimer(kind, duration_ms));
                }
                CoreEvent::RequestTimerCancel(kind) => {
                    self.outputs.push_back(Output::StopTimer(kind));
                }
                CoreEvent::RequestClose => self.outputs.push_back(Output::Close),
                CoreEvent::NotifyError(error) => self.fault(&error),
                CoreEvent::NotifyPacketIdReleased(_) => {}
            }
        }
    }

    fn packet(&mut self, packet: Packet) {
        match packet {
            Packet::V5_0Connack(connack) => self.connack(&connack),
            Packet::V5_0Suback(suback) => self.suback(&suback),
            Packet::V5_0Puback(puback) => {
                // A refusal is an answer too: sending the same again would not change it.
                let answered = self.outbox.acknowledged(puback.packet_id());
                let reason = puback.reason_code().map_or(0, |code| code as u8);
                if let Some(message) = answered.filter(|_| reason >= FIRST_REFUSAL) {
                    self.event(SessionEvent::PublicationRefused { topic: message.topic, reason });
                }
                self.flush();
            }
            Packet::V5_0Publish(publish) => self.message(&publish),
            Packet::V5_0Disconnect(disconnect) => {
                let reason = disconnect.reason_code().map_or(0, |code| code as u8);
                let text =
                    disconnect.props().iter().flatten().find_map(|property| match property {
                        Property::ReasonString(text) => Some(text.val().to_owned()),
                        _ => None,
                    });
                self.event(SessionEvent::Disconnected { reason, text });
                self.outputs.push_back(Output::Close);
            }
            _ => {}
        }
    }

    fn connack(&mut self, connack: &v5_0::Connack) {
        if connack.reason_code() != ConnectReasonCode::Success {
            self.event(SessionEvent::Refused(connack.reason_code() as u8));
            self.outputs.push_back(Output::Close);
            return;
        }
        self.connected = true;
        self.event(SessionEvent::Connected { session_present: connack.session_present() });
        if connack.session_present() {
            self.send_again();
        }
        self.outbox.requeue_unsent();
        self.subscribe();
        self.flush();
    }

    /// Same packet identifiers, marked as duplicates, in the old order (MQTT 5.0 section 4.4).
    fn send_again(&mut self) {
        for packet_id in self.outbox.unacknowledged() {
            if !self.has_vacancy() || self.connection.register_packet_id(packet_id).is_err() {
                return;
            }
            let Some(message) = self.outbox.again(packet_id) else { return };
            match publish_packet(packet_id, message, true) {
                Ok(publish) => {
                    let events = self.connection.checked_send(publish);
                    self.digest(events);
                }
                Err(error) => self.fault(&error),
            }
        }
    }

    fn has_vacancy(&self) -> bool {
        self.connection.get_receive_maximum_vacancy_for_send() != Some(0)
    }

    fn subscribe(&mut self) {
        let options =
            SubOpts::new().set_qos(Qos::AtLeastOnce).set_rh(RetainHandling::DoNotSendRetained);
        let entries: Result<Vec<_>, MqttError> =
            self.filters.iter().map(|filter| SubEntry::new(filter.as_str(), options)).collect();
        let subscribe = entries.and_then(|entries| {
            let packet_id = self.connection.acquire_packet_id()?;
            v5_0::Subscribe::builder().packet_id(packet_id).entries(entries).build()
        });
        match subscribe {
            Ok(subscribe) => {
                let events = self.connection.checked_send(subscribe);
                self.digest(events);
            }
            Err(error) => self.fault(&error),
        }
    }

    fn suback(&mut self, suback: &v5_0::Suback) {
        let codes: Vec<SubackReasonCode> = suback.reason_codes();
        let door = self.policy_filter.is_some_and(|policy| {
            codes.len() > 1
                && codes.iter().enumerate().all(|(at, code)| code.is_success() == (at == policy))
        });
        if door {
            return self.event(SessionEvent::Door);
        }
        let needed = |(at, code): (usize, &SubackReasonCode)| {
            !code.is_success() && Some(at) != self.anchor_filter
        };
        match codes.iter().enumerate().position(needed) {
            None => self.event(SessionEvent::Subscribed),
            Some(index) => {
                let filter = self.filters.get(index).cloned().unwrap_or_default();
                self.event(SessionEvent::SubscriptionRefused(filter));
            }
        }
    }

    fn message(&mut self, publish: &v5_0::Publish) {
        let mut incoming = Incoming {
            topic: publish.topic_name().to_owned(),
            payload: publish.payload().as_slice().to_vec(),
            user_properties: Vec::new(),
            correlation: None,
            packet_id: publish.packet_id(),
        };
        for property in publish.props() {
            match property {
                Property::UserProperty(pair) => {
                    incoming.user_properties.push((pair.key().to_owned(), pair.val().to_owned()));
                }
                Property::CorrelationData(data) => incoming.correlation = Some(data.val().to_vec()),
                _ => {}
            }
        }
        self.event(SessionEvent::Message(incoming));
    }

    fn flush(&mut self) {
        while self.connected && self.outbox.has_waiting() && self.has_vacancy() {
            let Ok(packet_id) = self.connection.acquire_packet_id() else { return };
            let Some(message) = self.outbox.take(packet_id) else { return };
            match publish_packet(packet_id, &message, false) {
                Ok(publish) => {
                    let events = self.connection.checked_send(publish);
                    self.digest(events);
                }
                Err(error) => {
                    // Such a message can never be sent: keeping it would block the rest.
                    self.outbox.acknowledged(packet_id);
                    self.fault(&error);
                }
            }
        }
    }

    fn event(&mut self, event: SessionEvent) {
        self.outputs.push_back(Output::Event(event));
    }

    fn fault(&mut self, error: &MqttError) {
        self.event(SessionEvent::PeerFault(format!("{error:?}")));
        self.outputs.push_back(Output::Close);
    }
}

fn codec() -> Connection<role::Client> {
    let options = ConnectionOptions::new()
        .maximum_packet_size_recv(MAX_PACKET_BYTES)
        .receive_maximum(MAX_COMMANDS_IN_FLIGHT);
    let mut codec = Connection::<role::Client>::with_options(Version::V5_0, options);
    codec.set_auto_ping_response(true);
    codec.set_pingresp_recv_timeout(PING_TIMEOUT_MS);
    codec
}

fn publish_packet(
    packet_id: u16,
    message: &Outgoing,
    duplicate: bool,
) -> Result<v5_0::Publish, MqttError> {
    let mut properties = Vec::new();
    if let Some(correlation) = &message.correlation {
        let data = packet::CorrelationData::new(correlation.clone())?;
        properties.push(Property::CorrelationData(data));
    }
    v5_0::Publish::builder()
        .topic_name(message.topic.as_str())?
        .qos(Qos::AtLeastOnce)
        .dup(duplicate)
        .retain(message.retain)
        .packet_id(packet_id)
        .payload(message.payload.as_slice())
        .props(properties)
        .build()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
