//! The device's half.

use super::door::{Door, Ended, Open, Why};
use super::message::{Joined, Message, Refused, VERSION, Welcome};
use super::{MAX_GUESSES, SESSION_TIMEOUT, context};
use crate::discovery::ThingKey;
use crate::pairing::Binding;
use crate::pairing::frame::{FrameBuffer, framed};
use countersign_crypto::digest::sha256;
use countersign_crypto::pake::{
    PakeError, RunContext, Verifier, VerifierConfirming, VerifierRecord,
};
use countersign_crypto::random::Random;
use countersign_model::id::PersonName;
use countersign_model::role::Role;
use countersign_model::time::Timestamp;
use zeroize::Zeroizing;

/// What the shell does next. The order matters: when one output fails, the rest is not carried out and the channel closes.
#[derive(Debug)]
pub enum InvitationOutput {
    /// Send these bytes.
    Send(Zeroizing<Vec<u8>>),
    /// The invitation is over without having been used: record it.
    Ended(Ended),
    /// Store this person, durably, then call [`InvitationDevice::stored`] or [`InvitationDevice::not_stored`].
    Store(Joining),
    /// Send what is left and close the channel.
    Close(InvitationClose),
}

/// How a conversation ended, for the device's own log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InvitationClose {
    /// The person is stored.
    Done,
    /// Nobody is invited.
    Closed,
    /// The code was wrong, or somebody sat in between.
    WrongCode,
    /// The peer did not speak the protocol: garbage, too much, or out of order.
    Protocol,
    /// The conversation took too long.
    Timeout,
    /// The person could not be stored.
    Storage,
}

/// Somebody who proved the code of an open invitation. Made by the conversation only, once for each invitation.
///
/// ```compile_fail,E0451
/// use countersign_protocol::invitation::Joining;
/// let forged = Joining { person: todo!(), role: todo!(), anchor: Vec::new() };
/// ```
#[derive(Debug, PartialEq, Eq)]
pub struct Joining {
    person: PersonName,
    role: Role,
    anchor: Vec<u8>,
}

impl Joining {
    /// The name that the owner gave.
    #[must_use]
    pub const fn person(&self) -> &PersonName {
        &self.person
    }

    /// The role that the owner gave.
    #[must_use]
    pub const fn role(&self) -> Role {
        self.role
    }

    /// The certificate (DER) of the authority that vouches for this person.
    #[must_use]
    pub fn anchor(&self) -> &[u8] {
        &self.anchor
    }

    /// Its SHA-256.
    #[must_use]
    pub fn anchor_sha256(&self) -> [u8; 32] {
        sha256(&self.anchor)
    }
}

/// One conversation of the device. Several may run: guesses are counted, and the invitation is taken out, in the one [`Door`].
pub struct InvitationDevice {
    binding: Binding,
    td_sha256: [u8; 32],
    discovery: ThingKey,
    deadline: Timestamp,
    frames: FrameBuffer,
    phase: Phase,
}

enum Phase {
    Hello,
    Share { number: u64, record: VerifierRecord, context: Vec<u8>, anchor: [u8; 32] },
    Confirm { number: u64, confirming: Box<VerifierConfirming>, anchor: [u8; 32] },
    Join { number: u64, anchor: [u8; 32] },
    Storing(Ended),
    Closed,
}

impl InvitationDevice {
    /// Begins a conversation on a fresh channel. Whoever is welcome is told what the description's SHA-256 is, and what
    /// recognises the device.
    #[must_use]
    pub fn new(binding: Binding, td_sha256: [u8; 32], discovery: ThingKey, now: Timestamp) -> Self {
        let (deadline, frames) = (now.plus(SESSION_TIMEOUT), FrameBuffer::default());
        Self { binding, td_sha256, discovery, deadline, frames, phase: Phase::Hello }
    }

    /// When the shell is to call [`InvitationDevice::timeout`].
    #[must_use]
    pub const fn deadline(&self) -> Timestamp {
        self.deadline
    }

    /// Takes what arrived. Any bytes get an answer; nothing is answered after a [`InvitationOutput::Close`].
    pub fn receive(
        &mut self,
        bytes: &[u8],
        door: &mut Door,
        now: Timestamp,
        random: &mut dyn Random,
    ) -> Vec<InvitationOutput> {
        if matches!(self.phase, Phase::Closed) {
            return Vec::new();
        }
        let mut outputs = Vec::new();
        if self.frames.push(bytes).is_err() {
            return self.close(outputs, InvitationClose::Protocol);
        }
        while !matches!(self.phase, Phase::Storing(_) | Phase::Closed) {
            let frame = match self.frames.next() {
                Ok(Some(frame)) => frame,
                Ok(None) => break,
                Err(_) => return self.close(outputs, InvitationClose::Protocol),
            };
            if let Err(reason) = self.step(&frame, door, now, random, &mut outputs) {
                return self.close(outputs, reason);
            }
        }
        outputs
    }

    /// The person is stored: acknowledges it.
    pub fn stored(&mut self) -> Vec<InvitationOutput> {
        if !matches!(self.phase, Phase::Storing(_)) {
            return Vec::new();
        }
        let done = Message::Joined(Joined { thing: self.binding.device.clone() });
        let answer = InvitationOutput::Send(framed(&done.encode()));
        self.close(vec![answer], InvitationClose::Done)
    }

    /// The person could not be stored: says so. The invitation is over all the same.
    pub fn not_stored(&mut self) -> Vec<InvitationOutput> {
        let Phase::Storing(ended) = std::mem::replace(&mut self.phase, Phase::Closed) else {
            return Vec::new();
        };
        let outputs = vec![InvitationOutput::Ended(ended), refuse(Refused::NotStored)];
        self.close(outputs, InvitationClose::Storage)
    }

    /// The deadline has passed.
    pub fn timeout(&mut self) -> Vec<InvitationOutput> {
        if matches!(self.phase, Phase::Closed) {
            return Vec::new();
        }
        self.close(Vec::new(), InvitationClose::Timeout)
    }

    fn close(
        &mut self,
        mut outputs: Vec<InvitationOutput>,
        reason: InvitationClose,
    ) -> Vec<InvitationOutput> {
        self.phase = Phase::Closed;
        outputs.push(InvitationOutput::Close(reason));
        outputs
    }

    fn step(
        &mut self,
        frame: &[u8],
        door: &mut Door,
        now: Timestamp,
        random: &mut dyn Random,
        outputs: &mut Vec<InvitationOutput>,
    ) -> Result<(), InvitationClose> {
        let message = Message::decode(frame).map_err(|_| InvitationClose::Protocol)?;
        // A phase is taken out, used up, and replaced: whatever fails on the way leaves the conversation closed.
        self.phase = match (std::mem::replace(&mut self.phase, Phase::Closed), message) {
            (Phase::Hello, Message::Hello { version, anchor }) => {
                if version != VERSION {
                    outputs.push(refuse(Refused::Version));
                    return Err(InvitationClose::Protocol);
                }
                let open = door.at(now).ok_or(Refused::Closed);
                let open = open.map_err(|refused| say(outputs, refused))?;
                let record = open.record.expose(VerifierRecord::from_bytes);
                let record = record.map_err(|_| InvitationClose::Storage)?;
                let params = Message::Params(open.params).encode();
                let context = context(&self.binding, frame, &params);
                outputs.push(InvitationOutput::Send(framed(&params)));
                Phase::Share { number: open.number, record, context, anchor }
            }
            (Phase::Share { number, record, context, anchor }, Message::ShareP(share)) => {
                guess(door, number, now, outputs)?;
                let confirming =
                    self.answer((&record, &context, &anchor), &share, random, outputs)?;
                Phase::Confirm { number, confirming: Box::new(confirming), anchor }
            }
            (Phase::Confirm { number, confirming, anchor }, Message::ConfirmP(confirm)) => {
                if confirming.finish(&confirm).is_err() {
                    // Recorded before it is said: whoever was wrong need not wait for the answer.
                    give_up_on(door, number, outputs);
                    outputs.push(refuse(Refused::WrongCode));
                    return Err(InvitationClose::WrongCode);
                }
                let open = door.still(number, now).ok_or(Refused::Closed);
                let open = open.map_err(|refused| say(outputs, refused))?;
                let welcome = Welcome {
                    person: open.person.clone(),
                    role: open.role,
                    td_sha256: self.td_sha256,
                    discovery: self.discovery.clone(),
                };
                outputs.push(InvitationOutput::Send(framed(&Message::Welcome(welcome).encode())));
                Phase::Join { number, anchor }
            }
            (Phase::Join { number, anchor: promised }, Message::Join { anchor }) => {
                if sha256(&anchor) != promised {
                    return Err(InvitationClose::Protocol);
                }
                // From here on nobody else can use it, whatever becomes of this conversation.
                let open = door.take(number, now).ok_or(Refused::Closed);
                let open = open.map_err(|refused| say(outputs, refused))?;
                let Open { person, role, .. } = open;
                let ended = Ended { person: person.clone(), role, why: Why::NotStored };
                outputs.push(InvitationOutput::Store(Joining { person, role, anchor }));
                Phase::Storing(ended)
            }
            _ => return Err(InvitationClose::Protocol),
        };
        Ok(())
    }

    fn answer(
        &self,
        (record, context, anchor): (&VerifierRecord, &[u8], &[u8; 32]),
        share: &[u8],
        random: &mut dyn Random,
        outputs: &mut Vec<InvitationOutput>,
    ) -> Result<VerifierConfirming, InvitationClose> {
        let run = RunContext {
            context,
            prover: anchor,
            verifier: self.binding.device.as_str().as_bytes(),
        };
        let (confirming, answer) =
            Verifier::respond(record, &run, share, random).map_err(|error| match error {
                PakeError::Environment => InvitationClose::Storage,
                _ => InvitationClose::Protocol,
            })?;
        let message = Message::ShareV { share: answer.share_v, confirm: answer.confirm_v };
        outputs.push(InvitationOutput::Send(framed(&message.encode())));
        Ok(confirming)
    }
}

//= specs/house.md#house-sharing
//# A guess at an invitation MUST be counted before it is answered, and a few MUST end the invitation.
/// Counts a guess, before its answer lets somebody test one.
fn guess(
    door: &mut Door,
    number: u64,
    now: Timestamp,
    outputs: &mut Vec<InvitationOutput>,
) -> Result<(), InvitationClose> {
    let Some(open) = door.still(number, now) else {
        return Err(say(outputs, Refused::Closed));
    };
    if open.guesses >= MAX_GUESSES {
        outputs.extend(door.end(Why::Guessed).map(InvitationOutput::Ended));
        return Err(say(outputs, Refused::Closed));
    }
    open.guesses += 1;
    Ok(())
}

/// After the last wrong guess there is no invitation any more.
fn give_up_on(door: &mut Door, number: u64, outputs: &mut Vec<InvitationOutput>) {
    let over = door.numbered(number).is_some_and(|open| open.guesses >= MAX_GUESSES);
    if over {
        outputs.extend(door.end(Why::Guessed).map(InvitationOutput::Ended));
    }
}

fn say(outputs: &mut Vec<InvitationOutput>, refused: Refused) -> InvitationClose {
    outputs.push(refuse(refused));
    InvitationClose::Closed
}

fn refuse(refused: Refused) -> InvitationOutput {
    InvitationOutput::Send(framed(&Message::Refused(refused).encode()))
}

impl std::fmt::Debug for InvitationDevice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("InvitationDevice").finish_non_exhaustive()
    }
}
