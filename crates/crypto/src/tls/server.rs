//! The server's side.

use std::sync::Arc;

use rustls::crypto::{CryptoProvider, SupportedKxGroup};
use rustls::server::{
    Acceptor, ClientHello, NoServerSessionStorage, ServerSessionMemoryCache, StoresServerSessions,
};
use rustls::{NamedGroup, ServerConfig};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::LazyConfigAcceptor;

use super::signing::Identities;
use super::verify::KindVerifier;
use super::{
    Clock, ClockAdapter, Offered, PeerAnchors, SecureChannel, SystemClock, TlsError, TlsIdentity,
};
use crate::policy::{CompiledPolicy, TlsRules, Use};

/// Sessions of one set of rules that are remembered for resumption, the oldest forgotten first: as many as rustls keeps.
const MAX_SESSIONS: usize = 256;

/// Whether clients show certificates, and whose.
#[derive(Debug, Clone)]
pub enum ClientRule {
    /// Clients are not asked. Only for pairing, where the setup code authenticates them inside the channel.
    Anonymous,
    /// A client may show one of these; what an anonymous one may do is for the handler to judge.
    Optional(PeerAnchors),
    /// The handshake fails without one of these.
    Required(PeerAnchors),
}

/// Accepts TLS as one use of the policy allows it. Cheap to clone.
#[derive(Clone)]
pub struct TlsServer {
    /// Never empty; the first under which the client's offer leads anywhere serves it.
    ways: Arc<[Way]>,
}

/// One set of rules, ready to serve: one configuration per group of the policy, in its order, and never empty. rustls takes
/// the client's order of groups; a server that decides for itself must have only one to choose.
struct Way {
    configs: Vec<(NamedGroup, Arc<ServerConfig>)>,
    rules: TlsRules,
}

impl std::fmt::Debug for TlsServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TlsServer").field("ways", &self.ways.len()).finish_non_exhaustive()
    }
}

impl TlsServer {
    /// A server for `use_` that presents `identity`, admits clients by `rule` and speaks `alpn`.
    ///
    /// # Errors
    /// [`TlsError::Anchors`] when the client rule names no usable anchor.
    pub fn new(
        policy: &CompiledPolicy,
        use_: Use,
        identity: &TlsIdentity,
        rule: &ClientRule,
        alpn: &str,
    ) -> Result<Self, TlsError> {
        Self::with_clock(policy, use_, identity, rule, alpn, Arc::new(SystemClock))
    }

    /// As [`TlsServer::new`], with a clock of the caller's.
    ///
    /// # Errors
    /// As [`TlsServer::new`].
    //= specs/en-303-645.md#5.5-1
    //# A device MUST use best-practice cryptography for its communication.
    //= specs/house.md#house-channel
    //# A channel MUST use only versions, suites, groups and signature schemes that the crypto
    //# policy allows.
    pub fn with_clock(
        policy: &CompiledPolicy,
        use_: Use,
        identity: &TlsIdentity,
        rule: &ClientRule,
        alpn: &str,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, TlsError> {
        Self::with_protocols(policy, use_, identity, rule, &[alpn], clock)
    }

    /// As [`TlsServer::with_clock`], speaking several application protocols; of those that a client offers, the one
    /// that stands first here is taken.
    ///
    /// # Errors
    /// As [`TlsServer::new`].
    pub fn with_protocols(
        policy: &CompiledPolicy,
        use_: Use,
        identity: &TlsIdentity,
        rule: &ClientRule,
        alpn: &[&str],
        clock: Arc<dyn Clock>,
    ) -> Result<Self, TlsError> {
        let identities = std::slice::from_ref(identity);
        Self::with_rules(vec![policy.rules(use_).clone()], identities, rule, alpn, clock)
    }

    /// A server by several sets of rules, the most preferred first: each client is served by the first under which its offer
    /// leads to a handshake, so that who holds an older policy gets in by that and nobody else does. Certificates are
    /// verified by what any of them allows; the caller judges the channel that came about.
    ///
    /// Of `identities`, the most preferred first, each client is shown the first whose key and chain it can verify: for who
    /// knows only an older signature algorithm.
    ///
    /// # Errors
    /// As [`TlsServer::new`]; [`TlsError::Identity`] when there are no rules or no identities.
    pub fn with_rules(
        rules: Vec<TlsRules>,
        identities: &[TlsIdentity],
        rule: &ClientRule,
        alpn: &[&str],
        clock: Arc<dyn Clock>,
    ) -> Result<Self, TlsError> {
        let verifying = TlsRules::verifying(&rules);
        let resolver = Identities::new(identities)
            .map(Arc::new)
            .ok_or_else(|| TlsError::Identity("nothing to show to clients".to_owned()))?;
        let ways = rules
            .into_iter()
            .map(|rules| {
                let rules = rules.with_verifying(verifying);
                let configs = configs(&rules, &resolver, rule, alpn, &clock)?;
                Ok(Way { configs, rules })
            })
            .collect::<Result<Arc<[Way]>, TlsError>>()?;
        if ways.is_empty() || ways.iter().any(|way| way.configs.is_empty()) {
            return Err(TlsError::Identity("no rules to listen by".to_owned()));
        }
        Ok(Self { ways })
    }

    /// Performs the handshake on a fresh connection. The caller bounds its time.
    ///
    /// Of the groups and suites that both sides have, the policy's first is taken, whatever the client's order. A client
    /// that sent no key share for that group is asked for one (RFC 8446 section 4.1.4, one more round trip): better a
    /// slower handshake than a weaker one.
    ///
    /// # Errors
    /// [`TlsError::Handshake`] when the client was refused or went away; [`TlsError::NoAlpn`].
    pub async fn accept<IO>(&self, io: IO) -> Result<SecureChannel<IO>, TlsError>
    where
        IO: AsyncRead + AsyncWrite + Unpin,
    {
        self.accept_or(None, io).await
    }

    /// As [`TlsServer::accept`]; a client that asks for an application protocol of `other`'s, and for none of ours, is
    /// served by `other`. Without `other` it is refused like one that asks for a protocol that nobody has.
    ///
    /// # Errors
    /// As [`TlsServer::accept`].
    pub async fn accept_or<IO>(
        &self,
        other: Option<&Self>,
        io: IO,
    ) -> Result<SecureChannel<IO>, TlsError>
    where
        IO: AsyncRead + AsyncWrite + Unpin,
    {
        let start = LazyConfigAcceptor::new(Acceptor::default(), io).await?;
        let hello = start.client_hello();
        let offered = Offered::of_hello(&hello);
        let asked = other.filter(|other| other.speaks(&hello) && !self.speaks(&hello));
        let ways = &asked.unwrap_or(self).ways;
        // Where nothing fits, the most preferred rules say so to the client.
        let way = ways.iter().find(|way| way.fits(&hello)).unwrap_or(&ways[0]);
        let config = way.config(&hello).clone();
        let stream = start.into_stream(config).await?;
        SecureChannel::new(stream.into(), &way.rules, Some(offered))
    }

    /// Whether a client asks for a protocol of ours.
    fn speaks(&self, hello: &ClientHello<'_>) -> bool {
        let ours = &self.ways[0].configs[0].1.alpn_protocols;
        hello.alpn().is_some_and(|mut asked| asked.any(|name| ours.iter().any(|one| one == name)))
    }
}

impl Way {
    /// Whether a client's offer has a suite and a group in common with these rules.
    fn fits(&self, hello: &ClientHello<'_>) -> bool {
        let suites = &self.rules.provider.cipher_suites;
        suites.iter().any(|suite| hello.cipher_suites().contains(&suite.suite()))
            && self.in_common(hello).is_some()
    }

    /// The policy's first group that the client offers too.
    fn in_common(&self, hello: &ClientHello<'_>) -> Option<&Arc<ServerConfig>> {
        // A client that names no groups knows none of ours; the handshake tells it.
        let groups = hello.named_groups().unwrap_or_default();
        let found = self.configs.iter().find(|(group, _)| groups.contains(group));
        found.map(|(_, config)| config)
    }

    fn config(&self, hello: &ClientHello<'_>) -> &Arc<ServerConfig> {
        self.in_common(hello).unwrap_or(&self.configs[0].1)
    }
}

/// One configuration per group; they share what verifies clients, the identities and the sessions.
//= specs/house.md#house-channel
//# A server MUST take the first group and the first suite of its policy that the client offers too.
fn configs(
    rules: &TlsRules,
    resolver: &Arc<Identities>,
    rule: &ClientRule,
    alpn: &[&str],
    clock: &Arc<dyn Clock>,
) -> Result<Vec<(NamedGroup, Arc<ServerConfig>)>, TlsError> {
    let verifier = match rule {
        ClientRule::Anonymous => None,
        ClientRule::Optional(anchors) => Some((anchors, false)),
        ClientRule::Required(anchors) => Some((anchors, true)),
    };
    let verifier = verifier
        .map(|(anchors, mandatory)| KindVerifier::new(anchors, mandatory, &rules.provider))
        .transpose()?
        .map(Arc::new);
    let sessions: Arc<dyn StoresServerSessions> = match rules.tickets {
        0 => Arc::new(NoServerSessionStorage {}),
        _ => ServerSessionMemoryCache::new(MAX_SESSIONS),
    };
    let config = |group: &'static dyn SupportedKxGroup| -> Result<ServerConfig, TlsError> {
        let provider = CryptoProvider { kx_groups: vec![group], ..(*rules.provider).clone() };
        let clock = Arc::new(ClockAdapter(clock.clone()));
        let builder = ServerConfig::builder_with_details(Arc::new(provider), clock)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(|error| TlsError::Identity(error.to_string()))?;
        let builder = match &verifier {
            None => builder.with_no_client_auth(),
            Some(verifier) => builder.with_client_cert_verifier(verifier.clone()),
        };
        let mut config = builder.with_cert_resolver(resolver.clone());
        config.ignore_client_order = true;
        //= specs/house.md#house-channel
        //# A peer that names a wrong application protocol MUST be refused.
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        config.send_tls13_tickets = usize::from(rules.tickets);
        //= specs/house.md#house-channel
        //= type=implication
        //# Early data MUST NOT be sent or accepted.
        config.max_early_data_size = 0;
        config.session_storage = sessions.clone();
        Ok(config)
    };
    let groups = rules.provider.kx_groups.iter();
    groups.map(|group| Ok((group.name(), Arc::new(config(*group)?)))).collect()
}
