//! The ledger as static files (C2SP tlog-tiles): hashes in tiles of 256, entries in bundles of 256.
//!
//! ```text
//!  checkpoint
//!  tile/0/x001/067          256 leaf hashes                 tile/0/x001/068.p/7   the 7 at the right edge
//!  tile/1/004               256 roots of tiles of level 0
//!  tile/entries/x001/067    256 entries, each behind its length in two bytes
//! ```
//!
//! Reading and writing are the caller's: here are names, contents and what is wrong with them.

use super::audit::{Audited, Auditor, Fault};
use super::checkpoint::Checkpoint;
use super::entry::{Entry, Leaf};
use super::merkle::{Hash, root};

/// Hashes of a full tile, entries of a full bundle.
pub const WIDTH: u64 = 256;
/// The largest bundle, in bytes.
pub const MAX_BUNDLE: usize = 256 * (2 + u16::MAX as usize);
/// The highest level that a tree can have.
const MAX_LEVEL: u8 = 7;

/// What is in a tile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holds {
    /// Hashes of that level.
    Hashes(u8),
    /// Entries.
    Entries,
}

/// The path of tile `number`, of which `width` places are filled.
#[must_use]
pub fn path(holds: Holds, number: u64, width: u64) -> String {
    let mut groups = vec![format!("{:03}", number % 1000)];
    let mut rest = number / 1000;
    while rest > 0 {
        groups.push(format!("x{:03}", rest % 1000));
        rest /= 1000;
    }
    groups.reverse();
    let level = match holds {
        Holds::Hashes(level) => level.to_string(),
        Holds::Entries => "entries".to_owned(),
    };
    let partial = if width == WIDTH { String::new() } else { format!(".p/{width}") };
    format!("tile/{level}/{}{partial}", groups.join("/"))
}

/// How many hashes level `level` has in a tree of `size` leaves.
fn count(size: u64, level: u8) -> u64 {
    size >> (8 * u32::from(level))
}

/// Every tile of a level: number and width.
fn tiles(size: u64, level: u8) -> impl Iterator<Item = (u64, u64)> {
    let hashes = count(size, level);
    (0..hashes.div_ceil(WIDTH)).map(move |number| (number, (hashes - number * WIDTH).min(WIDTH)))
}

/// Every tile of hashes of the tree of these leaves: path and content.
pub fn hash_tiles(leaves: &[Hash], mut each: impl FnMut(&str, &[u8])) {
    let size = leaves.len() as u64;
    let mut hashes = leaves.to_vec();
    for level in 0..=MAX_LEVEL {
        for ((number, width), tile) in tiles(size, level).zip(hashes.chunks(256)) {
            let content: Vec<u8> = tile.iter().flat_map(|hash| hash.0).collect();
            each(&path(Holds::Hashes(level), number, width), &content);
        }
        hashes = hashes.chunks_exact(256).map(root).collect();
    }
}

/// The content of a bundle; `None` for an entry that is longer than its length can say.
#[must_use]
pub fn bundle(entries: &[Vec<u8>]) -> Option<Vec<u8>> {
    let mut content = Vec::new();
    for entry in entries {
        content.extend_from_slice(&u16::try_from(entry.len()).ok()?.to_be_bytes());
        content.extend_from_slice(entry);
    }
    Some(content)
}

/// The entries of a bundle; `None` when it is cut, or has anything behind the last.
#[must_use]
pub fn unbundle(mut content: &[u8], width: u64) -> Option<Vec<&[u8]>> {
    let mut entries = Vec::new();
    for _ in 0..width {
        let (length, rest) = content.split_first_chunk::<2>()?;
        let (entry, rest) = rest.split_at_checked(u16::from_be_bytes(*length).into())?;
        entries.push(entry);
        content = rest;
    }
    content.is_empty().then_some(entries)
}

/// Verifies the tiles and bundles of the tree of `signed`. `read` fetches a path.
///
/// # Errors
/// [`TileFault`] names the tile and the entry.
pub fn verify(
    signed: &Checkpoint,
    older: Vec<Checkpoint>,
    mut read: impl FnMut(&str) -> std::io::Result<Vec<u8>>,
    mut each: impl FnMut(Leaf, Hash),
) -> Result<Audited, TileFault> {
    let mut fetch = |path: &str| {
        read(path)
            .map_err(|source| TileFault::Missing { path: path.to_owned(), why: source.to_string() })
    };
    let mut auditor = Auditor::new([older, vec![signed.clone()]].concat());
    let mut hashes = Vec::new();
    for (number, width) in tiles(signed.size, 0) {
        let (names, holds) =
            (path(Holds::Entries, number, width), path(Holds::Hashes(0), number, width));
        let (content, tile) = (fetch(&names)?, fetch(&holds)?);
        let tile =
            hash_list(&tile, width).ok_or_else(|| TileFault::Form { path: holds.clone() })?;
        let entries =
            unbundle(&content, width).ok_or_else(|| TileFault::Form { path: names.clone() })?;
        for (place, (entry, hash)) in (number * WIDTH..).zip(entries.into_iter().zip(&tile)) {
            let fault = |what| TileFault::Entry { path: names.clone(), entry: place, what };
            let leaf = Entry::of_leaf_data(entry, place).map_err(fault)?;
            if Hash::leaf(entry) != *hash {
                return Err(fault(
                    "was changed: its contents do not have the leaf hash of the tile",
                ));
            }
            auditor.push(*hash)?;
            each(leaf, *hash);
        }
        hashes.extend(tile);
    }
    for level in 1..=MAX_LEVEL {
        hashes = hashes.chunks_exact(256).map(root).collect();
        for ((number, width), expected) in tiles(signed.size, level).zip(hashes.chunks(256)) {
            let name = path(Holds::Hashes(level), number, width);
            let tile = hash_list(&fetch(&name)?, width);
            if tile.as_deref() != Some(expected) {
                return Err(TileFault::Form { path: name });
            }
        }
    }
    Ok(auditor.finish()?)
}

fn hash_list(content: &[u8], width: u64) -> Option<Vec<Hash>> {
    let (hashes, rest) = content.as_chunks::<32>();
    let whole = rest.is_empty() && hashes.len() as u64 == width;
    whole.then(|| hashes.iter().copied().map(Hash).collect())
}

/// What is wrong with a tree in tiles.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TileFault {
    /// A tile that the checkpoint needs is not there.
    #[error("{path}: {why}: the checkpoint needs this tile; export the ledger again")]
    Missing {
        /// Which.
        path: String,
        /// Why not.
        why: String,
    },
    /// A tile is cut, or does not hold the hashes of what is below it.
    #[error("{path}: is cut, or does not hold the hashes of the tiles below it")]
    Form {
        /// Which.
        path: String,
    },
    /// An entry is not what it was.
    #[error("{path}: entry {entry} {what}")]
    Entry {
        /// The bundle.
        path: String,
        /// The entry's number, from 0.
        entry: u64,
        /// What is wrong.
        what: &'static str,
    },
    /// Not the tree of the checkpoint.
    #[error(transparent)]
    Tree(#[from] Fault),
}

#[cfg(test)]
mod tests;
