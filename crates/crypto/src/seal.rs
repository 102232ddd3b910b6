//! Files sealed at rest: authenticated encryption under a key that stays on this machine.
//!
//! Form: deterministic CBOR `[1, purpose, nonce, ciphertext]`; the first two, re-encoded, are the additional
//! authenticated data, so that a file sealed for one purpose opens for no other. AEAD: RFC 8452.
//! The embedded default keeps the sealing key in a file of mode 0600: it stops a copied disk image of the
//! data folder alone, not somebody who reads as this user. `SECURITY.md` says what that leaves open.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use minicbor::{Decoder, Encoder};

use crate::provider::{self, SEAL_KEY_LEN, SEAL_NONCE_LEN};
use crate::random::Random;
use crate::secret::{Channel, Rated, Secret, Strength};
use crate::{custody, file};

/// Version of the sealed form.
const VERSION: u8 = 1;
/// What a key that is sealed under another is for.
const KEY_PURPOSE: &str = "sealing key";
/// Largest sealed file that is read: a device's state and a key are far smaller.
pub const MAX_SEALED: usize = 1 << 20;

/// Security strength of a sealing key and of what it seals with, in bits.
pub const BITS: u16 = 256;
/// A sealed file, on its way to whoever has the key.
pub const CHANNEL: Channel<BITS> = Channel::new();

/// The key that seals the files of one data folder. Copies of the handle use the same key.
#[derive(Clone)]
pub struct SealKey(Arc<Rated<BITS>>);

/// A sealing key that is made of something weaker: of parts that travelled wrapped to custodians, or of a passphrase. It counts
/// as strong as custody's wrapping, seals what is no stronger, and what it opens counts no more.
#[derive(Debug)]
pub(crate) struct CustodyKey(Rated<{ custody::BITS }>);

impl SealKey {
    /// A fresh key in memory.
    #[must_use]
    pub fn generate(random: &mut dyn Random) -> Self {
        let mut bytes = vec![0; SEAL_KEY_LEN];
        random.fill(&mut bytes);
        Self::of(Rated::new(bytes))
    }

    /// The one way in: wherever a key came from, it lives long.
    fn of(secret: Rated<BITS>) -> Self {
        Self(Arc::new(secret.locked()))
    }

    /// Lets `encode` put the key into a message for `channel`. A channel that is weaker than the key does not compile.
    pub fn reveal_through<const CHANNEL: u16, T>(
        &self,
        channel: Channel<CHANNEL>,
        encode: impl FnOnce(&[u8]) -> T,
    ) -> T {
        self.0.reveal_through(channel, encode)
    }

    /// The key in `path`, made there (mode 0600) when the file does not exist.
    ///
    /// # Errors
    /// [`SealError::Io`], or [`SealError::KeyFile`] when the file is not a key.
    pub fn load_or_create(path: &Path, random: &mut dyn Random) -> Result<Self, SealError> {
        if !path.exists() {
            let fresh = Self::generate(random);
            match fresh.0.expose(|bytes| file::create_new(path, bytes, file::PRIVATE)) {
                Ok(()) => return Self::load(path),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(SealError::Io(error)),
            }
        }
        Self::load(path)
    }

    /// The key in `path`, which is itself sealed under `outer`; made there (mode 0600) when the file does not exist.
    /// Destroying that file makes what was sealed with the key unreadable, whatever copies of it there are.
    ///
    /// # Errors
    /// [`SealError::Io`], or [`SealError::Damaged`] when the file does not open under `outer`.
    pub fn load_or_create_under(
        path: &Path,
        outer: &Self,
        random: &mut dyn Random,
    ) -> Result<Self, SealError> {
        if !path.exists() {
            let fresh = Self::generate(random);
            let sealed = fresh.0.expose(|bytes| seal(outer, KEY_PURPOSE, bytes, random))?;
            match file::create_new(path, &sealed, file::PRIVATE) {
                Ok(()) => return Ok(fresh),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(SealError::Io(error)),
            }
        }
        Self::load_under(path, outer)
    }

    /// The key in `path`, which is itself sealed under `outer`.
    ///
    /// # Errors
    /// As [`SealKey::load_or_create_under`].
    pub fn load_under(path: &Path, outer: &Self) -> Result<Self, SealError> {
        let sealed = std::fs::read(path).map_err(|error| {
            SealError::Io(io::Error::new(error.kind(), format!("{}: {error}", path.display())))
        })?;
        let key = opened(&outer.0, KEY_PURPOSE, &sealed).map(Rated::new)?;
        if key.len() == SEAL_KEY_LEN { Ok(Self::of(key)) } else { Err(SealError::Damaged) }
    }

    /// The key in `path`.
    ///
    /// # Errors
    /// [`SealError::Io`], or [`SealError::KeyFile`] when the file is not a key.
    pub fn load(path: &Path) -> Result<Self, SealError> {
        let bytes = std::fs::read(path).map_err(|error| {
            SealError::Io(io::Error::new(error.kind(), format!("{}: {error}", path.display())))
        })?;
        let key = Rated::new(bytes);
        if key.len() != SEAL_KEY_LEN {
            return Err(SealError::KeyFile { path: path.to_owned(), len: key.len() });
        }
        Ok(Self::of(key))
    }
}

impl std::fmt::Debug for SealKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SealKey(…)")
    }
}

impl CustodyKey {
    /// A key of [`SEAL_KEY_LEN`] bytes that custodians gave together, or that a passphrase gives.
    pub(crate) fn of(secret: Rated<{ custody::BITS }>) -> Self {
        Self(secret.locked())
    }

    /// A fresh key, and the same as a secret to be split among custodians.
    pub(crate) fn generate(random: &mut dyn Random) -> (Self, Rated<{ custody::BITS }>) {
        let mut bytes = vec![0; SEAL_KEY_LEN];
        random.fill(&mut bytes);
        let parts = Rated::new(bytes.clone());
        (Self::of(Rated::new(bytes)), parts)
    }

    /// As [`seal`].
    pub(crate) fn seal(
        &self,
        purpose: &str,
        plaintext: &Secret,
        random: &mut dyn Random,
    ) -> Result<Vec<u8>, SealError> {
        // A key that is stronger than what would protect it is refused, whoever brings it.
        plaintext
            .reveal_to(Strength(custody::BITS), |text| sealed(&self.0, purpose, text, random))
            .map_err(|_| SealError::Backend)?
    }

    /// As [`open`].
    pub(crate) fn open(&self, purpose: &str, sealed: &[u8]) -> Result<Secret, SealError> {
        opened(&self.0, purpose, sealed).map(|text| Secret::new(text, Strength(custody::BITS)))
    }
}

fn associated_data(purpose: &str) -> Vec<u8> {
    let mut out = Vec::new();
    Encoder::new(&mut out)
        .array(2)
        .and_then(|e| e.u8(VERSION))
        .and_then(|e| e.str(purpose))
        .expect("encoding into a vector cannot fail");
    out
}

/// Seals `plaintext` for `purpose`, such as `"device state"`.
///
/// # Errors
/// [`SealError::Damaged`] never; [`SealError::Backend`] on a broken platform.
pub fn seal(
    key: &SealKey,
    purpose: &str,
    plaintext: &[u8],
    random: &mut dyn Random,
) -> Result<Vec<u8>, SealError> {
    sealed(&key.0, purpose, plaintext, random)
}

/// Seals a secret for `purpose`, to be handed to whoever has the key. A secret that is stronger than [`BITS`] does not compile.
///
/// # Errors
/// As [`seal`].
pub fn seal_rated<const SECRET: u16>(
    key: &SealKey,
    purpose: &str,
    plaintext: &Rated<SECRET>,
    random: &mut dyn Random,
) -> Result<Vec<u8>, SealError> {
    plaintext.reveal_through(CHANNEL, |text| seal(key, purpose, text, random))
}

fn sealed<const KEY: u16>(
    key: &Rated<KEY>,
    purpose: &str,
    plaintext: &[u8],
    random: &mut dyn Random,
) -> Result<Vec<u8>, SealError> {
    let nonce: [u8; SEAL_NONCE_LEN] = random.array();
    let mut text = plaintext.to_vec();
    key.expose(|key| provider::aead_seal(key, nonce, &associated_data(purpose), &mut text))
        .map_err(|_| SealError::Backend)?;
    let mut out = Vec::with_capacity(text.len() + 64);
    Encoder::new(&mut out)
        .array(4)
        .and_then(|e| e.u8(VERSION))
        .and_then(|e| e.str(purpose))
        .and_then(|e| e.bytes(&nonce))
        .and_then(|e| e.bytes(&text))
        .expect("encoding into a vector cannot fail");
    Ok(out)
}

/// Opens what [`seal`] made for the same purpose with the same key.
///
/// # Errors
/// [`SealError::Damaged`] for anything else: another key, another purpose, a changed or cut file.
//= specs/house.md#house-state
//# Sealed state MUST NOT open under another purpose or another key.
pub fn open(key: &SealKey, purpose: &str, sealed: &[u8]) -> Result<Secret, SealError> {
    // What it is, nobody says here: it counts as strong as what sealed it.
    opened(&key.0, purpose, sealed).map(|text| Secret::new(text, Strength(BITS)))
}

fn opened<const KEY: u16>(
    key: &Rated<KEY>,
    purpose: &str,
    sealed: &[u8],
) -> Result<Vec<u8>, SealError> {
    let (nonce, mut text) = parse(purpose, sealed).ok_or(SealError::Damaged)?;
    let len = key
        .expose(|key| provider::aead_open(key, nonce, &associated_data(purpose), &mut text))
        .map_err(|_| SealError::Damaged)?;
    text.truncate(len);
    Ok(text)
}

fn parse(purpose: &str, sealed: &[u8]) -> Option<([u8; SEAL_NONCE_LEN], Vec<u8>)> {
    if sealed.len() > MAX_SEALED {
        return None;
    }
    let mut decoder = Decoder::new(sealed);
    if decoder.array().ok()? != Some(4)
        || decoder.u8().ok()? != VERSION
        || decoder.str().ok()? != purpose
    {
        return None;
    }
    let nonce = decoder.bytes().ok()?.try_into().ok()?;
    let text = decoder.bytes().ok()?.to_vec();
    (decoder.position() == sealed.len()).then_some((nonce, text))
}

/// Why a file was not sealed or opened.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// The file system refused.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The sealing key's file is not one.
    #[error(
        "{path}: holds {len} bytes where a sealing key has {SEAL_KEY_LEN}: restore this file from backup; without it the folder's sealed files cannot be opened"
    )]
    KeyFile {
        /// The file.
        path: PathBuf,
        /// Its length in bytes.
        len: usize,
    },
    /// Wrong key, wrong purpose, changed or cut.
    #[error("the sealed data was changed, cut short, or sealed with another key")]
    Damaged,
    /// The provider failed.
    #[error("the cryptographic provider failed: the platform's random source or memory is broken")]
    Backend,
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::random::SystemRandom;

    //= specs/house.md#house-state
    //= type=test
    //# Sealed state MUST NOT open under another purpose or another key.
    #[test]
    fn opens_for_the_same_key_and_purpose_only() {
        let key = SealKey::generate(&mut SystemRandom);
        let other = SealKey::generate(&mut SystemRandom);
        let sealed = seal(&key, "state", b"secret", &mut SystemRandom).unwrap();
        assert!(!sealed.windows(6).any(|window| window == b"secret"));
        open(&key, "state", &sealed).unwrap().expose(|bytes| assert_eq!(bytes, b"secret"));
        assert!(matches!(open(&other, "state", &sealed), Err(SealError::Damaged)));
        assert!(matches!(open(&key, "key", &sealed), Err(SealError::Damaged)));
    }

    #[test]
    fn custodians_keys_take_nothing_that_is_stronger() {
        let (key, _) = CustodyKey::generate(&mut SystemRandom);
        let secret = |bits| Secret::new(b"secret".to_vec(), Strength(bits));
        let sealed = key.seal("root", &secret(custody::BITS), &mut SystemRandom).unwrap();
        let opened = key.open("root", &sealed).unwrap();
        opened.expose(|text| assert_eq!(text, b"secret"));
        assert_eq!(opened.strength(), Strength(custody::BITS));
        assert!(key.seal("root", &secret(BITS), &mut SystemRandom).is_err());
    }

    #[test]
    fn every_changed_or_cut_byte_is_found() {
        let key = SealKey::generate(&mut SystemRandom);
        let sealed = seal(&key, "state", b"secret", &mut SystemRandom).unwrap();
        for index in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[index] ^= 1;
            assert!(open(&key, "state", &changed).is_err(), "byte {index}");
            assert!(open(&key, "state", &sealed[..index]).is_err(), "cut at {index}");
        }
    }

    //= specs/house.md#house-secrets
    //= type=test
    //# A sealing key, a setup code's verifier and a network key MUST lie in locked memory where the machine gives it.
    #[test]
    fn a_key_is_locked_wherever_it_came_from() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let random = &mut SystemRandom;
        let (shared, _) = CustodyKey::generate(random);
        assert!(shared.0.is_locked(), "to be split");
        assert!(CustodyKey::of(Rated::new(vec![7; SEAL_KEY_LEN])).0.is_locked(), "given together");
        let made = SealKey::load_or_create(&path("seal.key"), random).unwrap();
        let under = SealKey::load_or_create_under(&path("job.key"), &made, random).unwrap();
        let again = SealKey::load_or_create_under(&path("job.key"), &made, random).unwrap();
        let keys = [
            ("fresh", SealKey::generate(random)),
            ("from a file", made),
            ("fresh under another", under),
            ("under another", again),
        ];
        for (from, key) in keys {
            assert!(key.0.is_locked(), "{from}");
        }
    }

    #[test]
    fn the_key_file_is_private_and_stays() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("seal.key");
        let made = SealKey::load_or_create(&path, &mut SystemRandom).unwrap();
        let sealed = seal(&made, "x", b"y", &mut SystemRandom).unwrap();
        let again = SealKey::load_or_create(&path, &mut SystemRandom).unwrap();
        assert!(open(&again, "x", &sealed).is_ok());
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        std::fs::write(&path, b"short").unwrap();
        let refused = SealKey::load(&path).unwrap_err().to_string();
        assert!(refused.contains("seal.key") && refused.contains("restore"), "{refused}");
    }
}
