//! The controller against a scripted device: the pairing half of `protocol`, and an API that answers by a table.
#![allow(clippy::unwrap_used)]

#[allow(dead_code, unreachable_pub)]
#[path = "../../device/tests/support/maker.rs"]
mod maker;

use countersign_controller::{ControlError, Home, NetworkCredentials, Setup, What};
use countersign_crypto::certificate::{Certificate, CertificateChain, IdentityKind};
use countersign_crypto::csr;
use countersign_crypto::pake::{PakeParams, derive};
use countersign_crypto::policy::{CompiledPolicy, Use};
use countersign_crypto::random::SystemRandom;
use countersign_crypto::secret::{Secret, Strength};
use countersign_crypto::signature::{KeyHandle, SignatureAlgorithm};
use countersign_crypto::tls::{
    ClientRule, Clock, PeerAnchors, SecureChannel, SystemClock, TlsIdentity, TlsServer,
};
use countersign_model::id::ThingId;
use countersign_model::label::{Label, RootFingerprint, SetupCode};
use countersign_model::role::Role;
use countersign_protocol::pairing::{
    ALPN, Attempts, Binding, DeviceOutput, Installation, Installed, PairingDevice,
};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use maker::Maker;
use serde_json::json;
use std::collections::VecDeque;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const THING: &str = "plug-000001";

struct Device {
    identity: TlsIdentity,
    attempts: Mutex<Attempts>,
    api: Mutex<Option<TcpListener>>,
    installed: Mutex<Option<Installation>>,
}

fn code() -> SetupCode {
    SetupCode::from_entropy([7; 17])
}

fn thing() -> ThingId {
    THING.parse().unwrap()
}

impl Device {
    async fn start(maker: &Maker) -> (Arc<Self>, SocketAddr) {
        let key = KeyHandle::ephemeral(SignatureAlgorithm::EcdsaP256Sha256).unwrap();
        let chain: CertificateChain = maker.idevid(THING, &csr::request(&key, THING).unwrap());
        let device = Arc::new(Self {
            identity: TlsIdentity::new(chain, key).unwrap(),
            attempts: Mutex::default(),
            api: Mutex::new(Some(TcpListener::bind("127.66.0.1:0").await.unwrap())),
            installed: Mutex::default(),
        });
        let listener = TcpListener::bind("127.66.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let this = device.clone();
        tokio::spawn(async move {
            let policy = CompiledPolicy::built_in();
            let rule = ClientRule::Anonymous;
            let tls = TlsServer::new(&policy, Use::Pairing, &this.identity, &rule, ALPN).unwrap();
            while this.installed.lock().unwrap().is_none() {
                let (stream, _) = listener.accept().await.unwrap();
                if let Ok(channel) = tls.accept(stream).await {
                    this.clone().converse(channel).await;
                }
            }
        });
        (device, address)
    }

    async fn converse(self: Arc<Self>, mut channel: SecureChannel<TcpStream>) {
        let params = PakeParams::new([1; 16], PakeParams::MIN_MEMORY_KIB, 1, 1).unwrap();
        let record = derive(&code(), &thing(), &params).unwrap().record();
        let binding = Binding {
            exporter: channel.channel_binding().unwrap(),
            device: thing(),
            device_certificate: self.identity.chain().leaf().fingerprint(),
            strength: channel.strength(),
        };
        let attempts = *self.attempts.lock().unwrap();
        let mut machine = PairingDevice::new(record, params, binding, attempts, SystemClock.now());
        let mut buffer = [0; 4096];
        loop {
            let read = channel.read(&mut buffer).await.unwrap_or(0);
            if read == 0 {
                return;
            }
            let outputs = machine.receive(&buffer[..read], SystemClock.now());
            let mut outputs = VecDeque::from(outputs);
            while let Some(output) = outputs.pop_front() {
                match output {
                    DeviceOutput::Claim => {
                        let attempts = *self.attempts.lock().unwrap();
                        let now = SystemClock.now();
                        outputs.extend(machine.claimed(attempts, now, &mut SystemRandom));
                    }
                    DeviceOutput::Persist(attempts) => *self.attempts.lock().unwrap() = attempts,
                    DeviceOutput::Send(bytes) => {
                        channel.write_all(&bytes).await.unwrap();
                        channel.flush().await.unwrap();
                    }
                    DeviceOutput::Install(installation) => {
                        let port = self.serve(&installation.anchor);
                        *self.installed.lock().unwrap() = Some(*installation);
                        let done =
                            Installed { thing: thing(), local_port: port, td_sha256: [5; 32] };
                        outputs.extend(machine.installed(done));
                    }
                    DeviceOutput::Close(_) => {
                        let _ = channel.shutdown().await;
                        return;
                    }
                }
            }
        }
    }

    /// The local API, for persons under `anchor`.
    fn serve(self: &Arc<Self>, anchor: &[u8]) -> u16 {
        let listener = self.api.lock().unwrap().take().unwrap();
        let port = listener.local_addr().unwrap().port();
        let anchors = [Certificate::from_der(anchor).unwrap()];
        let rule = ClientRule::Required(PeerAnchors::new().with(IdentityKind::Person, &anchors));
        let policy = CompiledPolicy::built_in();
        let identity = &self.identity;
        let tls = TlsServer::new(&policy, Use::LocalApi, identity, &rule, "http/1.1").unwrap();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let Ok(channel) = tls.accept(stream).await else { continue };
                let service =
                    service_fn(|request| async move { Ok::<_, Infallible>(scripted(&request)) });
                tokio::spawn(async move {
                    let _ = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(channel), service)
                        .await;
                });
            }
        });
        port
    }
}

fn scripted(request: &hyper::Request<Incoming>) -> hyper::Response<Full<Bytes>> {
    let (status, body) = match (request.method().as_str(), request.uri().path()) {
        ("GET", "/properties/power") => (200, "12.5"),
        ("PUT", "/properties/relay") | ("DELETE", "/access/bob") => (204, ""),
        ("PUT", "/properties/limit") => (400, r#"{"title":"not accepted","detail":"1 to 10"}"#),
        ("POST", "/actions/toggle") => (200, r#"{"relay":true}"#),
        ("PUT", "/access/bob") => (409, r#"{"title":"not accepted","detail":"the last owner"}"#),
        ("POST", "/actions/broken") => (500, r#"{"title":"not done","detail":"no bus"}"#),
        ("GET", "/.well-known/wot") => (200, "not json"),
        _ => (403, r#"{"title":"not permitted"}"#),
    };
    let mut response = hyper::Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = hyper::StatusCode::from_u16(status).unwrap();
    response
}

fn label(root: &Certificate, code: SetupCode) -> Setup {
    let fingerprint = RootFingerprint::from_sha256(&root.fingerprint());
    let text = Label::new(thing(), code, fingerprint);
    Setup::Label(Label::parse(&text.qr_text()).unwrap())
}

//= specs/en-303-645.md#5.5-7
//= type=test
#[tokio::test(flavor = "multi_thread")]
async fn only_the_labelled_device_of_the_labelled_maker_is_paired() {
    let maker = Maker::new();
    let (device, address) = Device::start(&maker).await;
    let folder = tempfile::tempdir().unwrap();
    let home = Home::create(folder.path(), "ada".parse().unwrap()).unwrap();
    let roots = [Maker::new().root, maker.root.clone()];
    let pair = |setup, roots| home.pair(setup, address, roots, What::default());
    let named = |name: &str| Setup::Code(name.parse().unwrap(), code());

    let refused = pair(label(&maker.root, code()), &roots[..1]).await;
    assert!(matches!(refused, Err(ControlError::NotThisMaker)), "{refused:?}");
    let refused = pair(named(THING), &roots[..1]).await;
    assert!(matches!(refused, Err(ControlError::NotThisDevice(_))), "{refused:?}");
    let refused = pair(named("plug-000002"), &roots).await;
    assert!(matches!(refused, Err(ControlError::NotThisDevice(_))), "{refused:?}");
    assert_eq!(device.attempts.lock().unwrap().failed(), 0, "no attempt was spent on these");
    for _ in 0..2 {
        let wrong = pair(label(&maker.root, SetupCode::from_entropy([8; 17])), &roots).await;
        assert!(matches!(wrong, Err(ControlError::WrongCode)), "{wrong:?}");
    }
    let locked = pair(label(&maker.root, code()), &roots).await;
    let Err(ControlError::Locked(Some(wait))) = locked else { panic!("{locked:?}") };
    tokio::time::sleep(wait).await;

    let key = Secret::new(b"correct horse".to_vec(), Strength(128));
    let network = Some(NetworkCredentials { ssid: "home".to_owned(), key });
    let what = What { network, gateway: None };
    let paired = home.pair(label(&maker.root, code()), address, &roots, what).await.unwrap();
    assert_eq!(home.things().unwrap(), [paired]);
    let installed = device.installed.lock().unwrap().take().unwrap();
    assert_eq!(installed.anchor, home.anchor().der());
    assert_eq!(installed.owner.as_str(), "ada");
    let network = installed.network.unwrap();
    assert!(network.key.expose(|key| key == b"correct horse"));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_of_the_device_has_its_meaning() {
    let maker = Maker::new();
    let (_device, address) = Device::start(&maker).await;
    let folder = tempfile::tempdir().unwrap();
    let home = Home::create(&folder.path().join("home"), "ada".parse().unwrap()).unwrap();
    let roots = [maker.root.clone()];
    home.pair(label(&maker.root, code()), address, &roots, What::default()).await.unwrap();
    let (ada, bob) = ("ada".parse().unwrap(), "bob".parse().unwrap());
    let mut session = home.session(&ada, &thing(), None).await.unwrap();
    assert_eq!(session.get("power").await.unwrap(), json!(12.5));
    session.set("relay", &json!(true)).await.unwrap();
    session.unshare(&bob).await.unwrap();
    assert_eq!(session.invoke("toggle", None).await.unwrap(), json!({"relay": true}));
    assert!(matches!(session.get("secret").await, Err(ControlError::Refused)));
    let limit = session.set("limit", &json!(11)).await.unwrap_err();
    assert!(matches!(&limit, ControlError::Invalid(why) if why == "1 to 10"), "{limit:?}");
    let last = session.share(&bob, Role::Viewer).await.unwrap_err();
    assert!(matches!(&last, ControlError::Invalid(why) if why == "the last owner"), "{last:?}");
    let broken = session.invoke("broken", None).await.unwrap_err();
    assert!(matches!(broken, ControlError::Device(500, _)), "{broken:?}");
    assert!(matches!(session.describe().await, Err(ControlError::Protocol(_))));

    // Nobody without a certificate of this home gets so far, and nobody is taken for the device.
    assert!(matches!(home.session(&bob, &thing(), None).await, Err(ControlError::NoSuchPerson(_))));
    let nowhere = Some("127.66.0.9:9".parse().unwrap());
    let gone = home.session(&ada, &thing(), nowhere).await;
    assert!(matches!(gone, Err(ControlError::Unreachable(_))), "{gone:?}");
    let others = Home::create(&folder.path().join("other"), "ada".parse().unwrap()).unwrap();
    for part in ["json", "roots.pem"] {
        let file = format!("things/{THING}.{part}");
        let (from, to) = (folder.path().join("home").join(&file), folder.path().join("other"));
        std::fs::copy(from, to.join(&file)).unwrap();
    }
    let mut theirs = others.session(&ada, &thing(), None).await.unwrap();
    let refused = theirs.get("power").await;
    assert!(matches!(refused, Err(ControlError::NotOurs(_))), "{refused:?}");
}
