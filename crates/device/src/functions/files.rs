//! Values in files: of the kernel's (`/sys`, `/proc`), or of a product's own.

use super::FunctionError;
use countersign_crypto::file;
use countersign_model::id::AffordanceName;
use nix::libc::{O_CLOEXEC, O_NOFOLLOW, O_NONBLOCK};
use std::fs::{File, OpenOptions};
use std::io::{Error, Read, Result, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Neither a link that somebody put in the file's place, nor a pipe that keeps the agent waiting.
const CAREFULLY: i32 = O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC;

/// Reads and writes files, a bounded number at once.
#[derive(Debug)]
pub(super) struct Files {
    turns: Arc<Semaphore>,
    most: usize,
}

impl Files {
    pub(super) fn new(at_once: usize, most: usize) -> Self {
        Self { turns: Arc::new(Semaphore::new(at_once)), most }
    }

    pub(super) async fn read(
        &self,
        name: &AffordanceName,
        path: &Path,
    ) -> std::result::Result<Vec<u8>, FunctionError> {
        let most = self.most;
        self.work(name, path, move |path| read(path, most)).await
    }

    pub(super) async fn write(
        &self,
        name: &AffordanceName,
        path: &Path,
        replace: bool,
        text: String,
    ) -> std::result::Result<(), FunctionError> {
        self.work(name, path, move |path| match replace {
            true => replace_whole(path, &text),
            false => write_in_place(path, &text),
        })
        .await
    }

    async fn work<T: Send + 'static>(
        &self,
        name: &AffordanceName,
        path: &Path,
        work: impl FnOnce(&Path) -> Result<T> + Send + 'static,
    ) -> std::result::Result<T, FunctionError> {
        let failed = |why: String| {
            let at = path.display().to_string();
            let at = if why.starts_with(&at) { String::new() } else { at + ": " };
            FunctionError::Failed(format!("{name}: {at}{why}"))
        };
        // A driver that hangs keeps its turn, and so no more than so many threads.
        let turn = self.turns.clone().acquire_owned().await;
        let turn: OwnedSemaphorePermit = turn.map_err(|error| failed(error.to_string()))?;
        let owned: PathBuf = path.to_owned();
        let done = tokio::task::spawn_blocking(move || {
            let done = work(&owned);
            drop(turn);
            done
        });
        match done.await {
            Ok(done) => done.map_err(|error| failed(error.to_string())),
            Err(error) => Err(failed(error.to_string())),
        }
    }
}

//= specs/house.md#house-bindings
//# A file that stands behind an affordance MUST be a regular file and no symbolic link.
fn regular(file: File) -> Result<File> {
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(Error::other("is no regular file")),
    }
}

fn read(path: &Path, most: usize) -> Result<Vec<u8>> {
    let file = regular(OpenOptions::new().read(true).custom_flags(CAREFULLY).open(path)?)?;
    let mut bytes = Vec::new();
    file.take(most as u64 + 1).read_to_end(&mut bytes)?;
    match bytes.len() > most {
        true => Err(Error::other(format!("is longer than {most} bytes"))),
        false => Ok(bytes),
    }
}

/// In one call, as the kernel's files want it.
fn write_in_place(path: &Path, text: &str) -> Result<()> {
    let mut options = OpenOptions::new();
    let file = options.write(true).truncate(true).custom_flags(CAREFULLY).open(path)?;
    let mut file = regular(file)?;
    match file.write(text.as_bytes())? {
        written if written == text.len() => Ok(()),
        written => Err(Error::other(format!("took {written} bytes of {}", text.len()))),
    }
}

/// Whoever reads it sees the old value or the new one.
fn replace_whole(path: &Path, text: &str) -> Result<()> {
    let mode = match path.symlink_metadata() {
        Ok(about) if about.is_file() => about.permissions().mode() & 0o777,
        Ok(_) => return Err(Error::other("is no regular file")),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => file::PUBLIC,
        Err(error) => return Err(error),
    };
    file::write_atomic(path, format!("{text}\n").as_bytes(), mode)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    //= specs/house.md#house-bindings
    //= type=test
    //# A file that stands behind an affordance MUST be a regular file and no symbolic link.
    #[test]
    fn a_link_a_folder_and_a_pipe_are_no_values() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::write(at("secret"), "1").unwrap();
        symlink(at("secret"), at("link")).unwrap();
        nix::unistd::mkfifo(&at("pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        for name in ["link", "pipe", "."] {
            read(&at(name), 10).unwrap_err();
            write_in_place(&at(name), "2").unwrap_err();
            replace_whole(&at(name), "2").unwrap_err();
        }
        assert_eq!(read(&at("secret"), 10).unwrap(), b"1");
    }

    #[test]
    fn values_are_bounded_and_replaced_whole() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("level");
        replace_whole(&file, "12345").unwrap();
        assert_eq!(read(&file, 6).unwrap(), b"12345\n");
        assert!(read(&file, 5).unwrap_err().to_string().contains("longer"));
        write_in_place(&file, "7").unwrap();
        assert_eq!(read(&file, 6).unwrap(), b"7");
        std::fs::set_permissions(&file, PermissionsExt::from_mode(0o600)).unwrap();
        replace_whole(&file, "8").unwrap();
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn many_may_replace_one_file_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("level");
        std::thread::scope(|scope| {
            for digit in ["1", "22", "333", "4444"] {
                let file = &file;
                scope.spawn(move || (0..50).for_each(|_| replace_whole(file, digit).unwrap()));
            }
        });
        let left = String::from_utf8(read(&file, 10).unwrap()).unwrap();
        assert!(["1\n", "22\n", "333\n", "4444\n"].contains(&left.as_str()), "{left:?}");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
