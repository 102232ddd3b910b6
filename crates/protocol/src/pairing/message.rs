//! The messages, and their exact bytes: definite-length CBOR arrays that begin with the message's number.

use countersign_crypto::pake::{CONFIRM_LEN, PakeParams, SHARE_LEN};
use countersign_crypto::secret::{ChannelTooWeak, Secret, Strength};
use countersign_model::id::{PersonName, ThingId};
use countersign_model::time::Timestamp;
use minicbor::{Decoder, Encoder};
use std::time::Duration;
use zeroize::Zeroizing;

/// The version of this conversation.
pub(super) const VERSION: u8 = 1;
/// Largest home anchor (DER), in bytes: an ECC certificate has a few hundred.
const MAX_ANCHOR: usize = 4096;
/// Longest name of a network (IEEE 802.11: an SSID has up to 32 bytes).
const MAX_SSID: usize = 32;
/// Longest network key: a WPA passphrase has up to 63 characters, a raw PSK 64 hexadecimal digits.
const MAX_NETWORK_KEY: usize = 64;
/// Longest `host:port`: a DNS name has up to 253 bytes.
const MAX_ADDRESS: usize = 260;

/// What the controller installs.
#[derive(Debug)]
pub struct Installation {
    /// The certificate (DER) of the home's own authority, which vouches for the home's persons.
    pub anchor: Vec<u8>,
    /// The first owner, as certificates of that anchor name them.
    pub owner: PersonName,
    /// The network to join; `None` when a cable does.
    pub network: Option<NetworkCredentials>,
    /// Where the device's gateway is; `None` for a home without one.
    pub gateway: Option<GatewayAddress>,
    /// The controller's time: raises the device's floor.
    pub now: Timestamp,
}

/// A wireless network's name and key.
#[derive(Debug)]
pub struct NetworkCredentials {
    /// Its name.
    pub ssid: String,
    /// Its key, which leaves only through a channel that is at least as strong.
    pub key: Secret,
}

/// Where a device finds its gateway and the authority's enrolment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GatewayAddress {
    /// `host:port` of MQTT.
    pub mqtt: String,
    /// `host:port` of enrolment (EST).
    pub est: String,
    /// The name that both servers' certificates must carry.
    pub server_name: String,
}

/// What the device answers when everything is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Installed {
    /// The device.
    pub thing: ThingId,
    /// The port of its local API.
    pub local_port: u16,
    /// SHA-256 of the Thing Description that it was started with.
    pub td_sha256: [u8; 32],
}

/// Why the device hears no attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefusedReason {
    /// Another version of this conversation.
    Version,
    /// Too many wrong codes lately: wait.
    Locked {
        /// So long; `None` until somebody is present at the device.
        wait: Option<Duration>,
    },
    /// The code was wrong.
    WrongCode,
    /// The device could not store the installation.
    Storage,
    /// Somebody else is pairing with it right now.
    Busy,
}

/// Why an installation cannot be sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidInstallation {
    /// A part is empty or too long.
    #[error("the {0} is empty or too long to be installed")]
    Field(&'static str),
    /// The network's key is stronger than the channel.
    #[error(transparent)]
    Channel(#[from] ChannelTooWeak),
}

#[derive(Debug)]
pub(super) enum Message {
    Hello { version: u8, owner: PersonName, anchor: [u8; 32] },
    Params(PakeParams),
    ShareP([u8; SHARE_LEN]),
    ShareV { share: [u8; SHARE_LEN], confirm: [u8; CONFIRM_LEN] },
    ConfirmP([u8; CONFIRM_LEN]),
    Install(Box<Installation>),
    Installed(Installed),
    Refused(RefusedReason),
}

/// The bytes are no message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Malformed;

impl From<minicbor::decode::Error> for Malformed {
    fn from(_: minicbor::decode::Error) -> Self {
        Self
    }
}

type Bytes = Zeroizing<Vec<u8>>;
type Encoded = Result<(), minicbor::encode::Error<std::convert::Infallible>>;

fn encoded(write: impl FnOnce(&mut Encoder<&mut Vec<u8>>) -> Encoded) -> Bytes {
    // Room for the largest message at once, so that no copy is left behind by growing.
    let mut bytes = Zeroizing::new(Vec::with_capacity(super::MAX_FRAME));
    write(&mut Encoder::new(&mut bytes)).expect("writing to a vector cannot fail");
    bytes
}

impl Message {
    /// The bytes of every message but [`Message::Install`], whose secrets ask for a channel.
    pub(super) fn encode(&self) -> Bytes {
        encoded(|to| match self {
            Self::Hello { version, owner, anchor } => {
                to.array(4)?.u8(1)?.u8(*version)?.str(owner.as_str())?.bytes(anchor)?.ok()
            }
            Self::Params(params) => to
                .array(5)?
                .u8(2)?
                .bytes(params.salt())?
                .u32(params.memory_kib())?
                .u32(params.passes())?
                .u32(params.lanes())?
                .ok(),
            Self::ShareP(share) => to.array(2)?.u8(3)?.bytes(share)?.ok(),
            Self::ShareV { share, confirm } => {
                to.array(3)?.u8(4)?.bytes(share)?.bytes(confirm)?.ok()
            }
            Self::ConfirmP(confirm) => to.array(2)?.u8(5)?.bytes(confirm)?.ok(),
            Self::Install(_) => unreachable!("installations are encoded for a channel"),
            Self::Installed(done) => to
                .array(4)?
                .u8(7)?
                .str(done.thing.as_str())?
                .u16(done.local_port)?
                .bytes(&done.td_sha256)?
                .ok(),
            Self::Refused(reason) => {
                let (word, wait) = match reason {
                    RefusedReason::Version => (1, None),
                    RefusedReason::Locked { wait } => (2, *wait),
                    RefusedReason::WrongCode => (3, None),
                    RefusedReason::Storage => (4, None),
                    RefusedReason::Busy => (5, None),
                };
                to.array(3)?.u8(8)?.u8(word)?;
                match wait {
                    Some(wait) => to.u64(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX))?.ok(),
                    None => to.null()?.ok(),
                }
            }
        })
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut from = Decoder::new(bytes);
        let parts = from.array()?.ok_or(Malformed)?;
        let kind = from.u8()?;
        let message = match (kind, parts) {
            (1, 4) => Self::Hello {
                version: from.u8()?,
                owner: from.str()?.parse().map_err(|_| Malformed)?,
                anchor: fixed(&mut from)?,
            },
            (2, 5) => {
                let salt = fixed(&mut from)?;
                let (memory, passes, lanes) = (from.u32()?, from.u32()?, from.u32()?);
                Self::Params(PakeParams::new(salt, memory, passes, lanes).map_err(|_| Malformed)?)
            }
            (3, 2) => Self::ShareP(fixed(&mut from)?),
            (4, 3) => Self::ShareV { share: fixed(&mut from)?, confirm: fixed(&mut from)? },
            (5, 2) => Self::ConfirmP(fixed(&mut from)?),
            (6, 6) => Self::Install(Box::new(Installation::decode(&mut from)?)),
            (7, 4) => Self::Installed(Installed {
                thing: from.str()?.parse().map_err(|_| Malformed)?,
                local_port: from.u16()?,
                td_sha256: fixed(&mut from)?,
            }),
            (8, 3) => Self::Refused(refused(&mut from)?),
            _ => return Err(Malformed),
        };
        if from.position() == bytes.len() { Ok(message) } else { Err(Malformed) }
    }
}

fn refused(from: &mut Decoder<'_>) -> Result<RefusedReason, Malformed> {
    let word = from.u8()?;
    let wait = optional(from, |from| Ok(from.u64()?))?.map(Duration::from_millis);
    match (word, wait) {
        (1, None) => Ok(RefusedReason::Version),
        (2, wait) => Ok(RefusedReason::Locked { wait }),
        (3, None) => Ok(RefusedReason::WrongCode),
        (4, None) => Ok(RefusedReason::Storage),
        (5, None) => Ok(RefusedReason::Busy),
        _ => Err(Malformed),
    }
}

impl Installation {
    //= specs/en-303-645.md#5.5-7
    //# Critical security parameters that travel over remotely accessible interfaces MUST stay confidential and intact.
    /// The message's bytes for a channel of strength `channel`. Called before anything is sent, so that a weak channel
    /// or an impossible field is found while nothing has happened yet.
    pub(super) fn encode_for(&self, channel: Strength) -> Result<Bytes, InvalidInstallation> {
        self.check()?;
        let head = |to: &mut Encoder<&mut Vec<u8>>| -> Encoded {
            to.array(6)?.u8(6)?.bytes(&self.anchor)?.str(self.owner.as_str())?.ok()
        };
        let tail = |to: &mut Encoder<&mut Vec<u8>>| -> Encoded {
            match &self.gateway {
                Some(gateway) => {
                    to.array(3)?
                        .str(&gateway.mqtt)?
                        .str(&gateway.est)?
                        .str(&gateway.server_name)?;
                }
                None => {
                    to.null()?;
                }
            }
            to.u64(self.now.as_millis())?.ok()
        };
        let Some(network) = &self.network else {
            return Ok(encoded(|to| {
                head(to)?;
                to.null()?;
                tail(to)
            }));
        };
        //= specs/en-303-645.md#5.5-7
        //# What protects a critical security parameter in transit MUST be at least as strong as the parameter.
        Ok(network.key.reveal_to(channel, |key| {
            encoded(|to| {
                head(to)?;
                to.array(3)?.str(&network.ssid)?.bytes(key)?.u16(network.key.strength().0)?;
                tail(to)
            })
        })?)
    }

    fn check(&self) -> Result<(), InvalidInstallation> {
        let field = |name, length: usize, max| {
            let fine = (1..=max).contains(&length);
            if fine { Ok(()) } else { Err(InvalidInstallation::Field(name)) }
        };
        field("home's anchor", self.anchor.len(), MAX_ANCHOR)?;
        if let Some(network) = &self.network {
            field("network's name", network.ssid.len(), MAX_SSID)?;
            field("network's key", network.key.len(), MAX_NETWORK_KEY)?;
        }
        if let Some(gateway) = &self.gateway {
            field("gateway's MQTT address", gateway.mqtt.len(), MAX_ADDRESS)?;
            field("enrolment address", gateway.est.len(), MAX_ADDRESS)?;
            field("gateway's name", gateway.server_name.len(), MAX_ADDRESS)?;
        }
        Ok(())
    }

    fn decode(from: &mut Decoder<'_>) -> Result<Self, Malformed> {
        let installation = Self {
            anchor: from.bytes()?.to_vec(),
            owner: from.str()?.parse().map_err(|_| Malformed)?,
            network: optional(from, |from| {
                three(from)?;
                Ok(NetworkCredentials {
                    ssid: from.str()?.to_owned(),
                    key: {
                        let key = from.bytes()?.to_vec();
                        Secret::new(key, Strength(from.u16()?))
                    },
                })
            })?,
            gateway: optional(from, |from| {
                three(from)?;
                Ok(GatewayAddress {
                    mqtt: from.str()?.to_owned(),
                    est: from.str()?.to_owned(),
                    server_name: from.str()?.to_owned(),
                })
            })?,
            now: Timestamp(from.u64()?),
        };
        installation.check().map_err(|_| Malformed)?;
        Ok(installation)
    }
}

fn three(from: &mut Decoder<'_>) -> Result<(), Malformed> {
    if from.array()? == Some(3) { Ok(()) } else { Err(Malformed) }
}

fn optional<'b, T>(
    from: &mut Decoder<'b>,
    read: impl FnOnce(&mut Decoder<'b>) -> Result<T, Malformed>,
) -> Result<Option<T>, Malformed> {
    if from.datatype()? == minicbor::data::Type::Null {
        from.null()?;
        return Ok(None);
    }
    read(from).map(Some)
}

fn fixed<const N: usize>(from: &mut Decoder<'_>) -> Result<[u8; N], Malformed> {
    from.bytes()?.try_into().map_err(|_| Malformed)
}
