//! The probes against a real TLS server in this process, and the whole run against a small device.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

mod common;

use common::{codes, declaration};
use countersign_assessor::evidence::{Answer, Facts};
use countersign_assessor::probe::tls::{Offered, Version, examine, offers};
use countersign_assessor::{
    Assessment, Baseline, Canary, Capture, Credential, Report, Verdict, collect, replay,
};
use countersign_model::ixit::*;
use countersign_model::role::Role;
use countersign_model::time::Timestamp;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

/// A test CA that signs leaves.
struct Ca {
    issuer: Issuer<'static, KeyPair>,
    der: CertificateDer<'static>,
    pem: String,
}

impl Ca {
    fn new(name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let cert = params.self_signed(&key).unwrap();
        Self { der: cert.der().clone(), pem: cert.pem(), issuer: Issuer::new(params, key) }
    }

    fn leaf(
        &self,
        name: &str,
        usage: ExtendedKeyUsagePurpose,
    ) -> (String, KeyPair, CertificateDer<'static>) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["plug.local".into()]).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        params.key_usages = vec![rcgen::KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![usage];
        params.use_authority_key_identifier_extension = true;
        let cert = params.signed_by(&key, &self.issuer).unwrap();
        (cert.pem(), key, cert.der().clone())
    }

    fn person(&self, name: &str, role: Role) -> Credential {
        let (pem, key, _) = self.leaf(name, ExtendedKeyUsagePurpose::ClientAuth);
        Credential { label: name.into(), role, cert_pem: pem, key_pem: key.serialize_pem() }
    }
}

struct Device {
    address: SocketAddr,
    maker: Ca,
    home: Ca,
}

/// TLS 1.3 only, one hybrid and one classical group, client certificate required, ALPN `http/1.1`.
/// Serves `/properties/power` to everybody of the home and `/properties/permissions` to `owner`.
async fn device(ip: &str) -> Device {
    let (maker, home) = (Ca::new("Maker"), Ca::new("Home"));
    let (_, key, leaf) = maker.leaf("plug-000001", ExtendedKeyUsagePurpose::ServerAuth);
    let mut provider = aws_lc_rs::default_provider();
    provider.kx_groups =
        vec![aws_lc_rs::kx_group::SECP256R1MLKEM768, aws_lc_rs::kx_group::SECP256R1];
    provider.cipher_suites.retain(|suite| u16::from(suite.suite()) != 0x1303);
    let provider = Arc::new(provider);
    let mut roots = rustls::RootCertStore::empty();
    roots.add(home.der.clone()).unwrap();
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone())
        .build()
        .unwrap();
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_client_cert_verifier(verifier)
        .with_single_cert(vec![leaf], PrivateKeyDer::Pkcs8(key.serialize_der().into()))
        .unwrap();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let listener = TcpListener::bind((ip, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    tokio::spawn(async move {
        loop {
            let Ok((tcp, _)) = listener.accept().await else { continue };
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(mut tls) = acceptor.accept(tcp).await else { return };
                let peer = tls.get_ref().1.peer_certificates().unwrap()[0].clone();
                let is_owner = peer.windows(5).any(|part| part == b"owner");
                let mut request = vec![0; 4096];
                let count = tls.read(&mut request).await.unwrap_or(0);
                let request = String::from_utf8_lossy(&request[..count]);
                let status = match request.split(' ').nth(1) {
                    Some("/properties/power") => "200 OK",
                    Some("/properties/permissions") if is_owner => "204 No Content",
                    _ => "403 Forbidden",
                };
                let _ = tls
                    .write_all(format!("HTTP/1.1 {status}\r\nConnection: close\r\n\r\n").as_bytes())
                    .await;
                let _ = tls.shutdown().await;
            });
        }
    });
    Device { address, maker, home }
}

fn listener(address: SocketAddr) -> Listener {
    Listener {
        port: address.port(),
        alpn: vec!["http/1.1".into()],
        server_name: Some("plug.local".into()),
        ..declaration().listeners[0].clone()
    }
}

fn accepted(answers: &std::collections::BTreeMap<CodePoint, Answer>) -> Vec<u16> {
    answers
        .iter()
        .filter(|(_, answer)| **answer == Answer::Accepted)
        .map(|(code, _)| code.0)
        .collect()
}

fn declared(device: &Device) -> Declaration {
    let mut declared = declaration();
    declared.listeners[0] = listener(device.address);
    let layer = &mut declared.sec_com_mech[0].cryptographic_details.typed[0];
    layer.groups = codes(&[0x11eb, 23]);
    layer.certificate = Some(CertificateDetails {
        key_algorithm: "P-256".into(),
        key_bits: 256,
        signature_algorithm: "ecdsa-with-SHA256".into(),
        chain_depth: 2,
        iot_profile: false,
    });
    declared
}

fn clock() -> Timestamp {
    Timestamp::from_secs(1_795_400_000)
}

#[tokio::test]
async fn versions_are_accepted_or_refused_by_alert() {
    let device = device("127.77.9.1").await;
    for version in Version::ALL {
        let offered = offers(device.address, version).await.unwrap();
        if version == Version::Tls13 {
            assert!(offered.is_accepted(), "{offered}");
        } else {
            assert!(matches!(offered, Offered::Refused(70 | 40)), "{version:?}: {offered}");
        }
    }
    let nobody = TcpListener::bind("127.77.9.1:0").await.unwrap().local_addr().unwrap();
    assert!(offers(nobody, Version::Tls13).await.is_err());
}

#[tokio::test]
async fn an_examination_finds_exactly_what_the_server_accepts() {
    let device = device("127.77.9.2").await;
    let facts = examine(
        device.address,
        &listener(device.address),
        std::slice::from_ref(&device.maker.der),
        clock(),
    )
    .await;
    assert!(facts.control);
    assert_eq!(accepted(&facts.versions), [0x0304]);
    assert_eq!(accepted(&facts.suites[&CodePoint(0x0304)]), [0x1301, 0x1302]);
    assert_eq!(accepted(&facts.groups), [23, 0x11eb]);
    assert_eq!(accepted(&facts.signature_schemes), [0x0403]);
    assert!(
        facts.groups.values().chain(facts.versions.values()).all(|answer| answer.is_decisive())
    );
    let handshake = facts.handshake.unwrap();
    assert!(handshake.client_certificate_requested && handshake.signature_valid);
    assert_eq!(handshake.refused_without_certificate, Some(116));
    assert!(handshake.path.unwrap().valid);
    assert_eq!(facts.certificates[0].key_algorithm, "P-256");
    let wrong =
        facts.alpn.iter().find(|fact| fact.offered == ["countersign-no-such-protocol"]).unwrap();
    assert_eq!(wrong.answer, Answer::Refused(120));
}

/// Somebody else's server, with what ours would never offer.
#[tokio::test]
async fn an_openssl_server_of_tls12_is_enumerated() {
    let ca = Ca::new("Maker");
    let (pem, key, _) = ca.leaf("old-plug", ExtendedKeyUsagePurpose::ServerAuth);
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name);
    std::fs::write(file("leaf.pem"), pem).unwrap();
    std::fs::write(file("key.pem"), key.serialize_pem()).unwrap();
    let address = TcpListener::bind("127.77.9.8:0").await.unwrap().local_addr().unwrap();
    let mut server = tokio::process::Command::new("openssl")
        .args(["s_server", "-quiet", "-tls1_2", "-accept", &address.to_string()])
        .args([
            "-cipher",
            "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES128-SHA",
            "-curves",
            "P-256:X25519",
        ])
        .arg("-cert")
        .arg(file("leaf.pem"))
        .arg("-key")
        .arg(file("key.pem"))
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .expect("this test needs the openssl command");
    for _ in 0..100 {
        if tokio::net::TcpStream::connect(address).await.is_ok() {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    let facts = examine(address, &listener(address), &[], clock()).await;
    server.kill().await.unwrap();
    assert!(facts.control, "{facts:?}");
    assert_eq!(accepted(&facts.versions), [0x0303]);
    assert_eq!(accepted(&facts.suites[&CodePoint(0x0303)]), [0xc009, 0xc02b]);
    assert_eq!(accepted(&facts.groups), [23, 29]);
    assert_eq!(facts.certificates[0].key_algorithm, "P-256");
    assert!(facts.handshake.is_none());
}

#[tokio::test]
async fn a_garbage_server_and_a_mute_one_are_told_apart() {
    let garbage = TcpListener::bind("127.77.9.3:0").await.unwrap();
    let address = garbage.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (mut peer, _) = garbage.accept().await.unwrap();
            let _ = peer.write_all(b"220 mail ready\r\n").await;
            let _ = peer.read(&mut [0; 1024]).await;
        }
    });
    let facts = examine(address, &listener(address), &[], clock()).await;
    assert!(
        !facts.control && facts.versions.values().all(|answer| *answer == Answer::NotTls),
        "{facts:?}"
    );
}

//= specs/house.md#house-assessor
//= type=test
//# A report MUST be reproducible from its evidence.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_whole_run_judges_writes_and_replays() {
    let device = device("127.77.9.4").await;
    let mut assessment = Assessment::new(declared(&device), device.address.ip(), clock());
    assessment.credentials =
        vec![device.home.person("owner", Role::Owner), device.home.person("viewer", Role::Viewer)];
    assessment.roots_pem = device.maker.pem.clone();
    assessment.allow_commands = true;
    assessment.scan_udp = false;
    assessment.canaries = vec![Canary {
        label: "network credentials".into(),
        parameter: Some("SecParam-Net".into()),
        secret: b"correct horse battery".to_vec(),
    }];
    assessment.captures = vec![Capture {
        label: "pairing".into(),
        mechanism: Some("ComMech-Api".into()),
        streams: vec![b"\x16\x03\x01 countersign-pairing/1 \x17\x03\x03 sealed".to_vec()],
        control: Some(b"countersign-pairing/1".to_vec()),
    }];
    // Other programs of this machine may listen on all addresses.
    let before = Baseline { tcp: busy_ports(&device).await, ..Baseline::default() };
    assessment.baseline = Some(before);

    let bundle = tokio::spawn(collect(assessment, |_| {})).await.unwrap().unwrap();
    let report = Report::of(&bundle);
    for case in ["5.5-1-2", "5.5-4-2", "5.5-6-2", "5.5-7-2"] {
        assert_eq!(
            report.verdicts[case],
            Verdict::Pass,
            "{:#?}",
            report.cases.iter().find(|c| c.id == case)
        );
    }
    assert_eq!(report.verdicts["5.5-5-2"], Verdict::Inconclusive, "UDP was not scanned");
    let text = report.to_json() + &report.bundle().to_json() + &report.to_html();
    assert!(!text.contains("correct horse") && !text.contains("PRIVATE"));

    let folder = tempfile::tempdir().unwrap();
    let written = report.write(folder.path()).unwrap();
    let again = replay(&written.evidence).unwrap();
    assert_eq!(again.to_json().as_bytes(), std::fs::read(&written.json).unwrap());
    assert_eq!(again.to_html().as_bytes(), std::fs::read(&written.html).unwrap());

    // One changed fact, and the bundle is refused.
    let changed = std::fs::read_to_string(&written.evidence).unwrap().replacen(
        "\"accepted\"",
        "\"silent\"",
        1,
    );
    std::fs::write(&written.evidence, changed).unwrap();
    assert!(replay(&written.evidence).unwrap_err().to_string().contains("was changed"));
}

async fn busy_ports(device: &Device) -> std::collections::BTreeSet<u16> {
    let neighbour = "127.77.9.200".parse().unwrap();
    let mut open = countersign_assessor::probe::scan::tcp(neighbour, |_| {}).await.open;
    open.remove(&device.address.port());
    open
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_that_differs_from_its_declaration_fails() {
    let device = device("127.77.9.5").await;
    let mut wrong = declared(&device);
    wrong.sec_com_mech[0].cryptographic_details.typed[0].groups = codes(&[0x11eb]);
    wrong.affordances[0].access = Access::Owner;
    let _undeclared = TcpListener::bind("127.77.9.5:0").await.unwrap();
    let mut assessment = Assessment::new(wrong, device.address.ip(), clock());
    assessment.credentials =
        vec![device.home.person("owner", Role::Owner), device.home.person("viewer", Role::Viewer)];
    assessment.scan_udp = false;
    assessment.baseline = Some(Baseline { tcp: busy_ports(&device).await, ..Baseline::default() });
    let bundle = collect(assessment, |_| {}).await.unwrap();
    let report = Report::of(&bundle);
    for case in ["5.5-1-2", "5.5-4-2", "5.5-5-2"] {
        assert_eq!(
            report.verdicts[case],
            Verdict::Fail,
            "{:#?}",
            report.cases.iter().find(|c| c.id == case)
        );
    }
    assert!(bundle.evidence.iter().any(|item| matches!(item.facts, Facts::PortScan(_))));
}

//= specs/house.md#house-assessor
//= type=test
//# A check that did not run MUST be reported as not run, with its reason.
#[tokio::test]
async fn what_is_not_open_is_reported_and_may_have_been_seen_earlier() {
    let device = device("127.77.9.7").await;
    let mut declared = declared(&device);
    declared.listeners[0].states = vec![State::Pairing];
    let mut assessment = Assessment::new(declared, device.address.ip(), clock());
    assessment.scan_udp = false;
    let report = Report::of(&collect(assessment.clone(), |_| {}).await.unwrap());
    assert!(
        report.not_run.iter().any(|line| line.contains("Listener-Api: not open when initialised"))
    );
    assert!(report.not_run.iter().any(|line| line.starts_with("canaries")));
    assert_eq!(report.verdicts["5.5-1-2"], Verdict::Inconclusive);
    let facts = examine(device.address, &listener(device.address), &[], clock()).await;
    assessment.earlier.push(Facts::TlsServer(facts));
    let report = Report::of(&collect(assessment, |_| {}).await.unwrap());
    assert_eq!(report.verdicts["5.5-1-2"], Verdict::Pass);
}

#[tokio::test]
async fn what_is_given_wrongly_is_an_error_before_anything_is_sent() {
    let device = device("127.77.9.6").await;
    let mut bad = Assessment::new(declared(&device), device.address.ip(), clock());
    bad.declaration.listeners[0].mechanism = Some("ComMech-Typo".into());
    let error = collect(bad, |_| {}).await.unwrap_err().to_string();
    assert!(error.contains("listeners[0].mechanism"), "{error}");
    let mut bad = Assessment::new(declared(&device), device.address.ip(), clock());
    bad.credentials = vec![Credential {
        label: "owner".into(),
        role: Role::Owner,
        cert_pem: device.home.pem.clone(),
        key_pem: KeyPair::generate().unwrap().serialize_pem(),
    }];
    assert!(collect(bad, |_| {}).await.unwrap_err().to_string().contains("owner"));
}
