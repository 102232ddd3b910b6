//! How a command ends badly: what to say, and the exit code.

use std::fmt::Display;
use std::path::Path;

/// Found something: a FAIL, a refusal.
pub(crate) const FOUND: u8 = 1;
/// Usage or environment.
pub(crate) const ENVIRONMENT: u8 = 2;

/// An end other than success.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) code: u8,
    pub(crate) text: String,
}

/// What every command returns.
pub(crate) type Ended<T = ()> = Result<T, Failure>;

impl Failure {
    /// The command worked and found something that is not as it should be.
    pub(crate) fn found(text: impl Into<String>) -> Self {
        Self { code: FOUND, text: text.into() }
    }

    /// The command could not do its work.
    pub(crate) fn environment(text: impl Into<String>) -> Self {
        Self { code: ENVIRONMENT, text: text.into() }
    }
}

/// Errors of the parts are the environment's unless a command says otherwise; each names its file or field already.
impl<E: std::error::Error> From<E> for Failure {
    fn from(error: E) -> Self {
        let mut text = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            let cause_text = cause.to_string();
            if !text.contains(&cause_text) {
                text = format!("{text}: {cause_text}");
            }
            source = cause.source();
        }
        Self::environment(text)
    }
}

/// Puts the file or address in front of an error that does not know it.
pub(crate) trait Named<T> {
    fn named(self, what: impl Display) -> Ended<T>;
    fn at(self, path: &Path) -> Ended<T>;
}

impl<T, E: Display> Named<T> for Result<T, E> {
    fn named(self, what: impl Display) -> Ended<T> {
        self.map_err(|error| Failure::environment(format!("{what}: {error}")))
    }

    fn at(self, path: &Path) -> Ended<T> {
        self.map_err(|error| {
            let (text, path) = (error.to_string(), path.display().to_string());
            Failure::environment(if text.contains(&path) {
                text
            } else {
                format!("{path}: {text}")
            })
        })
    }
}
