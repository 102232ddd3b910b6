//! Bindings: what stands behind each affordance of a Thing Description, so that an existing product gets a gate without a
//! line of code.
//!
//! ```text
//!  BINDINGS.toml ─► raw ─► compile (pure, every fault by its place) ─► surroundings (files, programs, keys)
//!                                        │
//!                     Bindings ◄─────────┘        each: a file · a command · HTTP on loopback · a Unix socket
//! ```
//! | In the file | Means |
//! |---|---|
//! | `read = { file = "/sys/class/leds/led0/brightness", format = "number" }` | the file's content |
//! | `write = { command = ["/usr/bin/relay", "set"] }` | the value as JSON on standard input; no shell |
//! | `read = { http = "GET /status", pointer = "/watts" }` | that place in the answer of the product at `[http]` |
//! | `read = { socket = true }` | the program at `[socket]`, see [`crate::functions::socket`] |
//! | `rest = "socket"` | the same for every affordance that is not named |

mod check;
mod format;
mod raw;

pub use format::Format;
pub use raw::Limits;

use crate::sandbox::Sandbox;
use countersign_model::id::AffordanceName;
use countersign_model::thing::ThingDescription;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Largest bindings file, in bytes: every affordance of the largest description, each with a long path.
pub const MAX_FILE: u64 = 256 * 1024;

/// Bindings that fit their Thing Description.
#[derive(Debug, Clone, PartialEq)]
pub struct Bindings {
    pub(crate) limits: Limits,
    pub(crate) sandbox: Sandbox,
    pub(crate) http: Option<HttpAt>,
    pub(crate) socket: Option<SocketAt>,
    pub(crate) properties: BTreeMap<AffordanceName, Property>,
    pub(crate) actions: BTreeMap<AffordanceName, Binding>,
    pub(crate) events: BTreeMap<AffordanceName, Watch>,
    /// The folder of the file: where relative paths start.
    base: PathBuf,
}

/// What stands behind a property.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Property {
    pub(crate) read: Option<Binding>,
    pub(crate) write: Option<Binding>,
}

/// What stands behind one operation.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Binding {
    pub(crate) source: Source,
    pub(crate) format: Format,
}

/// Where an event comes from.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Watch {
    pub(crate) binding: Binding,
    /// Between two looks at what has to be asked.
    pub(crate) every: Duration,
}

/// Where a value is.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Source {
    File { path: PathBuf, replace: bool },
    Command { program: PathBuf, arguments: Vec<String>, sandbox: Sandbox },
    Http { method: String, path: String, pointer: String },
    Socket,
}

/// Where the product speaks HTTP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum HttpAt {
    Loopback(SocketAddr),
    Unix(SocketAt),
}

/// A Unix socket of the product's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SocketAt {
    pub(crate) path: PathBuf,
    /// The user that the product runs as; none: the agent's own, or root.
    pub(crate) user: Option<u32>,
}

impl Bindings {
    pub(crate) fn starts_programs(&self) -> bool {
        let properties = self.properties.values();
        let mut every = properties
            .flat_map(|property| [property.read.as_ref(), property.write.as_ref()])
            .flatten()
            .chain(self.actions.values())
            .chain(self.events.values().map(|watch| &watch.binding));
        every.any(|binding| matches!(binding.source, Source::Command { .. }))
    }

    /// Reads a file and checks it against a Thing Description and against this machine. No program may come to read
    /// `data`, the device's data folder, where there is one already.
    ///
    /// # Errors
    /// Every fault, with the file, the place in it and the mend.
    pub fn read(
        path: &Path,
        thing: &ThingDescription,
        data: Option<&Path>,
    ) -> Result<Self, BindingsError> {
        let fault = |text: String| BindingsError { file: path.to_owned(), faults: vec![text] };
        let about = std::fs::metadata(path).map_err(|error| fault(error.to_string()))?;
        if about.len() > MAX_FILE {
            return Err(fault(format!("is larger than {MAX_FILE} bytes")));
        }
        let text = std::fs::read_to_string(path).map_err(|error| fault(error.to_string()))?;
        let base = path.parent().unwrap_or(Path::new(""));
        let base = if base.as_os_str().is_empty() { Path::new(".") } else { base };
        let base = base.canonicalize().map_err(|error| fault(error.to_string()))?;
        let (bindings, mut faults) = Self::compile(&text, &base, thing);
        if let (Some(mut bindings), true) = (bindings, faults.is_empty()) {
            faults = bindings.surroundings(data);
            if faults.is_empty() {
                return Ok(bindings);
            }
        }
        Err(BindingsError { file: path.to_owned(), faults })
    }
}

/// Bindings that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}: {}", .file.display(), .faults.join("; "))]
pub struct BindingsError {
    /// The file.
    pub file: PathBuf,
    /// Each with its place and the mend.
    pub faults: Vec<String>,
}
