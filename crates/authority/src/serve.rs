//! Serving a router over TLS: bounded in connections and time, with the verified peer handed to every request.

use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::{Extension, Router};
use countersign_crypto::tls::{TlsServer, VerifiedPeer};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};

/// The most connections at once; more wait in the kernel's queue. Enrolment is rare and short.
const MAX_CONNECTIONS: usize = 512;

/// A handshake that takes longer is half-open.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// A request's header must come within this.
const HEADER: Duration = Duration::from_secs(10);

/// A connection ends after this, whatever it does: a slow reader cannot hold a place.
const CONNECTION: Duration = Duration::from_secs(60);

/// How long accepting pauses when the process has no descriptors left: their exhaustion must not end a server.
const EXHAUSTED: Duration = Duration::from_millis(200);

/// Who is at the other end of the connection that a request came on; `None` for nobody in particular.
#[derive(Clone)]
pub struct ConnectedPeer(pub Option<Arc<VerifiedPeer>>);

/// Where a connection comes from.
#[derive(Debug, Clone, Copy)]
pub struct ConnectedFrom(pub IpAddr);

//= specs/house.md#house-shell
//# Exhausted descriptors MUST NOT end a server.
/// Serves `router` on `listener` until `stop` resolves. Each new connection uses the newest of `tls`, so that
/// certificates and policies are replaced without a restart.
pub async fn serve(
    listener: TcpListener,
    tls: watch::Receiver<TlsServer>,
    router: Router,
    stop: impl Future<Output = ()> + Send,
) {
    each_connection(listener, stop, |stream, address| {
        let router = router.clone().layer(Extension(ConnectedFrom(address.ip())));
        let tls = tls.borrow().clone();
        async move {
            if let Err(reason) = serve_connection(stream, &tls, router).await {
                tracing::debug!(%address, reason, "connection refused");
            }
        }
    })
    .await;
}

/// Serves `router` without TLS, for what is public and signed by itself (revocation lists, OCSP) and for what is on loopback
/// alone (metrics). Bounded like [`serve`].
pub async fn serve_plain(
    listener: TcpListener,
    router: Router,
    stop: impl Future<Output = ()> + Send,
) {
    each_connection(listener, stop, |stream, address| {
        let router = router.clone();
        async move { serve_http(stream, router, &address.to_string()).await }
    })
    .await;
}

/// Gives every connection a place and its time, until `stop` resolves.
async fn each_connection<S>(
    listener: TcpListener,
    stop: impl Future<Output = ()> + Send,
    serve: impl Fn(TcpStream, SocketAddr) -> S,
) where
    S: Future<Output = ()> + Send + 'static,
{
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    tokio::pin!(stop);
    loop {
        let place = tokio::select! {
            () = &mut stop => return,
            place = places.clone().acquire_owned() => place.expect("the semaphore is never closed"),
        };
        let accepted = tokio::select! {
            () = &mut stop => return,
            accepted = listener.accept() => accepted,
        };
        let Ok((stream, address)) = accepted else {
            tokio::time::sleep(EXHAUSTED).await;
            continue;
        };
        let served = tokio::time::timeout(CONNECTION, serve(stream, address));
        tokio::spawn(async move {
            // Whatever ends it is the peer's business.
            let _ = served.await;
            drop(place);
        });
    }
}

/// Serves one connection of any transport.
///
/// # Errors
/// Why the handshake failed; what comes after it is the peer's business.
pub async fn serve_connection<IO>(io: IO, tls: &TlsServer, router: Router) -> Result<(), String>
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let channel = tokio::time::timeout(HANDSHAKE, tls.accept(io))
        .await
        .map_err(|_| "the handshake took too long".to_owned())?
        .map_err(|error| error.to_string())?;
    let peer = ConnectedPeer(channel.peer().cloned().map(Arc::new));
    serve_http(channel, router.layer(Extension(peer)), "behind TLS").await;
    Ok(())
}

async fn serve_http<IO>(io: IO, router: Router, from: &str)
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let served = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER)
        .serve_connection(TokioIo::new(io), TowerToHyperService::new(router))
        .await;
    if let Err(error) = served {
        tracing::debug!(from, %error, "connection ended early");
    }
}
