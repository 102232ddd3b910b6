//! The state's bytes: a CBOR map with small integer keys. Unknown keys are skipped, so that an older build can be
//! put back; a higher major version is refused.

use super::record::{Home, PolicyRecord, Record, Slot};
use countersign_crypto::anchors::Anchor;
use countersign_crypto::certificate::{Certificate, CertificateChain};
use countersign_crypto::secret::{Secret, Strength};
use countersign_model::state::DeviceState;
use countersign_model::time::Timestamp;
use countersign_protocol::pairing::{GatewayAddress, NetworkCredentials};
use minicbor::decode::Error as Wrong;
use minicbor::encode::Error;
use minicbor::{Decoder, Encoder};
use std::convert::Infallible;
use std::sync::Arc;

/// Major version of the form.
const VERSION: u32 = 1;

type Out<'a> = Encoder<&'a mut Vec<u8>>;

/// The record as bytes, in a wrapper that is wiped: they hold the network credentials.
pub(super) fn encode(record: &Record) -> Secret {
    let mut bytes = Vec::with_capacity(4096);
    write(&mut Encoder::new(&mut bytes), record).expect("writing to a vector cannot fail");
    Secret::new(bytes, Strength(256))
}

fn write(out: &mut Out<'_>, record: &Record) -> Result<(), Error<Infallible>> {
    out.map(19)?;
    out.u8(0)?.u32(VERSION)?;
    out.u8(1)?.str(record.phase.as_str())?;
    let attempts = serde_json::to_vec(&record.attempts).expect("numbers are JSON");
    out.u8(2)?.bytes(&attempts)?;
    out.u8(3)?.u16(record.api_port)?;
    out.u8(4)?;
    match &record.home {
        Some(home) => write_home(out, home)?,
        None => {
            out.null()?;
        }
    }
    let phase = serde_json::to_vec(&record.enrolment).expect("a word is JSON");
    out.u8(5)?.bytes(&phase)?;
    out.u8(6)?;
    write_slot(out, record.current.as_ref())?;
    out.u8(7)?;
    write_slot(out, record.next.as_ref())?;
    out.u8(8)?.u64(record.next_label)?;
    out.u8(9)?.u64(record.time_floor.0)?;
    out.u8(11)?.u64(record.command_floor.0)?;
    out.u8(12)?.u16(record.pairing_port)?;
    let window = serde_json::to_vec(&record.window).expect("words and numbers are JSON");
    out.u8(14)?.bytes(&window)?;
    out.u8(13)?;
    match &record.policy {
        Some(policy) => write_policy(out, policy)?,
        None => {
            out.null()?;
        }
    }
    let journal = serde_json::to_vec(&record.journal).expect("numbers, words and names are JSON");
    out.u8(20)?.bytes(&journal)?;
    out.u8(21)?.array(record.guests.len() as u64)?;
    for guest in &record.guests {
        out.bytes(guest.der())?;
    }
    let invited = serde_json::to_vec(&record.invited).expect("a name and a role are JSON");
    out.u8(22)?.bytes(&invited)?;
    out.u8(30)?.array(record.roots.len() as u64)?;
    for anchor in &record.roots {
        out.array(2)?.u64(anchor.position)?.bytes(anchor.root.der())?;
    }
    out.u8(31)?.u64(record.root_floor)?;
    Ok(())
}

fn write_home(out: &mut Out<'_>, home: &Home) -> Result<(), Error<Infallible>> {
    let access = serde_json::to_vec(&home.access).expect("names and roles are JSON");
    out.array(4)?.bytes(home.anchor.der())?.bytes(&access)?;
    match &home.network {
        Some(network) => {
            out.array(3)?.str(&network.ssid)?.u16(network.key.strength().0)?;
            network.key.expose(|key| out.bytes(key).map(|_| ()))?;
        }
        None => {
            out.null()?;
        }
    }
    match &home.gateway {
        Some(gateway) => {
            out.array(3)?.str(&gateway.mqtt)?.str(&gateway.est)?.str(&gateway.server_name)?
        }
        None => out.null()?,
    };
    Ok(())
}

fn write_policy(out: &mut Out<'_>, policy: &PolicyRecord) -> Result<(), Error<Infallible>> {
    let slots = serde_json::to_vec(&policy.slots).expect("numbers, words and texts are JSON");
    out.array(2)?.bytes(&slots)?.array(policy.documents.len() as u64)?;
    for document in &policy.documents {
        out.bytes(document)?;
    }
    Ok(())
}

fn write_slot(out: &mut Out<'_>, slot: Option<&Slot>) -> Result<(), Error<Infallible>> {
    let Some(slot) = slot else {
        out.null()?;
        return Ok(());
    };
    let chain = slot.chain.as_ref().map_or(&[][..], CertificateChain::certificates);
    out.array(2)?.str(&slot.key)?.array(chain.len() as u64)?;
    for certificate in chain {
        out.bytes(certificate.der())?;
    }
    Ok(())
}

/// Reads what [`encode`] wrote.
pub(super) fn decode(bytes: &[u8]) -> Result<Record, Wrong> {
    let mut input = Decoder::new(bytes);
    let mut record = Record::default();
    let entries = input.map()?.ok_or_else(|| Wrong::message("a map of unknown length"))?;
    for _ in 0..entries {
        match input.u8()? {
            0 if input.u32()? != VERSION => return Err(Wrong::message("another version")),
            0 => {}
            1 => record.phase = phase(input.str()?)?,
            2 => {
                record.attempts = serde_json::from_slice(input.bytes()?).map_err(Wrong::custom)?;
            }
            3 => record.api_port = input.u16()?,
            4 => record.home = nullable(&mut input, read_home)?,
            5 => {
                record.enrolment = serde_json::from_slice(input.bytes()?).map_err(Wrong::custom)?;
            }
            6 => record.current = nullable(&mut input, read_slot)?,
            7 => record.next = nullable(&mut input, read_slot)?,
            8 => record.next_label = input.u64()?,
            9 => record.time_floor = Timestamp(input.u64()?),
            11 => record.command_floor = Timestamp(input.u64()?),
            12 => record.pairing_port = input.u16()?,
            14 => record.window = serde_json::from_slice(input.bytes()?).map_err(Wrong::custom)?,
            13 => record.policy = nullable(&mut input, read_policy)?,
            20 => {
                record.journal = serde_json::from_slice(input.bytes()?).map_err(Wrong::custom)?;
            }
            21 => {
                for _ in 0..input.array()?.unwrap_or(0) {
                    let guest = Certificate::from_der(input.bytes()?).map_err(Wrong::custom)?;
                    record.guests.push(guest);
                }
            }
            22 => {
                record.invited = serde_json::from_slice(input.bytes()?).map_err(Wrong::custom)?;
            }
            30 => {
                for _ in 0..input.array()?.unwrap_or(0) {
                    length(&mut input, 2)?;
                    let position = input.u64()?;
                    let root = Certificate::from_der(input.bytes()?).map_err(Wrong::custom)?;
                    record.roots.push(Anchor { position, root });
                }
            }
            31 => record.root_floor = input.u64()?,
            _ => input.skip()?,
        }
    }
    if input.position() != bytes.len() {
        return Err(Wrong::message("bytes after the end"));
    }
    Ok(record)
}

fn phase(word: &str) -> Result<DeviceState, Wrong> {
    DeviceState::ALL
        .into_iter()
        .find(|state| state.as_str() == word)
        .ok_or_else(|| Wrong::message("no state of a device"))
}

fn nullable<'b, T>(
    input: &mut Decoder<'b>,
    read: impl FnOnce(&mut Decoder<'b>) -> Result<T, Wrong>,
) -> Result<Option<T>, Wrong> {
    if input.datatype()? == minicbor::data::Type::Null {
        input.null()?;
        return Ok(None);
    }
    read(input).map(Some)
}

fn read_home(input: &mut Decoder<'_>) -> Result<Home, Wrong> {
    length(input, 4)?;
    let anchor = Certificate::from_der(input.bytes()?).map_err(Wrong::custom)?;
    let access = serde_json::from_slice(input.bytes()?).map_err(Wrong::custom)?;
    let network = nullable(input, |input| {
        length(input, 3)?;
        let ssid = input.str()?.to_owned();
        let strength = Strength(input.u16()?);
        let key = Secret::new(input.bytes()?.to_vec(), strength).locked();
        Ok(Arc::new(NetworkCredentials { ssid, key }))
    })?;
    let gateway = nullable(input, |input| {
        length(input, 3)?;
        Ok(GatewayAddress {
            mqtt: input.str()?.to_owned(),
            est: input.str()?.to_owned(),
            server_name: input.str()?.to_owned(),
        })
    })?;
    Ok(Home { anchor, access, network, gateway })
}

fn read_policy(input: &mut Decoder<'_>) -> Result<PolicyRecord, Wrong> {
    length(input, 2)?;
    let slots = serde_json::from_slice(input.bytes()?).map_err(Wrong::custom)?;
    let mut documents = Vec::new();
    for _ in 0..input.array()?.unwrap_or(0) {
        documents.push(input.bytes()?.to_vec());
    }
    Ok(PolicyRecord { slots, documents })
}

fn read_slot(input: &mut Decoder<'_>) -> Result<Slot, Wrong> {
    length(input, 2)?;
    let key = input.str()?.to_owned();
    let mut certificates = Vec::new();
    for _ in 0..input.array()?.unwrap_or(0) {
        certificates.push(Certificate::from_der(input.bytes()?).map_err(Wrong::custom)?);
    }
    let chain = match certificates.is_empty() {
        true => None,
        false => Some(CertificateChain::new(certificates).map_err(Wrong::custom)?),
    };
    Ok(Slot { key, chain })
}

fn length(input: &mut Decoder<'_>, expected: u64) -> Result<(), Wrong> {
    match input.array()? {
        Some(found) if found == expected => Ok(()),
        _ => Err(Wrong::message("an array of another length")),
    }
}
