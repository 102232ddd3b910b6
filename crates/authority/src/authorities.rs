//! The root and the issuing CAs, as a ceremony left them: certificates in `ca/`, keys in the keystore.

use std::path::{Path, PathBuf};

use countersign_crypto::certificate::{Certificate, CertificateChain, certificates_from_pem};
use countersign_crypto::keystore::Keystore;
use countersign_crypto::signature::KeyHandle;

use crate::error::AuthorityError;

/// The keystore's label of the root's key.
pub(crate) const ROOT: &str = "root";
/// The keystore's label of the policy-signing key.
pub(crate) const POLICY: &str = "policy";

/// A CA below the root. Each issues for its own purposes only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum IssuingCa {
    /// Factory identities of devices.
    FactoryIdentity,
    /// Operational identities of devices.
    Operation,
    /// Services, operators and servers.
    Service,
}

impl IssuingCa {
    /// Every issuing CA.
    pub const ALL: [Self; 3] = [Self::FactoryIdentity, Self::Operation, Self::Service];

    /// How its common name ends; the plan's organisation stands before it.
    #[must_use]
    pub const fn common_name_ending(self) -> &'static str {
        match self {
            Self::FactoryIdentity => "IDevID CA",
            Self::Operation => "LDevID CA",
            Self::Service => "Service CA",
        }
    }

    /// Its label: of the key in the keystore, of the certificate's file, in database and ledger.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::FactoryIdentity => "idevid-ca",
            Self::Operation => "ldevid-ca",
            Self::Service => "service-ca",
        }
    }
}

/// What a finished ceremony left.
#[derive(Debug, Clone)]
pub struct Authorities {
    root: Certificate,
    issuing: Vec<(IssuingCa, Certificate, KeyHandle)>,
    policy: KeyHandle,
}

impl Authorities {
    /// Loads and checks that certificates, keys and issuers belong together.
    pub(crate) fn load(folder: &Path, keys: &Keystore) -> Result<Self, AuthorityError> {
        let root = read(&certificate_file(folder, ROOT))?;
        let mut issuing = Vec::new();
        for ca in IssuingCa::ALL {
            let path = certificate_file(folder, ca.label());
            let certificate = read(&path)?;
            let damaged = |detail: &str| AuthorityError::Damaged {
                path: path.clone(),
                detail: detail.to_owned(),
            };
            certificate
                .verify_signed_by(&root)
                .map_err(|_| damaged("the certificate was not signed by the root beside it"))?;
            let key = keys.require(ca.label())?;
            if key.spki_der() != certificate.spki_der() {
                return Err(damaged("the key in the keystore is not that of this certificate"));
            }
            issuing.push((ca, certificate, key));
        }
        Ok(Self { root, issuing, policy: keys.require(POLICY)? })
    }

    /// The root's certificate.
    #[must_use]
    pub fn root(&self) -> &Certificate {
        &self.root
    }

    /// An issuing CA's certificate.
    #[must_use]
    pub fn certificate(&self, ca: IssuingCa) -> &Certificate {
        &self.entry(ca).1
    }

    /// Root and issuing CAs, as EST hands them out.
    #[must_use]
    pub fn all(&self) -> Vec<Certificate> {
        let issuing = self.issuing.iter().map(|(_, certificate, _)| certificate.clone());
        std::iter::once(self.root.clone()).chain(issuing).collect()
    }

    /// The chain of a leaf under `ca`, without the root.
    pub(crate) fn chain(
        &self,
        leaf: Certificate,
        ca: IssuingCa,
    ) -> Result<CertificateChain, AuthorityError> {
        Ok(CertificateChain::new(vec![leaf, self.certificate(ca).clone()])?)
    }

    pub(crate) fn key(&self, ca: IssuingCa) -> &KeyHandle {
        &self.entry(ca).2
    }

    pub(crate) fn policy(&self) -> &KeyHandle {
        &self.policy
    }

    fn entry(&self, ca: IssuingCa) -> &(IssuingCa, Certificate, KeyHandle) {
        self.issuing.iter().find(|one| one.0 == ca).expect("load puts every issuing CA in")
    }
}

/// Where a CA's certificate lies.
pub(crate) fn certificate_file(folder: &Path, label: &str) -> PathBuf {
    folder.join("ca").join(format!("{label}.crt"))
}

/// Reads the one certificate of a file.
pub(crate) fn read(path: &Path) -> Result<Certificate, AuthorityError> {
    let pem = std::fs::read(path).map_err(AuthorityError::io(path))?;
    let damaged = |detail: String| AuthorityError::Damaged { path: path.to_owned(), detail };
    let mut found = certificates_from_pem(&pem).map_err(|error| damaged(error.to_string()))?;
    match (found.pop(), found.is_empty()) {
        (Some(one), true) => Ok(one),
        _ => Err(damaged("one certificate is expected".to_owned())),
    }
}
