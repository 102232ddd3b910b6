//! The second provider against the first: what one makes, the other reads.
#![cfg(feature = "second-provider")]
#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1, ECDSA_P384_SHA384_ASN1, UnparsedPublicKey};
use countersign_crypto::certificate::{Certificate, CertificateChain, IdentityKind, IdentityName};
use countersign_crypto::issue::{self, CaTemplate, Eku, Serial, Template};
use countersign_crypto::keystore::exportable_key;
use countersign_crypto::policy::{CompiledPolicy, Use};
use countersign_crypto::random::SystemRandom;
use countersign_crypto::signature::{KeyHandle, SignatureAlgorithm};
use countersign_crypto::tls::{
    ClientRule, Clock as _, PeerAnchors, SystemClock, TlsClient, TlsIdentity, TlsServer,
};
use countersign_crypto::{BACKEND, digest};
use countersign_model::time::{Timestamp, Validity};
use rustls::RootCertStore;
use rustls::crypto::{CryptoProvider, aws_lc_rs as first};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

const ALGORITHM: SignatureAlgorithm = SignatureAlgorithm::EcdsaP256Sha256;

#[test]
fn it_is_another_backend() {
    assert_ne!(BACKEND.0, "aws-lc-rs");
}

#[test]
fn what_one_signs_or_digests_the_other_confirms() {
    for algorithm in SignatureAlgorithm::ALL {
        let key = KeyHandle::ephemeral(algorithm).unwrap();
        let signature = key.sign(b"message").unwrap();
        let by_first = match algorithm {
            SignatureAlgorithm::EcdsaP256Sha256 => &ECDSA_P256_SHA256_ASN1,
            SignatureAlgorithm::EcdsaP384Sha384 => &ECDSA_P384_SHA384_ASN1,
        };
        let public = UnparsedPublicKey::new(by_first, key.spki_der());
        assert!(public.verify(b"message", &signature).is_ok(), "{algorithm}");
        assert!(public.verify(b"massage", &signature).is_err(), "{algorithm}");
    }
    let theirs = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA384, b"message");
    assert_eq!(digest::sha384(b"message").as_slice(), theirs.as_ref());
}

struct World {
    root: Certificate,
    things: Certificate,
    server: (TlsIdentity, PrivateKeyDer<'static>),
    thing: (TlsIdentity, PrivateKeyDer<'static>),
}

fn validity() -> Validity {
    let now = SystemClock.now().as_secs();
    let at = |secs| Timestamp::from_secs(secs);
    Validity { not_before: at(now - 3600), not_after: at(now + 3600) }
}

fn authority(name: &str) -> (Certificate, KeyHandle) {
    let key = KeyHandle::ephemeral(ALGORITHM).unwrap();
    let template = CaTemplate {
        common_name: name.to_owned(),
        organisation: "Example".to_owned(),
        country: "DE".to_owned(),
        validity: validity(),
        serial: Serial::random(&mut SystemRandom),
    };
    (issue::self_signed_ca(&template, &key).unwrap(), key)
}

/// An identity, and its private key for the other side's stack.
fn identity(
    (ca, ca_key): &(Certificate, KeyHandle),
    kind: IdentityKind,
    name: &str,
    eku: Eku,
) -> (TlsIdentity, PrivateKeyDer<'static>) {
    let (key, pem) = exportable_key(ALGORITHM).unwrap();
    let template = Template {
        common_name: name.to_owned(),
        identity: IdentityName::new(kind, name).unwrap(),
        dns: if eku.server { vec!["localhost".to_owned()] } else { Vec::new() },
        ips: Vec::new(),
        eku,
        validity: validity(),
        serial: Serial::random(&mut SystemRandom),
        spki_der: key.spki_der().to_vec(),
    };
    let prepared = issue::prepare(&template, ca, ca_key.algorithm()).unwrap();
    let leaf = issue::sign(prepared, ca_key).unwrap();
    let identity = TlsIdentity::new(CertificateChain::new(vec![leaf]).unwrap(), key).unwrap();
    (identity, pem.expose(|pem| PrivateKeyDer::from_pem_slice(pem).unwrap()))
}

impl World {
    fn new() -> Self {
        let (root, things) = (authority("root"), authority("things"));
        let server = Eku { server: true, client: false };
        let client = Eku { server: false, client: true };
        Self {
            server: identity(&root, IdentityKind::Server, "gateway", server),
            thing: identity(&things, IdentityKind::Thing, "plug-1", client),
            root: root.0,
            things: things.0,
        }
    }
}

fn chain(identity: &TlsIdentity) -> Vec<CertificateDer<'static>> {
    identity.chain().certificates().iter().map(|c| c.der().to_vec().into()).collect()
}

fn store(certificate: &Certificate) -> Arc<RootCertStore> {
    let mut store = RootCertStore::empty();
    store.add(certificate.der().to_vec().into()).unwrap();
    Arc::new(store)
}

/// The first provider with one group alone.
fn first_with(group: &'static dyn rustls::crypto::SupportedKxGroup) -> Arc<CryptoProvider> {
    Arc::new(CryptoProvider { kx_groups: vec![group], ..first::default_provider() })
}

const GROUPS: [&dyn rustls::crypto::SupportedKxGroup; 3] = [
    first::kx_group::SECP256R1MLKEM768,
    first::kx_group::X25519MLKEM768,
    first::kx_group::SECP256R1,
];

/// Both directions' first byte, so that a late refusal is seen.
async fn talk<S, C>(server: S, client: C)
where
    S: Future<Output = ()>,
    C: Future<Output = ()>,
{
    let both = async { tokio::join!(server, client) };
    tokio::time::timeout(Duration::from_secs(60), both).await.expect("a handshake in memory ends");
}

#[tokio::test]
async fn the_first_provider_dials_the_second_with_every_group() {
    let world = World::new();
    let anchors = PeerAnchors::new().with(IdentityKind::Thing, std::slice::from_ref(&world.things));
    let policy = CompiledPolicy::built_in();
    let rule = ClientRule::Required(anchors);
    let listener =
        TlsServer::new(&policy, Use::DeviceUplink, &world.server.0, &rule, "mqtt").unwrap();
    for group in GROUPS {
        let mut config = rustls::ClientConfig::builder_with_provider(first_with(group))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_root_certificates(store(&world.root))
            .with_client_auth_cert(chain(&world.thing.0), world.thing.1.clone_key())
            .unwrap();
        config.alpn_protocols = vec![b"mqtt".to_vec()];
        let dialler = tokio_rustls::TlsConnector::from(Arc::new(config));
        let (near, far) = tokio::io::duplex(1 << 16);
        let serve = async {
            let mut channel = listener.accept(near).await.unwrap();
            assert_eq!(channel.peer().unwrap().name(), "plug-1");
            channel.write_all(b"s").await.unwrap();
            channel.flush().await.unwrap();
            assert_eq!(channel.read_u8().await.unwrap(), b'c');
        };
        let dial = async {
            let name = ServerName::try_from("localhost").unwrap();
            let mut stream = dialler.connect(name, far).await.unwrap();
            assert_eq!(stream.read_u8().await.unwrap(), b's');
            stream.write_all(b"c").await.unwrap();
            stream.flush().await.unwrap();
        };
        talk(serve, dial).await;
    }
}

#[tokio::test]
async fn the_second_provider_dials_the_first_with_every_group() {
    let world = World::new();
    let policy = CompiledPolicy::built_in();
    let roots = std::slice::from_ref(&world.root);
    let kinds = [IdentityKind::Server];
    let dialler =
        TlsClient::new(&policy, Use::DeviceUplink, Some(&world.thing.0), roots, &kinds, "mqtt")
            .unwrap();
    for group in GROUPS {
        let provider = first_with(group);
        let verifier = rustls::server::WebPkiClientVerifier::builder_with_provider(
            store(&world.things),
            provider.clone(),
        );
        let mut config = rustls::ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_client_cert_verifier(verifier.build().unwrap())
            .with_single_cert(chain(&world.server.0), world.server.1.clone_key())
            .unwrap();
        config.alpn_protocols = vec![b"mqtt".to_vec()];
        let listener = tokio_rustls::TlsAcceptor::from(Arc::new(config));
        let (near, far) = tokio::io::duplex(1 << 16);
        let serve = async {
            let mut stream = listener.accept(near).await.unwrap();
            stream.write_all(b"s").await.unwrap();
            stream.flush().await.unwrap();
            assert_eq!(stream.read_u8().await.unwrap(), b'c');
        };
        let dial = async {
            let mut channel = dialler.connect("localhost", far).await.unwrap();
            assert_eq!(channel.read_u8().await.unwrap(), b's');
            channel.write_all(b"c").await.unwrap();
            channel.flush().await.unwrap();
        };
        talk(serve, dial).await;
    }
}
