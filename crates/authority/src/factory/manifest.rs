//! What a station says away from the authority: a chain of signed records, each whole by itself. No I/O.
//!
//! ```text
//!  manifest = frame …      frame = length (2 octets), COSE_Sign1 by the station's key over
//!  [1, station, batch, authorisation, number, hash of the frame before, serial, key, verifier, time, outcome, note]
//! ```
//!
//! A record that was changed does not verify; one that was removed, repeated or put elsewhere breaks the chain. A manifest
//! that was cut at the end is a shorter one: what is missing is unaccounted, and the next manifest shows it.

use countersign_crypto::cose::{self, CoseError};
use countersign_crypto::digest::sha256;
use countersign_crypto::signature::KeyHandle;
use countersign_model::time::Timestamp;
use minicbor::{Decoder, Encoder};

use super::items::Outcome;

/// Most bytes of a frame: names of 64 octets, hashes, and a note.
pub const MAX_FRAME: usize = 1024;
/// Most records of a manifest: a batch of the largest size, with three outcomes for each identity.
pub const MAX_RECORDS: usize = 3 * super::batch::MAX_BATCH;
/// The longest note, in bytes.
pub const MAX_NOTE: usize = 200;

const TYPE: &str = "application/countersign-manifest+cbor";
const VERSION: u8 = 1;

/// One record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The station that says it.
    pub station: String,
    /// The batch.
    pub batch: String,
    /// SHA-256 of the authorisation under which it was done.
    pub authorisation: [u8; 32],
    /// 0, 1, 2, …
    pub number: u64,
    /// SHA-256 of the frame before it; zeros for the first.
    pub before: [u8; 32],
    /// Which identity.
    pub serial: String,
    /// SHA-256 of its public key.
    pub spki_sha256: [u8; 32],
    /// SHA-256 of its setup code's verifier.
    pub verifier_sha256: [u8; 32],
    /// When, by the station's clock.
    pub at: Timestamp,
    /// What became of it.
    pub outcome: Outcome,
    /// Why, where somebody said.
    pub note: String,
}

impl Record {
    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(512);
        self.write(&mut Encoder::new(&mut out)).expect("writing to a vector cannot fail");
        out
    }

    fn write<W: minicbor::encode::Write>(
        &self,
        out: &mut Encoder<W>,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        let outcome = Outcome::ALL.iter().position(|one| *one == self.outcome).unwrap_or_default();
        out.array(12)?.u8(VERSION)?.str(&self.station)?.str(&self.batch)?;
        out.bytes(&self.authorisation)?.u64(self.number)?.bytes(&self.before)?;
        out.str(&self.serial)?.bytes(&self.spki_sha256)?.bytes(&self.verifier_sha256)?;
        out.u64(self.at.0)?.u64(outcome as u64)?.str(&self.note)?;
        Ok(())
    }

    fn decode(payload: &[u8]) -> Option<Self> {
        let input = &mut Decoder::new(payload);
        (input.array().ok()?? == 12 && input.u8().ok()? == VERSION).then_some(())?;
        let record = Self {
            station: input.str().ok()?.to_owned(),
            batch: input.str().ok()?.to_owned(),
            authorisation: input.bytes().ok()?.try_into().ok()?,
            number: input.u64().ok()?,
            before: input.bytes().ok()?.try_into().ok()?,
            serial: input.str().ok()?.to_owned(),
            spki_sha256: input.bytes().ok()?.try_into().ok()?,
            verifier_sha256: input.bytes().ok()?.try_into().ok()?,
            at: Timestamp(input.u64().ok()?),
            outcome: *Outcome::ALL.get(usize::try_from(input.u64().ok()?).ok()?)?,
            note: input.str().ok()?.to_owned(),
        };
        // One record has one form.
        (record.note.len() <= MAX_NOTE && record.encode() == payload).then_some(record)
    }

    /// The frame of this record, signed.
    ///
    /// # Errors
    /// [`CoseError`] when the key's holder does not sign, or the record is too long.
    pub fn sign(&self, key: &KeyHandle) -> Result<Vec<u8>, CoseError> {
        let signed = cose::sign1(key, TYPE, &self.encode())?;
        let length = u16::try_from(signed.len()).ok().filter(|_| signed.len() <= MAX_FRAME);
        let length = length.ok_or(CoseError::TooLarge(signed.len()))?;
        Ok([&length.to_be_bytes()[..], &signed].concat())
    }
}

/// Why a manifest is not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// A frame that ends in the middle, or too many.
    #[error("record {0}: the file ends in the middle of it, or it is no record")]
    Form(u64),
    /// A signature that is not the station's.
    #[error("record {number}: {error}")]
    Signature {
        /// Which.
        number: u64,
        /// What.
        error: CoseError,
    },
    /// A record elsewhere than it was written.
    #[error(
        "record {number}, {serial}: does not follow the record before it: one was removed, repeated or moved"
    )]
    Chain {
        /// Which.
        number: u64,
        /// Whose.
        serial: String,
    },
    /// A record of another batch, station or authorisation.
    #[error("record {number}, {serial}: is of another {what} than the first record")]
    Other {
        /// Which.
        number: u64,
        /// Whose.
        serial: String,
        /// Batch, station or authorisation.
        what: &'static str,
    },
}

/// A manifest whose every record was verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedManifest {
    records: Vec<Record>,
    heads: Vec<[u8; 32]>,
}

impl VerifiedManifest {
    /// Verifies a manifest from its first record on, under the station's key; an empty one is fine.
    ///
    /// # Errors
    /// [`Fault`] names the first record that is not to be believed.
    pub fn verify(bytes: &[u8], station_spki_der: &[u8]) -> Result<Self, Fault> {
        let (mut records, mut heads): (Vec<Record>, Vec<[u8; 32]>) = (Vec::new(), Vec::new());
        let mut rest = bytes;
        while !rest.is_empty() {
            let number = records.len() as u64;
            let (frame, after) = split(rest).ok_or(Fault::Form(number))?;
            if records.len() >= MAX_RECORDS {
                return Err(Fault::Form(number));
            }
            let payload = cose::verify1(&frame[2..], TYPE, station_spki_der)
                .map_err(|error| Fault::Signature { number, error })?;
            let record = Record::decode(&payload).ok_or(Fault::Form(number))?;
            let before = heads.last().copied().unwrap_or_default();
            if record.number != number || record.before != before {
                return Err(Fault::Chain { number, serial: record.serial });
            }
            if let Some(first) = records.first() {
                let other = [
                    (first.batch != record.batch, "batch"),
                    (first.station != record.station, "station"),
                    (first.authorisation != record.authorisation, "authorisation"),
                ];
                if let Some((_, what)) = other.into_iter().find(|(differs, _)| *differs) {
                    return Err(Fault::Other { number, serial: record.serial, what });
                }
            }
            heads.push(sha256(frame));
            records.push(record);
            rest = after;
        }
        Ok(Self { records, heads })
    }

    /// Every record, in order.
    #[must_use]
    pub fn records(&self) -> &[Record] {
        &self.records
    }

    /// The hash of the last frame among the first `count`; `None` for more than there are.
    #[must_use]
    pub fn head(&self, count: usize) -> Option<[u8; 32]> {
        if count == 0 { Some([0; 32]) } else { self.heads.get(count - 1).copied() }
    }

    /// The hash of the last frame.
    #[must_use]
    pub fn last(&self) -> [u8; 32] {
        self.heads.last().copied().unwrap_or_default()
    }
}

/// The batch that the first record names, before anything is verified: to look up whose key verifies it.
#[must_use]
pub fn claimed(bytes: &[u8]) -> Option<String> {
    let (frame, _) = split(bytes)?;
    let payload = cose::unverified_payload(&frame[2..]).ok()?;
    Record::decode(&payload).map(|record| record.batch)
}

/// How many bytes whole frames have: what a kill left half-written at the end is no frame.
#[must_use]
pub fn whole(bytes: &[u8]) -> usize {
    let mut rest = bytes;
    while let Some((_, after)) = split(rest) {
        rest = after;
    }
    bytes.len() - rest.len()
}

fn split(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let length = usize::from(u16::from_be_bytes(bytes.get(..2)?.try_into().ok()?));
    if length > MAX_FRAME || bytes.len() < 2 + length {
        return None;
    }
    Some(bytes.split_at(2 + length))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use countersign_crypto::policy::CompiledPolicy;

    fn key() -> KeyHandle {
        KeyHandle::ephemeral(CompiledPolicy::built_in().signing_algorithm()).unwrap()
    }

    fn record(number: u64, before: [u8; 32], serial: &str, outcome: Outcome) -> Record {
        Record {
            station: "line-1".to_owned(),
            batch: "b".to_owned(),
            authorisation: [1; 32],
            number,
            before,
            serial: serial.to_owned(),
            spki_sha256: [2; 32],
            verifier_sha256: [3; 32],
            at: Timestamp(7),
            outcome,
            note: String::new(),
        }
    }

    fn manifest(key: &KeyHandle, count: u64) -> Vec<Vec<u8>> {
        let mut frames: Vec<Vec<u8>> = Vec::new();
        for number in 0..count {
            let before = frames.last().map(|frame| sha256(frame)).unwrap_or_default();
            let one = record(number, before, &format!("plug-{number}"), Outcome::Issued);
            frames.push(one.sign(key).unwrap());
        }
        frames
    }

    //= specs/house.md#house-factory
    //= type=test
    //# A manifest that was changed, cut in the middle, repeated or put together anew MUST be refused.
    #[test]
    fn no_record_is_changed_removed_repeated_or_moved() {
        let key = key();
        let frames = manifest(&key, 4);
        let whole_one = frames.concat();
        let verified = VerifiedManifest::verify(&whole_one, key.spki_der()).unwrap();
        assert_eq!(verified.records().len(), 4);
        assert_eq!(verified.head(4), Some(verified.last()));
        assert_eq!(claimed(&whole_one).as_deref(), Some("b"));
        for octet in 0..whole_one.len() {
            let mut changed = whole_one.clone();
            changed[octet] ^= 1;
            assert!(VerifiedManifest::verify(&changed, key.spki_der()).is_err(), "octet {octet}");
        }
        for order in [&[0, 2, 3][..], &[1, 2, 3], &[0, 0, 1], &[0, 2, 1, 3]] {
            let other: Vec<u8> = order.iter().flat_map(|at| frames[*at].clone()).collect();
            let refused = VerifiedManifest::verify(&other, key.spki_der()).unwrap_err();
            assert!(matches!(refused, Fault::Chain { .. }), "{refused}");
        }
        // A shorter one is a manifest too, and a cut frame is none.
        let shorter = VerifiedManifest::verify(&frames[..2].concat(), key.spki_der()).unwrap();
        assert_eq!(verified.head(2), Some(shorter.last()));
        let cut = &whole_one[..whole_one.len() - 1];
        assert_eq!(VerifiedManifest::verify(cut, key.spki_der()), Err(Fault::Form(3)));
        assert_eq!(whole(cut), frames[..3].concat().len());
        assert!(VerifiedManifest::verify(&whole_one, self::key().spki_der()).is_err());
    }

    #[test]
    fn garbage_gets_an_answer() {
        let spki = key().spki_der().to_vec();
        for length in 0..200_usize {
            let bytes: Vec<u8> = (0..length).map(|at| (at * 7 + length) as u8).collect();
            let _ = (claimed(&bytes), whole(&bytes));
            assert!(length == 0 || VerifiedManifest::verify(&bytes, &spki).is_err());
        }
    }
}
