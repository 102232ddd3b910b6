//! The crypto policy while `serve` runs: what was published is tried, put in force at every listener, and followed.
//!
//! ```text
//!  policy/next.cose ─► PolicyKeeper ─► a handshake with ourselves under it ─► in force ─► TLS of every listener anew
//!                           │                                                   │
//!                           └─► ledger, policy/outcome.json ◄───────────────────┘─► policy/current.cose
//! ```
//! Each step is stored before the next is taken; a start goes on where a kill left off.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use countersign_authority::Authority;
use countersign_crypto::certificate::IdentityKind;
use countersign_crypto::file;
use countersign_crypto::policy::Use;
use countersign_crypto::tls::{Clock as _, SystemClock, TlsClient, TlsServer};
use countersign_gateway::policy::{OfferError, PolicyKeeper};
use countersign_gateway::server::RunningGateway;
use countersign_model::time::Timestamp;
use countersign_protocol::policy::{Event, Next, Phase, PolicyTrust, PreparedPolicy};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::listeners::Listeners;
use crate::failure::{Ended, Failure, Named as _};

/// How often a published policy is looked for, as often as a revocation.
const LOOK: Duration = Duration::from_millis(100);
/// How long a handshake with ourselves may take, on a machine that has much else to do.
const TRIAL: Duration = Duration::from_secs(20);
/// Largest published document that is read: larger ones are no policy.
const MAX_DOCUMENT: u64 = 256 * 1024;

pub(super) fn now() -> Timestamp {
    SystemClock.now()
}

/// The policies of this data folder. The first start signs the build's policy for this maker.
pub(super) async fn open(authority: &Authority, folder: &Path) -> Ended<Arc<PolicyKeeper>> {
    let layout = authority.layout();
    let path = layout.policy();
    let second = authority.second_policy_verification_key().await?;
    let begun = folder.join("slots.json").exists();
    if !path.exists() && !begun {
        authority.show_policy(&authority.first_policy().await?.document)?;
    }
    if let (Some(second), Some(parent)) = (&second, path.parent()) {
        let key = layout.second_policy_key();
        if std::fs::read(&key).ok().as_ref() != Some(second) {
            file::private_folder(parent).at(parent)?;
            file::write_atomic(&key, second, file::PUBLIC).at(&key)?;
        }
    }
    // What is shown as in force must be what somebody signed, even where another file decides.
    let first = if path.exists() { std::fs::read(&path).at(&path)? } else { Vec::new() };
    if path.exists() {
        authority.authorities()?.verify_policy(&first).named(format_args!(
            "{}: restore it from backup, or remove it, and the next start writes the policy in force anew",
            path.display()
        ))?;
    }
    // By the first policy keys: what lies in the folder may be by any since, and each document says how those came about.
    let key = authority.authorities()?.first_policy_key().to_vec();
    let second = authority.first_second_policy_key().await?;
    let trust = PolicyTrust::new(&key, &authority.maker()?).with_second(second);
    let keeper = PolicyKeeper::open(folder, trust, &first, now()).at(folder)?;
    show(authority, &keeper)?;
    Ok(keeper)
}

/// `current.cose` is what is in force, for people and for devices made in the factory.
fn show(authority: &Authority, keeper: &PolicyKeeper) -> Ended {
    let Some(document) = keeper.document(keeper.in_force().digest) else { return Ok(()) };
    Ok(authority.show_policy(&document)?)
}

/// What follows a policy.
pub(super) struct Policies<'a> {
    pub(super) authority: &'a Authority,
    pub(super) listeners: Arc<Listeners>,
    pub(super) gateway: &'a RunningGateway,
}

impl Policies<'_> {
    /// Follows for ever. A disk that is full ends nothing: the next look tries again.
    pub(super) async fn follow(self) {
        let mut changed = self.listeners.keeper.changed();
        let mut seen: Option<(SystemTime, u64)> = None;
        let mut proven = self.listeners.keeper.in_force().phase != Phase::Probation;
        loop {
            if let Err(error) = self.look(&mut seen, &mut proven, &mut changed).await {
                tracing::error!(error = error.text, "the crypto policy could not be followed");
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    async fn look(
        &self,
        seen: &mut Option<(SystemTime, u64)>,
        proven: &mut bool,
        changed: &mut watch::Receiver<u64>,
    ) -> Ended {
        // 1. Has something been published?
        let path = self.authority.layout().policy_next();
        if let Ok(about) = std::fs::metadata(&path) {
            let stamp = about.modified().ok().map(|at| (at, about.len()));
            if stamp != *seen {
                self.take(&path, about.len()).await?;
                *seen = stamp;
            }
        }
        // 2. Is a trial due?
        if let Next::Try(policy) = self.listeners.keeper.next(now()) {
            self.try_out(&policy).await?;
        }
        // 3. Has a day ended something?
        self.listeners.keeper.on_day(now());
        // 4. Do the listeners follow?
        if changed.has_changed().unwrap_or(false) {
            changed.mark_unchanged();
            self.listeners.listen(self.gateway)?;
            show(self.authority, &self.listeners.keeper)?;
        }
        // 5. Has the policy carried a session?
        let in_force = self.listeners.keeper.in_force();
        let steady = in_force.phase != Phase::Probation;
        if steady && !*proven {
            let document =
                self.listeners.keeper.document(in_force.digest).unwrap_or_else(|| [].into());
            let text = "has carried a client's session";
            self.authority.record_policy(&document, Some(in_force.version), "proven", text).await?;
        }
        *proven = steady;
        Ok(())
    }

    /// A document was published, or put there by somebody.
    async fn take(&self, path: &Path, length: u64) -> Ended {
        let document =
            if length > MAX_DOCUMENT { Vec::new() } else { std::fs::read(path).at(path)? };
        // Taken before a kill: what remains is the trial.
        if !self.listeners.keeper.knows(&document, now()) {
            match self.listeners.keeper.offer(&document, "the authority", now()) {
                Ok(version) => {
                    tracing::info!(target: "countersign::audit", version, "a policy was published");
                }
                Err(OfferError::Refused { version, refusal }) => {
                    let (word, text) = (refusal.word().as_str(), refusal.to_string());
                    tracing::warn!(target: "countersign::audit", version, word, text, "policy refused");
                    self.authority.record_policy(&document, version, word, &text).await?;
                    std::fs::remove_file(path).at(path)?;
                }
                Err(OfferError::Files(error)) => return Err(error.into()),
            }
        } else if self
            .listeners
            .keeper
            .document(self.listeners.keeper.in_force().digest)
            .is_some_and(|d| *d == *document)
        {
            self.activated(&document).await?;
        }
        Ok(())
    }

    //= specs/house.md#house-policy
    //# A policy MUST be tried in a handshake before it is in force.
    async fn try_out(&self, policy: &Arc<PreparedPolicy>) -> Ended {
        let (digest, version) = (policy.digest(), policy.version());
        let document = self.listeners.keeper.document(digest).unwrap_or_else(|| [].into());
        match self.handshakes(policy).await {
            Ok(()) => {
                self.listeners.keeper.report(Event::TrialSucceeded(digest), now())?;
                self.activated(&document).await
            }
            Err(failure) => {
                let why = failure.text;
                tracing::warn!(target: "countersign::audit", version, why, "policy trial failed");
                self.listeners.keeper.report(Event::TrialFailed(digest, why.clone()), now())?;
                let text = format!("no handshake came about under it: {why}");
                self.authority
                    .record_policy(&document, Some(version), "trial-failed", &text)
                    .await?;
                Ok(())
            }
        }
    }

    async fn activated(&self, document: &[u8]) -> Ended {
        let version = self.listeners.keeper.in_force().version;
        tracing::warn!(target: "countersign::audit", version, "another crypto policy is in force");
        // Listeners first: whoever is told that it is in force finds it so.
        self.listeners.listen(self.gateway)?;
        show(self.authority, &self.listeners.keeper)?;
        let text = "tried in a handshake, in force at every listener";
        self.authority.record_policy(document, Some(version), "activated", text).await?;
        let path = self.authority.layout().policy_next();
        if std::fs::read(&path).is_ok_and(|next| next == document) {
            std::fs::remove_file(&path).at(&path)?;
        }
        Ok(())
    }

    /// Real handshakes over loopback, both ends under the candidate: our certificate, and a client's of our own authority.
    async fn handshakes(&self, policy: &PreparedPolicy) -> Ended {
        let servers = self.listeners.servers();
        let probe = self.authority.probe_identity().await?;
        let roots = [self.authority.authorities()?.root().clone()];
        for (use_, rule, alpn) in
            [(Use::DeviceUplink, &servers.mqtt, "mqtt"), (Use::Est, &servers.est, "http/1.1")]
        {
            let identity = &servers.identity;
            let server = TlsServer::new(policy.compiled(), use_, identity, rule, alpn)?;
            let kinds = [IdentityKind::Server];
            let client =
                TlsClient::new(policy.compiled(), use_, Some(&probe), &roots, &kinds, alpn)?;
            let exchange = exchange(&server, &client, &servers.name);
            tokio::time::timeout(TRIAL, exchange)
                .await
                .map_err(|_| Failure::found(format!("{}: took too long", use_.as_str())))?
                .map_err(|failure| {
                    Failure::found(format!("{}: {}", use_.as_str(), failure.text))
                })?;
        }
        Ok(())
    }
}

/// One byte each way: only then has either side believed the other.
async fn exchange(server: &TlsServer, client: &TlsClient, name: &str) -> Ended {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let address = listener.local_addr()?;
    let serving = async {
        let (stream, _) = listener.accept().await?;
        let mut channel = server.accept(stream).await?;
        let byte = channel.read_u8().await?;
        channel.write_u8(byte).await?;
        channel.flush().await?;
        Ok::<_, Failure>(())
    };
    let asking = async {
        let mut channel = client.connect(name, TcpStream::connect(address).await?).await?;
        channel.write_u8(7).await?;
        channel.flush().await?;
        channel.read_u8().await?;
        Ok::<_, Failure>(())
    };
    // The first failure is the reason; the other side's is its echo.
    tokio::try_join!(serving, asking).map(|_| ())
}
