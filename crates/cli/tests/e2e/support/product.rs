//! A product behind the gate: a device with bindings, paired with a home that has no gateway.

use std::fs;
use std::path::{Path, PathBuf};

use super::{Authority, Device, Home, Running, countersign, program, until};

/// What lets the agent run in a container where there is nobody but root.
pub(crate) fn as_root() -> Option<&'static str> {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let users = status.lines().find(|line| line.starts_with("Uid:")).unwrap();
    users.split_whitespace().any(|user| user == "0").then_some("--allow-root")
}

/// A path as a text of TOML or of the command line.
pub(crate) fn path_text(path: &Path) -> &str {
    path.to_str().expect("a path of UTF-8")
}

pub(crate) struct Product {
    pub(crate) authority: Authority,
    pub(crate) device: Device,
    pub(crate) home: Home,
    running: Running,
}

impl Product {
    /// `bindings` gets the product's folder, and gives the text of its file.
    pub(crate) fn start(thing: &str, bindings: impl FnOnce(&Path) -> String) -> Self {
        let authority = Authority::new();
        let device = Device::provision(&authority, "plug-000001");
        let folder = authority.folder().join("product");
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("thing.td.json"), thing).unwrap();
        fs::write(folder.join("bindings.toml"), bindings(&folder)).unwrap();
        let running = Running::start(&mut Self::command(&authority, &device));
        let home = Home::new(&authority, "home");
        let product = Self { authority, device, home, running };
        let pairing = product.status("pairing");
        let roots = product.authority.roots();
        let label = product.device.label.clone();
        let place = ["--label", &label, "--device", &pairing, "--roots", path_text(&roots)];
        product.home.control("pair", &place).with_code(0);
        product.status("api");
        product
    }

    pub(crate) fn command(authority: &Authority, device: &Device) -> std::process::Command {
        let folder = authority.folder().join("product");
        let mut command = program(["device", "run", "--data"]);
        command.arg(device.data()).arg("--thing").arg(folder.join("thing.td.json"));
        command.arg("--bindings").arg(folder.join("bindings.toml"));
        command.arg("--ready-file").arg(folder.join("ready.json")).args(as_root());
        command
    }

    pub(crate) fn folder(&self) -> PathBuf {
        self.authority.folder().join("product")
    }

    /// The agent's process.
    pub(crate) fn id(&self) -> u32 {
        self.running.id()
    }

    pub(crate) fn said(&self) -> String {
        self.running.stderr()
    }

    /// A field of the ready file, as soon as it is a text.
    pub(crate) fn status(&self, field: &str) -> String {
        until(&format!("{field}: {}", self.running.seen()), || {
            let text = fs::read(self.folder().join("ready.json")).ok()?;
            let status: serde_json::Value = serde_json::from_slice(&text).ok()?;
            status[field].as_str().map(str::to_owned)
        })
    }

    /// Does something as the owner and gives what was printed.
    pub(crate) fn control(&self, command: &str, arguments: &[&str]) -> super::Finished {
        self.home.with(command, &self.device, arguments)
    }

    /// Checks the files that stand there now.
    pub(crate) fn check(&self) -> super::Finished {
        let folder = self.folder();
        let (thing, bindings) = (folder.join("thing.td.json"), folder.join("bindings.toml"));
        countersign(["device", "check", path_text(&thing), "--bindings", path_text(&bindings)])
    }
}
