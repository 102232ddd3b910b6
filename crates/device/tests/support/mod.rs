//! A maker, a home and a running device, all in this process and on loopback addresses.
#![allow(dead_code, unreachable_pub, reason = "each test file uses its part")]
#![allow(clippy::unwrap_used)]

pub mod client;
pub mod maker;
pub mod platform;

use countersign_crypto::pake::{PakeParams, derive};
use countersign_crypto::signature::{KeyHandle, SignatureAlgorithm};
use countersign_device::agent::{self, AgentError, Button};
use countersign_device::config::Config;
use countersign_device::data::{Blank, PolicyAuthority};
use countersign_device::functions::{Functions, SimulatedPlug};
use countersign_device::listeners::open_listeners;
use countersign_model::label::SetupCode;
use maker::Maker;
use serde_json::Value;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Mutex, MutexGuard, oneshot};
use tokio::task::JoinHandle;

/// The agent looks at every socket of its process, so one world at a time.
static ONE_AT_A_TIME: Mutex<()> = Mutex::const_new(());

pub const THING: &str = "plug-000001";
pub const WAIT: Duration = Duration::from_secs(20);

/// A device in its box, with its maker.
pub struct World {
    pub maker: Maker,
    pub policy_key: KeyHandle,
    pub folder: tempfile::TempDir,
    pub config: Config,
    _turn: MutexGuard<'static, ()>,
}

/// A device that runs.
pub struct Running {
    stop: Option<oneshot::Sender<()>>,
    pub button: Button,
    pub task: JoinHandle<Result<(), AgentError>>,
    status: std::path::PathBuf,
    ip: IpAddr,
}

pub fn code() -> SetupCode {
    SetupCode::from_entropy([7; 17])
}

impl World {
    /// `ip` is the device's own loopback address.
    pub async fn new(ip: [u8; 4]) -> Self {
        let turn = ONE_AT_A_TIME.lock().await;
        let maker = Maker::new();
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        let policy_key = KeyHandle::ephemeral(SignatureAlgorithm::EcdsaP256Sha256).unwrap();
        provision(&maker, &data, &policy_key);
        let any = SocketAddr::new(IpAddr::from(ip), 0);
        let mut config = Config {
            data,
            thing: Path::new(env!("CARGO_MANIFEST_DIR")).join("things/plug.td.json"),
            ready_file: Some(folder.path().join("ready.json")),
            ..Config::default()
        };
        config.pairing.listen = any;
        config.api.listen = any;
        config.telemetry.interval_ms = 100;
        Self { maker, policy_key, folder, config, _turn: turn }
    }

    pub fn start(&self) -> Running {
        self.start_with(Arc::new(SimulatedPlug::new()))
    }

    pub fn start_with(&self, product: Arc<dyn Functions>) -> Running {
        let status = self.config.ready_file.clone().unwrap();
        let _ = std::fs::remove_file(&status);
        let (stop, stopped) = oneshot::channel::<()>();
        let config = self.config.clone();
        let button = Button::new();
        let pressed = button.clone();
        let task = tokio::spawn(async move {
            let stopped = async {
                let _ = stopped.await;
            };
            agent::run_with_button(config, product, pressed, stopped).await
        });
        Running { stop: Some(stop), button, task, status, ip: self.config.api.listen.ip() }
    }
}

/// Whose policies the device takes.
pub const MAKER: &str = "Example Works";

fn provision(maker: &Maker, data: &Path, policy_key: &KeyHandle) {
    let thing = THING.parse().unwrap();
    let blank = Blank::prepare(data, THING.parse().unwrap(), SignatureAlgorithm::EcdsaP256Sha256);
    let blank = blank.unwrap();
    let chain = maker.idevid(THING, &blank.request().unwrap());
    let params = PakeParams::new([1; 16], PakeParams::MIN_MEMORY_KIB, 1, 1).unwrap();
    let verifier = derive(&code(), &thing, &params).unwrap().record();
    let spki_der = policy_key.spki_der().to_vec();
    let policy = PolicyAuthority { maker: MAKER.to_owned(), spki_der, second_spki_der: None };
    let roots = std::slice::from_ref(&maker.root);
    blank.provision(&chain, roots, &params, &verifier, &policy).unwrap();
}

impl Running {
    /// Waits until the ready file says what `wanted` asks for.
    pub async fn until(&self, wanted: impl Fn(&Value) -> bool) -> Value {
        let deadline = tokio::time::Instant::now() + WAIT;
        loop {
            let text = std::fs::read(&self.status).unwrap_or_default();
            let status: Value = serde_json::from_slice(&text).unwrap_or_default();
            if wanted(&status) {
                return status;
            }
            assert!(!self.task.is_finished(), "the agent ended; it last said {status}");
            assert!(tokio::time::Instant::now() < deadline, "it says {status}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Where it can be paired.
    pub async fn pairing(&self) -> SocketAddr {
        let status = self.until(|status| status["pairing"].is_string()).await;
        status["pairing"].as_str().unwrap().parse().unwrap()
    }

    /// Where its local API is.
    pub async fn api(&self) -> SocketAddr {
        let status = self.until(|status| status["api"].is_string()).await;
        status["api"].as_str().unwrap().parse().unwrap()
    }

    /// As `kill -9`: nothing is said goodbye to.
    pub async fn kill(self) {
        self.task.abort();
        let _ = self.task.await;
        // The kernel closes a killed process's sockets at once; the runtime closes an aborted task's a moment later.
        let still_open = || {
            let open = open_listeners().unwrap();
            open.iter().any(|listener| listener.address.ip() == self.ip)
        };
        while still_open() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    pub async fn stop(mut self) -> Result<(), AgentError> {
        let _ = self.stop.take().unwrap().send(());
        self.task.await.unwrap()
    }
}
