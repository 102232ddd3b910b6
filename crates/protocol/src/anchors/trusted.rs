//! The roots that a device trusts: the factory's, those that statements led to, and from which place on.

use super::MAX_CHAIN;
use countersign_crypto::anchors::{self, Anchor, AnchorError, MAX_STATEMENTS, Told, Withdrawal};
use countersign_crypto::certificate::Certificate;

/// The maker's roots as a device trusts them: those of its factory and those that statements led to, until a root withdraws the ones
/// before it.
#[derive(Debug, Clone)]
pub struct TrustedRoots {
    factory: Vec<Certificate>,
    learned: Vec<Anchor>,
    floor: u64,
}

/// What a message changed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Taken {
    /// How many roots statements led to.
    pub followed: usize,
    /// The place from which on roots are trusted now, where that is a new one.
    pub floor: Option<u64>,
}

impl Taken {
    /// Whether there is something to be stored.
    #[must_use]
    pub const fn is_news(self) -> bool {
        self.followed > 0 || self.floor.is_some()
    }
}

impl TrustedRoots {
    /// Of a device: what the factory gave, and what it has stored since, in the order in which it came. `floor` is the place from which
    /// on roots are trusted; 0 before any was withdrawn. From then on `learned` holds all that are left.
    #[must_use]
    pub const fn new(factory: Vec<Certificate>, learned: Vec<Anchor>, floor: u64) -> Self {
        Self { factory, learned, floor }
    }

    /// Each of them once.
    #[must_use]
    pub fn all(&self) -> Vec<Certificate> {
        let mut all = self.factory().to_vec();
        for anchor in &self.learned {
            if !all.contains(&anchor.root) {
                all.push(anchor.root.clone());
            }
        }
        all
    }

    /// The newest: the last that statements led to, else the first of the factory, which lists the one that signs first.
    #[must_use]
    pub fn newest(&self) -> Option<&Certificate> {
        self.learned.last().map(|anchor| &anchor.root).or_else(|| self.factory().first())
    }

    /// What is to be stored, beside [`TrustedRoots::floor`].
    #[must_use]
    pub fn learned(&self) -> &[Anchor] {
        &self.learned
    }

    /// The place from which on roots are trusted; 0 before any was withdrawn.
    #[must_use]
    pub const fn floor(&self) -> u64 {
        self.floor
    }

    /// What of the factory's still counts: since a withdrawal, what it left is among the learned.
    fn factory(&self) -> &[Certificate] {
        if self.floor == 0 { &self.factory } else { &[] }
    }

    /// Takes statements and a withdrawal that came, whoever sent them: all of the message or nothing.
    ///
    /// # Errors
    /// [`ChainRefused`]; then nothing of the message was taken.
    //= specs/house.md#house-anchors
    //# A device MUST come to trust a root only by statements that lead to it from a root that it trusts.
    //= specs/house.md#house-anchors
    //# The number of roots that a device takes MUST be bounded.
    pub fn take(&mut self, message: &[u8]) -> Result<Taken, ChainRefused> {
        if message.len() > MAX_CHAIN {
            return Err(ChainRefused::TooLong(message.len()));
        }
        let Told { statements, withdrawal } = Told::from_bytes(message)?;
        let mut next = self.clone();
        let taken = match withdrawal {
            None => Taken { followed: next.follow(&statements)?, floor: None },
            Some(withdrawal) => {
                let followed = match next.follow(&statements) {
                    // Made with the roots that are left alone: no statement is by one of them.
                    Err(ChainRefused::NotOurs) => 0,
                    followed => followed?,
                };
                Taken { followed, floor: next.let_go(&withdrawal, &statements)? }
            }
        };
        *self = next;
        Ok(taken)
    }

    /// Follows statements, and tells how many roots they led to.
    fn follow(&mut self, statements: &[Vec<u8>]) -> Result<usize, ChainRefused> {
        // 1. From where: once a root was followed to, from there, so that nothing leads beside it; before, from the newest of
        //    the factory's that says of itself where it stands.
        let placed = || self.factory.iter().filter_map(|root| anchors::placed(root, statements));
        let from = match self.learned.last() {
            Some(newest) => newest.clone(),
            None => placed().max_by_key(|one| one.position).ok_or(ChainRefused::NotOurs)?,
        };
        // 2. Along the signatures, all the way or not at all.
        let way = anchors::follow(&from, statements)?;
        if self.learned.len() + way.len() > MAX_STATEMENTS {
            return Err(ChainRefused::Full);
        }
        let taken = way.len();
        self.learned.extend(way);
        Ok(taken)
    }

    /// Lets go of the roots before the one whose word the withdrawal is; the new floor, or `None` where it is no news. A root may say
    /// of itself where it stands, so its word counts only where each other root that is trusted is shown to stand before or after it.
    //= specs/house.md#house-anchors
    //# A device MUST let go of a root only by the word of one that it trusts and that is shown to stand after it.
    //= specs/house.md#house-anchors
    //# The place from which on a device trusts roots MUST never go back.
    //= specs/house.md#house-anchors
    //# A withdrawal MUST leave every device a root.
    fn let_go(
        &mut self,
        withdrawal: &Withdrawal,
        statements: &[Vec<u8>],
    ) -> Result<Option<u64>, ChainRefused> {
        if withdrawal.position() <= self.floor {
            return Ok(None);
        }
        // 1. By a root that is trusted, in its place.
        let held = self.all();
        let signer = held.iter().find(|root| root.fingerprint() == *withdrawal.root());
        let first = withdrawal.by(signer.ok_or(ChainRefused::WithdrawnByOther)?)?;
        let learned = |root: &Certificate| self.learned.iter().find(|one| one.root == *root);
        let own = learned(&first.root);
        if own.is_some_and(|own| own.position != first.position) {
            return Err(ChainRefused::Unplaced);
        }
        // 2. Each other one before it or after it.
        let after = anchors::follow(&first, statements).unwrap_or_default();
        let mut left = vec![first.clone()];
        for root in held.iter().filter(|root| **root != first.root) {
            let known = learned(root);
            if let (Some(_), Some(known)) = (own, known) {
                if known.position > first.position {
                    left.push(known.clone());
                }
                continue;
            }
            let same = |one: &&Anchor| {
                one.root == *root && known.is_none_or(|known| known.position == one.position)
            };
            if let Some(later) = after.iter().find(same) {
                left.push(later.clone());
                continue;
            }
            let leads = |from: Anchor| {
                anchors::follow(&from, statements).is_ok_and(|way| way.contains(&first))
            };
            if !anchors::placed(root, statements).is_some_and(leads) {
                return Err(ChainRefused::Unplaced);
            }
        }
        // 3. What is left is all that counts from now on.
        if left.len() > MAX_STATEMENTS {
            return Err(ChainRefused::Full);
        }
        left.sort_by_key(|one| one.position);
        (self.learned, self.floor) = (left, first.position);
        Ok(Some(first.position))
    }
}

/// Why a device did not take a chain.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChainRefused {
    /// Over [`MAX_CHAIN`].
    #[error("{0} bytes are more than the {MAX_CHAIN} of a chain of roots")]
    TooLong(usize),
    /// None of its statements is by a root that is trusted.
    #[error("no statement is by a root that this device trusts")]
    NotOurs,
    /// There is no room for so many roots.
    #[error("more than {MAX_STATEMENTS} roots came after those of the factory")]
    Full,
    /// It does not lead on.
    #[error(transparent)]
    Chain(#[from] AnchorError),
    /// A withdrawal by a root that is not trusted.
    #[error("roots were withdrawn by one that this device does not trust")]
    WithdrawnByOther,
    /// A withdrawal by a root of which nothing shows that it is later than the others.
    #[error("roots were withdrawn by one of which nothing shows that it came after them")]
    Unplaced,
}
