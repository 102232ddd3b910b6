//! The owner's half.

use super::Binding;
use super::frame::{FrameBuffer, framed};
use super::message::{
    Installation, Installed, InvalidInstallation, Message, RefusedReason, VERSION,
};
use countersign_crypto::digest::sha256;
use countersign_crypto::pake::{PakeError, PakeParams, Prover, RunContext, derive};
use countersign_crypto::random::Random;
use countersign_model::label::SetupCode;
use zeroize::Zeroizing;

/// What the shell does next, in order.
#[derive(Debug)]
pub enum ControllerOutput {
    /// Send these bytes.
    Send(Zeroizing<Vec<u8>>),
    /// The device has stored everything and belongs to the home. The conversation is over.
    Paired(Installed),
    /// It failed; close the channel.
    Failed(PairingFailure),
}

/// Why pairing failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PairingFailure {
    /// The device could not prove that it knows the code.
    #[error(
        "this setup code is not the device's: compare it with the label (one of a few attempts was used)"
    )]
    WrongCode,
    /// The device does not hear us.
    #[error("the device refused: {}", describe(.0))]
    Refused(RefusedReason),
    /// The device did not speak the protocol.
    #[error("the device does not speak the pairing protocol")]
    Protocol,
    /// The device acknowledged under another name.
    #[error("the device acknowledged under another name than its certificate's")]
    OtherDevice,
    /// Everything was sent, and the device's last word was lost: it may belong to the home.
    #[error(
        "the device did not acknowledge, and may belong to this home already: if it cannot be paired again, reset it first"
    )]
    Unacknowledged,
    /// There was not enough memory for the derivation.
    #[error("there is not enough memory to check the setup code")]
    Memory,
}

fn describe(reason: &RefusedReason) -> String {
    match reason {
        RefusedReason::Version => "it speaks another version of pairing".to_owned(),
        RefusedReason::Locked { wait: Some(wait) } => {
            format!("too many wrong codes, try again in {} s", wait.as_secs_f64().ceil())
        }
        RefusedReason::Locked { wait: None } => {
            "too many wrong codes; press its button, or switch its power off and on".to_owned()
        }
        RefusedReason::WrongCode => "the setup code is not its own".to_owned(),
        RefusedReason::Storage => "it could not store what was installed".to_owned(),
        RefusedReason::Busy => "somebody else is pairing with it right now".to_owned(),
    }
}

/// One conversation of the controller.
pub struct PairingController {
    binding: Binding,
    frames: FrameBuffer,
    phase: Phase,
}

enum Phase {
    Params(Box<AwaitParams>),
    Share(Box<AwaitShare>),
    Installed,
    Closed,
}

struct AwaitParams {
    code: SetupCode,
    hello: Zeroizing<Vec<u8>>,
    prover: Vec<u8>,
    install: Zeroizing<Vec<u8>>,
}

struct AwaitShare {
    prover: Prover,
    install: Zeroizing<Vec<u8>>,
}

impl PairingController {
    /// Begins a conversation; the second value is the first message, to be sent.
    ///
    /// The shell has verified the device's certificate up to the root whose fingerprint is on the label, and that its name
    /// is the label's serial, before it makes `binding`.
    ///
    /// # Errors
    /// [`InvalidInstallation`] when a field cannot be sent or the channel is weaker than the network's key. Nothing was
    /// sent then.
    pub fn start(
        code: SetupCode,
        binding: Binding,
        installation: &Installation,
    ) -> Result<(Self, Zeroizing<Vec<u8>>), InvalidInstallation> {
        let install = installation.encode_for(binding.strength)?;
        let anchor = sha256(&installation.anchor);
        let owner = installation.owner.clone();
        let prover = [anchor.as_slice(), owner.as_str().as_bytes()].concat();
        let hello = Message::Hello { version: VERSION, owner, anchor }.encode();
        let first = framed(&hello);
        let phase = Phase::Params(Box::new(AwaitParams { code, hello, prover, install }));
        Ok((Self { binding, frames: FrameBuffer::default(), phase }, first))
    }

    /// Takes what arrived. The device's parameters make this run Argon2id, which takes a moment.
    pub fn receive(&mut self, bytes: &[u8], random: &mut dyn Random) -> Vec<ControllerOutput> {
        let mut outputs = Vec::new();
        let result = self.frames.push(bytes).map_err(|_| PairingFailure::Protocol);
        if let Err(failure) = result.and_then(|()| self.steps(random, &mut outputs)) {
            self.phase = Phase::Closed;
            outputs.push(ControllerOutput::Failed(failure));
        }
        outputs
    }

    /// The channel ended, or a deadline passed, before the device acknowledged.
    pub fn broken_off(&mut self) -> Vec<ControllerOutput> {
        let failure = match std::mem::replace(&mut self.phase, Phase::Closed) {
            Phase::Closed => return Vec::new(),
            Phase::Installed => PairingFailure::Unacknowledged,
            Phase::Params(_) | Phase::Share(_) => PairingFailure::Protocol,
        };
        vec![ControllerOutput::Failed(failure)]
    }

    fn steps(
        &mut self,
        random: &mut dyn Random,
        outputs: &mut Vec<ControllerOutput>,
    ) -> Result<(), PairingFailure> {
        while !matches!(self.phase, Phase::Closed) {
            let frame = self.frames.next().map_err(|_| PairingFailure::Protocol)?;
            let Some(frame) = frame else { break };
            let message = Message::decode(&frame).map_err(|_| PairingFailure::Protocol)?;
            self.phase = match (std::mem::replace(&mut self.phase, Phase::Closed), message) {
                (_, Message::Refused(reason)) => return Err(PairingFailure::Refused(reason)),
                (Phase::Params(phase), Message::Params(params)) => {
                    Phase::Share(Box::new(self.prove(*phase, &frame, &params, random, outputs)?))
                }
                (Phase::Share(phase), Message::ShareV { share, confirm }) => {
                    let AwaitShare { prover, install } = *phase;
                    let (confirm_p, _key) =
                        prover.finish(&share, &confirm).map_err(|error| match error {
                            PakeError::Mismatch => PairingFailure::WrongCode,
                            _ => PairingFailure::Protocol,
                        })?;
                    let confirm_p = Message::ConfirmP(confirm_p).encode();
                    outputs.push(ControllerOutput::Send(framed(&confirm_p)));
                    outputs.push(ControllerOutput::Send(framed(&install)));
                    Phase::Installed
                }
                (Phase::Installed, Message::Installed(done)) => {
                    if done.thing != self.binding.device {
                        return Err(PairingFailure::OtherDevice);
                    }
                    outputs.push(ControllerOutput::Paired(done));
                    Phase::Closed
                }
                _ => return Err(PairingFailure::Protocol),
            };
        }
        Ok(())
    }

    fn prove(
        &self,
        phase: AwaitParams,
        params_frame: &[u8],
        params: &PakeParams,
        random: &mut dyn Random,
        outputs: &mut Vec<ControllerOutput>,
    ) -> Result<AwaitShare, PairingFailure> {
        let AwaitParams { code, hello, prover, install } = phase;
        let device = &self.binding.device;
        let secret = derive(&code, device, params).map_err(|_| PairingFailure::Memory)?;
        let context = self.binding.context(&hello, params_frame);
        let run =
            RunContext { context: &context, prover: &prover, verifier: device.as_str().as_bytes() };
        let (prover, share) = Prover::start(&secret, &run, random);
        outputs.push(ControllerOutput::Send(framed(&Message::ShareP(share).encode())));
        Ok(AwaitShare { prover, install })
    }
}

impl std::fmt::Debug for PairingController {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PairingController(..)")
    }
}
