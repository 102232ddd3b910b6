//! Ed25519 (RFC 8032) for signed notes, and for nothing else: the form of the ledger's checkpoints and of their
//! cosignatures is not ours (C2SP signed-note and tlog-cosignature), and names this algorithm.
//!
//! No policy offers it to a channel, and no certificate has it: it is not a
//! [`crate::signature::SignatureAlgorithm`].

use std::sync::Arc;

use crate::provider;
use crate::random::Random;
use crate::secret::{Secret, Strength};
use crate::signature::SignatureError;

/// The algorithm's name in files.
pub const NAME: &str = "ed25519";
/// Bytes of the seed that is the private key.
pub const SEED_LEN: usize = 32;
/// Bytes of a public key.
pub const PUBLIC_LEN: usize = 32;
/// Bytes of a signature.
pub const SIGNATURE_LEN: usize = 64;

/// Security strength of the key.
pub(crate) const STRENGTH: Strength = Strength(128);

/// A private key that signs. Copies of the handle use the same key.
#[derive(Clone)]
pub struct NoteKey(Arc<provider::Ed25519>);

impl NoteKey {
    /// A new seed.
    #[must_use]
    pub fn fresh_seed(random: &mut dyn Random) -> Secret {
        let mut seed = vec![0; SEED_LEN];
        random.fill(&mut seed);
        Secret::new(seed, STRENGTH)
    }

    #[cfg(test)]
    fn seed_of(bytes: Vec<u8>) -> Secret {
        Secret::new(bytes, STRENGTH)
    }

    /// The key of a seed of [`SEED_LEN`] bytes.
    ///
    /// # Errors
    /// [`SignatureError::Key`] for a seed of another length.
    pub fn from_seed(seed: &Secret) -> Result<Self, SignatureError> {
        let key = seed.expose(provider::Ed25519::from_seed).map_err(|_| SignatureError::Key)?;
        Ok(Self(Arc::new(key)))
    }

    /// The public key.
    #[must_use]
    pub fn public(&self) -> [u8; PUBLIC_LEN] {
        self.0.public()
    }

    /// Signs.
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> [u8; SIGNATURE_LEN] {
        self.0.sign(message)
    }
}

impl std::fmt::Debug for NoteKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "NoteKey({})", hex::encode(self.public()))
    }
}

/// Verifies a signature.
///
/// # Errors
/// [`SignatureError::Invalid`].
pub fn verify(
    public: &[u8; PUBLIC_LEN],
    message: &[u8],
    signature: &[u8],
) -> Result<(), SignatureError> {
    provider::ed25519_verify(public, message, signature).map_err(|_| SignatureError::Invalid)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// RFC 8032 section 7.1, TEST 2.
    #[test]
    fn the_published_example() {
        let seed = hex::decode("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb")
            .unwrap();
        let key = NoteKey::from_seed(&NoteKey::seed_of(seed)).unwrap();
        assert_eq!(
            hex::encode(key.public()),
            "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c"
        );
        let signature = key.sign(&[0x72]);
        assert_eq!(
            hex::encode(signature),
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da\
             085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
        );
        verify(&key.public(), &[0x72], &signature).unwrap();
        assert_eq!(verify(&key.public(), &[0x73], &signature), Err(SignatureError::Invalid));
        assert_eq!(verify(&key.public(), &[0x72], &signature[1..]), Err(SignatureError::Invalid));
        assert!(NoteKey::from_seed(&NoteKey::seed_of(vec![1; 31])).is_err());
    }
}
