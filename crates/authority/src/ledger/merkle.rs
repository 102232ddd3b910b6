//! The Merkle tree of RFC 6962 section 2.1 (the same as RFC 9162 section 2.1), with SHA-256.
//!
//! ```text
//!  leaf  = SHA-256(0x00 ‖ entry)              node = SHA-256(0x01 ‖ left ‖ right)
//!
//!              root                           Frontier of 7 leaves: the roots of the whole
//!            ╱      ╲                         subtrees of 4, 2 and 1, which is all that
//!         (4)        ·                        appending needs: 64 hashes at most.
//!                  ╱   ╲
//!               (2)     (1)
//! ```
//!
//! Nothing here reads or writes anything.

mod proof;

use countersign_crypto::digest::sha256;

pub use self::proof::{
    InvalidProof, consistency_proof, inclusion_proof, verify_consistency, verify_inclusion,
};

/// The longest proof, in hashes: a tree has at most 2⁶⁴ leaves (C2SP tlog-witness names 63 as the bound of what a
/// client may send).
pub const MAX_PROOF: usize = 63;

/// A hash of the tree.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Hash(pub [u8; 32]);

impl Hash {
    /// The root of the tree without leaves: the hash of nothing.
    #[must_use]
    pub fn empty() -> Self {
        Self(sha256(b""))
    }

    //= specs/house.md#house-ledger
    //# The ledger MUST be a Merkle tree of RFC 6962 whose leaves are its entries.
    /// The hash of a leaf that holds `entry`.
    #[must_use]
    pub fn leaf(entry: &[u8]) -> Self {
        Self(sha256(&[&[0x00], entry].concat()))
    }

    /// The hash of a node above two others.
    #[must_use]
    pub fn node(left: Self, right: Self) -> Self {
        let mut bytes = [0x01; 65];
        bytes[1..33].copy_from_slice(&left.0);
        bytes[33..].copy_from_slice(&right.0);
        Self(sha256(&bytes))
    }
}

impl std::fmt::Display for Hash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl std::fmt::Debug for Hash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Hash({self})")
    }
}

/// The roots of the whole subtrees of a tree, the largest first: what is needed to append and to know the root.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Frontier {
    size: u64,
    subtrees: Vec<Hash>,
}

impl Frontier {
    /// Of a tree of `size` leaves; `None` unless there is one hash for each bit that is set in `size`.
    #[must_use]
    pub fn from_parts(size: u64, subtrees: Vec<Hash>) -> Option<Self> {
        (size.count_ones() as usize == subtrees.len()).then_some(Self { size, subtrees })
    }

    /// How many leaves.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The roots of the whole subtrees, the largest first.
    #[must_use]
    pub fn subtrees(&self) -> &[Hash] {
        &self.subtrees
    }

    /// Appends a leaf: one hash for each subtree that becomes whole, two on the average.
    pub fn push(&mut self, leaf: Hash) {
        let mut whole = leaf;
        let mut merges = self.size.trailing_ones();
        while merges > 0 {
            let Some(left) = self.subtrees.pop() else {
                unreachable!("there is a subtree for each bit of the size")
            };
            whole = Hash::node(left, whole);
            merges -= 1;
        }
        self.subtrees.push(whole);
        self.size += 1;
    }

    /// The tree's root.
    #[must_use]
    pub fn root(&self) -> Hash {
        let from_the_right = self.subtrees.iter().rev().copied();
        from_the_right.reduce(|right, left| Hash::node(left, right)).unwrap_or_else(Hash::empty)
    }
}

/// The root of a tree with these leaf hashes.
#[must_use]
pub fn root(leaves: &[Hash]) -> Hash {
    let mut frontier = Frontier::default();
    leaves.iter().for_each(|leaf| frontier.push(*leaf));
    frontier.root()
}

#[cfg(test)]
mod tests;
