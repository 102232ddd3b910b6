//! Pairing: how a device that belongs to nobody comes to belong to a home.
//!
//! Both halves run inside one TLS 1.3 channel in which the device has shown its IDevID. They exchange bounded frames:
//!
//! ```text
//!  controller (prover)                                   device (verifier)
//!     │ Hello  version, owner, home anchor's hash ───────► │  locked out? then Refused
//!     │ ◄─────────────────────── Params  salt and cost     │
//!     │ Argon2id over the setup code                       │
//!     │ ShareP ──────────────────────────────────────────► │  0. the one place is taken, or Refused
//!     │                                                    │  1. the attempt is counted and stored
//!     │ ◄─────────────────────── ShareV + confirmV         │  2. only then the answer goes out
//!     │ confirmV checked: this is the labelled device      │
//!     │ ConfirmP, Install ───────────────────────────────► │  3. confirmP checked, the attempt forgiven
//!     │                                                    │  4. anchor, owner, network, gateway stored
//!     │ ◄─────────────────────── Installed                 │  5. only then acknowledged; the channel closes
//! ```
//!
//! The SPAKE2+ run is bound to the channel (its exporter, RFC 9266, and the device's certificate), to both names, to the
//! anchor that is going to be installed, and to `Hello` and `Params` word for word. Somebody in the middle has two
//! channels with different exporters, and learns nothing but that.
//!
//! Many may connect, and one may try: the place is taken by a prover's share, held for moments, and whoever comes second is
//! told so. Silence before that holds nothing. How long each step may take is [`PairingDevice::patience`].
//!
//! [`PairingDevice`] and [`PairingController`] take bytes and give outputs *to be carried out in order*; when one cannot be
//! carried out, the rest must not be. They hold no socket and no clock.

mod attempts;
mod closing;
mod controller;
mod device;
pub(crate) mod frame;
mod message;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
mod window;

pub use attempts::{Attempts, Locked, MAX_ATTEMPTS, MAX_DELAY};
pub use closing::{Closing, NoInstall};
pub use controller::{ControllerOutput, PairingController, PairingFailure};
pub use device::{CloseReason, DeviceOutput, PairingDevice};
pub use frame::MAX_FRAME;
pub use message::{
    GatewayAddress, Installation, Installed, InvalidInstallation, NetworkCredentials, RefusedReason,
};
pub use window::{BUTTON_WINDOW, Boot, Presence, WINDOW, Window, WindowRules};

use countersign_crypto::digest::sha256;
use countersign_crypto::secret::Strength;
use countersign_model::id::ThingId;
use std::time::Duration;

/// The ALPN protocol name; pairing asks for it.
pub const ALPN: &str = "countersign-pairing/1";
/// How long one conversation may take: two Argon2id runs on a slow telephone, and a margin.
pub const SESSION_TIMEOUT: Duration = Duration::from_secs(60);
/// How long the device waits for the first message: the controller has it ready.
const FIRST_WORD: Duration = Duration::from_secs(5);
/// How long it waits for the prover's share: two memory-hard derivations on a slow telephone.
const DERIVATION: Duration = Duration::from_secs(20);
/// How long whoever holds the one place may be silent: nothing slow is left to do.
const IN_PLACE: Duration = Duration::from_secs(5);

/// What both sides know of the channel that they share.
#[derive(Debug, Clone)]
pub struct Binding {
    /// The channel's exporter (RFC 9266 `tls-exporter`).
    pub exporter: [u8; 32],
    /// The device's name, from its certificate; the controller has compared it with the label.
    pub device: ThingId,
    /// SHA-256 of the device's certificate (DER).
    pub device_certificate: [u8; 32],
    /// The channel's strength.
    pub strength: Strength,
}

impl Binding {
    //= specs/house.md#house-pairing
    //# The setup code MUST be proven by SPAKE2+ bound to the TLS channel by its exporter.
    /// The context of the SPAKE2+ run.
    fn context(&self, hello: &[u8], params: &[u8]) -> Vec<u8> {
        let mut context = ALPN.as_bytes().to_vec();
        context.extend_from_slice(&self.exporter);
        context.extend_from_slice(&self.device_certificate);
        context.extend_from_slice(&sha256(hello));
        context.extend_from_slice(&sha256(params));
        context
    }
}
