//! In a home: the local API, the uplink, and the task that keeps the operational identity.

use super::base::{Base, LOOK_EVERY};
use super::telemetry;
use super::unowned::Unowned;
use super::{AgentError, Event, Life, Shutdown};
use crate::api::{self, Doors};
use crate::data::Record;
use crate::discovery::{Announcer, As};
use crate::est::EstClient;
use crate::policy::Trial;
use crate::uplink::command::Commands;
use crate::uplink::outbox::Outgoing;
use crate::uplink::shell::{UplinkShell, UplinkStatus};
use countersign_crypto::certificate::{Certificate, IdentityKind};
use countersign_crypto::policy::Use;
use countersign_crypto::tls::{ClientRule, PeerAnchors, TlsIdentity, TlsServer};
use countersign_model::state::DeviceState;
use countersign_protocol::discovery::{HomeKey, ThingKey};
use countersign_protocol::invitation;
use countersign_protocol::pairing::GatewayAddress;
use countersign_protocol::telemetry as publication;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Interval, interval};

/// Messages on their way to the uplink: it takes them at once into its own bounded outbox.
const OUTGOING: usize = 64;
/// How long the answer to a reset has to leave.
const LAST_WORDS: Duration = Duration::from_millis(250);

/// *Initialised*.
pub(super) struct Initialised {
    base: Base,
    address: SocketAddr,
    tls: watch::Sender<Doors>,
    /// Who may what, and so whose certificates are believed.
    rights: watch::Receiver<u64>,
    identity: watch::Receiver<Option<TlsIdentity>>,
    uplink: watch::Receiver<UplinkStatus>,
    /// The policy, and what is said of it.
    news: watch::Receiver<u64>,
    /// Dropping them closes every socket of this state.
    tasks: JoinSet<&'static str>,
    look: Interval,
    /// Dropping it withdraws the announcement.
    _announcer: Option<Announcer>,
}

impl Initialised {
    /// After a restart: on the port of the last time, if it is free.
    pub(super) async fn resume(base: Base) -> Result<Self, AgentError> {
        let (configured, last) = (base.config.api.listen, base.store.with(|r| r.api_port));
        let (listener, _) = base.bind_again(configured, last, "api").await?;
        Self::enter(base, listener)
    }

    /// On a socket that is bound already.
    pub(super) fn enter(mut base: Base, listener: TcpListener) -> Result<Self, AgentError> {
        let configured = base.config.api.listen;
        let address =
            listener.local_addr().map_err(|error| AgentError::Listen(configured, error, "api"))?;
        base.look(&[address])?;
        if base.store.with(|record| record.api_port) != address.port() {
            base.store.update(|record| record.api_port = address.port())?;
        }
        let home = base.store.with(|record| record.home.clone());
        let home = home.ok_or(AgentError::Ended("home"))?;
        base.gate.started()?;
        let rights = base.gate.rights();
        let present = base.slots.current()?;
        let tls = watch::Sender::new(doors(&base, present.as_ref())?);
        let (identity_set, identity) = watch::channel(present);
        let (uplink_set, uplink) = watch::channel(UplinkStatus::Waiting);
        let mut tasks = JoinSet::new();
        let (tls_now, gate) = (tls.subscribe(), base.gate.clone());
        tasks.spawn(async move {
            api::serve(listener, tls_now, gate).await;
            "local API"
        });
        let announcer = base.announce(address, As::InHome(discovery(&base)?));
        let to_uplink = home.gateway.map(|gateway| {
            connect(&base, &mut tasks, &gateway, identity_set, &identity, uplink_set)
        });
        tell(&base, &mut tasks, to_uplink);
        base.show(DeviceState::Initialised, None, Some(address), UplinkStatus::Waiting);
        tracing::info!(%address, "initialised");
        let look = interval(LOOK_EVERY);
        let news = base.policies.news();
        let _announcer = announcer;
        Ok(Self { base, address, tls, rights, identity, uplink, news, tasks, look, _announcer })
    }

    pub(super) async fn live(mut self, mut shutdown: Shutdown<'_>) -> Result<Life, AgentError> {
        loop {
            match self.next(shutdown.as_mut()).await {
                Event::Changed => self.renew()?,
                Event::Reset => {
                    tokio::time::sleep(LAST_WORDS).await;
                    let Self { mut base, mut tasks, .. } = self;
                    tasks.shutdown().await;
                    base.forget_home()?;
                    return Ok(Life::Unowned(Unowned::enter(base).await?));
                }
                Event::Look => {
                    self.base.gate.look_at_door();
                    self.base.look(&[self.address])?;
                }
                Event::Broken(error) => return Err(error),
                Event::Stop => return Ok(Life::Stopped),
                Event::Paired(_) | Event::WindowOver | Event::Pressed => {}
            }
        }
    }

    async fn next(&mut self, shutdown: Shutdown<'_>) -> Event {
        tokio::select! {
            () = self.base.gate.reset_asked() => Event::Reset,
            Ok(()) = self.identity.changed() => Event::Changed,
            Ok(()) = self.uplink.changed() => Event::Changed,
            Ok(()) = self.news.changed() => Event::Changed,
            Ok(()) = self.rights.changed() => Event::Changed,
            Some(ended) = self.tasks.join_next() => {
                Event::Broken(AgentError::Ended(ended.unwrap_or("task")))
            }
            _ = self.look.tick() => Event::Look,
            () = shutdown => Event::Stop,
        }
    }

    /// Shows what changed; new connections to the local API see the new identity and follow the new policy.
    fn renew(&mut self) -> Result<(), AgentError> {
        let present = self.identity.borrow_and_update().clone();
        if self.base.state() == DeviceState::Initialised {
            self.tls.send_replace(doors(&self.base, present.as_ref())?);
        }
        let uplink = self.uplink.borrow_and_update().clone();
        self.base.show(DeviceState::Initialised, None, Some(self.address), uplink);
        Ok(())
    }
}

/// The local API's TLS: the operational identity if there is one, else the factory's; certificates of the home and of the
/// people who joined only, and a door for who is invited.
fn doors(base: &Base, present: Option<&TlsIdentity>) -> Result<Doors, AgentError> {
    let anchors = base.store.with(Record::anchors);
    let persons = PeerAnchors::new().with(IdentityKind::Person, &anchors);
    let rule = if base.gate.has_open_data() {
        ClientRule::Optional(persons)
    } else {
        ClientRule::Required(persons)
    };
    let identity = present.unwrap_or_else(|| base.factory.identity());
    let policy = base.policies.current();
    let server = |use_, rule: &ClientRule, alpn: &[&str]| {
        let clock = base.clock.clone();
        TlsServer::with_protocols(policy.compiled(), use_, identity, rule, alpn, clock)
    };
    Ok(Doors {
        persons: server(Use::LocalApi, &rule, &api::ALPN)?,
        invited: server(Use::Pairing, &ClientRule::Anonymous, &[invitation::ALPN])?,
        anchors: anchors.iter().map(Certificate::fingerprint).collect(),
        certificate: identity.chain().leaf().fingerprint(),
        td_sha256: base.description_sha256,
        discovery: discovery(base)?,
    })
}

/// What recognises the device in its home.
fn discovery(base: &Base) -> Result<ThingKey, AgentError> {
    let anchor = base.store.with(|record| record.home.as_ref().map(|home| home.anchor.spki_der()));
    let home = HomeKey::of_anchor(&anchor.ok_or(AgentError::Ended("home"))?);
    Ok(home.of_thing(base.factory.thing()))
}

/// Uplink and enrolment, for a home with a gateway; where messages for it go.
fn connect(
    base: &Base,
    tasks: &mut JoinSet<&'static str>,
    gateway: &GatewayAddress,
    identity_set: watch::Sender<Option<TlsIdentity>>,
    identity: &watch::Receiver<Option<TlsIdentity>>,
    status: watch::Sender<UplinkStatus>,
) -> mpsc::Sender<Outgoing> {
    let (verdict, verdicts) = watch::channel(None);
    let (outgoing_set, outgoing) = mpsc::channel(OUTGOING);
    let shell = UplinkShell {
        thing: base.factory.thing().clone(),
        gateway: gateway.clone(),
        anchors: base.anchors.clone(),
        policies: base.policies.clone(),
        clock: base.clock.clone(),
        keep_alive_secs: base.config.uplink.keep_alive_secs,
        commands: Arc::new(Commands::new(base.gate.clone(), base.store.clone())),
        description: publication::description(base.gate.thing(), base.gate.description()),
        status,
        verdict,
    };
    let shell_identity = identity.clone();
    tasks.spawn(async move {
        shell.run(shell_identity, outgoing).await;
        "uplink"
    });
    let est = EstClient {
        server: gateway.clone(),
        anchors: base.anchors.clone(),
        thing: base.factory.thing().clone(),
        policies: base.policies.clone(),
        clock: base.clock.clone(),
    };
    let trial = Trial {
        policies: base.policies.clone(),
        gateway: gateway.clone(),
        anchors: base.anchors.clone(),
        clock: base.clock.clone(),
    };
    let trial_identity = identity.clone();
    tasks.spawn(async move {
        trial.run(trial_identity).await;
        "policy"
    });
    let slots = base.slots.clone();
    tasks.spawn(async move {
        slots.keep(&est, &identity_set, verdicts).await;
        "enrolment"
    });
    outgoing_set
}

/// What the device tells by itself: in the home, and to the gateway where there is one.
fn tell(base: &Base, tasks: &mut JoinSet<&'static str>, to_uplink: Option<mpsc::Sender<Outgoing>>) {
    let (gate, events_to) = (base.gate.clone(), to_uplink.clone());
    tasks.spawn(async move {
        telemetry::events(gate, events_to).await;
        "events"
    });
    let (gate, telemetry) = (base.gate.clone(), base.config.telemetry.clone());
    tasks.spawn(async move {
        telemetry::readings(gate, telemetry, to_uplink).await;
        "telemetry"
    });
}
