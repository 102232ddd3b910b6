//! Keys as sealed files in a folder.
//!
//! ```text
//! keys/current.key  keys/next.key      sealed: [algorithm name, PKCS#8]
//! ```

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use minicbor::{Decoder, Encoder};
use zeroize::Zeroize as _;

use super::{KeystoreError, checked};
use crate::file;
use crate::note_key::{self, NoteKey};
use crate::random::{Random, SystemRandom};
use crate::seal::{self, SealKey};
use crate::second::{self, SecondAlgorithm, SecondKey};
use crate::secret::Secret;
use crate::signature::{KeyHandle, SignatureAlgorithm, generate_pkcs8};

const PURPOSE: &str = "private key";
const ENDING: &str = "key";

/// A folder of sealed keys.
#[derive(Debug, Clone)]
pub(super) struct SealedFolder {
    folder: PathBuf,
    seal: SealKey,
}

impl SealedFolder {
    /// Opens `folder`, made when it is not there (mode 0700).
    ///
    /// # Errors
    /// [`KeystoreError::Io`] when the folder cannot be made.
    pub(super) fn open(folder: &Path, seal: SealKey) -> Result<Self, KeystoreError> {
        file::private_folder(folder)?;
        Ok(Self { folder: folder.to_owned(), seal })
    }

    /// Makes a key under `label`.
    ///
    /// # Errors
    /// [`KeystoreError::Exists`] when the label is taken: a key is never overwritten.
    pub(super) fn generate(
        &self,
        label: &str,
        algorithm: SignatureAlgorithm,
    ) -> Result<KeyHandle, KeystoreError> {
        let pkcs8 = generate_pkcs8(algorithm)?;
        self.import(label, algorithm, &pkcs8)
    }

    /// Takes a key that was made elsewhere, such as in the factory.
    ///
    /// # Errors
    /// As [`SealedFolder::generate`]; [`KeystoreError::Signature`] when `pkcs8` is no such key.
    //= specs/house.md#house-secrets
    //# A private key at rest MUST be sealed, except in the file that hands it over.
    //= specs/en-303-645.md#5.5-8
    //# Storage MUST protect a private key from being read and from being changed unnoticed.
    pub(super) fn import(
        &self,
        label: &str,
        algorithm: SignatureAlgorithm,
        pkcs8: &Secret,
    ) -> Result<KeyHandle, KeystoreError> {
        let handle = KeyHandle::from_pkcs8(algorithm, pkcs8)?;
        self.store(label, algorithm.name(), pkcs8)?;
        Ok(handle)
    }

    /// Makes a key for second signatures under `label`.
    ///
    /// # Errors
    /// As [`SealedFolder::generate`]; [`KeystoreError::Signature`] when the provider has no such algorithm.
    pub(super) fn generate_second(
        &self,
        label: &str,
        algorithm: SecondAlgorithm,
    ) -> Result<SecondKey, KeystoreError> {
        let pkcs8 = second::generate_pkcs8(algorithm)?;
        let key = SecondKey::from_pkcs8(algorithm, &pkcs8)?;
        self.store(label, algorithm.name(), &pkcs8)?;
        Ok(key)
    }

    /// The key for signed notes under `label`, made if there is none.
    ///
    /// # Errors
    /// As [`SealedFolder::load`].
    pub(super) fn note_key(
        &self,
        label: &str,
        random: &mut dyn Random,
    ) -> Result<NoteKey, KeystoreError> {
        if let Some(key) = self.load_note_key(label)? {
            return Ok(key);
        }
        match self.store(label, note_key::NAME, &NoteKey::fresh_seed(random)) {
            // Another process was faster: its key is the one.
            Ok(()) | Err(KeystoreError::Exists(_)) => {}
            Err(error) => return Err(error),
        }
        self.load_note_key(label)?.ok_or(KeystoreError::Missing(self.path(label)?))
    }

    fn load_note_key(&self, label: &str) -> Result<Option<NoteKey>, KeystoreError> {
        match self.read(label)? {
            None => Ok(None),
            Some((name, seed)) if name == note_key::NAME => Ok(Some(NoteKey::from_seed(&seed)?)),
            Some((name, _)) => Err(Self::other_kind(label, &name)),
        }
    }

    fn store(&self, label: &str, algorithm: &str, pkcs8: &Secret) -> Result<(), KeystoreError> {
        let path = self.path(label)?;
        let mut text = Vec::new();
        pkcs8.expose(|bytes| {
            Encoder::new(&mut text)
                .array(2)
                .and_then(|e| e.str(algorithm))
                .and_then(|e| e.bytes(bytes))
                .expect("encoding into a vector cannot fail");
        });
        let random: &mut dyn Random = &mut SystemRandom;
        let sealed = seal::seal(&self.seal, PURPOSE, &text, random);
        text.zeroize();
        match file::create_new(&path, &sealed?, file::PRIVATE) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                Err(KeystoreError::Exists(label.to_owned()))
            }
            result => result.map_err(KeystoreError::Io),
        }
    }

    /// The key under `label`, if there is one.
    ///
    /// # Errors
    /// [`KeystoreError::Damaged`] when its file does not open.
    pub(super) fn load(&self, label: &str) -> Result<Option<KeyHandle>, KeystoreError> {
        let Some((name, pkcs8)) = self.read(label)? else { return Ok(None) };
        let algorithm =
            SignatureAlgorithm::from_name(&name).ok_or_else(|| Self::other_kind(label, &name))?;
        Ok(Some(KeyHandle::from_pkcs8(algorithm, &pkcs8)?))
    }

    /// The key for second signatures under `label`, if there is one.
    ///
    /// # Errors
    /// As [`SealedFolder::load`].
    pub(super) fn load_second(&self, label: &str) -> Result<Option<SecondKey>, KeystoreError> {
        let Some((name, pkcs8)) = self.read(label)? else { return Ok(None) };
        let algorithm =
            SecondAlgorithm::from_name(&name).ok_or_else(|| Self::other_kind(label, &name))?;
        Ok(Some(SecondKey::from_pkcs8(algorithm, &pkcs8)?))
    }

    fn other_kind(label: &str, algorithm: &str) -> KeystoreError {
        KeystoreError::Kind { label: label.to_owned(), algorithm: algorithm.to_owned() }
    }

    /// Algorithm and PKCS#8 of the key under `label`.
    fn read(&self, label: &str) -> Result<Option<(String, Secret)>, KeystoreError> {
        let path = self.path(label)?;
        let sealed = match fs::read(&path) {
            Ok(sealed) => sealed,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(KeystoreError::Io(error)),
        };
        let damaged = || KeystoreError::Damaged(path.clone());
        let text = seal::open(&self.seal, PURPOSE, &sealed).map_err(|_| damaged())?;
        text.expose(decode).ok_or_else(damaged).map(Some)
    }

    /// Moves a key to another label, replacing what stands there: *next* becomes *current* in one step.
    ///
    /// # Errors
    /// [`KeystoreError::Io`].
    pub(super) fn rename(&self, from: &str, to: &str) -> Result<(), KeystoreError> {
        fs::rename(self.path(from)?, self.path(to)?)?;
        Ok(())
    }

    /// Destroys a key: its file is overwritten, then removed. A missing one is fine.
    ///
    /// Overwriting reaches the old blocks only on storage that writes in place; the sealing key is what protects
    /// a discarded flash chip.
    ///
    /// # Errors
    /// [`KeystoreError::Io`].
    pub(super) fn destroy(&self, label: &str) -> Result<(), KeystoreError> {
        Ok(file::destroy(&self.path(label)?)?)
    }

    /// Every label, sorted.
    ///
    /// # Errors
    /// [`KeystoreError::Io`].
    pub(super) fn list(&self) -> Result<Vec<String>, KeystoreError> {
        let mut labels = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let path = entry?.path();
            if path.extension().is_some_and(|ending| ending == ENDING) {
                labels.extend(path.file_stem().and_then(|stem| stem.to_str()).map(str::to_owned));
            }
        }
        labels.sort();
        Ok(labels)
    }

    pub(super) fn path(&self, label: &str) -> Result<PathBuf, KeystoreError> {
        Ok(self.folder.join(format!("{}.{ENDING}", checked(label)?)))
    }
}

fn decode(text: &[u8]) -> Option<(String, Secret)> {
    let mut decoder = Decoder::new(text);
    if decoder.array().ok()? != Some(2) {
        return None;
    }
    let name = decoder.str().ok()?;
    let strength = SignatureAlgorithm::from_name(name)
        .map(SignatureAlgorithm::strength)
        .or_else(|| SecondAlgorithm::from_name(name).map(SecondAlgorithm::strength))
        .or_else(|| (name == note_key::NAME).then_some(note_key::STRENGTH))?;
    Some((name.to_owned(), Secret::new(decoder.bytes().ok()?.to_vec(), strength)))
}
