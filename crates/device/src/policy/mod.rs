//! The device's crypto policies: which is in force, which waits for its trial, and what was refused.
//!
//! ```text
//!  uplink: things/ID/policy ─► offer ─► slots, stored ─► trial: a handshake with the gateway under it ─► in force
//!                                                                                        │
//!                        pairing, local API, uplink, enrolment ◄── watch ◄───────────────┘
//! ```
//! Decisions are `protocol::policy`'s. Slots and documents lie in the sealed state, replaced with it as a whole, so that no
//! instant leaves one without the other and no older file can be put in their place.

mod trial;

use crate::clock::DeviceClock;
use crate::data::{Factory, PolicyRecord, Store, StoreError};
use countersign_crypto::policy::{CompiledPolicy, PolicyDigest};
use countersign_crypto::random::{Random, SystemRandom};
use countersign_model::time::{Day, Timestamp};
use countersign_model::topic::{PolicyPhase, PolicyReport, RefusedPolicy};
use countersign_protocol::policy::{
    Change, Event, Next, Origin, Phase, PolicyFloor, PolicySlots, PolicyTrust, PreparedPolicy,
    Recorded, ResumeError, Side, Source, Word,
};
use countersign_protocol::rotation::Jitter;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
pub(crate) use trial::Trial;

/// What a device without a policy key answers to every policy.
const NO_KEY: &str = "the factory gave this device no policy key: it keeps the policy of its build";

/// The policies of one device, for its life.
pub struct Policies {
    store: Arc<Store>,
    clock: Arc<DeviceClock>,
    trust: Option<PolicyTrust>,
    inside: Mutex<Inside>,
    in_force: watch::Sender<Arc<PreparedPolicy>>,
    compiled: watch::Sender<Arc<CompiledPolicy>>,
    /// Changes with everything that a report would say otherwise, and with every candidate.
    news: watch::Sender<u64>,
}

struct Inside {
    slots: PolicySlots,
    documents: BTreeMap<PolicyDigest, Vec<u8>>,
    day: Day,
    /// Refused before the slots could see it.
    keyless: Option<RefusedPolicy>,
}

impl Policies {
    /// Goes on where the state ended; a new device begins with the policy of its build.
    ///
    /// # Errors
    /// [`PolicyError`] when the policy in force is lost.
    pub fn open(
        store: Arc<Store>,
        factory: &Factory,
        clock: Arc<DeviceClock>,
    ) -> Result<Arc<Self>, PolicyError> {
        let day = Day::of(clock.certain());
        let trust = factory.policy_trust();
        let built_in = PreparedPolicy::built_in(day);
        let mut documents = BTreeMap::new();
        let slots = match store.with(|record| record.policy.clone()) {
            None => PolicySlots::new(Side::Device, built_in),
            Some(PolicyRecord { slots, documents: kept }) => {
                let mut found = BTreeMap::new();
                for document in kept {
                    let trust = trust.as_ref().ok_or(PolicyError::NoKey)?;
                    if let Ok(policy) = PreparedPolicy::restore(&document, trust, day) {
                        documents.insert(policy.digest(), document);
                        found.insert(policy.digest(), policy);
                    }
                }
                let find = |wanted: &countersign_protocol::policy::StoredPolicy| {
                    found.get(&wanted.digest).cloned()
                };
                PolicySlots::resume(Side::Device, slots, find, built_in, clock.certain())?
            }
        };
        let active = slots.active().clone();
        let compiled = watch::channel(Arc::new(active.compiled().clone())).0;
        let (in_force, news) = (watch::channel(active).0, watch::channel(0).0);
        let inside = Mutex::new(Inside { slots, documents, day, keyless: None });
        Ok(Arc::new(Self { store, clock, trust, inside, in_force, compiled, news }))
    }

    /// The policy in force, compiled.
    #[must_use]
    pub fn current(&self) -> Arc<PreparedPolicy> {
        self.in_force.borrow().clone()
    }

    /// The same, and every one that comes.
    #[must_use]
    pub fn follow(&self) -> watch::Receiver<Arc<PreparedPolicy>> {
        self.in_force.subscribe()
    }

    /// The same, for whoever needs only what TLS and keys are made by.
    #[must_use]
    pub fn compiled(&self) -> watch::Receiver<Arc<CompiledPolicy>> {
        self.compiled.subscribe()
    }

    /// Changes whenever a report would say something else.
    #[must_use]
    pub fn news(&self) -> watch::Receiver<u64> {
        self.news.subscribe()
    }

    /// A signed policy has come from `gateway`, on an authenticated channel. What becomes of it is in the report; when this
    /// returns, it is stored.
    ///
    /// # Errors
    /// [`StoreError`]: nothing changed, and it must come again.
    //= specs/en-303-645.md#5.5-3
    //# Cryptographic algorithms and primitives SHOULD be replaceable on a device that is in use.
    //= specs/en-303-645.md#5.5-3
    //# A change of algorithms is a security-relevant change and MUST be authenticated like one.
    pub fn offer(&self, document: &[u8], gateway: &str) -> Result<(), StoreError> {
        let now = self.clock.certain();
        let Some(trust) = &self.trust else {
            tracing::warn!(target: "countersign::audit", NO_KEY);
            let refused = RefusedPolicy { version: None, reason: NO_KEY.to_owned() };
            self.lock().keyless = Some(refused);
            self.ring();
            return Ok(());
        };
        let prepared = PreparedPolicy::prepare(document, trust, Day::of(now));
        let digest = prepared.as_ref().ok().map(PreparedPolicy::digest);
        let mut inside = self.lock();
        let mut slots = inside.slots.clone();
        let floor = PolicyFloor::of_build();
        let judged = slots.offer(prepared, &floor, Source::Peer(gateway), now, Duration::ZERO);
        if let (Ok(()), Some(digest)) = (&judged, digest) {
            inside.documents.insert(digest, document.to_vec());
        }
        self.keep(&mut inside, slots)?;
        match judged {
            Ok(()) => tracing::info!(target: "countersign::audit", "a policy came, to be tried"),
            Err(refusal) => {
                let word = refusal.word().as_str();
                tracing::warn!(target: "countersign::audit", %refusal, word, "policy refused");
            }
        }
        drop(inside);
        self.ring();
        Ok(())
    }

    /// The gateway has acknowledged a session under this policy.
    pub fn carried(&self, digest: PolicyDigest) {
        self.report(Event::Carried(digest));
    }

    /// There was no session to be had under the policy in force.
    pub fn session_failed(&self) {
        self.report(Event::SessionFailed);
    }

    /// Whether a policy waits for its trial or has not carried a session yet: then a failed session counts.
    #[must_use]
    pub fn unsettled(&self) -> bool {
        let inside = self.lock();
        inside.slots.phase() != Phase::Steady || inside.slots.previous().is_some()
    }

    pub(crate) fn next(&self) -> Next {
        self.lock().slots.next(self.clock.certain())
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.certain()
    }

    /// Takes what happened; stored before anything is done about it.
    pub(crate) fn report(&self, event: Event) {
        let random: &mut dyn Random = &mut SystemRandom;
        let jitter = Jitter(u16::from_le_bytes(random.array()));
        let mut inside = self.lock();
        let mut slots = inside.slots.clone();
        let change = match slots.report(event, self.clock.certain(), jitter) {
            Ok(change) => change,
            Err(ignored) => return tracing::debug!(%ignored, "policy"),
        };
        if slots.stored() == inside.slots.stored() {
            return;
        }
        if let Err(error) = self.keep(&mut inside, slots) {
            return tracing::error!(%error, "a change of policy could not be stored");
        }
        let active = inside.slots.active().clone();
        drop(inside);
        match change {
            Change::Nothing => {}
            Change::Proven => tracing::info!(version = active.version(), "policy proven"),
            Change::Activated | Change::Returned => {
                let returned = change == Change::Returned;
                tracing::warn!(
                    target: "countersign::audit", version = active.version(), returned,
                    "another crypto policy is in force"
                );
                self.put_in_force(active);
            }
        }
        self.ring();
    }

    fn put_in_force(&self, active: Arc<PreparedPolicy>) {
        self.compiled.send_replace(Arc::new(active.compiled().clone()));
        self.in_force.send_replace(active);
    }

    /// Lets what ended with a day end: items past their `until`. Whoever makes TLS from the policy hears of it.
    pub fn on_day(&self) {
        let today = Day::of(self.clock.certain());
        let mut inside = self.lock();
        if inside.day == today {
            return;
        }
        inside.day = today;
        if inside.slots.on_day(today) {
            let active = inside.slots.active().clone();
            drop(inside);
            self.put_in_force(active);
            self.ring();
        }
    }

    /// What the device says of its policy, to the gateway and in its ready file.
    #[must_use]
    pub fn state(&self) -> PolicyReport {
        let inside = self.lock();
        let phase = match inside.slots.phase() {
            Phase::Steady => PolicyPhase::Steady,
            Phase::Trial => PolicyPhase::Trial,
            Phase::Probation => PolicyPhase::Probation,
        };
        let refused = inside.keyless.clone().or_else(|| refused(inside.slots.recent()));
        PolicyReport { version: inside.slots.active().version(), phase, refused }
    }

    /// What happened here, newest first.
    #[must_use]
    pub fn recent(&self) -> Vec<Recorded> {
        self.lock().slots.recent().cloned().collect()
    }

    fn keep(&self, inside: &mut Inside, slots: PolicySlots) -> Result<(), StoreError> {
        let stored = slots.stored();
        let needed: Vec<PolicyDigest> = stored.documents().map(|policy| policy.digest).collect();
        let mut documents = inside.documents.clone();
        documents.retain(|digest, _| needed.contains(digest));
        let kept = documents.values().cloned().collect();
        let floor = self.clock.floor();
        self.store.update(|record| {
            record.policy = Some(PolicyRecord { slots: stored, documents: kept });
            record.time_floor = record.time_floor.max(floor);
        })?;
        inside.slots = slots;
        inside.documents = documents;
        Ok(())
    }

    fn ring(&self) {
        self.news.send_modify(|count| *count += 1);
    }

    fn lock(&self) -> MutexGuard<'_, Inside> {
        // A change that panicked has not touched the slots: they are replaced last.
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The newest refusal since the policy in force came.
fn refused<'a>(recent: impl Iterator<Item = &'a Recorded>) -> Option<RefusedPolicy> {
    recent
        .take_while(|entry| !matches!(entry.word, Word::Activated | Word::Returned))
        .find(|entry| !matches!(entry.word, Word::Taken | Word::Proven | Word::Lost | Word::Busy))
        .map(|entry| RefusedPolicy {
            version: entry.version,
            reason: format!("{}: {}", entry.word, entry.text),
        })
}

/// The policy in force as the stored record names it, read without a running device: for the declaration.
#[must_use]
pub fn of_record(record: Option<&PolicyRecord>, factory: &Factory, day: Day) -> CompiledPolicy {
    let signed = record.and_then(|record| {
        let trust = factory.policy_trust()?;
        let active = &record.slots.active;
        let mut all = record.documents.iter();
        (active.origin == Origin::Signed).then_some(())?;
        all.find_map(|document| {
            let policy = PreparedPolicy::restore(document, &trust, day).ok()?;
            (policy.digest() == active.digest).then(|| policy.compiled().clone())
        })
    });
    signed.unwrap_or_else(|| PreparedPolicy::built_in(day).compiled().clone())
}

/// Why a device's policies cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// What is in force is lost.
    #[error(transparent)]
    Lost(#[from] ResumeError),
    /// The file with the policy key is gone.
    #[error(
        "factory/policy.sealed: it is missing, and the policies in the state cannot be verified without it: restore the folder that the factory wrote"
    )]
    NoKey,
}
