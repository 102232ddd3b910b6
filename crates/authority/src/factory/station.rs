//! A station away from the authority: its own key, the kits it was given, and what it says became of each identity.
//!
//! ```text
//!  DIR/name  DIR/seal.key  DIR/keys/station.key     the station; its key never leaves
//!  DIR/authority.sha256                             of the authority's factory key: whose kits it takes
//!  DIR/BATCH/                                       a kit, its transport.key, and manifest, which is only appended to
//! ```
//!
//! A record is on the disk before an identity is handed out: a station that was killed has said too much, never too little.

use std::collections::HashMap;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use countersign_crypto::certificate::Certificate;
use countersign_crypto::csr;
use countersign_crypto::digest::sha256;
use countersign_crypto::file;
use countersign_crypto::keystore::Keystore;
use countersign_crypto::random::{Random, SystemRandom};
use countersign_crypto::seal::{self, SealKey};
use countersign_crypto::signature::{KeyHandle, SignatureAlgorithm};
use countersign_model::factory::{ENDING, PURPOSE, Package};
use countersign_model::id::{ServiceName, ThingId};
use countersign_model::time::Timestamp;

use super::items::Outcome;
use super::kit::{AUTHORISATION, Authorisation, FACTORY_KEY, serials_digest};
use super::manifest::{self, MAX_NOTE, Record, VerifiedManifest};
use crate::error::AuthorityError;

const KEY: &str = "station";
const MANIFEST: &str = "manifest";
const TRANSPORT: &str = "transport.key";

/// A station in its folder.
#[derive(Debug)]
pub struct Station {
    folder: PathBuf,
    name: String,
    key: KeyHandle,
}

/// What a station has of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StationBatch {
    /// What it may do.
    pub authorisation: Authorisation,
    /// Identities by what was said of them last.
    pub outcomes: HashMap<String, Outcome>,
}

impl StationBatch {
    /// How many identities were said to be this last.
    #[must_use]
    pub fn count(&self, outcome: Outcome) -> u64 {
        self.outcomes.values().filter(|one| **one == outcome).count() as u64
    }
}

fn wrong(what: &str, detail: impl Into<String>) -> AuthorityError {
    AuthorityError::Configuration { file: what.to_owned(), detail: detail.into() }
}

impl Station {
    /// Sets a station up: its key is made in `folder`. Doing it again finds the same key.
    ///
    /// # Errors
    /// For a name that is none, or another station's folder.
    pub fn init(
        folder: &Path,
        name: &str,
        algorithm: SignatureAlgorithm,
    ) -> Result<Self, AuthorityError> {
        let _: ServiceName = name
            .parse()
            .map_err(|error| wrong(&format!("station {name:?}"), format!("{error}")))?;
        file::private_folder(folder).map_err(AuthorityError::io(folder))?;
        let path = folder.join("name");
        if !path.exists() {
            file::create_new(&path, name.as_bytes(), file::PUBLIC)
                .map_err(AuthorityError::io(&path))?;
        }
        let random: &mut dyn Random = &mut SystemRandom;
        let seal = SealKey::load_or_create(&folder.join("seal.key"), random)?;
        let keys = Keystore::open(&folder.join("keys"), seal)?;
        if keys.load(KEY)?.is_none() {
            keys.generate(KEY, algorithm)?;
        }
        let station = Self::open(folder)?;
        if station.name != name {
            return Err(wrong(
                &path.display().to_string(),
                format!("is station {}'s", station.name),
            ));
        }
        Ok(station)
    }

    /// Opens a station's folder.
    ///
    /// # Errors
    /// When it is none, or was damaged.
    pub fn open(folder: &Path) -> Result<Self, AuthorityError> {
        let path = folder.join("name");
        let name = std::fs::read_to_string(&path).map_err(AuthorityError::io(&path))?;
        let keys = Keystore::open(&folder.join("keys"), SealKey::load(&folder.join("seal.key"))?)?;
        Ok(Self { folder: folder.to_owned(), name, key: keys.require(KEY)? })
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The request that the authority registers it by, PKCS#10 DER.
    ///
    /// # Errors
    /// When the key does not sign.
    pub fn request(&self) -> Result<Vec<u8>, AuthorityError> {
        Ok(csr::request(&self.key, &self.name)?)
    }

    /// Takes a kit over, after it was verified: the authority's signature, this station, the time, every file of it.
    /// `authority` is the SHA-256 of the authority's factory key; once given, it holds for every later kit.
    ///
    /// # Errors
    /// What is wrong with the kit.
    pub fn import(
        &self,
        kit: &Path,
        transport: &Path,
        authority: Option<&str>,
        now: Timestamp,
    ) -> Result<Authorisation, AuthorityError> {
        let read = |name: &str| {
            let path = kit.join(name);
            std::fs::read(&path).map_err(AuthorityError::io(path))
        };
        let (document, spki) = (read(AUTHORISATION)?, read(FACTORY_KEY)?);
        let refuse = |detail: &str| wrong(&kit.join(AUTHORISATION).display().to_string(), detail);
        self.pin(&hex::encode(sha256(&spki)), authority, kit)?;
        let authorisation =
            Authorisation::verify(&document, &spki).map_err(|error| refuse(&error))?;
        if authorisation.station != self.name || authorisation.station_spki != self.key.spki_der() {
            return Err(refuse("is for another station"));
        }
        if authorisation.until < now {
            return Err(refuse("has ended: have what is missing made in another batch"));
        }
        let key = SealKey::load(transport)?;
        let mut files = Vec::new();
        let mut serials = Vec::new();
        for entry in std::fs::read_dir(kit).map_err(AuthorityError::io(kit))? {
            let path = entry.map_err(AuthorityError::io(kit))?.path();
            if path.extension().is_some_and(|ending| ending == ENDING) {
                let bytes = std::fs::read(&path).map_err(AuthorityError::io(&path))?;
                let package = open(&key, &bytes, &path)?;
                let name = format!("{}.{ENDING}", package.thing);
                if path.file_name().is_none_or(|file| file != name.as_str()) {
                    return Err(wrong(
                        &path.display().to_string(),
                        "holds another serial than its name says",
                    ));
                }
                serials.push(package.thing);
                files.push((name, bytes));
            }
        }
        let digest = serials_digest(serials.iter().map(ThingId::as_str));
        if digest != authorisation.serials_sha256 || serials.len() as u64 != authorisation.count {
            return Err(refuse(
                "is for other identities than the kit has: a file was removed, added or exchanged",
            ));
        }
        let folder = self.folder.join(&authorisation.batch);
        if let Ok(there) = std::fs::read(folder.join(AUTHORISATION))
            && there != document
        {
            return Err(refuse("is not the one under which this batch is worked on here already"));
        }
        file::private_folder(&folder).map_err(AuthorityError::io(&folder))?;
        let key_bytes = std::fs::read(transport).map_err(AuthorityError::io(transport))?;
        files.push((TRANSPORT.to_owned(), key_bytes));
        files.push((FACTORY_KEY.to_owned(), spki));
        files.push((AUTHORISATION.to_owned(), document));
        file::write_all_atomic(&folder, &files, file::PRIVATE)
            .map_err(AuthorityError::io(&folder))?;
        Ok(authorisation)
    }

    fn pin(&self, found: &str, given: Option<&str>, kit: &Path) -> Result<(), AuthorityError> {
        let path = self.folder.join("authority.sha256");
        let pinned = match (std::fs::read_to_string(&path), given) {
            (Ok(pinned), _) => pinned,
            (Err(_), Some(given)) => given.to_ascii_lowercase(),
            (Err(_), None) => {
                return Err(wrong(
                    "--authority",
                    "is needed for the first kit: `station add` printed it",
                ));
            }
        };
        if pinned != found || given.is_some_and(|given| given.to_ascii_lowercase() != found) {
            let detail = "is another authority's key than the one that this station works for";
            return Err(wrong(&kit.join(FACTORY_KEY).display().to_string(), detail));
        }
        if !path.exists() {
            file::create_new(&path, found.as_bytes(), file::PUBLIC)
                .map_err(AuthorityError::io(&path))?;
        }
        Ok(())
    }

    /// Hands an identity out: the next one, or that of `serial`. What comes back is its serial and sealed file. `again` gives
    /// one a second time whose file did not arrive.
    ///
    /// # Errors
    /// When there is none left, the authorisation's time is over, or it was handed out or scrapped before.
    pub fn take(
        &self,
        batch: &str,
        serial: Option<&ThingId>,
        again: bool,
        now: Timestamp,
    ) -> Result<(String, Vec<u8>), AuthorityError> {
        let mut work = self.work(batch)?;
        let serial = match serial {
            Some(serial) => serial.as_str().to_owned(),
            None => work.next().ok_or_else(|| wrong(batch, "no identity is left"))?,
        };
        let bytes = work.package(&serial)?;
        match work.state.outcomes.get(&serial) {
            None => work.say(self, &serial, Outcome::Issued, "", now)?,
            Some(Outcome::Issued) if again => {}
            Some(Outcome::Issued) => {
                return Err(wrong(
                    &serial,
                    "was handed out before: scrap it, or say --again if its file did not arrive",
                ));
            }
            Some(other) => return Err(wrong(&serial, format!("is {other} already"))),
        }
        Ok((serial, bytes))
    }

    /// Says what became of an identity.
    ///
    /// # Errors
    /// When that cannot be: it was not handed out, or is scrapped.
    pub fn mark(
        &self,
        batch: &str,
        serial: &ThingId,
        outcome: Outcome,
        note: &str,
        now: Timestamp,
    ) -> Result<(), AuthorityError> {
        let mut work = self.work(batch)?;
        let before = work.state.outcomes.get(serial.as_str()).copied();
        match (before, outcome) {
            (Some(Outcome::Issued), Outcome::Shipped)
            | (None | Some(Outcome::Issued | Outcome::Shipped), Outcome::Scrapped) => {}
            (None, _) => return Err(wrong(serial.as_str(), "was not handed out yet")),
            (Some(before), _) => {
                return Err(wrong(serial.as_str(), format!("is {before} already")));
            }
        }
        work.say(self, serial.as_str(), outcome, note, now)
    }

    /// What it has of a batch.
    ///
    /// # Errors
    /// When the folder is none of a batch, or was damaged.
    pub fn batch(&self, batch: &str) -> Result<StationBatch, AuthorityError> {
        Ok(self.work(batch)?.state)
    }

    /// Where a batch's manifest is. It may be copied at any time.
    #[must_use]
    pub fn manifest(&self, batch: &str) -> PathBuf {
        self.folder.join(batch).join(MANIFEST)
    }

    fn work(&self, batch: &str) -> Result<Work, AuthorityError> {
        let _: ServiceName = batch.parse().map_err(|error| wrong(batch, format!("{error}")))?;
        let folder = self.folder.join(batch);
        let read = |name: &str| {
            let path = folder.join(name);
            std::fs::read(&path).map_err(AuthorityError::io(path))
        };
        let (document, spki) = (read(AUTHORISATION)?, read(FACTORY_KEY)?);
        let damaged = |name: &str, detail: String| AuthorityError::Damaged {
            path: folder.join(name),
            detail,
        };
        let authorisation = Authorisation::verify(&document, &spki)
            .map_err(|error| damaged(AUTHORISATION, error))?;
        let path = folder.join(MANIFEST);
        let opened = OpenOptions::new().create(true).append(true).open(&path);
        let file = opened.map_err(AuthorityError::io(&path))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(AuthorityError::Busy(path)),
            Err(TryLockError::Error(error)) => return Err(AuthorityError::io(path)(error)),
        }
        let bytes = read(MANIFEST)?;
        let whole = manifest::whole(&bytes);
        if whole < bytes.len() {
            // Killed while it was written: nothing was handed out on it.
            file.set_len(whole as u64).map_err(AuthorityError::io(&path))?;
        }
        let verified = VerifiedManifest::verify(&bytes[..whole], self.key.spki_der())
            .map_err(|fault| damaged(MANIFEST, fault.to_string()))?;
        let outcomes =
            verified.records().iter().map(|one| (one.serial.clone(), one.outcome)).collect();
        let count = verified.records().len() as u64;
        let state = StationBatch { authorisation, outcomes };
        Ok(Work { folder, file, digest: sha256(&document), count, head: verified.last(), state })
    }
}

/// A batch being worked on, locked.
struct Work {
    folder: PathBuf,
    file: File,
    digest: [u8; 32],
    count: u64,
    head: [u8; 32],
    state: StationBatch,
}

impl Work {
    fn next(&self) -> Option<String> {
        let listed = std::fs::read_dir(&self.folder).ok()?;
        let mut serials: Vec<String> = listed
            .flatten()
            .filter_map(|entry| entry.file_name().into_string().ok())
            .filter_map(|name| Some(name.strip_suffix(ENDING)?.strip_suffix('.')?.to_owned()))
            .filter(|serial| !self.state.outcomes.contains_key(serial))
            .collect();
        serials.sort_unstable();
        serials.into_iter().next()
    }

    fn package(&self, serial: &str) -> Result<Vec<u8>, AuthorityError> {
        let path = self.folder.join(format!("{serial}.{ENDING}"));
        std::fs::read(&path).map_err(AuthorityError::io(path))
    }

    /// Appends a record and waits until it is on the disk.
    fn say(
        &mut self,
        station: &Station,
        serial: &str,
        outcome: Outcome,
        note: &str,
        now: Timestamp,
    ) -> Result<(), AuthorityError> {
        let authorisation = &self.state.authorisation;
        if now < authorisation.from || now > authorisation.until {
            return Err(wrong(
                &authorisation.batch,
                format!(
                    "the authorisation is from {} until {}: set this machine's clock, or have what is missing made in another batch",
                    authorisation.from.to_rfc3339(),
                    authorisation.until.to_rfc3339()
                ),
            ));
        }
        if note.len() > MAX_NOTE {
            return Err(wrong("--why", format!("is longer than {MAX_NOTE} bytes")));
        }
        let path = self.folder.join(format!("{serial}.{ENDING}"));
        let key = SealKey::load(&self.folder.join(TRANSPORT))?;
        let package = open(&key, &self.package(serial)?, &path)?;
        let leaf = package.chain.first().and_then(|der| Certificate::from_der(der).ok());
        let leaf =
            leaf.ok_or_else(|| wrong(&path.display().to_string(), "holds no certificate"))?;
        let record = Record {
            station: station.name.clone(),
            batch: authorisation.batch.clone(),
            authorisation: self.digest,
            number: self.count,
            before: self.head,
            serial: serial.to_owned(),
            spki_sha256: sha256(&leaf.spki_der()),
            verifier_sha256: sha256(&package.setup.verifier),
            at: now,
            outcome,
            note: note.to_owned(),
        };
        let frame = record
            .sign(&station.key)
            .map_err(|error| AuthorityError::Factory(error.to_string()))?;
        let path = self.folder.join(MANIFEST);
        self.file
            .write_all(&frame)
            .and_then(|()| self.file.sync_all())
            .map_err(AuthorityError::io(path))?;
        self.head = sha256(&frame);
        self.count += 1;
        self.state.outcomes.insert(serial.to_owned(), outcome);
        Ok(())
    }
}

fn open(key: &SealKey, sealed: &[u8], path: &Path) -> Result<Package, AuthorityError> {
    let detail = "does not open with this transport key";
    let opened =
        seal::open(key, PURPOSE, sealed).map_err(|_| wrong(&path.display().to_string(), detail))?;
    let package = opened.expose(Package::decode);
    package.map_err(|error| wrong(&path.display().to_string(), error.to_string()))
}
