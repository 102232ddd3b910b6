//! A device as a process, with its label, and the owner's side of it.

use std::fs;
use std::path::PathBuf;

use serde_json::Value;

use super::{Authority, Finished, House, Running, countersign, program, until};

/// The Thing Description of the simulated plug.
pub(crate) const THING: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/../device/things/plug.td.json");

/// A device out of the factory: its folder, and what is on its label.
pub(crate) struct Device {
    pub(crate) serial: String,
    folder: PathBuf,
    /// The QR code's text.
    pub(crate) label: String,
    /// The printed code.
    pub(crate) code: String,
    /// The address of its interfaces, where it has one of its own.
    pub(crate) address: Option<String>,
    process: Option<Running>,
}

impl Device {
    /// Makes one. It is not switched on.
    pub(crate) fn provision(authority: &Authority, serial: &str) -> Self {
        let factory = authority.folder().join("factory");
        let place = ["--serial", serial, "--out", factory.to_str().unwrap()];
        let ended = countersign(authority.command(&["provision"], &place)).with_code(0);
        let folder = factory.join(serial);
        let text = fs::read_to_string(folder.join(format!("{serial}.txt"))).unwrap();
        let (label, code) = text.trim().split_once('\n').expect("a label of two lines");
        assert!(!ended.stdout.contains(code), "the code is on the label and nowhere else");
        let (label, code) = (label.to_owned(), code.to_owned());
        Self { serial: serial.to_owned(), folder, label, code, address: None, process: None }
    }

    /// One whose folder is there already, without a label.
    pub(crate) fn at(folder: PathBuf, serial: &str) -> Self {
        let (serial, none) = (serial.to_owned(), String::new());
        Self { serial, folder, label: none.clone(), code: none, address: None, process: None }
    }

    /// What its ready file says now, if it says anything.
    pub(crate) fn status(&self) -> Option<Value> {
        serde_json::from_slice(&fs::read(self.ready_file()).ok()?).ok()
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.folder.join("device")
    }

    fn config(&self) -> PathBuf {
        self.folder.join("device.toml")
    }

    /// Gives it a configuration, from its next start on.
    pub(crate) fn configure(&self, text: &str) {
        fs::write(self.config(), text).unwrap();
    }

    fn ready_file(&self) -> PathBuf {
        self.folder.join("ready.json")
    }

    /// `device run`, ready to be started.
    pub(crate) fn command(&self) -> std::process::Command {
        let mut command = program(["device", "run", "--simulate", "plug", "--thing", THING]);
        command.arg("--data").arg(self.data()).arg("--ready-file").arg(self.ready_file());
        if self.config().exists() {
            command.arg("--config").arg(self.config());
        }
        command.args(self.address.iter().flat_map(|address| ["--address", address]));
        command
    }

    /// What it declares about itself, as it stands.
    pub(crate) fn declaration(&self) -> String {
        self.declaration_with(&[]).with_code(0).stdout
    }

    /// The same with more arguments, and whatever comes of it.
    pub(crate) fn declaration_with(&self, more: &[&str]) -> Finished {
        let (data, ready) = (self.data(), self.ready_file());
        let (data, ready) = (data.to_str().unwrap(), ready.to_str().unwrap());
        let place = ["--data", data, "--ready-file", ready, "--thing", THING];
        countersign(["device", "ixit"].iter().chain(&place).chain(more))
    }

    /// Switches it on and waits until it says how it stands.
    pub(crate) fn start(&mut self) {
        self.start_as(|_| {});
    }

    /// The same, the command changed by `with`.
    pub(crate) fn start_as(&mut self, with: impl FnOnce(&mut std::process::Command)) {
        let _ = fs::remove_file(self.ready_file());
        let mut command = self.command();
        with(&mut command);
        self.process = Some(Running::start(&mut command));
        self.status_where("it is there", |_| true);
    }

    /// The process's number.
    pub(crate) fn id(&self) -> u32 {
        self.process.as_ref().expect("it runs").id()
    }

    /// All that it has written so far.
    pub(crate) fn said(&self) -> String {
        self.process.as_ref().expect("it runs").seen()
    }

    /// `kill -9`: the plug is pulled.
    pub(crate) fn kill(&mut self) {
        self.process.take().expect("it runs").kill();
    }

    /// Its ready file, as soon as it says this.
    pub(crate) fn status_where(&mut self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let file = self.ready_file();
        let process = self.process.as_mut().expect("it runs");
        until(&format!("{}: {what}", self.serial), || {
            assert!(!process.has_ended(), "the device ended: {}", process.seen());
            serde_json::from_slice(&fs::read(&file).ok()?).ok().filter(&wanted)
        })
    }

    /// Where the pairing interface is.
    pub(crate) fn pairing(&mut self) -> String {
        let status = self.status_where("it can be paired", |status| status["pairing"].is_string());
        status["pairing"].as_str().unwrap().to_owned()
    }

    /// Waits until it is at the gateway.
    pub(crate) fn connected(&mut self) -> Value {
        self.status_where("the uplink is connected", |status| status["uplink"] == "connected")
    }
}

/// The owner's home.
pub(crate) struct Home {
    pub(crate) folder: PathBuf,
}

impl Home {
    pub(crate) fn new(authority: &Authority, name: &str) -> Self {
        Self { folder: authority.folder().join(name) }
    }

    /// `control COMMAND --home HOME ARGUMENTS…`, run to its end.
    pub(crate) fn control(&self, command: &str, arguments: &[&str]) -> Finished {
        let home = self.folder.to_str().unwrap();
        countersign(["control", command, "--home", home].iter().chain(arguments))
    }

    /// Tries to pair by what is on a label.
    pub(crate) fn pair(&self, house: &House, device: &mut Device, proof: &[&str]) -> Finished {
        let address = device.pairing();
        self.pair_at(house, &address, proof)
    }

    pub(crate) fn pair_at(&self, house: &House, address: &str, proof: &[&str]) -> Finished {
        let roots = house.roots();
        let place = ["--device", address, "--roots", roots.to_str().unwrap()];
        let platform = ["--mqtt", &house.mqtt, "--est", &house.est];
        self.control("pair", &[proof, &place, &platform].concat())
    }

    /// Something with a device, as its owner.
    pub(crate) fn with(&self, command: &str, device: &Device, arguments: &[&str]) -> Finished {
        self.control(command, &[&["--thing", &device.serial], arguments].concat())
    }
}
