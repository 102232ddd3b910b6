//! Debian's `mosquitto_pub` and `mosquitto_sub`.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::house::port;
use super::{Authority, Finished, House, Identity, Running, need, until};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Version {
    V311,
    V5,
}

/// Both protocols that ordinary clients speak.
pub(crate) const VERSIONS: [Version; 2] = [Version::V311, Version::V5];

/// How long a client that is refused may go on trying.
const REFUSAL: Duration = Duration::from_secs(5);

/// Who connects, where to, trusting whom.
#[derive(Clone)]
pub(crate) struct Client {
    address: String,
    roots: PathBuf,
    identity: Option<Identity>,
    version: Version,
}

impl Client {
    pub(crate) fn new(house: &House, identity: &Identity, version: Version) -> Self {
        Self { identity: Some(identity.clone()), ..Self::without_certificate(house, version) }
    }

    pub(crate) fn without_certificate(house: &House, version: Version) -> Self {
        Self { address: house.mqtt.clone(), roots: house.roots(), identity: None, version }
    }

    /// The same at another address, such as a relay's.
    pub(crate) fn at(&self, address: &str) -> Self {
        Self { address: address.to_owned(), ..self.clone() }
    }

    /// The same, by the host's name.
    pub(crate) fn by_name(&self, host: &str) -> Self {
        self.at(&format!("{host}:{}", port(&self.address)))
    }

    /// The same, believing another authority.
    pub(crate) fn trusting(&self, authority: &Authority) -> Self {
        Self { roots: authority.roots(), ..self.clone() }
    }

    /// `mosquitto_pub`, ready to be run.
    pub(crate) fn publish_command(&self, qos: u8, topic: &str, payload: &str) -> Command {
        let mut command = self.publish_to(qos, topic);
        command.args(["-m", payload]);
        command
    }

    /// The same with a file's content.
    pub(crate) fn publish_file_command(&self, qos: u8, topic: &str, file: &Path) -> Command {
        let mut command = self.publish_to(qos, topic);
        command.arg("-f").arg(file);
        command
    }

    fn publish_to(&self, qos: u8, topic: &str) -> Command {
        let mut command = need("mosquitto_pub");
        self.connect(&mut command);
        command.args(["-q", &qos.to_string(), "-t", topic]);
        command
    }

    /// Publishes, and expects that to work.
    #[track_caller]
    pub(crate) fn publish(&self, qos: u8, topic: &str, payload: &str) -> Finished {
        Running::start(&mut self.publish_command(qos, topic, payload)).finish().with_code(0)
    }

    /// Tries to publish; `None` when the client was still trying to connect after a while.
    pub(crate) fn try_publish(&self, qos: u8, topic: &str, payload: &str) -> Option<Finished> {
        Running::start(&mut self.publish_command(qos, topic, payload)).end_within(REFUSAL)
    }

    /// Fails the test unless the client cannot get in at all.
    #[track_caller]
    pub(crate) fn is_refused(&self) {
        if let Some(ended) = self.let_in() {
            panic!("was let in: {ended}");
        }
    }

    /// Waits until it cannot: another process has decided so, and the gateway hears of it within a second.
    #[track_caller]
    pub(crate) fn comes_to_be_refused(&self) {
        until("the client is refused", || self.let_in().is_none().then_some(()));
    }

    /// How it got in, if it did. A client that gives up says so; one that tries for ever was not let in either.
    fn let_in(&self) -> Option<Finished> {
        let ended = self.try_publish(1, "things/nobody/properties/none", "0")?;
        (ended.code == Some(0)).then_some(ended)
    }

    /// `mosquitto_sub`, ready to be run; it prints `TOPIC PAYLOAD` lines and a line for each packet.
    pub(crate) fn subscribe_command(&self, qos: u8, filter: &str) -> Command {
        // Its output into a pipe would wait for 4 KiB otherwise.
        let mut command = need("stdbuf");
        command.args(["-oL", "-eL", "mosquitto_sub", "-d", "-v"]);
        need("mosquitto_sub");
        self.connect(&mut command);
        command.args(["-q", &qos.to_string(), "-t", filter]);
        command
    }

    /// A subscription that the gateway has acknowledged.
    #[track_caller]
    pub(crate) fn subscribe(&self, qos: u8, filter: &str) -> Subscription {
        let running = Running::start(&mut self.subscribe_command(qos, filter));
        running.wait_for("received SUBACK");
        Subscription(running)
    }

    fn connect(&self, command: &mut Command) {
        let (host, port) = self.address.rsplit_once(':').expect("host:port");
        command.args(["-h", host, "-p", port, "--cafile"]).arg(&self.roots);
        if let Some(identity) = &self.identity {
            command.arg("--cert").arg(&identity.crt).arg("--key").arg(&identity.key);
        }
        command.args(["-V", if self.version == Version::V5 { "5" } else { "311" }]);
    }
}

/// A running `mosquitto_sub`.
pub(crate) struct Subscription(pub(crate) Running);

impl Subscription {
    /// Waits for this message.
    #[track_caller]
    pub(crate) fn receives(&self, topic: &str, payload: &str) {
        self.0.wait_for(&format!("{topic} {payload}\n"));
    }

    /// Fails the test if this was heard. Meaningful after a later message was.
    #[track_caller]
    pub(crate) fn never_heard(&self, words: &str) {
        assert!(!self.0.stdout().contains(words), "{}", self.0.seen());
    }
}
