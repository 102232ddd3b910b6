//! The client's side.

use std::sync::Arc;

use rustls::ClientConfig;
use rustls::client::Resumption;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;

use super::signing::{OneIdentity, certified};
use super::verify::ServerVerifier;
use super::{Clock, ClockAdapter, SecureChannel, SystemClock, TlsError, TlsIdentity};
use crate::certificate::{Certificate, IdentityKind};
use crate::policy::{CompiledPolicy, TlsRules, Use};

/// Connects by TLS as one use of the policy allows it. Cheap to clone.
#[derive(Clone)]
pub struct TlsClient {
    connector: TlsConnector,
    rules: TlsRules,
}

impl std::fmt::Debug for TlsClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TlsClient").finish_non_exhaustive()
    }
}

impl TlsClient {
    /// A client for `use_` that shows `identity`, if it has one, trusts `roots`, expects a server of one of `kinds`,
    /// and offers `alpn` (none when it is empty).
    ///
    /// # Errors
    /// [`TlsError::Anchors`] when there is no usable root.
    pub fn new(
        policy: &CompiledPolicy,
        use_: Use,
        identity: Option<&TlsIdentity>,
        roots: &[Certificate],
        kinds: &[IdentityKind],
        alpn: &str,
    ) -> Result<Self, TlsError> {
        Self::with_clock(policy, use_, identity, roots, kinds, alpn, Arc::new(SystemClock))
    }

    /// As [`TlsClient::new`], with a clock of the caller's.
    ///
    /// # Errors
    /// As [`TlsClient::new`].
    #[allow(clippy::too_many_arguments, reason = "each is a separate decision of the caller")]
    pub fn with_clock(
        policy: &CompiledPolicy,
        use_: Use,
        identity: Option<&TlsIdentity>,
        roots: &[Certificate],
        kinds: &[IdentityKind],
        alpn: &str,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, TlsError> {
        let rules = policy.rules(use_).clone();
        let provider = rules.provider.clone();
        let verifier = ServerVerifier::new(roots, kinds, &provider)?;
        let builder = ClientConfig::builder_with_details(provider, Arc::new(ClockAdapter(clock)))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(|error| TlsError::Identity(error.to_string()))?
            // The verifier adds a check to webpki's; it takes none away.
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier));
        let mut config = match identity {
            Some(identity) => {
                builder.with_client_cert_resolver(Arc::new(OneIdentity(certified(identity))))
            }
            None => builder.with_no_client_auth(),
        };
        // An empty name offers none, as ordinary clients do; only tests and diagnostics ask for that.
        config.alpn_protocols.extend((!alpn.is_empty()).then(|| alpn.as_bytes().to_vec()));
        config.resumption = Resumption::disabled();
        Ok(Self { connector: TlsConnector::from(Arc::new(config)), rules })
    }

    /// Performs the handshake with the server of that name. The caller bounds its time.
    ///
    /// In TLS 1.3 the server judges the client's certificate after this returns: a refusal arrives with the first read.
    ///
    /// # Errors
    /// [`TlsError::Anchors`] for a name that is neither a host name nor an address; [`TlsError::Handshake`].
    pub async fn connect<IO>(
        &self,
        server_name: &str,
        io: IO,
    ) -> Result<SecureChannel<IO>, TlsError>
    where
        IO: AsyncRead + AsyncWrite + Unpin,
    {
        let name = ServerName::try_from(server_name.to_owned())
            .map_err(|_| TlsError::Anchors(format!("{server_name:?} is no server name")))?;
        let stream = self.connector.connect(name, io).await?;
        SecureChannel::new(stream.into(), &self.rules, None)
    }
}
