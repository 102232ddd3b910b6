//! The owner's side, small: pairing through `protocol`, and one HTTPS request at a time.

use super::THING;
use super::maker::Ca;
use countersign_crypto::certificate::{Certificate, IdentityKind};
use countersign_crypto::policy::{CompiledPolicy, Use};
use countersign_crypto::random::SystemRandom;
use countersign_crypto::tls::{Clock, SecureChannel, SystemClock, TlsClient, TlsIdentity};
use countersign_model::label::SetupCode;
use countersign_protocol::pairing::{
    ALPN, Binding, ControllerOutput, GatewayAddress, Installation, Installed, PairingController,
    PairingFailure,
};
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use zeroize::Zeroizing;

/// Pairs as the owner `ada`.
pub async fn pair(
    address: SocketAddr,
    root: &Certificate,
    code: SetupCode,
    home: &Ca,
    gateway: Option<GatewayAddress>,
) -> Result<Installed, PairingFailure> {
    let (mut channel, mut machine, first) = begin(address, root, code, home, gateway).await;
    channel.write_all(&first).await.unwrap();
    channel.flush().await.unwrap();
    let mut buffer = [0; 4096];
    loop {
        let read = channel.read(&mut buffer).await.unwrap_or(0);
        let outputs = match read {
            0 => machine.broken_off(),
            read => machine.receive(&buffer[..read], &mut SystemRandom),
        };
        for output in outputs {
            match output {
                ControllerOutput::Send(bytes) => {
                    channel.write_all(&bytes).await.unwrap();
                    channel.flush().await.unwrap();
                }
                ControllerOutput::Paired(done) => return Ok(done),
                ControllerOutput::Failed(failure) => return Err(failure),
            }
        }
    }
}

/// A channel to the pairing interface, and the owner's half with its first message.
pub async fn begin(
    address: SocketAddr,
    root: &Certificate,
    code: SetupCode,
    home: &Ca,
    gateway: Option<GatewayAddress>,
) -> (SecureChannel<TcpStream>, PairingController, Zeroizing<Vec<u8>>) {
    let policy = CompiledPolicy::built_in();
    let roots = std::slice::from_ref(root);
    let client =
        TlsClient::new(&policy, Use::Pairing, None, roots, &[IdentityKind::IdevId], ALPN).unwrap();
    let stream = TcpStream::connect(address).await.unwrap();
    let channel = client.connect(&format!("{THING}.local"), stream).await.unwrap();
    let binding = Binding {
        exporter: channel.channel_binding().unwrap(),
        device: THING.parse().unwrap(),
        device_certificate: channel.peer().unwrap().certificate().fingerprint(),
        strength: channel.strength(),
    };
    let installation = Installation {
        anchor: home.certificate.der().to_vec(),
        owner: "ada".parse().unwrap(),
        network: None,
        gateway,
        now: SystemClock.now(),
    };
    let (machine, first) = PairingController::start(code, binding, &installation).unwrap();
    (channel, machine, first)
}

/// A channel to the local API; none when TLS ends it.
pub async fn channel(
    address: SocketAddr,
    root: &Certificate,
    person: Option<&TlsIdentity>,
    alpn: &str,
) -> Option<SecureChannel<TcpStream>> {
    let policy = CompiledPolicy::built_in();
    let kinds = [IdentityKind::IdevId, IdentityKind::Thing];
    let roots = std::slice::from_ref(root);
    let client = TlsClient::new(&policy, Use::LocalApi, person, roots, &kinds, alpn).unwrap();
    let stream = TcpStream::connect(address).await.ok()?;
    client.connect(&format!("{THING}.local"), stream).await.ok()
}

/// The same from another address of this machine.
pub async fn channel_from(
    source: [u8; 4],
    address: SocketAddr,
    root: &Certificate,
    person: &TlsIdentity,
    alpn: &str,
) -> Option<SecureChannel<TcpStream>> {
    let policy = CompiledPolicy::built_in();
    let kinds = [IdentityKind::IdevId, IdentityKind::Thing];
    let roots = std::slice::from_ref(root);
    let client = TlsClient::new(&policy, Use::LocalApi, Some(person), roots, &kinds, alpn).unwrap();
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::from((source, 0))).unwrap();
    let stream = socket.connect(address).await.ok()?;
    client.connect(&format!("{THING}.local"), stream).await.ok()
}

/// An answer of the local API: status and exact body; none when TLS or the connection ended it.
pub async fn ask(
    address: SocketAddr,
    root: &Certificate,
    person: Option<&TlsIdentity>,
    method: &str,
    path: &str,
    body: &[u8],
) -> Option<(u16, Bytes)> {
    let channel = channel(address, root, person, "http/1.1").await?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(channel)).await.ok()?;
    let mut driver = tokio::spawn(connection);
    let request = hyper::Request::builder()
        .method(method)
        .uri(path)
        .header("host", "plug")
        .body(Full::new(Bytes::copy_from_slice(body)))
        .unwrap();
    let mut sending = std::pin::pin!(sender.send_request(request));
    // A request that is handed over just as the connection ends may never hear of it: the connection is asked too.
    let response = tokio::select! {
        biased;
        sent = &mut sending => sent.ok()?,
        _ = &mut driver => {
            tokio::time::timeout(Duration::from_secs(1), sending).await.ok()?.ok()?
        }
    };
    let status = response.status().as_u16();
    let bytes = response.into_body().collect().await.ok()?.to_bytes();
    driver.abort();
    Some((status, bytes))
}

/// As [`ask`], for those who want the JSON.
pub async fn json(
    address: SocketAddr,
    root: &Certificate,
    person: &TlsIdentity,
    path: &str,
) -> Value {
    let (status, body) = ask(address, root, Some(person), "GET", path, b"").await.unwrap();
    assert_eq!(status, 200, "{path}");
    serde_json::from_slice(&body).unwrap()
}
