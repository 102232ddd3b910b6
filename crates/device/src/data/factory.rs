//! What the factory leaves in a device, and how it gets there.
//!
//! ```text
//!  Blank::prepare ─► request() ─► the factory's CA ─► provision(chain, roots, setup, policy) ─► Factory::load, for life
//! ```
//! The IDevID key is made in the device's own folder and never leaves it; where a factory made it, it comes in a sealed
//! package that [`install`] takes.

use countersign_crypto::certificate::{
    Certificate, CertificateChain, CertificateError, IdentityKind, certificates_from_pem,
};
use countersign_crypto::csr;
use countersign_crypto::file;
use countersign_crypto::issue::IssueError;
use countersign_crypto::keystore::{Keystore, KeystoreError};
use countersign_crypto::pake::{PakeError, PakeParams, VerifierRecord};
use countersign_crypto::random::{Random, SystemRandom};
use countersign_crypto::seal::{self, SealError, SealKey};
use countersign_crypto::secret::{Secret, Strength};
use countersign_crypto::signature::{KeyHandle, SignatureAlgorithm};
use countersign_crypto::tls::{TlsError, TlsIdentity};
use countersign_model::factory::Package;
use countersign_model::id::ThingId;
use countersign_protocol::policy::PolicyTrust;
use std::path::{Path, PathBuf};

/// Label of the factory key.
const KEY: &str = "idevid";
/// What the sealed pairing file is for.
const PURPOSE: &str = "setup code verifier";
/// What the sealed policy file is for.
const POLICY_PURPOSE: &str = "policy key";
/// Longest policy key, in bytes: a classical SubjectPublicKeyInfo has about a hundred, the largest of ML-DSA 2614.
const MAX_POLICY_KEY: usize = 8 * 1024;

/// Whose crypto policies a device takes: the maker's name, and the key that signs them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyAuthority {
    /// The organisation of the ceremony plan.
    pub maker: String,
    /// The policy key's SubjectPublicKeyInfo, DER.
    pub spki_der: Vec<u8>,
    /// The key of second signatures, SubjectPublicKeyInfo DER, where the maker has one. A device without it takes no policy
    /// that needs two.
    pub second_spki_der: Option<Vec<u8>>,
}

/// A data folder with a key and no identity yet.
#[derive(Debug)]
pub struct Blank {
    root: PathBuf,
    thing: ThingId,
    seal: SealKey,
    key: KeyHandle,
}

impl Blank {
    /// Makes (or finds, after an interruption) the factory key of `thing` in the data folder `root`.
    ///
    /// # Errors
    /// [`FactoryError::Provisioned`] when the folder already has an identity.
    pub fn prepare(
        root: &Path,
        thing: ThingId,
        algorithm: SignatureAlgorithm,
    ) -> Result<Self, FactoryError> {
        file::private_folder(root).map_err(FactoryError::Io)?;
        let folder = root.join("factory");
        file::private_folder(&folder).map_err(FactoryError::Io)?;
        if folder.join("idevid.crt").exists() {
            return Err(FactoryError::Provisioned(folder));
        }
        let seal = SealKey::load_or_create(&root.join("seal.key"), &mut SystemRandom)?;
        let keys = Keystore::open(&folder.join("keys"), seal.clone())?;
        let key = match keys.load(KEY)? {
            Some(key) => key,
            None => keys.generate(KEY, algorithm)?,
        };
        Ok(Self { root: root.to_owned(), thing, seal, key })
    }

    /// The request for an IDevID certificate, PKCS#10 in DER.
    ///
    /// # Errors
    /// When the key does not sign.
    pub fn request(&self) -> Result<Vec<u8>, FactoryError> {
        Ok(csr::request(&self.key, self.thing.as_str())?)
    }

    /// Writes the identity. The certificate comes last: a folder that has one is whole.
    ///
    /// # Errors
    /// [`FactoryError::Mismatch`] when the certificate is not for this device and key.
    pub fn provision(
        self,
        chain: &CertificateChain,
        roots: &[Certificate],
        params: &PakeParams,
        verifier: &VerifierRecord,
        policy: &PolicyAuthority,
    ) -> Result<(), FactoryError> {
        let folder = self.root.join("factory");
        check(&folder, &self.thing, chain, &self.key, roots)?;
        let write = |name: &str, bytes: &[u8], mode: u32| {
            file::write_atomic(&folder.join(name), bytes, mode).map_err(FactoryError::Io)
        };
        let plain = encode_setup(params, verifier);
        let random: &mut dyn Random = &mut SystemRandom;
        let sealed = plain.expose(|plain| seal::seal(&self.seal, PURPOSE, plain, random))?;
        write("pairing.sealed", &sealed, file::PRIVATE)?;
        let sealed = seal::seal(&self.seal, POLICY_PURPOSE, &encode_policy(policy), random)?;
        write("policy.sealed", &sealed, file::PRIVATE)?;
        let pem: String = roots.iter().map(Certificate::to_pem).collect();
        write("roots.pem", pem.as_bytes(), file::PUBLIC)?;
        write("idevid.crt", chain.to_pem().as_bytes(), file::PUBLIC)
    }
}

/// Installs a package of the factory in the data folder `root`. Where it brings the key, that is sealed there; else the key
/// must be the one that the device made there and asked with. Doing it again after an interruption is fine.
///
/// # Errors
/// [`FactoryError::Package`] for one that holds what cannot be, [`FactoryError::Mismatch`] for one of another device or key,
/// [`FactoryError::Provisioned`] when the folder already has an identity.
pub fn install(root: &Path, package: &Package) -> Result<ThingId, FactoryError> {
    let read = |list: &[Vec<u8>]| -> Result<Vec<Certificate>, FactoryError> {
        let one = |der: &Vec<u8>| Certificate::from_der(der).map_err(|_| FactoryError::Package);
        list.iter().map(one).collect()
    };
    let chain = CertificateChain::new(read(&package.chain)?).map_err(|_| FactoryError::Package)?;
    let roots = read(&package.roots)?;
    let algorithm = chain.leaf().key_algorithm().ok_or(FactoryError::Package)?;
    if let Some(pkcs8) = &package.key {
        let folder = root.join("factory");
        file::private_folder(root).map_err(FactoryError::Io)?;
        file::private_folder(&folder).map_err(FactoryError::Io)?;
        let seal = SealKey::load_or_create(&root.join("seal.key"), &mut SystemRandom)?;
        let keys = Keystore::open(&folder.join("keys"), seal)?;
        if keys.load(KEY)?.is_none() && !folder.join("idevid.crt").exists() {
            keys.import(KEY, algorithm, &Secret::new(pkcs8.to_vec(), algorithm.strength()))?;
        }
    }
    if package.key.is_none() && !root.join("factory").join("keys").is_dir() {
        return Err(FactoryError::NoKey(root.to_owned()));
    }
    let blank = Blank::prepare(root, package.thing.clone(), algorithm)?;
    let setup = &package.setup;
    let params = PakeParams::new(setup.salt, setup.memory_kib, setup.passes, setup.lanes)?;
    let verifier = VerifierRecord::from_bytes(&setup.verifier)?;
    let policy = PolicyAuthority {
        maker: package.policy.maker.clone(),
        spki_der: package.policy.spki_der.clone(),
        second_spki_der: package.policy.second_spki_der.clone(),
    };
    blank.provision(&chain, &roots, &params, &verifier, &policy)?;
    Ok(package.thing.clone())
}

/// The factory identity of a device.
#[derive(Debug)]
pub struct Factory {
    thing: ThingId,
    identity: TlsIdentity,
    roots: Vec<Certificate>,
    params: PakeParams,
    /// The bytes of the record, which is made of them for each conversation.
    verifier: Secret,
    policy: Option<PolicyAuthority>,
}

impl Factory {
    /// Reads what the factory wrote below `folder`.
    ///
    /// # Errors
    /// [`FactoryError`], each naming its file and the mend.
    pub fn load(folder: &Path, seal_key: &SealKey) -> Result<Self, FactoryError> {
        let read = |name: &str| {
            let path = folder.join(name);
            std::fs::read(&path).map_err(|error| FactoryError::Missing(path, error))
        };
        let wrong = |name: &str, error| FactoryError::Certificate(folder.join(name), error);
        let chain = CertificateChain::from_pem(&read("idevid.crt")?)
            .map_err(|error| wrong("idevid.crt", error))?;
        let roots = certificates_from_pem(&read("roots.pem")?)
            .map_err(|error| wrong("roots.pem", error))?;
        let key = Keystore::open(&folder.join("keys"), seal_key.clone())?.require(KEY)?;
        let thing = thing_of(&chain).ok_or_else(|| FactoryError::Mismatch(folder.to_owned()))?;
        check(folder, &thing, &chain, &key, &roots)?;
        let damaged = || FactoryError::Changed(folder.join("pairing.sealed"));
        let plain =
            seal::open(seal_key, PURPOSE, &read("pairing.sealed")?).map_err(|_| damaged())?;
        let (params, verifier) = plain.expose(decode_setup).ok_or_else(damaged)?;
        let policy = load_policy(&folder.join("policy.sealed"), seal_key)?;
        let identity = TlsIdentity::new(chain, key)?;
        Ok(Self { thing, identity, roots, params, verifier, policy })
    }

    /// Who the device is.
    #[must_use]
    pub const fn thing(&self) -> &ThingId {
        &self.thing
    }

    /// The IDevID.
    #[must_use]
    pub const fn identity(&self) -> &TlsIdentity {
        &self.identity
    }

    /// The manufacturer's roots.
    #[must_use]
    pub fn roots(&self) -> &[Certificate] {
        &self.roots
    }

    /// Cost and salt of the setup code's derivation.
    #[must_use]
    pub const fn params(&self) -> &PakeParams {
        &self.params
    }

    /// Whose policies the device takes; none where the factory knew of none, and then it keeps the policy of its build.
    #[must_use]
    pub fn policy_trust(&self) -> Option<PolicyTrust> {
        self.policy.as_ref().map(|policy| {
            PolicyTrust::new(&policy.spki_der, &policy.maker)
                .with_second(policy.second_spki_der.clone())
        })
    }

    /// What the device has instead of the setup code.
    ///
    /// # Errors
    /// [`PakeError::Environment`] never: it was read once at the start.
    pub fn verifier(&self) -> Result<VerifierRecord, PakeError> {
        self.verifier.expose(VerifierRecord::from_bytes)
    }
}

fn thing_of(chain: &CertificateChain) -> Option<ThingId> {
    let name = chain.leaf().name().filter(|name| name.kind() == IdentityKind::IdevId)?;
    name.name().parse().ok()
}

fn check(
    folder: &Path,
    thing: &ThingId,
    chain: &CertificateChain,
    key: &KeyHandle,
    roots: &[Certificate],
) -> Result<(), FactoryError> {
    let fits = thing_of(chain).as_ref() == Some(thing)
        && chain.leaf().spki_der() == key.spki_der()
        && leads_to(chain.certificates(), roots);
    fits.then_some(()).ok_or_else(|| FactoryError::Mismatch(folder.to_owned()))
}

/// Whether each certificate is signed by the next, and the last by a root: a file that was changed on the device is
/// found at start, not by whoever connects later.
fn leads_to(chain: &[Certificate], roots: &[Certificate]) -> bool {
    let linked = chain.windows(2).all(|pair| pair[0].verify_signed_by(&pair[1]).is_ok());
    let last = chain.last();
    linked && last.is_some_and(|last| roots.iter().any(|root| last.verify_signed_by(root).is_ok()))
}

/// `[salt, memory KiB, passes, lanes, record]`.
fn encode_setup(params: &PakeParams, verifier: &VerifierRecord) -> Secret {
    let mut plain = Vec::with_capacity(160);
    let mut out = minicbor::Encoder::new(&mut plain);
    verifier
        .to_secret()
        .expose(|record| {
            out.array(5)?
                .bytes(params.salt())?
                .u32(params.memory_kib())?
                .u32(params.passes())?
                .u32(params.lanes())?
                .bytes(record)
                .map(|_| ())
        })
        .expect("writing to a vector cannot fail");
    Secret::new(plain, Strength(128))
}

fn load_policy(path: &Path, key: &SealKey) -> Result<Option<PolicyAuthority>, FactoryError> {
    let sealed = match std::fs::read(path) {
        Ok(sealed) => sealed,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(FactoryError::Missing(path.to_owned(), error)),
    };
    let damaged = || FactoryError::Changed(path.to_owned());
    let plain = seal::open(key, POLICY_PURPOSE, &sealed).map_err(|_| damaged())?;
    plain.expose(decode_policy).ok_or_else(damaged).map(Some)
}

/// `[maker, key]`, as every factory wrote before there was a second key, or `[maker, key, second key]`.
fn encode_policy(policy: &PolicyAuthority) -> Vec<u8> {
    let mut plain = Vec::with_capacity(256);
    let mut out = minicbor::Encoder::new(&mut plain);
    let second = policy.second_spki_der.as_ref();
    out.array(if second.is_some() { 3 } else { 2 })
        .and_then(|out| out.str(&policy.maker))
        .and_then(|out| out.bytes(&policy.spki_der))
        .and_then(|out| match second {
            Some(second) => out.bytes(second),
            None => Ok(out),
        })
        .expect("writing to a vector cannot fail");
    plain
}

fn decode_policy(plain: &[u8]) -> Option<PolicyAuthority> {
    let mut input = minicbor::Decoder::new(plain);
    let with_second = match input.array().ok()? {
        Some(2) => false,
        Some(3) => true,
        _ => return None,
    };
    let maker = input.str().ok()?.to_owned();
    let spki_der = policy_key(&mut input)?;
    let second_spki_der = if with_second { Some(policy_key(&mut input)?) } else { None };
    Some(PolicyAuthority { maker, spki_der, second_spki_der })
}

fn policy_key(input: &mut minicbor::Decoder<'_>) -> Option<Vec<u8>> {
    input.bytes().ok().filter(|key| key.len() <= MAX_POLICY_KEY).map(<[u8]>::to_vec)
}

fn decode_setup(plain: &[u8]) -> Option<(PakeParams, Secret)> {
    let mut input = minicbor::Decoder::new(plain);
    if input.array().ok()? != Some(5) {
        return None;
    }
    let salt = input.bytes().ok()?.try_into().ok()?;
    let (memory, passes, lanes) = (input.u32().ok()?, input.u32().ok()?, input.u32().ok()?);
    let params = PakeParams::new(salt, memory, passes, lanes).ok()?;
    let record = VerifierRecord::from_bytes(input.bytes().ok()?).ok()?;
    Some((params, record.to_secret().locked()))
}

/// Why a factory identity cannot be made or used.
#[derive(Debug, thiserror::Error)]
pub enum FactoryError {
    /// Already there: an identity is for life.
    #[error("{}: this device has an identity already; use another data folder", .0.display())]
    Provisioned(PathBuf),
    /// A package without a key, and a folder without one.
    #[error("{}: the factory package brings no key, and there is none here: install it where its request was made; one whose key is in a token is for firmware that uses that token", .0.display())]
    NoKey(PathBuf),
    /// A package holds what no factory writes.
    #[error("the factory package holds what no factory writes: have it made again")]
    Package,
    /// A file is not there.
    #[error("{path}: {1}: the factory has not provisioned this folder; use the folder that it wrote", path = .0.display())]
    Missing(PathBuf, std::io::Error),
    /// A file holds something else.
    #[error("{path}: {1}", path = .0.display())]
    Certificate(PathBuf, CertificateError),
    /// Certificate, key and serial do not belong together.
    #[error("{}: idevid.crt is not the IDevID certificate for the key in keys/: restore the folder that the factory wrote", .0.display())]
    Mismatch(PathBuf),
    /// A sealed file does not open.
    #[error("{}: was changed, or seal.key belongs to another folder: restore both from the same backup", .0.display())]
    Changed(PathBuf),
    /// The verifier is no verifier.
    #[error(transparent)]
    Pake(#[from] PakeError),
    /// The keystore refused.
    #[error(transparent)]
    Keystore(#[from] KeystoreError),
    /// Sealing refused.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// The request was not made.
    #[error(transparent)]
    Request(#[from] IssueError),
    /// Chain and key do not fit.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The file system refused.
    #[error("{0}")]
    Io(std::io::Error),
}

#[cfg(test)]
mod tests;
