//! Invitations: how a second person comes to a device, with a key that nobody but them has ever seen.
//!
//! An owner leaves the verifier of a one-time code at the device. Whoever knows the code comes, within minutes, and proves
//! it inside one TLS 1.3 channel in which the device has shown its certificate. The owner need not be there:
//!
//! ```text
//!  owner ── invite: person, role, minutes, verifier ─► device        (a ConfigurePermit; the code stays with the owner)
//!
//!  joiner (prover)                                      device (verifier)
//!     │ Hello  version, own anchor's hash ───────────────► │  nobody invited? then Refused
//!     │ ◄─────────────────────── Params  salt and cost     │
//!     │ Argon2id over the code                             │
//!     │ ShareP ──────────────────────────────────────────► │  1. the guess is counted
//!     │ ◄─────────────────────── ShareV + confirmV         │  2. only then the answer goes out
//!     │ confirmV checked: this device was given the code   │
//!     │ ConfirmP ────────────────────────────────────────► │  3. confirmP checked
//!     │ ◄─── Welcome  person, role, what recognises it     │
//!     │ Join  own anchor ────────────────────────────────► │  4. the invitation is taken out, the person is stored
//!     │ ◄─────────────────────── Joined                    │  5. only then acknowledged; the channel closes
//! ```
//!
//! The SPAKE2+ run is bound to the channel (its exporter, RFC 9266, and the device's certificate), to the device's name, to
//! the anchor that the joiner brings, and to `Hello` and `Params` word for word. From then on the device knows the person by
//! that anchor, and believes it about that person only.
//!
//! [`InvitationDevice`] and [`InvitationJoiner`] take bytes and give outputs *to be carried out in order*; when one cannot
//! be carried out, the rest must not be. They hold no socket and no clock. The open invitation lives in a [`Door`], in
//! memory alone: a device that was switched off has invited nobody.

mod device;
mod door;
mod joiner;
mod message;
mod offer;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

pub use device::{InvitationClose, InvitationDevice, InvitationOutput, Joining};
pub use door::{Door, Ended, InviteError, Why};
pub use joiner::{InvitationFailure, InvitationJoiner, JoinerOutput};
pub use message::{Joined, Welcome};
pub use offer::{InvalidOffer, Offer};

use crate::pairing::Binding;
use countersign_crypto::digest::sha256;
use std::time::Duration;

/// The ALPN protocol name; an invited person asks for it at the local API's port.
pub const ALPN: &str = "countersign-invitation/1";
/// How long one conversation may take: two Argon2id runs on a slow telephone, and a margin.
pub const SESSION_TIMEOUT: Duration = Duration::from_secs(60);
/// The shortest life of an invitation: time enough to type the code.
pub const MIN_LIFE: Duration = Duration::from_secs(30);
/// The usual life of an invitation.
pub const USUAL_LIFE: Duration = Duration::from_secs(10 * 60);
/// The longest life of an invitation: who is not there yet is invited later.
pub const MAX_LIFE: Duration = Duration::from_secs(60 * 60);
/// Guesses at one invitation. The code has 130 random bits and check symbols: an honest person needs one.
pub const MAX_GUESSES: u32 = 5;

//= specs/house.md#house-sharing
//# The invitation's code MUST be proven by SPAKE2+ bound to the TLS channel and to the joiner's anchor.
/// The context of the SPAKE2+ run: no run of pairing has the same, since it begins with another name.
fn context(binding: &Binding, hello: &[u8], params: &[u8]) -> Vec<u8> {
    let mut context = ALPN.as_bytes().to_vec();
    context.extend_from_slice(&binding.exporter);
    context.extend_from_slice(&binding.device_certificate);
    context.extend_from_slice(&sha256(hello));
    context.extend_from_slice(&sha256(params));
    context
}
