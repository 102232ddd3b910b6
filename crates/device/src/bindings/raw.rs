//! Bindings as they stand in the file, and their way to [`Bindings`]. No I/O.

use super::{Binding, Bindings, Format, HttpAt, Property, SocketAt, Source, Watch};
use crate::sandbox::Sandbox;
use countersign_model::thing::ThingDescription;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Between two looks at the source of an event, in milliseconds, where the file does not say.
const EVERY_MS: u64 = 1_000;

/// Methods that a product may be asked with.
const METHODS: [&str; 5] = ["GET", "PUT", "POST", "PATCH", "DELETE"];

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Raw {
    limits: Limits,
    sandbox: Sandbox,
    http: Option<RawHttp>,
    socket: Option<RawSocket>,
    /// What stands behind all that is not named.
    pub(super) rest: Option<Rest>,
    pub(super) properties: BTreeMap<String, RawProperty>,
    pub(super) actions: BTreeMap<String, Entry>,
    pub(super) events: BTreeMap<String, Entry>,
}

/// Limits of every call: `[limits]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Milliseconds that one call may take, 100 to 60000.
    pub time_ms: u64,
    /// Most bytes of one answer, 64 to 65536.
    pub output_bytes: usize,
    /// Most calls at once; more wait their turn, 1 to 64.
    pub at_once: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { time_ms: 10_000, output_bytes: 64 * 1024, at_once: 4 }
    }
}

impl Limits {
    pub(crate) const fn time(&self) -> Duration {
        Duration::from_millis(self.time_ms)
    }

    fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        for (field, value, least, most) in [
            ("time_ms", self.time_ms, 100, 60_000),
            ("output_bytes", self.output_bytes as u64, 64, 64 * 1024),
            ("at_once", self.at_once as u64, 1, 64),
        ] {
            if !(least..=most).contains(&value) {
                faults.push(format!("limits.{field}: use {least} to {most}"));
            }
        }
        faults
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawHttp {
    base: String,
    user: Option<u32>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawSocket {
    path: PathBuf,
    user: Option<u32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Rest {
    Socket,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawProperty {
    pub(super) read: Option<Entry>,
    pub(super) write: Option<Entry>,
}

/// One operation's entry: exactly one of `file`, `command`, `http` and `socket`, and what belongs to it.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Entry {
    file: Option<PathBuf>,
    command: Option<Vec<String>>,
    http: Option<String>,
    socket: Option<bool>,
    format: Option<String>,
    /// Of `format = "number"`: the value is what stands there, times this.
    scale: Option<f64>,
    /// Of `format = "boolean"`: the words for false and true.
    words: Option<[String; 2]>,
    /// Of `http`: where in the body the value stands (RFC 6901).
    pointer: Option<String>,
    /// Of `file`: written as a whole beside it and put in its place; otherwise in place, as `/sys` and `/proc` need it.
    replace: Option<bool>,
    /// Of `command`: beside what `[sandbox]` allows.
    network: Option<bool>,
    /// Of an event that has to be looked for: milliseconds between two looks.
    every_ms: Option<u64>,
}

impl Bindings {
    /// The bindings, and every fault of the text. Nothing of the machine is looked at.
    pub(crate) fn compile(
        text: &str,
        base: &Path,
        thing: &ThingDescription,
    ) -> (Option<Self>, Vec<String>) {
        let raw: Raw = match toml::from_str(text) {
            Ok(raw) => raw,
            Err(error) => return (None, vec![error.to_string()]),
        };
        let sandbox = raw.sandbox.clone().based_at(base);
        let faults = raw.limits.faults();
        let mut made = Making { base, sandbox, faults, http: false, socket: false };
        let (properties, actions, events) = made.against(&raw, thing);
        let http = raw.http.and_then(|http| made.http_at(&http));
        let socket =
            raw.socket.map(|socket| SocketAt { path: base.join(socket.path), user: socket.user });
        for (used, there, table) in
            [(made.http, http.is_some(), "http"), (made.socket, socket.is_some(), "socket")]
        {
            match (used, there) {
                (true, false) => made.faults.push(format!("[{table}]: is used and not said where")),
                (false, true) => made.faults.push(format!("[{table}]: nothing is bound to it")),
                _ => {}
            }
        }
        let Making { sandbox, faults, .. } = made;
        let limits = raw.limits;
        let base = base.to_owned();
        let bindings = Self { limits, sandbox, http, socket, properties, actions, events, base };
        (Some(bindings), faults)
    }
}

/// What is gathered on the way.
pub(super) struct Making<'a> {
    base: &'a Path,
    sandbox: Sandbox,
    pub(super) faults: Vec<String>,
    http: bool,
    pub(super) socket: bool,
}

impl Making<'_> {
    pub(super) fn fault(&mut self, at: &str, text: &str) {
        self.faults.push(format!("{at}: {text}"));
    }

    /// An entry of `at`.
    pub(super) fn binding(&mut self, at: &str, entry: &Entry) -> Option<Binding> {
        let named = [
            entry.file.is_some(),
            entry.command.is_some(),
            entry.http.is_some(),
            entry.socket.is_some(),
        ];
        if named.iter().filter(|there| **there).count() != 1 {
            self.fault(at, "write exactly one of file, command, http and socket");
            return None;
        }
        for (there, with, field) in [
            (entry.pointer.is_some(), named[2], "pointer"),
            (entry.replace.is_some(), named[0], "replace"),
            (entry.network.is_some(), named[1], "network"),
            (entry.format.is_some(), named[0] || named[1], "format"),
        ] {
            if there && !with {
                self.fault(at, &format!("{field}: means nothing here; take it out"));
            }
        }
        let format = self.format(at, entry)?;
        let source = self.source(at, entry)?;
        Some(Binding { source, format })
    }

    pub(super) fn watch(&mut self, at: &str, entry: &Entry) -> Option<Watch> {
        let binding = self.binding(at, entry)?;
        let asked = matches!(binding.source, Source::File { .. } | Source::Http { .. });
        let every = entry.every_ms.unwrap_or(EVERY_MS);
        if entry.every_ms.is_some() && !asked {
            self.fault(at, "every_ms: is for file and http; take it out");
        }
        if !(100..=3_600_000).contains(&every) {
            self.fault(at, "every_ms: use 100 to 3600000");
        }
        Some(Watch { binding, every: Duration::from_millis(every) })
    }

    /// For what is not watched.
    pub(super) fn once(&mut self, at: &str, entry: &Entry) -> Option<Binding> {
        if entry.every_ms.is_some() {
            self.fault(at, "every_ms: is for events; take it out");
        }
        self.binding(at, entry)
    }

    fn format(&mut self, at: &str, entry: &Entry) -> Option<Format> {
        let named = entry.format.as_deref().unwrap_or("json");
        if entry.scale.is_some() && named != "number" {
            self.fault(at, "scale: needs format = \"number\"");
        }
        if entry.words.is_some() && named != "boolean" {
            self.fault(at, "words: needs format = \"boolean\"");
        }
        let scale = entry.scale.unwrap_or(1.0);
        if !scale.is_normal() {
            self.fault(at, "scale: use a number that is not 0");
        }
        let words = entry.words.clone().unwrap_or(["0".to_owned(), "1".to_owned()]);
        if words[0] == words[1] {
            self.fault(at, "words: false and true must differ");
        }
        match named {
            "json" => Some(Format::Json),
            "text" => Some(Format::Text),
            "number" => Some(Format::Number { scale }),
            "boolean" => Some(Format::Boolean { words }),
            _ => {
                self.fault(at, "format: use json, text, number or boolean");
                None
            }
        }
    }

    fn source(&mut self, at: &str, entry: &Entry) -> Option<Source> {
        if let Some(path) = &entry.file {
            let path = self.base.join(path);
            let of_kernel = ["/sys", "/proc", "/dev"].iter().any(|root| path.starts_with(root));
            let replace = entry.replace.unwrap_or(!of_kernel);
            return Some(Source::File { path, replace });
        }
        if let Some(command) = &entry.command {
            let Some((program, arguments)) = command.split_first() else {
                self.fault(at, "command: name the program and its arguments, as a list");
                return None;
            };
            let mut sandbox = self.sandbox.clone();
            sandbox.network |= entry.network.unwrap_or(false);
            // Where it is, is asked of the machine later.
            return Some(Source::Command {
                program: program.into(),
                arguments: arguments.to_vec(),
                sandbox,
            });
        }
        if let Some(call) = &entry.http {
            self.http = true;
            return self.http_call(at, call, entry.pointer.as_deref().unwrap_or_default());
        }
        if entry.socket == Some(false) {
            self.fault(at, "socket: write true, or another source");
            return None;
        }
        self.socket = true;
        Some(Source::Socket)
    }

    fn http_call(&mut self, at: &str, call: &str, pointer: &str) -> Option<Source> {
        let Some((method, path)) = call.split_once(' ') else {
            self.fault(at, "http: write method and path, as \"GET /status\"");
            return None;
        };
        if !METHODS.contains(&method) {
            self.fault(at, &format!("http: the method is one of {}", METHODS.join(", ")));
        }
        let plain = path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#');
        if !path.starts_with('/') || !plain {
            self.fault(at, "http: the path begins with / and has no blanks and no #");
        }
        if !pointer.is_empty() && !pointer.starts_with('/') {
            self.fault(at, "pointer: begins with /, as \"/state/on\"");
        }
        let (method, path, pointer) = (method.to_owned(), path.to_owned(), pointer.to_owned());
        Some(Source::Http { method, path, pointer })
    }

    //= specs/house.md#house-bindings
    //# A product behind the gate MUST be reached over loopback or a Unix socket only.
    fn http_at(&mut self, http: &RawHttp) -> Option<HttpAt> {
        if let Some(path) = http.base.strip_prefix("unix:") {
            return Some(HttpAt::Unix(SocketAt { path: self.base.join(path), user: http.user }));
        }
        if http.user.is_some() {
            self.fault("http.user", "is for a Unix socket; take it out");
        }
        let address = http.base.strip_prefix("http://").map(|rest| rest.trim_end_matches('/'));
        let address = address.and_then(|text| text.parse::<SocketAddr>().ok());
        // An IPv4 address may be written as one of IPv6.
        match address.map(|address| (address.ip().to_canonical(), address.port())) {
            Some((ip, port)) if ip.is_loopback() && port != 0 => {
                Some(HttpAt::Loopback(SocketAddr::new(ip, port)))
            }
            Some(_) => {
                let text = "the product must not be reachable from the network: bind it to 127.0.0.1 and write that";
                self.fault("http.base", text);
                None
            }
            None => {
                self.fault("http.base", "write http://127.0.0.1:PORT or unix:/PATH");
                None
            }
        }
    }
}

pub(super) type Compiled = (
    BTreeMap<countersign_model::id::AffordanceName, Property>,
    BTreeMap<countersign_model::id::AffordanceName, Binding>,
    BTreeMap<countersign_model::id::AffordanceName, Watch>,
);
