//! A wire in memory, and somebody on it.
//!
//! Over a reliable transport whoever drops bytes can only cut: what is not retransmitted never arrives. So the adversary
//! cuts, flips, swaps and repeats at byte positions of its choice, and keeps a recording of both directions.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, ReadHalf, WriteHalf};

/// Bytes that a wire holds.
const CAPACITY: usize = 64 * 1024;

/// What is done to one direction when byte `at` passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Nothing passes from here on.
    Cut { at: usize },
    /// One bit of this byte changes.
    Flip { at: usize },
    /// The piece that begins here changes places with what follows in the same segment.
    Swap { at: usize },
    /// The segment with this byte arrives twice.
    Repeat { at: usize },
}

impl Fault {
    const fn at(self) -> usize {
        match self {
            Self::Cut { at } | Self::Flip { at } | Self::Swap { at } | Self::Repeat { at } => at,
        }
    }
}

/// The plan of the one on the wire.
#[derive(Debug, Clone, Default)]
pub struct Adversary {
    pub to_server: VecDeque<Fault>,
    pub to_client: VecDeque<Fault>,
}

impl Adversary {
    /// Listens only.
    pub fn honest() -> Self {
        Self::default()
    }

    pub fn towards_server(fault: Fault) -> Self {
        Self { to_server: VecDeque::from([fault]), to_client: VecDeque::new() }
    }

    pub fn towards_client(fault: Fault) -> Self {
        Self { to_server: VecDeque::new(), to_client: VecDeque::from([fault]) }
    }
}

/// What passed.
#[derive(Debug, Clone, Default)]
pub struct Recording {
    pub to_server: Arc<Mutex<Vec<u8>>>,
    pub to_client: Arc<Mutex<Vec<u8>>>,
}

impl Recording {
    /// Whether a text passed in the clear, either way.
    pub fn shows(&self, text: &[u8]) -> bool {
        [&self.to_server, &self.to_client]
            .iter()
            .any(|side| side.lock().unwrap().windows(text.len()).any(|window| window == text))
    }

    pub fn lengths(&self) -> (usize, usize) {
        (self.to_server.lock().unwrap().len(), self.to_client.lock().unwrap().len())
    }
}

/// A wire between a client's end and a server's end.
pub(crate) fn wire(adversary: Adversary) -> (DuplexStream, DuplexStream, Recording) {
    let recording = Recording::default();
    let (client, client_side) = tokio::io::duplex(CAPACITY);
    let (server, server_side) = tokio::io::duplex(CAPACITY);
    let (from_client, to_client) = tokio::io::split(client_side);
    let (from_server, to_server) = tokio::io::split(server_side);
    tokio::spawn(relay(from_client, to_server, adversary.to_server, recording.to_server.clone()));
    tokio::spawn(relay(from_server, to_client, adversary.to_client, recording.to_client.clone()));
    (client, server, recording)
}

async fn relay(
    mut from: ReadHalf<DuplexStream>,
    mut to: WriteHalf<DuplexStream>,
    mut faults: VecDeque<Fault>,
    recording: Arc<Mutex<Vec<u8>>>,
) {
    let mut segment = vec![0; CAPACITY];
    let mut passed = 0;
    while let Ok(read @ 1..) = from.read(&mut segment).await {
        let mut bytes = segment[..read].to_vec();
        let mut cut = false;
        while let Some(fault) = faults.front().copied().filter(|fault| fault.at() < passed + read) {
            faults.pop_front();
            let at = fault.at().saturating_sub(passed).min(bytes.len().saturating_sub(1));
            match fault {
                Fault::Cut { .. } => {
                    bytes.truncate(at);
                    cut = true;
                }
                Fault::Flip { .. } => bytes[at] ^= 1,
                Fault::Swap { .. } => bytes.rotate_left(at.max(1)),
                Fault::Repeat { .. } => bytes.extend_from_within(..),
            }
        }
        passed += read;
        recording.lock().unwrap().extend_from_slice(&bytes);
        if to.write_all(&bytes).await.is_err() || cut {
            break;
        }
    }
    let _ = to.shutdown().await;
}
