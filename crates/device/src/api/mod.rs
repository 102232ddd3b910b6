//! The local API: HTTPS with certificates of the home, W3C WoT HTTP binding.
//!
//! ```text
//!  GET  /thing                          the Thing Description, as far as the asker may see it
//!  GET  /properties                     every property that the asker may read
//!  GET  /properties/NAME   PUT …        one property
//!  POST /actions/NAME                   an action
//!  GET  /access/PERSON     PUT, DELETE  one person's role (owners)
//!
//!  accept ─► TLS (client certificate) ─► one bounded request ─► gate ─► handler ─► answer
//! ```

mod answer;
mod route;

use crate::gate::Gate;
use countersign_crypto::tls::{SecureChannel, TlsServer};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

/// Largest body of a request: four times the largest value, for its worst encoding.
pub const MAX_BODY: usize = 64 * 1024;
/// Connections at once: a household's telephones and one bridge.
pub const MAX_CONNECTIONS: usize = 32;
/// How long a handshake may take: a slow telephone on bad Wi-Fi needs a few seconds.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a request's head may take to arrive, and how long a connection may stay idle.
pub const HEAD_TIMEOUT: Duration = Duration::from_secs(15);
/// How long a request's body may take to arrive.
pub const BODY_TIMEOUT: Duration = Duration::from_secs(10);
/// Largest head of a request.
pub const MAX_HEAD: usize = 16 * 1024;
/// Pause after a failed accept: descriptors may be exhausted, and are freed by others.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves the local API on `listener` until dropped; dropping closes every connection.
pub async fn serve(listener: TcpListener, tls: watch::Receiver<TlsServer>, gate: Arc<Gate>) {
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        // The place comes first: who comes when all are taken waits in the kernel's short queue.
        let Ok(place) = places.clone().acquire_owned().await else { return };
        let (stream, _) = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "local API: accept");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            },
            Some(_) = connections.join_next() => continue,
        };
        let (tls, gate) = (tls.borrow().clone(), gate.clone());
        connections.spawn(async move {
            connection(stream, &tls, gate).await;
            drop(place);
        });
    }
}

async fn connection(stream: TcpStream, tls: &TlsServer, gate: Arc<Gate>) {
    let Ok(local) = stream.local_addr() else { return };
    let channel = match tokio::time::timeout(HANDSHAKE_TIMEOUT, tls.accept(stream)).await {
        Ok(Ok(channel)) => channel,
        Ok(Err(error)) => return tracing::info!(%error, "local API: refused"),
        Err(_) => return tracing::info!("local API: handshake took too long"),
    };
    if let Err(error) = http(channel, local, gate).await {
        tracing::debug!(%error, "local API: connection");
    }
}

async fn http(
    channel: SecureChannel<TcpStream>,
    local: SocketAddr,
    gate: Arc<Gate>,
) -> Result<(), hyper::Error> {
    let peer = Arc::new(channel.peer().cloned());
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let (gate, peer) = (gate.clone(), peer.clone());
        async move {
            let (head, body) = request.into_parts();
            let body = tokio::time::timeout(BODY_TIMEOUT, Limited::new(body, MAX_BODY).collect());
            let answer = match body.await {
                Ok(Ok(body)) => {
                    // The subject is looked up for each request: who was unshared is out at once.
                    let subject = gate.subject(peer.as_ref().as_ref());
                    let base = format!("https://{}.local:{}", gate.thing(), local.port());
                    route::answer(&gate, &subject, &base, &head, &body.to_bytes()).await
                }
                Ok(Err(_)) => answer::Answer::TooLarge,
                Err(_) => answer::Answer::TooSlow,
            };
            Ok::<_, Infallible>(answer.into_response())
        }
    });
    hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(MAX_HEAD)
        .serve_connection(TokioIo::new(channel), service)
        .await
}
