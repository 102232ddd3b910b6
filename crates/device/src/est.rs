//! Enrolment over Secure Transport (RFC 7030), the client's part of it: one request on one connection.

use crate::anchors::Anchors;
use crate::clock::DeviceClock;
use crate::policy::Policies;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use countersign_crypto::anchors::MAX_STATEMENTS;
use countersign_crypto::certificate::{Certificate, CertificateChain, IdentityKind};
use countersign_crypto::csr;
use countersign_crypto::pkcs7::parse_certs_only;
use countersign_crypto::policy::Use;
use countersign_crypto::signature::{KeyHandle, SignatureAlgorithm};
use countersign_crypto::tls::{TlsClient, TlsError, TlsIdentity};
use countersign_model::id::ThingId;
use countersign_protocol::pairing::GatewayAddress;
use countersign_protocol::rotation::Jitter;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;

/// The most roots of the maker between an issuing CA and one that this device knows.
const MAX_CROSSED: usize = 16;

/// How long one exchange may take, connection and issuance included.
const TIMEOUT: Duration = Duration::from_secs(30);
/// How long an answer may still take once the connection has ended.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// What a connection that ended without an answer said.
const CLOSED: EstError = EstError::Answer("did not come: the connection was closed");
/// Largest answer: a few certificates in base64.
const MAX_ANSWER: usize = 128 * 1024;

/// The enrolment server, as the device knows it.
pub struct EstClient {
    /// Where it is.
    pub server: GatewayAddress,
    /// The manufacturer's roots.
    pub anchors: Arc<Anchors>,
    /// Who we are.
    pub thing: ThingId,
    /// What TLS may do.
    pub policies: Arc<Policies>,
    /// The device's time.
    pub clock: Arc<DeviceClock>,
}

/// Which certificate is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Enrol {
    /// The first, or one instead of a refused one: proof by the IDevID.
    First,
    /// The next one: proof by the present LDevID.
    Renewal,
}

impl EstClient {
    /// Has `key` certified; `identity` proves who asks.
    ///
    /// # Errors
    /// [`EstError`].
    pub async fn enrol(
        &self,
        kind: Enrol,
        identity: &TlsIdentity,
        key: &KeyHandle,
    ) -> Result<CertificateChain, EstError> {
        let request = csr::request(key, self.thing.as_str()).map_err(|_| EstError::Request)?;
        let path = match kind {
            Enrol::First => "simpleenroll",
            Enrol::Renewal => "simplereenroll",
        };
        let body = Some(STANDARD.encode(request));
        let issued = certificates(&self.exchange(Some(identity), path, body).await?)?;
        let others = match issued.len() {
            1 => certificates(&self.exchange(Some(identity), "cacerts", None).await?)?,
            _ => issued.clone(),
        };
        self.verified(&issued, &others, key)
    }

    /// The algorithm that the server wants the next key to have, if it says so (RFC 7030 section 4.5). It answers anybody:
    /// whether an identity of ours is refused does not matter here.
    ///
    /// # Errors
    /// [`EstError`] when it cannot be asked.
    pub async fn wanted(&self) -> Result<Option<SignatureAlgorithm>, EstError> {
        match self.exchange(None, "csrattrs", None).await {
            Ok(body) => {
                let text: Vec<u8> =
                    body.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).collect();
                Ok(STANDARD.decode(text).ok().and_then(|der| csr::wanted(&der)))
            }
            // It has no wish, or does not offer to tell: RFC 7030 leaves both open.
            Err(EstError::Status(204 | 404 | 501, _)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Proves that the server takes `identity`: it answers only after it has verified the certificate.
    ///
    /// # Errors
    /// [`EstError::Tls`] or [`EstError::Broken`] when it does not.
    pub async fn prove(&self, identity: &TlsIdentity) -> Result<(), EstError> {
        self.exchange(Some(identity), "cacerts", None).await.map(|_| ())
    }

    /// The certificate is for our key and our name, by a CA directly below a root that we know.
    fn verified(
        &self,
        issued: &[Certificate],
        others: &[Certificate],
        key: &KeyHandle,
    ) -> Result<CertificateChain, EstError> {
        let ours = |c: &&Certificate| c.spki_der() == key.spki_der();
        let leaf = issued.iter().find(ours).ok_or(EstError::Answer("is for another key"))?;
        let named = leaf
            .name()
            .is_some_and(|n| n.kind() == IdentityKind::Thing && n.name() == self.thing.as_str());
        if !named {
            return Err(EstError::Answer("is for another name"));
        }
        let below = |c: &&Certificate, ca: &Certificate| c.verify_signed_by(ca).is_ok();
        let known = self.below_roots(others);
        let issuer = known
            .into_iter()
            .find(|ca| below(&leaf, ca))
            .ok_or(EstError::Answer("does not lead to a root that this device knows"))?;
        let mut chain = vec![leaf.clone(), issuer.clone()];
        chain.extend(crossed(issuer, others).into_iter().cloned());
        CertificateChain::new(chain).map_err(|_| EstError::Answer("is no chain"))
    }

    /// The CAs among these that hang below a root that this device knows, or below a newer root of the maker that one of those leads to.
    fn below_roots<'a>(&self, others: &'a [Certificate]) -> Vec<&'a Certificate> {
        // A CA for end entities alone vouches for no other.
        let vouches = |ca: &Certificate| {
            ca.basic_constraints().is_some_and(|(_, rules)| rules.path_len_constraint != Some(0))
        };
        let (roots, mut known) = (self.anchors.roots(), Vec::<&Certificate>::new());
        for _ in 0..=MAX_CROSSED {
            let by = |ca: &Certificate| {
                let newer = known.iter().copied().filter(|one| vouches(one));
                roots.iter().chain(newer).any(|above| ca.verify_signed_by(above).is_ok())
            };
            let fresh = others.iter().filter(|ca| ca.is_ca() && !known.contains(ca) && by(ca));
            let fresh: Vec<_> = fresh.collect();
            if fresh.is_empty() {
                break;
            }
            known.extend(fresh);
        }
        known
    }

    async fn exchange(
        &self,
        identity: Option<&TlsIdentity>,
        path: &str,
        body: Option<String>,
    ) -> Result<Bytes, EstError> {
        tokio::time::timeout(TIMEOUT, self.exchange_now(identity, path, body))
            .await
            .map_err(|_| EstError::TimedOut)?
    }

    async fn exchange_now(
        &self,
        identity: Option<&TlsIdentity>,
        path: &str,
        body: Option<String>,
    ) -> Result<Bytes, EstError> {
        let policy = self.policies.current();
        let client = TlsClient::with_clock(
            policy.compiled(),
            Use::Est,
            identity,
            &self.anchors.roots(),
            &[IdentityKind::Server],
            "http/1.1",
            self.clock.clone(),
        )?;
        let stream = TcpStream::connect(&self.server.est).await.map_err(EstError::Connect)?;
        let channel = client.connect(&self.server.server_name, stream).await?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(channel)).await?;
        let mut driver = tokio::spawn(connection);
        let method = if body.is_some() { "POST" } else { "GET" };
        let request = hyper::Request::builder()
            .method(method)
            .uri(format!("/.well-known/est/{path}"))
            .header("host", &self.server.est)
            .header("content-type", "application/pkcs10")
            .header("content-transfer-encoding", "base64")
            .body(Full::new(Bytes::from(body.unwrap_or_default())))
            .map_err(|_| EstError::Request)?;
        let answer = async {
            let mut sending = std::pin::pin!(sender.send_request(request));
            // A request that is handed over just as the connection ends may never hear of it, so the connection is
            // asked too; its end also tells the alert by which our certificate was refused.
            let response = tokio::select! {
                biased;
                sent = &mut sending => sent?,
                ended = &mut driver => match tokio::time::timeout(LAST_WORDS, sending).await {
                    Ok(Ok(response)) => response,
                    _ => return Err(ended.ok().and_then(Result::err).map_or(CLOSED, EstError::Broken)),
                },
            };
            let status = response.status().as_u16();
            let retry = response
                .headers()
                .get("retry-after")
                .and_then(|value| value.to_str().ok()?.parse().ok())
                .map(Duration::from_secs);
            let body = Limited::new(response.into_body(), MAX_ANSWER).collect().await;
            match status {
                200 => body
                    .map(|body| body.to_bytes())
                    .map_err(|_| EstError::Answer("is too large or was cut short")),
                status => Err(EstError::Status(status, retry)),
            }
        }
        .await;
        drop(sender);
        driver.abort();
        answer
    }
}

/// The cross-certificates above a CA, down to the maker's first root: whether this device trusts that does not matter. The controller
/// of its owner does, which knows the root that the label names and perhaps no other.
//= specs/house.md#house-anchors
//# A device MUST show its owner a chain that leads to the root which its label names.
fn crossed<'a>(ca: &'a Certificate, others: &'a [Certificate]) -> Vec<&'a Certificate> {
    let mut way = Vec::new();
    let mut at = ca;
    while way.len() < MAX_STATEMENTS {
        let above = |one: &&Certificate| {
            one.is_ca() && one.verify_signed_by(one).is_err() && at.verify_signed_by(one).is_ok()
        };
        let Some(next) = others.iter().find(above) else { break };
        way.push(next);
        at = next;
    }
    way
}

fn certificates(body: &[u8]) -> Result<Vec<Certificate>, EstError> {
    let text: Vec<u8> = body.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).collect();
    let message = STANDARD.decode(text).map_err(|_| EstError::Answer("is not base64"))?;
    parse_certs_only(&message).map_err(|_| EstError::Answer("is not a certs-only PKCS#7 message"))
}

/// Spreads a fleet's renewals: the certificate's fingerprint, which nobody can choose and no restart changes.
pub(crate) fn jitter_of(chain: &CertificateChain) -> Jitter {
    let [high, low, ..] = chain.leaf().fingerprint();
    Jitter(u16::from_be_bytes([high, low]))
}

/// Why an enrolment did not come about.
#[derive(Debug, thiserror::Error)]
pub enum EstError {
    /// The server cannot be reached.
    #[error("enrolment server: {0}")]
    Connect(std::io::Error),
    /// It refused us, or is not the maker's.
    #[error("enrolment server: {0}")]
    Tls(#[from] TlsError),
    /// The connection broke.
    #[error("enrolment server: {0}")]
    Broken(#[from] hyper::Error),
    /// It answered with another status, and perhaps said when to come back.
    #[error("enrolment server: answered with status {0}")]
    Status(u16, Option<Duration>),
    /// It answered something else.
    #[error("enrolment server: what it issued {0}")]
    Answer(&'static str),
    /// It took too long.
    #[error("enrolment server: no answer in time")]
    TimedOut,
    /// Our key does not sign.
    #[error("the certificate request could not be made")]
    Request,
}
