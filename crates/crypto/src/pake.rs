//! The proof of the setup code: SPAKE2+ (RFC 9383, ciphersuite P256-SHA256-HKDF-SHA256-HMAC-SHA256) over Argon2id (RFC 9106).
//!
//! ```text
//!  factory     code, params ─► derive ─► ProverSecret ─► record() ─► VerifierRecord ─► stored in the device
//!  pairing     controller (prover)                       device (verifier)
//!              Prover::start ───────── shareP ─────────► Verifier::respond
//!              Prover::finish ◄── shareV, confirmV ─────     │
//!                  └────────────────── confirmP ───────────► VerifierConfirming::finish
//! ```
//!
//! The device never holds the code and never runs the memory-hard function: the factory and the controller do. Who reads a
//! device's storage gets a verifier, against which each guess costs one Argon2id, and cannot pose as the code's holder.
//! One run of the protocol tests one guess; the verifier shows its confirmation first, so a caller must count the
//! attempt *before* it sends what [`Verifier::respond`] returns.
//!
//! ```
//! use countersign_crypto::pake::{derive, PakeParams, Prover, RunContext, Verifier};
//! use countersign_crypto::random::SystemRandom;
//! use countersign_model::label::SetupCode;
//! let (mut random, code, thing) = (SystemRandom, SetupCode::from_entropy([9; 17]), "plug-1".parse()?);
//! let params = PakeParams::new([1; 16], PakeParams::MIN_MEMORY_KIB, 1, 1)?;
//! let secret = derive(&code, &thing, &params)?;
//! let context = RunContext { context: b"example v1", prover: b"ada", verifier: b"plug-1" };
//! let (prover, share_p) = Prover::start(&secret, &context, &mut random);
//! let (device, answer) = Verifier::respond(&secret.record(), &context, &share_p, &mut random)?;
//! let (confirm_p, ours) = prover.finish(&answer.share_v, &answer.confirm_v)?;
//! let theirs = device.finish(&confirm_p)?;
//! assert!(ours.expose(|ours| theirs.expose(|theirs| ours == theirs)));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use crate::provider::{self, Argon2Refused, spake2plus};
use crate::random::Random;
use crate::secret::{Secret, Strength};
use countersign_model::id::ThingId;
use countersign_model::label::SetupCode;
use provider::spake2plus::rand_core::{Infallible, TryCryptoRng, TryRng};
use provider::spake2plus::{ConfirmP, ConfirmV, Context, P256Sha256, ShareP, ShareV};
use zeroize::Zeroizing;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

/// Bytes of a share: an uncompressed P-256 point.
pub const SHARE_LEN: usize = 65;
/// The protocol and its ciphersuite (RFC 9383 section 4).
pub const SUITE: &str = "SPAKE2+-P256-SHA256-HKDF-SHA256-HMAC-SHA256";
/// What the setup code is stretched with (RFC 9106).
pub const STRETCHING: &str = "Argon2id";
/// Bytes of a confirmation.
pub const CONFIRM_LEN: usize = 32;
/// Bytes of a stored verifier record: `w0` and `L`.
pub const RECORD_LEN: usize = 32 + SHARE_LEN;

/// Output of Argon2id: two halves of 40 bytes, each 64 bits longer than the group order (RFC 9383, section 3.2).
const PBKDF_LEN: usize = 80;
/// The prover's name at registration: whoever holds the label, since the factory does not know the owner.
const REGISTRATION_PROVER: &[u8] = b"countersign setup code holder";

/// Why a run or a derivation failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PakeError {
    /// The peer's fault: cost parameters below the floor (too weak) or above the ceiling (a way to exhaust us).
    #[error("the cost of the setup code's derivation is outside its bounds")]
    Params,
    /// The peer's fault: a message of the wrong length, or a point that is not on the curve.
    #[error("a message of the key exchange is malformed")]
    Message,
    /// The codes differ, or somebody changed the messages or sits between two channels.
    #[error("the setup code is not this device's, or somebody sits in between")]
    Mismatch,
    /// Our environment's fault: not enough memory for the derivation, or a damaged record.
    #[error("the stored verifier is damaged, or memory is short")]
    Environment,
}

/// The cost of the derivation, with the device's salt. It travels in the clear, so its bounds are checked on arrival.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PakeParams {
    salt: [u8; Self::SALT_LEN],
    memory_kib: u32,
    passes: u32,
    lanes: u32,
}

impl PakeParams {
    /// Bytes of salt (RFC 9106, section 3.1 recommends 16).
    pub const SALT_LEN: usize = 16;
    /// Least memory, 8 MiB: a code that was printed with less is refused, for a false device might ask for it. With 130
    /// random bits in the code the cost matters only for what the label does not tell; it stays honest all the same.
    pub const MIN_MEMORY_KIB: u32 = 8 * 1024;
    /// Most memory, 64 MiB: what any telephone spares for a second.
    pub const MAX_MEMORY_KIB: u32 = 64 * 1024;
    /// Usual memory, 19 MiB with two passes and one lane (OWASP's first choice for Argon2id): a quarter of a second on a
    /// small controller board; the device itself spends nothing.
    pub const MEMORY_KIB: u32 = 19 * 1024;
    /// Usual passes.
    pub const PASSES: u32 = 2;
    /// Most passes.
    pub const MAX_PASSES: u32 = 8;
    /// Most lanes.
    pub const MAX_LANES: u32 = 4;

    /// Parameters from a message or a file.
    ///
    /// # Errors
    /// [`PakeError::Params`] outside the bounds.
    pub fn new(
        salt: [u8; Self::SALT_LEN],
        memory_kib: u32,
        passes: u32,
        lanes: u32,
    ) -> Result<Self, PakeError> {
        let fine = (Self::MIN_MEMORY_KIB..=Self::MAX_MEMORY_KIB).contains(&memory_kib)
            && (1..=Self::MAX_PASSES).contains(&passes)
            && (1..=Self::MAX_LANES).contains(&lanes);
        fine.then_some(Self { salt, memory_kib, passes, lanes }).ok_or(PakeError::Params)
    }

    /// The usual cost with a fresh salt, for a new device.
    #[must_use]
    pub fn fresh(random: &mut dyn Random) -> Self {
        Self { salt: random.array(), memory_kib: Self::MEMORY_KIB, passes: Self::PASSES, lanes: 1 }
    }

    /// The device's salt.
    #[must_use]
    pub const fn salt(&self) -> &[u8; Self::SALT_LEN] {
        &self.salt
    }

    /// Memory in KiB.
    #[must_use]
    pub const fn memory_kib(&self) -> u32 {
        self.memory_kib
    }

    /// Passes over the memory.
    #[must_use]
    pub const fn passes(&self) -> u32 {
        self.passes
    }

    /// Lanes.
    #[must_use]
    pub const fn lanes(&self) -> u32 {
        self.lanes
    }
}

/// What one run is bound to: the application's context (with the channel's exporter in it) and both names.
#[derive(Debug, Clone, Copy)]
pub struct RunContext<'a> {
    /// Protocol, version and channel.
    pub context: &'a [u8],
    /// The prover's name.
    pub prover: &'a [u8],
    /// The verifier's name.
    pub verifier: &'a [u8],
}

impl<'a> RunContext<'a> {
    const fn of(&self) -> Context<'a> {
        Context { context: self.context, prover_id: self.prover, verifier_id: self.verifier }
    }
}

/// What the code's holder knows; wiped when dropped.
pub struct ProverSecret(spake2plus::ProverSecret<P256Sha256>);

/// Derives the prover's secret of a device's setup code. Takes the time and memory that `params` say.
///
/// # Errors
/// [`PakeError::Environment`] when the memory is not there.
pub fn derive(
    code: &SetupCode,
    thing: &ThingId,
    params: &PakeParams,
) -> Result<ProverSecret, PakeError> {
    let password = code.compact();
    let verifier = thing.as_str().as_bytes();
    let mut input = Zeroizing::new(Vec::with_capacity(256));
    for part in [password.as_bytes(), REGISTRATION_PROVER, verifier] {
        input.extend_from_slice(&(part.len() as u64).to_le_bytes());
        input.extend_from_slice(part);
    }
    let mut output = Zeroizing::new([0; PBKDF_LEN]);
    let PakeParams { memory_kib, passes, lanes, salt } = params;
    provider::argon2id(*memory_kib, *passes, *lanes, salt, &input, output.as_mut_slice()).map_err(
        |refused| match refused {
            Argon2Refused::Params => PakeError::Params,
            Argon2Refused::Memory => PakeError::Environment,
        },
    )?;
    let secret = spake2plus::ProverSecret::from_pbkdf_output(output.as_slice());
    secret.map(ProverSecret).map_err(|_| PakeError::Environment)
}

impl ProverSecret {
    //= specs/house.md#house-pairing
    //= type=implication
    //# The device MUST store a verifier of the setup code and never the code.
    /// What the device stores instead of the code.
    #[must_use]
    pub fn record(&self) -> VerifierRecord {
        VerifierRecord(self.0.verifier_record())
    }
}

impl std::fmt::Debug for ProverSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ProverSecret(..)")
    }
}

/// The stored verifier; wiped when dropped.
pub struct VerifierRecord(spake2plus::VerifierRecord<P256Sha256>);

impl VerifierRecord {
    /// Reads a stored record of [`RECORD_LEN`] bytes.
    ///
    /// # Errors
    /// [`PakeError::Environment`] when it is damaged.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, PakeError> {
        spake2plus::VerifierRecord::from_bytes(bytes).map(Self).map_err(|_| PakeError::Environment)
    }

    /// The record for sealed storage.
    #[must_use]
    pub fn to_secret(&self) -> Secret {
        Secret::new(self.0.to_bytes().to_vec(), Strength(128))
    }
}

impl std::fmt::Debug for VerifierRecord {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("VerifierRecord(..)")
    }
}

/// The code's holder, waiting for the device's answer.
pub struct Prover(spake2plus::Prover<P256Sha256>);

//= specs/en-303-645.md#5.5-7
//= type=implication
//# What is derived from a setup code and sent MUST NOT help to find the code.
impl Prover {
    /// Begins a run; the second value is `shareP`, to be sent.
    #[must_use]
    pub fn start(
        secret: &ProverSecret,
        context: &RunContext<'_>,
        random: &mut dyn Random,
    ) -> (Self, [u8; SHARE_LEN]) {
        let (prover, share) =
            spake2plus::Prover::start(&secret.0, &context.of(), &mut Source(random));
        (Self(prover), *share.as_bytes())
    }

    /// Checks the device's confirmation; gives `confirmP`, to be sent, and the shared key.
    ///
    /// # Errors
    /// [`PakeError::Message`], [`PakeError::Mismatch`]. Nothing more may be sent then.
    pub fn finish(
        self,
        share_v: &[u8],
        confirm_v: &[u8],
    ) -> Result<([u8; CONFIRM_LEN], Secret), PakeError> {
        let share_v = ShareV::from_bytes(share_v).map_err(|_| PakeError::Message)?;
        let confirm_v = ConfirmV::from_bytes(confirm_v).map_err(|_| PakeError::Message)?;
        let confirming = self.0.receive(&share_v).map_err(|_| PakeError::Message)?;
        let (confirm_p, key) = confirming.finish(&confirm_v).map_err(|_| PakeError::Mismatch)?;
        Ok((*confirm_p.as_bytes(), key_of(&key)))
    }
}

impl std::fmt::Debug for Prover {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Prover(..)")
    }
}

/// The device's side before the prover's share has come. It has no state of its own.
#[derive(Debug)]
pub enum Verifier {}

/// What the device sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifierAnswer {
    /// The device's share.
    pub share_v: [u8; SHARE_LEN],
    /// The device's confirmation: enough to test one guess, so count the attempt before sending it.
    pub confirm_v: [u8; CONFIRM_LEN],
}

impl Verifier {
    /// Answers a prover's share.
    ///
    /// # Errors
    /// [`PakeError::Message`] for anything but a point of the group.
    pub fn respond(
        record: &VerifierRecord,
        context: &RunContext<'_>,
        share_p: &[u8],
        random: &mut dyn Random,
    ) -> Result<(VerifierConfirming, VerifierAnswer), PakeError> {
        let share_p = ShareP::from_bytes(share_p).map_err(|_| PakeError::Message)?;
        let (verifier, share_v) =
            spake2plus::Verifier::start(&record.0, &context.of(), &mut Source(random));
        let (confirming, confirm_v) = verifier.receive(&share_p).map_err(|_| PakeError::Message)?;
        let answer =
            VerifierAnswer { share_v: *share_v.as_bytes(), confirm_v: *confirm_v.as_bytes() };
        Ok((VerifierConfirming(confirming), answer))
    }
}

/// The device, waiting for the prover's confirmation.
pub struct VerifierConfirming(spake2plus::VerifierConfirming<P256Sha256>);

impl VerifierConfirming {
    /// Checks the prover's confirmation; gives the shared key.
    ///
    /// # Errors
    /// [`PakeError::Message`], [`PakeError::Mismatch`].
    pub fn finish(self, confirm_p: &[u8]) -> Result<Secret, PakeError> {
        let confirm_p = ConfirmP::from_bytes(confirm_p).map_err(|_| PakeError::Message)?;
        self.0.finish(&confirm_p).map(|key| key_of(&key)).map_err(|_| PakeError::Mismatch)
    }
}

impl std::fmt::Debug for VerifierConfirming {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("VerifierConfirming(..)")
    }
}

fn key_of(key: &spake2plus::SharedKey<P256Sha256>) -> Secret {
    Secret::new(key.as_bytes().to_vec(), Strength(128))
}

/// Our randomness in the shape that the curve arithmetic wants.
struct Source<'a>(&'a mut dyn Random);

impl TryRng for Source<'_> {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok(u32::from_le_bytes(self.0.array()))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(u64::from_le_bytes(self.0.array()))
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Infallible> {
        self.0.fill(out);
        Ok(())
    }
}

impl TryCryptoRng for Source<'_> {}
