//! Inclusion and consistency proofs (RFC 6962 sections 2.1.1 and 2.1.2), made and verified.
//!
//! Making one takes the leaf hashes; verifying takes nothing but the proof (RFC 9162 sections 2.1.3.2 and 2.1.4.2).

use super::{Hash, MAX_PROOF, root};

/// Why a proof proves nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidProof {
    /// There is no such leaf in a tree of that size.
    #[error("entry {index} is not in a tree of {size} entries")]
    Index {
        /// The leaf's number, from 0.
        index: u64,
        /// The tree's size.
        size: u64,
    },
    /// An old tree is larger than the new one.
    #[error("a tree of {old} entries cannot be the beginning of one with {new}")]
    Order {
        /// The old size.
        old: u64,
        /// The new size.
        new: u64,
    },
    /// Too few hashes, or too many.
    #[error("the proof has another length than this tree needs")]
    Length,
    /// The hashes lead to another root.
    #[error("the proof leads to another root")]
    Root,
}

/// The proof that leaf `index` is in the tree of `leaves`, from the leaf's sibling up.
///
/// # Errors
/// [`InvalidProof::Index`].
pub fn inclusion_proof(leaves: &[Hash], index: u64) -> Result<Vec<Hash>, InvalidProof> {
    let size = leaves.len() as u64;
    let place = usize::try_from(index).ok().filter(|place| *place < leaves.len());
    let place = place.ok_or(InvalidProof::Index { index, size })?;
    let mut proof = Vec::new();
    path(leaves, place, &mut proof);
    Ok(proof)
}

fn path(leaves: &[Hash], place: usize, proof: &mut Vec<Hash>) {
    if leaves.len() <= 1 {
        return;
    }
    let (left, right) = leaves.split_at(split(leaves.len()));
    if place < left.len() {
        path(left, place, proof);
        proof.push(root(right));
    } else {
        path(right, place - left.len(), proof);
        proof.push(root(left));
    }
}

/// The proof that the tree of the first `old` leaves is the beginning of the tree of `leaves`. Empty where there is
/// nothing to prove: no leaves before, or the same number.
///
/// # Errors
/// [`InvalidProof::Order`].
pub fn consistency_proof(leaves: &[Hash], old: u64) -> Result<Vec<Hash>, InvalidProof> {
    let new = leaves.len() as u64;
    let before = usize::try_from(old).ok().filter(|before| *before <= leaves.len());
    let before = before.ok_or(InvalidProof::Order { old, new })?;
    let mut proof = Vec::new();
    if before > 0 {
        subproof(leaves, before, true, &mut proof);
    }
    Ok(proof)
}

fn subproof(leaves: &[Hash], old: usize, whole: bool, proof: &mut Vec<Hash>) {
    if old == leaves.len() {
        if !whole {
            proof.push(root(leaves));
        }
        return;
    }
    let (left, right) = leaves.split_at(split(leaves.len()));
    if old <= left.len() {
        subproof(left, old, whole, proof);
        proof.push(root(right));
    } else {
        subproof(right, old - left.len(), false, proof);
        proof.push(root(left));
    }
}

/// The largest power of two below `count`, which is at least 2.
fn split(count: usize) -> usize {
    1 << (usize::BITS - 1 - (count - 1).leading_zeros())
}

/// Verifies that `leaf` stands at `index` in the tree of `size` leaves with `expected` as its root.
///
/// # Errors
/// [`InvalidProof`].
pub fn verify_inclusion(
    leaf: Hash,
    index: u64,
    size: u64,
    proof: &[Hash],
    expected: Hash,
) -> Result<(), InvalidProof> {
    if index >= size {
        return Err(InvalidProof::Index { index, size });
    }
    if proof.len() > MAX_PROOF {
        return Err(InvalidProof::Length);
    }
    let (mut node, mut last, mut hash) = (index, size - 1, leaf);
    for sibling in proof {
        if last == 0 {
            return Err(InvalidProof::Length);
        }
        if node & 1 == 1 || node == last {
            hash = Hash::node(*sibling, hash);
            while node & 1 == 0 && node != 0 {
                (node, last) = (node >> 1, last >> 1);
            }
        } else {
            hash = Hash::node(hash, *sibling);
        }
        (node, last) = (node >> 1, last >> 1);
    }
    if last != 0 {
        return Err(InvalidProof::Length);
    }
    if hash == expected { Ok(()) } else { Err(InvalidProof::Root) }
}

/// Verifies that the tree of `old` leaves with root `old_root` is the beginning of the tree of `new` leaves with root
/// `new_root`.
///
/// # Errors
/// [`InvalidProof`].
pub fn verify_consistency(
    old: u64,
    old_root: Hash,
    new: u64,
    new_root: Hash,
    proof: &[Hash],
) -> Result<(), InvalidProof> {
    if old > new {
        return Err(InvalidProof::Order { old, new });
    }
    if old == 0 || old == new {
        let same = if old == new { old_root == new_root } else { old_root == Hash::empty() };
        return match (proof.is_empty(), same) {
            (false, _) => Err(InvalidProof::Length),
            (true, false) => Err(InvalidProof::Root),
            (true, true) => Ok(()),
        };
    }
    if proof.len() > MAX_PROOF {
        return Err(InvalidProof::Length);
    }
    // A whole old tree is a node of the new one, and begins the path itself.
    let (mut rest, first) = match (old.is_power_of_two(), proof.split_first()) {
        (true, _) => (proof, old_root),
        (false, Some((first, rest))) => (rest, *first),
        (false, None) => return Err(InvalidProof::Length),
    };
    let (mut node, mut last) = (old - 1, new - 1);
    while node & 1 == 1 {
        (node, last) = (node >> 1, last >> 1);
    }
    let (mut of_old, mut of_new) = (first, first);
    while let Some((sibling, others)) = rest.split_first() {
        rest = others;
        if last == 0 {
            return Err(InvalidProof::Length);
        }
        if node & 1 == 1 || node == last {
            of_old = Hash::node(*sibling, of_old);
            of_new = Hash::node(*sibling, of_new);
            while node & 1 == 0 && node != 0 {
                (node, last) = (node >> 1, last >> 1);
            }
        } else {
            of_new = Hash::node(of_new, *sibling);
        }
        (node, last) = (node >> 1, last >> 1);
    }
    if last != 0 {
        return Err(InvalidProof::Length);
    }
    if of_old == old_root && of_new == new_root { Ok(()) } else { Err(InvalidProof::Root) }
}
