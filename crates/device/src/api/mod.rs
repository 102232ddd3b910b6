//! The local API: HTTPS with certificates of the home, W3C WoT HTTP binding, HTTP/1.1 and HTTP/2.
//!
//! ```text
//!  GET  /  /.well-known/wot             the Thing Description, as far as the asker may see it
//!  GET  /properties                     every property that the asker may read
//!  GET  /properties/NAME   PUT …        one property
//!  POST /actions/NAME                   an action
//!  GET  /access/PERSON     PUT, DELETE  one person's role (owners)
//!
//!  with Accept: text/event-stream, as server-sent events:
//!  GET  /properties  /properties/NAME   observe all, one          GET /events  /events/NAME   subscribe to all, one
//!
//!  accept ─► limits ─► TLS (client certificate) ─► one bounded request ─► gate ─► handler ─► answer
//!                 └──► TLS (nobody yet), while somebody is invited ─► protocol::invitation ─► on the access list
//! ```
//!
//! What one peer can take is bounded in [`limits`](MAX_CONNECTIONS): connections, requests, refusals, streams, and bytes.

mod answer;
mod connection;
mod invited;
mod limits;
mod route;
mod stream;

pub use limits::{
    MAX_CONNECTIONS, MAX_CONNECTIONS_OF_ONE, MAX_HANDSHAKES, MAX_STREAMS, MAX_STREAMS_OF_ONE,
};

use crate::gate::Gate;
use connection::{Known, Place, Shared};
use countersign_crypto::tls::TlsServer;
use countersign_model::thing::MAX_VALUE_BYTES;
use countersign_protocol::discovery::ThingKey;
use countersign_protocol::invitation::{self, InvitationClose};
use limits::{ConnectionId, Source};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};

/// What the local API speaks, preferred first.
pub const ALPN: [&str; 2] = ["h2", "http/1.1"];
/// Largest body of a request: the largest value.
pub const MAX_BODY: usize = MAX_VALUE_BYTES;
/// How long a handshake may take: a slow telephone on bad Wi-Fi needs a few seconds.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a request's head may take to arrive.
pub const HEAD_TIMEOUT: Duration = Duration::from_secs(15);
/// How long a request's body may take to arrive.
pub const BODY_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a connection without streams may go without a request, or an answer without being taken.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(60);
/// Largest head of a request.
pub const MAX_HEAD: usize = 16 * 1024;
/// Requests of one connection that are answered at the same time; more wait their turn.
pub const MAX_REQUESTS_OF_ONE: usize = 4;
/// Pause after a failed accept: descriptors may be exhausted, and are freed by others.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How the local API meets those who connect.
#[derive(Clone)]
pub struct Doors {
    /// The people of the device, by certificate.
    pub persons: TlsServer,
    /// Who is invited, by code. Used while somebody is.
    pub invited: TlsServer,
    /// The anchors, by SHA-256, that `persons` believes.
    pub anchors: Vec<[u8; 32]>,
    /// Who the device is.
    pub certificate: [u8; 32],
    /// SHA-256 of its Thing Description.
    pub td_sha256: [u8; 32],
    /// What recognises it on the network, for who joins.
    pub discovery: ThingKey,
}

/// Serves the local API on `listener` until dropped; dropping closes every connection.
pub async fn serve(listener: TcpListener, tls: watch::Receiver<Doors>, gate: Arc<Gate>) {
    let shared = Shared::new();
    let mut connections = JoinSet::new();
    let mut handles: BTreeMap<ConnectionId, AbortHandle> = BTreeMap::new();
    let (gone, mut giving_way) = tokio::sync::mpsc::channel(MAX_CONNECTIONS);
    loop {
        let (stream, remote) = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "local API: accept");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            },
            Some(ended) = connections.join_next() => {
                match ended {
                    Ok(id) => drop(handles.remove(&id)),
                    Err(_) => handles.retain(|_, handle| !handle.is_finished()),
                }
                continue;
            }
            Some(id) = giving_way.recv() => {
                end(&mut handles, id);
                continue;
            }
        };
        let source = Source::of(remote.ip());
        // A newcomer is let in or turned away at once: nobody waits behind a flood.
        let arrived = shared.limits().arrive(source, shared.now());
        let Ok((id, gives_way)) = arrived else {
            tracing::debug!(%remote, "local API: too many connections from there");
            continue;
        };
        if let Some(other) = gives_way {
            end(&mut handles, other);
        }
        let (tls, gate, gone) = (tls.clone(), gate.clone(), gone.clone());
        let place = Place { shared: shared.clone(), id };
        let handle = connections.spawn(async move {
            connection(stream, source, tls, &place, gate, &gone).await;
            id
        });
        handles.insert(id, handle);
    }
}

fn end(handles: &mut BTreeMap<ConnectionId, AbortHandle>, id: ConnectionId) {
    if let Some(handle) = handles.remove(&id) {
        tracing::debug!("local API: a connection gives way");
        handle.abort();
    }
}

async fn connection(
    stream: TcpStream,
    source: Source,
    tls: watch::Receiver<Doors>,
    place: &Place,
    gate: Arc<Gate>,
    gone: &tokio::sync::mpsc::Sender<ConnectionId>,
) {
    let shared = &place.shared;
    let Ok(local) = stream.local_addr() else { return };
    // Answers are small and each is waited for.
    let _ = stream.set_nodelay(true);
    let doors = tls.borrow().clone();
    let invited = gate.door_is_open().then_some(&doors.invited);
    let accepted =
        tokio::time::timeout(HANDSHAKE_TIMEOUT, doors.persons.accept_or(invited, stream)).await;
    let channel = match accepted {
        Ok(Ok(channel)) => channel,
        failed => {
            shared.limits().handshake_failed(source, shared.now());
            return match failed {
                Ok(Err(error)) => tracing::info!(%error, "local API: refused"),
                _ => tracing::info!("local API: handshake took too long"),
            };
        }
    };
    if channel.negotiated().alpn.as_deref() == Some(invitation::ALPN) {
        let ended = invited::converse(channel, &doors, tls, &gate).await;
        if ended != InvitationClose::Done {
            shared.limits().handshake_failed(source, shared.now());
        }
        return tracing::info!(?ended, "invitation: conversation ended");
    }
    let known = Known::of(&gate, channel.peer());
    let (person, has_role) = (known.person.clone(), known.has_role);
    let opened = shared.limits().opened(place.id, person, has_role, shared.now());
    match opened {
        Ok(Some(other)) => {
            let _ = gone.send(other).await;
        }
        Ok(None) => {}
        Err(_) => return tracing::info!("local API: every connection is taken"),
    }
    connection::serve(channel, place, local, source, known, gate).await;
}

/// Where the local API is, as its Thing Description says.
#[must_use]
pub fn base(thing: &countersign_model::id::ThingId, local: SocketAddr) -> String {
    format!("https://{thing}.local:{}", local.port()).to_lowercase()
}
