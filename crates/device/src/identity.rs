//! The operational identity: two slots, and the task that keeps them filled.
//!
//! ```text
//!  next: key ─► next: key + certificate ─► one handshake proves it ─► current ─► the old key is destroyed
//! ```
//! Each arrow is one durable change of the state, so a kill between two of them is carried on from there. A
//! certificate is renewed after two thirds of its life under itself; a refused or expired one is replaced by proof
//! of the IDevID.

use crate::backoff::Backoff;
use crate::clock::DeviceClock;
use crate::data::{Factory, Slot, Store, StoreError};
use crate::est::{Enrol, EstClient, EstError, renewal_due};
use countersign_crypto::certificate::CertificateChain;
use countersign_crypto::keystore::{Keystore, KeystoreError};
use countersign_crypto::policy::CompiledPolicy;
use countersign_crypto::random::SystemRandom;
use countersign_crypto::signature::KeyHandle;
use countersign_crypto::tls::{Clock, TlsError, TlsIdentity};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, watch};

/// Pauses between attempts to enrol.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest of them: an authority that is back is noticed within a minute.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// How often a certificate may fail its proof before it is thrown away and another one asked for.
const MAX_PROOFS: u32 = 3;
/// Longest sleep in one piece: clocks jump, so the date is looked at every hour.
const LONGEST_SLEEP: Duration = Duration::from_secs(3600);

/// The slots of one device.
pub struct Slots {
    /// The factory identity, for the first proof.
    pub factory: Arc<Factory>,
    /// Where the slots are recorded.
    pub store: Arc<Store>,
    /// Where their keys lie.
    pub keys: Keystore,
    /// The device's time.
    pub clock: Arc<DeviceClock>,
    /// Which keys are made.
    pub policy: Arc<CompiledPolicy>,
}

impl Slots {
    /// The identity in use, if there is one that has not expired.
    ///
    /// # Errors
    /// [`SlotError`] when its key is damaged.
    pub fn current(&self) -> Result<Option<TlsIdentity>, SlotError> {
        let Some(Slot { key, chain: Some(chain) }) = self.store.with(|r| r.current.clone()) else {
            return Ok(None);
        };
        if chain.leaf().validity().not_after < self.clock.now() {
            return Ok(None);
        }
        Ok(Some(TlsIdentity::new(chain, self.keys.require(&key)?)?))
    }

    /// Destroys the keys that no slot names: what a kill between two steps left behind.
    ///
    /// # Errors
    /// [`SlotError::Keystore`].
    pub fn sweep(&self) -> Result<(), SlotError> {
        let record = self.store.get();
        for label in self.keys.list()? {
            if !record.labels().contains(&label.as_str()) {
                self.keys.destroy(&label)?;
            }
        }
        Ok(())
    }

    /// Keeps the slots filled for ever. `identity` gets every identity that is activated; `refused` tells that the
    /// gateway refused the present one.
    pub async fn keep(
        &self,
        est: &EstClient,
        identity: &watch::Sender<Option<TlsIdentity>>,
        refused: &Notify,
    ) {
        let mut backoff = Backoff::new(FIRST_PAUSE, LONGEST_PAUSE);
        let mut kind = None;
        loop {
            if kind.is_none() {
                kind = self.wait(refused).await;
            }
            let Some(wanted) = kind else { continue };
            match self.replace(est, wanted).await {
                Ok(activated) => {
                    backoff.reset();
                    kind = None;
                    identity.send_replace(Some(activated));
                    if let Err(error) = self.sweep() {
                        tracing::warn!(%error, "an old key is still there");
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, ?wanted, "enrolment failed");
                    // The present certificate may be what is refused: the next proof is the IDevID's.
                    if matches!(error, SlotError::Est(EstError::Tls(_) | EstError::Status(401 | 403, _))) {
                        kind = Some(Enrol::First);
                    }
                    let pause = backoff.next(&mut SystemRandom).max(error.retry_after());
                    tokio::time::sleep(pause).await;
                }
            }
        }
    }

    /// Waits until something is to be done, and says what.
    async fn wait(&self, refused: &Notify) -> Option<Enrol> {
        let Ok(Some(current)) = self.current() else { return Some(Enrol::First) };
        let chain = current.chain();
        let due = renewal_due(chain).since(self.clock.now());
        tokio::select! {
            () = refused.notified() => Some(Enrol::First),
            () = tokio::time::sleep(due.min(LONGEST_SLEEP)) => {
                (self.clock.now() >= renewal_due(chain)).then_some(Enrol::Renewal)
            }
        }
    }

    async fn replace(&self, est: &EstClient, kind: Enrol) -> Result<TlsIdentity, SlotError> {
        // 1. A key in *next*: recorded first, so that no key is without an owner.
        let (slot, key) = self.prepared()?;
        // 2. Its certificate.
        let chain = match slot.chain {
            Some(chain) => chain,
            None => {
                let proof = match (kind, self.current()?) {
                    (Enrol::Renewal, Some(current)) => current,
                    _ => self.factory.identity().clone(),
                };
                let kind = if self.is_factory(&proof) { Enrol::First } else { Enrol::Renewal };
                let chain = est.enrol(kind, &proof, &key).await?;
                self.store.update(|record| {
                    record.next = Some(Slot { key: slot.key, chain: Some(chain.clone()) });
                })?;
                chain
            }
        };
        // 3. One handshake proves it.
        let identity = TlsIdentity::new(chain.clone(), key)?;
        self.prove(est, &identity).await?;
        // 4. It takes the place of the present one, in one step.
        self.activate(&chain)?;
        tracing::info!(until = %chain.leaf().validity().not_after.to_rfc3339(), "identity activated");
        Ok(identity)
    }

    fn is_factory(&self, identity: &TlsIdentity) -> bool {
        identity.chain() == self.factory.identity().chain()
    }

    fn prepared(&self) -> Result<(Slot, KeyHandle), SlotError> {
        let slot = self.store.update(|record| {
            record
                .next
                .get_or_insert_with(|| {
                    let key = format!("ldevid-{}", record.next_label);
                    record.next_label += 1;
                    Slot { key, chain: None }
                })
                .clone()
        })?;
        let key = match self.keys.load(&slot.key)? {
            Some(key) => key,
            None => self.keys.generate(&slot.key, self.policy.signing_algorithm())?,
        };
        Ok((slot, key))
    }

    async fn prove(&self, est: &EstClient, identity: &TlsIdentity) -> Result<(), SlotError> {
        let mut proofs = 0;
        loop {
            proofs += 1;
            match est.prove(identity).await {
                Ok(()) => return Ok(()),
                Err(error) if proofs < MAX_PROOFS => tracing::info!(%error, "proof of the new identity"),
                Err(error) => {
                    let discarded = self.store.update(|record| record.next.take())?;
                    if let Some(slot) = discarded {
                        self.keys.destroy(&slot.key)?;
                    }
                    return Err(error.into());
                }
            }
            tokio::time::sleep(FIRST_PAUSE).await;
        }
    }

    fn activate(&self, chain: &CertificateChain) -> Result<(), StoreError> {
        // The authority dated it: so late it is at least.
        self.clock.raise(chain.leaf().validity().not_before);
        self.store.update(|record| {
            record.current = record.next.take();
            record.time_floor = record.time_floor.max(self.clock.floor());
        })
    }
}

/// Why the identity could not be replaced. The present one stays.
#[derive(Debug, thiserror::Error)]
pub enum SlotError {
    /// The authority, or the way to it.
    #[error(transparent)]
    Est(#[from] EstError),
    /// The keystore.
    #[error(transparent)]
    Keystore(#[from] KeystoreError),
    /// The state.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Key and certificate do not fit.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

impl SlotError {
    /// When the authority asked to be left alone until.
    fn retry_after(&self) -> Duration {
        match self {
            Self::Est(EstError::Status(_, Some(after))) => (*after).min(LONGEST_PAUSE),
            _ => Duration::ZERO,
        }
    }
}
