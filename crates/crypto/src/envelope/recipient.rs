//! Whom files are sealed to, and who opens them.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use rustls::crypto::hpke::{Hpke, HpkePrivateKey, HpkePublicKey};
use zeroize::Zeroizing;

use super::{BITS, EnvelopeError};
use crate::provider::{self, HPKE_192, HPKE_256};
use crate::secret::{Rated, Secret};

/// Octets of a recipient's public key, an uncompressed point; of one of an earlier build, whose files are still opened.
const POINT: usize = 133;
const EARLIER_POINT: usize = 97;

pub(super) const PUBLIC: &str = "countersign-recipient:1:";
pub(super) const PRIVATE: &str = "countersign-recipient-secret:1:";

/// Whom a file is sealed to: a public key. Its text form is one word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recipient(pub(super) Vec<u8>);

/// How a file is sealed, by the key that opens it.
#[derive(Clone, Copy)]
pub(super) struct Suite {
    pub(super) name: &'static str,
    pub(super) hpke: &'static dyn Hpke,
}

impl Suite {
    /// What is sealed with now.
    pub(super) fn present() -> Result<Self, EnvelopeError> {
        let hpke = provider::hpke_256().ok_or(EnvelopeError::NotOffered)?;
        Ok(Self { name: HPKE_256, hpke })
    }

    /// What an earlier build sealed with.
    pub(super) fn earlier() -> Result<Self, EnvelopeError> {
        let hpke = provider::hpke_192().ok_or(EnvelopeError::NotOffered)?;
        Ok(Self { name: HPKE_192, hpke })
    }

    pub(super) fn of(Recipient(key): &Recipient) -> Result<Self, EnvelopeError> {
        match key.len() {
            POINT => Self::present(),
            EARLIER_POINT => Self::earlier(),
            _ => Err(EnvelopeError::Recipient),
        }
    }
}

impl Recipient {
    /// A point that is not on the curve is found before anything is sealed to it.
    fn parse(text: &str) -> Result<Self, EnvelopeError> {
        let bytes = text.trim().strip_prefix(PUBLIC).and_then(|text| BASE64.decode(text).ok());
        let key = bytes.map(Self).ok_or(EnvelopeError::Recipient)?;
        let point = HpkePublicKey(key.0.clone());
        let suite = Suite::of(&key)?;
        suite.hpke.setup_sealer(b"", &point).map_err(|_| EnvelopeError::Recipient)?;
        Ok(key)
    }

    /// Whether it protects as [`super::CHANNEL`] says.
    pub(super) fn sealed_to(&self) -> Result<(), EnvelopeError> {
        if self.0.len() == POINT { Ok(()) } else { Err(EnvelopeError::Weak) }
    }
}

impl std::fmt::Display for Recipient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{PUBLIC}{}", BASE64.encode(&self.0))
    }
}

impl std::str::FromStr for Recipient {
    type Err = EnvelopeError;
    fn from_str(text: &str) -> Result<Self, EnvelopeError> {
        let key = Self::parse(text)?;
        key.sealed_to().map(|()| key)
    }
}

/// The private half of a [`Recipient`]. Kept apart from what is sealed to it.
#[derive(Debug)]
pub struct RecipientKey {
    secret: Rated<BITS>,
    pub(super) public: Recipient,
}

impl RecipientKey {
    /// A fresh pair.
    ///
    /// # Errors
    /// [`EnvelopeError::NotOffered`] with a provider without HPKE.
    pub fn generate() -> Result<Self, EnvelopeError> {
        Self::of(Suite::present()?)
    }

    pub(super) fn of(suite: Suite) -> Result<Self, EnvelopeError> {
        let pair = suite.hpke.generate_key_pair();
        let (public, private) = pair.map_err(|_| EnvelopeError::Backend)?;
        let secret = Rated::new(private.secret_bytes().to_vec());
        Ok(Self { secret, public: Recipient(public.0) })
    }

    /// Whom others seal to.
    #[must_use]
    pub fn recipient(&self) -> &Recipient {
        &self.public
    }

    /// As a file that keeps it: one line for each half. It is secret: mode 0600.
    #[must_use]
    pub fn to_text(&self) -> Secret {
        let secret = self.secret.expose(|bytes| Zeroizing::new(BASE64.encode(bytes)));
        let text = format!("{}\n{PRIVATE}{}\n", self.public, secret.as_str());
        Rated::<BITS>::new(text.into_bytes()).into()
    }

    /// Reads what [`Self::to_text`] made.
    ///
    /// # Errors
    /// [`EnvelopeError::Key`].
    pub fn from_text(text: &[u8]) -> Result<Self, EnvelopeError> {
        let text = std::str::from_utf8(text).map_err(|_| EnvelopeError::Key)?;
        let mut lines = text.lines();
        let (public, private) = (lines.next(), lines.next());
        let public = public.ok_or(EnvelopeError::Key)?;
        let private = private.and_then(|line| line.strip_prefix(PRIVATE));
        let private = private.and_then(|text| BASE64.decode(text).ok());
        let secret = Rated::new(private.ok_or(EnvelopeError::Key)?);
        // One of an earlier build still opens what was sealed to it.
        let public = Recipient::parse(public).map_err(|_| EnvelopeError::Key)?;
        Ok(Self { secret, public })
    }

    pub(super) fn private(&self) -> HpkePrivateKey {
        self.secret.expose(|bytes| HpkePrivateKey::from(bytes.to_vec()))
    }
}
