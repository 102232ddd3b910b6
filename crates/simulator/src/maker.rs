//! The manufacturer: the real authority in a folder of its own, asked over real TLS in memory.

use crate::clock::VirtualClock;
use crate::random::Seeded;
use crate::wire::{Adversary, wire};
use countersign_authority::enrol::{EnrolNames, EnrolProfile, EnrolRequest};
use countersign_authority::factory::FactoryIdentity;
use countersign_authority::profile::ServerNames;
use countersign_authority::registration::Reason;
use countersign_authority::revocation::Target;
use countersign_authority::subject::Subject;
use countersign_authority::{Authority, AuthorityConfig, CeremonyPlan, Sources, serve_connection};
use countersign_crypto::certificate::{Certificate, CertificateChain, IdentityKind};
use countersign_crypto::keystore::key_from_pem;
use countersign_crypto::policy::{CompiledPolicy, Use};
use countersign_crypto::tls::{ClientRule, TlsClient, TlsIdentity, TlsServer};
use countersign_model::id::ThingId;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// The name of the maker's servers.
pub(crate) const SERVER: &str = "gateway.example";
/// A stalled channel is given up after this much real time, the only real time in the world.
pub(crate) const PATIENCE: Duration = Duration::from_secs(1);

/// The authority and what it serves with.
pub struct Maker {
    pub authority: Authority,
    pub(crate) server: TlsIdentity,
    pub(crate) clock: VirtualClock,
}

/// What an EST exchange came to.
#[derive(Debug)]
pub(crate) enum EstAnswer {
    Body(String),
    Refused,
    Broken,
}

impl Maker {
    pub(crate) async fn new(folder: &Path, clock: VirtualClock, seed: u64) -> Self {
        let random = Box::new(Seeded::new(seed));
        let sources = Sources { clock: Arc::new(clock.clone()), random };
        let authority = Authority::open(folder, AuthorityConfig::default(), sources).await.unwrap();
        let plan = CeremonyPlan::example();
        authority.ceremony(&plan, |_| ControlFlow::Continue(())).await.unwrap();
        let names = ServerNames { dns: vec![SERVER.to_owned()], ips: Vec::new() };
        let name = "gateway".parse().unwrap();
        let server = authority.server_identity(&name, &names).await.unwrap();
        Self { authority, server, clock }
    }

    /// As `serve` does now and then: the server's certificate is renewed in time.
    pub(crate) async fn refresh(&mut self) {
        let names = ServerNames { dns: vec![SERVER.to_owned()], ips: Vec::new() };
        let name = "gateway".parse().unwrap();
        self.server = self.authority.server_identity(&name, &names).await.unwrap();
    }

    /// The manufacturer's roots.
    pub fn roots(&self) -> Vec<Certificate> {
        vec![self.authority.authorities().unwrap().root().clone()]
    }

    pub(crate) async fn manufacture(&self, request: &[u8]) -> FactoryIdentity {
        self.authority.manufacture(request).await.unwrap()
    }

    /// A service with its grants.
    pub(crate) async fn service(&self, name: &str, grants: &[&str], folder: &Path) -> TlsIdentity {
        let grants = grants.iter().map(|grant| grant.parse().unwrap()).collect();
        let request = EnrolRequest {
            profile: EnrolProfile::Service(grants),
            names: EnrolNames::One(name.to_owned()),
            out: folder.to_owned(),
            force: false,
        };
        let enrolled = self.authority.enrol(&request, |_, _| {}).await.unwrap().remove(0);
        let chain = CertificateChain::from_pem(&std::fs::read(enrolled.certificate).unwrap());
        let key = key_from_pem(&std::fs::read(enrolled.key).unwrap());
        TlsIdentity::new(chain.unwrap(), key.unwrap()).unwrap()
    }

    pub(crate) async fn revoke(&self, thing: &ThingId) {
        let mut changed = self.authority.registry().changed();
        changed.mark_unchanged();
        let target = Target::Subject(Subject::Thing(thing.clone()));
        self.authority.revoke(&target, Reason::Suspended).await.unwrap();
        changed.changed().await.unwrap();
    }

    pub(crate) async fn reinstate(&self, thing: &ThingId) {
        let mut changed = self.authority.registry().changed();
        changed.mark_unchanged();
        self.authority.reinstate(&Subject::Thing(thing.clone())).await.unwrap();
        changed.changed().await.unwrap();
    }

    /// One EST exchange over TLS, in memory.
    pub(crate) async fn est(
        &self,
        identity: &TlsIdentity,
        path: &str,
        body: Option<&str>,
        adversary: Adversary,
    ) -> EstAnswer {
        let policy = CompiledPolicy::built_in();
        let clock = Arc::new(self.clock.clone());
        let rule = ClientRule::Optional(self.authority.est_anchors().unwrap());
        let server = TlsServer::with_clock(
            &policy,
            Use::Est,
            &self.server,
            &rule,
            "http/1.1",
            clock.clone(),
        );
        let kinds = [IdentityKind::Server];
        let roots = self.roots();
        let client = TlsClient::with_clock(
            &policy,
            Use::Est,
            Some(identity),
            &roots,
            &kinds,
            "http/1.1",
            clock,
        );
        let (client, server) = (client.unwrap(), server.unwrap());
        let (near, far, _) = wire(adversary);
        let router = self.authority.est_router();
        let serving = tokio::spawn(async move { serve_connection(far, &server, router).await });
        let asking = async {
            let mut channel = client.connect(SERVER, near).await.ok()?;
            let (method, body) = if body.is_some() { ("POST", body?) } else { ("GET", "") };
            let request = format!(
                "{method} /.well-known/est/{path} HTTP/1.1\r\nhost: {SERVER}\r\n\
                 content-type: application/pkcs10\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
                body.len()
            );
            channel.write_all(request.as_bytes()).await.ok()?;
            let mut answer = Vec::new();
            channel.read_to_end(&mut answer).await.ok()?;
            String::from_utf8(answer).ok()
        };
        let answer = tokio::time::timeout(PATIENCE, asking).await.ok().flatten();
        serving.abort();
        answer.as_deref().map_or(EstAnswer::Broken, read_answer)
    }
}

fn read_answer(answer: &str) -> EstAnswer {
    let Some((head, body)) = answer.split_once("\r\n\r\n") else { return EstAnswer::Broken };
    match head.split(' ').nth(1) {
        Some("200") => EstAnswer::Body(body.to_owned()),
        Some(_) => EstAnswer::Refused,
        None => EstAnswer::Broken,
    }
}
