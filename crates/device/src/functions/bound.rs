//! A product that is bound by a file of [`Bindings`]: files, programs, HTTP, a Unix socket.
//!
//! ```text
//!  read, write, invoke ─► the operation's binding ─┬─ files     a bounded, regular file
//!                                                  ├─ running   a confined program
//!                                                  ├─ http      the product on loopback
//!  next_event ◄─ watchers ◄────────────────────────┴─ socket    a program of the maker's that stays
//! ```

use super::files::Files;
use super::http::Http;
use super::running::{Runner, What};
use super::socket::{Op, Socket};
use super::{Answer, FunctionError, Functions, ProductEvent};
use crate::bindings::{Binding, Bindings, HttpAt, Source, Watch};
use crate::sandbox::{Launcher, RunsAs};
use countersign_model::id::AffordanceName;
use serde_json::Value;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep};

/// Events waiting for the agent, from all sources together; a source that has more waits.
const EVENT_QUEUE: usize = 16;

/// Pause before a source of events that ended is started again.
const RESTART: Duration = Duration::from_secs(5);

/// The product.
#[derive(Debug)]
pub struct Bound {
    inner: Arc<Inner>,
    events: Mutex<Option<Events>>,
}

#[derive(Debug)]
struct Events {
    unread: mpsc::Receiver<ProductEvent>,
    /// Ended with the product.
    _watchers: JoinSet<()>,
}

#[derive(Debug)]
struct Inner {
    bindings: Bindings,
    runner: Runner,
    files: Files,
    http: Option<Http>,
    socket: Option<Socket>,
}

impl Bound {
    /// Puts bindings to work.
    ///
    /// # Errors
    /// When they start programs and this kernel cannot confine those as they say.
    pub fn new(bindings: Bindings, launcher: Launcher, _user: RunsAs) -> Result<Self, String> {
        if bindings.starts_programs() {
            for missing in launcher.probe(&bindings.sandbox)? {
                tracing::warn!("programs run with less than all confinement: {missing}");
            }
        }
        Ok(Self::put_to_work(bindings, launcher))
    }

    fn put_to_work(bindings: Bindings, launcher: Launcher) -> Self {
        let limits = &bindings.limits;
        let (at_once, output) = (limits.at_once, limits.output_bytes);
        let runner = Runner::new(launcher, at_once, limits.time(), output);
        let files = Files::new(at_once, output);
        let http = bindings.http.clone().map(|at| Http::new(at, at_once, output));
        let socket = bindings.socket.clone().map(|at| Socket::new(at, at_once));
        let inner = Inner { bindings, runner, files, http, socket };
        Self { inner: Arc::new(inner), events: Mutex::new(None) }
    }

    async fn event(&self) -> Result<ProductEvent, FunctionError> {
        let mut events = self.events.lock().await;
        let events = events.get_or_insert_with(|| Inner::watch(&self.inner));
        match events.unread.recv().await {
            Some(event) => Ok(event),
            // Nothing is bound that could tell something.
            None => std::future::pending().await,
        }
    }
}

impl Functions for Bound {
    fn read<'a>(&'a self, property: &'a AffordanceName) -> Answer<'a, Value> {
        Box::pin(async move {
            let found = self.inner.bindings.properties.get(property);
            let binding = found.and_then(|property| property.read.as_ref());
            self.inner.limited(property, binding, Op::Read, None).await
        })
    }

    fn write<'a>(&'a self, property: &'a AffordanceName, value: Value) -> Answer<'a, ()> {
        Box::pin(async move {
            let found = self.inner.bindings.properties.get(property);
            let binding = found.and_then(|property| property.write.as_ref());
            self.inner.limited(property, binding, Op::Write, Some(&value)).await.map(|_| ())
        })
    }

    fn invoke<'a>(&'a self, action: &'a AffordanceName, input: Value) -> Answer<'a, Value> {
        Box::pin(async move {
            let binding = self.inner.bindings.actions.get(action);
            self.inner.limited(action, binding, Op::Invoke, Some(&input)).await
        })
    }

    fn next_event(&self) -> Answer<'_, ProductEvent> {
        Box::pin(self.event())
    }

    fn behind(&self) -> Option<SocketAddr> {
        match self.inner.bindings.http {
            Some(HttpAt::Loopback(address)) => Some(address),
            _ => None,
        }
    }
}

impl Inner {
    //= specs/house.md#house-bindings
    //# Each call of the product MUST be bounded in time, in size and in number.
    async fn limited(
        &self,
        name: &AffordanceName,
        binding: Option<&Binding>,
        op: Op,
        value: Option<&Value>,
    ) -> Result<Value, FunctionError> {
        let binding = binding.ok_or_else(|| FunctionError::NotThere(name.to_string()))?;
        let call = self.call(name, binding, op, value);
        match tokio::time::timeout(self.bindings.limits.time(), call).await {
            Ok(done) => done,
            Err(_) => Err(failed(name, "took too long")),
        }
    }

    async fn call(
        &self,
        name: &AffordanceName,
        binding: &Binding,
        op: Op,
        value: Option<&Value>,
    ) -> Result<Value, FunctionError> {
        let format = &binding.format;
        let printed = || {
            let value = value.unwrap_or(&Value::Null);
            format.print(value).map_err(|why| FunctionError::Input(format!("the value {why}")))
        };
        let parsed = |bytes: &[u8]| {
            format.parse(bytes).map_err(|why| failed(name, &format!("gave what {why}")))
        };
        match &binding.source {
            Source::File { path, .. } if op == Op::Read => {
                parsed(&self.files.read(name, path).await?)
            }
            Source::File { path, replace } => {
                self.files.write(name, path, *replace, printed()?).await?;
                Ok(Value::Null)
            }
            Source::Command { program, arguments, sandbox } => {
                let what = What { program, arguments, folder: None, sandbox };
                let input = value.is_some().then(printed).transpose()?;
                let output = self.runner.run(name.as_str(), &what, input.as_deref()).await?;
                let silent = output.iter().all(u8::is_ascii_whitespace);
                if op == Op::Write || (op == Op::Invoke && silent) {
                    return Ok(Value::Null);
                }
                parsed(&output)
            }
            Source::Http { method, path, pointer } => {
                let http = self.http.as_ref().ok_or_else(|| failed(name, "is bound to no HTTP"))?;
                let value = value.filter(|value| op == Op::Write || !value.is_null());
                let answer = http.call(op, name, (method, path, pointer), value).await?;
                match op {
                    Op::Write => Ok(Value::Null),
                    Op::Invoke if answer.is_null() => Ok(answer),
                    _ if answer.is_null() => Err(failed(name, "answered with nothing")),
                    // An action's input has its place in what is asked, not in what is answered.
                    Op::Invoke => Ok(answer),
                    Op::Read => answer.pointer(pointer).cloned().ok_or_else(|| {
                        failed(name, &format!("answered with nothing at {pointer:?}"))
                    }),
                }
            }
            Source::Socket => {
                let socket =
                    self.socket.as_ref().ok_or_else(|| failed(name, "is bound to no socket"))?;
                socket.call(op, name, value.unwrap_or(&Value::Null)).await
            }
        }
    }

    fn watch(inner: &Arc<Self>) -> Events {
        let (tell, unread) = mpsc::channel(EVENT_QUEUE);
        let mut watchers = JoinSet::new();
        for (name, watch) in &inner.bindings.events {
            match &watch.binding.source {
                Source::Socket => {}
                Source::Command { .. } => {
                    let (name, watch) = (name.clone(), watch.clone());
                    watchers.spawn(inner.clone().lines(name, watch, tell.clone()));
                }
                Source::File { .. } | Source::Http { .. } => {
                    let (name, watch) = (name.clone(), watch.clone());
                    watchers.spawn(inner.clone().look(name, watch, tell.clone()));
                }
            }
        }
        let told: Vec<_> = inner.bindings.events.iter().collect();
        let of_socket: Vec<AffordanceName> = told
            .into_iter()
            .filter(|(_, watch)| watch.binding.source == Source::Socket)
            .map(|(name, _)| name.clone())
            .collect();
        if !of_socket.is_empty() {
            watchers.spawn(inner.clone().from_socket(of_socket, tell));
        }
        Events { unread, _watchers: watchers }
    }

    /// Tells when what is at the source has changed.
    async fn look(
        self: Arc<Self>,
        name: AffordanceName,
        watch: Watch,
        to: mpsc::Sender<ProductEvent>,
    ) {
        let mut ticks = interval(watch.every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut before = None;
        let mut failing = false;
        loop {
            ticks.tick().await;
            match self.limited(&name, Some(&watch.binding), Op::Read, None).await {
                Ok(now) => {
                    failing = false;
                    let changed = before.replace(now.clone()).is_some_and(|before| before != now);
                    let event = ProductEvent { name: name.clone(), data: now };
                    if changed && to.send(event).await.is_err() {
                        return;
                    }
                }
                // Once, and not at every look.
                Err(error) if !failing => {
                    failing = true;
                    tracing::warn!(%error, %name, "events");
                }
                Err(_) => {}
            }
        }
    }

    /// Tells each line that a program prints.
    async fn lines(
        self: Arc<Self>,
        name: AffordanceName,
        watch: Watch,
        to: mpsc::Sender<ProductEvent>,
    ) {
        let Source::Command { program, arguments, sandbox } = &watch.binding.source else { return };
        let what = What { program, arguments, folder: None, sandbox };
        loop {
            match self.runner.lines(name.as_str(), &what) {
                Ok(mut lines) => {
                    while let Some(line) = lines.next().await {
                        match watch.binding.format.parse(&line) {
                            Ok(data) => {
                                if to.send(ProductEvent { name: name.clone(), data }).await.is_err()
                                {
                                    return;
                                }
                            }
                            Err(why) => tracing::warn!(%name, "events: a line {why}"),
                        }
                    }
                    tracing::warn!(%name, "events: the program ended; it is started again");
                }
                Err(error) => tracing::warn!(%error, %name, "events"),
            }
            sleep(RESTART).await;
        }
    }

    /// Tells what comes from the socket by itself.
    async fn from_socket(
        self: Arc<Self>,
        names: Vec<AffordanceName>,
        to: mpsc::Sender<ProductEvent>,
    ) {
        let Some(socket) = &self.socket else { return };
        while let Some(event) = socket.event().await {
            if !names.contains(&event.name) {
                tracing::warn!(name = %event.name, "events: the socket tells what is not bound to it");
            } else if to.send(event).await.is_err() {
                return;
            }
        }
    }
}

fn failed(name: &AffordanceName, what: &str) -> FunctionError {
    FunctionError::Failed(format!("{name} {what}"))
}

/// Reads bindings and puts them to work.
///
/// # Errors
/// Every fault of the bindings; what the kernel lacks.
pub fn bind(
    file: &Path,
    thing: &countersign_model::thing::ThingDescription,
    data: &Path,
    launcher: Launcher,
    user: RunsAs,
) -> Result<Bound, String> {
    let bindings = Bindings::read(file, thing, Some(data)).map_err(|error| error.to_string())?;
    Bound::new(bindings, launcher, user)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
