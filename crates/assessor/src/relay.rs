//! A recording relay: where traffic cannot be captured from the wire, it is led through here.
//!
//! ```text
//!  client ──► relay ──► target       both directions are recorded, bounded, in the order of connections
//! ```
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> std::io::Result<()> {
//! use countersign_assessor::relay::Relay;
//! # let target = tokio::net::TcpListener::bind("127.0.0.1:0").await?.local_addr()?;
//! let relay = Relay::start("127.0.0.1:0".parse().unwrap(), target).await?;
//! println!("connect to {} instead", relay.address());
//! let recording = relay.stop().await;
//! assert!(recording.streams.is_empty() && !recording.truncated);
//! # Ok(())
//! # }
//! ```

use crate::probe::canary::Capture;
use countersign_model::ixit::RowId;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

/// Bytes kept of each direction of a connection. Pairing takes some kilobytes.
pub const MAX_STREAM: usize = 4 * 1024 * 1024;

/// Connections at a time; more wait in the listener's queue.
pub const MAX_CONNECTIONS: usize = 64;

/// Connections recorded in all; later ones are relayed, not recorded.
pub const MAX_RECORDED: usize = 1024;

/// How long the target may take to accept.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);

/// Pause after a failed accept, so that a lack of descriptors does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What was recorded.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recording {
    /// Two streams a connection: from the client, from the target.
    pub streams: Vec<Vec<u8>>,
    /// A bound was reached: there was more than is here.
    pub truncated: bool,
}

impl Recording {
    /// As a capture for the canary search.
    #[must_use]
    pub fn into_capture(
        self,
        label: &str,
        mechanism: Option<RowId>,
        control: Option<Vec<u8>>,
    ) -> Capture {
        Capture { label: label.to_owned(), mechanism, streams: self.streams, control }
    }

    /// Writes each stream to a file of its own, `0000-client.bin`, `0000-target.bin`, ….
    ///
    /// # Errors
    /// As the file system gives them.
    pub fn write(&self, folder: &Path) -> io::Result<()> {
        std::fs::create_dir_all(folder)?;
        for (index, stream) in self.streams.iter().enumerate() {
            let side = if index % 2 == 0 { "client" } else { "target" };
            std::fs::write(folder.join(format!("{:04}-{side}.bin", index / 2)), stream)?;
        }
        Ok(())
    }
}

/// A running relay. It ends when stopped or dropped.
#[derive(Debug)]
pub struct Relay {
    address: SocketAddr,
    recording: Arc<Mutex<Recording>>,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Relay {
    /// Listens on `listen` (port 0: any free one) and relays every connection to `target`.
    ///
    /// # Errors
    /// When the address cannot be bound.
    pub async fn start(listen: SocketAddr, target: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(listen).await?;
        let address = listener.local_addr()?;
        let recording = Arc::new(Mutex::new(Recording::default()));
        let (stop, stopped) = watch::channel(false);
        let task = tokio::spawn(accept(listener, target, recording.clone(), stopped));
        Ok(Self { address, recording, stop, task })
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// What was recorded so far.
    #[must_use]
    pub fn recording(&self) -> Recording {
        self.recording.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Closes listener and connections and gives the recording.
    pub async fn stop(self) -> Recording {
        let _ = self.stop.send(true);
        let _ = self.task.await;
        self.recording.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

async fn accept(
    listener: TcpListener,
    target: SocketAddr,
    recording: Arc<Mutex<Recording>>,
    mut stopped: watch::Receiver<bool>,
) {
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        if connections.len() >= MAX_CONNECTIONS {
            tokio::select! {
                _ = connections.join_next() => continue,
                _ = stopped.changed() => break,
            }
        }
        tokio::select! {
            _ = stopped.changed() => break,
            accepted = listener.accept() => match accepted {
                Ok((client, _)) => {
                    connections.spawn(relay(client, target, recording.clone()));
                }
                Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
            },
        }
    }
    connections.shutdown().await;
}

async fn relay(client: TcpStream, target: SocketAddr, recording: Arc<Mutex<Recording>>) {
    let Ok(Ok(server)) = tokio::time::timeout(CONNECT_LIMIT, TcpStream::connect(target)).await
    else {
        return;
    };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let index = {
        let mut all = recording.lock().unwrap_or_else(PoisonError::into_inner);
        if all.streams.len() / 2 >= MAX_RECORDED {
            all.truncated = true;
            None
        } else {
            all.streams.extend([Vec::new(), Vec::new()]);
            Some(all.streams.len() - 2)
        }
    };
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    tokio::join!(
        pump(from_client, to_server, &recording, index),
        pump(from_server, to_client, &recording, index.map(|index| index + 1)),
    );
}

/// Bytes are recorded before they are passed on: what a peer has seen is in the recording.
async fn pump(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    recording: &Mutex<Recording>,
    index: Option<usize>,
) {
    let mut chunk = vec![0; 16 * 1024];
    while let Ok(count @ 1..) = from.read(&mut chunk).await {
        {
            let mut all = recording.lock().unwrap_or_else(PoisonError::into_inner);
            let room = index.map_or(0, |index| MAX_STREAM.saturating_sub(all.streams[index].len()));
            if let Some(index) = index {
                all.streams[index].extend_from_slice(&chunk[..count.min(room)]);
            }
            all.truncated |= count > room;
        }
        if to.write_all(&chunk[..count]).await.is_err() {
            break;
        }
    }
    let _ = to.shutdown().await;
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn both_directions_pass_and_are_recorded() {
        let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let target = server.local_addr().unwrap();
        let echo = tokio::spawn(async move {
            for _ in 0..2 {
                let (mut peer, _) = server.accept().await.unwrap();
                let mut all = Vec::new();
                peer.read_to_end(&mut all).await.unwrap();
                all.reverse();
                peer.write_all(&all).await.unwrap();
            }
        });
        let relay = Relay::start("127.0.0.1:0".parse().unwrap(), target).await.unwrap();
        for text in [&b"first"[..], b"second one"] {
            let mut client = TcpStream::connect(relay.address()).await.unwrap();
            client.write_all(text).await.unwrap();
            client.shutdown().await.unwrap();
            let mut back = Vec::new();
            client.read_to_end(&mut back).await.unwrap();
            assert_eq!(back, text.iter().rev().copied().collect::<Vec<_>>());
        }
        echo.await.unwrap();
        let recording = relay.stop().await;
        let expected: [&[u8]; 4] = [b"first", b"tsrif", b"second one", b"eno dnoces"];
        assert_eq!(recording.streams, expected);
        assert!(!recording.truncated);
        let folder = tempfile::tempdir().unwrap();
        recording.write(folder.path()).unwrap();
        assert_eq!(std::fs::read(folder.path().join("0001-target.bin")).unwrap(), b"eno dnoces");
    }

    #[tokio::test]
    async fn more_than_the_bound_is_passed_on_and_marked() {
        let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let target = server.local_addr().unwrap();
        let count = tokio::spawn(async move {
            let (mut peer, _) = server.accept().await.unwrap();
            let mut all = Vec::new();
            peer.read_to_end(&mut all).await.unwrap();
            all.len()
        });
        let relay = Relay::start("127.0.0.1:0".parse().unwrap(), target).await.unwrap();
        let mut client = TcpStream::connect(relay.address()).await.unwrap();
        client.write_all(&vec![7; MAX_STREAM + 10]).await.unwrap();
        client.shutdown().await.unwrap();
        assert_eq!(count.await.unwrap(), MAX_STREAM + 10);
        let recording = relay.stop().await;
        assert_eq!(recording.streams[0].len(), MAX_STREAM);
        assert!(recording.truncated);
    }

    #[tokio::test]
    async fn a_stopped_relay_lets_go_of_open_connections() {
        let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let relay = Relay::start("127.0.0.1:0".parse().unwrap(), server.local_addr().unwrap())
            .await
            .unwrap();
        let mut client = TcpStream::connect(relay.address()).await.unwrap();
        let _peer = server.accept().await.unwrap();
        relay.stop().await;
        assert_eq!(client.read(&mut [0; 1]).await.unwrap_or(0), 0);
    }
}
