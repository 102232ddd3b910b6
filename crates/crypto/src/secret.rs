//! Critical security parameters in memory.
//!
//! A [`Secret`] has no `Clone`, no `Serialize` and a `Debug` that shows only its length; it is wiped when
//! dropped. It knows its strength, and is revealed for sending only to a channel that is at least as strong
//! (EN 303 645 provisions 5.5-6 and 5.5-7).
//!
//! ```compile_fail
//! let a = countersign_crypto::secret::Secret::new(vec![1], countersign_crypto::secret::Strength(128));
//! let b = a.clone(); // a secret is never copied by accident
//! ```

use zeroize::{Zeroize, ZeroizeOnDrop};

/// Security strength in bits (NIST SP 800-57 part 1, section 5.6.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Strength(pub u16);

impl std::fmt::Display for Strength {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} bit", self.0)
    }
}

/// Bytes whose disclosure would compromise security.
pub struct Secret {
    bytes: Vec<u8>,
    strength: Strength,
}

impl Secret {
    /// Takes `bytes` over; the caller keeps no copy.
    #[must_use]
    pub fn new(bytes: Vec<u8>, strength: Strength) -> Self {
        Self { bytes, strength }
    }

    /// Lets `use_` look at the bytes, inside this process.
    pub fn expose<T>(&self, use_: impl FnOnce(&[u8]) -> T) -> T {
        use_(&self.bytes)
    }

    //= specs/en-303-645.md#5.5-6
    //# Critical security parameters SHOULD be encrypted in transit, as fits technology, risk and usage.
    /// Lets `encode` put the bytes into a message for a channel of strength `channel`.
    ///
    /// # Errors
    /// [`ChannelTooWeak`] when the channel protects less well than the secret is strong; `encode` is then not called.
    //= specs/en-303-645.md#5.5-7
    //# What protects a critical security parameter in transit MUST be at least as strong as the
    //# parameter.
    //= specs/house.md#house-secrets
    //# A secret MUST leave the process only through a channel whose strength is at least its own.
    pub fn reveal_to<T>(
        &self,
        channel: Strength,
        encode: impl FnOnce(&[u8]) -> T,
    ) -> Result<T, ChannelTooWeak> {
        if channel < self.strength {
            return Err(ChannelTooWeak { secret: self.strength, channel });
        }
        Ok(encode(&self.bytes))
    }

    /// How strong the secret is.
    #[must_use]
    pub fn strength(&self) -> Strength {
        self.strength
    }

    /// Length in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether there are no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }
}

//= specs/house.md#house-secrets
//# A secret MUST NOT be shown by `Debug`, cloned or serialised.
impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Secret({} bytes, {})", self.bytes.len(), self.strength)
    }
}

//= specs/house.md#house-secrets
//= type=implication
//# A secret MUST be wiped when it is dropped.
impl Drop for Secret {
    fn drop(&mut self) {
        self.bytes.zeroize();
    }
}

impl ZeroizeOnDrop for Secret {}

/// A secret was about to leave through a channel that is weaker than the secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a secret of {secret} must not travel through a channel of {channel}: use a stronger channel"
)]
pub struct ChannelTooWeak {
    /// The secret's strength.
    pub secret: Strength,
    /// The channel's strength.
    pub channel: Strength,
}

#[cfg(test)]
mod tests {
    use super::*;

    //= specs/house.md#house-secrets
    //= type=test
    //# A secret MUST NOT be shown by `Debug`, cloned or serialised.
    #[test]
    fn debug_shows_no_content() {
        let secret = Secret::new(b"hunter2".to_vec(), Strength(128));
        assert_eq!(format!("{secret:?}"), "Secret(7 bytes, 128 bit)");
    }

    //= specs/en-303-645.md#5.5-6
    //= type=test
    //# Critical security parameters SHOULD be encrypted in transit, as fits technology, risk and usage.
    //= specs/en-303-645.md#5.5-7
    //= type=test
    //# What protects a critical security parameter in transit MUST be at least as strong as the
    //# parameter.
    //= specs/house.md#house-secrets
    //= type=test
    //# A secret MUST leave the process only through a channel whose strength is at least its own.
    #[test]
    fn a_weaker_channel_gets_nothing() {
        let secret = Secret::new(vec![7; 16], Strength(128));
        let mut called = false;
        let refused = secret.reveal_to(Strength(112), |_| called = true);
        assert!(refused.is_err() && !called);
        assert_eq!(secret.reveal_to(Strength(128), <[u8]>::len), Ok(16));
    }
}
