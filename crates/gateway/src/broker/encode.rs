//! Packets → bytes for one client, in its version of MQTT.

use super::message::Qos;
use super::packet::{ConnackFacts, Outgoing, OutgoingPublish, Version, code};
use mqtt_protocol_core::mqtt::packet::{self as wire, Property, v3_1_1, v5_0};
use mqtt_protocol_core::mqtt::result_code::{
    ConnectReasonCode, ConnectReturnCode, DisconnectReasonCode, MqttError, PubackReasonCode,
    PubcompReasonCode, PubrecReasonCode, PubrelReasonCode, SubackReasonCode, SubackReturnCode,
    UnsubackReasonCode,
};

/// A packet that cannot be written: a field beyond the protocol's bounds. Ours are bounded below those.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Unwritable;

impl From<MqttError> for Unwritable {
    fn from(_: MqttError) -> Self {
        Self
    }
}

/// The packet's bytes; none where the version has no such packet.
pub(crate) fn encode(packet: &Outgoing<'_>, version: Version) -> Result<Vec<u8>, Unwritable> {
    match version {
        Version::V311 => encode_311(packet),
        Version::V5 => encode_5(packet),
    }
}

/// Reads a byte as one of the protocol's codes.
fn as_code<T: TryFrom<u8>>(byte: u8) -> Result<T, Unwritable> {
    T::try_from(byte).map_err(|_| Unwritable)
}

fn encode_311(packet: &Outgoing<'_>) -> Result<Vec<u8>, Unwritable> {
    Ok(match packet {
        Outgoing::Connack { session_present, code, .. } => v3_1_1::Connack::builder()
            .session_present(*session_present)
            .return_code(return_code(*code))
            .build()?
            .to_continuous_buffer(),
        Outgoing::Publish(publish) => publish_311(publish)?,
        Outgoing::Puback { id, .. } => {
            v3_1_1::Puback::builder().packet_id(*id).build()?.to_continuous_buffer()
        }
        Outgoing::Pubrec { id, .. } => {
            v3_1_1::Pubrec::builder().packet_id(*id).build()?.to_continuous_buffer()
        }
        Outgoing::Pubrel { id, .. } => {
            v3_1_1::Pubrel::builder().packet_id(*id).build()?.to_continuous_buffer()
        }
        Outgoing::Pubcomp { id, .. } => {
            v3_1_1::Pubcomp::builder().packet_id(*id).build()?.to_continuous_buffer()
        }
        Outgoing::Suback { id, codes } => {
            let codes: Result<Vec<SubackReturnCode>, _> = codes
                .iter()
                .map(|code| as_code(if *code >= 0x80 { 0x80 } else { *code }))
                .collect();
            v3_1_1::Suback::builder()
                .packet_id(*id)
                .return_codes(codes?)
                .build()?
                .to_continuous_buffer()
        }
        Outgoing::Unsuback { id, .. } => {
            v3_1_1::Unsuback::builder().packet_id(*id).build()?.to_continuous_buffer()
        }
        Outgoing::Pong => v3_1_1::Pingresp::new().to_continuous_buffer(),
        Outgoing::Disconnect { .. } => Vec::new(),
    })
}

/// MQTT 3.1.1 section 3.2.2.3 has five ways to say no.
const fn return_code(reason: u8) -> ConnectReturnCode {
    match reason {
        code::SUCCESS => ConnectReturnCode::Accepted,
        code::UNSUPPORTED_VERSION => ConnectReturnCode::UnacceptableProtocolVersion,
        code::CLIENT_ID_NOT_VALID => ConnectReturnCode::IdentifierRejected,
        code::QUOTA_EXCEEDED | code::SERVER_SHUTTING_DOWN => ConnectReturnCode::ServerUnavailable,
        _ => ConnectReturnCode::NotAuthorized,
    }
}

const fn qos(qos: Qos) -> wire::Qos {
    match qos {
        Qos::AtMostOnce => wire::Qos::AtMostOnce,
        Qos::AtLeastOnce => wire::Qos::AtLeastOnce,
        Qos::ExactlyOnce => wire::Qos::ExactlyOnce,
    }
}

fn publish_311(publish: &OutgoingPublish<'_>) -> Result<Vec<u8>, Unwritable> {
    let mut builder = v3_1_1::Publish::builder()
        .topic_name(publish.topic)?
        .qos(qos(publish.qos))
        .retain(publish.retain)
        .dup(publish.dup)
        .payload(publish.payload.clone());
    if let Some(id) = publish.id {
        builder = builder.packet_id(id);
    }
    Ok(builder.build()?.to_continuous_buffer())
}

fn publish_5(publish: &OutgoingPublish<'_>) -> Result<Vec<u8>, Unwritable> {
    let ours = publish.properties;
    let mut properties: Vec<Property> = Vec::new();
    if ours.utf8 {
        properties.push(wire::PayloadFormatIndicator::new(wire::PayloadFormat::String)?.into());
    }
    if let Some(seconds) = publish.expiry_secs {
        properties.push(wire::MessageExpiryInterval::new(seconds)?.into());
    }
    if let Some(text) = &ours.content_type {
        properties.push(wire::ContentType::new(text.as_str())?.into());
    }
    if let Some(text) = &ours.response_topic {
        properties.push(wire::ResponseTopic::new(text.as_str())?.into());
    }
    if let Some(bytes) = &ours.correlation {
        properties.push(wire::CorrelationData::new(bytes)?.into());
    }
    for (name, value) in &ours.user {
        properties.push(wire::UserProperty::new(name.as_str(), value.as_str())?.into());
    }
    for subscription in publish.subscription_ids {
        properties.push(wire::SubscriptionIdentifier::new(*subscription)?.into());
    }
    let mut builder = v5_0::Publish::builder()
        .topic_name(publish.topic)?
        .qos(qos(publish.qos))
        .retain(publish.retain)
        .dup(publish.dup)
        .props(properties)
        .payload(publish.payload.clone());
    if let Some(id) = publish.id {
        builder = builder.packet_id(id);
    }
    Ok(builder.build()?.to_continuous_buffer())
}

fn connack_properties(facts: &ConnackFacts<'_>) -> Result<Vec<Property>, Unwritable> {
    let mut properties: Vec<Property> = vec![
        wire::ReceiveMaximum::new(facts.receive_maximum)?.into(),
        wire::MaximumPacketSize::new(facts.maximum_packet)?.into(),
        wire::TopicAliasMaximum::new(facts.topic_alias_maximum)?.into(),
    ];
    if let Some(id) = facts.assigned_client_id {
        properties.push(wire::AssignedClientIdentifier::new(id)?.into());
    }
    if let Some(seconds) = facts.keep_alive {
        properties.push(wire::ServerKeepAlive::new(seconds)?.into());
    }
    if let Some(seconds) = facts.session_expiry {
        properties.push(wire::SessionExpiryInterval::new(seconds)?.into());
    }
    Ok(properties)
}

/// MQTT 5.0 section 3.14.2.2.3 and its like.
fn reason_string(why: Option<&str>) -> Result<Vec<Property>, Unwritable> {
    let why = why.map(|why| Ok::<_, Unwritable>(wire::ReasonString::new(why)?.into()));
    Ok(why.transpose()?.into_iter().collect())
}

fn encode_5(packet: &Outgoing<'_>) -> Result<Vec<u8>, Unwritable> {
    Ok(match packet {
        Outgoing::Connack { session_present, code, facts } => {
            let reason: ConnectReasonCode = as_code(*code)?;
            let builder =
                v5_0::Connack::builder().session_present(*session_present).reason_code(reason);
            let builder = if reason == ConnectReasonCode::Success {
                builder.props(connack_properties(facts)?)
            } else {
                builder.props(reason_string(facts.why)?)
            };
            builder.build()?.to_continuous_buffer()
        }
        Outgoing::Publish(publish) => publish_5(publish)?,
        Outgoing::Puback { id, code } => {
            let reason: PubackReasonCode = as_code(*code)?;
            v5_0::Puback::builder()
                .packet_id(*id)
                .reason_code(reason)
                .build()?
                .to_continuous_buffer()
        }
        Outgoing::Pubrec { id, code } => {
            let reason: PubrecReasonCode = as_code(*code)?;
            v5_0::Pubrec::builder()
                .packet_id(*id)
                .reason_code(reason)
                .build()?
                .to_continuous_buffer()
        }
        Outgoing::Pubrel { id, code } => {
            let reason: PubrelReasonCode = as_code(*code)?;
            v5_0::Pubrel::builder()
                .packet_id(*id)
                .reason_code(reason)
                .build()?
                .to_continuous_buffer()
        }
        Outgoing::Pubcomp { id, code } => {
            let reason: PubcompReasonCode = as_code(*code)?;
            v5_0::Pubcomp::builder()
                .packet_id(*id)
                .reason_code(reason)
                .build()?
                .to_continuous_buffer()
        }
        Outgoing::Suback { id, codes } => {
            let codes: Result<Vec<SubackReasonCode>, _> =
                codes.iter().map(|code| as_code(*code)).collect();
            v5_0::Suback::builder()
                .packet_id(*id)
                .reason_codes(codes?)
                .build()?
                .to_continuous_buffer()
        }
        Outgoing::Unsuback { id, codes } => {
            let codes: Result<Vec<UnsubackReasonCode>, _> =
                codes.iter().map(|code| as_code(*code)).collect();
            v5_0::Unsuback::builder()
                .packet_id(*id)
                .reason_codes(codes?)
                .build()?
                .to_continuous_buffer()
        }
        Outgoing::Pong => v5_0::Pingresp::new().to_continuous_buffer(),
        Outgoing::Disconnect { code, why } => {
            let reason: DisconnectReasonCode = as_code(*code)?;
            let packet = v5_0::Disconnect::builder().reason_code(reason);
            // Without a sentence the properties, and their length, stay out.
            let packet = match why {
                Some(_) => packet.props(reason_string(*why)?),
                None => packet,
            };
            packet.build()?.to_continuous_buffer()
        }
    })
}
