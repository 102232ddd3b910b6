//! The one task that owns the broker: a loop over what can happen, orders before traffic.

use super::connection::{Event, Outbox};
use super::policies::Policies;
use crate::broker::record::Ticket;
use crate::broker::status::{BrokerStatus, ChannelFacts};
use crate::broker::{Broker, CloseReason, ConnId, Context, Input, Now, Output};
use crate::clones::CloneSeen;
use crate::config::GatewayConfig;
use crate::directory::{Directory, PeerFacts};
use crate::policy::PolicyKeeper;
use crate::revocation::{Aged, Standing};
use crate::store::fleet::{HeldPolicy, Sighting};
use crate::store::writer::Job;
use countersign_crypto::random::SystemRandom;
use countersign_model::time::Timestamp;
use countersign_protocol::anchors::{RootLine, Telling};
use countersign_protocol::fleet;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

/// How often expired retained messages are forgotten.
const SWEEP: Duration = Duration::from_secs(60);

/// The longest sleep between looks at the timers.
const LONGEST_SLEEP: Duration = Duration::from_secs(1);

/// Which connections an order means.
type Meant = Box<dyn Fn(&PeerFacts, &ChannelFacts) -> bool + Send>;

/// What the engine is told from inside the gateway.
pub(super) enum Control {
    Stored(Ticket),
    Status(oneshot::Sender<BrokerStatus>),
    Fleet(oneshot::Sender<Vec<fleet::Record>>),
    HoldsPolicy { subject: String, version: u64 },
    Roots(RootLine),
    Close { reason: CloseReason, meant: Meant },
    Drain,
}

/// The process's two clocks. All of them in one process count from the same instant.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clock;

impl Clock {
    pub(super) const fn new() -> Self {
        Self
    }

    pub(super) fn now(self) -> Now {
        static START: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
        let elapsed = START.get_or_init(Instant::now).elapsed().as_millis();
        // A clock before 1970 is a clock that was never set.
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        Now {
            monotonic: u64::try_from(elapsed).unwrap_or(u64::MAX),
            wall: Timestamp(u64::try_from(wall).unwrap_or(u64::MAX)),
        }
    }
}

pub(super) struct Engine {
    pub(super) broker: Broker,
    pub(super) clock: Clock,
    pub(super) random: SystemRandom,
    pub(super) directory: Arc<dyn Directory>,
    aged: Arc<Aged>,
    standing: Standing,
    pub(super) policies: Policies,
    pub(super) telling: Telling<ConnId>,
    outboxes: HashMap<ConnId, Outbox>,
    jobs: mpsc::WeakUnboundedSender<Job>,
    pub(super) clones: mpsc::Sender<CloneSeen>,
    next_sweep: u64,
    drain: Duration,
    /// Rings when the policy changes.
    bell: Option<watch::Receiver<u64>>,
}

impl Engine {
    pub(super) fn new(
        broker: Broker,
        config: &GatewayConfig,
        aged: Arc<Aged>,
        jobs: mpsc::WeakUnboundedSender<Job>,
        keeper: Option<Arc<PolicyKeeper>>,
        clones: mpsc::Sender<CloneSeen>,
    ) -> Self {
        let clock = Clock::new();
        let next_sweep = clock.now().monotonic;
        let outboxes = HashMap::new();
        let (random, drain) = (SystemRandom, config.drain());
        let bell = keeper.as_ref().map(|keeper| keeper.changed());
        let policies = Policies::new(keeper);
        let (directory, standing): (Arc<dyn Directory>, _) = (aged.clone(), Standing::Current);
        Self {
            broker,
            clock,
            random,
            directory,
            aged,
            standing,
            policies,
            telling: Telling::default(),
            outboxes,
            jobs,
            clones,
            next_sweep,
            drain,
            bell,
        }
    }

    /// Runs until a drain has ended or nobody holds the gateway any more. `jobs` keeps the writer alive for as long.
    pub(super) async fn run(
        mut self,
        mut events: mpsc::Receiver<Event>,
        mut controls: mpsc::UnboundedReceiver<Control>,
        jobs: mpsc::UnboundedSender<Job>,
    ) {
        let mut changed = self.directory.changed();
        let mut bell = self.bell.take();
        let mut watching = true;
        let mut drain_ends: Option<Instant> = None;
        loop {
            let sleep = self.sleep();
            tokio::select! {
                // Orders first: a flood of messages must not delay a revocation.
                biased;
                change = changed.changed(), if watching => match change {
                    Ok(()) => {
                        changed.mark_unchanged();
                        self.rejudge();
                    }
                    Err(_) => watching = false,
                },
                () = rung(&mut bell) => self.policy_changed(),
                control = controls.recv() => match control {
                    None => break,
                    Some(Control::Drain) => {
                        self.close_all();
                        drain_ends = Some(Instant::now() + self.drain);
                    }
                    Some(control) => self.control(control),
                },
                event = events.recv() => match event {
                    None => break,
                    Some(event) => self.event(event),
                },
                () = tokio::time::sleep(sleep) => {}
            }
            self.tick();
            if drain_ends.is_some_and(|end| end <= Instant::now()) {
                break;
            }
        }
        drop(jobs);
    }

    fn sleep(&self) -> Duration {
        let now = self.clock.now().monotonic;
        let due = self.broker.next_timeout().unwrap_or(u64::MAX).min(self.next_sweep);
        let due = due.min(self.policies.next().unwrap_or(u64::MAX));
        Duration::from_millis(due.saturating_sub(now)).min(LONGEST_SLEEP)
    }

    /// Calls the broker with the present, and does what it says.
    pub(super) fn with<R>(
        &mut self,
        call: impl FnOnce(&mut Broker, &mut Context<'_>, &dyn Directory) -> (R, Vec<Output>),
    ) -> R {
        let directory = self.directory.clone();
        let names = |client_id: &str| directory.names_other_subject(client_id);
        let mut context = Context {
            now: self.clock.now(),
            random: &mut self.random,
            names_other_subject: &names,
        };
        let (result, outputs) = call(&mut self.broker, &mut context, &*directory);
        self.carry_out(outputs);
        result
    }

    fn carry_out(&mut self, outputs: Vec<Output>) {
        let (mut slow, mut reports, mut roots) = (Vec::new(), Vec::new(), Vec::new());
        for output in outputs {
            match output {
                Output::Transmit { conn, bytes } => {
                    if self.outboxes.get(&conn).is_some_and(|outbox| !outbox.send(bytes)) {
                        slow.push(conn);
                    }
                }
                Output::Close { conn, reason } => {
                    self.policies.forget(conn);
                    self.telling.forget(conn);
                    if let Some(outbox) = self.outboxes.remove(&conn) {
                        tracing::info!(conn = conn.0, %reason, "connection closed");
                        match reason {
                            CloseReason::Displaced => outbox.displace(),
                            _ => outbox.close(),
                        }
                    }
                }
                Output::Store { ticket, records } => self.job(Job::Batch { ticket, records }),
                Output::PolicyState { conn, thing, payload } => {
                    reports.push((conn, thing, payload));
                }
                Output::AnchorState { conn, thing, payload } => roots.push((conn, thing, payload)),
                Output::Clone(seen) => self.cloned(*seen),
            }
        }
        for (conn, thing, payload) in reports {
            self.policy_state(conn, &thing, &payload);
        }
        for (conn, thing, payload) in roots {
            self.anchor_state(conn, &thing, &payload);
        }
        for conn in slow {
            self.with(|broker, context, _| {
                ((), broker.close_one(context, conn, CloseReason::Quota))
            });
        }
    }

    pub(super) fn job(&self, job: Job) {
        if let Some(jobs) = self.jobs.upgrade() {
            // The writer outlives the engine unless it failed, which ends acknowledgements but not the process.
            if jobs.send(job).is_err() {
                tracing::error!("the store's writer has ended");
            }
        }
    }

    fn tick(&mut self) {
        let now = self.clock.now();
        if self.broker.next_timeout().is_some_and(|due| due <= now.monotonic) {
            self.with(|broker, context, _| ((), broker.handle(Input::Tick, context)));
        }
        if self.next_sweep <= now.monotonic {
            let sweep = u64::try_from(SWEEP.as_millis()).unwrap_or(u64::MAX);
            self.next_sweep = now.monotonic + sweep;
            self.with(|broker, context, _| ((), broker.sweep(context.now)));
        }
        self.policies_tick();
        self.look_at_age();
    }

    /// Whether the authority was heard lately; asked with every event, and at least once a second.
    fn look_at_age(&mut self) {
        let standing = self.aged.standing();
        if standing == self.standing {
            return;
        }
        let age = self.aged.list_age().unwrap_or_default().as_secs();
        match standing {
            Standing::Current => tracing::warn!(age, "the authority is heard again"),
            Standing::Old => {
                tracing::error!(age, "the revocation list is too old; staying open, as configured");
            }
            Standing::Closed => {
                tracing::error!(age, "the revocation list is too old; closed, as configured");
            }
        }
        self.standing = standing;
        self.rejudge();
    }

    fn event(&mut self, event: Event) {
        match event {
            Event::Opened { conn, peer, channel, outbox } => {
                self.opened(conn, peer, *channel, outbox);
            }
            Event::Received { conn, bytes, credit } if self.policies.has_visit(conn) => {
                self.visitor_said(conn, &bytes);
                drop(credit);
            }
            Event::Received { conn, bytes, credit } => {
                let input = Input::Received { conn, bytes: &bytes };
                self.with(|broker, context, _| ((), broker.handle(input, context)));
                drop(credit);
            }
            Event::Closed { conn, answered } => {
                self.outboxes.remove(&conn);
                self.policies.forget(conn);
                self.telling.forget(conn);
                if answered {
                    let input = Input::Answered { conn };
                    self.with(|broker, context, _| ((), broker.handle(input, context)));
                }
                self.with(|broker, context, _| {
                    ((), broker.handle(Input::Closed { conn }, context))
                });
            }
        }
    }

    //= specs/en-303-645.md#5.5-4
    //# Authentication SHOULD tell subjects apart and refuse invalid ones.
    /// The peer is judged here, in the same task that re-judges, so that no revocation falls between the two.
    fn opened(&mut self, conn: ConnId, peer: PeerFacts, channel: ChannelFacts, outbox: Outbox) {
        let subject = match self.directory.admit(&peer) {
            Ok(subject) => subject,
            Err(refusal) => {
                let (kind, name, serial) = (peer.kind, peer.name, peer.serial_hex);
                tracing::info!(%kind, name, serial, %refusal, "not admitted");
                return outbox.close();
            }
        };
        tracing::info!(conn = conn.0, %subject, group = channel.group, "admitted");
        self.job(Job::Note(Box::new(Sighting {
            subject: subject.to_string(),
            version: channel.version.clone(),
            suite: channel.suite.clone(),
            group: channel.group.clone(),
            offered: channel.offered.clone(),
            certificate: fleet::Certificate {
                serial: peer.serial_hex.clone(),
                key: channel.key_algorithm.clone(),
                signature: channel.certificate_signature.clone(),
                not_after: peer.not_after,
            },
            at: self.clock.now().wall,
        })));
        let Some(outbox) = self.by_policy(conn, &peer, &subject, &channel, outbox) else { return };
        self.outboxes.insert(conn, outbox);
        let input = Input::Opened { conn, peer, subject, channel };
        self.with(|broker, context, _| ((), broker.handle(input, context)));
    }

    //= specs/house.md#house-revocation
    //# A revocation MUST close the subject's open sessions within one second.
    fn rejudge(&mut self) {
        self.with(|broker, context, directory| {
            let mut judge =
                |peer: &PeerFacts| directory.admit(peer).map_err(|refusal| refusal.to_string());
            ((), broker.rejudge(context, &mut judge))
        });
        self.rejudge_visits();
    }

    fn close_all(&mut self) {
        self.with(|broker, context, _| {
            ((), broker.close_where(context, &CloseReason::ShuttingDown, &|_, _| true))
        });
    }

    fn control(&mut self, control: Control) {
        match control {
            Control::Stored(ticket) => {
                self.with(|broker, context, _| {
                    ((), broker.handle(Input::Stored { ticket }, context))
                });
            }
            // Whoever asked may have stopped waiting.
            Control::Status(answer) => drop(answer.send(self.broker.status())),
            Control::Fleet(answer) => self.job(Job::Fleet(answer)),
            Control::HoldsPolicy { subject, version } => {
                let at = self.clock.now().wall;
                self.job(Job::Policy(HeldPolicy { subject, version, at }));
            }
            Control::Roots(line) => self.roots_stated(line),
            Control::Close { reason, meant } => {
                self.with(|broker, context, _| ((), broker.close_where(context, &reason, &*meant)));
            }
            Control::Drain => self.close_all(),
        }
    }
}

/// Waits for a change of policy; for ever where there is none to wait for.
async fn rung(bell: &mut Option<watch::Receiver<u64>>) {
    let rang = match bell {
        Some(bell) => bell.changed().await.is_ok(),
        None => false,
    };
    if !rang {
        std::future::pending::<()>().await;
    }
}

impl std::fmt::Debug for Control {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Stored(_) => "Stored",
            Self::Status(_) => "Status",
            Self::Fleet(_) => "Fleet",
            Self::HoldsPolicy { .. } => "HoldsPolicy",
            Self::Roots(_) => "Roots",
            Self::Close { .. } => "Close",
            Self::Drain => "Drain",
        })
    }
}
