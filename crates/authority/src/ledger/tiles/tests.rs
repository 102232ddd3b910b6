//! Names as in the specification; trees of many sizes; every broken tile named.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::io;

use countersign_model::time::Timestamp;
use serde_json::json;

use super::*;
use crate::ledger::entry::Kind;

/// The examples of C2SP tlog-tiles.
#[test]
fn names_are_those_of_the_specification() {
    assert_eq!(path(Holds::Hashes(0), 1_234_067, 256), "tile/0/x001/x234/067");
    assert_eq!(path(Holds::Hashes(5), 0, 17), "tile/5/000.p/17");
    assert_eq!(path(Holds::Entries, 999, 256), "tile/entries/999");
    assert_eq!(path(Holds::Entries, 1000, 1), "tile/entries/x001/000.p/1");
    // "A tree of size 70,000 will be represented by 273 full level 0 tiles, one partial level 0 tile of width 112, one
    // full level 1 tile, one partial level 1 tile of width 17, and one partial level 2 tile of width 1."
    let of = |level| tiles(70_000, level).collect::<Vec<_>>();
    assert_eq!((of(0).len(), of(0)[272], of(0)[273]), (274, (272, 256), (273, 112)));
    assert_eq!((of(1), of(2), of(3)), (vec![(0, 256), (1, 17)], vec![(0, 1)], vec![]));
    // "A tree of size 256 will be represented by a full level 0 tile and a partial level 1 tile of width 1."
    assert_eq!(tiles(256, 0).chain(tiles(256, 1)).collect::<Vec<_>>(), [(0, 256), (0, 1)]);
}

type Tree = BTreeMap<String, Vec<u8>>;

fn tree(size: u64) -> (Tree, Checkpoint) {
    let entries: Vec<Vec<u8>> = (0..size)
        .map(|index| {
            let body = json!({"number": index});
            Entry::following(&[0; 32], index, Timestamp(7), Kind::Issued, body).leaf_data()
        })
        .collect();
    let leaves: Vec<Hash> = entries.iter().map(|entry| Hash::leaf(entry)).collect();
    let mut files = Tree::new();
    for (number, chunk) in (0..).zip(entries.chunks(256)) {
        let name = path(Holds::Entries, number, chunk.len() as u64);
        files.insert(name, bundle(chunk).unwrap());
    }
    hash_tiles(&leaves, |path, content| {
        files.insert(path.to_owned(), content.to_vec());
    });
    (files, Checkpoint { origin: "log.example".to_owned(), size, root: root(&leaves) })
}

fn check(files: &Tree, signed: &Checkpoint) -> Result<u64, TileFault> {
    let read = |path: &str| {
        files.get(path).cloned().ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
    };
    let mut seen = 0;
    let audited = verify(signed, Vec::new(), read, |leaf, _| {
        assert_eq!(leaf.index, seen);
        seen += 1;
    })?;
    assert_eq!((seen, audited.agreed), (signed.size, signed.size));
    Ok(seen)
}

#[test]
fn trees_of_many_sizes_hold() {
    for size in [0, 1, 2, 255, 256, 257, 511, 513, 1000, 66_000] {
        let (files, signed) = tree(size);
        assert_eq!(check(&files, &signed), Ok(size));
    }
}

#[test]
fn every_broken_tile_is_named() {
    let (good, signed) = tree(700);
    for name in good.keys() {
        let mut missing = good.clone();
        missing.remove(name);
        assert!(check(&missing, &signed).unwrap_err().to_string().contains(name.as_str()));
        let mut cut = good.clone();
        cut.get_mut(name).unwrap().pop();
        assert!(check(&cut, &signed).unwrap_err().to_string().contains(name.as_str()));
        let mut flipped = good.clone();
        let content = flipped.get_mut(name).unwrap();
        let middle = content.len() / 2;
        content[middle] ^= 4;
        assert!(check(&flipped, &signed).is_err(), "{name}");
    }
}

#[test]
fn a_changed_entry_and_a_tree_written_anew_are_named() {
    let (good, signed) = tree(300);
    let mut changed = good.clone();
    let bundle = changed.get_mut("tile/entries/001.p/44").unwrap();
    let text = String::from_utf8(bundle.split_off(2)).unwrap();
    bundle.extend_from_slice(text.replacen("256}", "257}", 1).as_bytes());
    let fault = check(&changed, &signed).unwrap_err();
    assert!(matches!(fault, TileFault::Entry { entry: 256, .. }), "{fault}");
    // Tiles that fit their entries and each other, and not the checkpoint.
    let (other, _) = tree(300);
    let forged = Checkpoint { root: Hash([1; 32]), ..signed };
    let fault = check(&other, &forged).unwrap_err();
    assert_eq!(fault, TileFault::Tree(Fault::Forked { agreed: 0, signed: 300 }));
}
