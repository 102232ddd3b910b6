//! Observation by server-sent events: one task a stream, judged again before everything that it tells.
//!
//! ```text
//!  changes ─► wanted? ─► permit at this moment? ─► frame ─► one place ─► the connection
//!                              └ no: the stream ends     └ not taken in time: the connection ends
//! ```
//! A reader that is too slow is dropped, not buffered for: one frame waits for it, and no more.

use super::connection::{Peer, StreamPlace};
use crate::changes::Change;
use countersign_model::thing::Operation;
use countersign_protocol::permit::device::Request;
use hyper::body::{Bytes, Frame};
use serde_json::Value;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, mpsc};
use tokio::time::{MissedTickBehavior, interval, timeout};

/// How often a silent stream is judged again, for permissions that end by the clock.
const JUDGE_EVERY: Duration = Duration::from_secs(1);
/// So many silent judgements to one sign of life, which tells a client that the connection stands: 15 s, as the
/// standard of server-sent events suggests.
const SIGN_EVERY: u32 = 15;
/// How long a frame may wait for its reader.
const SLOW: Duration = Duration::from_secs(10);

/// The body of a stream.
#[derive(Debug)]
pub(super) struct Events {
    frames: mpsc::Receiver<Bytes>,
}

impl Events {
    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<Frame<Bytes>>> {
        self.frames.poll_recv(context).map(|bytes| bytes.map(Frame::data))
    }
}

/// What a stream tells.
#[derive(Debug, Clone)]
pub(super) enum Wanted {
    /// One property or event.
    One(Operation, String),
    /// All of one kind that the subject may have.
    All(Operation),
}

impl Wanted {
    fn fits(&self, change: &Change) -> bool {
        match self {
            Self::One(operation, name) => {
                *operation == change.operation && name == change.name.as_str()
            }
            Self::All(operation) => *operation == change.operation,
        }
    }
}

/// Begins a stream in `place` for a peer that was just judged. `changes` was subscribed to before `first` was read, so that nothing
/// falls between them.
pub(super) fn begin(
    peer: &Arc<Peer>,
    place: StreamPlace,
    wanted: Wanted,
    changes: broadcast::Receiver<Change>,
    first: Vec<(String, Value)>,
) -> Events {
    let (to, frames) = mpsc::channel(1);
    let peer = peer.clone();
    let tasks = peer.tasks.clone();
    tasks.spawn(async move {
        let told = Telling { peer: &peer, wanted, to, number: 0 }.run(changes, first).await;
        drop(place);
        if told == Ended::TooSlow {
            tracing::info!("local API: a stream's reader is too slow");
            peer.end.notify_one();
        }
    });
    Events { frames }
}

#[derive(PartialEq)]
enum Ended {
    /// The reader went away, or may not any more.
    Over,
    /// The reader does not read, or is too far behind.
    TooSlow,
}

struct Telling<'a> {
    peer: &'a Arc<Peer>,
    wanted: Wanted,
    to: mpsc::Sender<Bytes>,
    number: u64,
}

impl Telling<'_> {
    async fn run(
        mut self,
        mut changes: broadcast::Receiver<Change>,
        first: Vec<(String, Value)>,
    ) -> Ended {
        let mut rights = self.peer.gate.rights();
        let mut ticks = interval(JUDGE_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut silent = 0;
        if let Err(ended) = self.send(Bytes::from_static(b"retry: 2000\n\n")).await {
            return ended;
        }
        for (name, value) in first {
            if let Err(ended) = self.tell(&name, &value).await {
                return ended;
            }
        }
        loop {
            let change = tokio::select! {
                () = self.to.closed() => return Ended::Over,
                change = changes.recv() => match change {
                    Ok(change) => Some(change),
                    Err(RecvError::Lagged(_)) => return Ended::TooSlow,
                    Err(RecvError::Closed) => return Ended::Over,
                },
                _ = rights.changed() => None,
                _ = ticks.tick() => None,
            };
            let told = match change {
                Some(change) if !self.wanted.fits(&change) => Ok(()),
                Some(change) => {
                    silent = 0;
                    let name = change.name.as_str();
                    match (self.may(change.operation, name), &self.wanted) {
                        (true, _) => self.tell(name, &change.value).await,
                        (false, Wanted::All(_)) => Ok(()),
                        (false, Wanted::One(..)) => return Ended::Over,
                    }
                }
                None if !self.still() => return Ended::Over,
                None => {
                    silent += 1;
                    match silent % SIGN_EVERY {
                        0 => self.send(Bytes::from_static(b":\n\n")).await,
                        _ => Ok(()),
                    }
                }
            };
            if let Err(ended) = told {
                return ended;
            }
        }
    }

    /// Whether the stream may go on although nothing is told.
    fn still(&self) -> bool {
        match &self.wanted {
            Wanted::One(operation, name) => self.may(*operation, name),
            Wanted::All(_) => {
                let gate = &self.peer.gate;
                gate.still(&self.peer.subject(), &Request::describe()).is_some()
            }
        }
    }

    //= specs/house.md#house-gate
    //# A stream MUST end when its subject's permission ends.
    fn may(&self, operation: Operation, name: &str) -> bool {
        Request::new(operation, name, b"")
            .is_ok_and(|request| self.peer.gate.still(&self.peer.subject(), &request).is_some())
    }

    async fn tell(&mut self, name: &str, value: &Value) -> Result<(), Ended> {
        self.number += 1;
        self.send(Bytes::from(format!("event: {name}\ndata: {value}\nid: {}\n\n", self.number)))
            .await
    }

    //= specs/house.md#house-gate
    //# A peer that does not read MUST be dropped and not be buffered for.
    async fn send(&self, frame: Bytes) -> Result<(), Ended> {
        match timeout(SLOW, self.to.send(frame)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(Ended::Over),
            Err(_) => Err(Ended::TooSlow),
        }
    }
}
