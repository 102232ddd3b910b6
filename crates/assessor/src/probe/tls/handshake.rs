//! Whole TLS 1.3 handshakes with rustls, whose verifier here records instead of deciding: a probe must
//! also see a server that it would not trust. Nothing but probes may use this.

use crate::evidence::{Answer, HandshakeFacts, PathFact};
use crate::probe::{CONNECT_LIMIT, ProbeError, REPLY_LIMIT, connect};
use countersign_model::ixit::{CodePoint, Listener};
use countersign_model::time::Timestamp;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ResolvesClientCert, WebPkiServerVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::{TlsConnector, client::TlsStream};

/// How long after a handshake a server may take to refuse it: in TLS 1.3 the client is done first.
const SETTLE: Duration = Duration::from_millis(500);

/// A client certificate with its key.
#[derive(Debug, Clone)]
pub(crate) struct Identity(Arc<CertifiedKey>);

impl Identity {
    /// From PEM: the certificate first, then its issuers; the key as PKCS#8 or SEC 1.
    pub(crate) fn from_pem(certificates: &str, key: &str) -> Result<Self, String> {
        let chain: Vec<_> = CertificateDer::pem_slice_iter(certificates.as_bytes())
            .collect::<Result<_, _>>()
            .map_err(|error| format!("the certificates are not PEM: {error}"))?;
        if chain.is_empty() {
            return Err("there is no certificate in it".into());
        }
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes())
            .map_err(|error| format!("the key is not PEM: {error}"))?;
        CertifiedKey::from_der(chain, key, &aws_lc_rs::default_provider())
            .map(|pair| Self(Arc::new(pair)))
            .map_err(|error| format!("key and certificate do not fit: {error}"))
    }

    /// The leaf in DER.
    pub(crate) fn leaf(&self) -> &[u8] {
        self.0.cert.first().map_or(&[], |der| der.as_ref())
    }
}

/// How to connect.
#[derive(Clone, Copy)]
pub(crate) struct Dial<'a> {
    pub(crate) address: SocketAddr,
    pub(crate) listener: &'a Listener,
    pub(crate) alpn: &'a [String],
    pub(crate) identity: Option<&'a Identity>,
    pub(crate) schemes: Option<&'a [SignatureScheme]>,
    pub(crate) roots: &'a [CertificateDer<'static>],
    pub(crate) at: Timestamp,
}

/// Why there was no handshake.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DialError {
    #[error(transparent)]
    Probe(#[from] ProbeError),
    #[error("refused with alert {0}")]
    Alert(u8),
    #[error("closed without a word")]
    Closed,
    #[error("TLS failed: {0}")]
    Tls(String),
    /// The offer could not be made on this side.
    #[error("cannot offer that: {0}")]
    Own(String),
}

/// A connection with its record.
pub(crate) struct Dialled {
    pub(crate) stream: TlsStream<TcpStream>,
    recorder: Arc<Recorder>,
    asked: Arc<ClientCertificate>,
}

/// Connects and shakes hands.
pub(crate) async fn dial(dial: &Dial<'_>) -> Result<Dialled, DialError> {
    let provider = provider();
    let recorder = Arc::new(Recorder::new(dial, &provider));
    let asked =
        Arc::new(ClientCertificate { identity: dial.identity.cloned(), asked: Mutex::new(false) });
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|error| DialError::Own(error.to_string()))?
        .dangerous()
        .with_custom_certificate_verifier(recorder.clone())
        .with_client_cert_resolver(asked.clone());
    config.alpn_protocols = dial.alpn.iter().map(|name| name.clone().into_bytes()).collect();
    config.resumption = rustls::client::Resumption::disabled();

    let tcp = connect(dial.address, CONNECT_LIMIT).await?;
    let connecting =
        TlsConnector::from(Arc::new(config)).connect(server_name(dial.listener, dial.address), tcp);
    match timeout(REPLY_LIMIT, connecting).await {
        Err(_) => Err(ProbeError::Silent.into()),
        Ok(Ok(stream)) => Ok(Dialled { stream, recorder, asked }),
        Ok(Err(error)) => Err(sort(&error)),
    }
}

/// Every suite and group that the provider has, so that the server decides.
fn provider() -> Arc<CryptoProvider> {
    let mut provider = aws_lc_rs::default_provider();
    provider.kx_groups = aws_lc_rs::ALL_KX_GROUPS.to_vec();
    Arc::new(provider)
}

fn server_name(listener: &Listener, address: SocketAddr) -> ServerName<'static> {
    listener
        .server_name
        .as_ref()
        .and_then(|name| ServerName::try_from(name.clone()).ok())
        .unwrap_or_else(|| ServerName::IpAddress(address.ip().into()))
}

/// The alert inside an error of a TLS stream, if the peer sent one.
pub(crate) fn alert_of(error: &std::io::Error) -> Option<u8> {
    match error.get_ref()?.downcast_ref::<rustls::Error>()? {
        rustls::Error::AlertReceived(alert) => Some((*alert).into()),
        _ => None,
    }
}

fn sort(error: &std::io::Error) -> DialError {
    if let Some(alert) = alert_of(error) {
        return DialError::Alert(alert);
    }
    match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(inner) => DialError::Tls(inner.to_string()),
        None => DialError::Closed,
    }
}

impl Dialled {
    /// The chain as presented, leaf first, in DER.
    pub(crate) fn chain(&self) -> Vec<Vec<u8>> {
        self.recorder.lock().chain.clone()
    }

    /// What was selected by ALPN.
    pub(crate) fn alpn(&self) -> Option<String> {
        let selected = self.stream.get_ref().1.alpn_protocol()?;
        Some(String::from_utf8_lossy(selected).into_owned())
    }

    /// Whether the server proved itself with this scheme.
    pub(crate) fn signed_with(&self, scheme: SignatureScheme) -> bool {
        self.recorder.lock().scheme == Some((scheme, true))
    }

    /// The path to the given roots, as far as it was looked for.
    pub(crate) fn path(&self) -> Option<PathFact> {
        self.recorder.lock().path.clone()
    }

    /// Waits a moment for a late refusal and tells everything.
    pub(crate) async fn settle(mut self) -> HandshakeFacts {
        let late = self.late_answer().await;
        let session = self.stream.get_ref().1;
        let record = self.recorder.lock();
        HandshakeFacts {
            version: session.protocol_version().map(|version| CodePoint(version.into())),
            suite: session.negotiated_cipher_suite().map(|suite| CodePoint(suite.suite().into())),
            group: session
                .negotiated_key_exchange_group()
                .map(|group| CodePoint(group.name().into())),
            signature_scheme: record.scheme.map(|(scheme, _)| CodePoint(scheme.into())),
            signature_valid: record.scheme.is_some_and(|(_, valid)| valid),
            client_certificate_requested: *self
                .asked
                .asked
                .lock()
                .unwrap_or_else(PoisonError::into_inner),
            refused_without_certificate: match late {
                Answer::Refused(alert) => Some(alert),
                _ => None,
            },
            path: record.path.clone(),
        }
    }

    /// Whether the handshake stood: a refusal for want of a client certificate is not one of the offer.
    pub(crate) async fn settled_answer(mut self) -> Answer {
        match self.late_answer().await {
            Answer::Refused(40 | 42 | 46 | 49 | 116) => Answer::Accepted,
            other => other,
        }
    }

    async fn late_answer(&mut self) -> Answer {
        let mut byte = [0];
        match timeout(SETTLE, self.stream.read(&mut byte)).await {
            Err(_) | Ok(Ok(1..)) => Answer::Accepted,
            Ok(Ok(0)) => Answer::Closed,
            Ok(Err(error)) => alert_of(&error).map_or(Answer::Closed, Answer::Refused),
        }
    }
}

#[derive(Debug, Default)]
struct Record {
    chain: Vec<Vec<u8>>,
    path: Option<PathFact>,
    scheme: Option<(SignatureScheme, bool)>,
}

#[derive(Debug)]
struct Recorder {
    provider: Arc<CryptoProvider>,
    path: Option<Arc<WebPkiServerVerifier>>,
    schemes: Vec<SignatureScheme>,
    at: UnixTime,
    record: Mutex<Record>,
}

impl Recorder {
    fn new(dial: &Dial<'_>, provider: &Arc<CryptoProvider>) -> Self {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(dial.roots.iter().cloned());
        let path = (!roots.is_empty())
            .then(|| {
                WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone())
                    .build()
                    .ok()
            })
            .flatten();
        let all = provider.signature_verification_algorithms.supported_schemes();
        Self {
            provider: provider.clone(),
            path,
            schemes: dial.schemes.map_or(all, <[SignatureScheme]>::to_vec),
            at: UnixTime::since_unix_epoch(Duration::from_millis(dial.at.as_millis())),
            record: Mutex::default(),
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Record> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ServerCertVerifier for Recorder {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        issuers: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let outcome = self
            .path
            .as_ref()
            .map(|path| path.verify_server_cert(leaf, issuers, name, ocsp, self.at));
        let mut record = self.lock();
        record.chain = std::iter::once(leaf).chain(issuers).map(|der| der.to_vec()).collect();
        record.path = outcome.map(|outcome| PathFact {
            valid: outcome.is_ok(),
            error: outcome.err().map(|error| error.to_string()),
        });
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::General("only TLS 1.3 is offered here".into()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let outcome = verify_tls13_signature(
            message,
            cert,
            dss,
            &self.provider.signature_verification_algorithms,
        );
        self.lock().scheme = Some((dss.scheme, outcome.is_ok()));
        outcome
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.schemes.clone()
    }
}

#[derive(Debug)]
struct ClientCertificate {
    identity: Option<Identity>,
    asked: Mutex<bool>,
}

impl ResolvesClientCert for ClientCertificate {
    fn resolve(
        &self,
        _issuers: &[&[u8]],
        _schemes: &[SignatureScheme],
    ) -> Option<Arc<CertifiedKey>> {
        *self.asked.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.identity.as_ref().map(|identity| identity.0.clone())
    }

    fn has_certs(&self) -> bool {
        // Without this rustls would not ask when there is no identity, and the question itself is a fact.
        true
    }
}
