//! The operational identity: two slots, and the task that carries out what `protocol::enrolment` decides.
//!
//! ```text
//!  Enrolment::next ─► MakeKey, Request, Prove, Swap, Connect ─► done? ─► slots and phase stored in one write
//!                                                                      ─► only then a retired key is destroyed
//! ```
//! A kill between two steps leaves a stored phase, which is carried on from, and at worst a key that nobody names,
//! which the next start sweeps away.
//!
//! The policy says when that is done early and with what: see `outlook`.

mod outlook;

use crate::clock::DeviceClock;
use crate::data::{Factory, Record, Slot, Store, StoreError};
use crate::est::{Enrol, EstClient, EstError, jitter_of};
use crate::refusal;
use countersign_crypto::certificate::CertificateChain;
use countersign_crypto::keystore::{Keystore, KeystoreError};
use countersign_crypto::policy::CompiledPolicy;
use countersign_crypto::random::{Random, SystemRandom};
use countersign_crypto::signature::KeyHandle;
use countersign_crypto::tls::{Clock, TlsError, TlsIdentity};
use countersign_model::time::Timestamp;
use countersign_protocol::enrolment::{Action, Enrolment, Event, Identity, Next, Retire};
use countersign_protocol::rotation::{Jitter, Outlook};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// Longest sleep in one piece: clocks jump, so the date is looked at every hour.
const LONGEST_SLEEP: Duration = Duration::from_secs(3600);
/// How long the gateway may take to accept a new identity before that counts as out of reach.
const ACCEPTANCE: Duration = Duration::from_secs(60);

/// What the gateway said to an identity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// The identity's certificate, by serial number.
    pub serial: String,
    /// Whether it carried a session, or was refused.
    pub accepted: bool,
}

/// The slots of one device.
pub struct Slots {
    /// The factory identity, which never expires.
    pub factory: Arc<Factory>,
    /// Where the slots are recorded.
    pub store: Arc<Store>,
    /// Where their keys lie.
    pub keys: Keystore,
    /// The device's time.
    pub clock: Arc<DeviceClock>,
    /// Which keys are made, and until when they may be used. The newest counts.
    pub policy: watch::Receiver<Arc<CompiledPolicy>>,
    /// Over how long renewals are spread where the policy ends an algorithm soon, or has ended it.
    pub spread: Duration,
}

/// What a step of enrolment brought, to be stored with its phase.
enum Brought {
    Nothing,
    Key(Slot),
    Certificate(CertificateChain),
    Swap,
}

impl Slots {
    /// The same with its keys elsewhere.
    #[must_use]
    pub fn with_keys(&self, keys: Keystore) -> Self {
        let Self { factory, store, clock, policy, spread, .. } = self;
        let (factory, store, clock) = (factory.clone(), store.clone(), clock.clone());
        Self { factory, store, keys, clock, policy: policy.clone(), spread: *spread }
    }

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

    /// Keeps the slots filled for ever. `identity` gets every identity that comes into use; `verdicts` tells what the
    /// gateway says to it.
    pub async fn keep(
        &self,
        est: &EstClient,
        identity: &watch::Sender<Option<TlsIdentity>>,
        mut verdicts: watch::Receiver<Option<Verdict>>,
    ) {
        let record = self.store.get();
        let mut enrolment =
            Enrolment::new(record.enrolment, validity(&record), self.renewal_jitter());
        let mut outlook = self.outlook();
        let mut policies = self.policy.clone();
        loop {
            let (lasts, successor) = self.lasts();
            outlook.policy_is(lasts, successor, self.clock.now());
            enrolment.retires_at(outlook.renewal_at(self.spread, self.renewal_jitter()));
            let (event, brought) = match enrolment.next(self.clock.now()) {
                Next::Wait(until) => match self.wait(until, &mut verdicts, &mut policies).await {
                    Some(event) => (event, Brought::Nothing),
                    None => continue,
                },
                Next::Do(action) => match self.carry_out(action, est, &mut verdicts).await {
                    Ok(done) => done,
                    Err(error) => {
                        tracing::warn!(%error, ?action, "enrolment");
                        (event_of(action, &error), Brought::Nothing)
                    }
                },
            };
            let stored = self.settle(&mut enrolment, &mut outlook, event, brought, identity);
            if let Err(error) = stored {
                // Nothing was stored, so nothing happened: the same step comes again, later.
                tracing::error!(%error, "enrolment could not be stored");
                let _ = enrolment.report(Event::Unreachable, self.clock.now(), jitter());
            }
        }
    }

    /// Waits for the gateway's word, another policy, or the time of the next step.
    async fn wait(
        &self,
        until: Timestamp,
        verdicts: &mut watch::Receiver<Option<Verdict>>,
        policies: &mut watch::Receiver<Arc<CompiledPolicy>>,
    ) -> Option<Event> {
        let pause = until.since(self.clock.now()).min(LONGEST_SLEEP);
        tokio::select! {
            event = self.verdict(verdicts) => Some(event),
            Ok(()) = policies.changed() => None,
            () = tokio::time::sleep(pause) => None,
        }
    }

    /// The gateway's next word on the identity that is in use now.
    async fn verdict(&self, verdicts: &mut watch::Receiver<Option<Verdict>>) -> Event {
        loop {
            if verdicts.changed().await.is_err() {
                return std::future::pending().await;
            }
            let verdict = verdicts.borrow_and_update().clone();
            let present = self.store.with(serial);
            match verdict.filter(|verdict| Some(&verdict.serial) == present.as_ref()) {
                Some(Verdict { accepted: true, .. }) => return Event::Acknowledged,
                Some(Verdict { accepted: false, .. }) => return Event::CurrentRefused,
                None => {}
            }
        }
    }

    async fn carry_out(
        &self,
        action: Action,
        est: &EstClient,
        verdicts: &mut watch::Receiver<Option<Verdict>>,
    ) -> Result<(Event, Brought), SlotError> {
        match action {
            Action::MakeKey => {
                let algorithm = self.next_algorithm(est).await?;
                let label = format!("ldevid-{}", self.store.with(|record| record.next_label));
                match self.keys.load(&label)? {
                    Some(left) if left.algorithm() == algorithm => {}
                    left => {
                        if left.is_some() {
                            self.keys.destroy(&label)?;
                        }
                        self.keys.generate(&label, algorithm)?;
                    }
                }
                Ok((Event::KeyMade, Brought::Key(Slot { key: label, chain: None })))
            }
            Action::Request { with } => {
                let (_, key) = self.next()?;
                let (kind, proof) = match (with, self.current()?) {
                    (Identity::Current, Some(current)) => (Enrol::Renewal, current),
                    _ => (Enrol::First, self.factory.identity().clone()),
                };
                match est.enrol(kind, &proof, &key).await.map_err(SlotError::from) {
                    Ok(chain) => Ok((Event::CertificateStored, Brought::Certificate(chain))),
                    // It may be the key that is refused, when a policy came between its making and now.
                    Err(error) if is_refusal(&error) => match self.next_algorithm(est).await {
                        Ok(wanted) if wanted != key.algorithm() => {
                            Ok((Event::KeyOutdated, Brought::Nothing))
                        }
                        _ => Err(error),
                    },
                    Err(error) => Err(error),
                }
            }
            Action::Prove => {
                let (slot, key) = self.next()?;
                let chain = slot.chain.ok_or(SlotError::Empty)?;
                est.prove(&TlsIdentity::new(chain, key)?).await?;
                Ok((Event::ProofSucceeded, Brought::Nothing))
            }
            Action::Swap => Ok((Event::SlotsSwapped, Brought::Swap)),
            Action::Connect => {
                let word = tokio::time::timeout(ACCEPTANCE, self.verdict(verdicts)).await;
                Ok((word.unwrap_or(Event::Unreachable), Brought::Nothing))
            }
        }
    }

    fn next(&self) -> Result<(Slot, KeyHandle), SlotError> {
        let slot = self.store.with(|record| record.next.clone()).ok_or(SlotError::Empty)?;
        let key = self.keys.require(&slot.key)?;
        Ok((slot, key))
    }

    //= specs/house.md#house-rotation
    //# A crash at any point of a rotation MUST leave at least one identity that works.
    /// Stores what a step brought together with its phase, then destroys what is retired.
    fn settle(
        &self,
        enrolment: &mut Enrolment,
        outlook: &mut Outlook,
        event: Event,
        brought: Brought,
        identity: &watch::Sender<Option<TlsIdentity>>,
    ) -> Result<(), SlotError> {
        let mut stepped = enrolment.clone();
        let retire = match stepped.report(event, self.clock.now(), jitter()) {
            Ok(retire) => retire,
            Err(ignored) => {
                tracing::debug!(%ignored, "enrolment");
                return Ok(());
            }
        };
        let phase = stepped.phase();
        let before = self.store.with(serial);
        // 1. Slots and phase, in one write; none where nothing changed.
        let retired = if phase == enrolment.phase() && retire == Retire::Nothing {
            None
        } else {
            let floor = self.clock.floor();
            self.store.update(|record| {
                record.enrolment = phase;
                record.time_floor = record.time_floor.max(floor);
                change(record, brought, retire)
            })?
        };
        // 2. What is in use now.
        if self.store.with(serial) != before {
            stepped.current_is(validity(&self.store.get()), self.renewal_jitter());
            let (lasts, successor) = self.lasts();
            outlook.identity_is(lasts, successor, self.clock.now());
            let current = self.current()?;
            if let Some(current) = &current {
                // The authority dated it: so late it is at least.
                self.clock.raise(current.chain().leaf().validity().not_before);
            }
            tracing::info!(identity = ?self.store.with(serial), "operational identity in use");
            identity.send_replace(current);
        }
        *enrolment = stepped;
        // 3. What nobody needs any more.
        if let Some(slot) = retired {
            self.keys.destroy(&slot.key)?;
        }
        Ok(())
    }

    fn renewal_jitter(&self) -> Jitter {
        self.store.with(|record| {
            let chain = record.current.as_ref().and_then(|slot| slot.chain.as_ref());
            chain.map_or(Jitter(0), jitter_of)
        })
    }
}

/// Applies one step to the record; gives the slot whose key is to be destroyed.
fn change(record: &mut Record, brought: Brought, retire: Retire) -> Option<Slot> {
    match brought {
        Brought::Nothing => {}
        Brought::Key(slot) => {
            record.next = Some(slot);
            record.next_label += 1;
        }
        Brought::Certificate(chain) => {
            if let Some(slot) = &mut record.next {
                slot.chain = Some(chain);
            }
        }
        Brought::Swap => std::mem::swap(&mut record.current, &mut record.next),
    }
    match retire {
        Retire::Nothing => None,
        Retire::Next => record.next.take(),
        Retire::NewOne => {
            std::mem::swap(&mut record.current, &mut record.next);
            record.next.take()
        }
    }
}

/// Whether a step failed because somebody who was himself in order said no.
fn is_refusal(error: &SlotError) -> bool {
    match error {
        SlotError::Est(EstError::Status(status, _)) => {
            (400..500).contains(status) && !matches!(status, 408 | 429)
        }
        SlotError::Est(error) => refusal::of_certificate(error).is_some(),
        _ => false,
    }
}

/// What a failed step means to the table.
fn event_of(action: Action, error: &SlotError) -> Event {
    match action {
        Action::Request { .. } if is_refusal(error) => Event::RequestRefused,
        Action::Prove if is_refusal(error) => Event::ProofRefused,
        _ => Event::Unreachable,
    }
}

fn validity(record: &Record) -> Option<countersign_model::time::Validity> {
    Some(record.current.as_ref()?.chain.as_ref()?.leaf().validity())
}

/// Serial number of the certificate in *current*.
pub(crate) fn serial(record: &Record) -> Option<String> {
    Some(record.current.as_ref()?.chain.as_ref()?.leaf().serial_hex())
}

fn jitter() -> Jitter {
    let random: &mut dyn Random = &mut SystemRandom;
    Jitter(u16::from_le_bytes(random.array()))
}

/// Why a step of enrolment failed. The present identity stays.
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
    /// The policy allows nothing that a key could be made with.
    #[error(
        "the policy allows no signature algorithm that counts at the gateway, at enrolment and in the home: it needs a successor that does"
    )]
    NoAlgorithm,
    /// The state says that a slot is filled, and it is not.
    #[error("the slot for the next identity is empty")]
    Empty,
}
