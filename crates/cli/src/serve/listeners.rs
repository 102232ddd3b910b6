//! TLS of every listener: identity and anchors from the authority, rules from the policies. Either changes while we serve.

use std::sync::{Arc, Mutex, PoisonError};

use countersign_authority::Authority;
use countersign_authority::profile::ServerNames;
use countersign_crypto::policy::Use;
use countersign_crypto::tls::{ClientRule, SystemClock, TlsIdentity, TlsServer};
use countersign_gateway::policy::PolicyKeeper;
use countersign_gateway::server::RunningGateway;
use tokio::sync::watch;

use super::{SERVER_NAME, directory, policies};
use crate::config::ServeConfig;
use crate::failure::Ended;

/// What the listeners' TLS is made from, besides the policies.
pub(super) struct Servers {
    pub(super) identity: TlsIdentity,
    /// A name in its certificate.
    pub(super) name: String,
    pub(super) mqtt: ClientRule,
    pub(super) est: ClientRule,
    pub(super) admin: ClientRule,
    pub(super) standing: Standing,
}

/// Which certificate and which anchors that is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Standing {
    /// Serial number of the server's certificate.
    pub(super) serial: String,
    /// The issuing CAs' version.
    pub(super) issuing: u64,
}

impl Servers {
    pub(super) async fn make(authority: &Authority, config: &ServeConfig) -> Ended<Self> {
        // Read first: what changes in between is seen by the next look.
        let issuing = authority.registry().issuing_version();
        let names =
            ServerNames { dns: config.server.names.clone(), ips: config.server.addresses.clone() };
        let name = names.dns.first().cloned();
        let name = name.or_else(|| names.ips.first().map(ToString::to_string)).unwrap_or_default();
        let identity = authority.server_identity(&SERVER_NAME.parse()?, &names).await?;
        let denylist = Arc::new(directory::Denylist(authority.registry()));
        let mqtt = ClientRule::Required(authority.gateway_anchors()?.checked_by(denylist.clone()));
        let est = ClientRule::Optional(authority.est_anchors()?.checked_by(denylist.clone()));
        let admin = ClientRule::Required(authority.admin_anchors()?.checked_by(denylist));
        let standing = Standing { serial: identity.chain().leaf().serial_hex(), issuing };
        Ok(Self { identity, name, mqtt, est, admin, standing })
    }

    /// TLS for MQTT, EST and administration, by every policy that may serve a connection now.
    pub(super) fn tls(&self, keeper: &PolicyKeeper) -> Ended<(TlsServer, TlsServer, TlsServer)> {
        let server = |use_, rule, alpn| {
            let rules = keeper.rules(use_, policies::now());
            let identities = std::slice::from_ref(&self.identity);
            TlsServer::with_rules(rules, identities, rule, &[alpn], Arc::new(SystemClock))
        };
        Ok((
            server(Use::DeviceUplink, &self.mqtt, "mqtt")?,
            server(Use::Est, &self.est, "http/1.1")?,
            server(Use::Service, &self.admin, "http/1.1")?,
        ))
    }
}

/// The listeners, as they are now.
pub(super) struct Listeners {
    pub(super) keeper: Arc<PolicyKeeper>,
    servers: Mutex<Arc<Servers>>,
    est: watch::Sender<TlsServer>,
    admin: watch::Sender<TlsServer>,
}

impl Listeners {
    pub(super) fn new(
        keeper: Arc<PolicyKeeper>,
        servers: Servers,
        est: watch::Sender<TlsServer>,
        admin: watch::Sender<TlsServer>,
    ) -> Self {
        Self { keeper, servers: Mutex::new(Arc::new(servers)), est, admin }
    }

    /// What they are made from.
    pub(super) fn servers(&self) -> Arc<Servers> {
        self.servers.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Other certificates or anchors.
    pub(super) fn replace(&self, servers: Servers, gateway: &RunningGateway) -> Ended {
        *self.servers.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(servers);
        self.listen(gateway)
    }

    /// Makes them anew; open connections stay.
    pub(super) fn listen(&self, gateway: &RunningGateway) -> Ended {
        let (mqtt, est, admin) = self.servers().tls(&self.keeper)?;
        gateway.replace_tls(mqtt);
        self.est.send_replace(est);
        self.admin.send_replace(admin);
        Ok(())
    }
}
