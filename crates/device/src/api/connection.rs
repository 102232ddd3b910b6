//! One connection: who is at the other end, its requests, its streams, and its end.

use super::answer::{Answer, Content};
use super::limits::{ConnectionId, Holder, Limits, Source};
use super::route;
use super::{BODY_TIMEOUT, HEAD_TIMEOUT, IDLE_TIMEOUT, MAX_BODY, MAX_HEAD, MAX_REQUESTS_OF_ONE};
use crate::gate::Gate;
use countersign_crypto::tls::{SecureChannel, VerifiedPeer};
use countersign_model::id::PersonName;
use countersign_protocol::permit::device::{Subject, Voucher};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

/// How often a connection is looked at for its idleness.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// How long the answer to the request that ended a person's rights has to leave.
const LAST_WORDS: Duration = Duration::from_millis(250);
/// Largest frame of HTTP/2, the least that the protocol allows (RFC 9113 section 4.2).
const MAX_FRAME: u32 = 16 * 1024;
/// What one HTTP/2 connection may have under way towards us, all requests together (RFC 9113 section 6.9.2).
const WINDOW: u32 = 65_535;
/// Requests of one HTTP/2 connection at once: all the streams of one subject, and some requests between them.
const MAX_CONCURRENT: u32 = 16;
/// Requests that are taken back before they are answered, until the connection is ended ("rapid reset",
/// CVE-2023-44487): an ordinary client takes back a few.
const MAX_TAKEN_BACK: usize = 20;

/// The limits, shared by all connections.
#[derive(Clone)]
pub(super) struct Shared {
    limits: Arc<Mutex<Limits>>,
    start: Instant,
}

impl Shared {
    pub(super) fn new() -> Self {
        Self { limits: Arc::new(Mutex::new(Limits::new())), start: Instant::now() }
    }

    pub(super) fn limits(&self) -> MutexGuard<'_, Limits> {
        self.limits.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn now(&self) -> Duration {
        self.start.elapsed()
    }
}

/// A connection's entry in the limits, taken out when this is dropped.
pub(super) struct Place {
    pub(super) shared: Shared,
    pub(super) id: ConnectionId,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.shared.limits().left(self.id);
    }
}

/// A stream's place, given back when this is dropped.
pub(super) struct StreamPlace(Arc<Peer>);

impl Drop for StreamPlace {
    fn drop(&mut self) {
        self.0.shared.limits().stream_over(&self.0.holder);
        let mut activity = self.0.activity();
        activity.streams -= 1;
        activity.last = Instant::now();
    }
}

/// Tasks that end with their connection.
#[derive(Clone, Default)]
pub(super) struct Tasks(Arc<Mutex<JoinSet<()>>>);

impl Tasks {
    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let mut tasks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        while tasks.try_join_next().is_some() {}
        tasks.spawn(task);
    }
}

/// Ends the tasks when the connection's own future is dropped, in whatever way.
struct EndOfTasks(Tasks);

impl Drop for EndOfTasks {
    fn drop(&mut self) {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner).abort_all();
    }
}

impl<F> hyper::rt::Executor<F> for Tasks
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    fn execute(&self, future: F) {
        self.spawn(async move {
            future.await;
        });
    }
}

struct Activity {
    streams: usize,
    last: Instant,
}

/// Whose certificate it is, as far as this device believes one. Found once for each connection.
pub(super) struct Known {
    /// Somebody who is believed about this name vouches for it: whatever others sign, they are strangers, and use up
    /// nothing of the name's.
    pub(super) person: Option<PersonName>,
    /// This device knows them by more than their home: they had a role when they came.
    pub(super) has_role: bool,
    voucher: Option<Voucher>,
}

impl Known {
    pub(super) fn of(gate: &Gate, certificate: Option<&VerifiedPeer>) -> Self {
        let voucher = gate.voucher(certificate);
        let vouched = certificate.filter(|_| voucher.is_some());
        let person = vouched.and_then(|peer| peer.name().parse().ok());
        let has_role = gate.subject(certificate, voucher) != Subject::Anonymous;
        Self { person, has_role, voucher }
    }
}

/// The other end of a connection.
pub(super) struct Peer {
    pub(super) gate: Arc<Gate>,
    pub(super) tasks: Tasks,
    /// Ends the connection.
    pub(super) end: Notify,
    shared: Shared,
    source: Source,
    holder: Holder,
    certificate: Option<VerifiedPeer>,
    /// Whose signature that bears.
    voucher: Option<Voucher>,
    base: String,
    /// Bounds what bodies and answers of one connection can take.
    turns: Semaphore,
    activity: Mutex<Activity>,
}

impl Peer {
    /// Who it is at this moment: whoever was unshared is nobody at once.
    pub(super) fn subject(&self) -> Subject {
        self.gate.subject(self.certificate.as_ref(), self.voucher)
    }

    /// Where the forms of its description lead.
    pub(super) fn base(&self) -> &str {
        &self.base
    }

    /// A place for one more stream, if there is one.
    pub(super) fn stream_place(self: &Arc<Self>) -> Option<StreamPlace> {
        self.shared.limits().stream(&self.holder).ok()?;
        self.activity().streams += 1;
        Some(StreamPlace(self.clone()))
    }

    fn activity(&self) -> MutexGuard<'_, Activity> {
        self.activity.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn idle(&self) -> bool {
        let activity = self.activity();
        activity.streams == 0 && activity.last.elapsed() > IDLE_TIMEOUT
    }

    async fn request(
        self: Arc<Self>,
        request: hyper::Request<Incoming>,
    ) -> hyper::Response<Content> {
        self.activity().last = Instant::now();
        let turn = self.turns.acquire().await;
        let (head, body) = request.into_parts();
        // 1. Too much of it is said before anything is looked at.
        let heard = self.shared.limits().request(self.source, &self.holder, self.shared.now());
        let answer = match heard {
            Err(_) => Answer::TooMany,
            // 2. The body is read, bounded, whatever was asked for: a refusal must not show by its haste.
            Ok(()) => match timeout(BODY_TIMEOUT, Limited::new(body, MAX_BODY).collect()).await {
                Ok(Ok(body)) => route::answer(&self, &head, &body.to_bytes()).await,
                Ok(Err(_)) => Answer::TooLarge,
                Err(_) => Answer::TooSlow,
            },
        };
        if answer.is_failure() {
            self.shared.limits().failed(&self.holder, self.shared.now());
        }
        drop(turn);
        let mut response = answer.into_response();
        if head.version == hyper::Version::HTTP_2 {
            // Of one connection many requests share, none may ask for its end (RFC 9113 section 8.2.2).
            response.headers_mut().remove(hyper::header::CONNECTION);
        }
        self.activity().last = Instant::now();
        response
    }
}

/// Serves a connection whose handshake is done, to its end.
pub(super) async fn serve(
    channel: SecureChannel<TcpStream>,
    place: &Place,
    local: SocketAddr,
    source: Source,
    known: Known,
    gate: Arc<Gate>,
) {
    let shared = place.shared.clone();
    let holder = known.person.map_or(Holder::Stranger(source), Holder::Person);
    let http2 = channel.negotiated().alpn.as_deref() == Some("h2");
    let peer = Arc::new(Peer {
        base: super::base(gate.thing(), local),
        tasks: Tasks::default(),
        end: Notify::new(),
        turns: Semaphore::new(MAX_REQUESTS_OF_ONE),
        activity: Mutex::new(Activity { streams: 0, last: Instant::now() }),
        certificate: channel.peer().cloned(),
        voucher: known.voucher,
        shared: shared.clone(),
        source,
        holder,
        gate,
    });
    let _end = EndOfTasks(peer.tasks.clone());
    let ended = tokio::select! {
        ended = http(channel, http2, peer.clone()) => ended,
        () = watch(&peer) => Ok(()),
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "local API: connection");
        if http2 || error.is_parse() || error.is_timeout() {
            shared.limits().failed(&peer.holder, shared.now());
        }
    }
}

async fn http(
    channel: SecureChannel<TcpStream>,
    http2: bool,
    peer: Arc<Peer>,
) -> Result<(), hyper::Error> {
    let tasks = peer.tasks.clone();
    let service = service_fn(move |request| {
        let peer = peer.clone();
        async move { Ok::<_, Infallible>(peer.request(request).await) }
    });
    // Neither tells the date: the device's clock is no authority, and a machine's without one shows nonsense.
    if http2 {
        hyper::server::conn::http2::Builder::new(tasks)
            .timer(TokioTimer::new())
            .auto_date_header(false)
            .max_concurrent_streams(MAX_CONCURRENT)
            .max_header_list_size(u32::try_from(MAX_HEAD).unwrap_or(MAX_FRAME))
            .max_frame_size(MAX_FRAME)
            .initial_stream_window_size(WINDOW)
            .initial_connection_window_size(WINDOW)
            .max_send_buf_size(MAX_HEAD)
            .max_pending_accept_reset_streams(MAX_TAKEN_BACK)
            .max_local_error_reset_streams(MAX_TAKEN_BACK)
            .keep_alive_interval(HEAD_TIMEOUT)
            .keep_alive_timeout(HEAD_TIMEOUT)
            .serve_connection(TokioIo::new(channel), service)
            .await
    } else {
        hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .auto_date_header(false)
            .header_read_timeout(HEAD_TIMEOUT)
            .max_buf_size(MAX_HEAD)
            .serve_connection(TokioIo::new(channel), service)
            .await
    }
}

//= specs/house.md#house-sharing
//# Unsharing MUST close the person's open connections and streams.
/// Returns when the connection is to be ended: asked to, idle, or of a person who is not of this device any more.
async fn watch(peer: &Peer) {
    let mut rights = peer.gate.rights();
    let known = |peer: &Peer| peer.subject() != Subject::Anonymous;
    let was_known = known(peer);
    let mut look = pin!(sleep(LOOK_EVERY));
    loop {
        tokio::select! {
            () = peer.end.notified() => return,
            Ok(()) = rights.changed() => {
                if was_known && !known(peer) {
                    return sleep(LAST_WORDS).await;
                }
            }
            () = &mut look => {
                if peer.idle() {
                    return;
                }
                look.as_mut().reset(Instant::now() + LOOK_EVERY);
            }
        }
    }
}
