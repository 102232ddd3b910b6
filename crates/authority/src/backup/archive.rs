//! The files of a backup: into a tar, and out of one that somebody may have made to harm.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Component, Path, PathBuf};

use countersign_crypto::digest::sha256;
use countersign_crypto::file;

use super::Held;

/// The most files in a backup. An authority has some dozens, two for each generation of a key, and a few for each device of
/// a factory batch that is not closed.
const MAX_FILES: usize = 1_000_000;

/// The longest name of a file in it.
const MAX_NAME: usize = 240;

/// Writes files one after the other and remembers their hashes.
pub(super) struct Writer<W: Write> {
    tar: tar::Builder<W>,
    pub(super) files: BTreeMap<String, Held>,
}

impl<W: Write> Writer<W> {
    pub(super) fn new(to: W) -> Self {
        Self { tar: tar::Builder::new(to), files: BTreeMap::new() }
    }

    /// One file.
    pub(super) fn put(&mut self, name: &str, bytes: &[u8]) -> io::Result<()> {
        if self.files.len() >= MAX_FILES || name.len() > MAX_NAME {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "too many files, or too long a name",
            ));
        }
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(file::PRIVATE);
        header.set_cksum();
        self.tar.append_data(&mut header, name, bytes)?;
        let held = Held { bytes: bytes.len() as u64, sha256: hex::encode(sha256(bytes)) };
        self.files.insert(name.to_owned(), held);
        Ok(())
    }

    pub(super) fn finish(self) -> io::Result<W> {
        self.tar.into_inner()
    }
}

/// Writes the files of a tar into an empty folder, mode 0600, and says what they are. Takes plain files with plain
/// relative names only.
pub(super) fn unpack(from: impl Read, folder: &Path) -> io::Result<BTreeMap<String, Held>> {
    let strange = |what: String| io::Error::new(io::ErrorKind::InvalidData, what);
    let mut files = BTreeMap::new();
    let mut archive = tar::Archive::new(from);
    for entry in archive.entries()? {
        let mut entry = entry?;
        let path = entry.path()?.into_owned();
        let name = plain(&path).ok_or_else(|| strange(format!("{path:?} is no plain name")))?;
        if entry.header().entry_type() != tar::EntryType::Regular {
            return Err(strange(format!("{name} is no plain file")));
        }
        if files.len() >= MAX_FILES || files.contains_key(&name) {
            return Err(strange(format!("{name} is one file too many")));
        }
        let to = folder.join(&path);
        if let Some(parent) = to.parent() {
            fs::create_dir_all(parent)?;
        }
        // The header's length is only believed as far as there are octets.
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes)?;
        file::create_new(&to, &bytes, file::PRIVATE)?;
        files.insert(name, Held { bytes: bytes.len() as u64, sha256: hex::encode(sha256(&bytes)) });
    }
    Ok(files)
}

fn plain(path: &Path) -> Option<String> {
    let parts: Option<Vec<_>> = path
        .components()
        .map(|part| match part {
            Component::Normal(part) => part.to_str(),
            _ => None,
        })
        .collect();
    let name = parts?.join("/");
    let fits = !name.is_empty() && name.len() <= MAX_NAME && Path::new(&name) == path;
    fits.then_some(name)
}

/// Every plain file below `folder`, as names relative to `base`; links and sockets are passed over.
pub(super) fn walk(base: &Path, folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(found),
        Err(error) => return Err(error),
    };
    for entry in entries {
        let entry = entry?;
        let (path, kind) = (entry.path(), entry.file_type()?);
        if kind.is_dir() {
            found.extend(walk(base, &path)?);
        } else if kind.is_file()
            && let Ok(name) = path.strip_prefix(base)
        {
            found.push(name.to_owned());
        }
    }
    found.sort();
    Ok(found)
}

/// The first `lines` lines of a file.
pub(super) fn head(path: &Path, lines: u64) -> io::Result<Vec<u8>> {
    use io::BufRead as _;
    let mut file = io::BufReader::new(File::open(path)?);
    let mut bytes = Vec::new();
    for _ in 0..lines {
        if file.read_until(b'\n', &mut bytes)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(bytes)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn tar_of(name: &str, kind: tar::EntryType) -> Vec<u8> {
        let mut header = tar::Header::new_old();
        // As no builder would write it.
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_size(0);
        header.set_entry_type(kind);
        header.set_cksum();
        [header.as_bytes().as_slice(), &[0; 1024]].concat()
    }

    #[test]
    fn nothing_is_written_outside_the_folder() {
        let regular = tar::EntryType::Regular;
        for (name, kind) in [
            ("../evil", regular),
            ("/etc/evil", regular),
            ("a/../../evil", regular),
            ("./evil", regular),
            ("evil", tar::EntryType::Symlink),
            ("evil", tar::EntryType::Link),
            ("evil", tar::EntryType::Directory),
            ("evil", tar::EntryType::Fifo),
        ] {
            let folder = tempfile::tempdir().unwrap();
            let inner = folder.path().join("inner");
            fs::create_dir(&inner).unwrap();
            assert!(unpack(&*tar_of(name, kind), &inner).is_err(), "{name} {kind:?}");
            assert!(walk(folder.path(), folder.path()).unwrap().is_empty(), "{name} {kind:?}");
        }
    }

    #[test]
    fn what_goes_in_comes_out() {
        let mut writer = Writer::new(Vec::new());
        writer.put("a", b"").unwrap();
        writer.put("b/c.txt", b"hello").unwrap();
        let files = writer.files.clone();
        let tar = writer.finish().unwrap();
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(unpack(&*tar, folder.path()).unwrap(), files);
        assert_eq!(fs::read(folder.path().join("b/c.txt")).unwrap(), b"hello");
        // Twice is once too many: the second would stand for what the first was checked for.
        let twice = [&tar[..tar.len() - 1024], &tar].concat();
        let folder = tempfile::tempdir().unwrap();
        assert!(unpack(&*twice, folder.path()).is_err());
    }
}
