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
    match key.algorithm() {
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

/// Always the one identity, whatever name the client asks for.
#[derive(Debug)]
pub(super) struct OneIdentity(pub(super) Arc<CertifiedKey>);

impl ResolvesServerCert for OneIdentity {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.clone())
    }
}

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
