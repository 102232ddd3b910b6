//! One connection: handshake, then a reader and a writer until one of them ends.

use super::acceptor::{Accepted, Acceptor};
use crate::broker::ConnId;
use crate::broker::status::ChannelFacts;
use crate::config::GatewayConfig;
use crate::directory::{Directory, PeerFacts, Refusal};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc};

/// Bytes that one read takes at most, and so what one connection has in the engine's queue.
const READ_BYTES: usize = 16 << 10;

/// Bytes that one write gathers at most.
const WRITE_BYTES: usize = 64 << 10;

/// How long a peer whom the directory does not know yet is waited for: some of its looks at what others changed.
const NEWCOMER: Duration = Duration::from_millis(400);

/// How long a closed connection may take to hear its goodbye before the socket goes.
const GOODBYE: Duration = Duration::from_millis(200);

/// What a connection tells the engine.
#[derive(Debug)]
pub(super) enum Event {
    Opened {
        conn: ConnId,
        peer: PeerFacts,
        channel: Box<ChannelFacts>,
        outbox: Outbox,
    },
    /// `credit` comes back when the bytes have been handled; only then are more read.
    Received {
        conn: ConnId,
        bytes: Vec<u8>,
        credit: OwnedSemaphorePermit,
    },
    Closed {
        conn: ConnId,
    },
}

#[derive(Debug)]
enum Letter {
    Bytes(Vec<u8>),
    Close,
}

/// The engine's end of a connection's write queue.
#[derive(Debug)]
pub(super) struct Outbox {
    letters: mpsc::UnboundedSender<Letter>,
    waiting: Arc<AtomicUsize>,
    closing: Arc<Notify>,
    limit: usize,
}

impl Outbox {
    /// Queues bytes. `false`: more wait than the bound allows, the reader at the other end is too slow.
    pub(super) fn send(&self, bytes: Vec<u8>) -> bool {
        let waiting = self.waiting.fetch_add(bytes.len(), Ordering::Relaxed) + bytes.len();
        // A connection that has ended is on its way to say so.
        let _ = self.letters.send(Letter::Bytes(bytes));
        waiting <= self.limit
    }

    /// Writes what waits, if the peer takes it at once, and ends the connection.
    pub(super) fn close(&self) {
        let _ = self.letters.send(Letter::Close);
        self.closing.notify_one();
    }
}

/// Waits while the directory's view may be older than the peer's certificate: whoever was enrolled a moment ago, by
/// another process or machine, is not turned away. The engine judges afterwards, whatever came of it.
async fn newcomer(directory: &dyn Directory, peer: &PeerFacts) {
    let mut changed = directory.changed();
    while matches!(
        directory.admit(peer),
        Err(Refusal::Unknown | Refusal::ForeignKey | Refusal::Suspended(_))
    ) {
        if changed.changed().await.is_err() {
            return;
        }
    }
}

/// Serves one socket from its first byte to its last.
pub(super) async fn serve<A: Acceptor>(
    conn: ConnId,
    stream: TcpStream,
    remote: SocketAddr,
    acceptor: &A,
    directory: &dyn Directory,
    config: &GatewayConfig,
    events: mpsc::Sender<Event>,
) {
    // Acknowledgements are small and waited for.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%remote, %error, "cannot set TCP_NODELAY");
    }
    //= specs/house.md#house-channel
    //# A handshake that does not finish in its time MUST be closed.
    let accepted = tokio::time::timeout(config.handshake_timeout(), acceptor.accept(stream)).await;
    let Accepted { channel, peer, mut facts } = match accepted {
        Ok(Ok(accepted)) => accepted,
        Ok(Err(error)) => return tracing::info!(%remote, %error, "handshake refused"),
        Err(_) => return tracing::info!(%remote, "handshake took too long"),
    };
    facts.remote = remote.to_string();
    let known = tokio::time::timeout(NEWCOMER, newcomer(directory, &peer)).await;
    tracing::debug!(%remote, known = known.is_ok(), "judging");
    let (letters, queue) = mpsc::unbounded_channel();
    let waiting = Arc::new(AtomicUsize::new(0));
    let closing = Arc::new(Notify::new());
    let outbox = Outbox {
        letters,
        waiting: waiting.clone(),
        closing: closing.clone(),
        limit: config.max_write_queue_bytes,
    };
    if events.send(Event::Opened { conn, peer, channel: Box::new(facts), outbox }).await.is_err() {
        return;
    }
    let (reader, writer) = tokio::io::split(channel);
    let forced = async {
        closing.notified().await;
        tokio::time::sleep(GOODBYE).await;
    };
    tokio::select! {
        () = read(conn, reader, &events) => {}
        () = write(writer, queue, &waiting) => {}
        () = forced => {}
    }
    // The engine may have ended, or closed this connection itself.
    let _ = events.send(Event::Closed { conn }).await;
}

async fn read(conn: ConnId, mut reader: impl AsyncRead + Unpin, events: &mpsc::Sender<Event>) {
    let credits = Arc::new(Semaphore::new(1));
    let mut buffer = vec![0; READ_BYTES];
    loop {
        // The bytes before have been handled: one connection never has more than one share of the engine.
        let Ok(credit) = credits.clone().acquire_owned().await else { return };
        let count = match reader.read(&mut buffer).await {
            Ok(0) | Err(_) => return,
            Ok(count) => count,
        };
        let bytes = buffer[..count].to_vec();
        if events.send(Event::Received { conn, bytes, credit }).await.is_err() {
            return;
        }
    }
}

async fn write(
    mut writer: impl AsyncWrite + Unpin,
    mut queue: mpsc::UnboundedReceiver<Letter>,
    waiting: &AtomicUsize,
) {
    let mut closing = false;
    while !closing {
        let mut bytes = match queue.recv().await {
            Some(Letter::Bytes(bytes)) => bytes,
            Some(Letter::Close) | None => break,
        };
        while bytes.len() < WRITE_BYTES
            && let Ok(next) = queue.try_recv()
        {
            match next {
                Letter::Bytes(more) => bytes.extend_from_slice(&more),
                Letter::Close => {
                    closing = true;
                    break;
                }
            }
        }
        let written = async {
            writer.write_all(&bytes).await?;
            writer.flush().await
        };
        if written.await.is_err() {
            return;
        }
        waiting.fetch_sub(bytes.len(), Ordering::Relaxed);
    }
    // The peer may be gone already.
    let _ = writer.shutdown().await;
}
