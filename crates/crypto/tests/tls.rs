//! TLS as the policy allows it: who is admitted as what, and what is refused. Real handshakes over a pipe in memory.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::time::Duration;

use countersign_crypto::certificate::{Certificate, CertificateChain, IdentityKind, IdentityName};
use countersign_crypto::issue::{self, CaTemplate, Eku, Serial, Template};
use countersign_crypto::policy::{CompiledPolicy, Policy, Use};
use countersign_crypto::random::SystemRandom;
use countersign_crypto::secret::Strength;
use countersign_crypto::signature::{KeyHandle, SignatureAlgorithm};
use countersign_crypto::tls::{
    ClientRule, Clock as _, Negotiated, PeerAnchors, RevocationCheck, SystemClock, TlsClient,
    TlsError, TlsIdentity, TlsServer, VerifiedPeer,
};
use countersign_model::time::{Timestamp, Validity};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

struct Ca {
    certificate: Certificate,
    key: KeyHandle,
}

fn policy() -> CompiledPolicy {
    CompiledPolicy::built_in()
}

fn around_now() -> Validity {
    let now = SystemClock.now().as_secs();
    let at = |secs| Timestamp::from_secs(secs);
    Validity { not_before: at(now - 3600), not_after: at(now + 3600) }
}

fn root(name: &str) -> Ca {
    root_by(name, policy().signing_algorithm())
}

fn root_by(name: &str, algorithm: SignatureAlgorithm) -> Ca {
    let key = KeyHandle::ephemeral(algorithm).unwrap();
    let template = CaTemplate {
        common_name: name.to_owned(),
        organisation: "Example".to_owned(),
        country: "DE".to_owned(),
        validity: around_now(),
        serial: Serial::random(&mut SystemRandom),
    };
    Ca { certificate: issue::self_signed_ca(&template, &key).unwrap(), key }
}

fn identity(ca: &Ca, kind: IdentityKind, name: &str, eku: Eku, validity: Validity) -> TlsIdentity {
    let key = KeyHandle::ephemeral(policy().signing_algorithm()).unwrap();
    identity_of(key, ca, kind, name, eku, validity)
}

fn identity_of(
    key: KeyHandle,
    ca: &Ca,
    kind: IdentityKind,
    name: &str,
    eku: Eku,
    validity: Validity,
) -> TlsIdentity {
    let template = Template {
        common_name: name.to_owned(),
        identity: IdentityName::new(kind, name).unwrap(),
        dns: if eku.server { vec!["localhost".to_owned()] } else { Vec::new() },
        ips: Vec::new(),
        eku,
        validity,
        serial: Serial::random(&mut SystemRandom),
        spki_der: key.spki_der().to_vec(),
    };
    let prepared = issue::prepare(&template, &ca.certificate, ca.key.algorithm()).unwrap();
    let leaf = issue::sign(prepared, &ca.key).unwrap();
    TlsIdentity::new(CertificateChain::new(vec![leaf]).unwrap(), key).unwrap()
}

const SERVER: Eku = Eku { server: true, client: false };
const CLIENT: Eku = Eku { server: false, client: true };

struct Met {
    server_sees: Option<VerifiedPeer>,
    client_sees: Option<VerifiedPeer>,
    negotiated: Negotiated,
    same_binding: bool,
}

/// Both ends of one handshake, and one byte each way so that a late refusal is seen.
async fn meet(server: &TlsServer, client: &TlsClient, name: &str) -> Result<Met, (String, String)> {
    let (near, far) = tokio::io::duplex(1 << 16);
    let serve = async {
        let mut channel = server.accept(near).await?;
        channel.write_all(b"s").await?;
        channel.flush().await?;
        channel.read_u8().await?;
        Ok::<_, TlsError>(channel)
    };
    let dial = async {
        let mut channel = client.connect(name, far).await?;
        channel.read_u8().await?;
        channel.write_all(b"c").await?;
        channel.flush().await?;
        Ok::<_, TlsError>(channel)
    };
    let both = tokio::time::timeout(Duration::from_secs(20), async { tokio::join!(serve, dial) });
    match both.await.expect("a handshake in memory ends") {
        (Ok(server), Ok(client)) => Ok(Met {
            server_sees: server.peer().cloned(),
            client_sees: client.peer().cloned(),
            negotiated: client.negotiated().clone(),
            same_binding: server.channel_binding().unwrap() == client.channel_binding().unwrap(),
        }),
        (server, client) => Err((
            server.err().map(|error| error.to_string()).unwrap_or_default(),
            client.err().map(|error| error.to_string()).unwrap_or_default(),
        )),
    }
}

struct World {
    root: Ca,
    things: Ca,
    services: Ca,
    server: TlsIdentity,
}

impl World {
    fn new() -> Self {
        let (root, things, services) = (root("root"), root("things"), root("services"));
        let server = identity(&root, IdentityKind::Server, "gateway", SERVER, around_now());
        Self { root, things, services, server }
    }

    fn listener(&self) -> TlsServer {
        let anchors = PeerAnchors::new()
            .with(IdentityKind::Thing, std::slice::from_ref(&self.things.certificate))
            .with(IdentityKind::Service, std::slice::from_ref(&self.services.certificate));
        let rule = ClientRule::Required(anchors);
        TlsServer::new(&policy(), Use::DeviceUplink, &self.server, &rule, "mqtt").unwrap()
    }

    fn dialler(&self, identity: Option<&TlsIdentity>, alpn: &str) -> TlsClient {
        let roots = std::slice::from_ref(&self.root.certificate);
        TlsClient::new(&policy(), Use::DeviceUplink, identity, roots, &[IdentityKind::Server], alpn)
            .unwrap()
    }
}

//= specs/house.md#house-channel
//= type=test
//# A hybrid group MUST be preferred when both sides have one.
#[tokio::test]
async fn a_thing_is_met_over_a_hybrid_group_and_both_ends_share_the_binding() {
    let world = World::new();
    let plug = identity(&world.things, IdentityKind::Thing, "plug-1", CLIENT, around_now());
    let met = meet(&world.listener(), &world.dialler(Some(&plug), "mqtt"), "localhost").await;
    let met = met.unwrap();
    let peer = met.server_sees.unwrap();
    assert_eq!((peer.kind(), peer.name()), (IdentityKind::Thing, "plug-1"));
    assert_eq!(met.negotiated.group, "SecP256r1MLKEM768");
    assert_eq!(met.negotiated.alpn.as_deref(), Some("mqtt"));
    assert!(met.negotiated.strength >= Strength(128));
    assert!(met.same_binding);
}

//= specs/house.md#house-channel
//= type=test
//# A peer's kind MUST follow from the issuing authority that verified it, and the name in its
//# certificate MUST agree.
//= specs/en-303-645.md#5.5-4
//= type=test
//# Authentication SHOULD tell subjects apart and refuse invalid ones.
#[tokio::test]
async fn nobody_is_admitted_as_what_its_issuer_may_not_make_it() {
    let world = World::new();
    let past = Validity { not_before: Timestamp::from_secs(1), not_after: Timestamp::from_secs(2) };
    let stranger = root("things");
    let identities = [
        ("no certificate", None),
        ("a service's CA that claims a thing", {
            Some(identity(&world.services, IdentityKind::Thing, "plug-1", CLIENT, around_now()))
        }),
        ("a kind that is not admitted here", {
            Some(identity(&world.things, IdentityKind::Operator, "admin", CLIENT, around_now()))
        }),
        ("another maker's CA of the same name", {
            Some(identity(&stranger, IdentityKind::Thing, "plug-1", CLIENT, around_now()))
        }),
        ("expired", Some(identity(&world.things, IdentityKind::Thing, "plug-1", CLIENT, past))),
        ("a server's key usage", {
            Some(identity(&world.things, IdentityKind::Thing, "plug-1", SERVER, around_now()))
        }),
    ];
    for (case, identity) in identities {
        let client = world.dialler(identity.as_ref(), "mqtt");
        assert!(meet(&world.listener(), &client, "localhost").await.is_err(), "{case}");
    }
}

#[derive(Debug)]
struct Revoked(String);

impl RevocationCheck for Revoked {
    fn is_revoked(&self, certificate: &Certificate) -> bool {
        certificate.serial_hex() == self.0
    }
}

//= specs/house.md#house-revocation
//= type=test
//# A revoked certificate MUST be refused at the next handshake.
#[tokio::test]
async fn a_revoked_certificate_meets_its_alert_in_the_handshake() {
    let world = World::new();
    let plug = identity(&world.things, IdentityKind::Thing, "plug-1", CLIENT, around_now());
    let other = identity(&world.things, IdentityKind::Thing, "plug-2", CLIENT, around_now());
    let anchors = PeerAnchors::new()
        .with(IdentityKind::Thing, std::slice::from_ref(&world.things.certificate))
        .checked_by(Arc::new(Revoked(plug.chain().leaf().serial_hex())));
    let rule = ClientRule::Required(anchors);
    let server =
        TlsServer::new(&policy(), Use::DeviceUplink, &world.server, &rule, "mqtt").unwrap();
    let refused = meet(&server, &world.dialler(Some(&plug), "mqtt"), "localhost").await;
    let (_, seen_by_client) = refused.err().unwrap();
    assert!(seen_by_client.contains("CertificateRevoked"), "{seen_by_client}");
    assert!(meet(&server, &world.dialler(Some(&other), "mqtt"), "localhost").await.is_ok());
}

#[tokio::test]
async fn the_client_refuses_another_name_another_root_and_another_kind() {
    let world = World::new();
    let plug = identity(&world.things, IdentityKind::Thing, "plug-1", CLIENT, around_now());
    let client = world.dialler(Some(&plug), "mqtt");
    assert!(meet(&world.listener(), &client, "example.org").await.is_err(), "another name");

    let mut other = World::new();
    other.server = identity(&world.things, IdentityKind::Server, "gateway", SERVER, around_now());
    assert!(meet(&other.listener(), &client, "localhost").await.is_err(), "another root");

    let mut thing = World::new();
    thing.server = identity(&world.root, IdentityKind::Thing, "plug-2", SERVER, around_now());
    assert!(meet(&thing.listener(), &client, "localhost").await.is_err(), "another kind");
}

//= specs/house.md#house-channel
//= type=test
//# A peer that names a wrong application protocol MUST be refused.
#[tokio::test]
async fn a_wrong_application_protocol_is_refused_and_a_required_one_must_be_offered() {
    let world = World::new();
    let plug = identity(&world.things, IdentityKind::Thing, "plug-1", CLIENT, around_now());
    let wrong = world.dialler(Some(&plug), "http/1.1");
    assert!(meet(&world.listener(), &wrong, "localhost").await.is_err());

    let rule = ClientRule::Anonymous;
    let pairing = TlsServer::new(&policy(), Use::Pairing, &world.server, &rule, "p/1").unwrap();
    let none = world.dialler(None, "");
    let refused = meet(&pairing, &none, "localhost").await.err().unwrap();
    assert!(refused.0.contains("ALPN"), "{refused:?}");
}

//= specs/house.md#house-channel
//= type=test
//# A channel MUST use only versions, suites, groups and signature schemes that the crypto policy
//# allows.
#[tokio::test]
async fn a_classical_policy_meets_a_hybrid_one_on_p256() {
    let world = World::new();
    let plug = identity(&world.things, IdentityKind::Thing, "plug-1", CLIENT, around_now());
    let mut classical = Policy::built_in();
    classical.uses.get_mut(&Use::DeviceUplink).unwrap().groups.retain(|group| group == "secp256r1");
    let classical = CompiledPolicy::compile(classical, CompiledPolicy::built_in().day()).unwrap();
    let roots = std::slice::from_ref(&world.root.certificate);
    let kinds = [IdentityKind::Server];
    let client =
        TlsClient::new(&classical, Use::DeviceUplink, Some(&plug), roots, &kinds, "mqtt").unwrap();
    let met = meet(&world.listener(), &client, "localhost").await.unwrap();
    assert_eq!(met.negotiated.group, "secp256r1");
}

/// A policy with other groups and suites for the uplink.
fn ordered(groups: &[&str], suites: &[&str]) -> CompiledPolicy {
    let mut policy = Policy::built_in();
    let uplink = policy.uses.get_mut(&Use::DeviceUplink).unwrap();
    uplink.groups = groups.iter().map(|name| (*name).into()).collect();
    uplink.suites = suites.iter().map(|name| (*name).into()).collect();
    CompiledPolicy::for_provider(policy, CompiledPolicy::built_in().day()).unwrap()
}

//= specs/house.md#house-channel
//= type=test
//# A hybrid group MUST be preferred when both sides have one.
//= specs/house.md#house-channel
//= type=test
//# A server MUST take the first group and the first suite of its policy that the client offers too.
#[tokio::test]
async fn the_servers_order_counts_whatever_the_clients_is() {
    const AES128: &str = "TLS_AES_128_GCM_SHA256";
    const AES256: &str = "TLS_AES_256_GCM_SHA384";
    const HYBRID: &str = "SecP256r1MLKEM768";
    let world = World::new();
    let plug = identity(&world.things, IdentityKind::Thing, "plug-1", CLIENT, around_now());
    let things = std::slice::from_ref(&world.things.certificate);
    let rule = ClientRule::Required(PeerAnchors::new().with(IdentityKind::Thing, things));
    let roots = std::slice::from_ref(&world.root.certificate);
    // Each client sends a key share for its first group alone.
    for (theirs, ours, group) in [
        (vec!["secp256r1", "x25519", HYBRID], vec![HYBRID, "secp256r1", "x25519"], HYBRID),
        (vec!["x25519", "X25519MLKEM768", HYBRID], vec![HYBRID, "X25519MLKEM768"], HYBRID),
        (vec!["x25519", "secp256r1"], vec![HYBRID, "secp256r1", "x25519"], "secp256r1"),
        (vec!["x25519"], vec![HYBRID, "secp256r1", "x25519"], "x25519"),
    ] {
        let client = ordered(&theirs, &[AES128, AES256]);
        let server = ordered(&ours, &[AES256, AES128]);
        let server =
            TlsServer::new(&server, Use::DeviceUplink, &world.server, &rule, "mqtt").unwrap();
        let kinds = [IdentityKind::Server];
        let client =
            TlsClient::new(&client, Use::DeviceUplink, Some(&plug), roots, &kinds, "mqtt").unwrap();
        let met = meet(&server, &client, "localhost").await.unwrap();
        let found = (met.negotiated.group, met.negotiated.suite);
        assert_eq!(found, (group, AES256), "{theirs:?} at {ours:?}");
        assert!(met.same_binding);
    }
}

//= specs/house.md#house-channel
//= type=test
//# A server with several identities MUST show the most preferred one that the client can verify.
#[tokio::test]
async fn each_client_is_shown_the_first_identity_that_it_can_verify() {
    use SignatureAlgorithm::{EcdsaP256Sha256 as P256, EcdsaP384Sha384 as P384};
    let world = World::new();
    let plug = identity(&world.things, IdentityKind::Thing, "plug-1", CLIENT, around_now());
    let things = std::slice::from_ref(&world.things.certificate);
    let rule = ClientRule::Required(PeerAnchors::new().with(IdentityKind::Thing, things));
    let (root256, root384) = (root_by("root 256", P256), root_by("root 384", P384));
    let roots = [&root256, &root384].map(|ca| ca.certificate.clone());
    let server = |ca: &Ca, algorithm| {
        let key = KeyHandle::ephemeral(algorithm).unwrap();
        identity_of(key, ca, IdentityKind::Server, "gateway", SERVER, around_now())
    };
    let (new, old) = (server(&root384, P384), server(&root256, P256));
    // Its key needs one algorithm, its chain the other.
    let mixed = server(&root256, P384);
    let rules = || vec![policy().rules(Use::DeviceUplink).clone()];
    let clock = || Arc::new(SystemClock);
    for (identities, verifies, shown) in [
        (vec![&new, &old], vec![P256, P384], Some(&new)),
        (vec![&new, &old], vec![P256], Some(&old)),
        (vec![&new, &old], vec![P384], Some(&new)),
        (vec![&old, &new], vec![P384, P256], Some(&old)),
        (vec![&mixed, &new], vec![P384], Some(&new)),
        (vec![&mixed, &new], vec![P256, P384], Some(&mixed)),
        (vec![&mixed, &old], vec![P256], Some(&old)),
        (vec![&mixed], vec![P384], None),
        (vec![&new], vec![P256], None),
    ] {
        let identities: Vec<TlsIdentity> = identities.into_iter().cloned().collect();
        let server =
            TlsServer::with_rules(rules(), &identities, &rule, &["mqtt"], clock()).unwrap();
        let mut own = Policy::built_in();
        own.uses.get_mut(&Use::DeviceUplink).unwrap().signatures =
            verifies.iter().map(|algorithm| algorithm.name().into()).collect();
        let own = CompiledPolicy::for_provider(own, policy().day()).unwrap();
        let kinds = [IdentityKind::Server];
        let client =
            TlsClient::new(&own, Use::DeviceUplink, Some(&plug), &roots, &kinds, "mqtt").unwrap();
        let met = meet(&server, &client, "localhost").await;
        let seen = met.ok().map(|met| met.client_sees.unwrap().certificate().serial_hex());
        let expected = shown.map(|identity| identity.chain().leaf().serial_hex());
        assert_eq!(seen, expected, "{verifies:?}");
    }
    let none = TlsServer::with_rules(rules(), &[], &rule, &["mqtt"], clock());
    assert!(matches!(none, Err(TlsError::Identity(_))));
}

#[tokio::test]
async fn garbage_and_silence_do_not_become_a_channel() {
    let world = World::new();
    let server = world.listener();
    for bytes in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0x16, 3, 1, 0xff, 0xff, 1], &[0; 64]] {
        let (near, mut far) = tokio::io::duplex(1 << 12);
        let sent = async {
            far.write_all(bytes).await.unwrap();
            far.shutdown().await.unwrap();
            let mut rest = Vec::new();
            let _ = far.read_to_end(&mut rest).await;
        };
        let (accepted, ()) = tokio::join!(server.accept(near), sent);
        assert!(accepted.is_err());
    }
}

#[test]
fn a_key_of_somebody_else_is_no_identity() {
    let world = World::new();
    let other = KeyHandle::ephemeral(policy().signing_algorithm()).unwrap();
    let chain = world.server.chain().clone();
    assert!(matches!(TlsIdentity::new(chain, other), Err(TlsError::Identity(_))));
}
