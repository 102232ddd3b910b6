//! The uplink's shell: a socket, timers and the keeping-on around the core.
//!
//! ```text
//!  identity ─► connect, TLS with the LDevID ─► session ─► lost? wait with jitter ─► connect …
//!                                               │  ▲
//!                          commands ◄───────────┘  └── messages to publish
//! ```

use super::command::{Commands, MAX_WAITING, Noted};
use super::core::{Incoming, Output, SessionEvent, TimerKind, Uplink};
use super::outbox::{Outgoing, Weight};
use crate::anchors::Anchors;
use crate::backoff::Backoff;
use crate::clock::DeviceClock;
use crate::identity::Verdict;
use crate::policy::Policies;
use crate::refusal;
use countersign_crypto::certificate::IdentityKind;
use countersign_crypto::policy::Use;
use countersign_crypto::random::SystemRandom;
use countersign_crypto::tls::{Negotiated, SecureChannel, TlsClient, TlsError, TlsIdentity};
use countersign_model::id::ThingId;
use countersign_model::topic::{AnchorTopic, PolicyTopic, ThingTopic};
use countersign_protocol::pairing::GatewayAddress;
use countersign_protocol::policy::PreparedPolicy;
use countersign_protocol::telemetry::Publication;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

/// How long connecting, the handshake and CONNACK may take together.
const OPENING: Duration = Duration::from_secs(20);
/// How long a write may stall before the connection counts as dead.
const WRITING: Duration = Duration::from_secs(20);
/// First pause between connections.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// How long a visit at the update door may take.
const VISIT: Duration = Duration::from_secs(30);
/// The longest: a gateway that is back is noticed within half a minute.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// CONNACK reasons that mean us and not the moment: client identifier, credentials, authorisation, banned.
const NOT_US: [u8; 4] = [0x85, 0x86, 0x87, 0x8a];

/// How the uplink stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UplinkStatus {
    /// No gateway, or no identity for it yet.
    Waiting,
    /// Trying.
    Connecting,
    /// Connected and subscribed, with what was negotiated.
    Connected(Negotiated),
    /// The gateway refused our certificate, or the connection.
    Refused(String),
    /// The last connection is lost.
    Lost(String),
}

/// What the uplink works with.
pub struct UplinkShell {
    /// Who we are.
    pub thing: ThingId,
    /// Where the gateway is.
    pub gateway: GatewayAddress,
    /// The manufacturer's roots, and where statements about more of them go.
    pub anchors: Arc<Anchors>,
    /// What TLS may do, and where a policy that comes goes.
    pub policies: Arc<Policies>,
    /// The device's time.
    pub clock: Arc<DeviceClock>,
    /// Seconds of silence after which we ping.
    pub keep_alive_secs: u16,
    /// What is done with commands.
    pub commands: Arc<Commands>,
    /// What the device can do, told whenever a session begins anew.
    pub description: Publication,
    /// Told how the uplink stands.
    pub status: watch::Sender<UplinkStatus>,
    /// Told whether the gateway accepts our certificate.
    pub verdict: watch::Sender<Option<Verdict>>,
}

enum End {
    /// Another identity or another policy is in use.
    Changed,
    Refused(String),
    Lost(String),
}

/// What a policy's changes are heard by.
struct Followed {
    policy: watch::Receiver<Arc<PreparedPolicy>>,
    news: watch::Receiver<u64>,
    roots: watch::Receiver<u64>,
}

struct Session {
    core: Uplink,
    /// The gateway takes nothing from us here but word of our policy.
    at_the_door: bool,
    /// The gateway keeps the description; it is told again after our restart, when it may be another.
    described: bool,
    /// At most one: commands are carried out in the order in which they came.
    running: JoinSet<Option<Outgoing>>,
    waiting: VecDeque<Noted>,
    timers: [Option<Instant>; 3],
}

impl UplinkShell {
    /// Stays connected for ever. `outgoing` is what the device has to say.
    pub async fn run(
        &self,
        mut identity: watch::Receiver<Option<TlsIdentity>>,
        mut outgoing: mpsc::Receiver<Outgoing>,
    ) {
        let filters = ThingTopic::command_filters(&self.thing).map(|f| f.as_str().to_owned());
        let core = Uplink::new(self.thing.as_str(), filters.to_vec(), self.keep_alive_secs)
            .with_policy(PolicyTopic::filter(&self.thing).as_str())
            .with_anchors(AnchorTopic::filter(&self.thing).as_str());
        let mut followed = Followed {
            policy: self.policies.follow(),
            news: self.policies.news(),
            roots: self.anchors.news(),
        };
        let mut session = Session {
            core,
            at_the_door: false,
            described: false,
            running: JoinSet::new(),
            waiting: VecDeque::new(),
            timers: [None; 3],
        };
        let mut backoff = Backoff::new(FIRST_PAUSE, LONGEST_PAUSE);
        loop {
            let present = identity.borrow_and_update().clone();
            let Some(present) = present else {
                tokio::select! {
                    changed = identity.changed() => if changed.is_err() { return },
                    Some(message) = outgoing.recv() => session.queue(message),
                }
                continue;
            };
            self.status.send_replace(UplinkStatus::Connecting);
            let end = self
                .connection(
                    &mut session,
                    &present,
                    &mut identity,
                    &mut followed,
                    &mut outgoing,
                    &mut backoff,
                )
                .await;
            session.core.closed();
            while session.core.poll().is_some() {}
            session.timers = [None; 3];
            match end {
                End::Changed => continue,
                End::Refused(why) => {
                    tracing::warn!(%why, "uplink: the gateway refused us");
                    self.status.send_replace(UplinkStatus::Refused(why));
                    self.judged(&present, false);
                }
                End::Lost(why) => {
                    tracing::info!(%why, "uplink: no connection");
                    self.status.send_replace(UplinkStatus::Lost(why));
                }
            }
            let pause = tokio::time::sleep(backoff.next(&mut SystemRandom));
            tokio::pin!(pause);
            loop {
                tokio::select! {
                    () = &mut pause => break,
                    changed = identity.changed() => if changed.is_err() { return } else { break },
                    _ = followed.policy.changed() => break,
                    Some(message) = outgoing.recv() => session.queue(message),
                    Some(done) = session.running.join_next() => session.done(done.ok().flatten(), &self.commands),
                }
            }
        }
    }

    async fn connection(
        &self,
        session: &mut Session,
        present: &TlsIdentity,
        identity: &mut watch::Receiver<Option<TlsIdentity>>,
        followed: &mut Followed,
        outgoing: &mut mpsc::Receiver<Outgoing>,
        backoff: &mut Backoff,
    ) -> End {
        let mut deadline = Instant::now() + OPENING;
        let policy = followed.policy.borrow_and_update().clone();
        let opened = tokio::time::timeout_at(deadline, self.open(present, &policy)).await;
        let mut channel = match opened {
            Ok(Ok(channel)) => channel,
            Ok(Err(error)) => return self.failed(ended(error)),
            Err(_) => {
                return self.failed(End::Lost("the gateway did not answer in time".to_owned()));
            }
        };
        session.core.opened();
        session.at_the_door = false;
        let (mut connected, mut acknowledged) = (false, false);
        let mut buffer = vec![0; 16 * 1024];
        loop {
            while let Some(output) = session.core.poll() {
                match output {
                    Output::Send(bytes) => {
                        let write = async {
                            channel.write_all(&bytes).await?;
                            channel.flush().await
                        };
                        match tokio::time::timeout(WRITING, write).await {
                            Ok(Ok(())) => {}
                            Ok(Err(error)) => {
                                let end = ended(TlsError::Handshake(error));
                                return if acknowledged { end } else { self.failed(end) };
                            }
                            Err(_) => return End::Lost("the gateway stopped reading".to_owned()),
                        }
                    }
                    Output::SetTimer(kind, ms) => {
                        session.timers[index(kind)] =
                            Some(Instant::now() + Duration::from_millis(ms));
                    }
                    Output::StopTimer(kind) => session.timers[index(kind)] = None,
                    Output::Close => return End::Lost("the session was closed".to_owned()),
                    Output::Event(event) => {
                        if matches!(event, SessionEvent::Connected { .. }) && !acknowledged {
                            acknowledged = true;
                            self.policies.carried(policy.digest());
                        }
                        match self.event(session, event, present, channel.negotiated()) {
                            Some(end) if acknowledged => return end,
                            Some(end) => return self.failed(end),
                            None if session.at_the_door && !connected => {
                                (connected, deadline) = (true, Instant::now() + VISIT);
                            }
                            None => connected |= self.is_connected(backoff),
                        }
                    }
                }
            }
            let timer = next_timer(&session.timers);
            tokio::select! {
                read = channel.read(&mut buffer) => match read {
                    Ok(0) => {
                        let end = End::Lost("the gateway closed the connection".to_owned());
                        return if acknowledged { end } else { self.failed(end) };
                    }
                    Ok(read) => session.core.received(&buffer[..read]),
                    Err(error) => {
                        let end = ended(TlsError::Handshake(error));
                        return if acknowledged { end } else { self.failed(end) };
                    }
                },
                Some(message) = outgoing.recv() => session.queue(message),
                Some(done) = session.running.join_next() => session.done(done.ok().flatten(), &self.commands),
                _ = identity.changed() => return End::Changed,
                _ = followed.policy.changed() => return End::Changed,
                Ok(()) = followed.news.changed(), if connected => self.report(session),
                Ok(()) = followed.roots.changed(), if connected && !session.at_the_door => {
                    self.report_roots(session);
                }
                () = sleep_until(timer) => session.fire(),
                () = tokio::time::sleep_until(deadline), if session.at_the_door => {
                    return End::Lost("the visit at the update door took too long".to_owned());
                }
                () = tokio::time::sleep_until(deadline), if !connected => {
                    return End::Lost("the gateway did not accept the session in time".to_owned());
                }
            }
        }
    }

    fn judged(&self, identity: &TlsIdentity, accepted: bool) {
        let word = Some(Verdict { serial: identity.chain().leaf().serial_hex(), accepted });
        // A refusal is told once: our retries must not lengthen the back-off of the enrolment that mends it.
        self.verdict.send_if_modified(|last| {
            let news = *last != word;
            *last = word;
            news
        });
    }

    fn is_connected(&self, backoff: &mut Backoff) -> bool {
        let connected = matches!(*self.status.borrow(), UplinkStatus::Connected(_));
        if connected {
            backoff.reset();
        }
        connected
    }

    /// There was no session under the policy in force, whatever the reason.
    fn failed(&self, end: End) -> End {
        if self.policies.unsettled() {
            self.policies.session_failed();
        }
        end
    }

    /// Tells the gateway which policy we hold, and what became of the last one that came.
    fn report(&self, session: &mut Session) {
        let topic = PolicyTopic::State(self.thing.clone()).topic().as_str().to_owned();
        let payload = self.policies.state().to_json();
        if session.at_the_door {
            return session.core.say(&topic, &payload);
        }
        session.queue(Outgoing {
            topic,
            payload,
            retain: false,
            correlation: None,
            weight: Weight::Kept,
        });
    }

    /// Tells the gateway which root is the newest that we trust.
    fn report_roots(&self, session: &mut Session) {
        session.queue(Outgoing {
            topic: AnchorTopic::State(self.thing.clone()).topic().as_str().to_owned(),
            payload: self.anchors.report().to_json(),
            retain: false,
            correlation: None,
            weight: Weight::Kept,
        });
    }

    fn describe(&self, session: &mut Session) {
        session.queue(Outgoing {
            topic: self.description.topic.as_str().to_owned(),
            payload: self.description.payload.clone(),
            retain: self.description.retain,
            correlation: None,
            weight: Weight::Kept,
        });
    }

    async fn open(
        &self,
        identity: &TlsIdentity,
        policy: &PreparedPolicy,
    ) -> Result<SecureChannel<TcpStream>, TlsError> {
        let client = TlsClient::with_clock(
            policy.compiled(),
            Use::DeviceUplink,
            Some(identity),
            &self.anchors.roots(),
            &[IdentityKind::Server],
            "mqtt",
            self.clock.clone(),
        )?;
        let stream = TcpStream::connect(&self.gateway.mqtt).await?;
        stream.set_nodelay(true)?;
        client.connect(&self.gateway.server_name, stream).await
    }

    fn is_policy(&self, message: &Incoming) -> bool {
        let topic = message.topic.parse().ok();
        topic.and_then(|topic| PolicyTopic::parse(&topic))
            == Some(PolicyTopic::Document(self.thing.clone()))
    }

    fn is_chain(&self, message: &Incoming) -> bool {
        let topic = message.topic.parse().ok();
        topic.and_then(|topic| AnchorTopic::parse(&topic))
            == Some(AnchorTopic::Chain(self.thing.clone()))
    }

    fn event(
        &self,
        session: &mut Session,
        event: SessionEvent,
        present: &TlsIdentity,
        negotiated: &Negotiated,
    ) -> Option<End> {
        match event {
            SessionEvent::Connected { session_present } => {
                tracing::info!(%negotiated, session_present, "uplink: connected");
                session.described &= session_present;
            }
            SessionEvent::Subscribed => {
                self.status.send_replace(UplinkStatus::Connected(negotiated.clone()));
                self.judged(present, true);
                self.report(session);
                self.report_roots(session);
                if !session.described {
                    session.described = true;
                    self.describe(session);
                }
            }
            SessionEvent::Door => {
                tracing::info!("uplink: at the update door");
                session.at_the_door = true;
                // What is in force does not serve here any more: what waits is tried now.
                self.policies.session_failed();
                self.report(session);
            }
            SessionEvent::Refused(code) => {
                let why = format!("CONNACK reason 0x{code:02x}");
                return Some(if NOT_US.contains(&code) {
                    End::Refused(why)
                } else {
                    End::Lost(why)
                });
            }
            SessionEvent::SubscriptionRefused(filter) => {
                return Some(End::Lost(format!(
                    "the gateway refuses the subscription to {filter}"
                )));
            }
            SessionEvent::PublicationRefused { topic, reason } => {
                tracing::warn!(%topic, reason, "uplink: the gateway refused a publication");
            }
            SessionEvent::Disconnected { reason, text } => {
                let text = text.map_or_else(String::new, |text| format!(": {text}"));
                return Some(End::Lost(format!("DISCONNECT reason 0x{reason:02x}{text}")));
            }
            SessionEvent::Message(message) if self.is_policy(&message) => {
                // Stored first, thanked for second; where it cannot be stored, it comes again.
                match self.policies.offer(&message.payload, &self.gateway.server_name) {
                    Ok(()) => {
                        message.packet_id.into_iter().for_each(|id| session.core.acknowledge(id));
                    }
                    Err(error) => tracing::error!(%error, "uplink: a policy could not be stored"),
                }
            }
            SessionEvent::Message(message) if self.is_chain(&message) => {
                match self.anchors.offer(&message.payload) {
                    Ok(()) => {
                        message.packet_id.into_iter().for_each(|id| session.core.acknowledge(id));
                    }
                    Err(error) => tracing::error!(%error, "uplink: a root could not be stored"),
                }
            }
            SessionEvent::PeerFault(fault) => {
                return Some(End::Lost(format!("the gateway broke the protocol: {fault}")));
            }
            SessionEvent::Message(message) => {
                // Noted durably first, thanked for second, done third: never twice, and never lost silently.
                let noted = self.commands.note(&message);
                if let Some(packet_id) = message.packet_id {
                    session.core.acknowledge(packet_id);
                }
                if session.waiting.len() < MAX_WAITING {
                    session.waiting.push_back(noted);
                    session.next_command(&self.commands);
                } else {
                    session.receipt(self.commands.too_many(noted));
                }
            }
        }
        None
    }
}

impl Session {
    fn queue(&mut self, message: Outgoing) {
        if let Err(full) = self.core.publish(message) {
            tracing::warn!(%full, "uplink: a message was dropped");
        }
    }

    fn receipt(&mut self, receipt: Option<Outgoing>) {
        if let Some(receipt) = receipt {
            self.queue(receipt);
        }
    }

    fn done(&mut self, receipt: Option<Outgoing>, commands: &Arc<Commands>) {
        self.receipt(receipt);
        self.next_command(commands);
    }

    fn next_command(&mut self, commands: &Arc<Commands>) {
        if !self.running.is_empty() {
            return;
        }
        if let Some(noted) = self.waiting.pop_front() {
            let commands = commands.clone();
            self.running.spawn(async move { commands.carry_out(noted).await });
        }
    }

    fn fire(&mut self) {
        let now = Instant::now();
        for kind in [TimerKind::PingreqSend, TimerKind::PingreqRecv, TimerKind::PingrespRecv] {
            if self.timers[index(kind)].is_some_and(|at| at <= now) {
                self.timers[index(kind)] = None;
                self.core.fired(kind);
            }
        }
    }
}

/// An alert about our certificate means that it is refused; anything else is a lost connection.
fn ended(error: TlsError) -> End {
    match refusal::of_certificate(&error) {
        Some(alert) => End::Refused(alert.to_owned()),
        None => End::Lost(error.to_string()),
    }
}

const fn index(kind: TimerKind) -> usize {
    match kind {
        TimerKind::PingreqSend => 0,
        TimerKind::PingreqRecv => 1,
        TimerKind::PingrespRecv => 2,
    }
}

fn next_timer(timers: &[Option<Instant>]) -> Option<Instant> {
    timers.iter().flatten().min().copied()
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}
