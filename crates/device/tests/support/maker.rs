//! A manufacturer's authority and a home's, just enough to issue.

use countersign_crypto::certificate::{Certificate, CertificateChain, IdentityKind, IdentityName};
use countersign_crypto::csr;
use countersign_crypto::issue::{
    CaTemplate, Eku, Serial, Template, ca_signed_by, prepare, self_signed_ca, sign,
};
use countersign_crypto::random::SystemRandom;
use countersign_crypto::signature::{KeyHandle, SignatureAlgorithm};
use countersign_crypto::tls::{Clock, SystemClock, TlsIdentity};
use countersign_model::time::{Timestamp, Validity};
use std::time::Duration;

const P256: SignatureAlgorithm = SignatureAlgorithm::EcdsaP256Sha256;

fn hour() -> Validity {
    let now = Timestamp::from_secs(SystemClock.now().as_secs());
    Validity {
        not_before: Timestamp(now.0 - 3_600_000),
        not_after: now.plus(Duration::from_secs(3600)),
    }
}

fn ca(name: &str) -> CaTemplate {
    CaTemplate {
        common_name: name.to_owned(),
        organisation: "Example Works".to_owned(),
        country: "DE".to_owned(),
        validity: Validity { not_after: Validity::FOREVER, ..hour() },
        serial: Serial::random(&mut SystemRandom),
    }
}

/// An issuing CA.
pub struct Ca {
    pub certificate: Certificate,
    key: KeyHandle,
}

impl Ca {
    pub fn home(name: &str) -> Self {
        let key = KeyHandle::ephemeral(P256).unwrap();
        Self { certificate: self_signed_ca(&ca(name), &key).unwrap(), key }
    }

    fn below(name: &str, root: &Certificate, root_key: &KeyHandle) -> Self {
        let key = KeyHandle::ephemeral(P256).unwrap();
        let certificate = ca_signed_by(&ca(name), key.spki_der(), root, root_key).unwrap();
        Self { certificate, key }
    }

    pub fn issue(
        &self,
        kind: IdentityKind,
        name: &str,
        spki_der: &[u8],
        validity: Validity,
    ) -> Certificate {
        let device = matches!(kind, IdentityKind::IdevId | IdentityKind::Thing);
        let template = Template {
            common_name: name.to_owned(),
            identity: IdentityName::new(kind, name).unwrap(),
            dns: if device { vec![format!("{name}.local")] } else { Vec::new() },
            ips: if kind == IdentityKind::Server {
                vec!["127.0.0.1".parse().unwrap()]
            } else {
                Vec::new()
            },
            eku: Eku {
                server: device || kind == IdentityKind::Server,
                client: kind != IdentityKind::Server,
            },
            validity,
            serial: Serial::random(&mut SystemRandom),
            spki_der: spki_der.to_vec(),
        };
        sign(prepare(&template, &self.certificate, P256).unwrap(), &self.key).unwrap()
    }

    /// A person with a fresh key, believed until `until`.
    pub fn person(&self, name: &str, until: Option<Timestamp>) -> TlsIdentity {
        let validity = Validity { not_after: until.unwrap_or(hour().not_after), ..hour() };
        let key = KeyHandle::ephemeral(P256).unwrap();
        let leaf = self.issue(IdentityKind::Person, name, key.spki_der(), validity);
        TlsIdentity::new(CertificateChain::new(vec![leaf]).unwrap(), key).unwrap()
    }
}

/// The manufacturer.
pub struct Maker {
    pub root: Certificate,
    idevid: Ca,
    pub ldevid: Ca,
    service: Ca,
}

impl Maker {
    pub fn new() -> Self {
        let key = KeyHandle::ephemeral(P256).unwrap();
        let root = self_signed_ca(&ca("Root"), &key).unwrap();
        Self {
            idevid: Ca::below("IDevID CA", &root, &key),
            ldevid: Ca::below("LDevID CA", &root, &key),
            service: Ca::below("Service CA", &root, &key),
            root,
        }
    }

    pub fn idevid(&self, thing: &str, request: &[u8]) -> CertificateChain {
        let request = csr::verify(request).unwrap();
        let validity = Validity { not_after: Validity::FOREVER, ..hour() };
        let leaf = self.idevid.issue(IdentityKind::IdevId, thing, request.spki_der(), validity);
        CertificateChain::new(vec![leaf, self.idevid.certificate.clone()]).unwrap()
    }

    pub fn ldevid(&self, thing: &str, request: &[u8]) -> Vec<Certificate> {
        let request = csr::verify(request).unwrap();
        let leaf = self.ldevid.issue(IdentityKind::Thing, thing, request.spki_der(), hour());
        vec![leaf, self.ldevid.certificate.clone()]
    }

    pub fn idevid_ca(&self) -> &Certificate {
        &self.idevid.certificate
    }

    /// A server's identity for 127.0.0.1.
    pub fn server(&self) -> TlsIdentity {
        let key = KeyHandle::ephemeral(P256).unwrap();
        let leaf = self.service.issue(IdentityKind::Server, "gateway", key.spki_der(), hour());
        let chain = CertificateChain::new(vec![leaf, self.service.certificate.clone()]).unwrap();
        TlsIdentity::new(chain, key).unwrap()
    }
}
