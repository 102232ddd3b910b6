//! Files that survive a kill: whole or not at all, and durable when the call returns.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// Mode of a file that holds a secret.
pub const PRIVATE: u32 = 0o600;
/// Mode of a file that anyone may read.
pub const PUBLIC: u32 = 0o644;

static COUNTER: AtomicU64 = AtomicU64::new(0);

/// Replaces `path` by `bytes` in one step: temporary file, fsync, rename, fsync of the folder.
///
/// # Errors
/// Whatever the file system answers, with the path in its text.
//= specs/house.md#house-state
//# A state file MUST be replaced as a whole or not at all.
pub fn write_atomic(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let temporary = write_beside(path, bytes, mode)?;
    fs::rename(&temporary, path)
        .and_then(|()| sync_folder(path))
        .map_err(|error| named(path, &error))
}

/// Creates `path` with `bytes`, durable on return; never replaces what is there.
///
/// # Errors
/// [`io::ErrorKind::AlreadyExists`] when the file exists; whatever else the file system answers.
pub fn create_new(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let temporary = write_beside(path, bytes, mode)?;
    let linked = fs::hard_link(&temporary, path).and_then(|()| sync_folder(path));
    fs::remove_file(&temporary).map_err(|error| named(&temporary, &error))?;
    linked.map_err(|error| named(path, &error))
}

/// Replaces several files of one folder, each in one step, and waits for the folder once: many files at the price of one
/// wait more than there are files.
///
/// # Errors
/// Whatever the file system answers, with the path in its text; files before the one it names are in place.
pub fn write_all_atomic<B: AsRef<[u8]>>(
    folder: &Path,
    files: &[(String, B)],
    mode: u32,
) -> io::Result<()> {
    for (name, bytes) in files {
        let path = folder.join(name);
        let temporary = write_beside(&path, bytes.as_ref(), mode)?;
        fs::rename(&temporary, &path).map_err(|error| named(&path, &error))?;
    }
    match files.first() {
        Some((name, _)) => sync_folder(&folder.join(name)).map_err(|error| named(folder, &error)),
        None => Ok(()),
    }
}

/// As [`write_atomic`], after keeping what was there as `NAME.prev`.
///
/// # Errors
/// Whatever the file system answers, with the path in its text.
//= specs/house.md#house-state
//# The last good copy of a state file MUST be kept.
pub fn write_keeping_previous(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    if let Ok(current) = fs::read(path) {
        write_atomic(&previous(path), &current, mode)?;
    }
    write_atomic(path, bytes, mode)
}

/// Where [`write_keeping_previous`] keeps the last good copy.
#[must_use]
pub fn previous(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".prev");
    PathBuf::from(name)
}

/// Destroys a file: overwritten, then removed, durably. A missing one is fine.
///
/// Overwriting reaches the old blocks only on storage that writes in place.
///
/// # Errors
/// Whatever the file system answers, with the path in its text.
pub fn destroy(path: &Path) -> io::Result<()> {
    let overwrite = |mut open: File| {
        let zeros = [0; 4096];
        let mut left = open.metadata()?.len();
        while left > 0 {
            let part = zeros.len().min(usize::try_from(left).unwrap_or(zeros.len()));
            open.write_all(&zeros[..part])?;
            left -= part as u64;
        }
        open.sync_all()
    };
    let destroyed = match OpenOptions::new().write(true).open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        opened => opened.and_then(overwrite).and_then(|()| fs::remove_file(path)),
    };
    destroyed.and_then(|()| sync_folder(path)).map_err(|error| named(path, &error))
}

/// Gives `from` the name `to` in the same folder, durably, in the place of what has it.
///
/// # Errors
/// Whatever the file system answers, with the path in its text.
pub fn rename(from: &Path, to: &Path) -> io::Result<()> {
    fs::rename(from, to).and_then(|()| sync_folder(to)).map_err(|error| named(from, &error))
}

/// Creates a folder, and its parents, that only this user may enter.
///
/// # Errors
/// Whatever the file system answers, with the path in its text.
pub fn private_folder(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|error| named(path, &error))
}

fn write_beside(path: &Path, bytes: &[u8], mode: u32) -> io::Result<PathBuf> {
    let mut name = path.as_os_str().to_owned();
    let count = COUNTER.fetch_add(1, Ordering::Relaxed);
    name.push(format!(".{}-{count}.tmp", std::process::id()));
    let temporary = PathBuf::from(name);
    // What a kill left, or a link that somebody put there: it goes, and nobody's file is written through it.
    let _ = fs::remove_file(&temporary);
    let written =
        OpenOptions::new().write(true).create_new(true).mode(mode).open(&temporary).and_then(
            |mut file| {
                file.write_all(bytes)?;
                file.sync_all()
            },
        );
    if let Err(error) = written {
        let _ = fs::remove_file(&temporary);
        return Err(named(path, &error));
    }
    Ok(temporary)
}

fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    File::open(folder)?.sync_all()
}

fn named(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn a_destroyed_file_is_overwritten_before_it_goes() {
        let folder = tempfile::tempdir().unwrap();
        let (path, other) = (folder.path().join("key"), folder.path().join("other name"));
        fs::write(&path, vec![7; 10_000]).unwrap();
        // Another name for the same bytes shows what became of them.
        fs::hard_link(&path, &other).unwrap();
        destroy(&path).unwrap();
        destroy(&path).unwrap();
        assert!(!path.exists());
        assert_eq!(fs::read(&other).unwrap(), vec![0; 10_000]);
        rename(&other, &path).unwrap();
        assert!(path.exists() && rename(&other, &path).is_err());
    }

    //= specs/house.md#house-state
    //= type=test
    //# A state file MUST be replaced as a whole or not at all.
    //= specs/house.md#house-state
    //= type=test
    //# The last good copy of a state file MUST be kept.
    #[test]
    fn replaces_keeps_and_never_overwrites() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state");
        write_keeping_previous(&path, b"one", PRIVATE).unwrap();
        write_keeping_previous(&path, b"two", PRIVATE).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(fs::read(previous(&path)).unwrap(), b"one");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, PRIVATE);
        let refused = create_new(&path, b"three", PUBLIC).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::AlreadyExists);
        assert!(refused.to_string().contains("state"));
        let names = fs::read_dir(folder.path()).unwrap().count();
        assert_eq!(names, 2, "no temporary file stays behind");
    }

    #[test]
    fn a_link_in_the_temporary_files_place_leads_nowhere() {
        let folder = tempfile::tempdir().unwrap();
        let (path, other) = (folder.path().join("state"), folder.path().join("other"));
        fs::write(&other, b"another's").unwrap();
        // One of these is the next.
        for count in 0..100 {
            let temporary = format!("state.{}-{count}.tmp", std::process::id());
            std::os::unix::fs::symlink(&other, folder.path().join(temporary)).unwrap();
        }
        write_atomic(&path, b"one", PUBLIC).unwrap();
        assert_eq!(fs::read(&other).unwrap(), b"another's");
        assert!(fs::symlink_metadata(&path).unwrap().is_file());
    }

    #[test]
    fn many_files_are_written_and_one_is_destroyed() {
        let folder = tempfile::tempdir().unwrap();
        let files = [("a".to_owned(), b"one"), ("b".to_owned(), b"two")];
        write_all_atomic(folder.path(), &files, PRIVATE).unwrap();
        assert_eq!(fs::read(folder.path().join("b")).unwrap(), b"two");
        destroy(&folder.path().join("a")).unwrap();
        destroy(&folder.path().join("a")).unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
