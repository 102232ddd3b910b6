//! Splitting a key so that every M of N together have it, and fewer have nothing.
//!
//! For each group of M out of N the key is the exclusive or of M parts, all but one of them random. A group's parts
//! less one are uniformly random whatever the key is, and groups share no randomness. The number of groups grows fast,
//! so N is small by [`MAX_CUSTODIANS`].

use crate::random::Random;
use crate::secret::Rated;

/// The most custodians: at most C(7,4) = 35 groups of 4 parts.
pub const MAX_CUSTODIANS: usize = 7;

/// One part of one group's split.
pub(super) struct Part<const BITS: u16> {
    /// The group: bit i stands for custodian i.
    pub(super) group: u8,
    /// Whose part it is.
    pub(super) holder: u8,
    pub(super) secret: Rated<BITS>,
}

/// Every group of `needed` out of `of`, as bits.
pub(super) fn groups(needed: usize, of: usize) -> impl Iterator<Item = u8> {
    let all = 1_u16.checked_shl(u32::try_from(of).unwrap_or(u32::MAX)).unwrap_or(0);
    (1..all).filter_map(move |group| {
        let fits = group.count_ones() as usize == needed;
        fits.then(|| u8::try_from(group).ok()).flatten()
    })
}

/// The members of a group.
pub(super) fn members(group: u8) -> impl Iterator<Item = u8> {
    (0..8).filter(move |holder| group & (1 << holder) != 0)
}

/// Splits `key` for every group of `needed` out of `of`. A part is as strong as the key.
pub(super) fn split<const BITS: u16>(
    key: &Rated<BITS>,
    needed: usize,
    of: usize,
    random: &mut dyn Random,
) -> Vec<Part<BITS>> {
    let mut parts = Vec::new();
    for group in groups(needed, of) {
        let mut rest = key.expose(<[u8]>::to_vec);
        let mut holders = members(group);
        let last = holders.next();
        for holder in holders {
            let mut pad = vec![0; rest.len()];
            random.fill(&mut pad);
            xor(&mut rest, &pad);
            parts.push(Part { group, holder, secret: Rated::new(pad) });
        }
        if let Some(holder) = last {
            parts.push(Part { group, holder, secret: Rated::new(rest) });
        }
    }
    parts
}

/// The key of one group, from all of its parts.
pub(super) fn join<'a, const BITS: u16>(
    parts: impl Iterator<Item = &'a Rated<BITS>>,
) -> Option<Rated<BITS>> {
    let mut key: Option<Vec<u8>> = None;
    for part in parts {
        part.expose(|part| match &mut key {
            None => {
                key = Some(part.to_vec());
                Some(())
            }
            Some(key) if key.len() == part.len() => {
                xor(key, part);
                Some(())
            }
            Some(_) => None,
        })?;
    }
    key.map(Rated::new)
}

fn xor(into: &mut [u8], with: &[u8]) {
    for (into, with) in into.iter_mut().zip(with) {
        *into ^= with;
    }
}
