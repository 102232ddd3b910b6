//! A custodian's own key file: what signs approvals and what opens shares, under a passphrase.
//!
//! Form: CBOR `[1, salt, KiB, passes, lanes, sealed]`; sealed: `[name, algorithm, PKCS#8 or label in a token, in a token?, public key, wrapping
//! key]`. The passphrase is stretched by Argon2id (RFC 9106).

use minicbor::{Decoder, Encoder};
use zeroize::Zeroize as _;

use super::wrap::{WrapError, WrapKey};
use crate::keystore::{Keystore, KeystoreError};
use crate::provider::{self, SEAL_KEY_LEN};
use crate::random::Random;
use crate::seal::CustodyKey;
use crate::secret::{Rated, Secret, Strength};
use crate::signature::{KeyHandle, SignatureAlgorithm, SignatureError, generate_pkcs8};

/// Version of the form.
const VERSION: u8 = 1;
const PURPOSE: &str = "custodian key";
/// Shortest passphrase, in characters.
pub const MIN_PASSPHRASE: usize = 12;
/// Largest key file, in bytes.
const MAX_FILE: usize = 8 * 1024;
/// Memory of the stretching in KiB, passes, lanes: RFC 9106's second choice, for a machine that somebody works at.
const COST: (u32, u32, u32) = (64 * 1024, 3, 4);
/// What a file may ask for at most: 1 GiB, so that a forged one cannot exhaust the machine.
const MAX_COST: (u32, u32, u32) = (1024 * 1024, 16, 16);
const SALT_LEN: usize = 16;

/// A custodian's key, opened.
#[derive(Debug)]
pub struct CustodianKey {
    name: String,
    signing: KeyHandle,
    at: Signing,
    wrap: WrapKey,
}

#[derive(Debug)]
enum Signing {
    /// In the file.
    Here(Secret),
    /// In a token, under this label.
    Token(String),
}

impl CustodianKey {
    /// A new key, all of it in the file that is to be written.
    ///
    /// # Errors
    /// [`CustodianKeyError`] on a broken platform.
    pub fn generate(name: &str) -> Result<Self, CustodianKeyError> {
        let algorithm = strongest();
        let pkcs8 = generate_pkcs8(algorithm)?;
        let signing = KeyHandle::from_pkcs8(algorithm, &pkcs8)?;
        let (name, wrap) = (name.to_owned(), WrapKey::generate()?);
        Ok(Self { name, signing, at: Signing::Here(pkcs8), wrap })
    }

    /// A new key whose signing half is made in a token and stays there.
    ///
    /// # Errors
    /// [`CustodianKeyError::Keystore`], such as a label that is taken.
    pub fn generate_in_token(
        name: &str,
        token: &Keystore,
        label: &str,
    ) -> Result<Self, CustodianKeyError> {
        let signing = token.generate(label, strongest())?;
        let (name, wrap) = (name.to_owned(), WrapKey::generate()?);
        Ok(Self { name, signing, at: Signing::Token(label.to_owned()), wrap })
    }

    /// Whose it is, as the plan names them.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What signs.
    #[must_use]
    pub fn signing(&self) -> &KeyHandle {
        &self.signing
    }

    /// What opens shares.
    #[must_use]
    pub fn wrap(&self) -> &WrapKey {
        &self.wrap
    }

    /// The key file's bytes.
    ///
    /// # Errors
    /// [`CustodianKeyError::Passphrase`] for one that is too short.
    pub fn to_file(
        &self,
        passphrase: &Secret,
        random: &mut dyn Random,
    ) -> Result<Vec<u8>, CustodianKeyError> {
        let long = passphrase.expose(|text| {
            std::str::from_utf8(text).is_ok_and(|t| t.chars().count() >= MIN_PASSPHRASE)
        });
        if !long {
            return Err(CustodianKeyError::Passphrase);
        }
        let salt: [u8; SALT_LEN] = random.array();
        let seal = stretch(passphrase, &salt, COST)?;
        let text = Secret::new(self.encode(), Strength(super::BITS));
        let sealed = seal.seal(PURPOSE, &text, random);
        let sealed = sealed.map_err(|_| SignatureError::Backend)?;
        let mut out = Vec::new();
        Encoder::new(&mut out)
            .array(6)
            .and_then(|e| e.u8(VERSION))
            .and_then(|e| e.bytes(&salt))
            .and_then(|e| e.u32(COST.0))
            .and_then(|e| e.u32(COST.1))
            .and_then(|e| e.u32(COST.2))
            .and_then(|e| e.bytes(&sealed))
            .expect("encoding into a vector cannot fail");
        Ok(out)
    }

    fn encode(&self) -> Vec<u8> {
        let mut text = Vec::new();
        let held = match &self.at {
            Signing::Here(pkcs8) => pkcs8.expose(<[u8]>::to_vec),
            Signing::Token(label) => label.clone().into_bytes(),
        };
        self.wrap.joined().expose(|wrap| {
            Encoder::new(&mut text)
                .array(6)
                .and_then(|e| e.str(&self.name))
                .and_then(|e| e.str(self.signing.algorithm().name()))
                .and_then(|e| e.bytes(&held))
                .and_then(|e| e.bool(matches!(self.at, Signing::Token(_))))
                .and_then(|e| e.bytes(self.signing.spki_der()))
                .and_then(|e| e.bytes(wrap))
                .expect("encoding into a vector cannot fail");
        });
        let mut held = held;
        held.zeroize();
        text
    }

    /// Opens a key file; `token` is asked where its signing half is in one.
    ///
    /// # Errors
    /// [`CustodianKeyError::Form`], [`CustodianKeyError::Wrong`], [`CustodianKeyError::NeedsToken`].
    pub fn from_file(
        file: &[u8],
        passphrase: &Secret,
        token: Option<&Keystore>,
    ) -> Result<Self, CustodianKeyError> {
        let (salt, cost, sealed) = parse(file).ok_or(CustodianKeyError::Form)?;
        let seal = stretch(passphrase, &salt, cost)?;
        let text = seal.open(PURPOSE, sealed).map_err(|_| CustodianKeyError::Wrong)?;
        let opened = text.expose(decode).ok_or(CustodianKeyError::Form)?;
        let Opened { name, algorithm, held, in_token, spki_der, wrap } = opened;
        let (signing, at) = if in_token {
            let label = held.expose(|label| String::from_utf8(label.to_vec()));
            let label = label.map_err(|_| CustodianKeyError::Form)?;
            let token = token.ok_or_else(|| CustodianKeyError::NeedsToken(label.clone()))?;
            (token.require(&label)?, Signing::Token(label))
        } else {
            (KeyHandle::from_pkcs8(algorithm, &held)?, Signing::Here(held))
        };
        if signing.spki_der() != spki_der {
            return Err(CustodianKeyError::Form);
        }
        Ok(Self { name, signing, at, wrap })
    }
}

fn strongest() -> SignatureAlgorithm {
    let all = SignatureAlgorithm::ALL;
    all.into_iter().max_by_key(|one| one.strength()).expect("there are some")
}

fn stretch(
    passphrase: &Secret,
    salt: &[u8; SALT_LEN],
    (memory, passes, lanes): (u32, u32, u32),
) -> Result<CustodyKey, CustodianKeyError> {
    let mut out = vec![0; SEAL_KEY_LEN];
    passphrase
        .expose(|input| provider::argon2id(memory, passes, lanes, salt, input, &mut out))
        .map_err(|_| CustodianKeyError::Form)?;
    // It counts as strong as what it seals; in truth it is as strong as the passphrase, and the file stays with its custodian.
    Ok(CustodyKey::of(Rated::new(out)))
}

type Header<'a> = ([u8; SALT_LEN], (u32, u32, u32), &'a [u8]);

fn parse(file: &[u8]) -> Option<Header<'_>> {
    if file.len() > MAX_FILE {
        return None;
    }
    let mut d = Decoder::new(file);
    if d.array().ok()? != Some(6) || d.u8().ok()? != VERSION {
        return None;
    }
    let salt = d.bytes().ok()?.try_into().ok()?;
    let cost = (d.u32().ok()?, d.u32().ok()?, d.u32().ok()?);
    if cost.0 > MAX_COST.0 || cost.1 > MAX_COST.1 || cost.2 > MAX_COST.2 {
        return None;
    }
    let sealed = d.bytes().ok()?;
    (d.position() == file.len()).then_some((salt, cost, sealed))
}

struct Opened {
    name: String,
    algorithm: SignatureAlgorithm,
    held: Secret,
    in_token: bool,
    spki_der: Vec<u8>,
    wrap: WrapKey,
}

fn decode(text: &[u8]) -> Option<Opened> {
    let mut d = Decoder::new(text);
    if d.array().ok()? != Some(6) {
        return None;
    }
    let name = d.str().ok()?.to_owned();
    let algorithm = SignatureAlgorithm::from_name(d.str().ok()?)?;
    let held = Secret::new(d.bytes().ok()?.to_vec(), algorithm.strength());
    let in_token = d.bool().ok()?;
    let spki_der = d.bytes().ok()?.to_vec();
    let wrap = WrapKey::split(&Secret::new(d.bytes().ok()?.to_vec(), Strength(super::BITS)))?;
    Some(Opened { name, algorithm, held, in_token, spki_der, wrap })
}

/// Why there is no custodian's key.
#[derive(Debug, thiserror::Error)]
pub enum CustodianKeyError {
    /// Not a key file.
    #[error("the file is no custodian's key: it was cut short, or is another file")]
    Form,
    /// The passphrase does not open it.
    #[error("the passphrase does not open this key, or the file was changed")]
    Wrong,
    /// Too short.
    #[error("the passphrase is too short: use {MIN_PASSPHRASE} characters or more")]
    Passphrase,
    /// Its signing half is in a token that was not named.
    #[error("the key {0:?} is in a PKCS#11 token: name it with --module, --token and --pin-file")]
    NeedsToken(String),
    /// The token.
    #[error(transparent)]
    Keystore(#[from] KeystoreError),
    /// The signing half.
    #[error(transparent)]
    Signature(#[from] SignatureError),
    /// The wrapping half.
    #[error(transparent)]
    Wrap(#[from] WrapError),
}
