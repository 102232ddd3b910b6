//! A folder of sealed private keys, each under a label.
//!
//! ```text
//! keys/current.key  keys/next.key      sealed: [algorithm name, PKCS#8]
//! ```
//!
//! What leaves the keystore is a [`KeyHandle`] that signs. Tokens and TPMs stand behind the same handle.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use minicbor::{Decoder, Encoder};
use zeroize::Zeroize as _;

use crate::file;
use crate::random::{Random, SystemRandom};
use crate::seal::{self, SealError, SealKey};
use crate::second::{self, SecondAlgorithm, SecondKey};
use crate::secret::{Secret, Strength};
use crate::signature::{KeyHandle, SignatureAlgorithm, SignatureError, generate_pkcs8};

const PURPOSE: &str = "private key";
const ENDING: &str = "key";
/// Longest label in bytes.
pub const MAX_LABEL: usize = 96;

/// A folder of sealed keys.
#[derive(Debug, Clone)]
pub struct Keystore {
    folder: PathBuf,
    seal: SealKey,
}

impl Keystore {
    /// Opens `folder`, made when it is not there (mode 0700).
    ///
    /// # Errors
    /// [`KeystoreError::Io`] when the folder cannot be made.
    pub fn open(folder: &Path, seal: SealKey) -> Result<Self, KeystoreError> {
        file::private_folder(folder)?;
        Ok(Self { folder: folder.to_owned(), seal })
    }

    /// Makes a key under `label`.
    ///
    /// # Errors
    /// [`KeystoreError::Exists`] when the label is taken: a key is never overwritten.
    pub fn generate(
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
    /// As [`Keystore::generate`]; [`KeystoreError::Signature`] when `pkcs8` is no such key.
    //= specs/house.md#house-secrets
    //# A private key at rest MUST be sealed, except in the file that hands it over.
    //= specs/en-303-645.md#5.5-8
    //# Storage MUST protect a private key from being read and from being changed unnoticed.
    pub fn import(
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
    /// As [`Keystore::generate`]; [`KeystoreError::Signature`] when the provider has no such algorithm.
    pub fn generate_second(
        &self,
        label: &str,
        algorithm: SecondAlgorithm,
    ) -> Result<SecondKey, KeystoreError> {
        let pkcs8 = second::generate_pkcs8(algorithm)?;
        let key = SecondKey::from_pkcs8(algorithm, &pkcs8)?;
        self.store(label, algorithm.name(), &pkcs8)?;
        Ok(key)
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
    pub fn load(&self, label: &str) -> Result<Option<KeyHandle>, KeystoreError> {
        let Some((name, pkcs8)) = self.read(label)? else { return Ok(None) };
        let algorithm =
            SignatureAlgorithm::from_name(&name).ok_or_else(|| Self::other_kind(label, &name))?;
        Ok(Some(KeyHandle::from_pkcs8(algorithm, &pkcs8)?))
    }

    /// The key for second signatures under `label`, if there is one.
    ///
    /// # Errors
    /// As [`Keystore::load`].
    pub fn load_second(&self, label: &str) -> Result<Option<SecondKey>, KeystoreError> {
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

    /// The key under `label`; a missing one is an error that names the file.
    ///
    /// # Errors
    /// [`KeystoreError::Missing`], and those of [`Keystore::load`].
    pub fn require(&self, label: &str) -> Result<KeyHandle, KeystoreError> {
        match self.load(label)? {
            Some(key) => Ok(key),
            None => Err(KeystoreError::Missing(self.path(label)?)),
        }
    }

    /// Moves a key to another label, replacing what stands there: *next* becomes *current* in one step.
    ///
    /// # Errors
    /// [`KeystoreError::Io`].
    pub fn rename(&self, from: &str, to: &str) -> Result<(), KeystoreError> {
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
    pub fn destroy(&self, label: &str) -> Result<(), KeystoreError> {
        use std::io::Write as _;
        let path = self.path(label)?;
        let mut options = fs::OpenOptions::new();
        match options.write(true).open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(KeystoreError::Io(error)),
            Ok(mut open) => {
                let len = usize::try_from(open.metadata()?.len()).unwrap_or(seal::MAX_SEALED);
                open.write_all(&vec![0; len.min(seal::MAX_SEALED)])?;
                open.sync_all()?;
            }
        }
        fs::remove_file(&path)?;
        Ok(())
    }

    /// Every label, sorted.
    ///
    /// # Errors
    /// [`KeystoreError::Io`].
    pub fn list(&self) -> Result<Vec<String>, KeystoreError> {
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

    fn path(&self, label: &str) -> Result<PathBuf, KeystoreError> {
        let fits = !label.is_empty()
            && label.len() <= MAX_LABEL
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
            && !label.starts_with('.');
        if !fits {
            return Err(KeystoreError::Label(label.to_owned()));
        }
        Ok(self.folder.join(format!("{label}.{ENDING}")))
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
        .or_else(|| SecondAlgorithm::from_name(name).map(SecondAlgorithm::strength))?;
    Some((name.to_owned(), Secret::new(decoder.bytes().ok()?.to_vec(), strength)))
}

/// A key whose private half may leave as PKCS#8 PEM, because the file is what somebody asked for.
///
/// # Errors
/// [`SignatureError::Backend`] on a broken platform.
pub fn exportable_key(
    algorithm: SignatureAlgorithm,
) -> Result<(KeyHandle, Secret), SignatureError> {
    let pkcs8 = generate_pkcs8(algorithm)?;
    let handle = KeyHandle::from_pkcs8(algorithm, &pkcs8)?;
    let pem = pkcs8
        .expose(|bytes| der::pem::encode_string("PRIVATE KEY", der::pem::LineEnding::LF, bytes));
    let pem = pem.map_err(|_| SignatureError::Backend)?;
    Ok((handle, Secret::new(pem.into_bytes(), Strength(algorithm.strength().0))))
}

/// Reads a PKCS#8 PEM private key, as [`exportable_key`] writes it.
///
/// # Errors
/// [`SignatureError::Key`] when the text is no such key.
pub fn key_from_pem(pem: &[u8]) -> Result<KeyHandle, SignatureError> {
    let (label, pkcs8) = der::pem::decode_vec(pem).map_err(|_| SignatureError::Key)?;
    let pkcs8 = Secret::new(pkcs8, Strength(0));
    if label != "PRIVATE KEY" {
        return Err(SignatureError::Key);
    }
    SignatureAlgorithm::ALL
        .into_iter()
        .find_map(|algorithm| KeyHandle::from_pkcs8(algorithm, &pkcs8).ok())
        .ok_or(SignatureError::Key)
}

/// Why a key was not had.
#[derive(Debug, thiserror::Error)]
pub enum KeystoreError {
    /// The file system refused.
    #[error("keystore: {0}")]
    Io(#[from] io::Error),
    /// The label cannot be a file name.
    #[error("keystore: {0:?} is no label: use up to {MAX_LABEL} of A-Z a-z 0-9 . _ -")]
    Label(String),
    /// A key is there already.
    #[error("keystore: a key named {0:?} exists and is not overwritten")]
    Exists(String),
    /// No key where one must be.
    #[error("{}: the key is missing: restore the folder from backup", .0.display())]
    Missing(PathBuf),
    /// A key of the other kind where this one is looked for.
    #[error(
        "keystore: the key named {label:?} is for {algorithm}, which is not the kind that is wanted here"
    )]
    Kind {
        /// The label.
        label: String,
        /// What the key is for.
        algorithm: String,
    },
    /// The file was changed, cut, or sealed by another machine.
    #[error(
        "{}: the sealed key does not open: the file was changed, or seal.key belongs to another folder; restore both from the same backup",
        .0.display()
    )]
    Damaged(PathBuf),
    /// Sealing failed.
    #[error("keystore: {0}")]
    Seal(#[from] SealError),
    /// Not a key.
    #[error("keystore: {0}")]
    Signature(#[from] SignatureError),
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn store() -> (tempfile::TempDir, Keystore) {
        let folder = tempfile::tempdir().unwrap();
        let seal = SealKey::generate(&mut SystemRandom);
        let store = Keystore::open(&folder.path().join("keys"), seal).unwrap();
        (folder, store)
    }

    //= specs/house.md#house-secrets
    //= type=test
    //# A private key at rest MUST be sealed, except in the file that hands it over.
    #[test]
    fn keys_come_back_move_and_go() {
        let (_folder, store) = store();
        let next = store.generate("next", SignatureAlgorithm::EcdsaP256Sha256).unwrap();
        assert!(matches!(
            store.generate("next", SignatureAlgorithm::EcdsaP256Sha256),
            Err(KeystoreError::Exists(_))
        ));
        store.rename("next", "current").unwrap();
        assert_eq!(store.require("current").unwrap().spki_der(), next.spki_der());
        assert_eq!(store.list().unwrap(), ["current"]);
        store.destroy("current").unwrap();
        store.destroy("current").unwrap();
        assert!(store.load("current").unwrap().is_none());
        assert!(matches!(store.require("current"), Err(KeystoreError::Missing(_))));
    }

    //= specs/en-303-645.md#5.5-8
    //= type=test
    //# Storage MUST protect a private key from being read and from being changed unnoticed.
    #[test]
    fn a_damaged_key_is_named_and_labels_cannot_climb() {
        let (folder, store) = store();
        store.generate("root", SignatureAlgorithm::EcdsaP384Sha384).unwrap();
        fs::write(folder.path().join("keys/root.key"), b"garbage").unwrap();
        assert!(store.load("root").unwrap_err().to_string().contains("keys/root.key"));
        assert!(matches!(store.load("../seal"), Err(KeystoreError::Label(_))));
    }

    #[test]
    fn keys_for_second_signatures_are_a_kind_of_their_own() {
        let (_folder, store) = store();
        store.generate("policy", SignatureAlgorithm::EcdsaP256Sha256).unwrap();
        assert!(matches!(store.load_second("policy"), Err(KeystoreError::Kind { .. })));
        for &algorithm in SecondAlgorithm::offered() {
            let made = store.generate_second(algorithm.name(), algorithm).unwrap();
            let again = store.load_second(algorithm.name()).unwrap().unwrap();
            assert_eq!(again.spki_der(), made.spki_der());
            assert!(matches!(store.load(algorithm.name()), Err(KeystoreError::Kind { .. })));
            let twice = store.generate_second(algorithm.name(), algorithm);
            assert!(matches!(twice, Err(KeystoreError::Exists(_))));
        }
        assert!(store.load_second("absent").unwrap().is_none());
    }

    #[test]
    fn exported_keys_read_back() {
        for algorithm in SignatureAlgorithm::ALL {
            let (handle, pem) = exportable_key(algorithm).unwrap();
            let back = pem.expose(key_from_pem).unwrap();
            assert_eq!(back.spki_der(), handle.spki_der());
        }
        assert!(key_from_pem(b"garbage").is_err());
    }
}
