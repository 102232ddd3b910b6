//! The gateway's crypto policies: which is in force, which older ones open the update door, and their documents on disk.
//!
//! ```text
//!  offer(document) ─► slots: Trial ─ next() ─► the shell's handshake ─ report ─► Probation ─ a session ─► Steady
//!                        │ stored before anything is done about it
//!                        ▼
//!  FOLDER/slots.json, FOLDER/DIGEST.cose
//! ```
//! Decisions are `protocol::policy`'s; here are a lock, files and a bell for whoever must act on a change.

mod files;

use crate::broker::message::Payload;
use crate::broker::status::ChannelFacts;
use countersign_crypto::policy::{ChannelNames, PolicyDigest, TlsRules, Use};
use countersign_crypto::random::{Random, SystemRandom};
use countersign_model::time::{Day, Timestamp};
use countersign_protocol::permit::door::{Admission, SessionPermit, judge};
use countersign_protocol::policy::{
    Change, Door, Event, Ignored, Next, Phase, PolicyFloor, PolicySlots, PolicyTrust,
    PreparedPolicy, Recorded, Refusal, ResumeError, Side, Source,
};
use countersign_protocol::rotation::Jitter;
pub use files::FileError;
use files::Files;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;

/// The policies of one gateway, for its life. Shared by the engine, the listeners' keeper and whoever brings a new one.
#[derive(Debug)]
pub struct PolicyKeeper {
    trust: PolicyTrust,
    floor: PolicyFloor,
    inside: Mutex<Inside>,
    changed: watch::Sender<u64>,
}

#[derive(Debug)]
struct Inside {
    slots: PolicySlots,
    files: Files,
    day: Day,
}

/// What is in force, for people and machines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InForce {
    /// Its version.
    pub version: u64,
    /// Which one it is.
    pub digest: PolicyDigest,
    /// How far the one after it is.
    pub phase: Phase,
}

impl PolicyKeeper {
    /// Goes on where `folder` ended; a new one begins with the signed policy `first`.
    ///
    /// # Errors
    /// [`KeeperError`]: a damaged file, or a first policy that cannot be used.
    pub fn open(
        folder: &Path,
        trust: PolicyTrust,
        first: &[u8],
        now: Timestamp,
    ) -> Result<Arc<Self>, KeeperError> {
        let day = Day::of(now);
        let mut files = Files::open(folder)?;
        let slots = match files.slots()? {
            Some(stored) => {
                let find = |wanted: &countersign_protocol::policy::StoredPolicy| {
                    let document = files.document(wanted.digest)?;
                    PreparedPolicy::restore(&document, &trust, day).ok()
                };
                let built_in = PreparedPolicy::built_in(day);
                PolicySlots::resume(Side::Gateway, stored, find, built_in, now)?
            }
            None => {
                let prepared = PreparedPolicy::restore(first, &trust, day)?;
                files.keep(prepared.digest(), first)?;
                PolicySlots::new(Side::Gateway, prepared)
            }
        };
        files.store(&slots.stored())?;
        let inside = Mutex::new(Inside { slots, files, day });
        let floor = PolicyFloor::of_build();
        Ok(Arc::new(Self { trust, floor, inside, changed: watch::channel(0).0 }))
    }

    /// A signed policy has come from `from`. Taken ones wait for their trial: see [`PolicyKeeper::next`].
    ///
    /// # Errors
    /// [`OfferError::Refused`] with the version where the document could be read; recorded. [`OfferError::Files`]: nothing changed.
    //= specs/house.md#house-policy
    //# A refused policy MUST be recorded with its reason.
    pub fn offer(&self, document: &[u8], from: &str, now: Timestamp) -> Result<u64, OfferError> {
        let prepared = PreparedPolicy::prepare(document, &self.trust, Day::of(now));
        let version = prepared.as_ref().ok().map(PreparedPolicy::version);
        let digest = prepared.as_ref().ok().map(PreparedPolicy::digest);
        let mut inside = self.lock();
        // 1. Judged, on a copy that is dropped if it cannot be stored.
        let mut slots = inside.slots.clone();
        let from = Source::Peer(from);
        let judged = slots.offer(prepared, &self.floor, from, now, Duration::ZERO);
        // 2. The document before the slots that name it; a refused one never takes the place of another with its digest.
        if let (Ok(()), Some(digest)) = (&judged, digest) {
            inside.files.keep(digest, document)?;
        }
        inside.files.store(&slots.stored())?;
        inside.slots = slots;
        match judged {
            Ok(()) => {
                drop(inside);
                self.ring();
                Ok(version.unwrap_or_default())
            }
            Err(refusal) => Err(OfferError::Refused { version, refusal }),
        }
    }

    /// Whether this very document is in force already, or waits for its trial: to hand it in again changes nothing.
    #[must_use]
    pub fn knows(&self, document: &[u8], now: Timestamp) -> bool {
        let Ok(prepared) = PreparedPolicy::prepare(document, &self.trust, Day::of(now)) else {
            return false;
        };
        let inside = self.lock();
        let candidate = inside.slots.candidate().map(|candidate| candidate.digest());
        inside.slots.active().digest() == prepared.digest() || candidate == Some(prepared.digest())
    }

    /// What comes next.
    #[must_use]
    pub fn next(&self, now: Timestamp) -> Next {
        self.lock().slots.next(now)
    }

    /// Takes what happened; stored before this returns.
    ///
    /// # Errors
    /// [`ReportError::Ignored`] for what came late or twice, [`ReportError::Files`] when it could not be stored: nothing changed.
    pub fn report(&self, event: Event, now: Timestamp) -> Result<Change, ReportError> {
        let random: &mut dyn Random = &mut SystemRandom;
        let jitter = Jitter(u16::from_le_bytes(random.array()));
        let mut inside = self.lock();
        let mut slots = inside.slots.clone();
        let change = slots.report(event, now, jitter)?;
        inside.files.store(&slots.stored())?;
        inside.slots = slots;
        drop(inside);
        if change != Change::Nothing {
            self.ring();
        }
        Ok(change)
    }

    /// Lets what ended with a day end: items past their `until`, and older policies at the door, which expire with a day.
    pub fn on_day(&self, now: Timestamp) {
        let today = Day::of(now);
        let mut inside = self.lock();
        if inside.day == today {
            return;
        }
        inside.day = today;
        inside.slots.on_day(today);
        drop(inside);
        self.ring();
    }

    /// What is in force.
    #[must_use]
    pub fn in_force(&self) -> InForce {
        let inside = self.lock();
        let active = inside.slots.active();
        InForce { version: active.version(), digest: active.digest(), phase: inside.slots.phase() }
    }

    /// The policy in force, compiled.
    #[must_use]
    pub fn active(&self) -> Arc<PreparedPolicy> {
        self.lock().slots.active().clone()
    }

    /// What may serve a connection now.
    #[must_use]
    pub fn door(&self) -> Door {
        self.lock().slots.door()
    }

    /// The rules to listen by, the most preferred first.
    #[must_use]
    pub fn rules(&self, use_: Use, now: Timestamp) -> Vec<TlsRules> {
        self.door().rules(use_, now)
    }

    /// The signed form of a policy that is held; none for the build's own, which has none.
    #[must_use]
    pub fn document(&self, digest: PolicyDigest) -> Option<Payload> {
        self.lock().files.document(digest)
    }

    /// Judges a channel at the MQTT listener.
    #[must_use]
    pub fn judge(&self, channel: &ChannelFacts, now: Timestamp) -> Admission {
        with_names(channel, |names| judge(&self.door(), Use::DeviceUplink, names, None, now))
    }

    /// An admitted client's session is about to begin: the policy that allows it has proven itself. Stored before this returns;
    /// where that fails, the next session tells it.
    pub fn carried(&self, permit: &SessionPermit, now: Timestamp) {
        let unproven = {
            let inside = self.lock();
            inside.slots.phase() == Phase::Probation || inside.slots.previous().is_some()
        };
        if !unproven {
            return;
        }
        if let Err(ReportError::Files(error)) = self.report(Event::Carried(permit.under()), now) {
            tracing::error!(%error, "the policy's first session could not be recorded");
        }
    }

    /// A number that changes with each change that listeners and open sessions must follow.
    #[must_use]
    pub fn changed(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// What happened here, newest first.
    #[must_use]
    pub fn recent(&self) -> Vec<Recorded> {
        self.lock().slots.recent().cloned().collect()
    }

    fn ring(&self) {
        self.changed.send_modify(|count| *count += 1);
    }

    fn lock(&self) -> MutexGuard<'_, Inside> {
        // A change that panicked has not touched the slots: they are replaced last.
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A channel's facts by the names that policies use.
pub(crate) fn with_names<T>(
    channel: &ChannelFacts,
    look: impl FnOnce(&ChannelNames<'_>) -> T,
) -> T {
    let signatures: Vec<&str> = channel
        .key_algorithm
        .iter()
        .chain(&channel.certificate_signature)
        .map(String::as_str)
        .collect();
    look(&ChannelNames {
        version: &channel.version,
        suite: &channel.suite,
        group: &channel.group,
        signatures: &signatures,
        alpn: channel.alpn,
    })
}

/// Why the policies of a gateway cannot be used at start.
#[derive(Debug, thiserror::Error)]
pub enum KeeperError {
    /// A file.
    #[error(transparent)]
    Files(#[from] FileError),
    /// What is in force is lost.
    #[error(transparent)]
    Lost(#[from] ResumeError),
    /// The first policy.
    #[error("the first policy: {0}")]
    First(#[from] Refusal),
}

/// Why an offered policy was not taken.
#[derive(Debug, thiserror::Error)]
pub enum OfferError {
    /// It is refused.
    #[error("{refusal}")]
    Refused {
        /// Its version, where the signature holds.
        version: Option<u64>,
        /// Why.
        refusal: Refusal,
    },
    /// It could not be stored.
    #[error(transparent)]
    Files(#[from] FileError),
}

/// Why a report changed nothing.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// It came late, or twice.
    #[error(transparent)]
    Ignored(#[from] Ignored),
    /// It could not be stored.
    #[error(transparent)]
    Files(#[from] FileError),
}
