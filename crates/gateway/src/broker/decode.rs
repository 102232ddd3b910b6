//! Bytes from one client → packets. The parsing itself is mqtt-protocol-core's; what it leaves open is checked here.

use super::message::{Properties, Qos};
use super::packet::{
    Connect, Fault, Incoming, Publish, RetainHandling, SubscribeEntry, Version, WillPacket,
};
use mqtt_protocol_core::mqtt::common::Cursor;
use mqtt_protocol_core::mqtt::connection::{
    PacketBuildResult, PacketBuilder, PacketData, RawPacket,
};
use mqtt_protocol_core::mqtt::packet::{self as wire, Property, SubEntry, v3_1_1, v5_0};
use mqtt_protocol_core::mqtt::result_code::{DisconnectReasonCode, MqttError};
use std::collections::HashMap;
use std::sync::Arc;

/// Topic aliases that a client of MQTT 5 may hold; each is a topic of at most 1 KiB.
pub(crate) const TOPIC_ALIASES: u16 = 16;

/// The first byte of a CONNECT: its type, and no flags.
const CONNECT: u8 = 0x10;

/// The reader of one connection. Its memory is bounded by one packet and the aliases.
pub(crate) struct Decoder {
    builder: PacketBuilder,
    version: Option<Version>,
    /// The first byte was seen, and it began a CONNECT.
    begun: bool,
    aliases: HashMap<u16, String>,
}

impl Decoder {
    pub(crate) fn new(max_packet_bytes: u32) -> Self {
        Self {
            builder: PacketBuilder::with_maximum_packet_size(max_packet_bytes),
            version: None,
            begun: false,
            aliases: HashMap::new(),
        }
    }

    /// Which protocol the CONNECT spoke; `None` before it.
    pub(crate) const fn version(&self) -> Option<Version> {
        self.version
    }

    /// Takes bytes off the front of `bytes` until a packet is complete. `None`: all are taken, more are needed.
    pub(crate) fn next(&mut self, bytes: &mut &[u8]) -> Result<Option<Incoming>, Fault> {
        // Whoever speaks another protocol is not waited for.
        if !self.begun && !bytes.is_empty() {
            self.begun = bytes[0] == CONNECT;
            if !self.begun {
                return Err(Fault::Protocol);
            }
        }
        while !bytes.is_empty() {
            let mut cursor = Cursor::new(*bytes);
            let result = self.builder.feed(&mut cursor);
            let taken = usize::try_from(cursor.position()).unwrap_or(bytes.len());
            *bytes = &bytes[taken.min(bytes.len())..];
            match result {
                PacketBuildResult::Complete(raw) => return self.parse(&raw).map(Some),
                PacketBuildResult::Incomplete if taken == 0 => return Ok(None),
                PacketBuildResult::Incomplete => {}
                PacketBuildResult::Error(MqttError::PacketTooLarge) => return Err(Fault::TooLarge),
                PacketBuildResult::Error(_) => return Err(Fault::Malformed),
            }
        }
        Ok(None)
    }

    fn parse(&mut self, raw: &RawPacket) -> Result<Incoming, Fault> {
        let kind = raw.packet_type();
        // The reserved flags of MQTT 5.0 section 2.1.3; only PUBLISH has flags of its own.
        let reserved = match kind {
            3 => raw.flags(),
            6 | 8 | 10 => 0b0010,
            _ => 0,
        };
        if raw.flags() != reserved {
            return Err(Fault::Malformed);
        }
        match (self.version, kind) {
            (None, 1) => self.first(raw),
            (None, _) | (Some(_), 1) => Err(Fault::Protocol),
            (Some(Version::V311), _) => self.parse_311(raw),
            (Some(Version::V5), _) => self.parse_5(raw),
        }
    }

    fn first(&mut self, raw: &RawPacket) -> Result<Incoming, Fault> {
        let data = raw.data_as_slice();
        if data.len() < 10 {
            return Err(Fault::Malformed);
        }
        if &data[..6] != b"\x00\x04MQTT" {
            // MQTT 3.1 and earlier call themselves MQIsdp.
            let ancient = data.starts_with(b"\x00\x06MQIsdp");
            return Err(if ancient { Fault::UnknownVersion } else { Fault::Malformed });
        }
        let flags = data[7];
        let (will, will_qos, will_retain) = (flags & 4 != 0, (flags >> 3) & 3, flags & 0x20 != 0);
        if flags & 1 != 0 || will_qos == 3 || (!will && (will_qos != 0 || will_retain)) {
            return Err(Fault::Malformed);
        }
        match data[6] {
            4 => {
                self.version = Some(Version::V311);
                let packet = raw.parse_exact(v3_1_1::Connect::parse).map_err(fault)?;
                Ok(Incoming::Connect(Box::new(connect_311(&packet))))
            }
            5 => {
                self.version = Some(Version::V5);
                let packet = raw.parse_exact(v5_0::Connect::parse).map_err(fault)?;
                Ok(Incoming::Connect(Box::new(connect_5(&packet))))
            }
            _ => Err(Fault::UnknownVersion),
        }
    }

    fn parse_311(&mut self, raw: &RawPacket) -> Result<Incoming, Fault> {
        Ok(match raw.packet_type() {
            3 => {
                let (packet, _) =
                    v3_1_1::Publish::parse(raw.flags(), publish_data(raw)?).map_err(fault)?;
                let qos = qos(packet.qos());
                Incoming::Publish(Publish {
                    topic: packet.topic_name().to_owned(),
                    payload: packet.payload().as_slice().into(),
                    qos,
                    retain: packet.retain(),
                    id: publish_id(qos, packet.dup(), packet.packet_id())?,
                    expiry_secs: None,
                    properties: Properties::default(),
                })
            }
            4 => Incoming::Puback { id: id(parsed(raw, v3_1_1::Puback::parse)?.packet_id())? },
            5 => Incoming::Pubrec {
                id: id(parsed(raw, v3_1_1::Pubrec::parse)?.packet_id())?,
                refused: false,
            },
            6 => Incoming::Pubrel { id: id(parsed(raw, v3_1_1::Pubrel::parse)?.packet_id())? },
            7 => Incoming::Pubcomp { id: id(parsed(raw, v3_1_1::Pubcomp::parse)?.packet_id())? },
            8 => {
                let packet = parsed(raw, v3_1_1::Subscribe::parse)?;
                let entries = packet.entries().iter().map(entry).collect();
                Incoming::Subscribe { id: id(packet.packet_id())?, subscription_id: None, entries }
            }
            10 => {
                let packet = parsed(raw, v3_1_1::Unsubscribe::parse)?;
                let filters = packet.entries().iter().map(|f| f.as_str().to_owned()).collect();
                Incoming::Unsubscribe { id: id(packet.packet_id())?, filters }
            }
            12 => parsed(raw, v3_1_1::Pingreq::parse).map(|_| Incoming::Ping)?,
            14 => parsed(raw, v3_1_1::Disconnect::parse)
                .map(|_| Incoming::Disconnect { with_will: false, session_expiry: None })?,
            _ => return Err(Fault::Protocol),
        })
    }

    fn parse_5(&mut self, raw: &RawPacket) -> Result<Incoming, Fault> {
        Ok(match raw.packet_type() {
            3 => Incoming::Publish(self.publish_5(raw)?),
            4 => Incoming::Puback { id: id(parsed(raw, v5_0::Puback::parse)?.packet_id())? },
            5 => {
                let packet = parsed(raw, v5_0::Pubrec::parse)?;
                let refused = packet.reason_code().is_some_and(|code| code as u8 >= 0x80);
                Incoming::Pubrec { id: id(packet.packet_id())?, refused }
            }
            6 => Incoming::Pubrel { id: id(parsed(raw, v5_0::Pubrel::parse)?.packet_id())? },
            7 => Incoming::Pubcomp { id: id(parsed(raw, v5_0::Pubcomp::parse)?.packet_id())? },
            8 => {
                let packet = parsed(raw, v5_0::Subscribe::parse)?;
                let subscription_id = packet.props().iter().find_map(|property| match property {
                    Property::SubscriptionIdentifier(value) => Some(value.val()),
                    _ => None,
                });
                let entries = packet.entries().iter().map(entry).collect();
                Incoming::Subscribe { id: id(packet.packet_id())?, subscription_id, entries }
            }
            10 => {
                let packet = parsed(raw, v5_0::Unsubscribe::parse)?;
                let filters = packet.entries().iter().map(|f| f.as_str().to_owned()).collect();
                Incoming::Unsubscribe { id: id(packet.packet_id())?, filters }
            }
            12 => parsed(raw, v5_0::Pingreq::parse).map(|_| Incoming::Ping)?,
            14 => {
                let packet = parsed(raw, v5_0::Disconnect::parse)?;
                let session_expiry = packet.props().iter().flatten().find_map(|p| match p {
                    Property::SessionExpiryInterval(value) => Some(value.val()),
                    _ => None,
                });
                let with_will = packet
                    .reason_code()
                    .is_some_and(|code| code != DisconnectReasonCode::NormalDisconnection);
                Incoming::Disconnect { with_will, session_expiry }
            }
            _ => return Err(Fault::Protocol),
        })
    }

    fn publish_5(&mut self, raw: &RawPacket) -> Result<Publish, Fault> {
        let (packet, _) = v5_0::Publish::parse(raw.flags(), publish_data(raw)?).map_err(fault)?;
        let mut topic = packet.topic_name().to_owned();
        let alias = packet.props().iter().find_map(|property| match property {
            Property::TopicAlias(value) => Some(value.val()),
            _ => None,
        });
        match alias {
            Some(alias) if alias == 0 || alias > TOPIC_ALIASES => return Err(Fault::TopicAlias),
            Some(alias) if topic.is_empty() => {
                topic = self.aliases.get(&alias).ok_or(Fault::TopicAlias)?.clone();
            }
            // A name that is no topic is refused when it is published; it need not be kept.
            Some(alias) if topic.len() <= countersign_model::topic::MAX_BYTES => {
                self.aliases.insert(alias, topic.clone());
            }
            None if topic.is_empty() => return Err(Fault::Protocol),
            _ => {}
        }
        // Only a server sends subscription identifiers (MQTT 5.0 section 3.3.4).
        if packet.props().iter().any(|p| matches!(p, Property::SubscriptionIdentifier(_))) {
            return Err(Fault::Protocol);
        }
        let qos = qos(packet.qos());
        Ok(Publish {
            topic,
            payload: packet.payload().as_slice().into(),
            qos,
            retain: packet.retain(),
            id: publish_id(qos, packet.dup(), packet.packet_id())?,
            expiry_secs: expiry(packet.props()),
            properties: properties(packet.props()),
        })
    }
}

fn parsed<T>(
    raw: &RawPacket,
    parse: impl FnOnce(&[u8]) -> Result<(T, usize), MqttError>,
) -> Result<T, Fault> {
    raw.parse_exact(parse).map_err(fault)
}

const fn fault(error: MqttError) -> Fault {
    match error {
        MqttError::ProtocolError => Fault::Protocol,
        MqttError::PacketTooLarge => Fault::TooLarge,
        MqttError::UnsupportedProtocolVersion => Fault::UnknownVersion,
        _ => Fault::Malformed,
    }
}

fn publish_data(raw: &RawPacket) -> Result<Arc<[u8]>, Fault> {
    match &raw.data {
        PacketData::Publish(data) => Ok(data.clone()),
        PacketData::Normal(_) => Err(Fault::Malformed),
    }
}

const fn id(id: u16) -> Result<u16, Fault> {
    if id == 0 { Err(Fault::Protocol) } else { Ok(id) }
}

fn publish_id(qos: Qos, dup: bool, id: Option<u16>) -> Result<Option<u16>, Fault> {
    match (qos, id) {
        (Qos::AtMostOnce, _) if dup => Err(Fault::Malformed),
        (Qos::AtMostOnce, _) => Ok(None),
        (_, None | Some(0)) => Err(Fault::Protocol),
        (_, id) => Ok(id),
    }
}

const fn qos(qos: wire::Qos) -> Qos {
    match qos {
        wire::Qos::AtMostOnce => Qos::AtMostOnce,
        wire::Qos::AtLeastOnce => Qos::AtLeastOnce,
        wire::Qos::ExactlyOnce => Qos::ExactlyOnce,
    }
}

fn entry(entry: &SubEntry) -> SubscribeEntry {
    let options = entry.sub_opts();
    SubscribeEntry {
        filter: entry.topic_filter().to_owned(),
        qos: qos(options.qos()),
        no_local: options.nl(),
        retain_as_published: options.rap(),
        retain_handling: match options.rh() {
            wire::RetainHandling::SendRetained => RetainHandling::Always,
            wire::RetainHandling::SendRetainedIfNotExists => RetainHandling::IfNew,
            wire::RetainHandling::DoNotSendRetained => RetainHandling::Never,
        },
    }
}

fn expiry(properties: &[Property]) -> Option<u32> {
    properties.iter().find_map(|property| match property {
        Property::MessageExpiryInterval(value) => Some(value.val()),
        _ => None,
    })
}

fn properties(wire: &[Property]) -> Properties {
    let mut ours = Properties::default();
    for property in wire {
        match property {
            Property::PayloadFormatIndicator(value) => ours.utf8 = value.val() == 1,
            Property::ContentType(value) => ours.content_type = Some(value.val().to_owned()),
            Property::ResponseTopic(value) => ours.response_topic = Some(value.val().to_owned()),
            Property::CorrelationData(value) => ours.correlation = Some(value.val().to_vec()),
            Property::UserProperty(value) => {
                ours.user.push((value.key().to_owned(), value.val().to_owned()));
            }
            _ => {}
        }
    }
    ours
}

fn connect_311(packet: &v3_1_1::Connect) -> Connect {
    let will = packet.will_flag().then(|| WillPacket {
        topic: packet.will_topic().unwrap_or_default().to_owned(),
        payload: packet.will_payload().unwrap_or_default().into(),
        qos: qos(packet.will_qos()),
        retain: packet.will_retain(),
        delay_secs: 0,
        expiry_secs: None,
        properties: Properties::default(),
    });
    Connect {
        client_id: packet.client_id().to_owned(),
        clean_start: packet.clean_session(),
        keep_alive: packet.keep_alive(),
        will,
        session_expiry: if packet.clean_session() { 0 } else { u32::MAX },
        receive_maximum: u16::MAX,
        maximum_packet: u32::MAX,
        enhanced_auth: false,
    }
}

fn connect_5(packet: &v5_0::Connect) -> Connect {
    let mut connect = Connect {
        client_id: packet.client_id().to_owned(),
        clean_start: packet.clean_start(),
        keep_alive: packet.keep_alive(),
        will: None,
        session_expiry: 0,
        receive_maximum: u16::MAX,
        maximum_packet: u32::MAX,
        enhanced_auth: false,
    };
    for property in packet.props() {
        match property {
            Property::SessionExpiryInterval(value) => connect.session_expiry = value.val(),
            Property::ReceiveMaximum(value) => connect.receive_maximum = value.val().max(1),
            Property::MaximumPacketSize(value) => connect.maximum_packet = value.val(),
            Property::AuthenticationMethod(_) => connect.enhanced_auth = true,
            _ => {}
        }
    }
    connect.will = packet.will_flag().then(|| WillPacket {
        topic: packet.will_topic().unwrap_or_default().to_owned(),
        payload: packet.will_payload().unwrap_or_default().into(),
        qos: qos(packet.will_qos()),
        retain: packet.will_retain(),
        delay_secs: packet
            .will_props()
            .iter()
            .find_map(|property| match property {
                Property::WillDelayInterval(value) => Some(value.val()),
                _ => None,
            })
            .unwrap_or(0),
        expiry_secs: expiry(packet.will_props()),
        properties: properties(packet.will_props()),
    });
    connect
}
