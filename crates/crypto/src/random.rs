//! Randomness as an argument. Cores take `&mut dyn Random`; only a shell constructs [`SystemRandom`].

use crate::provider;

/// A source of unpredictable bytes.
pub trait Random: Send {
    /// Fills `out` completely.
    fn fill(&mut self, out: &mut [u8]);
}

impl dyn Random + '_ {
    /// `N` fresh bytes.
    pub fn array<const N: usize>(&mut self) -> [u8; N] {
        let mut out = [0; N];
        self.fill(&mut out);
        out
    }
}

/// The provider's generator, seeded by the operating system (SP 800-90A CTR_DRBG in the default backend).
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemRandom;

impl Random for SystemRandom {
    fn fill(&mut self, out: &mut [u8]) {
        provider::random(out);
    }
}
