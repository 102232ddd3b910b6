//! Wrapping a secret to somebody's public key: HPKE (RFC 9180), base mode, with 192 bits.

use rustls::crypto::hpke::{EncapsulatedSecret, Hpke, HpkePrivateKey, HpkePublicKey};

use super::{BITS, CHANNEL};
use crate::provider;
use crate::random::Random;
use crate::seal::{self, SealKey};
use crate::secret::{Rated, Secret};

/// Bytes of a public key, and of an encapsulated one: an uncompressed point on P-384.
const POINT: usize = 97;
/// Purpose under which a wrapping key is sealed at rest.
const PURPOSE: &str = "wrapping key";
/// What every wrapping is for; the caller's purpose stands behind it.
const INFO: &str = "countersign wrap v1 ";

/// To whom secrets are wrapped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrapPublic(Vec<u8>);

impl WrapPublic {
    /// From an uncompressed point; whether it lies on the curve is found when something is wrapped to it.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let fits = bytes.len() == POINT && bytes[0] == 4;
        fits.then(|| Self(bytes.to_vec()))
    }

    /// The point, uncompressed.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Wraps a secret for `purpose`; it opens for no other. A secret that is stronger than [`CHANNEL`] does not compile.
    ///
    /// # Errors
    /// [`WrapError::Key`] for a key that is no point of the curve; [`WrapError::NotOffered`] where the provider has no HPKE.
    //= specs/house.md#house-secrets
    //# A secret MUST leave the process only through a channel whose strength is at least its own.
    pub fn wrap<const SECRET: u16>(
        &self,
        purpose: &str,
        secret: &Rated<SECRET>,
    ) -> Result<Vec<u8>, WrapError> {
        let (hpke, info) = (hpke()?, [INFO, purpose].concat());
        let to = HpkePublicKey(self.0.clone());
        let (encapsulated, text) = secret
            .reveal_through(CHANNEL, |bytes| hpke.seal(info.as_bytes(), &[], bytes, &to))
            .map_err(|_| WrapError::Key)?;
        Ok([encapsulated.0, text].concat())
    }
}

/// Who opens what was wrapped.
#[derive(Debug)]
pub struct WrapKey {
    secret: Rated<BITS>,
    public: WrapPublic,
}

impl WrapKey {
    /// A fresh key pair.
    ///
    /// # Errors
    /// [`WrapError::NotOffered`] where the provider has no HPKE.
    pub fn generate() -> Result<Self, WrapError> {
        let (public, secret) = hpke()?.generate_key_pair().map_err(|_| WrapError::NotOffered)?;
        let secret = Rated::new(secret.secret_bytes().to_vec());
        Ok(Self { secret, public: WrapPublic(public.0) })
    }

    /// The public half.
    #[must_use]
    pub fn public(&self) -> &WrapPublic {
        &self.public
    }

    /// Opens what was wrapped to this key for `purpose`.
    ///
    /// # Errors
    /// [`WrapError::Damaged`] for anything else; [`WrapError::NotOffered`] where the provider has no HPKE.
    pub fn unwrap(&self, purpose: &str, wrapped: &[u8]) -> Result<Rated<BITS>, WrapError> {
        let (hpke, info) = (hpke()?, [INFO, purpose].concat());
        let (encapsulated, text) = wrapped.split_at_checked(POINT).ok_or(WrapError::Damaged)?;
        let encapsulated = EncapsulatedSecret(encapsulated.to_vec());
        let secret = self.secret.expose(|secret| HpkePrivateKey::from(secret.to_vec()));
        let opened = hpke
            .open(&encapsulated, info.as_bytes(), &[], text, &secret)
            .map_err(|_| WrapError::Damaged)?;
        Ok(Rated::new(opened))
    }

    /// The pair, sealed to lie on this machine.
    ///
    /// # Errors
    /// [`WrapError::NotOffered`] on a broken platform.
    pub fn sealed(&self, seal: &SealKey, random: &mut dyn Random) -> Result<Vec<u8>, WrapError> {
        seal::seal_rated(seal, PURPOSE, &self.joined(), random).map_err(|_| WrapError::NotOffered)
    }

    /// What [`WrapKey::sealed`] made.
    ///
    /// # Errors
    /// [`WrapError::Damaged`].
    pub fn open(seal: &SealKey, sealed: &[u8]) -> Result<Self, WrapError> {
        let text = seal::open(seal, PURPOSE, sealed).map_err(|_| WrapError::Damaged)?;
        Self::split(&text).ok_or(WrapError::Damaged)
    }

    /// Public half, then private half.
    pub(super) fn joined(&self) -> Rated<BITS> {
        let mut text = self.public.0.clone();
        self.secret.expose(|secret| text.extend_from_slice(secret));
        Rated::new(text)
    }

    pub(super) fn split(joined: &Secret) -> Option<Self> {
        joined.expose(|text| {
            let (public, secret) = text.split_at_checked(POINT)?;
            let public = WrapPublic::from_bytes(public)?;
            (!secret.is_empty()).then(|| Self { secret: Rated::new(secret.to_vec()), public })
        })
    }
}

fn hpke() -> Result<&'static dyn Hpke, WrapError> {
    provider::hpke_192().ok_or(WrapError::NotOffered)
}

/// Why something was not wrapped or opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WrapError {
    /// Not a public key.
    #[error("the public key cannot have a secret wrapped to it: it is no point of its curve")]
    Key,
    /// Another key, another purpose, or a changed text.
    #[error("what was wrapped does not open: it is for another key or purpose, or was changed")]
    Damaged,
    /// The provider of this build has no HPKE.
    #[error("this build's cryptographic provider cannot wrap keys")]
    NotOffered,
}
