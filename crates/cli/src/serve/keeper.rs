//! What `serve` sees to while it runs: its own certificate renewed in time, and new issuing CAs known to every listener.
//!
//! ```text
//!  the database changed ─┐
//!  an hour went by ──────┼─► are identity and anchors still those in use? ── no ─► TLS of every listener anew
//!  another policy ───────┘
//! ```
//! Open connections stay; each new one is accepted with what is newest.

use std::sync::Arc;
use std::time::Duration;

use countersign_authority::Authority;
use countersign_crypto::policy::CompiledPolicy;
use countersign_crypto::tls::TlsServer;
use countersign_gateway::server::RunningGateway;
use tokio::sync::watch;

use super::Servers;
use crate::config::ServeConfig;
use crate::failure::Ended;

/// How often the age of the server's certificate and the policy's demands are looked at when nothing changes.
const LOOK: Duration = Duration::from_secs(3600);

/// How long after a look that failed the next one is: a full disk or a locked database passes.
const RETRY: Duration = Duration::from_secs(30);

/// Keeps every listener's TLS current.
pub(super) struct Keeper {
    pub(super) authority: Authority,
    pub(super) config: ServeConfig,
    pub(super) policy: watch::Receiver<Arc<CompiledPolicy>>,
    pub(super) est: watch::Sender<TlsServer>,
    pub(super) admin: watch::Sender<TlsServer>,
    /// What is in use.
    pub(super) standing: Standing,
}

/// What the listeners' TLS was made from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Standing {
    /// Serial number of the server's certificate.
    pub(super) serial: String,
    /// The issuing CAs' version.
    pub(super) issuing: u64,
}

impl Keeper {
    /// Looks after it for ever.
    pub(super) async fn keep(mut self, gateway: &RunningGateway) {
        let mut changed = self.authority.registry().changed();
        let mut pause = Duration::ZERO;
        let mut policy_known = true;
        loop {
            let registry = self.authority.registry();
            let due = tokio::select! {
                () = tokio::time::sleep(pause) => true,
                // Most changes are enrolments, which concern no listener.
                Ok(()) = changed.changed() => registry.issuing_version() != self.standing.issuing,
                another = self.policy.changed(), if policy_known => {
                    policy_known = another.is_ok();
                    true
                }
            };
            if due {
                pause = match self.look(gateway).await {
                    Ok(()) => LOOK,
                    Err(error) => {
                        tracing::error!(
                            error = error.text,
                            "the servers' certificates could not be looked after"
                        );
                        RETRY
                    }
                };
            }
        }
    }

    async fn look(&mut self, gateway: &RunningGateway) -> Ended {
        // 1. What the policy in force demands of the issuing CAs.
        let followed = self.authority.follow_policy(tokio::time::sleep).await?;
        for label in &followed.rolled {
            tracing::warn!(label, "the policy demanded a new issuing CA: it issues now");
        }
        for one in &followed.findings {
            tracing::error!(key = one.key, what = one.what, "stands against the policy in force");
        }
        // 2. Identity and anchors.
        let policy = self.policy.borrow_and_update().clone();
        let servers = Servers::make(&self.authority, &policy, &self.config).await?;
        if servers.standing != self.standing {
            tracing::info!(
                serial = servers.standing.serial,
                "the listeners use another identity, or other anchors"
            );
        }
        self.standing = servers.standing;
        gateway.replace_tls(servers.mqtt);
        self.est.send_replace(servers.est);
        self.admin.send_replace(servers.admin);
        Ok(())
    }
}
