//! A maker's backend, as the demonstration needs one: an MQTT client with a certificate of its own.
//!
//! The session's core is the device SDK's; this is a shell around it that collects what arrives.

use std::time::Duration;

use countersign_authority::enrol::EnrolProfile;
use countersign_crypto::certificate::{Certificate, IdentityKind};
use countersign_crypto::policy::{CompiledPolicy, Use};
use countersign_crypto::tls::{Negotiated, TlsClient, TlsIdentity};
use countersign_device::uplink::core::{Output, SessionEvent, TimerKind, Uplink};
use countersign_device::uplink::outbox::{Outgoing, Weight};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

use super::home::Paired;
use super::platform::{Made, Platform};
use super::short;
use super::stage::Teller;
use crate::failure::{Ended, Failure, Named as _};

/// The demonstration's backend, and what it may do.
const GRANTS: [&str; 5] = [
    "subscribe things/+/properties/#",
    "subscribe things/+/events/#",
    "subscribe things/+/actions/+/receipt",
    "publish things/+/actions/+",
    "publish things/+/properties/+/set",
];

/// How long anything on loopback may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Receives telemetry, and commands the device through the gateway and over the local API.
pub(super) async fn exchange(
    platform: &mut Platform,
    made: &mut Made,
    paired: &Paired,
    tell: Teller,
) -> Ended {
    let grants = GRANTS.iter().map(|grant| grant.parse()).collect::<Result<_, _>>()?;
    let identity = platform.enrol(EnrolProfile::Service(grants), "backend").await?;
    let thing = &made.thing;
    let power = format!("things/{thing}/properties/power");
    let receipts = format!("things/{thing}/actions/+/receipt");
    let mut service = Service::connect(
        &platform.ready.mqtt.to_string(),
        &platform.policy,
        Some(&identity),
        &platform.roots,
        "backend",
        &[&power, &receipts],
    )
    .await?;
    tell.saw(&format!("service \"backend\" over {}", service.negotiated));
    // 1. A command through the gateway, and its receipt.
    service.publish(&format!("things/{thing}/properties/relay/set"), b"true");
    let receipt = service.message(&format!("things/{thing}/actions/relay/receipt")).await?;
    done(&receipt)?;
    tell.saw(&format!("relay on through the gateway; receipt {}", short(&receipt)));
    // 2. Telemetry, as the device publishes it unasked: with the relay closed, the load draws power.
    for _ in 0..2 {
        let reading = service.message(&power).await?;
        if reading.as_f64().is_none_or(|watts| watts <= 0.0) {
            return Err(Failure::found(format!("a closed relay, and the meter says {reading}")));
        }
        tell.saw(&format!("telemetry {power} = {reading}"));
    }
    // 3. One on the local API, as the owner.
    let mut session = paired.session("owner", made).await?;
    tell.saw(&format!("local API over {}", session.negotiated()));
    let output = session.invoke("toggle", None).await?;
    tell.saw(&format!("toggle on the local API: {}", short(&output)));
    if session.get("relay").await? != serde_json::Value::Bool(false) {
        return Err(Failure::found("the relay did not open"));
    }
    Ok(())
}

fn done(receipt: &serde_json::Value) -> Ended {
    match receipt.get("outcome").and_then(serde_json::Value::as_str) {
        Some("done") => Ok(()),
        _ => Err(Failure::found(format!("the device did not do it: {receipt}"))),
    }
}

/// What reached a [`Service`].
#[derive(Debug)]
pub(super) enum Seen {
    /// Something on the session.
    Event(SessionEvent),
    /// The connection ended, with the transport's word for it.
    Closed(String),
}

/// A connected client.
pub(super) struct Service {
    seen: mpsc::UnboundedReceiver<Seen>,
    publish: mpsc::UnboundedSender<Outgoing>,
    pub(super) negotiated: Negotiated,
}

impl Service {
    /// Connects with `identity` and subscribes; refusals come as errors with the gateway's word for them.
    pub(super) async fn connect(
        address: &str,
        policy: &CompiledPolicy,
        identity: Option<&TlsIdentity>,
        roots: &[Certificate],
        client_id: &str,
        filters: &[&str],
    ) -> Ended<Self> {
        let kinds = [IdentityKind::Server];
        let tls = TlsClient::new(policy, Use::DeviceUplink, identity, roots, &kinds, "mqtt")?;
        let tcp = TcpStream::connect(address).await?;
        let channel = within(tls.connect("localhost", tcp)).await??;
        let negotiated = channel.negotiated().clone();
        let filters = filters.iter().map(|&filter| filter.to_owned()).collect();
        let session = Uplink::new(client_id, filters, 30);
        let (tell, seen) = mpsc::unbounded_channel();
        let (publish, publications) = mpsc::unbounded_channel();
        tokio::spawn(drive(channel, session, publications, tell));
        let mut service = Self { seen, publish, negotiated };
        service.until(|event| matches!(event, SessionEvent::Subscribed).then_some(())).await?;
        Ok(service)
    }

    /// Publishes at QoS 1.
    pub(super) fn publish(&self, topic: &str, payload: &[u8]) {
        let message = Outgoing {
            topic: topic.to_owned(),
            payload: payload.to_vec(),
            retain: false,
            correlation: None,
            weight: Weight::Kept,
        };
        // A closed session answers at the next `until`.
        let _ = self.publish.send(message);
    }

    /// The next message on `topic`, JSON.
    pub(super) async fn message(&mut self, topic: &str) -> Ended<serde_json::Value> {
        let payload = self
            .until(|event| match event {
                SessionEvent::Message(message) if message.topic == topic => {
                    Some(message.payload.clone())
                }
                _ => None,
            })
            .await?;
        serde_json::from_slice(&payload).named(topic)
    }

    /// Waits for an event that `wanted` makes something of; the end of the connection is an error.
    pub(super) async fn until<T>(
        &mut self,
        mut wanted: impl FnMut(&SessionEvent) -> Option<T>,
    ) -> Ended<T> {
        within(async {
            loop {
                match self.seen.recv().await {
                    Some(Seen::Event(event)) => {
                        if let Some(found) = wanted(&event) {
                            return Ok(found);
                        }
                        match event {
                            SessionEvent::Refused(code) => return refused("CONNECT", code),
                            SessionEvent::Disconnected { reason, .. } => {
                                return refused("session", reason);
                            }
                            SessionEvent::SubscriptionRefused(filter) => {
                                return Err(Failure::found(format!(
                                    "subscription to {filter} refused"
                                )));
                            }
                            _ => {}
                        }
                    }
                    Some(Seen::Closed(why)) => return Err(Failure::found(why)),
                    None => return Err(Failure::found("connection closed")),
                }
            }
        })
        .await?
    }
}

fn refused<T>(what: &str, code: u8) -> Ended<T> {
    Err(Failure::found(format!("{what} refused with MQTT reason 0x{code:02x}")))
}

/// Bounds a wait.
pub(super) async fn within<T>(work: impl Future<Output = T>) -> Ended<T> {
    tokio::time::timeout(PATIENCE, work)
        .await
        .map_err(|_| Failure::found(format!("no answer within {} s", PATIENCE.as_secs())))
}

async fn drive<IO>(
    channel: IO,
    mut session: Uplink,
    mut publications: mpsc::UnboundedReceiver<Outgoing>,
    tell: mpsc::UnboundedSender<Seen>,
) where
    IO: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    let (mut read, mut write) = tokio::io::split(channel);
    let mut ping: Option<tokio::time::Instant> = None;
    let mut buffer = vec![0; 16 * 1024];
    session.opened();
    let why = loop {
        while let Some(output) = session.poll() {
            match output {
                Output::Send(bytes) => {
                    if write.write_all(&bytes).await.is_err() || write.flush().await.is_err() {
                        break; // The read that follows says why.
                    }
                }
                Output::SetTimer(TimerKind::PingreqSend, ms) => {
                    ping = Some(tokio::time::Instant::now() + Duration::from_millis(ms));
                }
                Output::SetTimer(..) | Output::StopTimer(_) => {}
                Output::Close => {
                    let _ = write.shutdown().await;
                }
                Output::Event(event) => {
                    if let SessionEvent::Message(message) = &event {
                        message.packet_id.into_iter().for_each(|id| session.acknowledge(id));
                    }
                    let _ = tell.send(Seen::Event(event));
                }
            }
        }
        let due = ping.unwrap_or_else(|| tokio::time::Instant::now() + Duration::from_secs(3600));
        tokio::select! {
            arrived = read.read(&mut buffer) => match arrived {
                Ok(0) => break "the gateway closed the connection".to_owned(),
                Ok(count) => session.received(&buffer[..count]),
                Err(error) => break error.to_string(),
            },
            message = publications.recv() => match message {
                Some(message) => { let _ = session.publish(message); }
                None => break "the client went away".to_owned(),
            },
            () = tokio::time::sleep_until(due) => {
                ping = None;
                session.fired(TimerKind::PingreqSend);
            }
        }
    };
    session.closed();
    let _ = tell.send(Seen::Closed(why));
}
