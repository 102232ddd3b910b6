//! A data folder with `serve` on it, and the identities that it gives out.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use super::{Running, countersign, program, until};

/// Key and certificate of somebody, as files.
#[derive(Debug, Clone)]
pub(crate) struct Identity {
    pub(crate) key: PathBuf,
    pub(crate) crt: PathBuf,
}

/// An authority: a data folder after its ceremony.
pub(crate) struct Authority {
    folder: TempDir,
}

impl Authority {
    /// A folder without a ceremony.
    pub(crate) fn without_ceremony() -> Self {
        Self { folder: TempDir::new().unwrap() }
    }

    /// A folder with one.
    pub(crate) fn new() -> Self {
        let authority = Self::without_ceremony();
        countersign([
            "authority".as_ref(),
            "ceremony".as_ref(),
            "--data".as_ref(),
            authority.data().as_os_str(),
        ])
        .with_code(0);
        authority
    }

    /// Room for the test's own files.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    pub(crate) fn roots(&self) -> PathBuf {
        self.data().join("roots.pem")
    }

    /// Where identities are written.
    pub(crate) fn out(&self) -> PathBuf {
        self.folder.path().join("out")
    }

    /// `authority COMMAND --data DATA ARGUMENTS…`, ready to be run.
    pub(crate) fn command(&self, command: &[&str], arguments: &[&str]) -> Vec<OsString> {
        let mut all: Vec<OsString> = vec!["authority".into()];
        all.extend(command.iter().map(OsString::from));
        all.extend(["--data".into(), self.data().into_os_string()]);
        all.extend(arguments.iter().map(OsString::from));
        all
    }

    /// `authority enrol` into [`Authority::out`], ready to be run.
    pub(crate) fn enrol_command(&self, arguments: &[&str]) -> Vec<OsString> {
        let mut all = self.command(&["enrol"], arguments);
        all.extend(["--out".into(), self.out().into_os_string()]);
        all
    }

    pub(crate) fn device(&self, name: &str) -> Identity {
        countersign(self.enrol_command(&["--profile", "device", "--name", name])).with_code(0);
        self.identity(name)
    }

    pub(crate) fn service(&self, name: &str, grants: &[&str]) -> Identity {
        let mut arguments = vec!["--profile", "service", "--name", name];
        arguments.extend(grants.iter().flat_map(|grant| ["--grant", grant]));
        countersign(self.enrol_command(&arguments)).with_code(0);
        self.identity(name)
    }

    pub(crate) fn identity(&self, name: &str) -> Identity {
        let file = |ending: &str| self.out().join(format!("{name}.{ending}"));
        Identity { key: file("key"), crt: file("crt") }
    }
}

/// A running house: an authority with `serve` on it.
pub(crate) struct House {
    authority: Authority,
    serve: Option<Running>,
    pub(crate) mqtt: String,
    pub(crate) est: String,
    pub(crate) admin: String,
}

impl std::ops::Deref for House {
    type Target = Authority;
    fn deref(&self) -> &Authority {
        &self.authority
    }
}

impl House {
    /// A fresh one: `serve` holds the ceremony itself.
    pub(crate) fn new() -> Self {
        Self::on(Authority::without_ceremony())
    }

    /// One on this folder.
    pub(crate) fn on(authority: Authority) -> Self {
        let mut house = Self { authority, ..Self::stopped() };
        house.start();
        house
    }

    /// One on a new folder, not started yet.
    pub(crate) fn stopped() -> Self {
        let any = ":0".to_owned();
        let authority = Authority::without_ceremony();
        Self { authority, serve: None, mqtt: any.clone(), est: any.clone(), admin: any }
    }

    /// `serve` with the house's addresses, ready to be started.
    pub(crate) fn serve_command(&self) -> Vec<OsString> {
        let mut all: Vec<OsString> = ["serve", "--mqtt", &self.mqtt, "--est", &self.est]
            .into_iter()
            .map(OsString::from)
            .collect();
        all.extend(["--admin".into(), (&self.admin).into(), "--data".into(), self.data().into()]);
        all.extend(["--ready-file".into(), self.ready_file().into_os_string()]);
        all
    }

    pub(crate) fn ready_file(&self) -> PathBuf {
        self.folder().join("ready.json")
    }

    /// Starts `serve`; after a stop, on the same ports.
    pub(crate) fn start(&mut self) {
        self.start_as(|command| command);
    }

    /// The same, the command changed by `with`: its environment, for instance.
    pub(crate) fn start_as(&mut self, with: impl FnOnce(Command) -> Command) {
        let file = self.ready_file();
        let _ = fs::remove_file(&file);
        let mut serve = Running::start(&mut with(program(self.serve_command())));
        let ready: serde_json::Value = until("serve is ready", || {
            assert!(!serve.has_ended(), "serve ended early: {}", serve.seen());
            serde_json::from_slice(&fs::read(&file).ok()?).ok()
        });
        let field = |name: &str| {
            ready[name].as_str().unwrap_or_else(|| panic!("{name} in {ready}")).to_owned()
        };
        (self.mqtt, self.est, self.admin) = (field("mqtt"), field("est"), field("admin"));
        assert_eq!(
            fs::read(field("roots")).unwrap(),
            fs::read(self.roots()).unwrap(),
            "the ready file names the roots"
        );
        self.serve = Some(serve);
    }

    /// `kill -9`.
    pub(crate) fn kill(&mut self) {
        self.running().kill();
    }

    /// The process's number.
    pub(crate) fn id(&self) -> u32 {
        self.serve.as_ref().expect("serve is running").id()
    }

    /// All that `serve` has written so far.
    pub(crate) fn said(&self) -> String {
        self.serve.as_ref().expect("serve is running").seen()
    }

    /// The process, by move: for tests of how it ends.
    pub(crate) fn running(&mut self) -> Running {
        self.serve.take().expect("serve is running")
    }

    /// Fails the test when `serve` is gone or said that it panicked.
    #[track_caller]
    pub(crate) fn is_well(&mut self) {
        let serve = self.serve.as_mut().expect("serve is running");
        assert!(!serve.has_ended(), "serve ended: {}", serve.seen());
        assert!(!serve.stderr().contains("panicked"), "{}", serve.seen());
    }
}

/// The port of a `host:port`.
pub(crate) fn port(address: &str) -> &str {
    address.rsplit_once(':').expect("host:port").1
}
