//! Who is registered and what is revoked, in memory, kept current: the gateway asks it at every connection.
//!
//! ```text
//!  this process changes something ──wake──┐
//!                                         ├──► reload what is newer than the last generation ──► watch
//!  another process ──every 100 ms look────┘
//! ```

mod known;

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use countersign_crypto::certificate::Certificate;
use countersign_model::grant::Grant;
use countersign_model::id::OperatorName;
use countersign_model::time::Timestamp;
use tokio::sync::{Notify, watch};

pub(crate) use self::known::KeyHash;
use self::known::Known;
use crate::admin::Role;
use crate::error::AuthorityError;
use crate::registration::{Reason, State};
use crate::store::{Issuing, PageMark, Store, StoreError, SubjectStanding};
use crate::subject::Subject;

/// How often another process' changes are looked for. A tenth of the second in which a revocation takes effect.
pub const POLL: Duration = Duration::from_millis(100);

/// A live view. Cheap to clone; the work stops with the last clone.
#[derive(Clone)]
pub struct RegistryView {
    shared: Arc<Shared>,
    generation: watch::Receiver<u64>,
    /// Ends the worker when the last view is gone.
    worker: Arc<Alive>,
}

struct Shared {
    tables: RwLock<Tables>,
    wake: Notify,
    /// When the database was read last, changed or not.
    heard: RwLock<Instant>,
}

#[derive(Default)]
struct Tables {
    seen: u64,
    known: Known,
    revoked: HashMap<String, Revoked>,
    issuing: Arc<Issuing>,
    roles: HashMap<OperatorName, Role>,
}

/// What a gateway needs to know of a subject.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registered {
    /// Whether it may do anything.
    pub state: State,
    /// What a service may do.
    pub grants: Vec<Grant>,
}

/// One entry of the denylist.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Revoked {
    /// Since when.
    pub at: Timestamp,
    /// Why.
    pub reason: Reason,
}

struct Alive(tokio::task::AbortHandle);

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl RegistryView {
    /// Loads everything, then follows it.
    pub(crate) async fn open(store: Store) -> Result<Self, AuthorityError> {
        let shared = Arc::new(Shared {
            tables: RwLock::new(Tables::default()),
            wake: Notify::new(),
            heard: RwLock::new(Instant::now()),
        });
        let first = shared.refresh(&store, Readers::NotYet).await?;
        let (sender, generation) = watch::channel(first.unwrap_or_default());
        let worker = tokio::spawn(follow(shared.clone(), store, sender));
        Ok(Self { shared, generation, worker: Arc::new(Alive(worker.abort_handle())) })
    }

    /// A number that grows with every change of registration, grants or revocation.
    #[must_use]
    pub fn changed(&self) -> watch::Receiver<u64> {
        self.generation.clone()
    }

    /// What is known of a subject.
    #[must_use]
    pub fn subject(&self, subject: &Subject) -> Option<Registered> {
        self.read(|tables| tables.known.get(subject))
    }

    /// Whether a subject of any kind has that name.
    #[must_use]
    pub fn is_name(&self, name: &str) -> bool {
        self.read(|tables| tables.known.is_name(name))
    }

    /// Whose a public key is, by SHA-256 of its SubjectPublicKeyInfo in lower-case hexadecimal.
    #[must_use]
    pub fn key_owner(&self, spki_sha256: &str) -> Option<Subject> {
        let mut hash = KeyHash::default();
        hex::decode_to_slice(spki_sha256, &mut hash).ok()?;
        self.read(|tables| tables.known.owner(&hash))
    }

    /// The denylist's entry for a serial number (lower-case hexadecimal), if it has one.
    #[must_use]
    pub fn revoked(&self, serial_hex: &str) -> Option<Revoked> {
        self.read(|tables| tables.revoked.get(serial_hex).copied())
    }

    /// Whether a certificate of this authority is on the denylist.
    #[must_use]
    pub fn is_revoked(&self, certificate: &Certificate) -> bool {
        self.revoked(&certificate.serial_hex()).is_some()
    }

    /// The whole denylist, sorted by serial number.
    #[must_use]
    pub fn denylist(&self) -> Vec<(String, Revoked)> {
        let mut all: Vec<_> =
            self.read(|tables| tables.revoked.iter().map(|(k, v)| (k.clone(), *v)).collect());
        all.sort_by(|a, b| a.0.cmp(&b.0));
        all
    }

    /// What an operator may do at the admin interface; `None`: nothing.
    #[must_use]
    pub fn role(&self, operator: &OperatorName) -> Option<Role> {
        self.read(|tables| tables.roles.get(operator).copied())
    }

    /// How many subjects are registered.
    #[must_use]
    pub fn subject_count(&self) -> usize {
        self.read(|tables| tables.known.registered())
    }

    /// How long ago the database was read last: how old the list is at most.
    #[must_use]
    pub fn age(&self) -> Duration {
        self.shared.heard.read().unwrap_or_else(PoisonError::into_inner).elapsed()
    }

    /// The issuing CAs' generations.
    pub(crate) fn issuing(&self) -> Arc<Issuing> {
        self.read(|tables| tables.issuing.clone())
    }

    /// A number that grows when an issuing CA is prepared, activated or retired: whoever verifies by
    /// [`crate::Authority::gateway_anchors`] and its like asks for them anew.
    #[must_use]
    pub fn issuing_version(&self) -> u64 {
        self.issuing().version
    }

    /// Follows no longer; what is known stays.
    pub(crate) fn stop(&self) {
        self.worker.0.abort();
    }

    pub(crate) fn wake(&self) {
        self.shared.wake.notify_one();
    }

    fn read<T>(&self, use_: impl FnOnce(&Tables) -> T) -> T {
        use_(&self.shared.tables.read().unwrap_or_else(PoisonError::into_inner))
    }
}

async fn follow(shared: Arc<Shared>, store: Store, generation: watch::Sender<u64>) {
    loop {
        tokio::select! {
            () = shared.wake.notified() => {}
            () = tokio::time::sleep(POLL) => {}
        }
        match shared.refresh(&store, Readers::Any).await {
            Ok(Some(newer)) => {
                generation.send_replace(newer);
            }
            Ok(None) => {}
            // The last known list stays in force; the next look tries again.
            Err(error) => tracing::error!(%error, "registration and revocation could not be read"),
        }
    }
}

impl Shared {
    /// Loads what is newer than what was seen; the new generation, if there was anything.
    async fn refresh(&self, store: &Store, readers: Readers) -> Result<Option<u64>, StoreError> {
        let seen = self.tables.read().unwrap_or_else(PoisonError::into_inner).seen;
        // Taken before the look: what changes after it may be missing.
        let looked = Instant::now();
        let newest = store.generation().await?;
        if newest == seen {
            self.hear(looked);
            return Ok(None);
        }
        // What is committed after `newest` was read may be loaded too, and is then loaded again: harmless.
        // Whoever may do more is read first, and what takes away last: no moment shows the one without the other.
        let roles = store.roles_since(seen).await?;
        // While nobody reads, what comes goes to its place page by page, and is in memory once.
        let mut changes = Changes::default();
        let mut mark = PageMark::after(seen);
        while let Some(page) = store.subjects_page(&mut mark).await? {
            changes.subjects.extend(page);
            self.settle(readers, &mut changes);
        }
        let mut mark = PageMark::after(seen);
        while let Some(page) = store.keys_page(&mut mark).await? {
            changes.keys.extend(page);
            self.settle(readers, &mut changes);
        }
        let issuing = store.issuing().await?;
        let revocations = store.revocations_since(seen).await?;
        let mut tables = self.tables.write().unwrap_or_else(PoisonError::into_inner);
        for one in revocations {
            let entry = Revoked { at: one.at, reason: one.reason };
            if !one.serial.is_empty() {
                tables.revoked.insert(one.serial, entry);
            }
        }
        tables.roles.extend(roles);
        changes.settle(&mut tables.known);
        if issuing.version > tables.issuing.version {
            tables.issuing = Arc::new(issuing);
        }
        tables.seen = newest;
        drop(tables);
        self.hear(looked);
        Ok(Some(newest))
    }

    fn settle(&self, readers: Readers, changes: &mut Changes) {
        if readers == Readers::NotYet {
            let mut tables = self.tables.write().unwrap_or_else(PoisonError::into_inner);
            changes.settle(&mut tables.known);
        }
    }

    fn hear(&self, at: Instant) {
        *self.heard.write().unwrap_or_else(PoisonError::into_inner) = at;
    }
}

/// Whether somebody may look while it is read, to whom all of it must come at once.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Readers {
    NotYet,
    Any,
}

/// What was read and is not in its place yet.
#[derive(Default)]
struct Changes {
    subjects: Vec<SubjectStanding>,
    keys: Vec<(KeyHash, Subject)>,
}

impl Changes {
    fn settle(&mut self, known: &mut Known) {
        for (key, owner) in self.keys.drain(..) {
            known.put_key(key, &owner);
        }
        for one in self.subjects.drain(..) {
            known.put(&one.subject, one.state, one.grants);
        }
    }
}

#[cfg(test)]
mod tests;
