//! One connection: handshake, then a reader and a writer until one of them ends. Where it is taken over from another place,
//! the reader goes on for a moment: whether somebody takes the goodbye tells two clients from one that moved.

use super::acceptor::{Accepted, Acceptor};
use crate::broker::ConnId;
use crate::broker::status::ChannelFacts;
use crate::clones::ANSWER;
use crate::config::GatewayConfig;
use crate::directory::{Directory, PeerFacts, Refusal};
use std::future::Future;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};

/// Bytes that one read takes at most, and so what one connection has in the engine's queue.
const READ_BYTES: usize = 16 << 10;

/// Bytes that one write gathers at most.
const WRITE_BYTES: usize = 64 << 10;

/// How long a peer whom the directory does not know yet is waited for: some of its looks at what others changed.
const NEWCOMER: Duration = Duration::from_millis(400);

/// How long a closed connection may take to hear its goodbye before the socket goes.
const GOODBYE: Duration = Duration::from_millis(200);

/// How long the transport stays open both ways for the answer of whoever was displaced, and may have read the goodbye: a
/// client that closes while more comes from us would end in a reset, which a host without that client sends as well.
const OPEN_FOR_ANSWER: Duration = Duration::from_millis(500);

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
    /// `answered`: it was displaced, and its client took the goodbye.
    Closed {
        conn: ConnId,
        answered: bool,
    },
}

#[derive(Debug)]
enum Letter {
    Bytes(Vec<u8>),
    Close,
    Displace,
}

/// What the writer ended with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Written {
    /// Nothing more is wanted of the connection.
    Done,
    /// All is written, and how the client takes it is of interest.
    Goodbye,
}

/// What the reader ended with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Read {
    /// The client hung up.
    HungUp,
    /// A reset, a failure, or nobody to read for.
    Failed,
}

/// The engine's end of a connection's write queue.
#[derive(Debug)]
pub(super) struct Outbox {
    letters: mpsc::UnboundedSender<Letter>,
    waiting: Arc<AtomicUsize>,
    /// How long the goodbye may take, once there is one.
    closing: watch::Sender<Option<Duration>>,
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
        self.closing.send_replace(Some(GOODBYE));
    }

    /// The same, and listens how the client takes it.
    pub(super) fn displace(&self) {
        let _ = self.letters.send(Letter::Displace);
        self.closing.send_replace(Some(Duration::from_millis(ANSWER)));
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
    facts.remote = Some(remote);
    let known = tokio::time::timeout(NEWCOMER, newcomer(directory, &peer)).await;
    tracing::debug!(%remote, known = known.is_ok(), "judging");
    let (letters, queue) = mpsc::unbounded_channel();
    let waiting = Arc::new(AtomicUsize::new(0));
    let (closing, mut closes) = watch::channel(None);
    let outbox =
        Outbox { letters, waiting: waiting.clone(), closing, limit: config.max_write_queue_bytes };
    if events.send(Event::Opened { conn, peer, channel: Box::new(facts), outbox }).await.is_err() {
        return;
    }
    let (reader, mut writer) = tokio::io::split(channel);
    let forced = async move {
        let within = closes.wait_for(Option::is_some).await.map(|within| *within);
        match within {
            Ok(within) => tokio::time::sleep(within.unwrap_or(GOODBYE)).await,
            // The engine has dropped it without a word: the writer ends by itself.
            Err(_) => std::future::pending().await,
        }
    };
    let reading = read(conn, reader, &events);
    tokio::pin!(reading);
    let talk = async {
        let written = tokio::select! {
            _ = &mut reading => return false,
            written = write(&mut writer, queue, &waiting) => written,
        };
        match written {
            Written::Done => false,
            Written::Goodbye => takes_it(reading, &mut writer).await,
        }
    };
    let answered = tokio::select! {
        answered = talk => answered,
        () = forced => false,
    };
    // The engine may have ended, or closed this connection itself.
    let _ = events.send(Event::Closed { conn, answered }).await;
}

//= specs/house.md#house-clones
//# A device that moves, however often, and one that is replaced by itself MUST NOT be taken for a clone.
/// Whether somebody is there who takes a goodbye and hangs up. Where nobody is, this goes on until it is no longer waited for.
async fn takes_it(
    mut reading: impl Future<Output = Read> + Unpin,
    writer: &mut (impl AsyncWrite + Unpin),
) -> bool {
    if let Ok(read) = tokio::time::timeout(OPEN_FOR_ANSWER, &mut reading).await {
        return read == Read::HungUp;
    }
    // A client of MQTT 3.1.1 is told by the end of the stream alone. A peer that is gone does not mind.
    let _ = writer.shutdown().await;
    reading.await == Read::HungUp
}

async fn read(
    conn: ConnId,
    mut reader: impl AsyncRead + Unpin,
    events: &mpsc::Sender<Event>,
) -> Read {
    let credits = Arc::new(Semaphore::new(1));
    let mut buffer = vec![0; READ_BYTES];
    loop {
        // The bytes before have been handled: one connection never has more than one share of the engine.
        let Ok(credit) = credits.clone().acquire_owned().await else { return Read::Failed };
        let count = match reader.read(&mut buffer).await {
            Ok(0) => return Read::HungUp,
            Ok(count) => count,
            // The stream ended without TLS's own word for it, as many clients end it.
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Read::HungUp,
            Err(_) => return Read::Failed,
        };
        let bytes = buffer[..count].to_vec();
        if events.send(Event::Received { conn, bytes, credit }).await.is_err() {
            return Read::Failed;
        }
    }
}

async fn write(
    writer: &mut (impl AsyncWrite + Unpin),
    mut queue: mpsc::UnboundedReceiver<Letter>,
    waiting: &AtomicUsize,
) -> Written {
    let mut closing = None;
    while closing.is_none() {
        let mut bytes = match queue.recv().await {
            Some(Letter::Bytes(bytes)) => bytes,
            Some(Letter::Displace) => return Written::Goodbye,
            Some(Letter::Close) | None => break,
        };
        while bytes.len() < WRITE_BYTES
            && let Ok(next) = queue.try_recv()
        {
            match next {
                Letter::Bytes(more) => bytes.extend_from_slice(&more),
                Letter::Close => closing = Some(Written::Done),
                Letter::Displace => closing = Some(Written::Goodbye),
            }
            if closing.is_some() {
                break;
            }
        }
        let written = async {
            writer.write_all(&bytes).await?;
            writer.flush().await
        };
        if written.await.is_err() {
            return Written::Done;
        }
        waiting.fetch_sub(bytes.len(), Ordering::Relaxed);
    }
    if closing == Some(Written::Goodbye) {
        return Written::Goodbye;
    }
    // The peer may be gone already.
    let _ = writer.shutdown().await;
    Written::Done
}
