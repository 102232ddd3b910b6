//! A real TLS connection to a router over an in-process pipe, and HTTP/1.1 written by hand.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use axum::Router;
use countersign_crypto::certificate::{CertificateChain, IdentityKind};
use countersign_crypto::policy::{CompiledPolicy, Use};
use countersign_crypto::signature::KeyHandle;
use countersign_crypto::tls::{
    ClientRule, PeerAnchors, SecureChannel, TlsClient, TlsIdentity, TlsServer,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio::task::JoinHandle;

use crate::Authority;
use crate::profile::ServerNames;

/// An answer as it came over the wire.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (key, value) = line.split_once(": ")?;
            key.eq_ignore_ascii_case(name).then_some(value)
        })
    }
}

pub(crate) fn identity(chain: &CertificateChain, key: &KeyHandle) -> TlsIdentity {
    TlsIdentity::new(chain.clone(), key.clone()).unwrap()
}

/// The client's end of a connection, and the server's task, which ends with the connection.
pub(crate) type Connection = (SecureChannel<DuplexStream>, JoinHandle<Result<(), String>>);

/// A connection; an error is a handshake that failed.
pub(crate) async fn connect(
    authority: &Authority,
    router: Router,
    anchors: PeerAnchors,
    client: Option<&TlsIdentity>,
) -> Result<Connection, String> {
    let policy = CompiledPolicy::built_in();
    let names = ServerNames { dns: vec!["localhost".to_owned()], ips: Vec::new() };
    let server = authority.server_identity(&"est".parse().unwrap(), &names).await.unwrap();
    let rule = ClientRule::Optional(anchors);
    let clock = authority.core.clock.clone();
    let tls = TlsServer::with_clock(&policy, Use::Est, &server, &rule, "http/1.1", clock.clone())
        .unwrap();
    let roots = [authority.authorities().unwrap().root().clone()];
    let kinds = [IdentityKind::Server];
    let connect =
        TlsClient::with_clock(&policy, Use::Est, client, &roots, &kinds, "http/1.1", clock)
            .unwrap();
    let (ours, theirs) = tokio::io::duplex(64 * 1024);
    let served = tokio::spawn(async move { crate::serve_connection(theirs, &tls, router).await });
    let channel = connect.connect("localhost", ours).await.map_err(|error| error.to_string())?;
    Ok((channel, served))
}

/// One request on one connection; an error is a handshake that failed.
pub(crate) async fn request(
    authority: &Authority,
    router: Router,
    anchors: PeerAnchors,
    client: Option<&TlsIdentity>,
    head: &str,
    body: &[u8],
) -> Result<Answer, String> {
    let (mut channel, served) = connect(authority, router, anchors, client).await?;
    let length = body.len();
    let head = format!(
        "{head}\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n"
    );
    channel.write_all(head.as_bytes()).await.unwrap();
    // A server that refuses early may close before it has read everything.
    let _ = channel.write_all(body).await;
    let _ = channel.flush().await;
    let mut answer = Vec::new();
    let read = channel.read_to_end(&mut answer).await;
    if answer.is_empty() {
        let why = served.await.unwrap().err();
        return Err(why.unwrap_or_else(|| format!("{read:?}")));
    }
    let answer = String::from_utf8(answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Ok(Answer { status, head: head.to_owned(), body: body.to_owned() })
}
