//! The two slots as a table.

use serde::{Deserialize, Serialize};

/// What the slots hold. Stored by the device; survives a kill at any instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// *next* is empty. *current* is in use, or empty before the first enrolment.
    Settled,
    /// *next* has a key and no certificate.
    Keyed,
    /// *next* has a certificate that was not tried.
    Issued,
    /// *next* has shown in a handshake that it works.
    Proven,
    /// *current* is the new identity; *next* keeps the old one until the gateway has acknowledged the new.
    Swapped,
}

impl Phase {
    /// Every phase.
    pub const ALL: [Self; 5] =
        [Self::Settled, Self::Keyed, Self::Issued, Self::Proven, Self::Swapped];
}

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Event {
    /// *next* has a key, stored.
    KeyMade,
    /// *next* has its certificate, verified and stored.
    CertificateStored,
    /// The authority refused the request.
    RequestRefused,
    /// The key in *next* is not of the kind that is wanted any more: the policy, or the authority's, has changed.
    KeyOutdated,
    /// A handshake with *next* succeeded.
    ProofSucceeded,
    /// A handshake with *next* was refused by a peer that was itself in order.
    ProofRefused,
    /// The slots were swapped, stored.
    SlotsSwapped,
    /// The gateway has acknowledged a session with *current*.
    Acknowledged,
    /// The gateway refused *current* (revoked, expired, unknown).
    CurrentRefused,
    /// The peer could not be reached, or the exchange broke off.
    Unreachable,
}

impl Event {
    /// Every event.
    pub const ALL: [Self; 10] = [
        Self::KeyMade,
        Self::CertificateStored,
        Self::RequestRefused,
        Self::KeyOutdated,
        Self::ProofSucceeded,
        Self::ProofRefused,
        Self::SlotsSwapped,
        Self::Acknowledged,
        Self::CurrentRefused,
        Self::Unreachable,
    ];
}

/// What changes in the slots together with the new phase, in the same write. Keys are destroyed after that write; a key that
/// no slot names after a restart is left over from here, and is destroyed then.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Retire {
    /// Nothing.
    Nothing,
    /// Empty *next* and destroy its key.
    Next,
    /// Put the old identity back into *current*, empty *next*, and destroy the key of the new one.
    NewOne,
}

/// The event does not belong to the phase: it came late, or twice. Nothing changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{event:?} means nothing in {phase:?}")]
pub struct Ignored {
    /// Where the device stands.
    pub phase: Phase,
    /// What came.
    pub event: Event,
}

//= specs/en-303-645.md#5.5-8
//# Renewal MUST be possible without a moment at which the device can be lost.
//= specs/house.md#house-rotation
//# A new key MUST be proven in a handshake before the old one is destroyed.
/// The phase after an event, and what goes with it.
///
/// # Errors
/// [`Ignored`] for an event that does not belong there.
pub const fn step(phase: Phase, event: Event) -> Result<(Phase, Retire), Ignored> {
    use {Event as E, Phase as P, Retire as R};
    Ok(match (phase, event) {
        (P::Settled, E::KeyMade) => (P::Keyed, R::Nothing),
        (P::Keyed, E::CertificateStored) => (P::Issued, R::Nothing),
        // The key is still good; the next request may go out with another identity.
        (P::Keyed, E::RequestRefused) => (P::Keyed, R::Nothing),
        // No certificate hangs on it: another key is made.
        (P::Keyed, E::KeyOutdated) => (P::Settled, R::Next),
        (P::Issued, E::ProofSucceeded) => (P::Proven, R::Nothing),
        // The new certificate is no good. *current* was never touched.
        (P::Issued, E::ProofRefused) => (P::Settled, R::Next),
        (P::Proven, E::SlotsSwapped) => (P::Swapped, R::Nothing),
        //= specs/house.md#house-rotation
        //# A new key MUST be proven in a handshake before the old one is destroyed.
        (P::Swapped, E::Acknowledged) => (P::Settled, R::Next),
        // It was proven and is refused all the same: the old one is still there.
        (P::Swapped, E::CurrentRefused) => (P::Settled, R::NewOne),
        (P::Settled | P::Keyed | P::Issued | P::Proven, E::Acknowledged | E::CurrentRefused)
        | (_, E::Unreachable) => (phase, R::Nothing),
        (phase, event) => return Err(Ignored { phase, event }),
    })
}

/// Which identity a request for a certificate is made with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Identity {
    /// The factory's: proves which device this is, for ever, and opens nothing but enrolment.
    Idevid,
    /// The operational one in *current*.
    Current,
}

/// What the shell is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Action {
    /// Make a key in *next*. Report [`Event::KeyMade`].
    MakeKey,
    /// Send a certification request for the key in *next*. Report [`Event::CertificateStored`],
    /// [`Event::RequestRefused`] or [`Event::KeyOutdated`].
    Request {
        /// The identity that the request is made with.
        with: Identity,
    },
    /// Make a handshake with *next*. Report [`Event::ProofSucceeded`] or [`Event::ProofRefused`].
    Prove,
    /// Swap *current* and *next*, in one write with the phase. Report [`Event::SlotsSwapped`].
    Swap,
    /// Connect with *current*. Report [`Event::Acknowledged`] or [`Event::CurrentRefused`].
    Connect,
}

/// What is to be done in a phase; `None` when there is nothing to do but to use the current identity.
#[must_use]
pub const fn action(phase: Phase, wanted: bool, with: Identity) -> Option<Action> {
    match phase {
        Phase::Settled if wanted => Some(Action::MakeKey),
        Phase::Settled => None,
        Phase::Keyed => Some(Action::Request { with }),
        Phase::Issued => Some(Action::Prove),
        Phase::Proven => Some(Action::Swap),
        Phase::Swapped => Some(Action::Connect),
    }
}
