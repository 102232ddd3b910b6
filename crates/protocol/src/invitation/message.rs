//! The messages, and their exact bytes: definite-length CBOR arrays that begin with the message's number.

use crate::discovery::ThingKey;
use countersign_crypto::pake::{CONFIRM_LEN, PakeParams, SHARE_LEN};
use countersign_model::id::{PersonName, ThingId};
use countersign_model::role::Role;
use minicbor::{Decoder, Encoder};

/// The version of this conversation.
pub(super) const VERSION: u8 = 2;
/// Largest anchor (DER), in bytes: an ECC certificate has a few hundred.
pub(super) const MAX_ANCHOR: usize = 4096;

/// What the device tells who proved the code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Welcome {
    /// The name that the joiner has here.
    pub person: PersonName,
    /// The joiner's role.
    pub role: Role,
    /// SHA-256 of the Thing Description.
    pub td_sha256: [u8; 32],
    /// What recognises the device on the network.
    pub discovery: ThingKey,
}

/// What the device answers when the person is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Joined {
    /// The device.
    pub thing: ThingId,
}

/// Why the device goes no further.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refused {
    /// Another version of this conversation.
    Version,
    /// Nobody is invited, or not any more.
    Closed,
    /// The code was wrong.
    WrongCode,
    /// The person could not be stored, or is on the list already.
    NotStored,
}

#[derive(Debug)]
pub(super) enum Message {
    Hello { version: u8, anchor: [u8; 32] },
    Params(PakeParams),
    ShareP([u8; SHARE_LEN]),
    ShareV { share: [u8; SHARE_LEN], confirm: [u8; CONFIRM_LEN] },
    ConfirmP([u8; CONFIRM_LEN]),
    Welcome(Welcome),
    Join { anchor: Vec<u8> },
    Joined(Joined),
    Refused(Refused),
}

/// The bytes are no message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Malformed;

impl From<minicbor::decode::Error> for Malformed {
    fn from(_: minicbor::decode::Error) -> Self {
        Self
    }
}

type Encoded = Result<(), minicbor::encode::Error<std::convert::Infallible>>;

impl Message {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.write(&mut Encoder::new(&mut bytes)).expect("writing to a vector cannot fail");
        bytes
    }

    fn write(&self, to: &mut Encoder<&mut Vec<u8>>) -> Encoded {
        match self {
            Self::Hello { version, anchor } => to.array(3)?.u8(1)?.u8(*version)?.bytes(anchor)?,
            Self::Params(params) => to
                .array(5)?
                .u8(2)?
                .bytes(params.salt())?
                .u32(params.memory_kib())?
                .u32(params.passes())?
                .u32(params.lanes())?,
            Self::ShareP(share) => to.array(2)?.u8(3)?.bytes(share)?,
            Self::ShareV { share, confirm } => to.array(3)?.u8(4)?.bytes(share)?.bytes(confirm)?,
            Self::ConfirmP(confirm) => to.array(2)?.u8(5)?.bytes(confirm)?,
            Self::Welcome(Welcome { person, role, td_sha256, discovery }) => to
                .array(5)?
                .u8(6)?
                .str(person.as_str())?
                .str(role.as_str())?
                .bytes(td_sha256)?
                .bytes(discovery.as_bytes())?,
            Self::Join { anchor } => to.array(2)?.u8(7)?.bytes(anchor)?,
            Self::Joined(done) => to.array(2)?.u8(8)?.str(done.thing.as_str())?,
            Self::Refused(reason) => to.array(2)?.u8(9)?.u8(match reason {
                Refused::Version => 1,
                Refused::Closed => 2,
                Refused::WrongCode => 3,
                Refused::NotStored => 4,
            })?,
        };
        Ok(())
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut from = Decoder::new(bytes);
        let parts = from.array()?.ok_or(Malformed)?;
        let message = match (from.u8()?, parts) {
            (1, 3) => Self::Hello { version: from.u8()?, anchor: fixed(&mut from)? },
            (2, 5) => {
                let salt = fixed(&mut from)?;
                let (memory, passes, lanes) = (from.u32()?, from.u32()?, from.u32()?);
                Self::Params(PakeParams::new(salt, memory, passes, lanes).map_err(|_| Malformed)?)
            }
            (3, 2) => Self::ShareP(fixed(&mut from)?),
            (4, 3) => Self::ShareV { share: fixed(&mut from)?, confirm: fixed(&mut from)? },
            (5, 2) => Self::ConfirmP(fixed(&mut from)?),
            (6, 5) => Self::Welcome(Welcome {
                person: from.str()?.parse().map_err(|_| Malformed)?,
                role: from.str()?.parse().map_err(|_| Malformed)?,
                td_sha256: fixed(&mut from)?,
                discovery: ThingKey::from_bytes(fixed(&mut from)?),
            }),
            (7, 2) => {
                let anchor = from.bytes()?;
                if anchor.is_empty() || anchor.len() > MAX_ANCHOR {
                    return Err(Malformed);
                }
                Self::Join { anchor: anchor.to_vec() }
            }
            (8, 2) => Self::Joined(Joined { thing: from.str()?.parse().map_err(|_| Malformed)? }),
            (9, 2) => Self::Refused(match from.u8()? {
                1 => Refused::Version,
                2 => Refused::Closed,
                3 => Refused::WrongCode,
                4 => Refused::NotStored,
                _ => return Err(Malformed),
            }),
            _ => return Err(Malformed),
        };
        if from.position() == bytes.len() { Ok(message) } else { Err(Malformed) }
    }
}

fn fixed<const N: usize>(from: &mut Decoder<'_>) -> Result<[u8; N], Malformed> {
    from.bytes()?.try_into().map_err(|_| Malformed)
}
