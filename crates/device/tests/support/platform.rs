//! The maker's platform, scripted: an enrolment server, and a gateway that does what a test tells it.

use super::THING;
use super::maker::Maker;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use countersign_crypto::certificate::{Certificate, IdentityKind};
use countersign_crypto::pkcs7::certs_only;
use countersign_crypto::policy::{CompiledPolicy, Use};
use countersign_crypto::tls::{ClientRule, PeerAnchors, RevocationCheck, TlsServer, VerifiedPeer};
use countersign_device::config::ProductListener;
use countersign_protocol::pairing::GatewayAddress;
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use mqtt_protocol_core::mqtt::common::Cursor;
use mqtt_protocol_core::mqtt::connection::{Connection, Event};
use mqtt_protocol_core::mqtt::packet::{self, GenericPacketTrait, Packet, Property, Qos, v5_0};
use mqtt_protocol_core::mqtt::result_code::{ConnectReasonCode, SubackReasonCode};
use mqtt_protocol_core::mqtt::{Version, role};
use std::collections::BTreeSet;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::broadcast;

type Script = v5_0::Publish;
/// Topic, payload, correlation data.
pub type Published = (String, Vec<u8>, Option<Vec<u8>>);

/// What both servers share.
#[derive(Default)]
pub struct Seen {
    pub published: Mutex<Vec<Published>>,
    pub enrolled: Mutex<Vec<(String, IdentityKind)>>,
    pub connected: Mutex<Vec<String>>,
    revoked: Mutex<BTreeSet<String>>,
}

impl RevocationCheck for SeenCheck {
    fn is_revoked(&self, certificate: &Certificate) -> bool {
        self.0.revoked.lock().unwrap().contains(&certificate.serial_hex())
    }
}

#[derive(Clone)]
struct SeenCheck(Arc<Seen>);

impl std::fmt::Debug for SeenCheck {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SeenCheck")
    }
}

pub struct Platform {
    pub seen: Arc<Seen>,
    pub address: GatewayAddress,
    pub listeners: Vec<ProductListener>,
    script: broadcast::Sender<Script>,
    hang_up: broadcast::Sender<()>,
}

impl Platform {
    pub async fn new(maker: Arc<Maker>) -> Self {
        let seen = Arc::new(Seen::default());
        let (script, _) = broadcast::channel(64);
        let (hang_up, _) = broadcast::channel(4);
        let mqtt = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let est = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addresses = [mqtt.local_addr().unwrap(), est.local_addr().unwrap()];
        let policy = CompiledPolicy::built_in();
        let things = |kind, ca: &Certificate| {
            let check = Arc::new(SeenCheck(seen.clone()));
            PeerAnchors::new().with(kind, std::slice::from_ref(ca)).checked_by(check)
        };
        let required = ClientRule::Required(things(IdentityKind::Thing, &maker.ldevid.certificate));
        let optional = ClientRule::Optional(
            things(IdentityKind::Thing, &maker.ldevid.certificate)
                .with(IdentityKind::IdevId, std::slice::from_ref(maker.idevid_ca())),
        );
        let server = maker.server();
        let tls = TlsServer::new(&policy, Use::DeviceUplink, &server, &required, "mqtt").unwrap();
        tokio::spawn(gateway(mqtt, tls, seen.clone(), script.clone(), hang_up.clone()));
        let tls = TlsServer::new(&policy, Use::Est, &server, &optional, "http/1.1").unwrap();
        tokio::spawn(enrolment(est, tls, maker, seen.clone()));
        let listeners = addresses
            .map(|address| ProductListener { address, purpose: "the test's platform".to_owned() });
        let address = GatewayAddress {
            mqtt: addresses[0].to_string(),
            est: addresses[1].to_string(),
            server_name: "127.0.0.1".to_owned(),
        };
        Self { seen, address, listeners: listeners.to_vec(), script, hang_up }
    }

    /// Sends a command with these user properties.
    pub fn command(&self, topic: &str, payload: &str, stamp: &[(&str, String)]) {
        let mut properties: Vec<Property> = stamp
            .iter()
            .map(|(k, v)| {
                Property::UserProperty(packet::UserProperty::new(*k, v.as_str()).unwrap())
            })
            .collect();
        let correlation = packet::CorrelationData::new(b"question".to_vec()).unwrap();
        properties.push(Property::CorrelationData(correlation));
        let publish = v5_0::Publish::builder()
            .topic_name(format!("things/{THING}/{topic}"))
            .unwrap()
            .qos(Qos::AtLeastOnce)
            .packet_id(1_u16)
            .payload(payload)
            .props(properties)
            .build()
            .unwrap();
        self.script.send(publish).unwrap();
    }

    /// Gives the device a signed policy, or what looks like one.
    pub fn policy(&self, document: &[u8]) {
        let publish = v5_0::Publish::builder()
            .topic_name(format!("things/{THING}/policy"))
            .unwrap()
            .qos(Qos::AtLeastOnce)
            .packet_id(1_u16)
            .payload(document)
            .build()
            .unwrap();
        self.script.send(publish).unwrap();
    }

    /// What was published to a topic of the device.
    pub fn published(&self, topic: &str) -> Vec<serde_json::Value> {
        let topic = format!("things/{THING}/{topic}");
        let all = self.seen.published.lock().unwrap();
        let payloads = all.iter().filter(|(to, _, _)| *to == topic);
        payloads.map(|(_, payload, _)| serde_json::from_slice(payload).unwrap()).collect()
    }

    /// Revokes a certificate and closes every session.
    pub fn revoke(&self, serial: &str) {
        self.seen.revoked.lock().unwrap().insert(serial.to_owned());
        let _ = self.hang_up.send(());
    }
}

async fn gateway(
    listener: TcpListener,
    tls: TlsServer,
    seen: Arc<Seen>,
    script: broadcast::Sender<Script>,
    hang_up: broadcast::Sender<()>,
) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let (tls, seen) = (tls.clone(), seen.clone());
        let (script, hang_up) = (script.subscribe(), hang_up.subscribe());
        tokio::spawn(async move {
            let _ = session(stream, &tls, &seen, script, hang_up).await;
        });
    }
}

async fn session(
    stream: TcpStream,
    tls: &TlsServer,
    seen: &Seen,
    mut script: broadcast::Receiver<Script>,
    mut hang_up: broadcast::Receiver<()>,
) -> Option<()> {
    let mut channel = tls.accept(stream).await.ok()?;
    let serial = channel.peer()?.certificate().serial_hex();
    let mut codec = Connection::<role::Server>::new(Version::V5_0);
    codec.set_auto_pub_response(true);
    codec.set_auto_ping_response(true);
    let mut buffer = [0; 8192];
    loop {
        let mut events = Vec::new();
        tokio::select! {
            _ = hang_up.recv() => return None,
            Ok(publish) = script.recv() => {
                let packet_id = codec.acquire_packet_id().ok()?;
                let mut renumbered = v5_0::Publish::builder()
                    .topic_name(publish.topic_name()).ok()?
                    .qos(Qos::AtLeastOnce)
                    .packet_id(packet_id)
                    .payload(publish.payload().as_slice());
                renumbered = renumbered.props(publish.props().clone());
                events.extend(codec.send(renumbered.build().ok()?.into()));
            }
            read = channel.read(&mut buffer) => {
                let bytes = &buffer[..read.ok().filter(|read| *read > 0)?];
                let mut cursor = Cursor::new(bytes);
                while (cursor.position() as usize) < bytes.len() {
                    events.extend(codec.recv(&mut cursor));
                }
            }
        }
        while !events.is_empty() {
            let mut more = Vec::new();
            for event in events {
                match event {
                    Event::RequestSendPacket { packet, .. } => {
                        channel.write_all(&packet.to_continuous_buffer()).await.ok()?;
                        channel.flush().await.ok()?;
                    }
                    Event::NotifyPacketReceived(packet) => {
                        more.extend(answer(&mut codec, packet, seen, &serial));
                    }
                    Event::RequestClose => return None,
                    _ => {}
                }
            }
            events = more;
        }
    }
}

fn answer(
    codec: &mut Connection<role::Server>,
    packet: Packet,
    seen: &Seen,
    serial: &str,
) -> Vec<Event> {
    match packet {
        Packet::V5_0Connect(connect) => {
            assert_eq!(connect.client_id(), THING);
            let connack = v5_0::Connack::builder()
                .session_present(false)
                .reason_code(ConnectReasonCode::Success);
            codec.send(connack.build().unwrap().into())
        }
        Packet::V5_0Subscribe(subscribe) => {
            seen.connected.lock().unwrap().push(serial.to_owned());
            let codes = vec![SubackReasonCode::GrantedQos1; subscribe.entries().len()];
            let suback =
                v5_0::Suback::builder().packet_id(subscribe.packet_id()).reason_codes(codes);
            codec.send(suback.build().unwrap().into())
        }
        Packet::V5_0Publish(publish) => {
            let correlation = publish.props().iter().find_map(|property| match property {
                Property::CorrelationData(data) => Some(data.val().to_vec()),
                _ => None,
            });
            let topic = publish.topic_name().to_owned();
            let payload = publish.payload().as_slice().to_vec();
            seen.published.lock().unwrap().push((topic, payload, correlation));
            Vec::new()
        }
        _ => Vec::new(),
    }
}

async fn enrolment(listener: TcpListener, tls: TlsServer, maker: Arc<Maker>, seen: Arc<Seen>) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let (tls, maker, seen) = (tls.clone(), maker.clone(), seen.clone());
        tokio::spawn(async move {
            let Ok(channel) = tls.accept(stream).await else { return };
            let peer = channel.peer().cloned();
            let service = service_fn(move |request| {
                let (maker, seen, peer) = (maker.clone(), seen.clone(), peer.clone());
                async move { Ok::<_, Infallible>(est(request, &maker, &seen, peer.as_ref()).await) }
            });
            let _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(channel), service)
                .await;
        });
    }
}

async fn est(
    request: hyper::Request<Incoming>,
    maker: &Maker,
    seen: &Seen,
    peer: Option<&VerifiedPeer>,
) -> hyper::Response<Full<Bytes>> {
    let path = request.uri().path().trim_start_matches("/.well-known/est/").to_owned();
    let body = request.into_body().collect().await.unwrap().to_bytes();
    let mut response = hyper::Response::new(Full::new(Bytes::new()));
    if path == "csrattrs" {
        // It has no wish; whoever asks is told so, without a certificate too (RFC 7030 section 4.5).
        *response.status_mut() = hyper::StatusCode::NOT_FOUND;
        return response;
    }
    let Some(peer) = peer else {
        *response.status_mut() = hyper::StatusCode::UNAUTHORIZED;
        return response;
    };
    let certificates = match path.as_str() {
        "cacerts" => vec![maker.root.clone(), maker.ldevid.certificate.clone()],
        _ => {
            seen.enrolled.lock().unwrap().push((path, peer.kind()));
            maker.ldevid(THING, &STANDARD.decode(body).unwrap())
        }
    };
    *response.body_mut() =
        Full::new(Bytes::from(STANDARD.encode(certs_only(&certificates).unwrap())));
    response
}

/// A stamp of the gateway.
pub fn stamp(id: u8, at: u64) -> Vec<(&'static str, String)> {
    vec![
        ("countersign-subject", "service:cloud".to_owned()),
        ("countersign-command", format!("{id:032x}")),
        ("countersign-at", at.to_string()),
    ]
}
