//! The sealed job of a batch: setup codes until their labels are printed, and the keys that were made here.
//!
//! ```text
//!  authority/factory/BATCH/job.key    the job's own key, sealed under the data folder's
//!                         /job.sealed frames: length, then a sealed list of records; only appended to
//!                         /job.lock   held by the one process that works on the batch
//! ```
//!
//! A serial's code is drawn once and is on the disk before anything else is made for it; a run that was killed finds it
//! here. [`Job::destroy`] destroys the key first: after that no copy of the file tells anything.

use std::collections::HashMap;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use countersign_crypto::file;
use countersign_crypto::pake::{PakeParams, VerifierRecord};
use countersign_crypto::random::{Random, SystemRandom};
use countersign_crypto::seal::{self, SealKey};
use countersign_crypto::secret::{Secret, Strength};
use countersign_model::id::ThingId;
use countersign_model::label::SetupCode;
use minicbor::{Decoder, Encoder};
use zeroize::Zeroizing;

use crate::error::AuthorityError;

const PURPOSE: &str = "factory job";
/// Most records of one frame: their bytes stay far below what a sealed file may have.
pub(crate) const MAX_RECORDS: usize = 256;

/// What is kept of one serial.
pub(crate) struct JobRecord {
    pub(crate) thing: ThingId,
    entropy: Zeroizing<[u8; SetupCode::ENTROPY_BYTES]>,
    pub(crate) params: PakeParams,
    pub(crate) verifier: VerifierRecord,
    /// PKCS#8, where the key was made here.
    pub(crate) key: Option<Secret>,
}

impl JobRecord {
    pub(crate) fn new(
        thing: ThingId,
        entropy: Zeroizing<[u8; SetupCode::ENTROPY_BYTES]>,
        params: PakeParams,
        verifier: VerifierRecord,
        key: Option<Secret>,
    ) -> Self {
        Self { thing, entropy, params, verifier, key }
    }

    /// The code of the label.
    pub(crate) fn code(&self) -> SetupCode {
        SetupCode::from_entropy(*self.entropy)
    }
}

/// The job of a batch, open and locked.
pub(crate) struct Job {
    folder: PathBuf,
    key: SealKey,
    file: File,
    known: HashMap<ThingId, JobRecord>,
    _lock: File,
}

impl Job {
    /// Opens or begins the job in `folder`; its key is sealed under `outer`. What a kill left half-written at the end is
    /// cut off: nothing was made from it.
    pub(crate) fn open(folder: &Path, outer: &SealKey) -> Result<Self, AuthorityError> {
        file::private_folder(folder).map_err(AuthorityError::io(folder))?;
        let lock = lock(folder)?;
        let random: &mut dyn Random = &mut SystemRandom;
        let key = SealKey::load_or_create_under(&folder.join("job.key"), outer, random)?;
        let path = folder.join("job.sealed");
        if !path.exists() {
            file::create_new(&path, b"", file::PRIVATE).map_err(AuthorityError::io(&path))?;
        }
        let bytes = std::fs::read(&path).map_err(AuthorityError::io(&path))?;
        let (known, whole) = frames(&bytes, &key).ok_or_else(|| AuthorityError::Damaged {
            path: path.clone(),
            detail: "the sealed job was changed, or job.key belongs to another".to_owned(),
        })?;
        let file = OpenOptions::new().append(true).mode(file::PRIVATE).open(&path);
        let file = file.map_err(AuthorityError::io(&path))?;
        if whole < bytes.len() {
            file.set_len(whole as u64).map_err(AuthorityError::io(&path))?;
        }
        Ok(Self { folder: folder.to_owned(), key, file, known, _lock: lock })
    }

    /// Whether there is a job to open.
    pub(crate) fn is_there(folder: &Path) -> bool {
        folder.join("job.key").exists()
    }

    /// What is known of a serial.
    pub(crate) fn get(&self, thing: &ThingId) -> Option<&JobRecord> {
        self.known.get(thing)
    }

    /// How many serials it holds.
    pub(crate) fn len(&self) -> usize {
        self.known.len()
    }

    /// Adds records and waits until they are on the disk.
    pub(crate) fn append(&mut self, records: Vec<JobRecord>) -> Result<(), AuthorityError> {
        let path = self.folder.join("job.sealed");
        for group in records.chunks(MAX_RECORDS) {
            let plain = encode(group);
            let sealed = seal::seal(&self.key, PURPOSE, &plain, &mut SystemRandom)?;
            let length = u32::try_from(sealed.len()).map_err(|_| AuthorityError::Worker)?;
            let frame = [&length.to_be_bytes()[..], &sealed].concat();
            self.file.write_all(&frame).map_err(AuthorityError::io(&path))?;
        }
        self.file.sync_data().map_err(AuthorityError::io(&path))?;
        self.known.extend(records.into_iter().map(|record| (record.thing.clone(), record)));
        Ok(())
    }

    /// Destroys codes and keys for ever.
    pub(crate) fn destroy(self) -> Result<(), AuthorityError> {
        for name in ["job.key", "job.sealed"] {
            let path = self.folder.join(name);
            file::destroy(&path).map_err(AuthorityError::io(path))?;
        }
        Ok(())
    }
}

fn lock(folder: &Path) -> Result<File, AuthorityError> {
    let path = folder.join("job.lock");
    let opened =
        OpenOptions::new().create(true).truncate(false).write(true).mode(file::PRIVATE).open(&path);
    let lock = opened.map_err(AuthorityError::io(&path))?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(AuthorityError::Busy(path)),
        Err(TryLockError::Error(error)) => Err(AuthorityError::io(path)(error)),
    }
}

/// Every record, and how many bytes whole frames have.
fn frames(bytes: &[u8], key: &SealKey) -> Option<(HashMap<ThingId, JobRecord>, usize)> {
    let (mut known, mut at) = (HashMap::new(), 0);
    while let Some(length) = bytes.get(at..at + 4) {
        let length = u32::from_be_bytes(length.try_into().ok()?) as usize;
        let Some(sealed) = bytes.get(at + 4..at + 4 + length) else { break };
        let plain = seal::open(key, PURPOSE, sealed).ok()?;
        let records = plain.expose(decode)?;
        known.extend(records.into_iter().map(|record| (record.thing.clone(), record)));
        at += 4 + length;
    }
    Some((known, at))
}

/// `[[serial, entropy, salt, memory, passes, lanes, verifier, key or null] …]`
fn encode(records: &[JobRecord]) -> Zeroizing<Vec<u8>> {
    let mut plain = Zeroizing::new(Vec::with_capacity(records.len() * 512));
    let mut out = Encoder::new(&mut *plain);
    let mut write = || -> Result<(), minicbor::encode::Error<std::convert::Infallible>> {
        out.array(records.len() as u64)?;
        for one in records {
            let params = &one.params;
            out.array(8)?.str(one.thing.as_str())?.bytes(&one.entropy[..])?.bytes(params.salt())?;
            out.u32(params.memory_kib())?.u32(params.passes())?.u32(params.lanes())?;
            one.verifier.to_secret().expose(|verifier| out.bytes(verifier).map(|_| ()))?;
            match &one.key {
                Some(key) => key.expose(|key| out.bytes(key).map(|_| ()))?,
                None => out.null().map(|_| ())?,
            }
        }
        Ok(())
    };
    write().expect("writing to a vector cannot fail");
    plain
}

fn decode(plain: &[u8]) -> Option<Vec<JobRecord>> {
    let input = &mut Decoder::new(plain);
    let count = input.array().ok()??;
    (0..count)
        .map(|_| {
            (input.array().ok()?? == 8).then_some(())?;
            let thing = input.str().ok()?.parse().ok()?;
            let entropy = Zeroizing::new(input.bytes().ok()?.try_into().ok()?);
            let salt = input.bytes().ok()?.try_into().ok()?;
            let (memory, passes, lanes) = (input.u32().ok()?, input.u32().ok()?, input.u32().ok()?);
            let params = PakeParams::new(salt, memory, passes, lanes).ok()?;
            let verifier = VerifierRecord::from_bytes(input.bytes().ok()?).ok()?;
            let key = match input.datatype().ok()? {
                minicbor::data::Type::Null => input.null().ok().map(|()| None)?,
                _ => Some(Secret::new(input.bytes().ok()?.to_vec(), Strength(128))),
            };
            Some(JobRecord { thing, entropy, params, verifier, key })
        })
        .collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use countersign_crypto::pake;

    fn record(number: u8) -> JobRecord {
        let thing: ThingId = format!("plug-{number}").parse().unwrap();
        let params = PakeParams::new([number; 16], PakeParams::MIN_MEMORY_KIB, 1, 1).unwrap();
        let entropy = Zeroizing::new([number; SetupCode::ENTROPY_BYTES]);
        let code = SetupCode::from_entropy(*entropy);
        let verifier = pake::derive(&code, &thing, &params).unwrap().record();
        let key = number.is_multiple_of(2).then(|| Secret::new(vec![number; 100], Strength(128)));
        JobRecord::new(thing, entropy, params, verifier, key)
    }

    #[test]
    fn codes_survive_a_kill_at_every_byte_and_never_change() {
        let folder = tempfile::tempdir().unwrap();
        let outer = SealKey::generate(&mut SystemRandom);
        let place = folder.path().join("b");
        let mut job = Job::open(&place, &outer).unwrap();
        assert!(matches!(Job::open(&place, &outer), Err(AuthorityError::Busy(_))));
        job.append(vec![record(1), record(2)]).unwrap();
        let path = place.join("job.sealed");
        let first = std::fs::metadata(&path).unwrap().len();
        job.append(vec![record(3)]).unwrap();
        drop(job);
        let whole = std::fs::read(&path).unwrap();
        for end in (usize::try_from(first).unwrap()..whole.len()).step_by(7) {
            std::fs::write(&path, &whole[..end]).unwrap();
            let job = Job::open(&place, &outer).unwrap();
            assert_eq!(job.len(), 2, "cut at {end}");
            let kept = job.get(&"plug-2".parse().unwrap()).unwrap();
            assert!(kept.code() == record(2).code() && kept.key.is_some());
            drop(job);
            assert_eq!(std::fs::metadata(&path).unwrap().len(), first);
        }
        let mut changed = whole.clone();
        changed[40] ^= 1;
        std::fs::write(&path, &changed).unwrap();
        let refused = Job::open(&place, &outer).err().unwrap().to_string();
        assert!(refused.contains("job.sealed"), "{refused}");
        std::fs::write(&path, &whole).unwrap();
        Job::open(&place, &outer).unwrap().destroy().unwrap();
        assert!(!Job::is_there(&place) && !path.exists());
    }

    #[test]
    fn the_file_tells_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let outer = SealKey::generate(&mut SystemRandom);
        let mut job = Job::open(folder.path(), &outer).unwrap();
        job.append(vec![record(2)]).unwrap();
        let bytes = std::fs::read(folder.path().join("job.sealed")).unwrap();
        let secret = [2_u8; 17];
        assert!(!bytes.windows(17).any(|window| window == secret));
        assert!(!bytes.windows(6).any(|window| window == b"plug-2"));
    }
}
