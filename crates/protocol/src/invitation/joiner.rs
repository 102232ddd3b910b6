//! The invited person's half.

use super::context;
use super::message::{Joined, Message, Refused, VERSION, Welcome};
use crate::pairing::Binding;
use crate::pairing::frame::{FrameBuffer, framed};
use countersign_crypto::digest::sha256;
use countersign_crypto::pake::{PakeError, Prover, RunContext, derive};
use countersign_crypto::random::Random;
use countersign_model::label::SetupCode;
use zeroize::Zeroizing;

/// What the shell does next, in order.
#[derive(Debug)]
pub enum JoinerOutput {
    /// Send these bytes.
    Send(Zeroizing<Vec<u8>>),
    /// The device was given this code, and says what the joiner is to be. To be kept before what follows is sent: the last
    /// acknowledgement may be lost.
    Welcome(Welcome),
    /// The device has stored the person. The conversation is over.
    Joined,
    /// It failed; close the channel.
    Failed(InvitationFailure),
}

/// Why joining failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvitationFailure {
    /// The device could not prove that it was given the code, or does not take ours.
    #[error("this code is not the invitation's: compare it, or ask for another invitation")]
    WrongCode,
    /// Nobody is invited there, or not any more.
    #[error("the invitation is used, withdrawn or over: ask for another one")]
    Closed,
    /// The device speaks another version.
    #[error("the device speaks another version of invitations")]
    Version,
    /// The device could not store the person.
    #[error("the device could not take you in: ask for another invitation")]
    NotStored,
    /// The device did not speak the protocol.
    #[error("the device does not speak the protocol of invitations")]
    Protocol,
    /// There was not enough memory for the derivation.
    #[error("there is not enough memory to check the code")]
    Memory,
}

/// One conversation of the joiner.
pub struct InvitationJoiner {
    binding: Binding,
    anchor: Vec<u8>,
    frames: FrameBuffer,
    phase: Phase,
}

enum Phase {
    Params { code: SetupCode, hello: Vec<u8> },
    Share(Box<Prover>),
    Welcome,
    Joined,
    Closed,
}

impl InvitationJoiner {
    /// Begins a conversation; the second value is the first message, to be sent. `anchor` is the certificate (DER) of the
    /// joiner's own authority.
    ///
    /// The shell has verified the device's certificate up to the root that the invitation names, and that its name is the
    /// invitation's device, before it makes `binding`.
    #[must_use]
    pub fn start(code: SetupCode, binding: Binding, anchor: &[u8]) -> (Self, Zeroizing<Vec<u8>>) {
        let hello = Message::Hello { version: VERSION, anchor: sha256(anchor) }.encode();
        let first = framed(&hello);
        let phase = Phase::Params { code, hello };
        (Self { binding, anchor: anchor.to_vec(), frames: FrameBuffer::default(), phase }, first)
    }

    /// Takes what arrived. The device's parameters make this run Argon2id, which takes a moment.
    pub fn receive(&mut self, bytes: &[u8], random: &mut dyn Random) -> Vec<JoinerOutput> {
        let mut outputs = Vec::new();
        let result = self.frames.push(bytes).map_err(|_| InvitationFailure::Protocol);
        if let Err(failure) = result.and_then(|()| self.steps(random, &mut outputs)) {
            self.phase = Phase::Closed;
            outputs.push(JoinerOutput::Failed(failure));
        }
        outputs
    }

    fn steps(
        &mut self,
        random: &mut dyn Random,
        outputs: &mut Vec<JoinerOutput>,
    ) -> Result<(), InvitationFailure> {
        while !matches!(self.phase, Phase::Closed) {
            let frame = self.frames.next().map_err(|_| InvitationFailure::Protocol)?;
            let Some(frame) = frame else { break };
            let message = Message::decode(&frame).map_err(|_| InvitationFailure::Protocol)?;
            self.phase = match (std::mem::replace(&mut self.phase, Phase::Closed), message) {
                (_, Message::Refused(refused)) => return Err(failure(refused)),
                (Phase::Params { code, hello }, Message::Params(params)) => {
                    let secret =
                        derive(&code, &self.binding.device, &params).map_err(
                            |error| match error {
                                PakeError::Environment => InvitationFailure::Memory,
                                _ => InvitationFailure::Protocol,
                            },
                        )?;
                    let context = context(&self.binding, &hello, &frame);
                    let run = RunContext {
                        context: &context,
                        prover: &sha256(&self.anchor),
                        verifier: self.binding.device.as_str().as_bytes(),
                    };
                    let (prover, share) = Prover::start(&secret, &run, random);
                    outputs.push(send(&Message::ShareP(share)));
                    Phase::Share(Box::new(prover))
                }
                (Phase::Share(prover), Message::ShareV { share, confirm }) => {
                    let (confirm, _key) =
                        prover.finish(&share, &confirm).map_err(|error| match error {
                            PakeError::Mismatch => InvitationFailure::WrongCode,
                            _ => InvitationFailure::Protocol,
                        })?;
                    outputs.push(send(&Message::ConfirmP(confirm)));
                    Phase::Welcome
                }
                (Phase::Welcome, Message::Welcome(welcome)) => {
                    outputs.push(JoinerOutput::Welcome(welcome));
                    outputs.push(send(&Message::Join { anchor: self.anchor.clone() }));
                    Phase::Joined
                }
                (Phase::Joined, Message::Joined(Joined { thing })) => {
                    if thing != self.binding.device {
                        return Err(InvitationFailure::Protocol);
                    }
                    outputs.push(JoinerOutput::Joined);
                    Phase::Closed
                }
                _ => return Err(InvitationFailure::Protocol),
            };
        }
        Ok(())
    }
}

const fn failure(refused: Refused) -> InvitationFailure {
    match refused {
        Refused::Version => InvitationFailure::Version,
        Refused::Closed => InvitationFailure::Closed,
        Refused::WrongCode => InvitationFailure::WrongCode,
        Refused::NotStored => InvitationFailure::NotStored,
    }
}

fn send(message: &Message) -> JoinerOutput {
    JoinerOutput::Send(framed(&message.encode()))
}

impl std::fmt::Debug for InvitationJoiner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("InvitationJoiner(..)")
    }
}
