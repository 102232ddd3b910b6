//! The core against a scripted gateway that speaks through the same codec, in the server's role.

use super::*;
use crate::uplink::outbox::Weight;
use mqtt_protocol_core::mqtt::connection::Connection as Codec;

/// A gateway that does nothing by itself.
struct Gateway {
    codec: Codec<role::Server>,
    heard: Vec<Packet>,
}

impl Gateway {
    fn new() -> Self {
        Self { codec: Codec::<role::Server>::new(Version::V5_0), heard: Vec::new() }
    }

    /// Carries all that the device says to the gateway; tells what the device told the agent.
    fn listen(&mut self, device: &mut Uplink) -> Vec<SessionEvent> {
        let mut told = Vec::new();
        while let Some(output) = device.poll() {
            match output {
                Output::Send(bytes) => {
                    let mut cursor = Cursor::new(bytes.as_slice());
                    while (cursor.position() as usize) < bytes.len() {
                        for event in self.codec.recv(&mut cursor) {
                            if let CoreEvent::NotifyPacketReceived(packet) = event {
                                self.heard.push(packet);
                            }
                        }
                    }
                }
                Output::Event(event) => told.push(event),
                Output::Close | Output::SetTimer(..) | Output::StopTimer(_) => {}
            }
        }
        told
    }

    fn say(&mut self, packet: impl Into<Packet>, device: &mut Uplink) {
        for event in self.codec.send(packet.into()) {
            if let CoreEvent::RequestSendPacket { packet, .. } = event {
                device.received(&packet.to_continuous_buffer());
            }
        }
    }

    fn accept(&mut self, session_present: bool, receive_maximum: u16, device: &mut Uplink) {
        let maximum = packet::ReceiveMaximum::new(receive_maximum).unwrap();
        let connack = v5_0::Connack::builder()
            .session_present(session_present)
            .reason_code(ConnectReasonCode::Success)
            .props(vec![Property::ReceiveMaximum(maximum)])
            .build()
            .unwrap();
        self.say(connack, device);
    }

    fn thank(&mut self, packet_id: u16, device: &mut Uplink) {
        self.say(v5_0::Puback::builder().packet_id(packet_id).build().unwrap(), device);
    }

    fn published(&mut self) -> Vec<(u16, String)> {
        let publishes = std::mem::take(&mut self.heard).into_iter().filter_map(|packet| {
            let Packet::V5_0Publish(publish) = packet else { return None };
            let text = String::from_utf8(publish.payload().as_slice().to_vec()).ok()?;
            Some((publish.packet_id()?, text))
        });
        publishes.collect()
    }
}

fn device() -> Uplink {
    Uplink::new("plug-1", vec!["things/plug-1/actions/+".to_owned()], 60)
}

fn reading(text: &str) -> Outgoing {
    Outgoing {
        topic: "things/plug-1/properties/power".to_owned(),
        payload: text.as_bytes().to_vec(),
        retain: true,
        correlation: None,
        weight: Weight::Reading,
    }
}

fn texts(published: &[(u16, String)]) -> Vec<&str> {
    published.iter().map(|(_, text)| text.as_str()).collect()
}

#[test]
fn it_connects_keeps_its_session_and_subscribes() {
    let (mut device, mut gateway) = (device(), Gateway::new());
    device.opened();
    gateway.listen(&mut device);
    let Some(Packet::V5_0Connect(connect)) = gateway.heard.first() else { panic!("no CONNECT") };
    assert_eq!(connect.client_id(), "plug-1");
    assert!(!connect.clean_start());
    assert!(connect.props().iter().any(
        |p| matches!(p, Property::SessionExpiryInterval(secs) if secs.val() == SESSION_EXPIRY_SECS)
    ));
    gateway.accept(false, 10, &mut device);
    let told = gateway.listen(&mut device);
    assert_eq!(told, [SessionEvent::Connected { session_present: false }]);
    let Some(Packet::V5_0Subscribe(subscribe)) = gateway.heard.last() else {
        panic!("no SUBSCRIBE")
    };
    let codes = vec![SubackReasonCode::NotAuthorized];
    let suback = v5_0::Suback::builder().packet_id(subscribe.packet_id()).reason_codes(codes);
    gateway.say(suback.build().unwrap(), &mut device);
    let refused = SessionEvent::SubscriptionRefused("things/plug-1/actions/+".to_owned());
    assert_eq!(gateway.listen(&mut device), [refused]);
}

#[test]
fn what_is_not_thanked_for_is_sent_again_on_the_next_connection() {
    for session_present in [true, false] {
        let (mut device, mut gateway) = (device(), Gateway::new());
        device.opened();
        gateway.listen(&mut device);
        gateway.accept(false, 10, &mut device);
        for text in ["1", "2", "3"] {
            device.publish(reading(text)).unwrap();
        }
        gateway.listen(&mut device);
        let sent = gateway.published();
        assert_eq!(texts(&sent), ["1", "2", "3"]);
        gateway.thank(sent[1].0, &mut device);
        device.closed();
        device.publish(reading("4")).unwrap();
        assert_eq!(device.owed(), 3);

        let mut gateway = Gateway::new();
        while device.poll().is_some() {}
        device.opened();
        gateway.listen(&mut device);
        gateway.accept(session_present, 10, &mut device);
        gateway.listen(&mut device);
        let sent = gateway.published();
        assert_eq!(texts(&sent), ["1", "3", "4"], "session present: {session_present}");
        for (packet_id, _) in sent {
            gateway.thank(packet_id, &mut device);
        }
        assert_eq!(device.owed(), 0);
    }
}

#[test]
fn it_sends_no_more_at_once_than_the_gateway_allows() {
    let (mut device, mut gateway) = (device(), Gateway::new());
    for text in ["1", "2", "3"] {
        device.publish(reading(text)).unwrap();
    }
    device.opened();
    gateway.listen(&mut device);
    gateway.accept(false, 2, &mut device);
    gateway.listen(&mut device);
    let sent = gateway.published();
    assert_eq!(texts(&sent), ["1", "2"]);
    gateway.thank(sent[0].0, &mut device);
    gateway.listen(&mut device);
    assert_eq!(texts(&gateway.published()), ["3"]);
}

#[test]
fn a_command_arrives_whole_and_is_thanked_for_when_we_say_so() {
    let (mut device, mut gateway) = (device(), Gateway::new());
    device.opened();
    gateway.listen(&mut device);
    gateway.accept(false, 10, &mut device);
    gateway.listen(&mut device);
    let packet_id = gateway.codec.acquire_packet_id().unwrap();
    let stamp = packet::UserProperty::new("countersign-command", "00ff").unwrap();
    let correlation = packet::CorrelationData::new(b"q1".to_vec()).unwrap();
    let publish = v5_0::Publish::builder()
        .topic_name("things/plug-1/actions/toggle")
        .unwrap()
        .qos(Qos::AtLeastOnce)
        .packet_id(packet_id)
        .payload("null")
        .props(vec![Property::UserProperty(stamp), Property::CorrelationData(correlation)]);
    gateway.heard.clear();
    gateway.say(publish.build().unwrap(), &mut device);
    let told = gateway.listen(&mut device);
    let [SessionEvent::Message(message)] = told.as_slice() else { panic!("{told:?}") };
    assert_eq!(message.topic, "things/plug-1/actions/toggle");
    let stamp = ("countersign-command".to_owned(), "00ff".to_owned());
    assert_eq!(message.user_properties, [stamp]);
    assert_eq!(message.correlation.as_deref(), Some(&b"q1"[..]));
    assert!(gateway.heard.is_empty(), "not thanked before it is noted");
    device.acknowledge(message.packet_id.unwrap());
    gateway.listen(&mut device);
    assert!(matches!(gateway.heard.last(), Some(Packet::V5_0Puback(_))));
}

#[test]
fn refusals_and_garbage_close_the_connection() {
    let (mut device, mut gateway) = (device(), Gateway::new());
    device.opened();
    gateway.listen(&mut device);
    let connack = v5_0::Connack::builder()
        .session_present(false)
        .reason_code(ConnectReasonCode::NotAuthorized)
        .build()
        .unwrap();
    gateway.say(connack, &mut device);
    assert_eq!(gateway.listen(&mut device), [SessionEvent::Refused(0x87)]);

    for garbage in [&[0xff; 64][..], &[0x20, 0xff, 0xff, 0xff, 0xff]] {
        let mut device = Uplink::new("plug-1", Vec::new(), 60);
        device.opened();
        device.received(garbage);
        let outputs: Vec<_> = std::iter::from_fn(|| device.poll()).collect();
        assert!(outputs.contains(&Output::Close), "{garbage:02x?}: {outputs:?}");
    }
}

#[test]
fn a_gateway_that_stops_answering_pings_is_left() {
    let (mut device, mut gateway) = (device(), Gateway::new());
    device.opened();
    gateway.listen(&mut device);
    gateway.accept(false, 10, &mut device);
    gateway.listen(&mut device);
    device.fired(TimerKind::PingreqSend);
    let outputs: Vec<_> = std::iter::from_fn(|| device.poll()).collect();
    assert!(outputs.contains(&Output::SetTimer(TimerKind::PingrespRecv, PING_TIMEOUT_MS)));
    device.fired(TimerKind::PingrespRecv);
    let outputs: Vec<_> = std::iter::from_fn(|| device.poll()).collect();
    assert!(outputs.contains(&Output::Close), "{outputs:?}");
}
