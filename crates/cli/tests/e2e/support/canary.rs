//! Planted secrets, and the search for them in whatever a process left behind.

use std::fs;
use std::path::{Path, PathBuf};

use countersign_assessor::probe::canary::search;
use countersign_assessor::{Canary, Capture};
use countersign_crypto::seal::{self, SealKey};

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

/// Every sealed file below `data` that one of `keys` opens, with its plain text. The purposes are those of the form's
/// second field.
pub(crate) fn opened(data: &Path, keys: &[SealKey]) -> Vec<(PathBuf, Vec<u8>)> {
    let mut plain = Vec::new();
    for path in files(data) {
        let bytes = fs::read(&path).unwrap();
        // The state has a frame of eight bytes around it.
        let sealed = bytes.strip_prefix(b"CSDS").map_or(&bytes[..], |rest| &rest[4..]);
        for purpose in ["device state", "private key", "setup code verifier"] {
            for key in keys {
                if let Ok(text) = seal::open(key, purpose, sealed) {
                    plain.push((path.clone(), text.expose(<[u8]>::to_vec)));
                }
            }
        }
    }
    plain
}

/// The keys that lie in the folder.
pub(crate) fn keys(data: &Path) -> Vec<SealKey> {
    let loaded = files(data).into_iter().filter_map(|path| SealKey::load(&path).ok());
    let keys: Vec<SealKey> = loaded.collect();
    assert!(!keys.is_empty());
    keys
}

/// The private number of an elliptic-curve key in PKCS#8. RFC 5915: an OCTET STRING after the version.
pub(crate) fn scalar(pkcs8: &[u8]) -> Option<&[u8]> {
    [32, 48].into_iter().find_map(|length| {
        let head = [2, 1, 1, 4, length];
        let at = pkcs8.windows(5).position(|window| window == head)? + head.len();
        pkcs8.get(at..at + usize::from(length))
    })
}

/// The sealing keys and the private keys below a folder, read back with what lies there.
pub(crate) fn kept_secrets(folder: &Path) -> Vec<Canary> {
    let sealing = files(folder).into_iter().filter(|path| SealKey::load(path).is_ok());
    let mut all: Vec<Canary> =
        sealing.map(|path| canary(&path.display().to_string(), fs::read(&path).unwrap())).collect();
    for (path, plain) in opened(folder, &keys(folder)) {
        let name = path.display().to_string();
        all.extend(scalar(&plain).map(|scalar| canary(&name, scalar)));
    }
    all
}
