//! Critical security parameters in memory.
//!
//! A [`Secret`] has no `Clone`, no `Serialize` and a `Debug` that shows only its length; it is wiped when
//! dropped. It knows its strength, and is revealed for sending only to a channel that is at least as strong
//! (EN 303 645 provisions 5.5-6 and 5.5-7).
//!
//! Where both strengths are known as the code is written, the secret is a [`Rated`] one and the means a [`Channel`]: a weaker
//! one is then no refusal but code that does not compile.
//!
//! A secret that lives long, such as a sealing key, is moved into memory of its own by [`Secret::locked`]: never swapped, in no
//! core dump, and, where the kernel has memfd_secret, reachable for nobody but this process.
//!
//! ```compile_fail
//! let a = countersign_crypto::secret::Secret::new(vec![1], countersign_crypto::secret::Strength(128));
//! let b = a.clone(); // a secret is never copied by accident
//! ```

use secure_types::SecureVec;
use std::sync::{Mutex, PoisonError};
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
    held: Held,
    len: usize,
    strength: Strength,
}

/// Where the bytes are.
enum Held {
    Heap(Vec<u8>),
    /// Its pages are closed but while somebody looks, so one looks at a time.
    Locked(Mutex<SecureVec<u8>>),
}

impl Secret {
    /// Takes `bytes` over; the caller keeps no copy.
    #[must_use]
    pub fn new(bytes: Vec<u8>, strength: Strength) -> Self {
        Self { len: bytes.len(), held: Held::Heap(bytes), strength }
    }

    //= specs/house.md#house-secrets
    //# A sealing key, a setup code's verifier and a network key MUST lie in locked memory where the machine gives it.
    /// Moves the bytes into memory that is not swapped and not dumped, for a secret that lives long. It costs some pages, and
    /// a descriptor. Where the machine gives none (`RLIMIT_MEMLOCK`), they stay where they are.
    ///
    /// `use_` of [`Secret::expose`] must then not expose the same secret again: it would wait for itself.
    #[must_use]
    pub fn locked(mut self) -> Self {
        let Held::Heap(bytes) = &mut self.held else { return self };
        if let Some(locked) =
            (!bytes.is_empty()).then(|| SecureVec::from_slice(bytes).ok()).flatten()
        {
            bytes.zeroize();
            self.held = Held::Locked(Mutex::new(locked));
        }
        self
    }

    /// Whether the bytes are in memory of their own.
    #[must_use]
    pub const fn is_locked(&self) -> bool {
        matches!(self.held, Held::Locked(_))
    }

    /// Lets `use_` look at the bytes, inside this process.
    pub fn expose<T>(&self, use_: impl FnOnce(&[u8]) -> T) -> T {
        match &self.held {
            Held::Heap(bytes) => use_(bytes),
            // Nobody changes the bytes: one who panicked while looking left them whole.
            Held::Locked(locked) => {
                locked.lock().unwrap_or_else(PoisonError::into_inner).unlock_slice(use_)
            }
        }
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
        Ok(self.expose(encode))
    }

    /// How strong the secret is.
    #[must_use]
    pub fn strength(&self) -> Strength {
        self.strength
    }

    /// Length in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}

//= specs/house.md#house-secrets
//# A secret MUST NOT be shown by `Debug`, cloned or serialised.
impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Secret({} bytes, {})", self.len, self.strength)
    }
}

//= specs/house.md#house-secrets
//= type=implication
//# A secret MUST be wiped when it is dropped.
impl Drop for Secret {
    fn drop(&mut self) {
        // The locked kind wipes itself.
        if let Held::Heap(bytes) = &mut self.held {
            bytes.zeroize();
        }
    }
}

impl ZeroizeOnDrop for Secret {}

/// A secret whose strength stands in its type, for those that leave by a means whose strength does so too.
///
/// ```
/// use countersign_crypto::{custody, envelope, secret::Rated};
/// let key = Rated::<256>::new(vec![7; 32]);
/// assert_eq!(key.reveal_through(envelope::CHANNEL, <[u8]>::len), 32);
/// let share = Rated::<192>::new(vec![7; 32]);
/// assert_eq!(share.reveal_through(custody::CHANNEL, <[u8]>::len), 32);
/// ```
///
/// A custodian's key protects with 192 bits, so this does not compile:
///
/// ```compile_fail
/// use countersign_crypto::{custody, secret::Rated};
/// let key = Rated::<256>::new(vec![7; 32]);
/// assert_eq!(key.reveal_through(custody::CHANNEL, <[u8]>::len), 32);
/// ```
#[derive(Debug)]
pub struct Rated<const BITS: u16>(Secret);

impl<const BITS: u16> Rated<BITS> {
    /// Takes `bytes` over; the caller keeps no copy.
    #[must_use]
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(Secret::new(bytes, Strength(BITS)))
    }

    /// As [`Secret::locked`].
    #[must_use]
    pub fn locked(self) -> Self {
        Self(self.0.locked())
    }

    /// As [`Secret::is_locked`].
    #[must_use]
    pub const fn is_locked(&self) -> bool {
        self.0.is_locked()
    }

    /// Lets `use_` look at the bytes, inside this process.
    pub fn expose<T>(&self, use_: impl FnOnce(&[u8]) -> T) -> T {
        self.0.expose(use_)
    }

    /// Lets `encode` put the bytes into a message for `channel`. A channel that is weaker than the secret does not compile.
    //= specs/en-303-645.md#5.5-7
    //# What protects a critical security parameter in transit MUST be at least as strong as the
    //# parameter.
    //= specs/house.md#house-secrets
    //# Where the strengths of a secret and of what protects it on its way are both fixed, a weaker protection MUST NOT compile.
    pub fn reveal_through<const CHANNEL: u16, T>(
        &self,
        channel: Channel<CHANNEL>,
        encode: impl FnOnce(&[u8]) -> T,
    ) -> T {
        const {
            assert!(CHANNEL >= BITS, "a secret must not leave by a means that is weaker than it");
        }
        let Channel(()) = channel;
        self.0.expose(encode)
    }

    /// Length in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<const BITS: u16> From<Rated<BITS>> for Secret {
    fn from(rated: Rated<BITS>) -> Self {
        rated.0
    }
}

/// A means that protects what is sent or handed over, of a strength that is known as the code is written: HPKE of one suite,
/// a sealing key. What is negotiated, such as TLS, is none: [`Secret::reveal_to`] asks it as the program runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Channel<const BITS: u16>(());

impl<const BITS: u16> Channel<BITS> {
    /// The module that holds the means says what it is worth.
    pub(crate) const fn new() -> Self {
        Self(())
    }

    /// How strong it is.
    #[must_use]
    pub const fn strength(self) -> Strength {
        Strength(BITS)
    }
}

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
        assert_eq!(format!("{:?}", secret.locked()), "Secret(7 bytes, 128 bit)");
    }

    #[test]
    fn a_locked_secret_is_the_same_for_all_who_look() {
        let secret = Secret::new((0..200).collect(), Strength(256)).locked();
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..50 {
                        secret.expose(|bytes| assert!(bytes.iter().copied().eq(0..200)));
                    }
                });
            }
        });
        assert_eq!((secret.len(), secret.is_empty()), (200, false));
        assert!(!Secret::new(Vec::new(), Strength(1)).locked().is_locked());
    }

    //= specs/house.md#house-secrets
    //= type=test
    //# Where the strengths of a secret and of what protects it on its way are both fixed, a weaker protection MUST NOT compile.
    /// What does not compile is an example of [`Rated`]; this is what does, to the last bit.
    #[test]
    fn a_channel_of_the_same_strength_is_enough() {
        let secret = Rated::<192>::new(vec![7; 24]);
        assert_eq!(secret.reveal_through(Channel::<192>::new(), <[u8]>::len), 24);
        assert_eq!(secret.reveal_through(Channel::<256>::new(), <[u8]>::len), 24);
        assert_eq!(Channel::<192>::new().strength(), Secret::from(secret).strength());
        assert_eq!(format!("{:?}", Rated::<128>::new(vec![1])), "Rated(Secret(1 bytes, 128 bit))");
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
