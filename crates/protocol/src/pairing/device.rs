//! The device's half.

use super::attempts::{Attempts, Locked};
use super::frame::{FrameBuffer, framed};
use super::message::{Installation, Installed, Message, RefusedReason, VERSION};
use super::{Binding, DERIVATION, FIRST_WORD, IN_PLACE, SESSION_TIMEOUT};
use countersign_crypto::digest::sha256;
use countersign_crypto::pake::{
    PakeError, PakeParams, RunContext, SHARE_LEN, Verifier, VerifierConfirming, VerifierRecord,
};
use countersign_crypto::random::Random;
use countersign_model::id::PersonName;
use countersign_model::time::Timestamp;
use std::time::Duration;
use zeroize::Zeroizing;

/// What the shell does next. The order matters: when one output fails, the rest is not carried out and the channel closes.
#[derive(Debug)]
pub enum DeviceOutput {
    //= specs/house.md#house-pairing
    //# One controller at a time MUST be able to try a setup code, and another one MUST be told so.
    /// Take the one place, then call [`PairingDevice::claimed`] with the count as it stands, or [`PairingDevice::occupied`].
    /// The place is held until [`DeviceOutput::Close`].
    Claim,
    /// Store the count of attempts, durably.
    Persist(Attempts),
    /// Send these bytes.
    Send(Zeroizing<Vec<u8>>),
    //= specs/house.md#house-pairing
    //# Trust anchor, network credentials and first owner MUST be installed together or not at all.
    /// Store this, durably and as a whole, then call [`PairingDevice::installed`] or [`PairingDevice::not_installed`].
    Install(Box<Installation>),
    /// Send what is left and close the channel.
    Close(CloseReason),
}

/// How a conversation ended, for the device's own record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CloseReason {
    /// The home is installed.
    Done,
    /// The code was wrong, or somebody sat in between.
    WrongCode,
    /// Too many attempts lately.
    Locked,
    /// Somebody else was trying.
    Occupied,
    /// The peer did not speak the protocol: garbage, too much, or out of order.
    Protocol,
    /// The conversation took too long.
    Timeout,
    /// The installation could not be stored.
    Storage,
}

/// One conversation of the device. Several may begin; from [`DeviceOutput::Claim`] on there is one, which alone holds the
/// count of attempts.
pub struct PairingDevice {
    binding: Binding,
    attempts: Attempts,
    deadline: Timestamp,
    frames: FrameBuffer,
    phase: Phase,
}

enum Phase {
    Hello(AwaitHello),
    Share(Box<AwaitShare>),
    Claiming(Box<AwaitShare>, [u8; SHARE_LEN]),
    Confirm(Box<AwaitConfirm>),
    Install(AwaitInstall),
    Storing,
    Closed,
}

struct AwaitHello {
    record: VerifierRecord,
    params: PakeParams,
}

struct AwaitShare {
    record: VerifierRecord,
    context: Vec<u8>,
    promise: Promise,
}

struct AwaitConfirm {
    confirming: VerifierConfirming,
    promise: Promise,
}

struct AwaitInstall {
    promise: Promise,
}

/// What the controller said it would install; SPAKE2+ has bound it.
struct Promise {
    owner: PersonName,
    anchor: [u8; 32],
}

impl Promise {
    /// The prover's name in the run.
    fn prover(&self) -> Vec<u8> {
        [self.anchor.as_slice(), self.owner.as_str().as_bytes()].concat()
    }
}

impl PairingDevice {
    /// Begins a conversation on a fresh channel.
    ///
    /// `record` and `params` come from the factory; `attempts` is the stored count. `now` is counted from power-on.
    #[must_use]
    pub fn new(
        record: VerifierRecord,
        params: PakeParams,
        binding: Binding,
        attempts: Attempts,
        now: Timestamp,
    ) -> Self {
        Self {
            binding,
            attempts,
            deadline: now.plus(SESSION_TIMEOUT),
            frames: FrameBuffer::default(),
            phase: Phase::Hello(AwaitHello { record, params }),
        }
    }

    /// When the shell is to call [`PairingDevice::timeout`].
    #[must_use]
    pub const fn deadline(&self) -> Timestamp {
        self.deadline
    }

    /// How long the peer may be silent now, before the shell calls [`PairingDevice::timeout`].
    #[must_use]
    pub const fn patience(&self) -> Duration {
        match self.phase {
            Phase::Hello(_) => FIRST_WORD,
            Phase::Share(_) => DERIVATION,
            _ => IN_PLACE,
        }
    }

    /// The count of attempts as it stands.
    #[must_use]
    pub const fn attempts(&self) -> Attempts {
        self.attempts
    }

    /// Takes what arrived. Any bytes get an answer; nothing is answered after a [`DeviceOutput::Close`].
    pub fn receive(&mut self, bytes: &[u8], now: Timestamp) -> Vec<DeviceOutput> {
        if matches!(self.phase, Phase::Closed) {
            return Vec::new();
        }
        let mut outputs = Vec::new();
        if self.frames.push(bytes).is_err() {
            return self.close(outputs, CloseReason::Protocol);
        }
        while !matches!(self.phase, Phase::Claiming(..) | Phase::Storing | Phase::Closed) {
            let frame = match self.frames.next() {
                Ok(Some(frame)) => frame,
                Ok(None) => break,
                Err(_) => return self.close(outputs, CloseReason::Protocol),
            };
            match self.step(&frame, now, &mut outputs) {
                Ok(()) => {}
                Err(reason) => return self.close(outputs, reason),
            }
        }
        outputs
    }

    /// The place is ours; `attempts` is the count as it stands now.
    pub fn claimed(
        &mut self,
        attempts: Attempts,
        now: Timestamp,
        random: &mut dyn Random,
    ) -> Vec<DeviceOutput> {
        let mut outputs = Vec::new();
        self.phase = match std::mem::replace(&mut self.phase, Phase::Closed) {
            Phase::Claiming(phase, share) => {
                self.attempts = attempts;
                match self.answer(*phase, &share, now, random, &mut outputs) {
                    Ok(next) => Phase::Confirm(Box::new(next)),
                    Err(reason) => return self.close(outputs, reason),
                }
            }
            other => other,
        };
        outputs
    }

    /// Somebody else has the place: says so.
    pub fn occupied(&mut self) -> Vec<DeviceOutput> {
        if !matches!(self.phase, Phase::Claiming(..)) {
            return Vec::new();
        }
        self.close(vec![refuse(RefusedReason::Busy)], CloseReason::Occupied)
    }

    /// The installation is stored: acknowledges it.
    pub fn installed(&mut self, done: Installed) -> Vec<DeviceOutput> {
        if !matches!(self.phase, Phase::Storing) {
            return Vec::new();
        }
        let answer = DeviceOutput::Send(framed(&Message::Installed(done).encode()));
        self.close(vec![answer], CloseReason::Done)
    }

    /// The installation could not be stored: says so, and nothing is acknowledged.
    pub fn not_installed(&mut self) -> Vec<DeviceOutput> {
        if !matches!(self.phase, Phase::Storing) {
            return Vec::new();
        }
        self.close(vec![refuse(RefusedReason::Storage)], CloseReason::Storage)
    }

    /// The deadline has passed.
    pub fn timeout(&mut self) -> Vec<DeviceOutput> {
        if matches!(self.phase, Phase::Closed) {
            return Vec::new();
        }
        self.close(Vec::new(), CloseReason::Timeout)
    }

    fn close(&mut self, mut outputs: Vec<DeviceOutput>, reason: CloseReason) -> Vec<DeviceOutput> {
        self.phase = Phase::Closed;
        outputs.push(DeviceOutput::Close(reason));
        outputs
    }

    fn step(
        &mut self,
        frame: &[u8],
        now: Timestamp,
        outputs: &mut Vec<DeviceOutput>,
    ) -> Result<(), CloseReason> {
        let message = Message::decode(frame).map_err(|_| CloseReason::Protocol)?;
        // A phase is taken out, used up, and replaced: whatever fails on the way leaves the conversation closed.
        self.phase = match (std::mem::replace(&mut self.phase, Phase::Closed), message) {
            (Phase::Hello(phase), Message::Hello { version, owner, anchor }) => {
                if version != VERSION {
                    outputs.push(refuse(RefusedReason::Version));
                    return Err(CloseReason::Protocol);
                }
                self.may_try(now, outputs)?;
                let params = Message::Params(phase.params).encode();
                let context = self.binding.context(frame, &params);
                outputs.push(DeviceOutput::Send(framed(&params)));
                let promise = Promise { owner, anchor };
                Phase::Share(Box::new(AwaitShare { record: phase.record, context, promise }))
            }
            (Phase::Share(phase), Message::ShareP(share)) => {
                outputs.push(DeviceOutput::Claim);
                Phase::Claiming(phase, share)
            }
            (Phase::Confirm(phase), Message::ConfirmP(confirm)) => {
                let AwaitConfirm { confirming, promise } = *phase;
                if confirming.finish(&confirm).is_err() {
                    outputs.push(refuse(RefusedReason::WrongCode));
                    return Err(CloseReason::WrongCode);
                }
                self.attempts = Attempts::default();
                outputs.push(DeviceOutput::Persist(self.attempts));
                Phase::Install(AwaitInstall { promise })
            }
            (Phase::Install(phase), Message::Install(installation)) => {
                let kept = phase.promise.owner == installation.owner
                    && phase.promise.anchor == sha256(&installation.anchor);
                if !kept {
                    return Err(CloseReason::Protocol);
                }
                outputs.push(DeviceOutput::Install(installation));
                Phase::Storing
            }
            _ => return Err(CloseReason::Protocol),
        };
        Ok(())
    }

    fn may_try(&self, now: Timestamp, outputs: &mut Vec<DeviceOutput>) -> Result<(), CloseReason> {
        self.attempts.check(now).map_err(|locked| {
            let wait = match locked {
                Locked::For(wait) => Some(wait),
                Locked::UntilPresence => None,
            };
            outputs.push(refuse(RefusedReason::Locked { wait }));
            CloseReason::Locked
        })
    }

    //= specs/house.md#house-pairing
    //# The device MUST confirm first, so that a wrong guess costs an attempt.
    fn answer(
        &mut self,
        phase: AwaitShare,
        share: &[u8],
        now: Timestamp,
        random: &mut dyn Random,
        outputs: &mut Vec<DeviceOutput>,
    ) -> Result<AwaitConfirm, CloseReason> {
        self.may_try(now, outputs)?;
        let AwaitShare { record, context, promise } = phase;
        let prover = promise.prover();
        let run = RunContext {
            context: &context,
            prover: &prover,
            verifier: self.binding.device.as_str().as_bytes(),
        };
        let (confirming, answer) =
            Verifier::respond(&record, &run, share, random).map_err(|error| match error {
                PakeError::Environment => CloseReason::Storage,
                _ => CloseReason::Protocol,
            })?;
        // 1. The answer lets its reader test one guess, so the attempt is counted and stored first.
        self.attempts = self.attempts.charged(now);
        outputs.push(DeviceOutput::Persist(self.attempts));
        // 2. Then it goes out.
        let message = Message::ShareV { share: answer.share_v, confirm: answer.confirm_v };
        outputs.push(DeviceOutput::Send(framed(&message.encode())));
        Ok(AwaitConfirm { confirming, promise })
    }
}

fn refuse(reason: RefusedReason) -> DeviceOutput {
    DeviceOutput::Send(framed(&Message::Refused(reason).encode()))
}

impl std::fmt::Debug for PairingDevice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PairingDevice").field("attempts", &self.attempts).finish_non_exhaustive()
    }
}
