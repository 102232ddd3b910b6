//! A product that stays: one Unix socket, lines of JSON, any language. See [`wire`] for the lines.
//!
//! ```text
//!  call ─► queue ─► connection ─► product          lost: every waiting call fails, and the agent connects again
//!                     └─ events ◄─┘
//! ```
//! The product listens; the agent connects, and looks who runs there before it says anything.

pub mod wire;

pub use wire::Op;

use super::{FunctionError, ProductEvent};
use crate::bindings::SocketAt;
use countersign_model::id::AffordanceName;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::{Mutex, OnceCell, Semaphore, mpsc, oneshot};
use tokio::task::JoinHandle;
use wire::{Lines, MAX_LINE, Outcome, Said, WireError};

/// Pauses between two attempts to connect: the first, and the longest.
const PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Events that wait for the agent; of a product that tells more, those beyond are dropped, so that its answers go on.
const EVENTS: usize = 16;

/// How much is read at once.
const CHUNK: usize = 8 * 1024;

/// How long the product may take to take a line.
const SLOW: Duration = Duration::from_secs(10);

struct Call {
    line: String,
    id: u64,
    answer: oneshot::Sender<Outcome>,
}

/// The product's socket.
#[derive(Debug)]
pub(super) struct Socket {
    at: SocketAt,
    turns: Semaphore,
    at_once: usize,
    number: AtomicU64,
    running: OnceCell<Running>,
}

#[derive(Debug)]
struct Running {
    calls: mpsc::Sender<Call>,
    events: Mutex<mpsc::Receiver<ProductEvent>>,
    task: JoinHandle<()>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Socket {
    pub(super) fn new(at: SocketAt, at_once: usize) -> Self {
        let (turns, number) = (Semaphore::new(at_once), AtomicU64::new(1));
        Self { at, turns, at_once, number, running: OnceCell::new() }
    }

    async fn running(&self) -> &Running {
        self.running
            .get_or_init(|| async {
                let (calls, queue) = mpsc::channel(self.at_once);
                let (tell, events) = mpsc::channel(EVENTS);
                let task = tokio::spawn(keep(self.at.clone(), queue, tell));
                Running { calls, events: Mutex::new(events), task }
            })
            .await
    }

    pub(super) async fn call(
        &self,
        op: Op,
        name: &AffordanceName,
        value: &Value,
    ) -> Result<Value, FunctionError> {
        let failed = |why: &str| FunctionError::Failed(format!("{name}: {why}"));
        let _turn = self.turns.acquire().await.map_err(|_| failed("is shutting down"))?;
        let id = self.number.fetch_add(1, Ordering::Relaxed);
        let (answer, answered) = oneshot::channel();
        let line = wire::request(id, op, name, value);
        if line.len() > MAX_LINE {
            return Err(FunctionError::Input("the value is too long".to_owned()));
        }
        let queued = self.running().await.calls.send(Call { line, id, answer }).await;
        queued.map_err(|_| failed("is shutting down"))?;
        match answered.await {
            Ok(Outcome::Done(value)) => Ok(value),
            Ok(Outcome::Refused(reason)) => Err(FunctionError::Input(reason)),
            Ok(Outcome::Failed(reason)) => Err(failed(&reason)),
            Err(_) => {
                let at = self.at.path.display();
                Err(failed(&format!("the product at {at} is not there, or went away")))
            }
        }
    }

    /// The next event; none when the product is dropped.
    pub(super) async fn event(&self) -> Option<ProductEvent> {
        self.running().await.events.lock().await.recv().await
    }
}

/// Stays connected.
async fn keep(at: SocketAt, mut calls: mpsc::Receiver<Call>, events: mpsc::Sender<ProductEvent>) {
    let mut pause = PAUSE;
    let mut told = String::new();
    loop {
        let why = match connect(&at, "socket.user").await {
            Ok(stream) => {
                pause = PAUSE;
                told.clear();
                tracing::info!(path = %at.path.display(), "the product is there");
                match converse(stream, &mut calls, &events).await {
                    Some(why) => why,
                    None => return,
                }
            }
            Err(why) => why,
        };
        // Each reason once, and not at every attempt.
        if why != told {
            tracing::warn!(path = %at.path.display(), "the product's socket: {why}");
            told = why;
        }
        // Who asks meanwhile is told at once.
        let sleep = tokio::time::sleep(pause);
        tokio::pin!(sleep);
        loop {
            tokio::select! {
                () = &mut sleep => break,
                call = calls.recv() => match call {
                    Some(call) => drop(call),
                    None => return,
                },
            }
        }
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

//= specs/house.md#house-bindings
//# The agent MUST NOT speak to a product's socket that another user has opened than the one its configuration names.
/// `field` is where the configuration names the user.
pub(super) async fn connect(at: &SocketAt, field: &str) -> Result<UnixStream, String> {
    let stream = UnixStream::connect(&at.path).await.map_err(|error| error.to_string())?;
    let there = stream.peer_cred().map_err(|error| error.to_string())?.uid();
    let allowed = match at.user {
        Some(user) => there == user,
        None => there == 0 || there == nix::unistd::geteuid().as_raw(),
    };
    match allowed {
        true => Ok(stream),
        false => Err(format!("user {there} runs there; write {field} = {there} if it may")),
    }
}

/// One connection. Gives why it ended; none when the agent stops.
async fn converse(
    mut stream: UnixStream,
    calls: &mut mpsc::Receiver<Call>,
    events: &mpsc::Sender<ProductEvent>,
) -> Option<String> {
    let (mut reader, mut writer) = stream.split();
    let mut lines = Lines::default();
    let mut waiting: BTreeMap<u64, oneshot::Sender<Outcome>> = BTreeMap::new();
    let mut chunk = vec![0; CHUNK];
    loop {
        tokio::select! {
            call = calls.recv() => {
                let call = call?;
                // Who has stopped waiting is forgotten, so that there are never more than may wait at once.
                waiting.retain(|_, answer| !answer.is_closed());
                waiting.insert(call.id, call.answer);
                let write = writer.write_all(call.line.as_bytes());
                match tokio::time::timeout(SLOW, write).await {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) => return Some(error.to_string()),
                    Err(_) => return Some("does not read".to_owned()),
                }
            }
            read = reader.read(&mut chunk) => {
                let read = match read {
                    Ok(0) => return Some("closed".to_owned()),
                    Ok(read) => read,
                    Err(error) => return Some(error.to_string()),
                };
                if let Err(error) = heard(&chunk[..read], &mut lines, &mut waiting, events).await {
                    return Some(error.to_string());
                }
            }
        }
    }
}

async fn heard(
    bytes: &[u8],
    lines: &mut Lines,
    waiting: &mut BTreeMap<u64, oneshot::Sender<Outcome>>,
    events: &mpsc::Sender<ProductEvent>,
) -> Result<(), WireError> {
    for line in lines.take(bytes)? {
        match Said::parse(&line)? {
            Said::Answer { id, outcome } => {
                if let Some(answer) = waiting.remove(&id) {
                    let _ = answer.send(outcome);
                }
            }
            // Nobody listens to events: they are for nobody.
            Said::Event { name, data } => {
                let event = ProductEvent { name, data };
                if events.try_send(event).is_err() {
                    tracing::warn!("events come faster than they are told; one is dropped");
                }
            }
        }
    }
    Ok(())
}
