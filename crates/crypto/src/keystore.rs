//! Private keys, each under a label: as sealed files in a folder, or in a PKCS#11 token.
//!
//! ```text
//!                 ┌─► folder ── keys/root.key, sealed with the folder's seal.key
//!  Keystore ──────┤
//!                 └─► token ─── CKA_LABEL "root", sensitive, not extractable
//! ```
//!
//! What leaves the keystore is a [`KeyHandle`] that signs, whatever holds the key.

mod export;
mod folder;
mod token;

use std::io;
use std::path::{Path, PathBuf};

use crate::note_key::NoteKey;
use crate::random::Random;
use crate::seal::{SealError, SealKey};
use crate::second::{SecondAlgorithm, SecondKey};
use crate::secret::Secret;
use crate::signature::{KeyHandle, SignatureAlgorithm, SignatureError};

pub use export::{exportable_key, key_from_pem};
use folder::SealedFolder;
pub use token::{Token, TokenConfig, TokenError};

/// Longest label in bytes.
pub const MAX_LABEL: usize = 96;

/// Where keys are. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Keystore(Holder);

#[derive(Debug, Clone)]
enum Holder {
    Folder(SealedFolder),
    Token(Token),
}

impl Keystore {
    /// Sealed files in `folder`, made when it is not there (mode 0700).
    ///
    /// # Errors
    /// [`KeystoreError::Io`] when the folder cannot be made.
    pub fn open(folder: &Path, seal: SealKey) -> Result<Self, KeystoreError> {
        SealedFolder::open(folder, seal).map(Holder::Folder).map(Self)
    }

    /// Keys in a PKCS#11 token.
    #[must_use]
    pub const fn in_token(token: Token) -> Self {
        Self(Holder::Token(token))
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
        match &self.0 {
            Holder::Folder(folder) => folder.generate(label, algorithm),
            Holder::Token(token) => token.generate(checked(label)?, algorithm),
        }
    }

    /// Takes a key that was made elsewhere, such as in the factory.
    ///
    /// # Errors
    /// As [`Keystore::generate`]; [`KeystoreError::Signature`] when `pkcs8` is no such key; [`KeystoreError::MadeInside`]
    /// for a token.
    pub fn import(
        &self,
        label: &str,
        algorithm: SignatureAlgorithm,
        pkcs8: &Secret,
    ) -> Result<KeyHandle, KeystoreError> {
        match &self.0 {
            Holder::Folder(folder) => folder.import(label, algorithm, pkcs8),
            Holder::Token(_) => Err(KeystoreError::MadeInside(label.to_owned())),
        }
    }

    /// The key under `label`, if there is one.
    ///
    /// # Errors
    /// [`KeystoreError::Damaged`] when its file does not open; [`KeystoreError::Token`].
    pub fn load(&self, label: &str) -> Result<Option<KeyHandle>, KeystoreError> {
        match &self.0 {
            Holder::Folder(folder) => folder.load(label),
            Holder::Token(token) => token.load(checked(label)?),
        }
    }

    /// Makes a key for second signatures under `label`.
    ///
    /// # Errors
    /// As [`Keystore::generate`]; [`KeystoreError::Signature`] when the provider has no such algorithm;
    /// [`KeystoreError::NoSecond`] for a token.
    pub fn generate_second(
        &self,
        label: &str,
        algorithm: SecondAlgorithm,
    ) -> Result<SecondKey, KeystoreError> {
        match &self.0 {
            Holder::Folder(folder) => folder.generate_second(label, algorithm),
            Holder::Token(token) => Err(KeystoreError::NoSecond(token.name().to_owned())),
        }
    }

    /// The key for second signatures under `label`, if there is one; a token has none.
    ///
    /// # Errors
    /// As [`Keystore::load`].
    pub fn load_second(&self, label: &str) -> Result<Option<SecondKey>, KeystoreError> {
        match &self.0 {
            Holder::Folder(folder) => folder.load_second(label),
            Holder::Token(_) => checked(label).map(|_| None),
        }
    }

    /// The key for signed notes under `label`, made if there is none. No token holds such keys.
    ///
    /// # Errors
    /// [`KeystoreError::Damaged`] when its file does not open, [`KeystoreError::Kind`] when it is another kind of key or
    /// this is a token.
    pub fn note_key(&self, label: &str, random: &mut dyn Random) -> Result<NoteKey, KeystoreError> {
        match &self.0 {
            Holder::Folder(folder) => folder.note_key(label, random),
            Holder::Token(_) => Err(KeystoreError::Kind {
                label: label.to_owned(),
                algorithm: crate::note_key::NAME.to_owned(),
            }),
        }
    }

    /// The key under `label`; a missing one is an error that names where it was looked for.
    ///
    /// # Errors
    /// [`KeystoreError::Missing`] or [`KeystoreError::NotInToken`], and those of [`Keystore::load`].
    pub fn require(&self, label: &str) -> Result<KeyHandle, KeystoreError> {
        match (self.load(label)?, &self.0) {
            (Some(key), _) => Ok(key),
            (None, Holder::Folder(folder)) => Err(KeystoreError::Missing(folder.path(label)?)),
            (None, Holder::Token(token)) => {
                Err(KeystoreError::NotInToken(token.full_label(label), token.name().to_owned()))
            }
        }
    }

    /// Moves a key to another label, replacing what stands there: *next* becomes *current*. In a folder this is one
    /// step; in a token the old key goes first, and a failure between the two leaves the new one under `from`.
    ///
    /// # Errors
    /// [`KeystoreError::Io`], [`KeystoreError::Token`].
    pub fn rename(&self, from: &str, to: &str) -> Result<(), KeystoreError> {
        match &self.0 {
            Holder::Folder(folder) => folder.rename(from, to),
            Holder::Token(token) => token.rename(checked(from)?, checked(to)?),
        }
    }

    /// Destroys a key. A missing one is fine.
    ///
    /// # Errors
    /// [`KeystoreError::Io`], [`KeystoreError::Token`].
    pub fn destroy(&self, label: &str) -> Result<(), KeystoreError> {
        match &self.0 {
            Holder::Folder(folder) => folder.destroy(label),
            Holder::Token(token) => token.destroy(checked(label)?),
        }
    }

    /// Every label, sorted.
    ///
    /// # Errors
    /// [`KeystoreError::Io`], [`KeystoreError::Token`].
    pub fn list(&self) -> Result<Vec<String>, KeystoreError> {
        match &self.0 {
            Holder::Folder(folder) => folder.list(),
            Holder::Token(token) => token.list(),
        }
    }
}

fn checked(label: &str) -> Result<&str, KeystoreError> {
    let fits = !label.is_empty()
        && label.len() <= MAX_LABEL
        && label.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
        && !label.starts_with('.');
    if fits { Ok(label) } else { Err(KeystoreError::Label(label.to_owned())) }
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
    /// A token makes its keys itself.
    #[error(
        "keystore: {0:?} cannot be brought into a token: keys there are made inside and never leave; make it in the token"
    )]
    MadeInside(String),
    /// Keys for second signatures are not made in tokens yet.
    #[error(
        "PKCS#11 token {0:?}: keys for a second signature cannot be made in a token: leave document-signing.second out of the policy, or keep the keys in sealed files"
    )]
    NoSecond(String),
    /// No key in the token where one must be.
    #[error(
        "PKCS#11 token {1:?} holds no key {0:?}: is it the token of this folder's ceremony, and is token.prefix right?"
    )]
    NotInToken(String, String),
    /// The token refused, or is not there.
    #[error(transparent)]
    Token(#[from] TokenError),
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
    use crate::random::SystemRandom;
    use std::fs;

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
    fn a_note_key_is_made_once_and_is_no_other_key() {
        let (_folder, store) = store();
        let random: &mut dyn Random = &mut SystemRandom;
        let made = store.note_key("ledger", random).unwrap();
        assert_eq!(store.note_key("ledger", random).unwrap().public(), made.public());
        assert!(matches!(store.load("ledger"), Err(KeystoreError::Kind { .. })));
        store.generate("root", SignatureAlgorithm::EcdsaP256Sha256).unwrap();
        assert!(matches!(store.note_key("root", random), Err(KeystoreError::Kind { .. })));
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
