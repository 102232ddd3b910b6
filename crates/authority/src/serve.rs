//! Serving a router over TLS: bounded in connections and time, with the verified peer handed to every request.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use axum::{Extension, Router};
use countersign_crypto::tls::{TlsServer, VerifiedPeer};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
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
pub struct ConnectedFrom(pub std::net::IpAddr);

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
        let router = router.clone().layer(Extension(ConnectedFrom(address.ip())));
        let tls = tls.borrow().clone();
        tokio::spawn(async move {
            let served = tokio::time::timeout(CONNECTION, serve_connection(stream, &tls, router));
            if let Ok(Err(reason)) = served.await {
                tracing::debug!(%address, reason, "connection refused");
            }
            drop(place);
        });
    }
}

/// Serves `router` without TLS, for what is public and signed by itself: revocation lists and OCSP. Bounded like [`serve`].
pub async fn serve_plain(
    listener: TcpListener,
    router: Router,
    stop: impl Future<Output = ()> + Send,
) {
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
        let Ok((stream, _)) = accepted else {
            tokio::time::sleep(EXHAUSTED).await;
            continue;
        };
        let router = router.clone();
        tokio::spawn(async move {
            let served = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEADER)
                .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
            // Whatever ends it is the peer's business.
            let _ = tokio::time::timeout(CONNECTION, served).await;
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
    let service = TowerToHyperService::new(router.layer(Extension(peer)));
    let served = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER)
        .serve_connection(TokioIo::new(channel), service)
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "connection ended early");
    }
    Ok(())
}
