//! The maker's roots that this device trusts: the factory's, and those that the maker's own statements led to, until one of these withdraws
//! the ones before it.
//!
//! ```text
//!  uplink: things/ID/anchors ─► offer ─► follow, store ─► roots(): the next connection, enrolment, trial
//!                                          │
//!          things/ID/anchors/state ◄───────┘ the newest root's SHA-256, the place of the first; or why a chain was not followed
//! ```
//! Decisions are `protocol::anchors`'. What was learned lies in the sealed state and outlives a reset: it is the maker's and not
//! the home's. A kill leaves what was trusted before or after, and both verify the maker's servers.

use crate::data::{Record, Store, StoreError};
use countersign_crypto::certificate::Certificate;
use countersign_model::topic::AnchorReport;
use countersign_protocol::anchors::{TrustedRoots, name};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::watch;

/// The roots of one device, for its life.
pub struct Anchors {
    store: Arc<Store>,
    factory: Vec<Certificate>,
    /// Why the last chain was not followed; held while one is looked at, so that they come one after the other.
    refused: Mutex<Option<String>>,
    /// Changes with every chain that came.
    news: watch::Sender<u64>,
}

impl Anchors {
    /// Of a device with these roots from its factory.
    #[must_use]
    pub fn open(store: Arc<Store>, factory: Vec<Certificate>) -> Arc<Self> {
        let (refused, news) = (Mutex::new(None), watch::channel(0).0);
        Arc::new(Self { store, factory, refused, news })
    }

    /// Whose certificates are believed about the maker's servers.
    #[must_use]
    pub fn roots(&self) -> Vec<Certificate> {
        self.trusted().all()
    }

    /// Statements have come, perhaps with a withdrawal. What became of it is in the report; when this returns, it is stored.
    ///
    /// # Errors
    /// [`StoreError`]: nothing changed, and it must come again.
    //= specs/house.md#house-anchors
    //# A device MUST acknowledge a root only when it is stored.
    //= specs/house.md#house-anchors
    //# A device MUST say that it let go of roots only when that is stored.
    pub fn offer(&self, chain: &[u8]) -> Result<(), StoreError> {
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        let mut trusted = self.trusted();
        *refused = match trusted.take(chain) {
            Ok(taken) if !taken.is_news() => None,
            Ok(taken) => {
                // Both in one write: a kill leaves all that was before, or all that is now.
                self.store.update(|record| {
                    (record.roots, record.root_floor) =
                        (trusted.learned().to_vec(), trusted.floor());
                })?;
                let root = trusted.newest().map(name);
                if taken.followed > 0 {
                    let taken = taken.followed;
                    tracing::warn!(target: "countersign::audit", taken, root, "the maker's newest root is trusted");
                }
                if let Some(floor) = taken.floor {
                    let left = trusted.all().len();
                    tracing::warn!(target: "countersign::audit", floor, left, root, "the maker's older roots are trusted no more");
                }
                None
            }
            Err(error) => {
                let why = error.to_string();
                tracing::warn!(target: "countersign::audit", why, "a chain of roots was not followed");
                Some(why)
            }
        };
        drop(refused);
        self.news.send_modify(|count| *count += 1);
        Ok(())
    }

    /// What the device says of its roots.
    #[must_use]
    pub fn report(&self) -> AnchorReport {
        let refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let trusted = self.trusted();
        let root = trusted.newest().map(name).unwrap_or_default();
        AnchorReport { root, floor: Some(trusted.floor()), refused }
    }

    /// Changes whenever a report is due.
    #[must_use]
    pub fn news(&self) -> watch::Receiver<u64> {
        self.news.subscribe()
    }

    fn trusted(&self) -> TrustedRoots {
        let stored = |record: &Record| (record.roots.clone(), record.root_floor);
        let (learned, floor) = self.store.with(stored);
        TrustedRoots::new(self.factory.clone(), learned, floor)
    }
}
