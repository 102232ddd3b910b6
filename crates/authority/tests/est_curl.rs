//! EST over TCP with clients that we did not write: curl and OpenSSL. Both commands must be there.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::Command;

use countersign_authority::enrol::{EnrolNames, EnrolProfile, EnrolRequest};
use countersign_authority::profile::ServerNames;
use countersign_authority::registration::Reason;
use countersign_authority::{Authority, AuthorityConfig, CeremonyPlan, Sources, serve};
use countersign_crypto::policy::{CompiledPolicy, Use};
use countersign_crypto::tls::{ClientRule, TlsServer};
use tokio::net::TcpListener;
use tokio::sync::watch;

struct World {
    folder: tempfile::TempDir,
    authority: Authority,
    address: SocketAddr,
    _tls: watch::Sender<TlsServer>,
}

impl World {
    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

async fn world() -> World {
    let folder = tempfile::tempdir().unwrap();
    let config = AuthorityConfig::default();
    let authority = Authority::open(folder.path(), config, Sources::system()).await.unwrap();
    authority.ceremony(&CeremonyPlan::example(), |_| ControlFlow::Continue(())).await.unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let names = ServerNames { dns: vec!["localhost".to_owned()], ips: vec![address.ip()] };
    let identity = authority.server_identity(&"est".parse().unwrap(), &names).await.unwrap();
    let rule = ClientRule::Optional(authority.est_anchors().unwrap());
    let policy = CompiledPolicy::built_in();
    let tls = TlsServer::new(&policy, Use::Est, &identity, &rule, "http/1.1").unwrap();
    let (sender, tls) = watch::channel(tls);
    tokio::spawn(serve(listener, tls, authority.est_router(), std::future::pending()));
    World { folder, authority, address, _tls: sender }
}

/// The status and the body.
async fn curl(world: &World, path: &str, arguments: &[&str]) -> (String, Vec<u8>) {
    let out = world.path("answer");
    let roots = world.path("roots.pem");
    let url = format!("https://127.0.0.1:{}/.well-known/est/{path}", world.address.port());
    let mut command = Command::new("curl");
    command.args(["-sS", "--max-time", "20", "-w", "%{http_code}", "-o"]).arg(&out);
    command.arg("--cacert").arg(&roots).args(arguments).arg(&url);
    let output = tokio::task::spawn_blocking(move || command.output())
        .await
        .unwrap()
        .expect("the curl command judges these tests: install it (Debian package curl)");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let status = String::from_utf8(output.stdout).unwrap();
    (format!("{status}{said}"), std::fs::read(&out).unwrap_or_default())
}

fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    let output = output.unwrap_or_else(|error| panic!("{program} judges these tests: {error}"));
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success(), "{program} {arguments:?}: {text}");
    text
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn curl_reenrols_a_device_with_a_request_by_openssl() {
    let world = world().await;
    // 1. The authorities' certificates, without any credentials.
    let (status, body) = curl(&world, "cacerts", &[]).await;
    assert_eq!(status, "200");
    std::fs::write(world.path("cacerts.b64"), &body).unwrap();
    let der = run("base64", &["-d", text(&world.path("cacerts.b64"))]);
    assert!(!der.is_empty());
    run(
        "openssl",
        &[
            "base64",
            "-d",
            "-A",
            "-in",
            text(&world.path("cacerts.b64")),
            "-out",
            text(&world.path("cacerts.p7")),
        ],
    );
    run(
        "openssl",
        &[
            "pkcs7",
            "-inform",
            "DER",
            "-in",
            text(&world.path("cacerts.p7")),
            "-print_certs",
            "-out",
            text(&world.path("all.pem")),
        ],
    );
    // 2. A device's credentials, and a request for a new key.
    let names = EnrolNames::One("plug-000001".to_owned());
    let profile = EnrolProfile::Device;
    let request = EnrolRequest { profile, names, out: world.path("out"), force: false };
    let made = world.authority.enrol(&request, |_, _| {}).await.unwrap().pop().unwrap();
    run(
        "openssl",
        &[
            "req",
            "-new",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-subj",
            "/CN=plug-000001",
            "-outform",
            "DER",
            "-keyout",
            text(&world.path("new.key")),
            "-out",
            text(&world.path("new.csr")),
        ],
    );
    run(
        "openssl",
        &["base64", "-in", text(&world.path("new.csr")), "-out", text(&world.path("new.b64"))],
    );
    // 3. Nobody gets a certificate without one.
    let data = format!("@{}", text(&world.path("new.b64")));
    let content = "Content-Type: application/pkcs10";
    for path in ["simpleenroll", "simplereenroll"] {
        let (status, body) = curl(&world, path, &["-H", content, "--data-binary", &data]).await;
        assert_eq!(status, "401", "{}", String::from_utf8_lossy(&body));
    }
    // 4. With the current one, its successor; it leads to the root and belongs to the new key.
    let credentials = ["--cert", text(&made.certificate), "--key", text(&made.key)];
    let arguments = [&credentials[..], &["-H", content, "--data-binary", &data]].concat();
    let (status, body) = curl(&world, "simplereenroll", &arguments).await;
    assert_eq!(status, "200", "{}", String::from_utf8_lossy(&body));
    std::fs::write(world.path("new.p7.b64"), &body).unwrap();
    run(
        "openssl",
        &[
            "base64",
            "-d",
            "-A",
            "-in",
            text(&world.path("new.p7.b64")),
            "-out",
            text(&world.path("new.p7")),
        ],
    );
    run(
        "openssl",
        &[
            "pkcs7",
            "-inform",
            "DER",
            "-in",
            text(&world.path("new.p7")),
            "-print_certs",
            "-out",
            text(&world.path("new.crt")),
        ],
    );
    let verdict = run(
        "openssl",
        &[
            "verify",
            "-x509_strict",
            "-CAfile",
            text(&world.path("roots.pem")),
            "-untrusted",
            text(&world.path("all.pem")),
            text(&world.path("new.crt")),
        ],
    );
    assert!(verdict.contains("OK"), "{verdict}");
    let of_key = run("openssl", &["pkey", "-in", text(&world.path("new.key")), "-pubout"]);
    let of_crt =
        run("openssl", &["x509", "-in", text(&world.path("new.crt")), "-noout", "-pubkey"]);
    assert_eq!(of_key, of_crt);
    // 5. Revoked, neither the old nor the new one renews.
    let target = "plug-000001".parse().unwrap();
    world.authority.revoke(&target, Reason::Suspended).await.unwrap();
    let (status, _) = curl(&world, "simplereenroll", &arguments).await;
    assert_eq!(status, "403");
}

/// Random bytes, half-open connections and plain HTTP hold nobody up.
#[tokio::test(flavor = "multi_thread")]
async fn garbage_and_half_open_connections_hold_nobody_up() {
    let world = world().await;
    let mut held = Vec::new();
    for number in 0..64_u8 {
        let mut stream = std::net::TcpStream::connect(world.address).unwrap();
        match number % 4 {
            0 => {}
            1 => stream.write_all(&[0x16, 0x03, 0x01, 0x02]).unwrap(),
            2 => stream.write_all(&[number; 300]).unwrap(),
            _ => stream.write_all(b"GET /.well-known/est/cacerts HTTP/1.1\r\n\r\n").unwrap(),
        }
        held.push(stream);
    }
    let (status, _) = curl(&world, "cacerts", &[]).await;
    assert_eq!(status, "200");
    // Plain HTTP gets a TLS alert or nothing, never the answer.
    let mut plain = held.pop().unwrap();
    plain.set_read_timeout(Some(std::time::Duration::from_secs(5))).unwrap();
    let mut answer = Vec::new();
    let _ = plain.read_to_end(&mut answer);
    assert!(!answer.starts_with(b"HTTP"), "{answer:?}");
}
