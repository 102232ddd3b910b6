//! The authority as one value: its folder, keys, database and ledger, and what can be asked of it.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use countersign_crypto::file;
use countersign_crypto::issue::Serial;
use countersign_crypto::keystore::{Keystore, KeystoreError, Token};
use countersign_crypto::random::Random;
use countersign_crypto::seal::SealKey;
use countersign_crypto::signature::{KeyHandle, SignatureAlgorithm};
use countersign_crypto::tls::Clock;
use countersign_model::time::Timestamp;
use serde_json::Value;

use crate::authorities::{Authorities, LEDGER_KEY};
use crate::config::AuthorityConfig;
use crate::error::AuthorityError;
use crate::in_force::InForce;
use crate::issuance::Queue;
use crate::ledger::{Entry, Kind, Ledger, LedgerSigner, LedgerSummary, TornTail};
use crate::registry::RegistryView;
use crate::store::{Issuing, Place, Store, SubjectRecord};

/// Where time and randomness come from.
pub struct Sources {
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// The generator of serial numbers and setup codes.
    pub random: Box<dyn Random>,
}

impl Sources {
    /// The machine's own.
    #[must_use]
    pub fn system() -> Self {
        Self {
            clock: Arc::new(countersign_crypto::tls::SystemClock),
            random: Box::new(countersign_crypto::random::SystemRandom),
        }
    }
}

/// Files and folders of a data folder, as the rest of the platform expects them.
#[derive(Debug, Clone)]
pub struct Layout {
    folder: PathBuf,
}

impl Layout {
    /// Of that data folder.
    #[must_use]
    pub fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned() }
    }
    /// The manufacturer's root, PEM.
    #[must_use]
    pub fn roots(&self) -> PathBuf {
        self.folder.join("roots.pem")
    }
    /// The key that seals all keys.
    #[must_use]
    pub fn seal_key(&self) -> PathBuf {
        self.folder.join("seal.key")
    }
    /// The authority's own folder.
    #[must_use]
    pub fn authority(&self) -> PathBuf {
        self.folder.join("authority")
    }
    /// The ledger.
    #[must_use]
    pub fn ledger(&self) -> PathBuf {
        self.authority().join("ledger.log")
    }
    /// The database.
    #[must_use]
    pub fn database(&self) -> PathBuf {
        self.authority().join("authority.db")
    }
    /// The sealed keys.
    #[must_use]
    pub fn keys(&self) -> PathBuf {
        self.authority().join("keys")
    }
    /// The operators' own credentials.
    #[must_use]
    pub fn operators(&self) -> PathBuf {
        self.folder.join("operators")
    }
    /// The signed policy in force.
    #[must_use]
    pub fn policy(&self) -> PathBuf {
        self.folder.join("policy").join("current.cose")
    }
}

/// What every part of the authority works with.
pub(crate) struct Core {
    pub(crate) layout: Layout,
    pub(crate) config: AuthorityConfig,
    pub(crate) clock: Arc<dyn Clock>,
    random: Mutex<Box<dyn Random>>,
    pub(crate) keys: Keystore,
    pub(crate) seal: SealKey,
    pub(crate) store: Store,
    pub(crate) queue: Queue,
    pub(crate) ledger: Arc<Ledger>,
    authorities: RwLock<Option<Arc<Authorities>>>,
    pub(crate) in_force: InForce,
    pub(crate) registry: RegistryView,
    pub(crate) lists: crate::status::Cache,
    /// Orders to revoke that failed since this process began.
    pub(crate) stuck: Mutex<HashSet<u64>>,
}

impl Core {
    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub(crate) fn serial(&self) -> Serial {
        self.with_random(|random| Serial::random(random))
    }

    pub(crate) fn with_random<T>(&self, use_: impl FnOnce(&mut dyn Random) -> T) -> T {
        use_(self.random.lock().unwrap_or_else(PoisonError::into_inner).as_mut())
    }

    /// Root and issuing CAs; an error that names the mend before the ceremony.
    pub(crate) fn authorities(&self) -> Result<Arc<Authorities>, AuthorityError> {
        let recorded = self.registry.issuing();
        if self.known_authorities().is_none() && !crate::ceremony::is_finished(&self.layout) {
            return Err(AuthorityError::NoCeremony(self.layout.authority()));
        }
        self.authorities_as(&recorded)
    }

    /// The same, not older than `recorded`: what a writer's turn saw.
    pub(crate) fn authorities_as(
        &self,
        recorded: &Issuing,
    ) -> Result<Arc<Authorities>, AuthorityError> {
        match self.known_authorities() {
            Some(known) if known.version() >= recorded.version => Ok(known),
            _ => self.load_authorities(recorded),
        }
    }

    /// Reads them from their files; also while the ceremony is still going on.
    pub(crate) fn load_authorities(
        &self,
        recorded: &Issuing,
    ) -> Result<Arc<Authorities>, AuthorityError> {
        let folder = self.layout.authority();
        let loaded = Arc::new(Authorities::load(&folder, &self.keys, recorded)?);
        let mut known = self.authorities.write().unwrap_or_else(PoisonError::into_inner);
        // Another task may have seen more in the meantime.
        if known.as_ref().is_none_or(|known| known.version() <= recorded.version) {
            *known = Some(loaded.clone());
        }
        Ok(loaded)
    }

    fn known_authorities(&self) -> Option<Arc<Authorities>> {
        self.authorities.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Appends to the ledger, off the async threads: it waits for the disk.
    pub(crate) async fn record(&self, kind: Kind, body: Value) -> Result<Entry, AuthorityError> {
        let (ledger, now) = (self.ledger.clone(), self.now());
        let appended = tokio::task::spawn_blocking(move || ledger.append(kind, body, now)).await;
        Ok(appended.map_err(|_| AuthorityError::Worker)??)
    }

    /// Appends several entries in their order, and waits for the disk once for all of them.
    pub(crate) async fn record_all(
        &self,
        wishes: Vec<(Kind, Value)>,
    ) -> Result<Vec<Entry>, AuthorityError> {
        let (ledger, now) = (self.ledger.clone(), self.now());
        let appended = tokio::task::spawn_blocking(move || ledger.append_all(wishes, now)).await;
        Ok(appended.map_err(|_| AuthorityError::Worker)??)
    }

    /// Tells this process at once that the database changed.
    pub(crate) fn notify(&self) {
        self.registry.wake();
    }
}

/// The manufacturer's key management. Cheap to clone; one per data folder and process.
#[derive(Clone)]
pub struct Authority {
    pub(crate) core: Arc<Core>,
}

impl Authority {
    /// Opens, or begins, the authority of a data folder. Before its ceremony it issues nothing.
    ///
    /// A torn tail of the ledger, as a kill leaves it, is set aside and told of in the log.
    ///
    /// # Errors
    /// [`AuthorityError`] names the file and the mend.
    pub async fn open(
        data: &Path,
        config: AuthorityConfig,
        mut sources: Sources,
    ) -> Result<Self, AuthorityError> {
        let layout = Layout::new(data);
        file::private_folder(&layout.authority())
            .map_err(AuthorityError::io(layout.authority()))?;
        let seal = seal_key(&layout, sources.random.as_mut())?;
        let keys = match config.token() {
            Some(token) => Keystore::in_token(Token::open(token).map_err(KeystoreError::from)?),
            None => Keystore::open(&layout.keys(), seal.clone())?,
        };
        let store = Store::open(Place::of(&layout.database(), config.database())).await?;
        // No token signs notes: beside one, the ledger's key is a sealed file.
        let of_ledger = match config.token() {
            Some(_) => Keystore::open(&layout.authority().join("ledger-key"), seal.clone())?,
            None => keys.clone(),
        };
        let signer = LedgerSigner::new(of_ledger.note_key(LEDGER_KEY, sources.random.as_mut())?);
        let (ledger, torn) = Ledger::open(&layout.ledger(), signer, sources.clock.now())?;
        // A database that lost everything, or another authority's, must not be worked on as if it were this one's.
        let held = crate::ceremony::is_finished(&layout);
        store.belongs_to(&ledger.verifier().to_string(), held).await?;
        if let Some(TornTail { file, bytes }) = torn {
            tracing::warn!(set_aside = %file.display(), bytes, "a torn ledger tail was set aside");
        }
        let registry = RegistryView::open(store.clone()).await?;
        let core = Core {
            layout,
            config,
            clock: sources.clock,
            random: Mutex::new(sources.random),
            keys,
            seal,
            store,
            queue: Queue::default(),
            ledger: Arc::new(ledger),
            authorities: RwLock::new(None),
            in_force: InForce::default(),
            registry,
            lists: crate::status::Cache::default(),
            stuck: Mutex::default(),
        };
        let authority = Self { core: Arc::new(core) };
        // An order to revoke that a kill left; one that somebody works on is left to them.
        authority.carry_on_orders(crate::revocation::many::ABANDONED).await?;
        Ok(authority)
    }

    /// Ends the work on ledger and database, so that its file is whole by itself, without the journal beside it. Nothing is
    /// lost without this: the next start reads the journal.
    pub async fn close(&self) {
        if let Err(error) = self.ledger_checkpoint().await {
            tracing::error!(%error, "the ledger's last checkpoint was not written");
        }
        self.core.registry.stop();
        self.core.store.close().await;
    }

    /// Where its files are.
    #[must_use]
    pub fn layout(&self) -> &Layout {
        &self.core.layout
    }

    /// Root and issuing CAs.
    ///
    /// # Errors
    /// [`AuthorityError::NoCeremony`] before the ceremony.
    pub fn authorities(&self) -> Result<Arc<Authorities>, AuthorityError> {
        self.core.authorities()
    }

    /// Who is registered and what is revoked, in memory and kept current: for gateways.
    #[must_use]
    pub fn registry(&self) -> RegistryView {
        self.core.registry.clone()
    }

    /// Every subject, in the order of their last change.
    ///
    /// # Errors
    /// [`AuthorityError::Store`].
    pub async fn subjects(&self) -> Result<Vec<SubjectRecord>, AuthorityError> {
        Ok(self.core.store.subjects_since(0).await?)
    }

    /// Verifies the whole ledger.
    ///
    /// # Errors
    /// [`AuthorityError::Ledger`] names the first bad line.
    pub async fn verify_ledger(&self) -> Result<LedgerSummary, AuthorityError> {
        let ledger = self.core.ledger.clone();
        let verified = tokio::task::spawn_blocking(move || ledger.verify()).await;
        Ok(verified.map_err(|_| AuthorityError::Worker)??)
    }

    /// How many entries the ledger has and its running hash, without reading all of it again.
    ///
    /// # Errors
    /// [`AuthorityError::Ledger`].
    pub async fn ledger_summary(&self) -> Result<LedgerSummary, AuthorityError> {
        let (ledger, now) = (self.core.ledger.clone(), self.core.now());
        let summary = tokio::task::spawn_blocking(move || ledger.summary(now)).await;
        Ok(summary.map_err(|_| AuthorityError::Worker)??)
    }

    /// Every entry of the ledger, verified.
    ///
    /// # Errors
    /// As [`Authority::verify_ledger`].
    pub async fn ledger_entries(&self) -> Result<Vec<Entry>, AuthorityError> {
        let ledger = self.core.ledger.clone();
        let entries = tokio::task::spawn_blocking(move || ledger.entries()).await;
        Ok(entries.map_err(|_| AuthorityError::Worker)??)
    }

    /// The key that signs policies now, SubjectPublicKeyInfo DER: what devices are given in the factory.
    ///
    /// # Errors
    /// [`AuthorityError::NoCeremony`] before the ceremony.
    pub fn policy_verification_key(&self) -> Result<Vec<u8>, AuthorityError> {
        Ok(self.core.authorities()?.policy().spki_der().to_vec())
    }

    /// Whose devices this authority's policies are for: the organisation of the ceremony.
    ///
    /// # Errors
    /// [`AuthorityError::NoCeremony`] before the ceremony.
    pub fn maker(&self) -> Result<String, AuthorityError> {
        Ok(self.core.authorities()?.root().subject_organisation().unwrap_or_default())
    }

    /// A key in the keystore, made if it is not there.
    pub(crate) fn key(
        &self,
        label: &str,
        algorithm: SignatureAlgorithm,
    ) -> Result<KeyHandle, AuthorityError> {
        match self.core.keys.load(label)? {
            Some(key) => Ok(key),
            None => Ok(self.core.keys.generate(label, algorithm)?),
        }
    }
}

/// The sealing key; a new one only where nothing is sealed yet. A new one beside old keys would hide that the right one
/// is missing, and be in the way of whoever brings it back.
fn seal_key(layout: &Layout, random: &mut dyn Random) -> Result<SealKey, AuthorityError> {
    let path = layout.seal_key();
    let sealed = std::fs::read_dir(layout.keys()).is_ok_and(|mut keys| keys.next().is_some());
    if sealed && !path.exists() {
        let detail = "it is missing, and without it the keys in authority/keys cannot be opened";
        return Err(AuthorityError::Damaged { path, detail: detail.to_owned() });
    }
    Ok(SealKey::load_or_create(&path, random)?)
}

#[cfg(test)]
mod tests;
