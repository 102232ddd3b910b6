//! Planted secrets, and the search for them in whatever a process left behind.

use std::fs;
use std::path::{Path, PathBuf};

use countersign_assessor::probe::canary::search;
use countersign_assessor::{Canary, Capture};

/// A secret of at least eight bytes that stands for `label`.
pub(crate) fn canary(label: &str, secret: impl AsRef<[u8]>) -> Canary {
    let secret = secret.as_ref().to_vec();
    Canary { label: label.to_owned(), parameter: None, secret }
}

/// Where canaries are in `bytes`, in words; searched for as the assessor searches captures.
pub(crate) fn found(place: &str, bytes: Vec<u8>, canaries: &[Canary]) -> Vec<String> {
    let capture = Capture { label: place.to_owned(), streams: vec![bytes], ..Capture::default() };
    let facts = search(&capture, canaries);
    assert!(facts.self_test, "a form of a canary was not found where it was planted");
    let hits = facts.canaries.iter().flat_map(|fact| {
        assert!(fact.searchable, "{} is too short to be searched for", fact.label);
        fact.hits.iter().map(|hit| format!("{}: {} as {}", place, fact.label, hit.encoding))
    });
    hits.collect()
}

/// Every file below `folder`.
pub(crate) fn files(folder: &Path) -> Vec<PathBuf> {
    let (mut files, mut open) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(path) = open.pop() {
        if path.is_dir() {
            open.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        } else {
            files.push(path);
        }
    }
    files.sort();
    files
}

/// The same in every file below `folder`; the names of the files count as well.
pub(crate) fn found_below(folder: &Path, canaries: &[Canary]) -> Vec<String> {
    let files = files(folder);
    assert!(!files.is_empty(), "{}: nothing to search", folder.display());
    let all = files.iter().flat_map(|path| {
        let place = path.display().to_string();
        let bytes = [place.as_bytes(), b"\n", &fs::read(path).unwrap()].concat();
        found(&place, bytes, canaries)
    });
    all.collect()
}
