//! The vectors of the certificate-transparency project, and a naive model.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use proptest::prelude::*;

use super::*;

/// The eight leaves of certificate-transparency's `merkle_tree_test`.
const LEAVES: [&str; 8] = [
    "",
    "00",
    "10",
    "2021",
    "3031",
    "40414243",
    "5051525354555657",
    "606162636465666768696a6b6c6d6e6f",
];

const ROOTS: [&str; 9] = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
];

/// Leaf, counted from 0; size; proof.
const INCLUSION: [(u64, usize, &[&str]); 5] = [
    (0, 1, &[]),
    (
        0,
        8,
        &[
            "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
        ],
    ),
    (
        5,
        8,
        &[
            "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
            "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        ],
    ),
    (2, 3, &["fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"]),
    (
        1,
        5,
        &[
            "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        ],
    ),
];

/// Old size, new size, proof.
const CONSISTENCY: [(usize, usize, &[&str]); 4] = [
    (1, 1, &[]),
    (
        1,
        8,
        &[
            "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
        ],
    ),
    (
        6,
        8,
        &[
            "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
            "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        ],
    ),
    (
        2,
        5,
        &[
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        ],
    ),
];

fn hash(text: &str) -> Hash {
    let mut hash = Hash([0; 32]);
    hex::decode_to_slice(text, &mut hash.0).unwrap();
    hash
}

fn hashes(list: &[&str]) -> Vec<Hash> {
    list.iter().map(|text| hash(text)).collect()
}

fn published(size: usize) -> Vec<Hash> {
    LEAVES[..size].iter().map(|leaf| Hash::leaf(&hex::decode(leaf).unwrap())).collect()
}

//= specs/house.md#house-ledger
//= type=test
//# The ledger MUST be a Merkle tree of RFC 6962 whose leaves are its entries.
#[test]
fn the_published_roots() {
    for (size, expected) in ROOTS.iter().enumerate() {
        assert_eq!(root(&published(size)).to_string(), *expected, "{size} leaves");
    }
}

#[test]
fn the_published_proofs() {
    for (index, size, expected) in INCLUSION {
        let (leaves, expected) = (published(size), hashes(expected));
        assert_eq!(inclusion_proof(&leaves, index).unwrap(), expected, "{index} of {size}");
        let leaf = leaves[usize::try_from(index).unwrap()];
        let top = hash(ROOTS[size]);
        verify_inclusion(leaf, index, size as u64, &expected, top).unwrap();
    }
    for (old, new, expected) in CONSISTENCY {
        let expected = hashes(expected);
        assert_eq!(consistency_proof(&published(new), old as u64).unwrap(), expected);
        let (before, after) = (hash(ROOTS[old]), hash(ROOTS[new]));
        verify_consistency(old as u64, before, new as u64, after, &expected).unwrap();
    }
}

#[test]
fn what_is_not_there_has_no_proof() {
    let leaves = published(3);
    assert_eq!(inclusion_proof(&leaves, 3), Err(InvalidProof::Index { index: 3, size: 3 }));
    assert_eq!(consistency_proof(&leaves, 4), Err(InvalidProof::Order { old: 4, new: 3 }));
    let endless = vec![Hash::empty(); MAX_PROOF + 1];
    let refused = verify_inclusion(leaves[0], 0, u64::MAX, &endless, Hash::empty());
    assert_eq!(refused, Err(InvalidProof::Length));
}

/// The definition of RFC 6962 section 2.1, word by word.
fn naive(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => Hash::empty(),
        [one] => *one,
        more => {
            let mut k = 1;
            while 2 * k < more.len() {
                k *= 2;
            }
            Hash::node(naive(&more[..k]), naive(&more[k..]))
        }
    }
}

fn numbered(count: usize) -> Vec<Hash> {
    (0..count).map(|number| Hash::leaf(&number.to_be_bytes())).collect()
}

/// Every other proof that one change makes of this one.
fn spoiled(proof: &[Hash]) -> Vec<Vec<Hash>> {
    let mut all = vec![[proof, &[Hash::empty()]].concat()];
    for place in 0..proof.len() {
        let mut changed = proof.to_vec();
        changed[place].0[place % 32] ^= 1;
        all.push(changed);
        let mut short = proof.to_vec();
        short.remove(place);
        all.push(short);
    }
    if let Some(place) = proof.windows(2).position(|pair| pair[0] != pair[1]) {
        let mut moved = proof.to_vec();
        moved.swap(place, place + 1);
        all.push(moved);
    }
    all
}

proptest! {
    #[test]
    fn appending_gives_the_root_of_the_definition(count in 0_usize..600) {
        let leaves = numbered(count);
        prop_assert_eq!(root(&leaves), naive(&leaves));
        let mut frontier = Frontier::default();
        for (size, leaf) in leaves.iter().enumerate().take(40) {
            prop_assert_eq!(frontier.root(), naive(&leaves[..size]));
            let parts = Frontier::from_parts(frontier.size(), frontier.subtrees().to_vec());
            prop_assert_eq!(parts.as_ref(), Some(&frontier));
            frontier.push(*leaf);
        }
    }

    #[test]
    fn an_inclusion_proof_proves_its_leaf_and_no_other(count in 1_usize..300, place: prop::sample::Index) {
        let leaves = numbered(count);
        let (place, top, size) = (place.index(count), naive(&leaves), count as u64);
        let proof = inclusion_proof(&leaves, place as u64).unwrap();
        prop_assert_eq!(verify_inclusion(leaves[place], place as u64, size, &proof, top), Ok(()));
        for bad in spoiled(&proof) {
            prop_assert!(verify_inclusion(leaves[place], place as u64, size, &bad, top).is_err());
        }
        for other in 0..count {
            let fits = verify_inclusion(leaves[place], other as u64, size, &proof, top).is_ok();
            prop_assert_eq!(fits, other == place);
            let fits = verify_inclusion(leaves[other], place as u64, size, &proof, top).is_ok();
            prop_assert_eq!(fits, other == place);
        }
    }

    #[test]
    fn a_consistency_proof_proves_its_beginning_and_no_other(count in 1_usize..300, old: prop::sample::Index) {
        let leaves = numbered(count);
        let (old, size) = (old.index(count + 1), count as u64);
        let (before, after) = (naive(&leaves[..old]), naive(&leaves));
        let proof = consistency_proof(&leaves, old as u64).unwrap();
        prop_assert_eq!(verify_consistency(old as u64, before, size, after, &proof), Ok(()));
        for bad in spoiled(&proof) {
            prop_assert!(verify_consistency(old as u64, before, size, after, &bad).is_err());
        }
        if old > 0 {
            // Another past, or another present.
            let mut changed = leaves.clone();
            changed[old - 1] = Hash::leaf(b"forged");
            let (past, present) = (naive(&changed[..old]), naive(&changed));
            prop_assert!(verify_consistency(old as u64, past, size, after, &proof).is_err());
            prop_assert!(verify_consistency(old as u64, before, size, present, &proof).is_err());
        }
    }
}
