//! What is predicted for a policy is what real handshakes under that policy come to.
#![allow(clippy::unwrap_used)]

use countersign_crypto::certificate::{Certificate, CertificateChain, IdentityKind, IdentityName};
use countersign_crypto::issue::{self, CaTemplate, Eku, Serial, Template};
use countersign_crypto::policy::{Alpn, CompiledPolicy, DEFAULT_TOML, Policy, Use};
use countersign_crypto::random::SystemRandom;
use countersign_crypto::signature::{KeyHandle, SignatureAlgorithm};
use countersign_crypto::tls::{
    ClientRule, Clock as _, PeerAnchors, SecureChannel, SystemClock, TlsClient, TlsIdentity,
    TlsServer,
};
use countersign_gateway::store::Store;
use countersign_gateway::store::fleet::read_fleet;
use countersign_model::time::{Day, Timestamp, Validity};
use countersign_protocol::fleet::{
    self, Candidate, Channel, Class, Offer, Record, Verdict, dry_run,
};
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

use SignatureAlgorithm::{EcdsaP256Sha256 as P256, EcdsaP384Sha384 as P384};

fn around_now() -> Validity {
    let now = SystemClock.now().as_secs();
    let at = Timestamp::from_secs;
    Validity { not_before: at(now - 3600), not_after: at(now + 3600) }
}

struct Ca {
    certificate: Certificate,
    key: KeyHandle,
}

fn ca(name: &str, algorithm: SignatureAlgorithm) -> Ca {
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

fn identity(ca: &Ca, kind: IdentityKind, name: &str, algorithm: SignatureAlgorithm) -> TlsIdentity {
    let server = kind == IdentityKind::Server;
    let key = KeyHandle::ephemeral(algorithm).unwrap();
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
    let prepared = issue::prepare(&template, &ca.certificate, ca.key.algorithm()).unwrap();
    let leaf = issue::sign(prepared, &ca.key).unwrap();
    TlsIdentity::new(CertificateChain::new(vec![leaf]).unwrap(), key).unwrap()
}

/// Groups, suites and signatures of one use, by name.
type Lists<'a> = (&'a [&'a str], &'a [&'a str], &'a [SignatureAlgorithm]);

/// The built-in policy with other lists for the uplink.
fn policy((groups, suites, signatures): Lists<'_>, alpn: Alpn) -> CompiledPolicy {
    let schemes: Vec<&str> = signatures.iter().map(|one| one.name()).collect();
    let (uplink, rest) = DEFAULT_TOML.split_once("[uses.local-api]").unwrap();
    let mut text: String = uplink
        .lines()
        .map(|line| match line.split_once(" = ") {
            Some(("groups", _)) => format!("groups = {groups:?}\n"),
            Some(("suites", _)) => format!("suites = {suites:?}\n"),
            Some(("signatures", _)) => format!("signatures = {schemes:?}\n"),
            Some(("alpn", _)) if alpn == Alpn::Required => "alpn = \"required\"\n".to_owned(),
            _ => format!("{line}\n"),
        })
        .collect();
    text += &format!("[uses.local-api]{rest}");
    CompiledPolicy::for_provider(Policy::from_toml(&text).unwrap(), Day::default()).unwrap()
}

/// What the gateway's side saw of a handshake, if both sides finished it and a byte came through each way.
async fn handshake(server: &TlsServer, client: &TlsClient) -> Option<SecureChannel<DuplexStream>> {
    let (near, far) = tokio::io::duplex(1 << 16);
    let serve = async {
        let mut channel = server.accept(near).await.ok()?;
        channel.write_all(b"s").await.ok()?;
        channel.flush().await.ok()?;
        channel.read_u8().await.ok()?;
        Some(channel)
    };
    let dial = async {
        let mut channel = client.connect("localhost", far).await.ok()?;
        channel.read_u8().await.ok()?;
        channel.write_all(b"c").await.ok()?;
        channel.flush().await.ok()
    };
    let both = tokio::time::timeout(Duration::from_secs(60), async { tokio::join!(serve, dial) });
    let (served, dialled) = both.await.expect("a handshake in memory ends");
    dialled.and(served)
}

fn record(channel: &SecureChannel<DuplexStream>, now: Timestamp) -> Record {
    let negotiated = channel.negotiated();
    let certificate = channel.peer().unwrap().certificate();
    Record {
        subject: "thing:plug-1".to_owned(),
        first_seen: now,
        last_seen: now,
        certificate: Some(fleet::Certificate {
            serial: certificate.serial_hex(),
            key: certificate.key_algorithm().map(|one| one.name().to_owned()),
            signature: certificate.signature_algorithm().map(|one| one.name().to_owned()),
            not_after: certificate.validity().not_after,
        }),
        policy_version: None,
        root: None,
        root_floor: None,
        negotiated: Vec::new(),
        offers: vec![Offer {
            offered: channel.offered().unwrap().clone(),
            suite: negotiated.suite.to_owned(),
            group: negotiated.group.to_owned(),
            first: now,
            last: now,
        }],
    }
}

const EVERYTHING: Lists<'static> = (
    &["SecP256r1MLKEM768", "X25519MLKEM768", "MLKEM1024", "secp256r1", "secp384r1", "x25519"],
    &["TLS_AES_256_GCM_SHA384", "TLS_AES_128_GCM_SHA256", "TLS_CHACHA20_POLY1305_SHA256"],
    &[P256, P384],
);

const CLIENTS: [Lists<'static>; 6] = [
    EVERYTHING,
    (&["secp256r1"], &["TLS_AES_128_GCM_SHA256"], &[P256, P384]),
    (
        &["x25519", "X25519MLKEM768"],
        &["TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384"],
        &[P384, P256],
    ),
    (&["SecP256r1MLKEM768", "secp256r1"], &["TLS_AES_256_GCM_SHA384"], &[P256]),
    (&["MLKEM1024"], &["TLS_CHACHA20_POLY1305_SHA256"], &[P256, P384]),
    (&["secp384r1", "secp256r1", "x25519"], &["TLS_AES_256_GCM_SHA384"], &[P256, P384]),
];

const CANDIDATES: [Lists<'static>; 7] = [
    EVERYTHING,
    (&["SecP256r1MLKEM768", "X25519MLKEM768"], &["TLS_AES_256_GCM_SHA384"], &[P256, P384]),
    (&["secp256r1"], &["TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384"], &[P256]),
    (&["x25519", "SecP256r1MLKEM768"], &["TLS_AES_128_GCM_SHA256"], &[P256, P384]),
    (
        &["MLKEM1024", "secp384r1"],
        &["TLS_CHACHA20_POLY1305_SHA256", "TLS_AES_256_GCM_SHA384"],
        &[P384],
    ),
    (&["X25519MLKEM768", "secp256r1"], &["TLS_AES_256_GCM_SHA384"], &[P384]),
    (&["secp384r1"], &["TLS_AES_256_GCM_SHA384"], &[P256]),
];

//= specs/house.md#house-policy
//= type=test
//# What a policy would do to a fleet MUST be judged from what each subject was seen to offer, and
//# from what it negotiated only where no offer is known.
#[tokio::test]
async fn a_prediction_is_what_a_handshake_under_the_policy_comes_to() {
    let today = policy(EVERYTHING, Alpn::IfOffered);
    let roots = [ca("Server CA", P256), ca("Other server CA", P384)];
    let trusted = roots.each_ref().map(|ca| ca.certificate.clone());
    // Certificates and keys of both kinds, alone and mixed.
    let (devices256, devices384) = (ca("Devices", P256), ca("Devices of tomorrow", P384));
    let anchors = PeerAnchors::new().with(
        IdentityKind::Thing,
        &[devices256.certificate.clone(), devices384.certificate.clone()],
    );
    let plug = |ca, key| identity(ca, IdentityKind::Thing, "plug-1", key);
    let identities = [plug(&devices256, P256), plug(&devices384, P384), plug(&devices256, P384)];
    let gateway = |policy: &CompiledPolicy, algorithm| {
        let ca = &roots[usize::from(algorithm == P384)];
        let server = identity(ca, IdentityKind::Server, "gateway", algorithm);
        let rule = ClientRule::Required(anchors.clone());
        TlsServer::new(policy, Use::DeviceUplink, &server, &rule, "mqtt").unwrap()
    };
    let now = SystemClock.now();
    let mut classes = BTreeSet::new();
    for (client_lists, plug) in
        CLIENTS.iter().flat_map(|one| identities.iter().map(move |plug| (one, plug)))
    {
        let own = policy(*client_lists, Alpn::IfOffered);
        for alpn in ["mqtt", ""] {
            let kinds = [IdentityKind::Server];
            let client =
                TlsClient::new(&own, Use::DeviceUplink, Some(plug), &trusted, &kinds, alpn)
                    .unwrap();
            let first = handshake(&gateway(&today, P256), &client).await;
            let record = record(&first.expect("everything is allowed today"), now);
            for (lists, required) in CANDIDATES.iter().flat_map(|one| [(one, false), (one, true)]) {
                let wanted = if required { Alpn::Required } else { Alpn::IfOffered };
                let candidate = policy(*lists, wanted);
                let judged = dry_run(
                    std::slice::from_ref(&record),
                    &[],
                    &Candidate::of(&candidate, Use::DeviceUplink),
                    now,
                    Duration::from_secs(60),
                );
                // A platform that retires an algorithm has identities of its own under the next one.
                let tomorrow = gateway(&candidate, lists.2[0]);
                let then = handshake(&tomorrow, &client).await.map(|channel| Channel {
                    suite: channel.negotiated().suite.to_owned(),
                    group: channel.negotiated().group.to_owned(),
                });
                let verdict = &judged.subjects[0].verdict;
                let predicted = match verdict {
                    Verdict::Stranded { .. } | Verdict::MustReissue { .. } => None,
                    Verdict::Unaffected { then, .. } | Verdict::LosesPreferred { then, .. } => {
                        Some(then.clone())
                    }
                    other => panic!("{other:?}"),
                };
                assert_eq!(
                    predicted, then,
                    "{client_lists:?} {alpn:?} under {lists:?} {wanted:?}: {verdict:?}"
                );
                classes.insert(verdict.class());
            }
        }
    }
    let all = [Class::Stranded, Class::MustReissue, Class::LosesPreferred, Class::Unaffected];
    assert_eq!(classes, BTreeSet::from(all), "each verdict was met");
}

#[path = "../../../bench/src/fleet.rs"]
#[allow(dead_code, missing_docs, unreachable_pub)]
mod generated;

#[tokio::test]
async fn ten_thousand_devices_are_counted_one_by_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("gateway.db");
    let now = Timestamp(1_764_000_000_000);
    let (sightings, expected) = generated::sightings(10_000, now);
    let (mut store, _) = Store::open(&path).await.unwrap();
    store.note(&sightings).await.unwrap();
    let records = read_fleet(&path).await.unwrap();
    let hybrid = (&["SecP256r1MLKEM768", "X25519MLKEM768"][..], EVERYTHING.1, &[P256][..]);
    let candidate = Candidate::of(&policy(hybrid, Alpn::IfOffered), Use::DeviceUplink);
    let month = Duration::from_millis(30 * generated::DAY);
    let counts = dry_run(&records, &[], &candidate, now, month).counts;
    let counted = generated::Expected {
        stranded: counts.stranded,
        must_reissue: counts.must_reissue,
        not_seen: counts.not_seen,
        unaffected: counts.unaffected,
        by_negotiation_only: counts.by_negotiation_only,
    };
    assert_eq!(counted, expected);
    assert_eq!(counts.devices, 10_000);
}
