//! Sessions with a token: opened as needed, kept, lost and found again.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Function, Pkcs11};
use cryptoki::error::{Error, RvError};
use cryptoki::session::{Session, SessionState, UserType};
use cryptoki::slot::Slot;
use cryptoki::types::AuthPin;

use super::TokenConfig;

/// Sessions kept for the next call. More may be open while more threads sign at once; the rest are closed after use.
const KEPT: usize = 8;
/// Tries of a login that finds no token at all, or one in disorder, and the pause between them. A token in software writes
/// its own state at every login, and another process that looks in that moment sees none.
const TRIES: u32 = 20;
const PAUSE: Duration = Duration::from_millis(50);
/// The longest PIN file that is read, in bytes.
const MAX_PIN_FILE: u64 = 1024;

/// A token with its sessions.
pub(super) struct Pool {
    config: TokenConfig,
    module: Pkcs11,
    free: Mutex<Vec<Session>>,
}

impl Pool {
    pub(super) fn open(config: &TokenConfig) -> Result<Self, TokenError> {
        for _ in 1..TRIES {
            match Self::open_once(config) {
                Err(TokenError::Absent { seen, .. }) if seen.is_empty() => {}
                Err(TokenError::Disorder { .. }) => {}
                decided => return decided,
            }
            // A module that looked in a bad moment keeps what it saw until it is initialised anew.
            unload(config.module());
            std::thread::sleep(PAUSE);
        }
        Self::open_once(config)
    }

    fn open_once(config: &TokenConfig) -> Result<Self, TokenError> {
        let module = module(config.module())?;
        let pool = Self { config: config.clone(), module, free: Mutex::default() };
        let session = pool.login()?;
        pool.give_back(session);
        in_use(config.module());
        Ok(pool)
    }

    pub(super) fn name(&self) -> &str {
        self.config.label()
    }

    /// Runs `work` in a session, once more in a fresh one where the first turns out to be lost.
    ///
    /// A session whose login has ended does not fail: it finds no private keys, and a key that is there would be made a
    /// second time. So its state is asked for first.
    pub(super) fn with<T>(
        &self,
        work: impl Fn(&Session) -> Result<T, Error>,
    ) -> Result<T, TokenError> {
        self.with_again(
            |session| match session.get_session_info()?.session_state() {
                SessionState::RwUser => work(session),
                _ => Err(Error::Pkcs11(RvError::UserNotLoggedIn, Function::GetSessionInfo)),
            },
            |_| Ok(()),
        )
    }

    /// As [`Pool::with`]; `renew` is called in the fresh session first, for handles died with the old one.
    pub(super) fn with_again<T>(
        &self,
        work: impl Fn(&Session) -> Result<T, Error>,
        renew: impl Fn(&Session) -> Result<(), Error>,
    ) -> Result<T, TokenError> {
        let kept = self.free.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let session = match kept {
            Some(session) => session,
            None => self.login()?,
        };
        let lost = match work(&session) {
            Ok(done) => {
                self.give_back(session);
                return Ok(done);
            }
            Err(error) if is_loss(&error) => error,
            Err(error) => {
                self.give_back(session);
                return Err(self.refused(&error));
            }
        };
        tracing::warn!(token = self.name(), %lost, "the token's session was lost; logging in again");
        drop(session);
        self.free.lock().unwrap_or_else(PoisonError::into_inner).clear();
        let session = self.login()?;
        let done = renew(&session).and_then(|()| work(&session)).map_err(|e| self.refused(&e))?;
        self.give_back(session);
        Ok(done)
    }

    fn give_back(&self, session: Session) {
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        if free.len() < KEPT {
            free.push(session);
        }
    }

    /// A session, logged in. The login is the process's: a second one finds it done.
    fn login(&self) -> Result<Session, TokenError> {
        let slot = self.slot()?;
        let session = self.module.open_rw_session(slot).map_err(|e| self.refused(&e))?;
        let pin = pin(self.config.pin_file())?;
        match session.login(UserType::User, Some(&pin)) {
            Ok(()) | Err(Error::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => Ok(session),
            Err(Error::Pkcs11(
                RvError::PinIncorrect | RvError::PinLenRange | RvError::PinInvalid,
                _,
            )) => Err(TokenError::Pin {
                token: self.name().to_owned(),
                path: self.config.pin_file().to_owned(),
            }),
            Err(Error::Pkcs11(RvError::PinLocked, _)) => {
                Err(TokenError::Locked(self.name().to_owned()))
            }
            Err(error) => Err(self.refused(&error)),
        }
    }

    fn slot(&self) -> Result<Slot, TokenError> {
        let slots = self.module.get_slots_with_initialized_token().map_err(|e| self.refused(&e))?;
        let mut seen = Vec::new();
        let mut fitting = Vec::new();
        for slot in slots {
            // A token that is pulled while we look is not the one that we want.
            let Ok(info) = self.module.get_token_info(slot) else { continue };
            if info.label() == self.name() {
                fitting.push(slot);
            }
            seen.push(info.label().to_owned());
        }
        match fitting[..] {
            [one] => Ok(one),
            [] => Err(TokenError::Absent {
                token: self.name().to_owned(),
                module: self.config.module().to_owned(),
                seen: seen.join(", "),
            }),
            _ => Err(TokenError::Twice(self.name().to_owned())),
        }
    }

    fn refused(&self, error: &Error) -> TokenError {
        let (token, what) = (self.name().to_owned(), error.to_string());
        match error {
            Error::Pkcs11(
                RvError::GeneralError | RvError::DeviceError | RvError::UserPinNotInitialized,
                _,
            ) => TokenError::Disorder { token, what },
            _ => TokenError::Refused { token, what },
        }
    }
}

/// Whether a fresh session may mend it.
fn is_loss(error: &Error) -> bool {
    let Error::Pkcs11(value, _) = error else { return false };
    matches!(
        value,
        RvError::SessionHandleInvalid
            | RvError::SessionClosed
            | RvError::KeyHandleInvalid
            | RvError::ObjectHandleInvalid
            | RvError::UserNotLoggedIn
            | RvError::DeviceRemoved
            | RvError::DeviceError
            | RvError::TokenNotPresent
            | RvError::TokenNotRecognized
    )
}

/// Modules of this process, and whether somebody is logged in through them.
fn loaded() -> MutexGuard<'static, HashMap<PathBuf, (Pkcs11, bool)>> {
    static LOADED: OnceLock<Mutex<HashMap<PathBuf, (Pkcs11, bool)>>> = OnceLock::new();
    LOADED.get_or_init(Mutex::default).lock().unwrap_or_else(PoisonError::into_inner)
}

/// A module is loaded and initialised once in a process; every token in it shares that.
fn module(path: &Path) -> Result<Pkcs11, TokenError> {
    let mut loaded = loaded();
    if let Some((module, _)) = loaded.get(path) {
        return Ok(module.clone());
    }
    let refused =
        |error: Error| TokenError::Module { path: path.to_owned(), what: error.to_string() };
    let module = Pkcs11::new(path).map_err(refused)?;
    match module.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)) {
        Ok(()) | Err(Error::Pkcs11(RvError::CryptokiAlreadyInitialized, _)) => {}
        Err(error) => return Err(refused(error)),
    }
    loaded.insert(path.to_owned(), (module.clone(), false));
    Ok(module)
}

fn in_use(path: &Path) {
    if let Some((_, used)) = loaded().get_mut(path) {
        *used = true;
    }
}

/// Ends a module through which nobody is logged in.
fn unload(path: &Path) {
    let mut loaded = loaded();
    if loaded.get(path).is_some_and(|(_, used)| !used)
        && let Some((module, _)) = loaded.remove(path)
        && let Err(error) = module.finalize()
    {
        tracing::warn!(module = %path.display(), %error, "the PKCS#11 module did not end in order");
    }
}

fn pin(path: &Path) -> Result<AuthPin, TokenError> {
    let io = |error| TokenError::PinFile(path.to_owned(), error);
    let metadata = std::fs::metadata(path).map_err(io)?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        if metadata.permissions().mode() & 0o077 != 0 {
            return Err(TokenError::PinReadable(path.to_owned()));
        }
    }
    if metadata.len() > MAX_PIN_FILE {
        return Err(TokenError::PinForm(path.to_owned()));
    }
    let text = zeroize::Zeroizing::new(std::fs::read_to_string(path).map_err(io)?);
    match text.lines().next() {
        Some(line) if !line.is_empty() => Ok(AuthPin::new(line.into())),
        _ => Err(TokenError::PinForm(path.to_owned())),
    }
}

/// Why a token is of no use.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The module does not load.
    #[error("{}: is no PKCS#11 module that can be used: {what}; name the token's shared library, such as /usr/lib/softhsm/libsofthsm2.so", path.display())]
    Module {
        /// The shared library.
        path: PathBuf,
        /// What the loader said.
        what: String,
    },
    /// No such token.
    #[error("no token {token:?} in {} (there: {}): plug it in, or set token.label to one that is there", module.display(), if seen.is_empty() { "none" } else { seen })]
    Absent {
        /// The label that was looked for.
        token: String,
        /// Where.
        module: PathBuf,
        /// Labels of the tokens that are there.
        seen: String,
    },
    /// Two tokens of one label.
    #[error("two tokens are labelled {0:?}: pull one out, or rename it")]
    Twice(String),
    /// The PIN file cannot be read.
    #[error("{path}: {1}: write the token's user PIN on its first line, readable by its owner only", path = .0.display())]
    PinFile(PathBuf, std::io::Error),
    /// Others can read the PIN.
    #[error("{}: others can read the PIN: chmod 600 it, and change the PIN", .0.display())]
    PinReadable(PathBuf),
    /// Not a PIN.
    #[error("{}: the first line must be the token's user PIN", .0.display())]
    PinForm(PathBuf),
    /// A wrong PIN.
    #[error("the token {token:?} refuses the PIN in {}: correct it before the token locks", path.display())]
    Pin {
        /// The token.
        token: String,
        /// Where the PIN came from.
        path: PathBuf,
    },
    /// Too many wrong PINs.
    #[error(
        "the token {0:?} is locked after wrong PINs: unlock it with its security officer's PIN"
    )]
    Locked(String),
    /// A key that cannot be used.
    #[error("token {token:?}: the key {label:?} {what}")]
    Key {
        /// The token.
        token: String,
        /// The key's label in it.
        label: String,
        /// What is wrong, and the mend.
        what: &'static str,
    },
    /// The token is not as it must be; most often for a moment only.
    #[error(
        "the token {token:?} is in disorder ({what}): look at the log of its module; it may need its user PIN set, or a restart"
    )]
    Disorder {
        /// The token.
        token: String,
        /// What it said.
        what: String,
    },
    /// Anything else.
    #[error("the token {token:?} refused: {what}")]
    Refused {
        /// The token.
        token: String,
        /// What it said.
        what: String,
    },
}
