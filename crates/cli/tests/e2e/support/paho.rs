//! Debian's paho-mqtt, driven line by line.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, Command};

use serde_json::{Value, json};

use super::{House, Identity, Running, Version, need};

/// What a client asks of its session.
#[derive(Clone, Copy)]
pub(crate) struct Session<'a> {
    pub(crate) version: Version,
    pub(crate) client_id: &'a str,
    /// Whether it begins anew and ends with the connection.
    pub(crate) clean: bool,
}

/// A running client. Its events are read in the order in which they happened.
pub(crate) struct Paho {
    running: Running,
    input: ChildStdin,
    read: usize,
}

impl Paho {
    /// Starts a client and waits for the gateway's answer to its CONNECT, which must be 0.
    #[track_caller]
    pub(crate) fn connect(house: &House, who: &Identity, session: Session<'_>) -> (Self, Value) {
        let mut client = Self::start(house, who, session);
        let answer = client.next("connected");
        assert_eq!(answer["code"], 0, "CONNECT was refused: {}", client.running.seen());
        (client, answer)
    }

    pub(crate) fn start(house: &House, who: &Identity, session: Session<'_>) -> Self {
        let (host, port) = house.mqtt.rsplit_once(':').unwrap();
        let wanted = json!({
            "host": host, "port": port.parse::<u16>().unwrap(),
            "roots": house.roots(), "crt": who.crt, "key": who.key,
            "version": if session.version == Version::V5 { 5 } else { 4 },
            "client_id": session.client_id, "clean": session.clean,
        });
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/e2e/support/mqtt_client.py");
        let mut running = Running::start(python().arg("-u").arg(script).arg(wanted.to_string()));
        let input = running.input();
        Self { running, input, read: 0 }
    }

    pub(crate) fn subscribe(&mut self, filter: &str, qos: u8) -> Value {
        self.tell(&json!({"do": "subscribe", "filter": filter, "qos": qos}));
        self.next("subscribed")
    }

    /// Publishes and does not wait for anything.
    pub(crate) fn send(&mut self, topic: &str, payload: &str, qos: u8) {
        self.tell(&json!({"do": "publish", "topic": topic, "payload": payload, "qos": qos}));
    }

    /// Publishes and waits until the client counts it as done.
    pub(crate) fn publish(&mut self, topic: &str, payload: &str, qos: u8) {
        self.send(topic, payload, qos);
        self.next("acknowledged");
    }

    /// Leaves with a DISCONNECT.
    pub(crate) fn leave(mut self) {
        self.tell(&json!({"do": "leave"}));
        drop(self.input);
        self.running.finish();
    }

    /// The next event of this kind; others before it are passed over.
    #[track_caller]
    pub(crate) fn next(&mut self, event: &str) -> Value {
        loop {
            let line = self.running.lines(self.read, 1).swap_remove(0);
            self.read += 1;
            let seen: Value = serde_json::from_str(&line).unwrap();
            if seen["event"] == event {
                return seen;
            }
        }
    }

    /// The next message: topic and payload.
    #[track_caller]
    pub(crate) fn message(&mut self) -> (String, String) {
        let message = self.next("message");
        let text = |name: &str| message[name].as_str().unwrap().to_owned();
        (text("topic"), text("payload"))
    }

    /// Every event so far, the first included.
    pub(crate) fn events(&self) -> Vec<Value> {
        let text = self.running.stdout();
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        whole.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    fn tell(&mut self, order: &Value) {
        writeln!(self.input, "{order}")
            .unwrap_or_else(|_| panic!("paho is gone: {}", self.running.seen()));
    }
}

/// The system's own Python, which has Debian's packages whatever else is on the path.
fn python() -> Command {
    let python = PathBuf::from("/usr/bin/python3");
    let has_paho = Command::new(&python).args(["-c", "import paho.mqtt.client"]).output();
    let installed = has_paho.is_ok_and(|output| output.status.success());
    assert!(
        installed,
        "/usr/bin/python3 with paho-mqtt is not installed: `./test` installs what the tests need"
    );
    need(python.to_str().unwrap())
}
