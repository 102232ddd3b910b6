//! The shell: sockets, clock, disk and tasks around the broker's core.
//!
//! ```text
//!  accept ─► handshake ─► connection ──events──► engine ──outputs──► connection ─► socket
//!  (limits,  (time-out)   (read half)           (Broker)             (write half)
//!   back-off)                                    │    ▲
//!                              directory.changed ┘    └─ writer (Store): stored(ticket)
//! ```

mod acceptor;
mod admission;
mod anchors;
mod changeover;
mod clones;
mod connection;
mod engine;
mod policies;
#[cfg(test)]
mod tests;

use crate::broker::record::Snapshot;
use crate::broker::status::{BrokerStatus, ChannelFacts};
use crate::broker::{Broker, CloseReason, ConnId};
use crate::clones::CloneSeen;
use crate::config::{GatewayConfig, InvalidConfig};
use crate::directory::{Directory, PeerFacts, PeerKind};
use crate::policy::PolicyKeeper;
use crate::revocation::Aged;
use crate::store::writer;
use crate::store::{Store, StoreError};
use acceptor::Acceptor;
use admission::Admission;
use countersign_crypto::tls::TlsServer;
use countersign_protocol::anchors::RootLine;
use countersign_protocol::fleet;
use engine::{Clock, Control, Engine};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Mutex, mpsc, oneshot, watch};
use tokio::task::JoinHandle;

/// Events from connections that wait for the engine. Each connection has at most two of them there.
const EVENT_QUEUE: usize = 1024;

/// Clones that wait until somebody is told of them; each waits some milliseconds for a disk.
const CLONE_QUEUE: usize = 1024;

/// The first and the longest pause after a failed accept. Running out of descriptors passes; the listener stays.
const ACCEPT_PAUSE: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(1));

/// Why the gateway does not start. Sorted by whose doing it is: the configuration's, the environment's.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A key is out of its range.
    #[error(transparent)]
    Config(#[from] InvalidConfig),
    /// The address cannot be listened on.
    #[error(
        "gateway.listen = \"{address}\": {source}. Another program may hold the port; choose one that is free, or port 0 for any"
    )]
    Listen {
        /// Which address.
        address: SocketAddr,
        /// What the operating system says.
        #[source]
        source: std::io::Error,
    },
    /// The store cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The service where devices and services connect.
pub struct Gateway;

impl Gateway {
    /// Opens the store, listens, and serves until [`RunningGateway::shutdown`].
    ///
    /// # Errors
    /// [`StartError`]; nothing is listening then.
    pub async fn start(
        config: GatewayConfig,
        tls: TlsServer,
        directory: Arc<dyn Directory>,
        store_path: &Path,
    ) -> Result<RunningGateway, StartError> {
        Self::begin(config, tls, directory, store_path, None).await
    }

    /// The same under policies that change: what a channel opens is judged by `keeper`, devices are given the policy in force,
    /// and open sessions follow each change. The caller replaces `tls` whenever [`PolicyKeeper::changed`] says so.
    ///
    /// # Errors
    /// As [`Gateway::start`].
    pub async fn start_under(
        keeper: Arc<PolicyKeeper>,
        config: GatewayConfig,
        tls: TlsServer,
        directory: Arc<dyn Directory>,
        store_path: &Path,
    ) -> Result<RunningGateway, StartError> {
        Self::begin(config, tls, directory, store_path, Some(keeper)).await
    }

    async fn begin(
        config: GatewayConfig,
        tls: TlsServer,
        directory: Arc<dyn Directory>,
        store_path: &Path,
        keeper: Option<Arc<PolicyKeeper>>,
    ) -> Result<RunningGateway, StartError> {
        let (tls_sender, tls) = watch::channel(Arc::new(tls));
        let mut running = start(config, tls, directory, store_path, keeper).await?;
        running.tls = Some(tls_sender);
        Ok(running)
    }
}

/// Start-up in order: configuration, store, listener, then the tasks.
async fn start<A: Acceptor>(
    config: GatewayConfig,
    acceptor: watch::Receiver<Arc<A>>,
    directory: Arc<dyn Directory>,
    store_path: &Path,
    keeper: Option<Arc<PolicyKeeper>>,
) -> Result<RunningGateway, StartError> {
    // 1. Nothing is opened for a configuration that is wrong.
    config.validate()?;
    // 2. What was promised before comes back before anybody connects.
    let (store, snapshot) = Store::open(store_path).await?;
    // 3. The listener.
    let address = config.listen;
    let listen = |source| StartError::Listen { address, source };
    let listener = TcpListener::bind(address).await.map_err(listen)?;
    let local_addr = listener.local_addr().map_err(listen)?;
    // 4. The tasks.
    let (control, controls) = mpsc::unbounded_channel();
    let (events, event_queue) = mpsc::channel(EVENT_QUEUE);
    let (jobs, job_queue) = mpsc::unbounded_channel();
    let confirm = {
        let control = control.downgrade();
        move |ticket| {
            if let Some(control) = control.upgrade() {
                // The engine may have ended; then nobody waits for the ticket.
                let _ = control.send(Control::Stored(ticket));
            }
        }
    };
    let writer = tokio::spawn(writer::run(store, job_queue, confirm));
    let broker = new_broker(&config, snapshot);
    let aged = Arc::new(Aged { inner: directory, config: config.revocation });
    let directory: Arc<dyn Directory> = aged.clone();
    let (clones, seen) = mpsc::channel(CLONE_QUEUE);
    let engine = Engine::new(broker, &config, aged, jobs.downgrade(), keeper, clones);
    let engine = tokio::spawn(engine.run(event_queue, controls, jobs));
    let (alive, all_closed) = mpsc::channel(1);
    let accept = AcceptLoop {
        admission: Admission::new(config.max_connections, config.max_connections_per_ip),
        config: Arc::new(config.clone()),
        acceptor,
        directory,
        events,
        alive,
        next: 0,
    };
    let accept = tokio::spawn(accept.run(listener));
    tracing::info!(%local_addr, "gateway listens");
    Ok(RunningGateway {
        local_addr,
        control,
        accept,
        engine,
        writer,
        all_closed,
        clones: Mutex::new(seen),
        drain: config.drain(),
        tls: None,
    })
}

fn new_broker(config: &GatewayConfig, snapshot: Snapshot) -> Broker {
    let patience = u64::try_from(config.connect_timeout().as_millis()).unwrap_or(u64::MAX);
    let told = config.home_assistant.enabled.then(|| config.home_assistant.prefix.clone());
    Broker::new(config.limits.clone(), patience, snapshot, Clock::new().now())
        .telling_home_assistant(told)
}

struct AcceptLoop<A> {
    config: Arc<GatewayConfig>,
    acceptor: watch::Receiver<Arc<A>>,
    directory: Arc<dyn Directory>,
    admission: Admission,
    events: mpsc::Sender<connection::Event>,
    alive: mpsc::Sender<()>,
    next: u64,
}

impl<A: Acceptor> AcceptLoop<A> {
    async fn run(mut self, listener: TcpListener) {
        let mut pause = ACCEPT_PAUSE.0;
        loop {
            match listener.accept().await {
                Ok((stream, remote)) => {
                    pause = ACCEPT_PAUSE.0;
                    self.admit(stream, remote);
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept; pausing");
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(ACCEPT_PAUSE.1);
                }
            }
        }
    }

    fn admit(&mut self, stream: TcpStream, remote: SocketAddr) {
        let Some(place) = self.admission.enter(remote.ip()) else {
            // Dropping the stream closes it: whoever floods gets nothing for it.
            tracing::debug!(%remote, "too many connections");
            return;
        };
        self.next += 1;
        let conn = ConnId(self.next);
        let acceptor = self.acceptor.borrow().clone();
        let (config, events, alive) =
            (self.config.clone(), self.events.clone(), self.alive.clone());
        let directory = self.directory.clone();
        tokio::spawn(async move {
            let _held = (place, alive);
            connection::serve(conn, stream, remote, &*acceptor, &*directory, &config, events).await;
        });
    }
}

/// Whom an order to close means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PeerSelector {
    /// Every connection of this subject.
    Name(PeerKind, String),
    /// Every connection with the certificate of this serial number, in hexadecimal.
    Serial(String),
}

impl PeerSelector {
    fn means(&self, peer: &PeerFacts) -> bool {
        match self {
            Self::Name(kind, name) => peer.kind == *kind && peer.name == *name,
            Self::Serial(serial) => peer.serial_hex.eq_ignore_ascii_case(serial),
        }
    }
}

/// A gateway that serves. Dropping it ends it without a drain; what was acknowledged is stored either way.
#[derive(Debug)]
pub struct RunningGateway {
    local_addr: SocketAddr,
    control: mpsc::UnboundedSender<Control>,
    accept: JoinHandle<()>,
    engine: JoinHandle<()>,
    writer: JoinHandle<Store>,
    all_closed: mpsc::Receiver<()>,
    clones: Mutex<mpsc::Receiver<CloneSeen>>,
    drain: Duration,
    tls: Option<watch::Sender<Arc<TlsServer>>>,
}

impl RunningGateway {
    /// Where it listens, with the port that the system chose for port 0.
    #[must_use]
    pub const fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Sessions, subscriptions, counters; `None` once the gateway has ended.
    pub async fn status(&self) -> Option<BrokerStatus> {
        let (answer, answered) = oneshot::channel();
        self.control.send(Control::Status(answer)).ok()?;
        answered.await.ok()
    }

    /// Everybody who was ever seen, with what they offered and agreed on: what a policy is held against before it is signed.
    /// Empty once the gateway has ended.
    pub async fn fleet(&self) -> Vec<fleet::Record> {
        let (answer, answered) = oneshot::channel();
        if self.control.send(Control::Fleet(answer)).is_err() {
            return Vec::new();
        }
        answered.await.unwrap_or_default()
    }

    /// Notes that a subject (`thing:NAME` or `service:NAME`) says that it holds this version of the crypto policy.
    pub fn holds_policy(&self, subject: &str, version: u64) {
        // An ended gateway takes no notes.
        let _ = self.control.send(Control::HoldsPolicy { subject: subject.to_owned(), version });
    }

    /// Gives devices, from here on, the statements by which these roots follow one another, each what it lacks. The same line
    /// again changes nothing.
    pub fn tell_roots(&self, line: RootLine) {
        // An ended gateway tells nobody anything.
        let _ = self.control.send(Control::Roots(line));
    }

    /// The next identity that is in two places at once; waits for it. `None` once the gateway has ended. Cancelling this loses
    /// nothing; of two who wait, one hears of it.
    pub async fn next_clone(&self) -> Option<CloneSeen> {
        self.clones.lock().await.recv().await
    }

    /// Closes the connections that are meant, at once; `why` goes to the log. They may connect again if the directory
    /// admits them.
    pub fn close_subject(&self, whom: PeerSelector, why: &str) {
        self.close_matching(why, move |peer, _| whom.means(peer));
    }

    /// Closes the connections for which `meant` is true, for instance those whose group a new policy forbids.
    pub fn close_matching(
        &self,
        why: &str,
        meant: impl Fn(&PeerFacts, &ChannelFacts) -> bool + Send + 'static,
    ) {
        let reason = CloseReason::Administrative(why.to_owned());
        // An ended gateway has no connections.
        let _ = self.control.send(Control::Close { reason, meant: Box::new(meant) });
    }

    /// Uses another certificate or policy for every handshake from now on. Open connections stay.
    pub fn replace_tls(&self, tls: TlsServer) {
        if let Some(current) = &self.tls {
            current.send_replace(Arc::new(tls));
        }
    }

    /// Ends in order: no new connections, a goodbye to each open one, everything stored. Waits for `drain_secs` at most.
    pub async fn shutdown(mut self) {
        self.accept.abort();
        let _ = (&mut self.accept).await;
        let _ = self.control.send(Control::Drain);
        let ended = async {
            let _ = self.all_closed.recv().await;
            let _ = (&mut self.engine).await;
            if let Ok(store) = (&mut self.writer).await {
                store.close().await;
            }
        };
        if tokio::time::timeout(self.drain.max(Duration::from_secs(1)), ended).await.is_err() {
            tracing::warn!("the drain took too long; ending without the rest");
        }
    }
}

impl Drop for RunningGateway {
    fn drop(&mut self) {
        self.accept.abort();
        self.engine.abort();
    }
}
