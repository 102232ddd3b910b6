//! What `serve` sees to while it runs: its own certificate renewed in time, and new issuing CAs known to every listener.
//!
//! ```text
//!  the database changed ─┐
//!  an hour went by ──────┼─► are identity and anchors still those in use? ── no ─► TLS of every listener anew
//!  another policy ───────┘
//! ```
//! Open connections stay; each new one is accepted with what is newest.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use countersign_authority::Authority;
use countersign_authority::expiry::{Alarms, Standing, WITHIN};
use countersign_authority::revocation::many::ABANDONED;
use countersign_gateway::server::RunningGateway;
use countersign_protocol::anchors::RootLine;

use super::listeners::{Listeners, Servers};
use super::policies;
use crate::config::ServeConfig;
use crate::failure::Ended;

/// How often the age of the server's certificate and the policy's demands are looked at when nothing changes.
const LOOK: Duration = Duration::from_secs(3600);

/// How long after a look that failed the next one is: a full disk or a locked database passes.
const RETRY: Duration = Duration::from_secs(30);

/// The most lines about what expires that one look logs.
const MAX_TOLD: usize = 20;

/// Keeps every listener's TLS current.
pub(super) struct Keeper {
    pub(super) authority: Authority,
    pub(super) config: ServeConfig,
    pub(super) listeners: Arc<Listeners>,
    pub(super) alarms: Mutex<Alarms>,
}

impl Keeper {
    /// Looks after it for ever.
    pub(super) async fn keep(self, gateway: &RunningGateway) {
        let mut changed = self.authority.registry().changed();
        let mut next = tokio::time::Instant::now();
        let mut policies = self.listeners.keeper.changed();
        let mut orders = tokio::time::interval(ABANDONED);
        loop {
            let registry = self.authority.registry();
            let due = tokio::select! {
                () = tokio::time::sleep_until(next) => true,
                // Most changes are enrolments, which concern no listener.
                Ok(()) = changed.changed() => registry.issuing_version() != self.listeners.servers().standing.issuing,
                Ok(()) = policies.changed() => true,
                _ = orders.tick() => {
                    // Somebody's command may have been killed half-way.
                    if let Err(error) = self.authority.carry_on_orders(ABANDONED).await {
                        tracing::error!(%error, "an order to revoke could not be carried on");
                    }
                    continue;
                }
            };
            if due {
                let pause = match self.look(gateway).await {
                    Ok(()) => LOOK,
                    Err(error) => {
                        tracing::error!(
                            error = error.text,
                            "the servers' certificates could not be looked after"
                        );
                        RETRY
                    }
                };
                next = tokio::time::Instant::now() + pause;
            }
        }
    }

    async fn look(&self, gateway: &RunningGateway) -> Ended {
        // 0. What the roots said of their successors and of those before them, for devices.
        let stated = self.authority.stated_roots().await?;
        let line = RootLine::new(stated.first, stated.statements)?;
        gateway.tell_roots(match &stated.withdrawal {
            None => line,
            Some(word) => line.withdrawn(word)?,
        });
        // 1. What the policy in force demands of the issuing CAs.
        let followed = self.authority.follow_policy(tokio::time::sleep).await?;
        for label in &followed.rolled {
            tracing::warn!(label, "the policy demanded a new issuing CA: it issues now");
        }
        for one in &followed.findings {
            tracing::error!(key = one.key, what = one.what, "stands against the policy in force");
        }
        for one in &self.authority.root_needs()? {
            tracing::warn!(
                key = one.key,
                before = one.before,
                what = one.what,
                "the root will be needed"
            );
        }
        // 2. What expires, told in time.
        let (report, now) = (self.authority.expiry(WITHIN).await?, policies::now());
        let fresh = self.alarms.lock().unwrap_or_else(PoisonError::into_inner).fresh(&report, now);
        for line in fresh.iter().take(MAX_TOLD) {
            let (what, name) = (line.expiring.what, &line.expiring.name);
            let (at, mend) = (line.at.as_deref().unwrap_or_default(), what.mend());
            match line.standing {
                Standing::Expired => {
                    tracing::error!(what = what.as_str(), name, at, mend, "expired")
                }
                _ => tracing::warn!(what = what.as_str(), name, at, mend, "expires"),
            }
        }
        if fresh.len() > MAX_TOLD {
            let more = fresh.len() - MAX_TOLD;
            tracing::warn!(more, "and more expires: see `countersign authority expiry`");
        }
        // 3. Identity and anchors.
        let servers = Servers::make(&self.authority, &self.config).await?;
        if servers.standing != self.listeners.servers().standing {
            tracing::info!(
                serial = servers.standing.serial,
                "the listeners use another identity, or other anchors"
            );
        }
        self.listeners.replace(servers, gateway)
    }
}
