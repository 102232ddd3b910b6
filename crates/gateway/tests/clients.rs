//! The whole gateway over real TLS, with clients that we did not write: Debian's Mosquitto, MQTT 3.1.1 and 5.
//! Needs the package `mosquitto-clients`.
#![allow(clippy::unwrap_used)]

use countersign_crypto::certificate::{Certificate, CertificateChain, IdentityKind, IdentityName};
use countersign_crypto::issue::{self, CaTemplate, Eku, Serial, Template};
use countersign_crypto::keystore::exportable_key;
use countersign_crypto::policy::{CompiledPolicy, Use};
use countersign_crypto::random::SystemRandom;
use countersign_crypto::signature::KeyHandle;
use countersign_crypto::tls::{
    ChoiceKind, ClientRule, Clock as _, PeerAnchors, SystemClock, TlsClient, TlsIdentity, TlsServer,
};
use countersign_gateway::config::GatewayConfig;
use countersign_gateway::directory::{Directory, PeerFacts, PeerKind, Refusal};
use countersign_gateway::server::{Gateway, RunningGateway};
use countersign_model::time::{Timestamp, Validity};
use countersign_protocol::permit::messaging::MessagingSubject;
use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::sync::watch;

struct Ca {
    certificate: Certificate,
    key: KeyHandle,
}

fn around_now() -> Validity {
    let now = SystemClock.now().as_secs();
    let at = Timestamp::from_secs;
    Validity { not_before: at(now - 3600), not_after: at(now + 3600) }
}

impl Ca {
    fn new(name: &str) -> Self {
        let key = KeyHandle::ephemeral(CompiledPolicy::built_in().signing_algorithm()).unwrap();
        let template = CaTemplate {
            common_name: name.to_owned(),
            organisation: "Example".to_owned(),
            country: "DE".to_owned(),
            validity: around_now(),
            serial: Serial::random(&mut SystemRandom),
        };
        Self { certificate: issue::self_signed_ca(&template, &key).unwrap(), key }
    }

    /// An identity, and its files for others' programs.
    fn issue(&self, kind: IdentityKind, name: &str, folder: &Path) -> TlsIdentity {
        let server = kind == IdentityKind::Server;
        let (key, pem) = exportable_key(CompiledPolicy::built_in().signing_algorithm()).unwrap();
        let template = Template {
            common_name: name.to_owned(),
            identity: IdentityName::new(kind, name).unwrap(),
            dns: if server { vec!["localhost".to_owned()] } else { Vec::new() },
            ips: Vec::new(),
            eku: Eku { server, client: !server },
            validity: around_now(),
            serial: Serial::random(&mut SystemRandom),
            spki_der: key.spki_der().to_vec(),
        };
        let prepared = issue::prepare(&template, &self.certificate, self.key.algorithm()).unwrap();
        let leaf = issue::sign(prepared, &self.key).unwrap();
        let chain = CertificateChain::new(vec![leaf]).unwrap();
        std::fs::write(folder.join(format!("{name}.crt")), chain.to_pem()).unwrap();
        pem.expose(|pem| std::fs::write(folder.join(format!("{name}.key")), pem)).unwrap();
        TlsIdentity::new(chain, key).unwrap()
    }
}

struct Registry {
    revoked: Mutex<Vec<String>>,
    changed: watch::Sender<u64>,
}

impl Directory for Registry {
    fn admit(&self, peer: &PeerFacts) -> Result<MessagingSubject, Refusal> {
        if self.revoked.lock().unwrap().contains(&peer.serial_hex) {
            return Err(Refusal::Revoked);
        }
        Ok(match peer.kind {
            PeerKind::Thing => MessagingSubject::Device(peer.name.parse().unwrap()),
            PeerKind::Service => MessagingSubject::Service {
                name: peer.name.parse().unwrap(),
                grants: ["subscribe things/+/properties/#", "publish things/+/actions/+"]
                    .iter()
                    .map(|grant| grant.parse().unwrap())
                    .collect(),
            },
        })
    }

    fn names_other_subject(&self, client_id: &str) -> bool {
        client_id == "plug-2"
    }

    fn changed(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }
}

struct House {
    folder: tempfile::TempDir,
    gateway: RunningGateway,
    registry: Arc<Registry>,
    plug: TlsIdentity,
    root: Certificate,
}

async fn house() -> House {
    let folder = tempfile::tempdir().unwrap();
    let ca = Ca::new("Test CA");
    let server = ca.issue(IdentityKind::Server, "gateway", folder.path());
    let plug = ca.issue(IdentityKind::Thing, "plug-1", folder.path());
    let services = Ca::new("Service CA");
    services.issue(IdentityKind::Service, "backend", folder.path());
    std::fs::write(folder.path().join("roots.pem"), ca.certificate.to_pem()).unwrap();
    let anchors = PeerAnchors::new()
        .with(IdentityKind::Thing, std::slice::from_ref(&ca.certificate))
        .with(IdentityKind::Service, std::slice::from_ref(&services.certificate));
    let policy = CompiledPolicy::built_in();
    let rule = ClientRule::Required(anchors);
    let tls = TlsServer::new(&policy, Use::DeviceUplink, &server, &rule, "mqtt").unwrap();
    let registry = Arc::new(Registry { revoked: Mutex::default(), changed: watch::channel(0).0 });
    let config =
        GatewayConfig { listen: "127.0.0.1:0".parse().unwrap(), ..GatewayConfig::default() };
    let path = folder.path().join("gateway.db");
    let gateway = Gateway::start(config, tls, registry.clone(), &path).await.unwrap();
    House { folder, gateway, registry, plug, root: ca.certificate }
}

impl House {
    fn mosquitto(&self, program: &str, who: &str, more: &[&str]) -> Command {
        let file = |name: String| self.folder.path().join(name);
        let mut command = Command::new(program);
        command
            .args(["-h", "localhost", "-p"])
            .arg(self.gateway.local_addr().port().to_string())
            .arg("--cafile")
            .arg(file("roots.pem".to_owned()))
            .arg("--cert")
            .arg(file(format!("{who}.crt")))
            .arg("--key")
            .arg(file(format!("{who}.key")))
            .args(more)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        command
    }

    async fn run(&self, program: &str, who: &str, more: &[&str]) -> (bool, String) {
        let run = self.mosquitto(program, who, more).output();
        let output = tokio::time::timeout(Duration::from_secs(20), run).await;
        let output = output.expect("the client ends").expect("mosquitto-clients is installed");
        let text = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8_lossy(&text).into_owned())
    }

    /// Waits until the number of sessions with subscriptions is this.
    async fn subscribers(&self, wanted: usize) {
        let end = Instant::now() + Duration::from_secs(20);
        loop {
            let status = self.gateway.status().await.unwrap();
            let here = status.sessions.iter().filter(|s| !s.subscriptions.is_empty()).count();
            if here == wanted {
                return;
            }
            assert!(Instant::now() < end, "{here} subscribers, not {wanted}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// A subscriber that is there, alone: the one before may have ended without the gateway having noticed yet.
    async fn subscriber(&self, more: &[&str]) -> Child {
        self.subscribers(0).await;
        let child = self.mosquitto("mosquitto_sub", "backend", more).spawn().unwrap();
        self.subscribers(1).await;
        child
    }
}

async fn line(child: &mut Child) -> String {
    let mut lines = BufReader::new(child.stdout.as_mut().unwrap()).lines();
    let line = tokio::time::timeout(Duration::from_secs(20), lines.next_line()).await;
    line.expect("a message comes").unwrap().unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mosquitto_publishes_and_subscribes() {
    let house = house().await;
    for version in ["mqttv311", "mqttv5"] {
        for qos in ["0", "1", "2"] {
            let subscribe =
                ["-V", version, "-q", qos, "-t", "things/+/properties/#", "-v", "-C", "1"];
            let mut subscriber = house.subscriber(&subscribe).await;
            let topic = "things/plug-1/properties/power";
            let publish = ["-V", version, "-q", qos, "-t", topic, "-m", "42"];
            let (done, text) = house.run("mosquitto_pub", "plug-1", &publish).await;
            assert!(done, "{version} {qos}: {text}");
            assert_eq!(line(&mut subscriber).await, format!("{topic} 42"));
            subscriber.wait().await.unwrap();
        }
    }
    let fleet = house.gateway.fleet().await;
    let plug = fleet.iter().find(|record| record.subject == "thing:plug-1").unwrap();
    let [offer] = &plug.offers[..] else { panic!("one program, one offer: {:?}", plug.offers) };
    let groups = offer.offered.choices.names(ChoiceKind::Groups);
    assert!(groups.contains(&offer.group), "{offer:?}");
    let certificate = plug.certificate.as_ref().unwrap();
    let algorithm = CompiledPolicy::built_in().signing_algorithm().name();
    assert_eq!(certificate.key.as_deref(), Some(algorithm));
    assert_eq!(certificate.signature.as_deref(), Some(algorithm));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mosquitto_hears_refusals() {
    let house = house().await;
    let foreign = ["-V", "mqttv5", "-q", "1", "-t", "things/plug-2/properties/power", "-m", "42"];
    let (_, text) = house.run("mosquitto_pub", "plug-1", &foreign).await;
    assert!(text.contains("Not authorized"), "{text}");
    let filter = ["-V", "mqttv5", "-t", "things/#", "-W", "5"];
    let (_, text) = house.run("mosquitto_sub", "plug-1", &filter).await;
    assert!(text.contains("denied") || text.contains("rejected"), "{text}");
    let name = ["-V", "mqttv5", "-i", "plug-2", "-t", "things/plug-1/events/e", "-m", "1"];
    let (done, text) = house.run("mosquitto_pub", "plug-1", &name).await;
    assert!(!done && text.to_lowercase().contains("identifier"), "{text}");
}

/// Our own channel with the rawest of clients: what was negotiated, and how fast a revocation is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn revocation_reaches_a_tls_session_within_a_second() {
    let house = house().await;
    let roots = std::slice::from_ref(&house.root);
    let kinds = [IdentityKind::Server];
    let policy = CompiledPolicy::built_in();
    let client =
        TlsClient::new(&policy, Use::DeviceUplink, Some(&house.plug), roots, &kinds, "mqtt");
    let stream = TcpStream::connect(house.gateway.local_addr()).await.unwrap();
    let mut channel = client.unwrap().connect("localhost", stream).await.unwrap();
    // CONNECT: MQTT 5, clean start, keep-alive 60 s, no properties, client identifier "p".
    let connect = *b"\x10\x0e\0\x04MQTT\x05\x02\0\x3c\0\0\x01p";
    channel.write_all(&connect).await.unwrap();
    channel.flush().await.unwrap();
    let mut connack = [0; 256];
    let count = channel.read(&mut connack).await.unwrap();
    assert!(count > 4 && connack[0] == 0x20 && connack[3] == 0, "{:?}", &connack[..count]);
    let status = house.gateway.status().await.unwrap();
    assert_eq!(status.sessions[0].channel.group, channel.negotiated().group);
    assert_eq!(status.sessions[0].subject, "thing:plug-1");

    let start = Instant::now();
    house.registry.revoked.lock().unwrap().push(status.sessions[0].peer.serial_hex.clone());
    house.registry.changed.send_modify(|count| *count += 1);
    let mut rest = Vec::new();
    channel.read_to_end(&mut rest).await.unwrap();
    let took = start.elapsed();
    assert_eq!(rest[..], [0xe0, 1, 0x98], "DISCONNECT, administrative action");
    assert!(took < Duration::from_secs(1), "{took:?}");
    println!("revoked to closed: {took:?}");
}
