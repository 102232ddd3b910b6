//! The root and the issuing CAs, as ceremony and rolls left them: certificates in `ca/`, keys in the keystore.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use countersign_crypto::certificate::{Certificate, CertificateChain, certificates_from_pem};
use countersign_crypto::issue::CaCertificate;
use countersign_crypto::keystore::Keystore;
use countersign_crypto::signature::KeyHandle;
use countersign_model::time::Timestamp;

use crate::error::AuthorityError;
use crate::rotation::{self, KeyState};
use crate::store::{Issuing, IssuingRow, RootRow};

mod policy_keys;

use policy_keys::PolicyKeys;
pub(crate) use policy_keys::{policy_keys_file, second_label};

/// The keystore's label of the root's key.
pub(crate) const ROOT: &str = "root";
/// The keystore's label of the policy-signing key.
pub(crate) const POLICY: &str = "policy";
/// The keystore's label of the key that signs the ledger's checkpoints.
pub(crate) const LEDGER_KEY: &str = "ledger";
/// The keystore's label of the key of the policies' second signatures.
pub(crate) const SECOND_POLICY: &str = "policy-second";

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

impl std::str::FromStr for IssuingCa {
    type Err = UnknownCa;
    /// `idevid`, `ldevid` or `service`, with or without `-ca`.
    fn from_str(text: &str) -> Result<Self, UnknownCa> {
        let named = |ca: &Self| {
            let label = ca.label();
            label == text || label.strip_suffix("-ca") == Some(text)
        };
        Self::ALL.into_iter().find(named).ok_or_else(|| UnknownCa(text.to_owned()))
    }
}

/// A word that names no issuing CA.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no issuing CA: use idevid, ldevid or service")]
pub struct UnknownCa(String);

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

    /// Its label: of its first key in the keystore, of the certificate's file, in database and ledger. Later generations
    /// carry a number after it.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::FactoryIdentity => "idevid-ca",
            Self::Operation => "ldevid-ca",
            Self::Service => "service-ca",
        }
    }
}

/// One generation of an issuing CA whose certificates may count.
#[derive(Debug, Clone)]
struct Generation {
    ca: IssuingCa,
    label: String,
    state: KeyState,
    certificate: Certificate,
    /// The same, read for what is issued below it.
    issuer: CaCertificate,
    key: Option<KeyHandle>,
}

/// One root of this maker.
#[derive(Debug, Clone)]
struct RootGeneration {
    label: String,
    state: KeyState,
    certificate: Certificate,
    /// The same key, certified by the root before; the first has none.
    cross: Option<Certificate>,
    /// Whether a later root withdraws it: it is nobody's anchor, and still above what was issued below it.
    withdrawn: bool,
}

/// What ceremony and rolls left: the roots, and every generation of the issuing CAs that verifiers take.
#[derive(Debug, Clone)]
pub struct Authorities {
    roots: Vec<RootGeneration>,
    issuing: Vec<Generation>,
    policy: PolicyKeys,
    /// The public keys of all of them, DER.
    own_keys: HashSet<Vec<u8>>,
    version: u64,
}

impl Authorities {
    /// Loads and checks that certificates, keys and issuers belong together.
    pub(crate) fn load(
        folder: &Path,
        keys: &Keystore,
        recorded: &Issuing,
    ) -> Result<Self, AuthorityError> {
        let mut roots = Vec::new();
        for row in rotation::root::roots(recorded.roots.clone()) {
            if rotation::root::is_anchor(row.state) {
                roots.push(RootGeneration::load(folder, row, roots.last())?);
            }
        }
        if roots.iter().filter(|root| root.state == KeyState::Active).count() != 1 {
            let path = certificate_file(folder, ROOT);
            let detail = "not exactly one root is active".to_owned();
            return Err(AuthorityError::Damaged { path, detail });
        }
        let mut issuing = Vec::new();
        for row in generations(recorded) {
            if row.state.verifies() {
                issuing.push(Generation::load(folder, keys, &roots, row)?);
            }
        }
        for ca in IssuingCa::ALL {
            let active = |one: &&Generation| one.ca == ca && one.state == KeyState::Active;
            if issuing.iter().filter(active).count() != 1 {
                let path = certificate_file(folder, ca.label());
                let detail = "not exactly one generation of this CA is active".to_owned();
                return Err(AuthorityError::Damaged { path, detail });
            }
        }
        let policy = PolicyKeys::load(folder, keys, recorded)?;
        let of_roots = roots.iter().map(|one| one.certificate.spki_der());
        let of_issuing = issuing.iter().map(|one: &Generation| one.certificate.spki_der());
        let own_keys = of_roots.chain(of_issuing).chain(policy.known().iter().cloned()).collect();
        Ok(Self { roots, issuing, policy, own_keys, version: recorded.version })
    }

    /// The certificate of the root that signs.
    #[must_use]
    pub fn root(&self) -> &Certificate {
        &self.active_root().certificate
    }

    /// The label of the root that signs.
    pub(crate) fn root_label(&self) -> &str {
        &self.active_root().label
    }

    fn active_root(&self) -> &RootGeneration {
        let active = |one: &&RootGeneration| one.state == KeyState::Active;
        self.roots.iter().find(active).expect("load demands an active root")
    }

    /// Every root that is an anchor: the one that signs, then the others, newest first. None that was withdrawn.
    #[must_use]
    pub fn roots(&self) -> Vec<Certificate> {
        self.ordered(|one| !one.withdrawn)
    }

    /// Every root below which a device's factory identity may hang, withdrawn or not, in the same order.
    #[must_use]
    pub fn device_roots(&self) -> Vec<Certificate> {
        self.ordered(|_| true)
    }

    fn ordered(&self, wanted: impl Fn(&RootGeneration) -> bool) -> Vec<Certificate> {
        let others = self.roots.iter().rev().filter(|one| one.state != KeyState::Active);
        let others = others.filter(|one| wanted(one)).map(|one| one.certificate.clone());
        std::iter::once(self.root().clone()).chain(others).collect()
    }

    /// [`Authorities::roots`] as PEM, as people are given it.
    #[must_use]
    pub fn roots_pem(&self) -> String {
        self.roots().iter().map(Certificate::to_pem).collect()
    }

    /// [`Authorities::device_roots`] as PEM, as controllers are given it.
    #[must_use]
    pub fn device_roots_pem(&self) -> String {
        self.device_roots().iter().map(Certificate::to_pem).collect()
    }

    /// The root below which a CA of ours hangs.
    #[must_use]
    pub fn root_of(&self, ca: &Certificate) -> Option<&Certificate> {
        self.root_above(ca).map(|at| &self.roots[at].certificate)
    }

    /// The roots that a device of this chain is made with: first the one below which it hangs, which its label names; then the
    /// others, for servers, none of them withdrawn. Not the newest one first until the CA was rolled.
    //= specs/house.md#house-anchors
    //# A new device MUST be given no withdrawn root but the one that its own identity hangs below.
    #[must_use]
    pub fn roots_of(&self, chain: &CertificateChain) -> Vec<Certificate> {
        let above = chain.certificates().last().and_then(|ca| self.root_of(ca));
        let above = above.unwrap_or_else(|| self.root()).clone();
        let mut roots = self.roots();
        roots.retain(|one| *one != above);
        roots.insert(0, above);
        roots
    }

    fn root_above(&self, ca: &Certificate) -> Option<usize> {
        self.roots.iter().position(|root| ca.verify_signed_by(&root.certificate).is_ok())
    }

    /// Labels of the issuing CAs below a root that issue or are to issue.
    pub(crate) fn issuing_below(&self, label: &str) -> Vec<String> {
        let below = |one: &&Generation| {
            let root = self.root_above(&one.certificate).map(|at| self.roots[at].label.as_str());
            one.state.has_key() && root == Some(label)
        };
        self.issuing.iter().filter(below).map(|one| one.label.clone()).collect()
    }

    /// Labels of the generations of a CA below a root that still verify.
    pub(crate) fn verifying_below(&self, label: &str, ca: IssuingCa) -> Vec<String> {
        let below = |one: &&Generation| {
            let root = self.root_above(&one.certificate).map(|at| self.roots[at].label.as_str());
            one.ca == ca && root == Some(label)
        };
        self.issuing.iter().filter(below).map(|one| one.label.clone()).collect()
    }

    /// A chain as a server shows it: down to the first root, over the cross-certificates, so that whoever trusts any root of this maker
    /// can verify it.
    //= specs/house.md#house-anchors
    //# A server MUST show a chain that leads to every root of its maker which clients may hold.
    pub(crate) fn served(
        &self,
        chain: CertificateChain,
    ) -> Result<CertificateChain, AuthorityError> {
        let mut shown = chain.certificates().to_vec();
        let above = shown.last().and_then(|last| self.root_above(last));
        let crossed = self.roots.iter().take(above.map_or(0, |at| at + 1)).rev();
        shown.extend(crossed.filter_map(|root| root.cross.clone()));
        Ok(CertificateChain::new(shown)?)
    }

    /// The certificate of the generation that issues.
    #[must_use]
    pub fn certificate(&self, ca: IssuingCa) -> &Certificate {
        &self.active(ca).certificate
    }

    /// The same, read for what is issued below it.
    pub(crate) fn issuer(&self, ca: IssuingCa) -> &CaCertificate {
        &self.active(ca).issuer
    }

    /// Whether a public key is that of a root, an issuing CA or the policies.
    pub(crate) fn is_own_key(&self, spki_der: &[u8]) -> bool {
        self.own_keys.contains(spki_der)
    }

    /// The certificates under which something may have been issued that counts: what verifiers trust.
    #[must_use]
    pub fn verifiers(&self, ca: IssuingCa) -> Vec<Certificate> {
        let of = self.issuing.iter().filter(|one| one.ca == ca);
        of.map(|one| one.certificate.clone()).collect()
    }

    /// Roots, their cross-certificates and issuing CAs, as EST hands them out.
    #[must_use]
    pub fn all(&self) -> Vec<Certificate> {
        let crossed = self.roots.iter().filter_map(|one| one.cross.clone());
        let issuing = self.issuing.iter().map(|one| one.certificate.clone());
        self.roots().into_iter().chain(crossed).chain(issuing).collect()
    }

    /// Every generation that verifies, by its label.
    pub(crate) fn labelled(&self) -> Vec<(String, Certificate)> {
        self.issuing.iter().map(|one| (one.label.clone(), one.certificate.clone())).collect()
    }

    /// The chain of a leaf, without the root: with that generation of an issuing CA which signed it.
    ///
    /// # Errors
    /// [`AuthorityError::Unknown`] for a leaf that none of those signed which still verify.
    pub fn chain(&self, leaf: Certificate) -> Result<CertificateChain, AuthorityError> {
        let signed = |one: &&Generation| {
            leaf.authority_key_id() == one.certificate.subject_key_id()
                && leaf.verify_signed_by(&one.certificate).is_ok()
        };
        let issuer = self.issuing.iter().find(signed);
        let issuer = issuer.ok_or_else(|| {
            AuthorityError::Unknown(format!("the issuer of certificate {}", leaf.serial_hex()))
        })?;
        let issuer = issuer.certificate.clone();
        Ok(CertificateChain::new(vec![leaf, issuer])?)
    }

    /// The label of the generation that issues.
    pub(crate) fn label(&self, ca: IssuingCa) -> &str {
        &self.active(ca).label
    }

    pub(crate) fn key(&self, ca: IssuingCa) -> &KeyHandle {
        self.active(ca).key.as_ref().expect("load demands the key of an active generation")
    }

    /// Of which change of the issuing CAs this is the picture.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.version
    }

    fn active(&self, ca: IssuingCa) -> &Generation {
        let active = |one: &&Generation| one.ca == ca && one.state == KeyState::Active;
        self.issuing.iter().find(active).expect("load demands an active generation of every CA")
    }
}

impl RootGeneration {
    fn load(folder: &Path, row: RootRow, before: Option<&Self>) -> Result<Self, AuthorityError> {
        let certificate = read(&certificate_file(folder, &row.label))?;
        let cross = match before {
            None => None,
            Some(before) => {
                let path = cross_file(folder, &row.label);
                let cross = read(&path)?;
                let fits = cross.spki_der() == certificate.spki_der()
                    && cross.verify_signed_by(&before.certificate).is_ok();
                if !fits {
                    let detail = "the cross-certificate is not by the root before".to_owned();
                    return Err(AuthorityError::Damaged { path, detail });
                }
                Some(cross)
            }
        };
        let withdrawn = row.withdrawn.is_some();
        Ok(Self { label: row.label, state: row.state, certificate, cross, withdrawn })
    }
}

impl Generation {
    fn load(
        folder: &Path,
        keys: &Keystore,
        roots: &[RootGeneration],
        row: IssuingRow,
    ) -> Result<Self, AuthorityError> {
        let path = certificate_file(folder, &row.label);
        let certificate = read(&path)?;
        let damaged = |detail: &str| AuthorityError::Damaged {
            path: path.clone(),
            detail: detail.to_owned(),
        };
        if !roots.iter().any(|root| certificate.verify_signed_by(&root.certificate).is_ok()) {
            return Err(damaged("the certificate was not signed by the roots beside it"));
        }
        let key = match row.state.has_key() {
            true => Some(keys.require(&row.label)?),
            false => None,
        };
        if key.as_ref().is_some_and(|key| key.spki_der() != certificate.spki_der()) {
            return Err(damaged("the key in the keystore is not that of this certificate"));
        }
        let issuer = CaCertificate::new(certificate.clone())?;
        Ok(Self { ca: row.ca, label: row.label, state: row.state, certificate, issuer, key })
    }
}

/// Every generation of every issuing CA, oldest first. A CA that was never rolled has the one of the ceremony.
pub(crate) fn generations(recorded: &Issuing) -> Vec<IssuingRow> {
    let mut all = Vec::new();
    for ca in IssuingCa::ALL {
        let rows: Vec<_> = recorded.rows.iter().filter(|row| row.ca == ca).cloned().collect();
        if rows.is_empty() {
            let (label, since) = (ca.label().to_owned(), Timestamp(0));
            all.push(IssuingRow { label, ca, state: KeyState::Active, since });
        }
        all.extend(rows);
    }
    all
}

/// Where a root's cross-certificate by the root before lies.
pub(crate) fn cross_file(folder: &Path, label: &str) -> PathBuf {
    folder.join("ca").join(format!("{label}.cross.crt"))
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
