//! What a peer may send, against whatever reads it: the committed corpus of `fuzz/`, and some mutations of each seed.
//!
//! The bodies are those of the fuzz targets, so that a seed that once broke something is tried with every run.

#![allow(missing_docs, unreachable_pub, clippy::unwrap_used)]

#[path = "../../../fuzz/src/mutate.rs"]
mod mutate;
#[path = "../../../fuzz/src/targets/mod.rs"]
mod targets;

use mutate::{Dice, mutate};
use std::path::{Path, PathBuf};

/// Enough to notice a parser that trusts a length; the fuzzer does the rest.
const MUTATIONS: u64 = 1_000;

fn fuzz() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz")
}

fn seeds(target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let folder = fuzz().join("corpus").join(target);
    let mut paths: Vec<PathBuf> = std::fs::read_dir(&folder)
        .unwrap_or_else(|cause| panic!("{}: {cause}", folder.display()))
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    assert!(!paths.is_empty(), "{target} has no seeds");
    paths.into_iter().map(|path| (path.clone(), std::fs::read(path).unwrap())).collect()
}

#[test]
fn every_target_has_seeds_and_a_fuzzer() {
    for (name, _) in targets::ALL {
        assert!(targets::find(name).is_some());
        assert!(!seeds(name).is_empty());
        let fuzzer = fuzz().join("fuzz_targets").join(format!("{name}.rs"));
        assert!(fuzzer.is_file(), "{} is missing", fuzzer.display());
    }
    assert!(targets::find("no such target").is_none());
}

#[test]
fn the_corpus_and_its_mutations_break_nothing() {
    for (name, target) in targets::ALL {
        let seeds = seeds(name);
        let mutations = if targets::SLOW.contains(name) { MUTATIONS / 50 } else { MUTATIONS };
        for (at, (path, seed)) in seeds.iter().enumerate() {
            eprintln!("{name}: {}", path.display());
            target(seed);
            let (_, other) = &seeds[(at + 1) % seeds.len()];
            for throw in 0..mutations {
                let input = mutate(seed, other, &mut Dice::new(throw));
                // The output of a failed test ends with the input that did it.
                let kept = Kept(&input);
                target(&input);
                std::mem::drop(kept);
            }
        }
    }
}

/// Prints its bytes when a panic unwinds past it.
struct Kept<'a>(&'a [u8]);

impl Drop for Kept<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let hex: String = self.0.iter().map(|byte| format!("{byte:02x}")).collect();
            eprintln!("input: {hex}");
        }
    }
}
