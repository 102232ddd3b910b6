//! The key that seals what belongs to the home, and its end.
//!
//! ```text
//!  seal.key        for life: what the factory wrote
//!  home.key        for one ownership: the state and the operational keys
//!
//!  reset:  home.key.next made ─► state written anew under it ─► home.key overwritten and removed ─► next takes its name
//! ```
//! Whatever an older copy of the state or of a key still says, in a file or in a block of the storage that no file names any
//! more, opens for nobody after that. A kill between two steps is carried on from at the next start.

use super::record::Record;
use super::store::{Store, StoreError};
use countersign_crypto::file;
use countersign_crypto::random::Random;
use countersign_crypto::seal::SealKey;
use std::path::{Path, PathBuf};

/// The key of the state and the operational keys below `root`. A folder from before there was one has `factory`, its
/// `seal.key`, in its place until its next reset.
///
/// # Errors
/// [`StoreError::Io`] or [`StoreError::HomeKey`].
pub fn open(
    root: &Path,
    factory: &SealKey,
    random: &mut dyn Random,
) -> Result<SealKey, StoreError> {
    let (current, next) = (current(root), next(root));
    if next.exists() {
        let key = SealKey::load(&next).map_err(StoreError::HomeKey)?;
        if Store::opens(&state(root), &key) {
            succeed(&current, &next)?;
            return Ok(key);
        }
        file::destroy(&next).map_err(StoreError::Io)?;
    }
    if !current.exists() && state(root).exists() {
        return Ok(factory.clone());
    }
    SealKey::load_or_create(&current, random).map_err(StoreError::HomeKey)
}

/// The same for who only looks, beside a device that may be running.
///
/// # Errors
/// As [`open`].
pub fn peek(root: &Path, factory: &SealKey) -> Result<SealKey, StoreError> {
    for path in [next(root), current(root)] {
        if path.exists() {
            let key = SealKey::load(&path).map_err(StoreError::HomeKey)?;
            if Store::opens(&state(root), &key) {
                return Ok(key);
            }
        }
    }
    Ok(factory.clone())
}

//= specs/house.md#house-pairing
//# What sealed the home's data MUST be destroyed by a reset, so that no copy of it opens any more.
/// Writes `fresh` under a new key and destroys the one before; gives the new one.
///
/// # Errors
/// [`StoreError`]; what was decided is carried out at the next start.
pub fn renew(
    root: &Path,
    store: &Store,
    fresh: Record,
    random: &mut dyn Random,
) -> Result<SealKey, StoreError> {
    let (current, next) = (current(root), next(root));
    file::destroy(&next).map_err(StoreError::Io)?;
    let key = SealKey::load_or_create(&next, random).map_err(StoreError::HomeKey)?;
    store.replace_for_good(fresh, key.clone())?;
    succeed(&current, &next)?;
    Ok(key)
}

fn succeed(current: &Path, next: &Path) -> Result<(), StoreError> {
    file::destroy(current).and_then(|()| file::rename(next, current)).map_err(StoreError::Io)
}

fn state(root: &Path) -> PathBuf {
    root.join("state.sealed")
}

fn current(root: &Path) -> PathBuf {
    root.join("home.key")
}

fn next(root: &Path) -> PathBuf {
    root.join("home.key.next")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use countersign_crypto::random::SystemRandom;
    use countersign_model::state::DeviceState;
    use countersign_model::time::Timestamp;
    use std::fs;

    fn store(root: &Path, factory: &SealKey) -> Store {
        let key = open(root, factory, &mut SystemRandom).unwrap();
        Store::open(&state(root), key, Box::new(SystemRandom)).unwrap()
    }

    fn owned(root: &Path, factory: &SealKey) -> Store {
        let store = store(root, factory);
        for at in 1..4 {
            store
                .update(|record| record.attempts = record.attempts.charged(Timestamp(at)))
                .unwrap();
        }
        store.update(|record| record.phase = DeviceState::Resetting).unwrap();
        store
    }

    fn attempts(root: &Path, factory: &SealKey) -> u32 {
        assert_eq!(
            peek(root, factory).map(|key| Store::opens(&state(root), &key)).ok(),
            Some(true)
        );
        store(root, factory).with(|record| record.attempts.failed())
    }

    //= specs/house.md#house-pairing
    //= type=test
    //# What sealed the home's data MUST be destroyed by a reset, so that no copy of it opens any more.
    #[test]
    fn an_old_copy_opens_with_nothing_that_is_left() {
        let folder = tempfile::tempdir().unwrap();
        let (root, factory) = (folder.path(), SealKey::generate(&mut SystemRandom));
        let store = owned(root, &factory);
        let copies =
            [state(root), file::previous(&state(root))].map(|path| fs::read(path).unwrap());
        renew(root, &store, store.get().forgotten(), &mut SystemRandom).unwrap();
        let left = open(root, &factory, &mut SystemRandom).unwrap();
        for copy in copies {
            let path = root.join("copy");
            fs::write(&path, copy).unwrap();
            assert!(!Store::opens(&path, &left) && !Store::opens(&path, &factory));
        }
        assert_eq!(attempts(root, &factory), 0);
        // The store in hand goes on under the new key.
        store.update(|record| record.attempts = record.attempts.charged(Timestamp(9))).unwrap();
        assert_eq!(attempts(root, &factory), 1);
    }

    /// A kill after each step: nothing is lost before the decision, nothing is left after it.
    #[test]
    fn a_kill_between_two_steps_is_carried_on_from() {
        let (folder, factory) =
            (tempfile::tempdir().unwrap(), SealKey::generate(&mut SystemRandom));
        let root = folder.path();
        let store = owned(root, &factory);
        // After the key was made: the state before stands, and says that a reset is under way.
        SealKey::load_or_create(&next(root), &mut SystemRandom).unwrap();
        assert_eq!(attempts(root, &factory), 3);
        assert!(!next(root).exists());
        // After the state was written under it.
        let key = SealKey::load_or_create(&next(root), &mut SystemRandom).unwrap();
        let old = fs::read(current(root)).unwrap();
        store.replace_for_good(store.get().forgotten(), key).unwrap();
        assert_eq!(attempts(root, &factory), 0);
        assert!(!next(root).exists() && fs::read(current(root)).unwrap() != old);
        // After the old key was removed.
        fs::rename(current(root), next(root)).unwrap();
        assert_eq!(attempts(root, &factory), 0);
    }

    #[test]
    fn a_folder_from_before_there_was_such_a_key_goes_on() {
        let (folder, factory) =
            (tempfile::tempdir().unwrap(), SealKey::generate(&mut SystemRandom));
        let root = folder.path();
        let old = Store::open(&state(root), factory.clone(), Box::new(SystemRandom)).unwrap();
        old.update(|record| record.attempts = record.attempts.charged(Timestamp(1))).unwrap();
        assert_eq!(attempts(root, &factory), 1);
        let store = store(root, &factory);
        renew(root, &store, store.get().forgotten(), &mut SystemRandom).unwrap();
        assert!(current(root).exists() && !Store::opens(&state(root), &factory));
        assert_eq!(attempts(root, &factory), 0);
    }
}
