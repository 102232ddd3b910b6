//! Whether SQLite's file needs its check: reading all of it, which takes seconds for a million certificates.
//!
//! ```text
//!  nobody else has it open ─┬─ it is as it was when it was last closed in order ──► no check, sixteen times in a row
//!                           └─ else ──► check
//!  somebody else has ──► they passed the check, or did not need it ──► no check
//! ```
//! Who has the file open holds a shared lock on a file beside it, and whoever checks an exclusive one; a kill lets go of both.
//! What an unchecked file hides is found where it is read: SQLite refuses a page that is none, and nothing is made up for it.

use std::fs::{File, Metadata};
use std::io::{Read as _, Seek as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Place;

/// How often in a row the check is left out after an orderly end: what a disk does to a file that nobody writes is found too.
const SKIPS: u32 = 16;

/// How long between two looks whether somebody else has finished checking.
const LOOK: Duration = Duration::from_millis(20);

/// The longest note that is read.
const MAX_NOTE: u64 = 1024;

/// The file as its last user left it.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Note {
    inode: u64,
    length: u64,
    /// When it was written last, in seconds and nanoseconds.
    modified: (i64, i64),
    /// How often it has not been checked since.
    skipped: u32,
}

impl Note {
    fn of(file: &Metadata, skipped: u32) -> Self {
        let modified = (file.mtime(), file.mtime_nsec());
        Self { inode: file.ino(), length: file.len(), modified, skipped }
    }
}

/// A database file that this process has open, or is about to.
pub(super) struct InUse {
    path: PathBuf,
    /// None where the folder takes no such file: then every open checks.
    lock: Option<File>,
    needs_check: bool,
    skipped: u32,
}

impl InUse {
    /// Waits while somebody checks the file. A database on a server has its own ways.
    pub(super) async fn enter(place: &Place) -> Option<Self> {
        let Place::File(path) = place else { return None };
        let path = path.to_path_buf();
        let mut options = File::options();
        options.create(true).truncate(false).read(true).write(true).mode(0o600);
        let Ok(lock) = options.open(beside(&path, "-checked")) else {
            return Some(Self { path, lock: None, needs_check: true, skipped: 0 });
        };
        loop {
            if lock.try_lock().is_ok() {
                let known = take(&lock).filter(|note| left_so(&path, note));
                let skipped = known.filter(|note| note.skipped < SKIPS).map(|one| one.skipped + 1);
                let needs_check = skipped.is_none();
                let skipped = skipped.unwrap_or_default();
                return Some(Self { path, lock: Some(lock), needs_check, skipped });
            }
            if lock.try_lock_shared().is_ok() {
                // How often it was not checked, they know: the next one checks.
                let skipped = SKIPS;
                return Some(Self { path, lock: Some(lock), needs_check: false, skipped });
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    pub(super) const fn needs_check(&self) -> bool {
        self.needs_check
    }

    /// The file is whole, as far as anybody knows: others may use it too.
    pub(super) async fn passed(&self) {
        let Some(lock) = &self.lock else { return };
        // From exclusive to shared somebody may come between, who checks then.
        while lock.try_lock_shared().is_err() {
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Every connection of this process is closed: whoever is the last one notes how the file stands.
    pub(super) fn leave(&self) {
        let Some(mut lock) = self.lock.as_ref() else { return };
        if lock.try_lock().is_err() || !whole_by_itself(&self.path) {
            return;
        }
        let Ok(file) = std::fs::metadata(&self.path) else { return };
        let Ok(note) = serde_json::to_vec(&Note::of(&file, self.skipped)) else { return };
        // A note that is not written, or not all of it, is a check more.
        let _ = lock.rewind().and_then(|()| lock.write_all(&note)).and_then(|()| lock.sync_all());
        let _ = lock.unlock();
    }
}

/// The note, which is gone from the disk before anybody writes to the database.
fn take(mut lock: &File) -> Option<Note> {
    let mut text = Vec::new();
    lock.rewind().ok()?;
    lock.take(MAX_NOTE).read_to_end(&mut text).ok()?;
    lock.set_len(0).and_then(|()| lock.sync_all()).ok()?;
    serde_json::from_slice(&text).ok()
}

fn left_so(path: &Path, note: &Note) -> bool {
    let now = std::fs::metadata(path).map(|file| Note::of(&file, note.skipped));
    now.is_ok_and(|now| now == *note) && whole_by_itself(path)
}

/// Whether no journal stands beside it, as after an orderly end.
fn whole_by_itself(path: &Path) -> bool {
    std::fs::metadata(beside(path, "-wal")).is_err()
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::super::Store;
    use super::*;

    /// A database with more in it than is read when it is opened, closed in order.
    async fn filled(path: &Path) {
        let store = Store::open(path.into()).await.unwrap();
        let filling = "CREATE TABLE filler AS WITH RECURSIVE n (n) AS
            (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 2000) SELECT n, hex(randomblob(100)) AS x FROM n";
        sqlx::query(filling).execute(&store.pool).await.unwrap();
        store.close().await;
    }

    /// Damage where nobody looks, that leaves no trace but itself.
    fn damage(path: &Path) {
        let modified = std::fs::metadata(path).unwrap().modified().unwrap();
        let mut bytes = std::fs::read(path).unwrap();
        let last = bytes.len() - 4096;
        bytes[last..].fill(0xff);
        let file = File::options().write(true).open(path).unwrap();
        (&file).write_all(&bytes).unwrap();
        file.set_modified(modified).unwrap();
    }

    async fn opens(path: &Path) -> Option<Store> {
        match Store::open(path.into()).await {
            Ok(store) => Some(store),
            Err(error) => {
                assert!(error.to_string().contains("damaged"), "{error}");
                None
            }
        }
    }

    //= specs/house.md#house-state
    //= type=test
    //# A corrupt state file MUST be refused with its name and the mend.
    #[tokio::test]
    async fn what_was_closed_in_order_is_checked_now_and_then_and_everything_else_each_time() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("authority.db");
        filled(&path).await;
        damage(&path);
        for skip in 0..SKIPS {
            let store = opens(&path).await;
            store.unwrap_or_else(|| panic!("checked at start {skip}")).close().await;
        }
        assert!(opens(&path).await.is_none(), "checked in the end");
        assert!(opens(&path).await.is_none(), "and not left alone for that");
    }

    #[tokio::test]
    async fn a_kill_another_writer_and_a_copy_are_reasons_to_check() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("authority.db");
        filled(&path).await;
        // As a kill leaves it.
        std::fs::write(beside(&path, "-wal"), b"").unwrap();
        damage(&path);
        assert!(opens(&path).await.is_none());

        let other = folder.path().join("other.db");
        filled(&other).await;
        damage(&other);
        let later = std::time::SystemTime::now() + Duration::from_secs(60);
        File::options().write(true).open(&other).unwrap().set_modified(later).unwrap();
        assert!(opens(&other).await.is_none());

        let copy = folder.path().join("copy.db");
        filled(&copy).await;
        damage(&copy);
        std::fs::rename(&copy, folder.path().join("away.db")).unwrap();
        std::fs::copy(folder.path().join("away.db"), &copy).unwrap();
        assert!(opens(&copy).await.is_none());
    }

    #[tokio::test]
    async fn one_checks_for_all_who_have_it_open() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("authority.db");
        filled(&path).await;
        let place = Place::from(path.as_path());
        std::fs::remove_file(beside(&path, "-checked")).unwrap();
        let first = InUse::enter(&place).await.unwrap();
        assert!(first.needs_check());
        // Another one waits until it is checked.
        let waiting = tokio::time::timeout(Duration::from_millis(100), InUse::enter(&place)).await;
        assert!(waiting.is_err());
        first.passed().await;
        let second = InUse::enter(&place).await.unwrap();
        assert!(!second.needs_check());
        // Not the last one: nothing is noted.
        first.leave();
        drop(first);
        second.passed().await;
        drop(second);
        let third = InUse::enter(&place).await.unwrap();
        assert!(third.needs_check(), "whoever had it was killed, as far as anybody knows");
        third.leave();
        drop(third);
        assert!(!InUse::enter(&place).await.unwrap().needs_check());
    }
}
