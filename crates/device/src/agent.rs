//! The agent: wires the device in start-up order and lives its states.
//!
//! ```text
//!  start ─► Unowned ── paired ──► Initialised ── reset ──► Unowned …
//!             pairing interface      local API, uplink, enrolment
//!             and nothing else       and no pairing interface
//! ```
//! Each state is a type that owns its listeners and tasks; leaving it consumes them, so nothing of one state is open
//! in another. Both states share one loop over one closed set of events.

pub(crate) mod base;
mod button;
mod initialised;
mod telemetry;
mod unowned;

use crate::config::{Config, ConfigError};
use crate::data::{DataFolder, FactoryError, FolderError, StoreError};
use crate::functions::Functions;
use crate::identity::SlotError;
use crate::listeners::OpenListener;
use crate::policy::PolicyError;
use base::Base;
pub use button::Button;
use countersign_crypto::keystore::KeystoreError;
use countersign_crypto::seal::SealError;
use countersign_crypto::tls::TlsError;
use countersign_model::state::DeviceState;
use countersign_model::thing::ThingError;
use initialised::Initialised;
use std::future::Future;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::pin::{Pin, pin};
use std::sync::Arc;
use tokio::net::TcpListener;
use unowned::Unowned;

/// The request to stop.
type Shutdown<'a> = Pin<&'a mut (dyn Future<Output = ()> + Send)>;

/// What a state of the agent hears.
enum Event {
    /// Somebody has paired; here is the local API's socket.
    Paired(TcpListener),
    /// The pairing window is over.
    WindowOver,
    /// Somebody pressed the button.
    Pressed,
    /// The uplink, the identity or the crypto policy changed.
    Changed,
    /// An owner asked for a reset.
    Reset,
    /// Time to look at our own sockets.
    Look,
    /// A task that must not end has ended.
    Broken(AgentError),
    /// Stop.
    Stop,
}

/// The next state.
enum Life {
    Unowned(Unowned),
    Initialised(Initialised),
    Stopped,
}

/// Runs a device until `shutdown` is ready. It carries on from whatever a kill left behind.
///
/// # Errors
/// [`AgentError`]: before anything is served where the configuration, the folder or the environment is at fault;
/// later only when a listener appears that nobody declared.
pub async fn run(
    config: Config,
    functions: Arc<dyn Functions>,
    shutdown: impl Future<Output = ()> + Send,
) -> Result<(), AgentError> {
    run_with_button(config, functions, Button::new(), shutdown).await
}

/// As [`run`], for a device with a button: a press opens pairing for a while, and forgives wrong codes.
///
/// # Errors
/// As [`run`].
pub async fn run_with_button(
    config: Config,
    functions: Arc<dyn Functions>,
    button: Button,
    shutdown: impl Future<Output = ()> + Send,
) -> Result<(), AgentError> {
    let mut shutdown = pin!(shutdown);
    // 1. Everything that can be wrong is found before anything is served.
    let mut base = Base::open(config, functions, button)?;
    // 2. A reset that a kill interrupted is finished first.
    if base.state() == DeviceState::Resetting {
        base.forget_home()?;
    }
    // 3. The state decides what is open.
    let mut life = match base.state() {
        DeviceState::Initialised => Life::Initialised(Initialised::resume(base).await?),
        _ => Life::Unowned(Unowned::enter(base).await?),
    };
    loop {
        life = match life {
            Life::Unowned(unowned) => unowned.live(shutdown.as_mut()).await?,
            Life::Initialised(initialised) => initialised.live(shutdown.as_mut()).await?,
            Life::Stopped => return Ok(()),
        };
    }
}

/// Destroys what a stopped device knows of its home, and returns it to *factory-default*: the button on its back.
///
/// # Errors
/// [`AgentError::Folder`] while a process runs on the folder.
pub fn reset(data: &Path) -> Result<(), AgentError> {
    let folder = DataFolder::open(data)?;
    base::reset_folder(&folder)
}

/// Why a device does not run.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// Configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The Thing Description cannot be used.
    #[error("{path}: {errors}", path = .0.display(), errors = list(.1))]
    Thing(PathBuf, Vec<ThingError>),
    /// A file cannot be read.
    #[error("{path}: {1}", path = .0.display())]
    File(PathBuf, std::io::Error),
    /// The data folder.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// The factory identity.
    #[error(transparent)]
    Factory(#[from] FactoryError),
    /// The state.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The sealing key.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// The keystore.
    #[error(transparent)]
    Keystore(#[from] KeystoreError),
    /// The operational identity.
    #[error(transparent)]
    Slot(#[from] SlotError),
    /// The crypto policies.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// TLS cannot be set up with what the device has.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// An address cannot be listened on.
    #[error("{0}: {1}: end what listens there, or set another {2}.listen")]
    Listen(SocketAddr, std::io::Error, &'static str),
    /// Our own sockets cannot be looked at.
    #[error("/proc: {0}: the agent must be able to see its own listeners")]
    Proc(std::io::Error),
    /// A listener that the description does not know. EN 303 645, 5.5-5.
    #[error(
        "undeclared listener {0}: declare it under product_listeners with its purpose, or close it"
    )]
    Undeclared(OpenListener),
    /// The device is to announce itself, and its description does not say so. EN 303 645, 5.5-5.
    #[error(
        "{}: discovery.announce = \"always\" needs {{\"protocol\": \"mDNS\", \"reason\": …}} among countersign:networkServices; add it, or announce \"never\"",
        .0.display()
    )]
    NotDeclared(PathBuf),
    /// The product can be reached without the gate.
    #[error(
        "the product behind the gate can be reached beside it, at tcp {0}: bind it to 127.0.0.1 or to a Unix socket"
    )]
    Beside(SocketAddr),
    /// A part of the agent ended by itself.
    #[error("the agent's {0} ended unexpectedly: this is a fault of the agent")]
    Ended(&'static str),
}

fn list(errors: &[ThingError]) -> String {
    errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}
