//! Whom a certificate makes its holder, by the CA that verified it.

use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, RootCertStore,
    SignatureScheme,
};

use super::{TlsError, rustls_der};
use crate::certificate::{Certificate, IdentityKind};

/// Which CA's certificates make their holder what: trust anchors per kind of identity.
///
/// An issuing CA stands here itself, so that a certificate of one CA can never pass for a kind of another's.
#[derive(Debug, Clone, Default)]
pub struct PeerAnchors {
    kinds: Vec<(IdentityKind, Vec<Certificate>)>,
    revocation: Option<Arc<dyn RevocationCheck>>,
}

/// Whether a certificate that verified is revoked all the same. Asked in every handshake, so it must not block.
pub trait RevocationCheck: Send + Sync + std::fmt::Debug {
    /// `true` refuses the handshake with the alert `certificate_revoked`.
    fn is_revoked(&self, certificate: &Certificate) -> bool;
}

impl PeerAnchors {
    /// None yet: nobody is admitted.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Holders of certificates under any of `anchors` may be of `kind`.
    #[must_use]
    pub fn with(mut self, kind: IdentityKind, anchors: &[Certificate]) -> Self {
        self.kinds.push((kind, anchors.to_vec()));
        self
    }

    /// Every admitted certificate is also held against `check`.
    #[must_use]
    pub fn checked_by(mut self, check: Arc<dyn RevocationCheck>) -> Self {
        self.revocation = Some(check);
        self
    }
}

/// The certificate in `der`, if it is a self-signed CA's that TLS can take as an anchor: one that is read here and not there,
/// such as one with a unique identifier of its issuer, would stop whoever stores it from opening a channel ever again.
#[must_use]
pub fn trust_anchor(der: &[u8]) -> Option<Certificate> {
    let anchor = Certificate::from_der(der).ok().filter(Certificate::is_ca)?;
    anchor.verify_signed_by(&anchor).ok()?;
    root_store(std::slice::from_ref(&anchor)).ok()?;
    Some(anchor)
}

pub(super) fn root_store(anchors: &[Certificate]) -> Result<Arc<RootCertStore>, TlsError> {
    let mut store = RootCertStore::empty();
    for anchor in anchors {
        store.add(rustls_der(anchor)).map_err(|error| {
            let subject = anchor.subject_cn().unwrap_or_default();
            TlsError::Anchors(format!("the certificate of {subject:?} is no trust anchor: {error}"))
        })?;
    }
    if store.is_empty() {
        return Err(TlsError::Anchors("there are none: nobody could be verified".to_owned()));
    }
    Ok(Arc::new(store))
}

/// The certificate and the kind that it claims itself, to be held against its issuer.
fn claimed(end_entity: &CertificateDer<'_>) -> Option<(Certificate, IdentityKind)> {
    let certificate = Certificate::from_der(end_entity).ok()?;
    let kind = certificate.name()?.kind();
    Some((certificate, kind))
}

#[derive(Debug)]
pub(super) struct KindVerifier {
    kinds: Vec<(IdentityKind, Arc<dyn ClientCertVerifier>)>,
    revocation: Option<Arc<dyn RevocationCheck>>,
    mandatory: bool,
}

impl KindVerifier {
    pub(super) fn new(
        anchors: &PeerAnchors,
        mandatory: bool,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Self, TlsError> {
        let mut kinds = Vec::new();
        for (kind, certificates) in &anchors.kinds {
            let store = root_store(certificates)?;
            let verifier = WebPkiClientVerifier::builder_with_provider(store, provider.clone())
                .build()
                .map_err(|error| TlsError::Anchors(error.to_string()))?;
            kinds.push((*kind, verifier));
        }
        if kinds.is_empty() {
            return Err(TlsError::Anchors("no kind of client is named".to_owned()));
        }
        Ok(Self { kinds, revocation: anchors.revocation.clone(), mandatory })
    }

    /// Every kind's verifier checks handshake signatures alike: they share the provider.
    fn any(&self) -> &dyn ClientCertVerifier {
        &*self.kinds[0].1
    }
}

impl ClientCertVerifier for KindVerifier {
    fn client_auth_mandatory(&self) -> bool {
        self.mandatory
    }

    /// No hints: they would tell strangers who the CAs are, and clients here have one identity anyway.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    //= specs/house.md#house-channel
    //# A peer's kind MUST follow from the issuing authority that verified it, and the name in its
    //# certificate MUST agree.
    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        // 1. What does it claim to be?
        let (certificate, claimed) = claimed(end_entity)
            .ok_or(Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure))?;
        // 2. Does a CA of that kind vouch for it?
        let mut judged = Err(CertificateError::UnknownIssuer.into());
        for (_, verifier) in self.kinds.iter().filter(|(kind, _)| *kind == claimed) {
            judged = verifier.verify_client_cert(end_entity, intermediates, now);
            if judged.is_ok() {
                break;
            }
        }
        //= specs/house.md#house-revocation
        //# A revoked certificate MUST be refused at the next handshake.
        // 3. Has that been taken back?
        match &self.revocation {
            Some(check) if judged.is_ok() && check.is_revoked(&certificate) => {
                Err(CertificateError::Revoked.into())
            }
            _ => judged,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.any().verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.any().verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.any().supported_verify_schemes()
    }
}

/// A server must chain to the roots, bear the name that was dialled, and be of an expected kind.
#[derive(Debug)]
pub(super) struct ServerVerifier {
    inner: Arc<WebPkiServerVerifier>,
    expected: Vec<IdentityKind>,
}

impl ServerVerifier {
    pub(super) fn new(
        roots: &[Certificate],
        expected: &[IdentityKind],
        provider: &Arc<CryptoProvider>,
    ) -> Result<Self, TlsError> {
        let inner =
            WebPkiServerVerifier::builder_with_provider(root_store(roots)?, provider.clone())
                .build()
                .map_err(|error| TlsError::Anchors(error.to_string()))?;
        Ok(Self { inner, expected: expected.to_vec() })
    }
}

impl ServerCertVerifier for ServerVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verified = self.inner.verify_server_cert(end_entity, intermediates, name, ocsp, now)?;
        match claimed(end_entity) {
            Some((_, kind)) if self.expected.contains(&kind) => Ok(verified),
            _ => Err(CertificateError::ApplicationVerificationFailure.into()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::certificate::certificates_from_pem;
    use crate::issue::{CaTemplate, Serial, ca_signed_by, self_signed_ca};
    use crate::random::SystemRandom;
    use crate::signature::{KeyHandle, SignatureAlgorithm};
    use countersign_model::time::{Timestamp, Validity};

    #[test]
    fn an_anchor_is_what_tls_can_take() {
        let template = CaTemplate {
            common_name: "home".to_owned(),
            organisation: "home".to_owned(),
            country: "DE".to_owned(),
            validity: Validity { not_before: Timestamp(0), not_after: Validity::FOREVER },
            serial: Serial::random(&mut SystemRandom),
        };
        let key = KeyHandle::ephemeral(SignatureAlgorithm::EcdsaP256Sha256).unwrap();
        let usual = self_signed_ca(&template, &key).unwrap();
        assert_eq!(trust_anchor(usual.der()), Some(usual.clone()));
        // A self-signed CA with a unique identifier of its issuer (RFC 5280 section 4.1.2.8), made with OpenSSL.
        let unusable = certificates_from_pem(include_bytes!("no_anchor.pem")).unwrap().remove(0);
        assert!(unusable.is_ca() && unusable.verify_signed_by(&unusable).is_ok());
        assert_eq!(trust_anchor(unusable.der()), None);
        let template = CaTemplate { common_name: "below".to_owned(), ..template };
        let below = KeyHandle::ephemeral(SignatureAlgorithm::EcdsaP256Sha256).unwrap();
        let below = ca_signed_by(&template, below.spki_der(), &usual, &key).unwrap();
        assert_eq!(trust_anchor(below.der()), None);
        assert_eq!(trust_anchor(b"no certificate"), None);
    }
}
