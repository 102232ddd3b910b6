//! A [`KeyHandle`] as rustls wants to see it: the handle signs, wherever its key sits.

use std::sync::Arc;

use rustls::client::ResolvesClientCert;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::{CertifiedKey, Signer, SigningKey};
use rustls::{SignatureAlgorithm as TlsAlgorithm, SignatureScheme};

use super::{TlsIdentity, rustls_der};
use crate::signature::{KeyHandle, SignatureAlgorithm};

pub(super) fn certified(identity: &TlsIdentity) -> Arc<CertifiedKey> {
    let chain = identity.chain.certificates().iter().map(rustls_der).collect();
    Arc::new(CertifiedKey::new(chain, Arc::new(HandleKey(identity.key.clone()))))
}

fn scheme(key: &KeyHandle) -> SignatureScheme {
    scheme_of(key.algorithm())
}

fn scheme_of(algorithm: SignatureAlgorithm) -> SignatureScheme {
    match algorithm {
        SignatureAlgorithm::EcdsaP256Sha256 => SignatureScheme::ECDSA_NISTP256_SHA256,
        SignatureAlgorithm::EcdsaP384Sha384 => SignatureScheme::ECDSA_NISTP384_SHA384,
    }
}

#[derive(Debug)]
struct HandleKey(KeyHandle);

impl SigningKey for HandleKey {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        offered
            .contains(&scheme(&self.0))
            .then(|| Box::new(HandleSigner(self.0.clone())) as Box<dyn Signer>)
    }
    fn algorithm(&self) -> TlsAlgorithm {
        TlsAlgorithm::ECDSA
    }
}

#[derive(Debug)]
struct HandleSigner(KeyHandle);

impl Signer for HandleSigner {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rustls::Error> {
        self.0.sign(message).map_err(|error| rustls::Error::General(error.to_string()))
    }
    fn scheme(&self) -> SignatureScheme {
        scheme(&self.0)
    }
}

/// A server's identities, the most preferred first; never empty. Which name the client asks for does not matter.
#[derive(Debug)]
pub(super) struct Identities(Vec<Shown>);

/// An identity, and what a client must be able to verify to make use of it.
#[derive(Debug)]
struct Shown {
    certified: Arc<CertifiedKey>,
    key: SignatureScheme,
    /// How its certificates are signed; `None` where the product does not know the algorithm.
    chain: Vec<Option<SignatureScheme>>,
}

impl Identities {
    /// `None` when there are none.
    pub(super) fn new(identities: &[TlsIdentity]) -> Option<Self> {
        let shown = |identity: &TlsIdentity| Shown {
            certified: certified(identity),
            key: scheme_of(identity.key.algorithm()),
            chain: identity
                .chain
                .certificates()
                .iter()
                .map(|certificate| certificate.signature_algorithm().map(scheme_of))
                .collect(),
        };
        let shown: Vec<Shown> = identities.iter().map(shown).collect();
        (!shown.is_empty()).then_some(Self(shown))
    }

    /// The first whose key and whole chain the client can verify; else the first whose key it can: RFC 8446 section 4.4.2.2
    /// has the server go on with the chain that it has, and the client may know the issuer already. Else the most
    /// preferred, and the handshake tells the client what is missing.
    ///
    /// `schemes` is the client's `signature_algorithms`. rustls does not show `signature_algorithms_cert`; without that
    /// extension, `signature_algorithms` holds for certificates too (section 4.2.3).
    //= specs/house.md#house-channel
    //# A server with several identities MUST show the most preferred one that the client can verify.
    fn choose(&self, schemes: &[SignatureScheme]) -> Option<&Shown> {
        let key = |one: &&Shown| schemes.contains(&one.key);
        let chain = |one: &&Shown| {
            one.chain.iter().all(|scheme| scheme.is_some_and(|scheme| schemes.contains(&scheme)))
        };
        let known = || self.0.iter().filter(key);
        known().find(chain).or_else(|| known().next()).or_else(|| self.0.first())
    }
}

impl ResolvesServerCert for Identities {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.choose(hello.signature_schemes()).map(|one| one.certified.clone())
    }
}

/// Always the one identity, whoever asks.
#[derive(Debug)]
pub(super) struct OneIdentity(pub(super) Arc<CertifiedKey>);

impl ResolvesClientCert for OneIdentity {
    fn resolve(
        &self,
        _issuers: &[&[u8]],
        _schemes: &[SignatureScheme],
    ) -> Option<Arc<CertifiedKey>> {
        Some(self.0.clone())
    }
    fn has_certs(&self) -> bool {
        true
    }
}
