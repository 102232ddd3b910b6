//! The shell with real sockets, without TLS: an acceptor that believes a name. It exists in tests only.
#![allow(clippy::unwrap_used)]

use super::acceptor::{AcceptError, Accepted, Acceptor};
use super::*;
use crate::broker::tests::kit::{
    Client, Dial, backend, connect_packet, device, facts, got, kept, v5,
};
use crate::directory::Refusal;
use crate::revocation::{PastAge, RevocationConfig};
use countersign_protocol::permit::messaging::MessagingSubject;
use std::sync::Mutex;
use std::time::Instant;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// The peer says `d NAME\n` or `s NAME\n`, and is believed.
struct Plain;

impl Acceptor for Plain {
    type Channel = TcpStream;

    async fn accept(&self, mut stream: TcpStream) -> Result<Accepted<TcpStream>, AcceptError> {
        let mut line = Vec::new();
        loop {
            match stream.read_u8().await? {
                b'\n' => break,
                byte => line.push(byte),
            }
        }
        let line = String::from_utf8(line).unwrap();
        let subject = match line.split_once(' ') {
            Some(("d", name)) => device(name),
            _ => backend(),
        };
        let facts_of = ChannelFacts { group: "secp256r1".into(), ..ChannelFacts::default() };
        Ok(Accepted { channel: stream, peer: facts(&subject), facts: facts_of })
    }
}

struct Registry {
    revoked: Mutex<Vec<String>>,
    changed: watch::Sender<u64>,
    age: Mutex<Duration>,
}

impl Registry {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            revoked: Mutex::default(),
            changed: watch::channel(0).0,
            age: Mutex::default(),
        })
    }

    fn revoke(&self, name: &str) {
        self.revoked.lock().unwrap().push(name.to_owned());
        self.changed.send_modify(|count| *count += 1);
    }
}

impl Directory for Registry {
    fn admit(&self, peer: &PeerFacts) -> Result<MessagingSubject, Refusal> {
        if self.revoked.lock().unwrap().contains(&peer.name) {
            return Err(Refusal::Revoked);
        }
        Ok(match peer.kind {
            PeerKind::Thing => device(&peer.name),
            PeerKind::Service => backend(),
        })
    }

    fn names_other_subject(&self, client_id: &str) -> bool {
        client_id == "plug-9"
    }

    fn changed(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    fn list_age(&self) -> Option<Duration> {
        Some(*self.age.lock().unwrap())
    }
}

fn config() -> GatewayConfig {
    GatewayConfig {
        listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        handshake_timeout_secs: 1,
        connect_timeout_secs: 1,
        ..GatewayConfig::default()
    }
}

async fn begin(config: GatewayConfig, registry: &Arc<Registry>, folder: &Path) -> RunningGateway {
    let (_keep, plain) = watch::channel(Arc::new(Plain));
    start(config, plain, registry.clone(), &folder.join("gateway.db"), None).await.unwrap()
}

struct Remote {
    stream: TcpStream,
    client: Client,
}

impl Remote {
    async fn dial(gateway: &RunningGateway, who: &str, dial: Dial) -> Self {
        let mut stream = TcpStream::connect(gateway.local_addr()).await.unwrap();
        stream.write_all(format!("{who}\n").as_bytes()).await.unwrap();
        let mut client = Client::new(dial.version);
        client.send(connect_packet(&dial));
        let mut remote = Self { stream, client };
        remote.until(|client| client.connack().is_some()).await;
        remote
    }

    /// Reads and answers until `done`; `false` when the gateway hangs up before.
    async fn until(&mut self, done: impl Fn(&Client) -> bool) -> bool {
        let work = async {
            loop {
                let bytes = self.client.take_output();
                self.stream.write_all(&bytes).await.unwrap();
                if done(&self.client) {
                    return true;
                }
                let mut buffer = [0; 4096];
                match self.stream.read(&mut buffer).await {
                    Ok(0) | Err(_) => return false,
                    Ok(count) => self.client.receive(&buffer[..count]),
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(20), work).await.expect("the gateway answers")
    }

    async fn closed(&mut self) {
        assert!(!self.until(|_| false).await);
    }
}

const POWER: &str = "things/plug-1/properties/power";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_survive_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let registry = Registry::new();
    let gateway = begin(config(), &registry, folder.path()).await;
    let mut subscriber = Remote::dial(&gateway, "s backend", kept(v5("s"))).await;
    subscriber.client.subscribe(&[("things/#", 1)]);
    subscriber.until(|client| !client.packets.is_empty() && client.packets.len() > 1).await;
    assert_eq!(subscriber.client.suback(), [1]);
    drop(subscriber);
    let mut plug = Remote::dial(&gateway, "d plug-1", v5("plug-1")).await;
    plug.client.publish(POWER, "42", 1, false);
    assert!(plug.until(|client| client.pubacks().len() == 1).await);
    // No drain, no goodbye: the process is as good as killed.
    drop(gateway);
    plug.closed().await;

    let gateway = begin(config(), &registry, folder.path()).await;
    let mut subscriber = Remote::dial(&gateway, "s backend", kept(v5("s"))).await;
    assert_eq!(subscriber.client.connack(), Some((0, true)));
    subscriber.until(|client| client.packets.len() > 1).await;
    assert_eq!(subscriber.client.messages(), [got(POWER, "42", 1, false)]);
    gateway.holds_policy("thing:plug-1", 7);
    let fleet = gateway.fleet().await;
    let plug = fleet.iter().find(|record| record.subject == "thing:plug-1").unwrap();
    assert_eq!(plug.negotiated[0].group, "secp256r1");
    assert_eq!(plug.policy_version, Some(7));
    gateway.shutdown().await;
    subscriber.closed().await;
    assert_eq!(subscriber.client.goodbye(), Some(0x8b));
}

//= specs/house.md#house-permits
//= type=test
//# Open sessions MUST be judged again when policy, grants or revocation change.
//= specs/en-303-645.md#5.5-4
//= type=test
//# Authentication SHOULD tell subjects apart and refuse invalid ones.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn revocation_closes_the_socket_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let registry = Registry::new();
    let gateway = begin(config(), &registry, folder.path()).await;
    let mut plug = Remote::dial(&gateway, "d plug-1", v5("plug-1")).await;
    let mut other = Remote::dial(&gateway, "d plug-2", v5("plug-2")).await;
    let start = Instant::now();
    registry.revoke("plug-1");
    plug.closed().await;
    let took = start.elapsed();
    assert!(took < Duration::from_secs(1), "{took:?}");
    assert_eq!(plug.client.goodbye(), Some(0x98));
    other.client.publish("things/plug-2/events/e", "1", 1, false);
    assert!(other.until(|client| client.pubacks().len() == 1).await, "the others stay");
    // And it does not come back.
    let mut stream = TcpStream::connect(gateway.local_addr()).await.unwrap();
    stream.write_all(b"d plug-1\n").await.unwrap();
    assert_eq!(stream.read(&mut [0; 16]).await.unwrap_or(0), 0);
    let status = gateway.status().await.unwrap();
    assert_eq!(status.sessions.len(), 1);
    assert_eq!(status.sessions[0].subject, "thing:plug-2");
    gateway.close_subject(PeerSelector::Name(PeerKind::Thing, "plug-2".into()), "by hand");
    other.closed().await;
    assert_eq!(other.client.goodbye(), Some(0x98));
}

//= specs/house.md#house-channel
//= type=test
//# A handshake that does not finish in its time MUST be closed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_silent_and_the_many_are_shown_the_door() {
    let folder = tempfile::tempdir().unwrap();
    let config = GatewayConfig { max_connections_per_ip: 2, ..config() };
    let gateway = begin(config, &Registry::new(), folder.path()).await;
    // No handshake, and a handshake without CONNECT.
    let mut half_open = TcpStream::connect(gateway.local_addr()).await.unwrap();
    let mut silent = TcpStream::connect(gateway.local_addr()).await.unwrap();
    silent.write_all(b"d plug-1\n").await.unwrap();
    let mut third = TcpStream::connect(gateway.local_addr()).await.unwrap();
    assert_eq!(third.read(&mut [0; 16]).await.unwrap_or(0), 0, "two from one address");
    for stream in [&mut half_open, &mut silent] {
        let mut buffer = [0; 16];
        let read = tokio::time::timeout(Duration::from_secs(10), stream.read(&mut buffer));
        assert_eq!(read.await.expect("the time-out comes").unwrap_or(0), 0);
    }
    // The places are free again.
    let mut plug = Remote::dial(&gateway, "d plug-1", v5("plug-1")).await;
    plug.client.publish(POWER, "1", 1, false);
    assert!(plug.until(|client| client.pubacks().len() == 1).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_stops_reading_is_cut_and_others_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let config = GatewayConfig { max_write_queue_bytes: 1 << 16, ..config() };
    let gateway = begin(config, &Registry::new(), folder.path()).await;
    let mut slow = Remote::dial(&gateway, "s backend", v5("slow")).await;
    slow.client.subscribe(&[("things/#", 0)]);
    slow.until(|client| client.packets.len() > 1).await;
    let mut plug = Remote::dial(&gateway, "d plug-1", v5("plug-1")).await;
    let payload = "x".repeat(200_000);
    let mut cut = false;
    for number in 1..=200 {
        plug.client.publish(POWER, &payload, 1, false);
        assert!(plug.until(|client| client.pubacks().len() == number).await);
        let status = gateway.status().await.unwrap();
        cut = status.sessions.iter().all(|session| session.client_id.as_deref() != Some("slow"));
        if cut {
            break;
        }
    }
    assert!(cut, "40 MB are more than any socket buffers");
}

#[tokio::test]
async fn a_port_in_use_and_a_wrong_key_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let registry = Registry::new();
    let gateway = begin(config(), &registry, folder.path()).await;
    let (_keep, plain) = watch::channel(Arc::new(Plain));
    let taken = GatewayConfig { listen: gateway.local_addr(), ..config() };
    let path = folder.path().join("other.db");
    let error = start(taken, plain.clone(), registry.clone(), &path, None).await.unwrap_err();
    assert!(error.to_string().contains(&gateway.local_addr().to_string()), "{error}");
    let wrong = GatewayConfig { max_connections: 0, ..config() };
    let error = start(wrong, plain, registry, &path, None).await.unwrap_err();
    assert!(matches!(error, StartError::Config(_)), "{error}");
}

/// The authority is not heard: the last list stands, up to its age; then the gateway closes, or stays open.
//= specs/house.md#house-revocation
//= type=test
//# A gateway that is cut off from the authority MUST keep the last list, and past its age close or stay open as
//# configured.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn past_the_age_of_its_list_a_gateway_closes_or_stays_open_as_configured() {
    for past_age in [PastAge::Close, PastAge::Open] {
        let folder = tempfile::tempdir().unwrap();
        let registry = Registry::new();
        registry.revoke("plug-3");
        let revocation = RevocationConfig { max_age_secs: 600, past_age };
        let gateway =
            begin(GatewayConfig { revocation, ..config() }, &registry, folder.path()).await;
        *registry.age.lock().unwrap() = Duration::from_secs(600);
        let mut plug = Remote::dial(&gateway, "d plug-1", v5("plug-1")).await;
        *registry.age.lock().unwrap() = Duration::from_secs(601);
        let dial = async |name: &'static str| {
            let mut stream = TcpStream::connect(gateway.local_addr()).await.unwrap();
            stream.write_all(format!("d {name}\n").as_bytes()).await.unwrap();
            let mut client = Client::new(v5(name).version);
            client.send(connect_packet(&v5(name)));
            let _ = stream.write_all(&client.take_output()).await;
            stream.read(&mut [0; 64]).await.unwrap_or(0) > 0
        };
        match past_age {
            PastAge::Close => {
                plug.closed().await;
                assert!(!dial("plug-2").await, "nobody is admitted");
                // Heard again: everybody comes back.
                *registry.age.lock().unwrap() = Duration::ZERO;
                assert!(dial("plug-2").await);
            }
            PastAge::Open => {
                assert!(dial("plug-2").await, "the last list stands");
                assert!(!dial("plug-3").await, "and it still says who is revoked");
                plug.client.publish(POWER, "1", 1, false);
                assert!(plug.until(|client| client.pubacks().len() == 1).await);
            }
        }
        gateway.shutdown().await;
    }
}
